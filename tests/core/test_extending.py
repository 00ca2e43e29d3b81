"""Specs that extend others: what merges how, from which file, and whose weights are loaded."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import torch

from icm_core import (
    Registry,
    SpecError,
    WeightsError,
    build_registry,
    hookimpl,
    json_schema,
    load,
    parse_spec,
    read_spec,
)
from icm_core.pipeline import weights as w
from icm_core.pipeline.identify import Fingerprints
from icm_core.pipeline.shipped import Shipped, find
from icm_core.spec.extends import MAX_BASES, compose
from icm_core.spec.merge import Layers
from icm_core.spec.origins import sources

Write = Callable[..., Path]
NEW_TASK = {"more": {"adapter": {"use": "tiny.enlarge"}, "head": {"use": "tiny.classes", "params": {"classes": 4}}}}


def merged(*layers: dict[str, Any]) -> dict[str, Any]:
    found: Layers[int] = Layers()
    for number, layer in enumerate(layers):
        found.add(layer, number)
    return found.data


@pytest.mark.parametrize(
    ("below", "above", "expected"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}, {"a": {"b": 1, "c": 3}}),
        ({"weights": ["x", "y"]}, {"weights": ["z"]}, {"weights": ["z"]}),
        ({"tasks": {"s": {}, "t": {}}}, {"tasks": {"s": None}}, {"tasks": {"t": {}}}),
        (
            {"codec": {"params": {"stage": 3}}},
            {"codec": {"params": {"stage": None}}},
            {"codec": {"params": {"stage": None}}},
        ),
        ({"codec": {"use": "a", "params": {"x": 1}}}, {"codec": {"use": "b"}}, {"codec": {"use": "b"}}),
        (
            {"enhancement": {"use": "a", "over": "t", "params": {"x": 1}}},
            {"enhancement": {"use": "b", "params": {"y": 2}}},
            {"enhancement": {"use": "b", "over": "t", "params": {"y": 2}}},
        ),
        (
            {"tasks": {"s": {"head": {"use": "a", "params": {"x": 1}}}}},
            {"tasks": {"s": {"head": {"use": "a", "params": {"y": 2}}}}},
            {"tasks": {"s": {"head": {"use": "a", "params": {"x": 1, "y": 2}}}}},
        ),
        (
            {"codec": {"params": {"use": 1, "z": 1}}},
            {"codec": {"params": {"use": 2}}},
            {"codec": {"params": {"use": 2, "z": 1}}},
        ),
        (
            {"tasks": {"s": {"head": {"params": {"backbone": {"use": "a", "params": {"x": 1}}}}}}},
            {"tasks": {"s": {"head": {"params": {"backbone": {"use": "b"}}}}}},
            {"tasks": {"s": {"head": {"params": {"backbone": {"use": "b"}}}}}},
        ),
        (
            {"tasks": {"s": {"head": {"params": {"backbone": {"use": "a", "params": {"x": 1}}}}}}},
            {"tasks": {"s": {"head": {"params": {"backbone": {"use": "a", "params": {"y": 2}}}}}}},
            {"tasks": {"s": {"head": {"params": {"backbone": {"use": "a", "params": {"x": 1, "y": 2}}}}}}},
        ),
        ({"a": 1}, {"a": {"b": 2}}, {"a": {"b": 2}}),
        ({"a": {"b": 2}}, {"a": 1}, {"a": 1}),
    ],
)
def test_what_merges_how(below: dict[str, Any], above: dict[str, Any], expected: dict[str, Any]) -> None:
    kept = copy.deepcopy((below, above))
    assert merged(below, above) == expected
    assert (below, above) == kept


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(name: str, data: dict[str, Any], folder: str = ".") -> Path:
        path = tmp_path / folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"icm": 1, "name": name, **data}))
        return path

    return put


@pytest.fixture
def base(write: Write, data: dict[str, Any], registry: Registry) -> Path:
    """A spec in a folder of its own, with its weights."""
    path = write("base", {**data, "name": "base", "weights": "base.safetensors"}, "shipped")
    torch.manual_seed(3)
    w.save(load(path, weights=False, registry=registry), {path.parent / "base.safetensors": [""]})
    return path


@pytest.fixture
def shipping(base: Path, tiny: ModuleType) -> Registry:
    """A registry that ships that spec."""
    module = ModuleType("lab")
    setattr(module, "icm_specs", hookimpl(lambda: [base], specname="icm_specs"))  # noqa: B010
    return build_registry(path=[], extra={"tiny": tiny, "lab": module})


def test_a_spec_extends_a_shipped_one(write: Write, shipping: Registry, data: dict[str, Any]) -> None:
    changes = {"extends": "base", "tasks": {"labels": None, **NEW_TASK}, "enhancement": None}
    found = read_spec(write("mine", changes), shipping)
    assert list(found.tasks) == ["classes", "coarse", "more"]
    assert found.enhancement is None and found.name == "mine"
    assert found.codec == parse_spec(data).codec
    assert parse_spec(found.to_json()) == found


def test_what_a_base_is_for_is_not_said_of_what_extends_it(write: Write, shipping: Registry, base: Path) -> None:
    base.write_text(json.dumps({**json.loads(base.read_text()), "description": "for streets"}))
    assert read_spec(base, shipping).description == "for streets"
    assert read_spec(write("mine", {"extends": "base"}), shipping).description == ""
    own = write("own", {"extends": "base", "description": "for rooms"})
    assert read_spec(own, shipping).description == "for rooms"


def test_a_new_head_decodes_files_from_before_it_existed(
    write: Write, base: Path, shipping: Registry, picture: torch.Tensor, tmp_path: Path
) -> None:
    before = load(base, device="cpu", registry=shipping)
    old = before.encode(picture, quality=3)
    path = write("mine", {"extends": "base", "tasks": NEW_TASK, "weights": "mine.safetensors"})
    trained = load(write("draft", {"extends": "base", "tasks": NEW_TASK}), weights="available", registry=shipping)
    new_part = {key: value for key, value in w.stored_state(trained).items() if key.startswith("tasks.more.")}
    w.safetensors.torch.save_file(new_part, tmp_path / "mine.safetensors")
    after = load(path, device="cpu", registry=shipping)
    found = after.decode(old)
    assert list(found) == ["labels", "classes", "coarse", "more", "fine"]
    assert found["more"].output.shape == (1, 4)
    for task, prediction in before.decode(old).items():
        assert torch.equal(prediction.output, found[task].output)
    assert after.encode(picture, quality=3) == old


def test_own_weights_lie_over_those_of_the_base(write: Write, base: Path, shipping: Registry, tmp_path: Path) -> None:
    w.safetensors.torch.save_file({"tasks.coarse.head.shift": torch.ones(1, 3, 1, 1)}, tmp_path / "own.safetensors")
    path = write("mine", {"extends": "base", "weights": "own.safetensors"})
    found = load(path, device="cpu", registry=shipping)
    expected = load(base, device="cpu", registry=shipping).state_dict()
    assert {k for k, v in found.state_dict().items() if not torch.equal(v, expected[k])} == {"tasks.coarse.head.shift"}


def test_of_inherited_weights_those_of_the_nearest_base_lie_on_top(
    write: Write, base: Path, shipping: Registry
) -> None:
    def put(name: str, extends: str, value: float | None) -> Path:
        """A spec whose own weights, if it has some, are one tensor of that value."""
        shift = {"tasks.coarse.head.shift": torch.full((1, 3, 1, 1), value or 0.0)}
        w.safetensors.torch.save_file(shift, base.parent / f"{name}.safetensors")
        weights = {} if value is None else {"weights": f"{name}.safetensors"}
        return write(name, {"extends": f"{extends}.json", **weights}, "shipped")

    def found(path: Path) -> list[float]:
        shift: torch.Tensor = load(path, device="cpu", registry=shipping).task("coarse").head.shift
        return shift.unique().tolist()

    put("middle", "base", 1.0)
    put("nearer", "middle", 2.0)
    assert found(put("two", "middle", None)) == [1.0]
    assert found(put("three", "nearer", None)) == [2.0]
    assert found(put("four", "nearer", 3.0)) == [3.0]


def test_what_has_no_weights_yet_is_named(write: Write, shipping: Registry) -> None:
    path = write("mine", {"extends": "base", "tasks": NEW_TASK})
    with pytest.raises(
        WeightsError, match=r"\(of tasks\.more\.adapter, tasks\.more\.head; icm train or icm import makes them\)"
    ):
        load(path, registry=shipping)
    with pytest.raises(WeightsError, match="has no weights yet"):
        load(write("none", {"extends": "base", "weights": None}), registry=shipping)


def test_another_class_does_not_get_weights_of_the_one_before(write: Write, shipping: Registry, base: Path) -> None:
    changes = {"extends": "base", "tasks": {"labels": {"head": {"use": "tiny.classes", "params": {"classes": 3}}}}}
    middle = write("middle", changes, "shipped")
    composed = compose(write("last", {"extends": "middle.json", "tasks": NEW_TASK}, "shipped"), shipping)
    assert [source.file.name for source in composed.inherited] == ["base.safetensors"]
    assert "tasks.labels.head" not in composed.inherited[0].parts
    assert {"codec", "tasks.labels.adapter", "tasks.classes.head"} <= composed.inherited[0].parts
    with pytest.raises(WeightsError, match=r"\(of tasks\.labels\.head; icm train or icm import makes them\)"):
        load(middle, registry=shipping)


@pytest.mark.parametrize("place", ["tasks.labels.head", "tasks.labels.adapter", "enhancement", "codec"])
def test_weights_two_levels_up_are_not_for_a_class_that_came_since(
    write: Write, shipping: Registry, base: Path, data: dict[str, Any], place: str
) -> None:
    """Whether the middle or the last of three specs has the other class."""
    other: dict[str, Any] = {"use": "lab.other"}
    for key in reversed(place.split(".")):
        other = {key: other}
    write("middle", {"extends": "base.json"}, "shipped")
    last = compose(write("last", {"extends": "middle.json", **other}, "shipped"), shipping)
    write("changed", {"extends": "base.json", **other}, "shipped")
    after = compose(write("after", {"extends": "changed.json"}, "shipped"), shipping)
    all_parts = {"codec", "enhancement", *(f"tasks.{t}.{p}" for t in data["tasks"] for p in ("adapter", "head"))}
    for composed in (last, after):
        (inherited,) = composed.inherited
        assert inherited.file == base.parent / "base.safetensors"
        assert inherited.parts == all_parts - {place}


def with_twins(tiny: ModuleType, spec: Path) -> Registry:
    """A registry that ships a spec, with classes whose weights have names and shapes of the tiny plugin's."""
    module = ModuleType("lab")
    for hook, of in (("icm_codecs", tiny.Thumbnail), ("icm_heads", tiny.Picture), ("icm_enhancements", tiny.Residual)):
        other = type(f"Other{of.__name__}", (of,), {"name": f"lab.{of.__name__.lower()}", "__doc__": "A twin."})
        setattr(module, hook, hookimpl(lambda other=other: [other], specname=hook))
    setattr(module, "icm_specs", hookimpl(lambda: [spec], specname="icm_specs"))  # noqa: B010
    return build_registry(path=[], extra={"tiny": tiny, "lab": module})


@pytest.mark.parametrize(
    ("place", "use"),
    [("codec", "lab.thumbnail"), ("tasks.coarse.head", "lab.picture"), ("enhancement", "lab.residual")],
)
def test_names_and_shapes_alone_make_no_weights_fit(
    write: Write, base: Path, tiny: ModuleType, place: str, use: str
) -> None:
    other: dict[str, Any] = {"use": use}
    for key in reversed(place.split(".")):
        other = {key: other}
    path = write("mine", {"extends": "base", **other})
    with pytest.raises(WeightsError, match=re.escape(f"(of {place};")):
        load(path, registry=with_twins(tiny, base))


def test_inherited_weights_of_another_shape_are_left_out(write: Write, shipping: Registry) -> None:
    wider = {"classes": {"head": {"params": {"classes": 5}}}}
    path = write("mine", {"extends": "base", "tasks": wider})
    with pytest.raises(WeightsError, match=r"lacks 'tasks\.classes\.head\.linear\.weight' of shape \(5, 3\)"):
        load(path, registry=shipping)
    kept = load(path, weights="available", registry=shipping)
    assert kept.task("classes").head.linear.weight.shape == (5, 3)
    assert torch.equal(kept.codec.mix.weight, load("base", registry=shipping).codec.mix.weight)


def test_inherited_integers_are_not_taken_from_floats(write: Write, shipping: Registry, base: Path) -> None:
    file = base.parent / "base.safetensors"
    tensors = w.safetensors.torch.load_file(file)
    w.safetensors.torch.save_file({**tensors, "codec.table": tensors["codec.table"].float()}, file)
    with pytest.raises(WeightsError, match=r"lacks 'codec\.table'"):
        load(write("mine", {"extends": "base"}), registry=shipping)


def test_a_pipeline_is_known_by_inherited_fingerprints_of_what_it_did_not_change(
    write: Write, base: Path, tiny: ModuleType, shipping: Registry
) -> None:
    whole = load(base, device="cpu", registry=shipping)
    first, fine = whole.base_fingerprint, whole.enhancement_fingerprint

    def found(**changes: Any) -> tuple[str | None, bool]:
        """The name under which the base layer is known, and whether the enhancement is."""
        path = write("mine", {"extends": "base.json", **changes}, "shipped")
        (one,) = Fingerprints(with_twins(tiny, path)).shipped
        assert fine is not None
        return one.name if first.hex() in one.bases else None, fine.hex() in one.enhancements

    assert found(tasks={"labels": None}) == ("mine", True)
    assert found(enhancement=None) == ("mine", False)
    assert found(enhancement={"use": "lab.residual"}) == ("mine", False)
    assert found(codec={"use": "lab.thumbnail"}) == (None, False)
    assert found(weights=None) == (None, False)


def test_a_files_pipeline_is_the_base_rather_than_what_extends_it(
    write: Write, base: Path, tiny: ModuleType, shipping: Registry, picture: torch.Tensor
) -> None:
    paths = [write("a-mine", {"extends": "base", "tasks": {"labels": None}}), base]
    module = ModuleType("lab")
    setattr(module, "icm_specs", hookimpl(lambda: paths, specname="icm_specs"))  # noqa: B010
    registry = build_registry(path=[], extra={"tiny": tiny, "lab": module})
    fingerprint = load(base, device="cpu", registry=registry).base_fingerprint
    assert Fingerprints(registry).find(fingerprint) == "base"


def test_of_several_pipelines_that_of_the_enhancement_comes_first_and_then_one_that_extends_none() -> None:
    base, fine = b"base", b"fine"
    bases = frozenset({base.hex()})
    plain, extending = Shipped("z", False, bases, frozenset()), Shipped("y", True, bases, frozenset())
    refining = Shipped("x", True, bases, frozenset({fine.hex()}))
    other = Shipped("a", False, frozenset({b"else".hex()}), frozenset({fine.hex()}))
    shipped = [other, extending, refining, plain]
    assert find(shipped, base) == "z"
    assert find(shipped, base, fine) == "x"
    assert find(shipped, base, b"none") == "z"
    assert find([other, extending, refining], base) == "x"
    assert find([other], base, fine) is None


def test_every_value_has_its_source(write: Write, shipping: Registry) -> None:
    middle = write("middle", {"extends": "base", "codec": {"params": {"steps": 4}}})
    path = write("mine", {"extends": "middle.json", "tasks": {"classes": {"head": {"params": {"classes": 5}}}}})
    found = {one.field: (one.value, one.origin) for one in sources(compose(path, shipping), shipping)}
    assert found["name"] == ("mine", str(path))
    assert found["codec.use"] == ("tiny.thumbnail", "base")
    assert found["codec.params.steps"] == (4, str(middle))
    assert found["tasks.classes.head.params.classes"] == (5, str(path))
    assert found["tasks.classes.adapter.params.offers"] == ("image", "default")
    assert found["enhancement.over"] == ("coarse", "base")
    assert found["weights"][1] == "inherited" and "base.safetensors (for codec, enh" in str(found["weights"][0])


@pytest.mark.parametrize(
    ("extends", "says"),
    [
        ("bse", "unknown pipeline 'bse'; did you mean 'base'?"),
        ("../shipped/base.json", "inside it, not as '../shipped/base.json'"),
        ("/etc/base.json", "inside it, not as '/etc/base.json'"),
        ("gone.json", "gone.json: no such file"),
        ("mine.json", "which extends this spec in turn"),
        (3, "extends is 3; it should be a shipped pipeline's name or the path of a spec"),
        (None, "extends is None; it should be"),
    ],
)
def test_what_cannot_be_extended(write: Write, shipping: Registry, extends: object, says: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_spec(write("mine", {"extends": extends}), shipping)
    assert says in str(caught.value)


def test_a_link_out_of_the_folder_is_refused(write: Write, shipping: Registry, base: Path, tmp_path: Path) -> None:
    path = write("mine", {"extends": "link.json"}, "lab")
    (tmp_path / "lab/link.json").symlink_to(base)
    with pytest.raises(SpecError, match="leads out of the spec's folder"):
        read_spec(path, shipping)


def test_chains_are_bounded_and_cycles_found(write: Write, shipping: Registry) -> None:
    write("s0", {"extends": "base"})
    for number in range(1, MAX_BASES + 1):
        write(f"s{number}", {"extends": f"s{number - 1}.json"})
    assert read_spec(write("good", {"extends": f"s{MAX_BASES - 2}.json"}), shipping).name == "good"
    with pytest.raises(SpecError, match=f"a chain of specs has at most {MAX_BASES} bases"):
        read_spec(write("long", {"extends": f"s{MAX_BASES}.json"}), shipping)
    one = write("one", {"extends": "two.json"})
    write("two", {"extends": "one.json"})
    with pytest.raises(SpecError, match="which extends this spec in turn"):
        read_spec(one, shipping)


def test_an_extending_spec_has_a_name_and_validates(write: Write, shipping: Registry, tmp_path: Path) -> None:
    path = tmp_path / "nameless.json"
    path.write_text('{"icm": 1, "extends": "base"}')
    with pytest.raises(SpecError, match=r"nameless\.json: the field name is missing"):
        read_spec(path, shipping)
    with pytest.raises(SpecError, match=r"mine\.json: unknown field 'head_' in tasks\.labels"):
        read_spec(write("mine", {"extends": "base", "tasks": {"labels": {"head_": {}}}}), shipping)
    with pytest.raises(SpecError, match="read it with read_spec"):
        parse_spec({"icm": 1, "name": "x", "extends": "base"})


def test_the_schema_takes_extending_specs(registry: Registry) -> None:
    validator = jsonschema.Draft202012Validator(json_schema(registry))
    spec = {"icm": 1, "name": "mine", "extends": "base", "tasks": {"labels": None, "classes": {"head": {"params": {}}}}}
    assert validator.is_valid(spec)
    assert not validator.is_valid({**spec, "tsks": {}})
    assert not validator.is_valid({"icm": 1, "extends": "base"})
