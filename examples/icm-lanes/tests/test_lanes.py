"""The package keeps icm's contracts, lines move with their pictures, and figures are what numpy says."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import icm_lanes
import numpy as np
import pytest
import torch
from icm_lanes import Borders, Crossings, Polylines
from icm_lanes.borders import largest
from icm_lanes.crossings import link
from icm_lanes.geometry import clipped, crossings, distances, joined, length, samples, split
from PIL import Image
from torch.nn import functional as F
from torchvision import tv_tensors
from torchvision.transforms import v2

import icm_core
from icm_core.errors import InputError
from icm_core.testing import DataSetCase, HeadCase, KindCase, parametrize_with_checks
from icm_core.types import Features, Legend, Prediction

_FOLDER = tempfile.TemporaryDirectory()
ROOT = Path(_FOLDER.name)
for folder in ("train", "trainannot"):
    (ROOT / folder).mkdir()
for number in range(3):
    rows, columns = np.mgrid[:64, :96]
    classes = np.zeros((64, 96), dtype=np.uint8)
    classes[(rows > 20) & (abs(columns - 48 - 3 * number) < 0.6 * (rows - 16))] = 3  # a road that narrows
    classes[40:, :40] = 8  # a car in front of its left edge
    Image.fromarray(classes * 20).convert("RGB").save(ROOT / f"train/{number}.png")
    Image.fromarray(classes).save(ROOT / f"trainannot/{number}.png")

KIND, NAMES = Polylines(), Legend(("road edge", "lane"))


def target(*lines: list[tuple[float, float]], labels: tuple[int, ...] = ()) -> dict[str, torch.Tensor]:
    numbers = [number for number, line in enumerate(lines) for _ in line]
    return {
        "points": torch.tensor([point for line in lines for point in line], dtype=torch.float32).reshape(-1, 2),
        "lines": torch.tensor(numbers, dtype=torch.int64),
        "labels": torch.tensor(labels or [0] * len(lines), dtype=torch.int64),
    }


@parametrize_with_checks(
    [
        KindCase(Polylines, wrong=[target([(0, 0)]), target([(0, 0), (64, 9)]), target([(0, 0), (9, 9)], labels=(7,))]),
        HeadCase(Crossings, {"lines": ["road edge", "lane"], "width": 8}),
        HeadCase(Crossings, {"width": 8, "surely": 0.04}),
        DataSetCase(Borders, root=ROOT),
    ]
)
def test_conformance(case, check) -> None:
    check(case)


TWO = [(0, 0), (9, 9)], [(5, 5), (7, 7)]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"labels": torch.tensor([0, 2])}, "has a line of the class 2, and there are 2 labels"),
        ({"labels": torch.tensor([-1, 1])}, "has a line of the class"),
        ({"scores": torch.tensor([0.5, 1.25])}, "has a score that is not between 0 and 1"),
        ({"scores": torch.tensor([-0.25, 1.0])}, "has a score that is not between 0 and 1"),
        ({"scores": torch.tensor([0.5])}, "there should be one for each line"),
        ({"lines": torch.tensor([0, 0, 2, 2])}, r"has points of the lines \[0, 2\] and 2 labels"),
        ({"lines": torch.tensor([0, 0, 0, 1])}, r"has points of the lines \[0, 1\] and 2 labels"),
        ({"lines": torch.tensor([1, 1, 2, 2])}, "lines are numbered from 0"),
    ],
)
def test_answers_that_are_no_lines_are_refused(changes: dict[str, torch.Tensor], says: str) -> None:
    right = {**target(*TWO, labels=(0, 1)), "scores": torch.tensor([0.0, 1.0])}
    KIND.check_prediction(Prediction("lanes.polylines", [right], NAMES.labels), (20, 30), 1)
    with pytest.raises(ValueError, match=says):
        KIND.check_prediction(Prediction("lanes.polylines", [{**right, **changes}], NAMES.labels), (20, 30), 1)


def test_lines_are_numbered_without_a_gap() -> None:
    three = {**target(*TWO, labels=(0, 1)), "lines": torch.tensor([0, 0, 2, 2]), "labels": torch.tensor([0, 1, 1])}
    with pytest.raises(ValueError, match=r"has points of the lines \[0, 2\] and 3 labels"):
        KIND.check_target(three, (20, 30), NAMES)


def test_edges_stop_behind_cars_and_at_the_picture_s_border() -> None:
    found = Borders(Borders.Params(step=4), ROOT, "train")[0].target
    points, lines = found["points"], found["lines"]
    assert lines.unique().tolist() == [0, 1]  # of the left edge what is above the car, and the right edge
    left, right = points[lines == 0], points[lines == 1]
    assert left[:, 1].max() < 40 and left[:, 1].min() > 20
    for x, y in left.tolist():
        assert x == np.floor(48 - 0.6 * (y - 16)) + 0.5
    for x, y in right.tolist():
        assert x == np.ceil(48 + 0.6 * (y - 16)) - 0.5  # between the road's last pixel and the next
    assert right[:, 0].max() <= 95 and len(right) > 6


def test_edges_have_a_point_in_the_middle_of_every_few_rows_but_none_beside_a_car(tmp_path: Path) -> None:
    for folder in ("train", "trainannot"):
        (tmp_path / folder).mkdir()
    classes = np.zeros((20, 30), dtype=np.uint8)
    classes[4:, 8:21], classes[11:, 21:25] = 3, 8
    Image.fromarray(classes).convert("RGB").save(tmp_path / "train/a.png")
    Image.fromarray(classes).save(tmp_path / "trainannot/a.png")
    found = Borders(Borders.Params(step=4, shortest=2), tmp_path, "train")[0].target
    assert found["lines"].tolist() == [0] * 4 + [1] * 2
    assert found["points"].tolist() == [[7.5, y] for y in (17, 13, 9, 5)] + [[20.5, 9], [20.5, 5]]


@pytest.mark.parametrize(("aside", "lines"), [(4, 1), (5, 2)])
def test_an_edge_that_leaps_by_more_than_a_share_of_the_width_ends(tmp_path: Path, aside: int, lines: int) -> None:
    for folder in ("train", "trainannot"):
        (tmp_path / folder).mkdir()
    classes = np.zeros((32, 40), dtype=np.uint8)
    classes[16:, 3:], classes[:16, 3 + aside :] = 3, 3
    Image.fromarray(classes).convert("RGB").save(tmp_path / "train/a.png")
    Image.fromarray(classes).save(tmp_path / "trainannot/a.png")
    found = Borders(Borders.Params(step=4, leap=0.1), tmp_path, "train")[0].target
    assert len(found["labels"]) == lines and len(found["points"]) == 8


@pytest.mark.parametrize("size", [(20, 29), (19, 30)])
def test_classes_of_another_size_than_the_picture_are_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    for folder in ("train", "trainannot"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (30, 20)).save(tmp_path / "train/a.png")
    Image.fromarray(np.zeros(size, dtype=np.uint8)).save(tmp_path / "trainannot/a.png")
    with pytest.raises(InputError, match=rf"the class map is {size[1]}x{size[0]} pixels, its picture 30x20"):
        Borders(Borders.Params(), tmp_path, "train")[0]


def test_pictures_come_by_their_names_whatever_order_the_disk_has(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(sorted(there(self), reverse=True)))
    data = Borders(Borders.Params(), ROOT, "train")
    assert [data[number].key for number in range(3)] == ["train/0", "train/1", "train/2"]


def moved(steps: list[v2.Transform], nest: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    picture = tv_tensors.Image(torch.zeros(3, 60, 80, dtype=torch.uint8))
    wrapped = KIND.wrap(nest, (60, 80))
    for step in steps:
        picture, wrapped = step(picture, wrapped)
    return KIND.unwrap(wrapped, picture.shape[-2:], NAMES)


def test_lines_move_as_points_do_and_are_cut_at_the_border() -> None:
    given = target([(10, 50), (30, 20), (70, 10)], [(5, 5), (5, 55)], labels=(1, 0))
    found = moved([v2.RandomHorizontalFlip(1.0)], given)
    assert found["points"].tolist() == [[69, 50], [49, 20], [9, 10], [74, 5], [74, 55]]
    assert torch.equal(moved([], given)["points"], given["points"])

    class Window(v2.Transform):
        def transform(self, inpt, params):
            return v2.functional.crop(inpt, 15, 20, 41, 41)

    # What is left of the first line: from where it comes in, x = 20, to where it goes out at the top, y = 15.
    found = moved([Window()], given)
    assert found["labels"].tolist() == [1] and found["lines"].tolist() == [0, 0, 0]
    assert torch.allclose(found["points"], torch.tensor([[0.0, 20.0], [10.0, 5.0], [30.0, 0.0]]), atol=1e-5)
    KIND.check_target(found, (41, 41), NAMES)


def test_a_line_that_comes_back_is_two() -> None:
    class Window(v2.Transform):
        def transform(self, inpt, params):
            return v2.functional.crop(inpt, 0, 0, 30, 80)

    found = moved([Window()], target([(0, 10), (20, 50), (40, 10)]))
    assert found["lines"].tolist() == [0, 0, 1, 1] and found["labels"].tolist() == [0, 0]
    assert found["points"][:, 1].tolist() == [10, 29, 29, 10]


def test_of_a_line_less_than_a_pixel_nothing_stays() -> None:
    class Window(v2.Transform):
        def transform(self, inpt, params):
            return v2.functional.crop(inpt, 0, 0, 30, 40)

    # Of the first there is 0.9 of a pixel inside, of the second all.
    found = moved([Window()], target([(38.1, 5), (60, 5)], [(10, 20), (11, 20)], labels=(1, 0)))
    assert found["points"].tolist() == [[10, 20], [11, 20]] and found["labels"].tolist() == [0]


def test_only_lines_that_are_not_sure_are_drawn_with_their_score(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[tuple[float, float], str]] = []
    monkeypatch.setattr("icm_lanes.polylines.label", lambda drawn, at, text, colour: said.append((at, text)))
    lines = target([(10, 50), (30, 20), (70, 10)], [(5, 5), (5, 55)], labels=(1, 0))
    prediction = Prediction("lanes.polylines", [{**lines, "scores": torch.tensor([0.625, 1.0])}], NAMES.labels)
    KIND.draw(prediction, Image.new("RGB", (90, 60)))
    assert said == [((34.0, 20.0), "lane 62%"), ((9.0, 55.0), "road edge")]


def test_a_line_along_the_picture_s_border_is_inside() -> None:
    for edge in (0.0, 79.0):
        (piece,) = clipped(torch.tensor([[edge, -10.0], [edge, 30.0]]), (60, 80))
        assert piece.tolist() == [[edge, 0.0], [edge, 30.0]]
    assert clipped(torch.tensor([[79.5, -10.0], [79.5, 30.0]]), (60, 80)) == []


def test_a_line_that_begins_outside_and_has_a_corner_on_the_border_begins_there() -> None:
    (piece,) = clipped(torch.tensor([[-10.0, 5.0], [0.0, 5.0], [10.0, 7.0]]), (60, 80))
    assert piece.tolist() == [[0.0, 5.0], [10.0, 7.0]]


def test_a_piece_that_begins_on_the_border_does_not_go_on_the_one_before() -> None:
    line = torch.tensor([[10.0, 10.0], [90.0, 10.0], [90.0, 30.0], [79.0, 30.0], [50.0, 30.0]])
    found = [piece.tolist() for piece in clipped(line, (60, 80))]
    assert found == [[[10.0, 10.0], [79.0, 10.0]], [[79.0, 30.0], [50.0, 30.0]]]


def figures_of(said: dict[str, torch.Tensor], true: dict[str, torch.Tensor]) -> dict[str, float | None]:
    scores = torch.ones(len(said["labels"]))
    tally = KIND.tally(Prediction("lanes.polylines", [{**said, "scores": scores}], NAMES.labels), true)
    return {name: figure.value for name, figure in KIND.figures([tally], NAMES).items()}


@pytest.mark.parametrize(("x", "met"), [(18.0, 100.0), (18.01, 0.0)])
def test_a_line_that_is_8_pixels_away_is_near(x: float, met: float) -> None:
    found = figures_of(target([(x, 0), (x, 100)]), target([(10, 0), (10, 100)]))
    assert (found["completeness"], found["correctness"], found["f1"]) == (met, met, met)


def test_where_nothing_is_and_nothing_was_said_there_are_no_figures() -> None:
    nothing = dict.fromkeys(("f1", "completeness", "correctness", "distance"))
    assert figures_of(target(), target()) == nothing
    # A line where there is none is wrong, and away from nothing.
    assert figures_of(target([(5, 0), (5, 9)]), target()) == {**nothing, "f1": 0.0, "correctness": 0.0}


def test_figures_of_a_line_beside_another() -> None:
    true, said = target([(10, 0), (10, 100)]), target([(13, 0), (13, 50)], [(60, 0), (60, 100)])
    prediction = Prediction("lanes.polylines", [{**said, "scores": torch.ones(2)}], NAMES.labels)
    tally = KIND.tally(prediction, true)
    found = {name: figure.value for name, figure in KIND.figures([tally], NAMES).items()}
    # Of 100 pixels that are true, 50 and those up to sqrt(8^2 - 3^2) farther down are met; of 150 said, 50 are right.
    assert found["completeness"] == pytest.approx(57.4, abs=1)
    assert found["correctness"] == pytest.approx(100 / 3)
    assert found["f1"] == pytest.approx(2 * 57.4 * 33.3 / (57.4 + 33.3), abs=0.6)
    places = np.arange(100) + 0.5
    away = np.where(places < 50, 3.0, np.hypot(3, places - 50))
    assert found["distance"] == pytest.approx(np.minimum(away, 50).mean(), abs=1e-6)
    nothing = Prediction("lanes.polylines", [{**target(), "scores": torch.zeros(0)}], NAMES.labels)
    found = {name: figure.value for name, figure in KIND.figures([KIND.tally(nothing, true)], NAMES).items()}
    assert found == {"f1": 0.0, "completeness": 0.0, "correctness": None, "distance": 50.0}
    other = Prediction(
        "lanes.polylines", [{**true, "labels": torch.ones(1).long(), "scores": torch.ones(1)}], NAMES.labels
    )
    assert KIND.figures([KIND.tally(other, true)], NAMES)["f1"].value == 0.0  # a lane is no edge


def test_draws_of_pictures_have_the_figures_of_those_pictures() -> None:
    generator = torch.Generator().manual_seed(0)
    tallies = []
    for _ in range(4):
        true, said = (KIND.example_target((60, 80), NAMES, generator) for _ in range(2))
        tallies.append(KIND.tally(KIND.truth(said, NAMES), true))
    weights = np.array([[1.0, 1, 1, 1], [2, 0, 0, 1]])
    fast, slow = KIND.resampled(tallies, NAMES, weights), super(Polylines, KIND).resampled(tallies, NAMES, weights)
    assert {name: values.tolist() for name, values in fast.items()} == {
        name: pytest.approx(values.tolist(), nan_ok=True) for name, values in slow.items()
    }


def test_crossings_are_joined_upwards_to_the_nearest_end() -> None:
    points = torch.tensor([[10.0, 59.5], [70.0, 59.5], [14.0, 51.5], [64.0, 51.5], [18.0, 43.5], [40.0, 43.5]])
    assert link(points, 20.0) == [[0, 2, 4], [1, 3], [5]]


def test_a_line_goes_on_with_the_nearest_crossing_of_a_row_and_no_other() -> None:
    points = torch.tensor([[10.0, 59.5], [15.0, 51.5], [8.0, 51.5], [9.0, 43.5]])
    assert link(points, 20.0) == [[0, 2, 3], [1]]


def test_a_line_reaches_so_far_along_each_axis_and_no_farther() -> None:
    def lines(x: float, y: float) -> list[list[int]]:
        return link(torch.tensor([[10.0, 59.5], [10.0 + x, 59.5 - y]]), 20.0)

    assert lines(20, 20) == [[0, 1]] and lines(21, 8) == lines(0, 21) == [[0], [1]]


def test_the_loss_is_focal_over_cells_but_those_beside_and_smooth_over_offsets() -> None:
    head = Crossings(Crossings.Params(lines=("road edge", "lane"), width=8), {"image": icm_core.Level(3, 1)})
    generator = torch.Generator().manual_seed(0)
    said = {name: torch.randn(2, 2, 4, 6, generator=generator) for name in ("crossings", "offsets")}
    # From the first to the third row of cells, whose middles are at 3.5, 11.5 and 19.5, at x = 17, 19 and 21.
    line = target([(16.125, 0.0), (21.125, 20.0)], labels=(1,))
    cells = {(0, 2): 17.0, (1, 2): 19.0, (2, 2): 21.0}
    logits, offsets = said["crossings"][0].double(), said["offsets"][0].double()
    total = 0.0
    for label, row, column in np.ndindex(2, 4, 6):
        chance, there = float(logits[label, row, column].sigmoid()), label == 1 and (row, column) in cells
        beside = label == 1 and row < 3 and column in (1, 3)
        if there:
            total -= 0.75 * (1 - chance) ** 2 * np.log(chance)
        elif not beside:
            total -= 0.25 * chance**2 * np.log(1 - chance)
        if there or beside:
            off = abs(float(offsets[label, row, column]) - ((cells[row, 2] - 3.5) / 8 - column))
            total += (off**2 / 0.2 if off < 0.1 else off - 0.05) / 3
    found = head.loss(said, (line, target()))
    assert float(found[0]) == pytest.approx(total / 3, rel=1e-4)
    p = said["crossings"][1].double().sigmoid()
    assert float(found[1]) == pytest.approx(float(-(0.25 * p**2 * (1 - p).log()).sum()), rel=1e-4)


def test_a_crossed_cell_is_about_its_own_line_whatever_runs_beside() -> None:
    head = Crossings(Crossings.Params(width=8), {"image": icm_core.Level(3, 1)})
    said = {"crossings": torch.full((1, 1, 1, 6), -20.0), "offsets": torch.zeros(1, 1, 1, 6)}
    # Lines at 20 and 26 cross the cells 2 and 3, whose middles are at 19.5 and 27.5; outside of them are 1 and 4.
    said["crossings"][..., 2:4] = 20.0
    said["offsets"][0, 0, 0, 1:5] = torch.tensor([8.5, 0.5, -1.5, -9.5]) / 8
    both = target([(20.0, 0.0), (20.0, 7.0)], [(26.0, 0.0), (26.0, 7.0)])
    assert head.loss(said, (both,)).tolist() == pytest.approx([0.0], abs=1e-5)


def test_the_divergence_is_a_mean_over_cells_and_classes() -> None:
    head = Crossings(Crossings.Params(lines=("road edge", "lane"), width=8), {"image": icm_core.Level(3, 1)})
    generator = torch.Generator().manual_seed(3)
    said, true = ({"crossings": torch.randn(2, 2, 3, 4, generator=generator)} for _ in range(2))
    p, q = (one["crossings"].double().sigmoid() for one in (true, said))
    each = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    torch.testing.assert_close(head.divergence(said, true).double(), each.sum((1, 2, 3)) / 24, rtol=1e-4, atol=1e-5)
    assert head.divergence(true, true).tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


def test_the_road_is_the_largest_part_of_its_class() -> None:
    mask = np.zeros((6, 9), dtype=bool)
    mask[0, :3], mask[2, 1:6], mask[4:, 7] = True, True, True
    assert np.argwhere(largest(mask)).tolist() == [[2, column] for column in range(1, 6)]
    assert not largest(np.zeros((2, 3), dtype=bool)).any()


def test_lines_are_read_from_the_surest_cells_of_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"crossings": torch.full((1, 2, 5, 7), -9.0), "offsets": torch.zeros(1, 2, 5, 7)}
    for row, column, offset, logit in ((0, 1, 0.25, 1.0), (1, 2, -0.5, 2.0), (2, 2, 0.0, 3.0), (4, 3, 0.0, 5.0)):
        said["crossings"][0, 1, row, column], said["offsets"][0, 1, row, column] = logit, offset
    said["crossings"][0, 1, 2, 3] = 2.0  # beside a surer one
    for row in range(3):
        said["crossings"][0, 0, row, 6] = 4.0
    said["offsets"][0, 0, :, 6] = 3.0  # beyond the picture
    features = Features({"image": torch.zeros(1, 3, 34, 50)}, (34, 50))

    def lines(**params: float) -> dict[str, torch.Tensor]:
        head = Crossings(
            Crossings.Params(lines=("road edge", "lane"), width=8, **params), {"image": icm_core.Level(3, 1)}
        )
        monkeypatch.setattr(head, "forward", lambda features: said)
        (found,) = head.predict(features).output
        return found

    found = lines()
    assert found["labels"].tolist() == [0, 1] and found["lines"].tolist() == [0, 0, 0, 1, 1, 1]
    assert found["points"].tolist() == [
        [49.0, 19.5], [49.0, 11.5], [49.0, 3.5], [19.5, 19.5], [15.5, 11.5], [13.5, 3.5],
    ]  # fmt: skip
    chances = torch.tensor([3.0, 2.0, 1.0]).sigmoid()
    assert found["scores"].tolist() == pytest.approx([float(torch.tensor(4.0).sigmoid()), float(chances.mean())])
    assert lines(most=1)["labels"].tolist() == [0] and lines(surely=0.8)["labels"].tolist() == [0]
    assert lines(shortest=4)["labels"].tolist() == []


@pytest.mark.parametrize(("shortest", "lines"), [(2, [0, 0]), (3, [])])
def test_lines_of_fewer_crossings_than_asked_for_are_left_out(shortest: int, lines: list[int]) -> None:
    head = Crossings(Crossings.Params(width=8, shortest=shortest), {"image": icm_core.Level(3, 1)}).eval()
    with torch.no_grad():
        head.last.weight.zero_()
        head.last.bias.copy_(torch.tensor([5.0, 0.0]))  # a crossing in the middle of every cell, of which there are two
    (found,) = head.predict(Features({"image": torch.zeros(1, 3, 16, 8)}, (16, 8))).output
    assert found["lines"].tolist() == lines
    assert found["points"].tolist() == [[3.5, 11.5], [3.5, 3.5]][: len(lines)]


def test_lengths_places_and_distances_are_those_of_the_corners() -> None:
    line = torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 10.0]])
    assert length(line) == pytest.approx(11)
    places = samples(line, 2.0)  # six pieces of 11 / 6
    reached = (np.arange(6) + 0.5) * 11 / 6
    expected = [[0.6 * at, 0.8 * at] if at < 5 else [3.0, at - 1.0] for at in reached]
    assert places.numpy() == pytest.approx(np.array(expected))
    away = distances(torch.tensor([[3.0, 0.0], [5.0, 7.0], [3.0, 14.0]]), [line])
    assert away.tolist() == pytest.approx([2.4, 2.0, 4.0])
    row, x = crossings(line, torch.tensor([2.0, 4.0, 9.0, 11.0]))
    assert (row.tolist(), x.tolist()) == ([0, 1, 2], pytest.approx([1.5, 3.0, 3.0]))
    # An upper end lies on its horizontal, a lower one does not.
    assert crossings(line, torch.tensor([0.0, 10.0]))[0].tolist() == [0]


def test_answers_are_the_surest_first_and_points_on_the_ends_of_pixels() -> None:
    found = {**target([(1.234, 2), (3, 4)], [(5, 6), (7, 8)], labels=(1, 0)), "scores": torch.tensor([0.25, 0.75])}
    prediction = Prediction("lanes.polylines", [found], NAMES.labels)
    assert KIND.answer(prediction) == {
        "lines": [
            {"label": "road edge", "index": 0, "score": 0.75, "points": [[5.0, 6.0], [7.0, 8.0]]},
            {"label": "lane", "index": 1, "score": 0.25, "points": [[1.23, 2.0], [3.0, 4.0]]},
        ]
    }
    assert KIND.describe(prediction) == "1 x lane, 1 x road edge"
    renumbered = KIND.renumber(found, (1, 0), NAMES)
    assert renumbered["labels"].tolist() == [0, 1] and torch.equal(renumbered["points"], found["points"])


def test_a_trained_head_finds_the_line_that_it_was_shown() -> None:
    torch.manual_seed(0)
    head = Crossings(Crossings.Params(width=8), {"image": icm_core.Level(3, 1)})
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    picture = (columns > 20 + 0.5 * rows).float().expand(1, 3, -1, -1)
    truth = target([(20.0, 0.0), (51.5, 63.0)])
    optimizer = torch.optim.Adam(head.parameters(), 0.01)
    features = Features({"image": picture}, (64, 96))
    for _ in range(60):
        optimizer.zero_grad()
        head.losses(features, (truth,)).mean().backward()
        optimizer.step()
    found = head.eval().predict(features)
    figures = KIND.figures([KIND.tally(found, truth)], found.legend)
    assert figures["correctness"].value == 100 and figures["completeness"].value > 90
    assert figures["distance"].value < 2


def test_a_file_from_before_the_head_existed_has_lines() -> None:
    before = icm_core.load("sicmh-small", device="cpu")
    old = before.encode(torch.rand(3, 70, 90), quality=2)
    pipe = icm_core.load("icm-lanes", device="cpu", weights="available")
    assert pipe.base_fingerprint == before.base_fingerprint
    found = pipe.decode(old, tasks=["lanes"])["lanes"]
    pipe.kind("lanes").check_prediction(found, (70, 90), 1)


def test_every_picture_has_a_class_map_of_its_name(tmp_path: Path) -> None:
    def keys() -> list[str]:
        data = Borders(Borders.Params(), tmp_path, "train")
        return [data[number].key for number in range(len(data))]

    pictures, maps = tmp_path / "train", tmp_path / "trainannot"
    with pytest.raises(icm_core.InputError, match=f"^{re.escape(str(pictures))}: no such folder; expected pictures in"):
        keys()
    (pictures / "more").mkdir(parents=True)  # a folder is no picture
    with pytest.raises(icm_core.InputError, match=f"^{re.escape(str(maps))}: no such folder"):
        keys()
    maps.mkdir()
    with pytest.raises(
        icm_core.InputError, match=f"^{re.escape(str(pictures))}: no class map for a picture, or no pic"
    ):
        keys()
    for name in ("b.png", "a.jpg"):
        Image.new("RGB", (9, 6)).save(pictures / name)
    Image.new("L", (9, 6)).save(maps / "a.png")
    with pytest.raises(icm_core.InputError, match=rf"^{re.escape(str(maps))}.b\.png: no class map for a picture"):
        keys()
    Image.new("L", (9, 6)).save(maps / "b.png")
    assert keys() == ["train/a", "train/b"]


def test_it_brings_a_pipeline_and_a_recipe() -> None:
    assert [path.name for path in icm_lanes.icm_specs()] == ["icm-lanes.json"]
    (recipe,) = icm_lanes.icm_recipes()
    said = json.loads(recipe.read_text())
    assert recipe.stem == said["recipe"] == "lanes-camvid" and said["pipeline"] == "icm-lanes"


@pytest.mark.parametrize(("beside", "edges"), [(4, 2), (5, 1), (7, 1), (0, 2)])
def test_every_class_that_hides_the_road_hides_its_edge(tmp_path: Path, beside: int, edges: int) -> None:
    for folder in ("train", "trainannot"):
        (tmp_path / folder).mkdir()
    classes = np.zeros((32, 40), dtype=np.uint8)
    classes[:, 10:25], classes[:, 25:] = 2, beside
    Image.fromarray(classes).convert("RGB").save(tmp_path / "train/a.png")
    Image.fromarray(classes).save(tmp_path / "trainannot/a.png")
    found = Borders(Borders.Params(road=2, hiding=(5, 7)), tmp_path, "train")[0].target
    assert found["labels"].tolist() == [0] * edges


@torch.no_grad()
def test_the_network_is_convolutions_that_see_ever_farther_each_normed_in_four_groups() -> None:
    generator = torch.Generator().manual_seed(4)
    params = Crossings.Params(lines=("road edge", "lane"), width=8)
    head = Crossings(params, {"image": icm_core.Level(5, 1)}).eval()
    assert head.last.bias[:2].tolist() == [-3.0, -3.0]  # hardly any cell has a line of any class at first
    assert head.last.bias[2:].abs().max() < 1
    for parameter in head.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
    picture = torch.rand(2, 5, 64, 80, generator=generator)
    x, weights = picture[..., :44, :70], iter(head.body.parameters())  # what is beyond the picture is not seen
    for stride, dilation in ((4, 1), (2, 1), (1, 1), (1, 2), (1, 4), (1, 8)):
        weight, bias, scale, shift = (next(weights) for _ in range(4))
        x = F.conv2d(x, weight, bias, stride, dilation * (weight.shape[2] // 2), dilation)
        x = F.group_norm(x, 4, scale, shift).relu()
    assert next(weights, None) is None
    found, last = head(Features({"image": picture}, (44, 70))), F.conv2d(x, head.last.weight, head.last.bias)
    assert last.shape == (2, 4, 6, 9)
    torch.testing.assert_close(found["crossings"], last[:, :2], rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(found["offsets"], last[:, 2:], rtol=1e-4, atol=1e-3)


def test_half_precision_does_not_make_neighbouring_cells_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {name: torch.zeros(1, 1, 4, 9, dtype=torch.bfloat16) for name in ("crossings", "offsets")}
    said["crossings"][..., 3], said["crossings"][..., 4] = 5.5, 5.53125  # 0.99593 and 0.99606: one value of bfloat16
    head = Crossings(Crossings.Params(width=8, surely=0.6), {"image": icm_core.Level(3, 1)})
    monkeypatch.setattr(head, "forward", lambda features: said)
    (found,) = head.predict(Features({"image": torch.zeros(1, 3, 32, 72)}, (32, 72))).output
    assert found["points"].tolist() == [[35.5, y] for y in (27.5, 19.5, 11.5, 3.5)]
    assert found["scores"].tolist() == [pytest.approx(1 / (1 + np.exp(-5.53125)))]


def test_lines_are_split_by_their_numbers_and_joined_again() -> None:
    given = target([(1, 2), (3, 4)], [(5, 6), (7, 8), (9, 1)])
    first, none, second = split(given["points"], given["lines"] * 2, 3)
    assert (first.tolist(), none.tolist()) == ([[1, 2], [3, 4]], [])
    assert second.tolist() == [[5, 6], [7, 8], [9, 1]]
    points, lines = joined([first, second])
    assert torch.equal(points, given["points"]) and torch.equal(lines, given["lines"])
    points, lines = joined([])
    assert (points.shape, points.dtype, lines.shape, lines.dtype) == ((0, 2), torch.float32, (0,), torch.int64)


def test_examples_are_drawn_by_the_generator_all_over_the_picture() -> None:
    def example(seed: int) -> dict[str, torch.Tensor]:
        return KIND.example_target((20, 900), NAMES, torch.Generator().manual_seed(seed))

    many = [example(seed) for seed in range(40)]
    for one in many:
        KIND.check_target(one, (20, 900), NAMES)
    points = torch.cat([one["points"] for one in many])
    assert points[:, 0].max() > 800 and points[:, 1].max() == 19 and points[:, 1].min() == pytest.approx(0.3 * 19)
    assert {len(one["labels"]) for one in many} == {1, 2, 3}
    assert torch.cat([one["labels"] for one in many]).unique().tolist() == [0, 1]
    torch.manual_seed(5)
    again = example(7)
    assert all(torch.equal(again[name], many[7][name]) for name in again)


def test_an_answer_has_the_lines_of_each_picture_with_their_scores() -> None:
    right = {**target(*TWO, labels=(0, 1)), "scores": torch.tensor([0.0, 1.0])}
    unsure = {name: value for name, value in right.items() if name != "scores"}

    def check(*output: object, count: int) -> None:
        KIND.check_prediction(Prediction("lanes.polylines", list(output), NAMES.labels), (20, 30), count)

    check(right, right, count=2)
    for wrong, says in (
        ([right], "it should be a list with a dict for each of 2 pictures"),
        ([right] * 3, "it should be a list with a dict for each of 2 pictures"),
        ([right, unsure], "it should be a dict with points, lines, labels, scores"),
        ([right, {**right, "scores": torch.tensor([0.5, 2.0])}], "has a score that is not between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=says):
            check(*wrong, count=2)


def test_lines_are_counted_by_class_the_most_frequent_first() -> None:
    lines = target(*TWO, [(1, 1), (2, 2)], labels=(0, 1, 1))
    both = [{**one, "scores": torch.ones(len(one["labels"]))} for one in (lines, target(TWO[0]))]
    assert KIND.describe(Prediction("lanes.polylines", both, NAMES.labels)) == "2 x lane, 1 x road edge"
    assert KIND.describe(Prediction("lanes.polylines", both[1:], NAMES.labels)) == "1 x road edge"
    nothing = {**target(), "scores": torch.zeros(0)}
    assert KIND.describe(Prediction("lanes.polylines", [nothing], NAMES.labels)) == "no lines"


def test_lines_are_drawn_in_their_class_s_colour_on_a_copy_of_the_picture() -> None:
    picture = Image.new("RGB", (900, 400), (255, 255, 255))
    legend = Legend(NAMES.labels, colours=((200, 0, 0), (0, 0, 200)))
    lines = KIND.truth(target([(20, 100), (20, 101)], [(100, 300), (500, 300), (899, 300)], labels=(0, 1)), legend)
    assert lines.output[0]["scores"].tolist() == [1.0, 1.0] and lines.legend == legend
    drawn = np.array(KIND.draw(lines, picture))
    assert np.array(picture).min() == 255
    column = [tuple(pixel) for pixel in drawn[290:310, 200].tolist()]
    # A hundredth of the shorter side wide, with a line of ink on either side.
    assert column.count((0, 0, 200)) == 4 and column.count((25, 28, 33)) == 2
    assert column.count((255, 255, 255)) == 14 and column[10] == (0, 0, 200)
    assert tuple(drawn[100, 20]) == (200, 0, 0)
