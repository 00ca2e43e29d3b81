"""Which encoder codes and searches, in which arithmetic, and what of it the file says."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from icm_core import Pipeline, Quality, Registry, build, parse_spec
from icm_core.bitstream.container import LayerKind, read

Search = dict[str, Any]


@pytest.fixture
def searches() -> list[Search]:
    """What each search was asked for, and under which circumstances."""
    return []


@pytest.fixture
def pipe(registry: Registry, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch, searches: list[Search]) -> Pipeline:
    """The tiny pipeline with two encoders, of which the second sees pictures half as bright, and with a search."""
    data["tasks"]["coarse"]["search"] = (1.0, 100.0)
    found = build(parse_spec(data), registry)
    codec = type(found.codec)
    plain = codec.encode

    def with_encoder(self: Any, name: str) -> Any:
        other = copy.copy(self)
        other.light = {"usual": 1.0, "dark": 0.5}[name]
        return other

    def encode(self: Any, x: Tensor, quality: Quality) -> list[bytes]:
        payloads: list[bytes] = plain(self, x * getattr(self, "light", 1.0), quality)
        return payloads

    def search(self: Any, x: Tensor, quality: Quality, objective: Any, effort: int) -> list[bytes]:
        searches.append(
            {
                "light": getattr(self, "light", 1.0),
                "bf16": torch.is_autocast_enabled("cpu"),
                "learns": torch.is_grad_enabled() and not torch.is_inference_mode_enabled() and not x.is_inference(),
                "quality": quality.value,
                "effort": effort,
                "tasks": [name for name, _, _ in objective.terms],
            }
        )
        payloads: list[bytes] = self.encode(x * 0.75, quality)
        return payloads

    for name, value in (("with_encoder", with_encoder), ("encode", encode), ("search", search), ("searches", True)):
        monkeypatch.setattr(codec, name, value, raising=False)
    return found


@pytest.mark.parametrize(("encoder", "light"), [(None, 1.0), ("usual", 1.0), ("dark", 0.5)])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_search_is_made_by_the_encoder_and_in_the_precision_that_are_asked_for(
    pipe: Pipeline, picture: Tensor, searches: list[Search], encoder: str | None, light: float, precision: str
) -> None:
    pipe.precision = precision
    pipe.encode(picture, 2.5, effort=7, encoder=encoder)
    assert searches == [
        {
            "light": light,
            "bf16": precision == "bf16",
            "learns": True,
            "quality": 2.5,
            "effort": 7,
            "tasks": ["coarse"],
        }
    ]


@pytest.mark.parametrize("effort", [0, 3])
@pytest.mark.parametrize("enhancement", [False, True])
def test_control_hashes_are_of_what_was_searched_for(
    pipe: Pipeline, picture: Tensor, effort: int, enhancement: bool
) -> None:
    blob = pipe.encode(picture, 2, control=True, effort=effort, enhancement=enhancement, encoder="dark")
    assert len(read(blob).base.control) == 4
    assert LayerKind.BASE in pipe.decode(blob, verify=True).verified
    assert not read(pipe.encode(picture, 2, effort=effort, enhancement=enhancement)).base.control


def test_a_picture_is_analysed_by_the_encoder_that_is_asked_for(pipe: Pipeline, picture: Tensor) -> None:
    usual, dark = (pipe.analyse(picture, 2, encoder=encoder).levels[0] for encoder in (None, "dark"))
    assert float(usual.mean()) == pytest.approx(2 * float(dark.mean()), rel=0.1)
    assert torch.equal(dark, pipe.decode(pipe.encode(picture, 2, encoder="dark"), []).side.levels[0])


@pytest.mark.parametrize("batch", [1, 3])
def test_all_that_is_said_of_one_picture_can_be_said_of_many(
    pipe: Pipeline, picture: Tensor, searches: list[Search], batch: int
) -> None:
    how: dict[str, Any] = {"enhancement_quality": 1.5, "control": True, "encoder": "dark", "effort": 2}
    (alone,) = pipe.encode_batch([picture], 3.5, **how)
    searches.clear()
    assert list(pipe.encode_many([picture] * 3, 3.5, batch=batch, search_for=["coarse"], **how)) == [alone] * 3
    assert [(one["quality"], one["light"], one["effort"]) for one in searches] == [(3.5, 0.5, 2)] * (3 // batch)
    assert alone not in (pipe.encode(picture, 3.5), pipe.encode(picture, **how))


@pytest.mark.parametrize(
    ("asked", "searched"),
    [(None, ["labels", "coarse"]), (["labels"], ["labels"]), (["coarse"], ["coarse"]), (["coarse", "labels"], None)],
)
def test_a_search_is_for_the_tasks_that_are_asked_for(
    pipe: Pipeline,
    registry: Registry,
    data: dict[str, Any],
    picture: Tensor,
    searches: list[Search],
    asked: list[str] | None,
    searched: list[str] | None,
) -> None:
    assert pipe.codec.searches
    data["tasks"]["labels"]["search"] = (1.0, 2.0)
    both = build(parse_spec(data), registry)
    alone = both.encode(picture, 2, effort=3, search_for=asked)
    assert both.encode_batch([picture], 2, effort=3, search_for=asked) == [alone]
    assert list(both.encode_many([picture], 2, effort=3, search_for=asked)) == [alone]
    assert [one["tasks"] for one in searches] == [searched or ["labels", "coarse"]] * 3
