"""Variants: what is varied, where it goes, and what is no path."""

from __future__ import annotations

import json

import pytest

from icm_core.errors import SpecError
from icm_core.plugins.registry import build_registry
from icm_evaluation.variants import Json, grid, parse_vary, slug


@pytest.fixture(scope="module")
def recipe() -> Json:
    found: Json = json.loads(build_registry().recipes.get("smoke").read_text())
    return found


@pytest.fixture(scope="module")
def spec(recipe: Json) -> Json:
    found = recipe["pipeline"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a=1,x,true,null,2.5", ("a", [1, "x", True, None, 2.5])),
        ("a.b=x,,y,", ("a.b", ["x", "y"])),
        ('a=["x=1","y=2"]', ("a", ["x=1", "y=2"])),
        ("a=x=1,y", ("a", ["x=1", "y"])),
        ('a=["1",[2,3],{"b":null}]', ("a", ["1", [2, 3], {"b": None}])),
        ("a=x]y,z", ("a", ["x]y", "z"])),
        ("a=x, y", ("a", ["x", " y"])),
    ],
)
def test_values_stand_between_commas_or_in_brackets(text: str, found: object) -> None:
    assert parse_vary(text) == found


@pytest.mark.parametrize("text", ["a=[x,y]", "a=[1,2", "a=[1]", "a=1", "=1,2", "a", "a=,,"])
def test_what_is_no_list_of_two_values_is_told_as_it_was_given(text: str) -> None:
    with pytest.raises(SpecError) as error:
        parse_vary(text)
    assert str(error.value) == f"--vary is {text!r}; it should be PATH=VALUE,VALUE with at least two values"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("nonsense.params", "--vary nonsense.params: unknown field 'nonsense'"),
        ("codec.params.inner.none.more", "--vary codec.params.inner.none.more: unknown field 'none'"),
        (
            "codec.params.inner.known.more",
            "--vary codec.params.inner.known.more: codec.params.inner.known is 3, ",
        ),
        ("tasks.coarse.head.use.more", "--vary tasks.coarse.head.use.more: tasks.coarse.head.use is 'sicmh.coarse', "),
    ],
)
def test_a_path_that_leads_nowhere_is_told(spec: Json, recipe: Json, path: str, says: str) -> None:
    codec = spec["codec"]
    assert isinstance(codec, dict)
    own: Json = {**spec, "codec": {**codec, "params": {"inner": {"known": 3}}}}
    with pytest.raises(SpecError) as error:
        grid(own, recipe, [(path, [1, 2])], [], None)
    assert str(error.value).startswith(says)


def test_a_parameter_at_its_default_can_be_varied_whether_there_are_others_or_not(spec: Json, recipe: Json) -> None:
    codec = spec["codec"]
    assert isinstance(codec, dict)
    some: list[Json] = [{}, {"params": {}}, {"params": {"width": 16}}]
    for params in some:
        before = json.dumps(params)
        own: Json = {**spec, "codec": {"use": codec["use"], **params}}
        (first, second) = grid(own, recipe, [("codec.params.groups", [1, 2])], [], None)
        for variant, groups in ((first, 1), (second, 2)):
            assert not isinstance(variant.recipe.pipeline, str)
            width = {"width": 16} if "16" in before else {}
            assert variant.recipe.pipeline.codec.params == {**width, "groups": groups}
        assert json.dumps(params) == before


def test_a_value_is_what_it_was_given_as(spec: Json, recipe: Json) -> None:
    """A text stays a text, whatever it looks like."""
    vary = [("recipe.description", ["1", "true"])]
    found = grid(spec, recipe, vary, ["description=it is said"], None)  # type: ignore[arg-type]
    assert [variant.recipe.description for variant in found] == ["1", "true"]
    assert [variant.values for variant in found] == [{"recipe.description": "1"}, {"recipe.description": "true"}]
    (first, second) = grid(spec, recipe, [("recipe.stages.joint.clip", [None, 2.0])], [], None)
    assert (first.recipe.stages[0].clip, second.recipe.stages[0].clip) == (None, 2.0)


def test_a_name_in_the_place_of_a_component_is_that_component_and_elsewhere_a_text(spec: Json, recipe: Json) -> None:
    (first, _) = grid(spec, recipe, [("tasks.coarse.adapter", ["sicmh.one_scale", "sicmh.two_scale"])], [], None)
    assert not isinstance(first.recipe.pipeline, str)
    assert first.recipe.pipeline.tasks["coarse"].adapter.model_dump()["params"] == {}
    (first, _) = grid({**spec, "description": "d"}, recipe, [("description", ["one", "two"])], [], None)
    assert not isinstance(first.recipe.pipeline, str) and first.recipe.pipeline.description == "one"
    with pytest.raises(SpecError, match=r"^variant 'one': .*codec\.params"):
        grid(spec, recipe, [("codec.params", ["one", "two"])], [], None)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"a.b": "sicmh.one_scale"}, "one_scale"),
        ({"a.b": 2, "c.d": "X y"}, "b-2_x-y"),
        ({"a.b": None}, "b-null"),
        ({"a.b": [1, 2]}, "b--1-2"),
        ({"a.b": "x" * 99}, "x" * 64),
    ],
)
def test_a_variant_is_called_as_its_values(values: Json, name: str) -> None:
    assert slug(values) == name


def test_two_variants_of_one_name_are_refused(spec: Json, recipe: Json) -> None:
    with pytest.raises(SpecError, match=r"^two variants are the same; give each value once$"):
        grid(spec, recipe, [("codec.params.groups", [1, 1])], [], None)
