"""What a spec may say about each component."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from icm_core import SpecError, build, build_registry, parse_spec
from icm_core.types import Level, SideInfoLayout
from icm_sicmh import Coarse, ContextResidual, Hyperprior, MultiScale, OneScale, Residual, TwoScale

COMPONENTS = [Hyperprior, OneScale, TwoScale, MultiScale, Coarse, Residual, ContextResidual]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"width": 7}, "width"),
        ({"width": 10}, "multiple of 4"),
        ({"width": 516}, "512"),
        ({"width": "wide"}, "width"),
        ({"h1_channels": 18}, "multiple of 4"),
        ({"h1_channels": 4}, "h1_channels"),
        ({"h2_channels": 0}, "h2_channels"),
        ({"groups": 0}, "groups"),
        ({"groups": 33}, "groups"),
        ({"groups": 7}, "groups = 7 must divide h1_channels = 256"),
        ({"context_channels": 1}, "context_channels"),
        ({"qualities": 1}, "qualities"),
        ({"qualities": 16}, "qualities"),
        ({"depth": 3}, "depth"),
    ],
    ids=str,
)
def test_the_codec_refuses(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Hyperprior.Params.model_validate(wrong)


@pytest.mark.parametrize("wrong", [{"qualities": 1}, {"qualities": 16}, {"width": 8}], ids=str)
def test_the_enhancement_refuses(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Residual.Params.model_validate(wrong)


@pytest.mark.parametrize("cls", [OneScale, TwoScale, MultiScale, Coarse])
def test_what_has_no_parameters_takes_none(cls) -> None:
    with pytest.raises(ValidationError, match="width"):
        cls.Params.model_validate({"width": 8})


def test_the_enhancement_refuses_side_information_at_other_strides() -> None:
    with pytest.raises(SpecError, match=r"'sicmh\.residual' needs side information at stride 32; this codec gives 16"):
        Residual(Residual.Params(), SideInfoLayout((Level(8, 16), Level(8, 64)), 8))


def test_the_papers_widths_are_the_defaults() -> None:
    params = Hyperprior.Params()
    assert (params.width, params.h1_channels, params.h2_channels, params.groups) == (192, 256, 128, 8)


def test_parameters_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Hyperprior.Params().width = 8


@pytest.mark.parametrize("cls", COMPONENTS, ids=lambda cls: cls.name)
def test_every_field_is_described(cls) -> None:
    assert [name for name, field in cls.Params.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("qualities", [3, 5])
def test_codec_and_enhancement_have_the_same_qualities(qualities: int) -> None:
    spec = {
        "icm": 1,
        "name": "unlike",
        "codec": {"use": "sicmh.hyperprior", "params": {"width": 12, "h1_channels": 16, "h2_channels": 8}},
        "tasks": {"coarse": {"adapter": {"use": "sicmh.multi_scale"}, "head": {"use": "sicmh.coarse"}}},
        "enhancement": {"use": "sicmh.residual", "over": "coarse", "params": {"qualities": qualities}},
    }
    with pytest.raises(SpecError) as caught:
        build(parse_spec(spec), build_registry())
    assert str(caught.value) == (
        f"enhancement: sicmh.residual has the qualities (1.0, {float(qualities)}), and the codec has (1.0, 4.0); "
        "they must be the same"
    )


def test_a_wrong_parameter_in_a_spec_is_one_sentence_that_names_the_field() -> None:
    spec = {
        "icm": 1,
        "name": "wrong",
        "codec": {"use": "sicmh.hyperprior", "params": {"h1_channels": 20, "groups": 8}},
        "tasks": {"coarse": {"adapter": {"use": "sicmh.multi_scale"}, "head": {"use": "sicmh.coarse"}}},
    }
    with pytest.raises(SpecError, match=r"^codec\.params.*groups = 8 must divide h1_channels = 20") as caught:
        build(parse_spec(spec), build_registry())
    assert "\n" not in str(caught.value)
