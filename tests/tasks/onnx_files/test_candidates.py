"""Which proposals have to find a thing, and which of them are kept as answers, where it is close."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision.ops import generalized_box_iou_loss

from icm_tasks.onnx_files.candidates import assign, divergence, loss, thinned
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


@pytest.mark.parametrize(("logit", "chosen"), [(2.0, 0), (3.0, 1)])
def test_a_proposal_costs_its_cross_entropy_and_three_times_that_of_its_overlap(logit: float, chosen: int) -> None:
    # Overlaps of 0.9 and 0.6, of which the thing wants one whole. The first is unlikely, and costs
    # -ln sigmoid(-1) - 3 ln 0.9 = 1.313 + 0.316; the second 0.127 + 1.532 with the logit 2, and 0.049 + 1.532 with 3.
    boxes = torch.tensor([[0.0, 0, 10, 9], [0, 0, 10, 6]])
    found = Candidates(boxes, torch.tensor([[-1.0], [logit]]))
    owner, _ = assign(found, torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([0]))
    assert owner.tolist() == [0 if number == chosen else -1 for number in range(2)]


def focal(logit: float, wanted: float) -> float:
    """Quality focal loss of one likelihood: cross-entropy times the squared distance."""
    said = 1 / (1 + math.exp(-logit))
    return -((wanted - said) ** 2) * (wanted * math.log(said) + (1 - wanted) * math.log(1 - said))


def test_of_a_thing_with_two_proposals_the_loss_is_the_mean_of_both() -> None:
    boxes, logits = proposals((0, 0, 10, 10), (0, 0, 10, 9), (0, 0, 10, 8), logit=0.5)
    truth = {"boxes": torch.tensor([[0.0, 0, 10, 10]]), "labels": torch.tensor([0])}
    # The overlaps 1 + 0.9 + 0.8 are two whole ones; of the second box a tenth is missing, and the third has no thing.
    expected = (focal(0.5, 1.0) + focal(0.5, 0.9) + focal(0.5, 0.0) + 2 * 0.1) / 2
    assert loss(Candidates(boxes[None], logits[None]), (truth,)).tolist() == pytest.approx([expected], rel=1e-5)


def test_a_thing_inside_of_a_crowd_has_to_be_found_all_the_same() -> None:
    boxes, logits = proposals((40, 40, 50, 60), (60, 42, 70, 58), logit=-1.0)
    truth = {
        "boxes": torch.tensor([[40.0, 40, 50, 60], [30, 30, 90, 90]]),
        "labels": torch.tensor([0, 0]),
        "iscrowd": torch.tensor([0, 1]),
    }
    # The first is the thing to the pixel, and the second counts neither way.
    expected = focal(-1.0, 1.0)
    assert loss(Candidates(boxes[None], logits[None]), (truth,)).tolist() == pytest.approx([expected], rel=1e-5)


def test_boxes_are_trained_by_how_far_they_overlap_and_not_by_what_classes_should_say() -> None:
    boxes, logits = proposals((1, 2, 11, 9), (60, 60, 70, 80), logit=-2.0)
    thing = torch.tensor([[0.0, 0, 10, 10]])
    found = boxes[None].clone().requires_grad_()
    loss(Candidates(found, logits[None]), ({"boxes": thing, "labels": torch.tensor([0])},)).sum().backward()
    alone = boxes[:1].clone().requires_grad_()
    (2 * generalized_box_iou_loss(alone, thing, reduction="sum")).backward()
    assert alone.grad is not None and bool(alone.grad.any())
    torch.testing.assert_close(found.grad, torch.cat([alone.grad, torch.zeros(1, 4)])[None])


def test_losses_are_of_each_picture_whatever_the_others_are() -> None:
    generator = torch.Generator().manual_seed(0)
    corners = 40 * torch.rand(3, 6, 2, generator=generator)
    boxes = torch.cat([corners, corners + 5 + 20 * torch.rand(3, 6, 2, generator=generator)], 2)
    found = Candidates(boxes, 3 * torch.randn(3, 6, 2, generator=generator))
    clean = Candidates(boxes.flip(1), 3 * torch.randn(3, 6, 2, generator=generator))
    truth = tuple(
        {"boxes": boxes[row, :count] + 1, "labels": torch.arange(count) % 2} for row, count in enumerate((3, 0, 1))
    )
    rows = [Candidates(*(part[row : row + 1] for part in found)) for row in range(3)]
    others = [Candidates(*(part[row : row + 1] for part in clean)) for row in range(3)]
    alone = [loss(one, truth[row : row + 1]) for row, one in enumerate(rows)]
    torch.testing.assert_close(loss(found, truth), torch.cat(alone))
    apart = [divergence(one, other) for one, other in zip(rows, others, strict=True)]
    torch.testing.assert_close(divergence(found, clean), torch.cat(apart))
    assert len(set(torch.cat([*alone, *apart]).tolist())) == 6


def test_places_left_of_the_picture_and_above_it_count_as_any_others() -> None:
    def moved(found: Candidates) -> Candidates:
        return Candidates(found.boxes - torch.tensor([500.0, 300, 500, 300]), found.logits)

    clean = Candidates(torch.tensor([[[0.0, 0, 10, 10]]]), torch.tensor([[[2.0]]]))
    coded = Candidates(torch.tensor([[[5.0, 0, 15, 12]]]), torch.tensor([[[0.5]]]))
    torch.testing.assert_close(divergence(moved(coded), moved(clean)), divergence(coded, clean))
    truth = {"boxes": clean.boxes[0], "labels": torch.tensor([0])}
    torch.testing.assert_close(loss(moved(coded), ({**truth, "boxes": moved(clean).boxes[0]},)), loss(coded, (truth,)))


def test_a_box_without_an_area_is_near_to_itself() -> None:
    clean = Candidates(torch.tensor([[[8.0, 8, 8, 8]]]), torch.tensor([[[9.0]]]))
    elsewhere = Candidates(clean.boxes + 20, clean.logits)
    assert float(divergence(clean, clean)) < 0.5 < 3 < float(divergence(elsewhere, clean))


def test_half_inside_of_a_crowd_is_inside() -> None:
    found = Candidates(torch.tensor([[[35.0, 45, 45, 55]]]), torch.tensor([[[9.0]]]))
    truth = {"boxes": torch.tensor([[40.0, 40, 80, 60]]), "labels": torch.tensor([0]), "iscrowd": torch.tensor([1])}
    assert float(loss(found, (truth,))) == 0
    outside = Candidates(found.boxes - torch.tensor([1.0, 0, 1, 0]), found.logits)
    assert float(loss(outside, (truth,))) > 0.5


def test_a_box_above_and_left_of_a_crowd_is_outside_of_it() -> None:
    boxes, logits = proposals((0, 0, 10, 10), logit=2.0)
    truth = {"boxes": torch.tensor([[40.0, 40, 80, 60]]), "labels": torch.tensor([0]), "iscrowd": torch.tensor([1])}
    assert loss(Candidates(boxes[None], logits[None]), (truth,)).tolist() == pytest.approx([focal(2.0, 0.0)], rel=1e-5)


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


@pytest.mark.parametrize(("logit", "counted"), [(30.0, 30.0), (79.0, 79.0), (500.0, 80.0), (math.inf, 80.0)])
def test_the_surer_something_is_that_is_not_there_the_more_it_costs_up_to_80_nats(logit: float, counted: float) -> None:
    boxes, logits = proposals((0, 0, 10, 10), logit=logit)
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    assert loss(Candidates(boxes[None], logits[None]), (nothing,)).tolist() == pytest.approx([counted])
