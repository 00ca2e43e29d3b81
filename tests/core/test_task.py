"""One task by itself: what its head sees of a picture, and whose divergence counts."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from icm_core import Pipeline
from icm_core.types import Features


def seen_by(pipeline: Pipeline, picture: torch.Tensor) -> Features:
    """What the head of ``labels`` is given of a clean picture."""
    task, seen = pipeline.task("labels"), list[Features]()
    handle = task.head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        task.answer(Features({"image": picture[None]}, (37, 53)))
    handle.remove()
    (found,) = seen
    return found


@pytest.mark.parametrize(("most", "block"), [(37 * 53, 1), (37 * 53 - 1, 2), (19 * 27, 2), (19 * 27 - 1, 3)])
def test_blocks_are_the_smallest_with_which_no_more_pixels_are_left_than_a_head_takes(
    pipeline: Pipeline, picture: torch.Tensor, monkeypatch: pytest.MonkeyPatch, most: int, block: int
) -> None:
    monkeypatch.setattr(type(pipeline.task("labels").head), "most_pixels", most)
    found = seen_by(pipeline, picture)
    expected = F.avg_pool2d(picture[None], block, ceil_mode=True, count_include_pad=False)
    assert found.size == (-(-37 // block), -(-53 // block))
    torch.testing.assert_close(found.maps["image"], expected)


def test_a_head_that_reads_more_than_a_picture_sees_all_of_it(
    pipeline: Pipeline, picture: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = type(pipeline.task("labels").head)
    monkeypatch.setattr(head, "most_pixels", 100)
    monkeypatch.setattr(head, "requires", ("image", "depth"))
    assert seen_by(pipeline, picture).size == (37, 53)


def test_a_heads_own_divergence_comes_before_its_kinds(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    task = pipeline.task("classes")
    monkeypatch.setattr(type(task.kind), "compares", False)
    assert not task.compares
    own = lambda head, output, reference: (output - 2 * reference).sum(1)  # noqa: E731
    monkeypatch.setattr(type(task.head), "divergence", own)
    assert task.compares
    assert task.divergence(torch.tensor([[5.0, 1.0]]), torch.tensor([[1.5, 0.5]])).tolist() == [2.0]
