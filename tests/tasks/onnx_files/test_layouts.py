"""Layouts of detectors: inputs that are no multiples of strides, half precision, numbers without end."""

from __future__ import annotations

import math

import pytest
import torch

from icm_tasks.onnx_files.layouts import Boxes, Candidates, Grid, Queries, read

SIZE = (30, 45)  # which strides of 8 cover with 4 x 6 cells


def test_a_grid_covers_an_input_that_is_no_multiple_of_its_stride() -> None:
    rows = torch.zeros(1, 4 * 6, 6)
    found = read(Grid(form="grid", strides=(8,)), [rows], SIZE)
    assert found.boxes[0, -1].tolist() == [40 - 4, 24 - 4, 40 + 4, 24 + 4]  # the sixth column of the fourth row


def test_sides_that_a_grid_makes_too_large_stay_finite() -> None:
    rows = torch.zeros(1, 4 * 6, 6)
    rows[..., 2:4] = 500.0
    boxes = read(Grid(form="grid", strides=(8,)), [rows], SIZE).boxes
    assert bool(boxes.isfinite().all())
    assert float(boxes[0, 0, 2] - boxes[0, 0, 0]) == pytest.approx(8 * math.exp(12))


def test_sigmoids_are_taken_of_things_and_of_classes_where_numbers_are_raw() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(1, 4 * 6, 5 + 3, generator=generator)
    wanted = rows[..., 4:5].sigmoid() * rows[..., 5:].sigmoid()
    grid = read(Grid(form="grid", strides=(8,), scores="sigmoid"), [rows], SIZE)
    torch.testing.assert_close(grid.logits.sigmoid(), wanted)
    boxes = read(Boxes(form="boxes", objectness=True, scores="sigmoid"), [rows], SIZE)
    torch.testing.assert_close(boxes.logits.sigmoid(), wanted)


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("normalised", [False, True])
def test_boxes_are_corners_or_not_and_shares_or_not(corners: bool, normalised: bool) -> None:
    given = torch.tensor([[[0.5, 0.25, 0.75, 0.5, 0.5]]])  # the last is a score
    (box,) = read(Boxes(form="boxes", corners=corners, normalised=normalised), [given], SIZE).boxes[0].tolist()
    wanted = [0.5, 0.25, 0.75, 0.5] if corners else [0.125, 0.0, 0.875, 0.5]
    factors = (45, 30, 45, 30) if normalised else (1, 1, 1, 1)
    assert box == pytest.approx([value * factor for value, factor in zip(wanted, factors, strict=True)])


def test_outputs_of_half_precision_are_read_in_whole() -> None:
    given = torch.tensor([[[0.5, 0.25, 0.75, 0.5, 0.1]]])
    found = read(Boxes(form="boxes", normalised=True), [given.half()], SIZE)
    assert isinstance(found, Candidates) and {tensor.dtype for tensor in found} == {torch.float32}
    assert float(found.logits.sigmoid()) == pytest.approx(float(given.half()[0, 0, 4]), rel=1e-6)


def test_queries_of_a_softmax_have_a_class_beside_the_one_for_nothing() -> None:
    boxes = torch.full((1, 5, 4), 0.5)
    with pytest.raises(ValueError, match=r"the shapes \(1, 5, 1\) and \(1, 5, 4\); queries have logits \(B, N, K\)"):
        read(Queries(form="queries"), [torch.zeros(1, 5, 1), boxes], SIZE)
    assert read(Queries(form="queries"), [torch.zeros(1, 5, 2), boxes], SIZE).logits.shape == (1, 5, 1)
    assert read(Queries(form="queries", scores="sigmoid"), [torch.zeros(1, 5, 1), boxes], SIZE).logits.shape == (
        1,
        5,
        1,
    )


def test_boxes_of_queries_are_middles_and_sides_as_shares_of_height_and_width() -> None:
    given = torch.tensor([[[0.5, 0.25, 0.25, 0.5]]])
    found = read(Queries(form="queries", scores="sigmoid"), [torch.zeros(1, 1, 2), given], SIZE).boxes
    assert found[0, 0].tolist() == [45 * 0.375, 0, 45 * 0.625, 30 * 0.5]


@pytest.mark.parametrize(("objectness", "least"), [(False, 5), (True, 6)])
def test_decoded_boxes_have_a_class_at_least(objectness: bool, least: int) -> None:
    layout = Boxes(form="boxes", objectness=objectness)
    assert read(layout, [torch.zeros(1, 7, least)], SIZE).logits.shape == (1, 7, 1)
    with pytest.raises(ValueError, match=rf"\(1, 7, {least - 1}\); decoded boxes .* \(B, N, {least - 1} \+ K\)"):
        read(layout, [torch.zeros(1, 7, least - 1)], SIZE)


def test_a_grid_has_a_class_at_least() -> None:
    assert read(Grid(form="grid", strides=(8,)), [torch.zeros(1, 24, 6)], SIZE).logits.shape == (1, 24, 1)
    with pytest.raises(ValueError, match=r"\(1, 24, 5\); grids of the strides \[8\] on an input of 45x30 pixels"):
        read(Grid(form="grid", strides=(8,)), [torch.zeros(1, 24, 5)], SIZE)
