"""Which proposals have to find a thing, and which of them are kept as answers, where it is close."""

from __future__ import annotations

import pytest
import torch

from icm_tasks.onnx_files.candidates import assign, loss, thinned
from icm_tasks.onnx_files.layouts import Candidates


def proposals(*boxes: tuple[float, ...], logit: float = 0.0) -> Candidates:
    """Of one picture and one class."""
    return Candidates(torch.tensor(boxes, dtype=torch.float32), torch.full((len(boxes), 1), logit))


def test_a_proposal_that_two_things_want_goes_to_the_one_that_it_overlaps_more() -> None:
    things = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 12]])
    # By their overlaps, 1 + 10/12 + 10/40 and 10/12 + 1 + 12/40, each thing wants two, and both want the same two.
    found = proposals((0, 0, 10, 10), (0, 0, 10, 12), (0, 0, 10, 40))
    for order, wanted in (([0, 1], [0, 1, -1]), ([1, 0], [1, 0, -1])):
        owner, overlap = assign(found, things[order], torch.tensor([0, 0]))
        assert owner.tolist() == wanted
        assert overlap.tolist() == [1, 1, 0]


def test_a_thing_wants_as_many_proposals_as_all_overlaps_add_up_to() -> None:
    found = proposals((0, 0, 10, 10), (0, 0, 10, 9), (0, 0, 10, 8))
    owner, _ = assign(found, torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([0]))
    assert owner.tolist() == [0, 0, -1]  # 1 + 0.9 + 0.8 are 2 whole ones


def test_half_inside_of_a_crowd_is_inside() -> None:
    found = Candidates(torch.tensor([[[35.0, 45, 45, 55]]]), torch.tensor([[[9.0]]]))
    truth = {"boxes": torch.tensor([[40.0, 40, 80, 60]]), "labels": torch.tensor([0]), "iscrowd": torch.tensor([1])}
    assert float(loss(found, (truth,))) == 0
    outside = Candidates(found.boxes - torch.tensor([1.0, 0, 1, 0]), found.logits)
    assert float(loss(outside, (truth,))) > 0.5


def test_boxes_are_cut_to_the_pictures_height_and_width() -> None:
    boxes, logits = proposals((-5, -7, 100, 200), logit=2.0)
    assert thinned(boxes, logits, (50, 60), 0.01, 0.5, 10)["boxes"].tolist() == [[0, 0, 60, 50]]


def test_a_score_of_the_least_is_enough() -> None:
    boxes, logits = proposals((0, 0, 9, 9))  # the sigmoid of 0 is 0.5 to the bit
    assert [len(thinned(boxes, logits, (50, 60), least, 0.5, 10)["scores"]) for least in (0.5, 0.501)] == [1, 0]


@pytest.mark.parametrize(("most", "kept"), [(3, 3), (10_000, 3000)])
def test_no_more_than_the_three_thousand_best_are_looked_at(most: int, kept: int) -> None:
    logits = torch.linspace(-1, 1, 3100)[:, None]
    boxes = torch.tensor([[0.0, 0, 9, 9]]).expand(3100, 4)
    found = thinned(boxes, logits, (50, 60), 0.0, None, most)["scores"]
    torch.testing.assert_close(found, logits[:, 0].sigmoid().flip(0)[:kept])
