"""Which form the base picture of a large file has when it is refined, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from icm_core import Pipeline, SideInfo, load, tiles
from icm_core.pipeline.answers import Answers
from icm_core.quality import Quality
from icm_core.tiles import Deferred, Map, whole

SIZE = (40, 56)


@pytest.fixture(scope="module")
def pipe() -> Pipeline:
    return load(Path(__file__).parents[1] / "golden/golden.json", device="cpu")


@pytest.fixture(scope="module")
def side(pipe: Pipeline) -> SideInfo:
    """Side information of two pictures."""
    generator = torch.Generator().manual_seed(3)
    pictures = torch.rand(2, 3, *SIZE, generator=generator)
    step = Quality.of(2)
    with torch.no_grad():
        return pipe.codec.decode(pipe.codec.encode(pictures, step), SIZE, step)


def refined(pipe: Pipeline, side: SideInfo) -> tuple[list[Map], Answers]:
    """What is given to the enhancement, and the answers behind it; the refined picture is half as bright."""
    given: list[Map] = []

    def refine(base: Map, its: SideInfo) -> Tensor:
        assert its is side
        given.append(base)
        return (whole(base) / 2).double()

    answers = Answers(pipe, side, refine)
    fine = answers.of("fine")
    assert fine.output.dtype == torch.float32 and fine.kind == "reconstruction"
    assert torch.equal(fine.output, answers.of("coarse").output / 2)
    assert answers.of("fine") is fine and len(given) == 1
    return given, answers


@torch.no_grad()
def test_the_base_picture_is_there_where_it_is_small(pipe: Pipeline, side: SideInfo) -> None:
    (base,), answers = refined(pipe, side)
    assert base is answers.of("coarse").output
    assert answers.picture("coarse") is base


@torch.no_grad()
def test_of_large_pictures_it_is_made_when_it_is_read(pipe: Pipeline, side: SideInfo) -> None:
    with tiles.bounded(SIZE[0] * SIZE[1] - 1):
        (base,), answers = refined(pipe, side)
        assert isinstance(base, Deferred) and base.shape == (2, 3, *SIZE)
        shown = answers.picture("coarse")
        assert not isinstance(shown, Tensor) and shown.shape == (2, 3, *SIZE)
        torch.testing.assert_close(whole(shown), answers.of("coarse").output)


@torch.no_grad()
def test_an_enhancement_that_reads_no_fields_is_given_the_picture(
    pipe: Pipeline, side: SideInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(pipe.enhancement), "reads_fields", False)
    with tiles.bounded(SIZE[0] * SIZE[1] - 1):
        (base,), answers = refined(pipe, side)
        assert base is answers.of("coarse").output
