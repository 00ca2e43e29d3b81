"""Kind `detection`: boxes move with their picture, and figures are COCO's."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchmetrics.detection import MeanAveragePrecision
from torchvision import tv_tensors
from torchvision.transforms import v2

from icm_core.errors import InputError
from icm_core.kinds import colour_of
from icm_core.types import Legend, Prediction
from icm_tasks.kinds import Detection, coco
from icm_tasks.kinds.painting import line_width

LEGEND = Legend(("car", "person", "dog"))
SIZE = (60, 80)
KIND = Detection()


def target(*boxes, labels=None, **more):
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor([0] * len(boxes) if labels is None else labels, dtype=torch.int64),
        **more,
    }


def said(*things, legend=LEGEND) -> Prediction:
    """A head's answer of (box, label, score) each."""
    boxes, labels, scores = zip(*things, strict=True) if things else ((), (), ())
    answer = target(*boxes, labels=list(labels)) | {"scores": torch.tensor(scores)}
    return Prediction("detection", [answer], legend.labels)


def tallies_of(scenes, legend=LEGEND):
    return [KIND.tally(Prediction("detection", [answer], legend.labels), truth) for truth, answer in scenes]


def values(tallies, legend=LEGEND):
    return {name: figure.value for name, figure in KIND.figures(tallies, legend).items()}


# --- targets ---------------------------------------------------------------------------------------------------------


def test_it_is_registered_by_the_plugin(kind_of):
    assert type(kind_of("detection")) is Detection


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (60, 80)], ids=str)
def test_examples_are_good_targets(size):
    KIND.check_target(KIND.example_target(size, LEGEND, torch.Generator().manual_seed(0)), size, LEGEND)


def test_boxes_may_reach_a_pixel_beyond_the_picture():
    KIND.check_target(target((-1, -1, 81, 61)), SIZE, LEGEND)
    for box in ((-1.1, 0, 9, 9), (0, -1.1, 9, 9), (0, 0, 81.1, 9), (0, 0, 9, 61.1)):
        with pytest.raises(ValueError, match="reaches beyond the picture of 80x60"):
            KIND.check_target(target(box), SIZE, LEGEND)


def test_examples_lie_in_pictures_of_any_shape_and_take_a_quarter_to_a_half_of_each_side():
    boxes = torch.cat(
        [KIND.example_target((40, 400), LEGEND, torch.Generator().manual_seed(seed))["boxes"] for seed in range(40)]
    )
    shares = (boxes[:, 2:] - boxes[:, :2]) / torch.tensor([400.0, 40.0])
    assert 0.2499 < float(shares.min()) < 0.28 and 0.47 < float(shares.max()) <= 0.5001
    assert float(boxes[:, 2].max()) > 350 and float(boxes[:, 3].max()) <= 40


def test_shapes_of_examples_differ() -> None:
    """Most are clearly wider than high, or higher than wide."""
    boxes = torch.cat(
        [KIND.example_target((100, 100), LEGEND, torch.Generator().manual_seed(seed))["boxes"] for seed in range(40)]
    )
    width, height = (boxes[:, 2:] - boxes[:, :2]).unbind(1)
    assert int((width > 1.1 * height).sum()) > 30 and int((height > 1.1 * width).sum()) > 30


def test_no_things_are_a_good_target():
    KIND.check_target(target(), SIZE, LEGEND)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (torch.zeros(3, 4), "is torch.float32 of shape .*dict with boxes, labels"),
        ({"boxes": torch.zeros(0, 4)}, "no 'labels'"),
        (target((1, 2, 3, 4), is_crowd=torch.zeros(1)), "'is_crowd', which is not known.*iscrowd"),
        ({"boxes": torch.zeros(1, 4).double(), "labels": torch.zeros(1).long()}, r"float64.*\(N, 4\) float32"),
        ({"boxes": torch.ones(2, 4), "labels": torch.zeros(1).long()}, r"labels.*shape \(1,\).*\(2,\) int64"),
        (target((1, 2, 3, 4), labels=[3]), "class 3, and there are 3 labels"),
        (target((1, 2, 3, 4), labels=[[0]]), r"labels .*shape \(1, 1\); they should be \(1,\) int64"),
        (target((1, 2, 3, 4), iscrowd=torch.tensor(1)), r"iscrowd .*shape \(\); they should be \(1,\) bool or int64"),
        (target((1, 2, 3, 4), labels=[-1]), "class -1"),
        (target((30, 20, 10, 10)), r"\(30, 20, 10, 10\); boxes are left, top, right, bottom"),
        (target((0.5, 20, 0.25, 30)), r"has the box \(0\.5, 20, 0\.25, 30\); boxes are left"),
        (target((1, 2, float("nan"), 4)), "nan"),
        (target((50, 2, 95, 4)), r"beyond the picture of 80x60"),
        (target((50, 2, 70, 4), iscrowd=torch.tensor([2])), "iscrowd that is neither 0 nor 1"),
        (target((50, 2, 70, 4), area=torch.tensor([-2.0])), "area that is negative"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else "",
)
def test_wrong_targets_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        KIND.check_target(wrong, SIZE, LEGEND)


def test_crowds_are_marked_by_truth_values_or_numbers():
    for crowd in (torch.tensor([True, False]), torch.tensor([1, 0])):
        KIND.check_target(target((1, 2, 3, 4), (5, 6, 7, 8), iscrowd=crowd), SIZE, LEGEND)
    with pytest.raises(ValueError, match="bool or int64"):
        KIND.check_target(target((1, 2, 3, 4), iscrowd=torch.tensor([1.0])), SIZE, LEGEND)


def test_examples_are_a_pixel_wide_and_high_at_least():
    for seed in range(20):
        boxes = KIND.example_target((2, 3), LEGEND, torch.Generator().manual_seed(seed))["boxes"]
        assert float((boxes[:, 2:] - boxes[:, :2]).min()) > 0.999


def test_areas_are_numbers_from_0():
    KIND.check_target(target((50, 2, 70, 4), area=torch.tensor([0.0])), SIZE, LEGEND)
    for wrong in (-0.5, torch.inf, torch.nan):
        with pytest.raises(ValueError, match="area that is negative or not finite"):
            KIND.check_target(target((5, 2, 7, 4), (50, 2, 70, 4), area=torch.tensor([3.0, wrong])), SIZE, LEGEND)


def test_batches_are_tuples_from_which_some_are_taken():
    ones = [target((1, 1, 5, 5)), target(), target((2, 2, 4, 4), (1, 1, 3, 3))]
    batch = KIND.collate(ones)
    assert isinstance(batch, tuple) and all(one is other for one, other in zip(batch, ones, strict=True))
    assert KIND.select(batch, [2, 0]) == (ones[2], ones[0])


# --- moves -----------------------------------------------------------------------------------------------------------


sizes = st.tuples(st.integers(8, 90), st.integers(8, 90))


@settings(max_examples=60, deadline=None)
@given(size=sizes, seed=st.integers(0, 1000), flip=st.booleans(), scaled=sizes, data=st.data())
def test_boxes_are_flipped_scaled_and_cropped_with_the_picture(moved, size, seed, flip, scaled, data):
    things = KIND.example_target(size, LEGEND, torch.Generator().manual_seed(seed))
    height, width = (data.draw(st.integers(1, 90)) for _ in range(2))
    # At least a row and a column of the picture are left.
    top, left = (data.draw(st.integers(1 - cut, side - 1)) for cut, side in zip((height, width), scaled, strict=True))
    steps = [(v2.functional.horizontal_flip,)] if flip else []
    steps += [(v2.functional.resize, list(scaled)), (v2.functional.crop, top, left, height, width)]
    found, after = moved(KIND, things, size, LEGEND, *steps)
    assert after == (height, width)

    expected = []
    for (x0, y0, x1, y1), label in zip(things["boxes"].double().tolist(), things["labels"].tolist(), strict=True):
        if flip:
            x0, x1 = size[1] - x1, size[1] - x0
        down, along = scaled[0] / size[0], scaled[1] / size[1]
        x0, x1 = (min(max(x * along - left, 0), width) for x in (x0, x1))
        y0, y1 = (min(max(y * down - top, 0), height) for y in (y0, y1))
        if min(x1 - x0, y1 - y0) >= 1.01:
            expected.append((label, x0, y0, x1, y1))
        elif min(x1 - x0, y1 - y0) > 0.99:
            return  # on the border, where rounding decides
    rows = [(label, *box) for label, box in zip(found["labels"].tolist(), found["boxes"].tolist(), strict=True)]
    np.testing.assert_allclose(np.array(rows).reshape(-1, 5), np.array(expected).reshape(-1, 5), atol=1e-3)


def test_random_augmentations_move_a_box_as_torchvision_does(moved):
    things = target((10, 20, 50, 40), (60, 5, 79, 58), labels=[1, 2])
    random = [v2.RandomHorizontalFlip(), v2.ScaleJitter(SIZE, (0.5, 2.0)), v2.RandomCrop(48, pad_if_needed=True)]
    steps = v2.Compose(random)
    for seed in range(20):
        torch.manual_seed(seed)
        found, size = moved(KIND, things, SIZE, LEGEND, (steps,))
        torch.manual_seed(seed)
        plain = tv_tensors.BoundingBoxes(things["boxes"], format="XYXY", canvas_size=SIZE)
        _, plain = steps(tv_tensors.Image(torch.zeros(3, *SIZE, dtype=torch.uint8)), plain)
        sides = plain[:, 2:] - plain[:, :2]
        assert size == (48, 48)
        torch.testing.assert_close(found["boxes"], plain[(sides >= 1).all(1)].as_subclass(torch.Tensor))


def test_what_leaves_the_picture_is_dropped_with_all_that_belongs_to_it(moved):
    things = target((0, 0, 10, 10), (30, 30, 50, 50), (9.5, 0, 30, 30), labels=[0, 1, 2])
    things |= {"iscrowd": torch.tensor([0, 1, 0]), "area": torch.tensor([80.0, 300.0, 20.0])}
    found, _ = moved(KIND, things, SIZE, LEGEND, (v2.functional.crop, 20, 20, 40, 60))
    assert found["labels"].tolist() == [1, 2]
    assert found["iscrowd"].tolist() == [1, 0]
    assert found["boxes"].tolist() == [[10, 10, 30, 30], [0, 0, 10, 10]]


def test_a_box_of_a_pixel_stays_though_float32_makes_it_a_little_smaller(moved):
    one, less = target((1023.07, 20, 1024.07, 40)), target((1023.07, 20, 1024.06, 40))
    assert 0.999 < float(one["boxes"][0, 2] - one["boxes"][0, 0]) < 1
    assert len(moved(KIND, one, (60, 2000), LEGEND)[0]["boxes"]) == 1
    assert len(moved(KIND, less, (60, 2000), LEGEND)[0]["boxes"]) == 0


def test_an_area_is_scaled_as_its_box_is(moved):
    things = target((10, 10, 30, 30), area=torch.tensor([300.0]))
    found, _ = moved(KIND, things, SIZE, LEGEND, (v2.functional.resize, [120, 240]))
    assert found["area"].tolist() == pytest.approx([300 * 2 * 3])
    found, _ = moved(KIND, things, SIZE, LEGEND, (v2.functional.crop, 0, 20, 60, 60))
    assert found["area"].tolist() == pytest.approx([150])  # half of the box is left, and so half of the thing


def test_without_augmentation_a_target_stays(moved):
    things = target((10.25, 20, 50, 40.5), labels=[2]) | {"iscrowd": torch.tensor([True]), "area": torch.tensor([77.0])}
    found, _ = moved(KIND, things, SIZE, LEGEND)
    assert set(found) == set(things)
    assert all(torch.equal(found[name], things[name]) and type(found[name]) is torch.Tensor for name in things)


# --- answers ---------------------------------------------------------------------------------------------------------


def test_answer_lists_things_by_score():
    found = KIND.answer(said(((1, 2, 3, 4), 1, 0.25), ((5, 6, 7.128, 8), 0, 0.75)))
    assert found == {
        "boxes": [
            {"label": "car", "index": 0, "score": 0.75, "box": [5.0, 6.0, 7.13, 8.0]},
            {"label": "person", "index": 1, "score": 0.25, "box": [1.0, 2.0, 3.0, 4.0]},
        ],
        "left_out": 0,
    }


def test_answer_is_bounded_and_says_how_many_are_left_out():
    found = KIND.answer(said(*(((1, 1, 9, 9), 0, index / 250) for index in range(250))))
    assert (len(found["boxes"]), found["left_out"]) == (100, 150)
    assert found["boxes"][0]["score"] == pytest.approx(249 / 250)


def test_description_counts_what_is_sure():
    box = (1, 1, 9, 9)
    assert KIND.describe(said((box, 0, 0.9), (box, 1, 0.8), (box, 0, 0.5), (box, 2, 0.4))) == "2 x car, 1 x person"
    assert KIND.describe(said((box, 2, 0.4), (box, 1, 0.2))) == "nothing that is sure; the best is dog 40%"
    assert KIND.describe(said()) == "nothing"


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (torch.zeros(1, 4), "list with a dict for each picture"),
        ([{}, {}], "2 dicts for 1 pictures"),
        ([{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long()}], "no 'scores'"),
        ([{"boxes": torch.zeros(2, 4), "labels": torch.zeros(1).long(), "scores": torch.zeros(1)}], r"boxes \(2, 4\)"),
        ([target((0, 0, 1, 1)) | {"scores": torch.tensor([1.5])}], "scores from 1.5 to 1.5"),
        ([target(*[(0, 0, 1, 1)] * 2) | {"scores": torch.tensor([0.5, -0.25])}], "scores from -0.25 to 0.5"),
        ([target((0, 0, 1, 1)) | {"scores": torch.tensor([float("nan")])}], "scores that are not finite"),
        ([target((0, 0, 1, float("inf"))) | {"scores": torch.ones(1)}], "boxes that are not finite"),
        ([target((0, 0, 1, 1), labels=[3]) | {"scores": torch.ones(1)}], "class 3; classes are 0 to 2; the background"),
        ([target((0, 0, 1, 1)) | {"labels": torch.zeros(1), "scores": torch.ones(1)}], "labels that are torch.float32"),
    ],
)
def test_what_a_head_may_not_say(output, message):
    with pytest.raises(ValueError, match=message):
        KIND.check_prediction(Prediction("detection", output, LEGEND.labels), SIZE, 1)


def test_a_good_answer_passes():
    KIND.check_prediction(said(((0, 0, 5, 5), 2, 1.0)), SIZE, 1)
    KIND.check_prediction(said(), SIZE, 1)


# --- drawing ---------------------------------------------------------------------------------------------------------


def test_boxes_are_drawn_in_their_classes_colours_on_the_picture():
    picture = Image.new("RGB", (80, 60), (10, 20, 30))
    drawn = KIND.draw(said(((20, 30, 50, 50), 1, 0.9), ((60, 5, 75, 55), 0, 0.3)), picture)
    assert drawn.size == picture.size and picture.getcolors() == [(4800, (10, 20, 30))]
    for place in ((20, 40), (49, 40), (35, 49)):
        assert drawn.getpixel(place) == colour_of(1, LEGEND)
    assert drawn.getpixel((35, 42)) == (10, 20, 30)  # inside
    assert drawn.getpixel((74, 40)) == (10, 20, 30)  # not sure


def test_of_boxes_that_meet_the_surer_one_is_on_top():
    for scores, top in (((0.9, 0.8), 0), ((0.8, 0.9), 1)):
        answer = said(((50, 50, 350, 250), 0, scores[0]), ((50, 50, 300, 280), 1, scores[1]))
        assert KIND.draw(answer, Image.new("RGB", (400, 300))).getpixel((50, 180)) == colour_of(top, LEGEND)


def test_where_nothing_is_sure_the_best_are_drawn():
    picture = Image.new("RGB", (80, 60))
    drawn = KIND.draw(said(((20, 30, 50, 50), 1, 0.3)), picture)
    assert drawn.getpixel((20, 40)) == colour_of(1, LEGEND)
    many = said(*(((20, 30, 50, 50), 1, score) for score in (0.1, 0.4, 0.2, 0.49, 0.3)))
    assert KIND.drawn_things(many)["scores"].tolist() == pytest.approx([0.49, 0.4, 0.3])


@pytest.mark.parametrize(("size", "width"), [((80, 60), 2), ((4000, 800), 5), ((800, 4000), 5), ((3200, 3200), 20)])
def test_lines_are_a_160th_of_the_shorter_side_wide(size, width):
    assert line_width(Image.new("RGB", size)) == width


def test_a_box_ends_with_its_last_pixel():
    drawn = np.asarray(KIND.draw(said(((20, 30, 50, 50), 1, 0.9)), Image.new("RGB", (80, 60))))
    coloured = np.argwhere((drawn[32:] == colour_of(1, LEGEND)).all(-1))  # below the caption
    assert coloured.max(0).tolist() == [49 - 32, 49]


def test_captions_have_scores_unless_all_are_certain():
    things = said(((1, 1, 9, 9), 0, 1.0), ((2, 2, 20, 20), 1, 0.625))
    found = KIND.drawn_things(things)
    assert KIND.captions(found, LEGEND) == ["car 100%", "person 62%"]
    assert KIND.captions({name: value[:1] for name, value in found.items()}, LEGEND) == ["car"]


def test_no_more_than_a_hundred_sure_things_are_drawn():
    many = said(*(((20, 30, 50, 50), 1, 0.5 + index / 1000) for index in range(150)))
    scores = KIND.drawn_things(many)["scores"].tolist()
    assert len(scores) == 100 and scores[-1] == pytest.approx(0.55)


def test_captions_of_many_boxes_are_smaller():
    """Past twelve boxes, so that more of them find a place."""
    picture = Image.new("RGB", (600, 600))

    def high(count: int) -> int:
        boxes = (((100, 300 + row, 400, 310 + row), 0, 0.9 - row / 1000) for row in range(0, 10 * count, 10))
        drawn = np.asarray(KIND.draw(said(*boxes), picture))
        return int((drawn[:299, 105] == colour_of(0, LEGEND)).all(-1).sum())

    assert high(12) == high(2) > 20 > high(13) > 10


def test_captions_do_not_cover_each_other():
    picture = Image.new("RGB", (400, 300))
    one = np.asarray(KIND.draw(said(((50, 50, 350, 250), 0, 0.9)), picture))
    both = np.asarray(KIND.draw(said(((50, 50, 350, 250), 0, 0.9), ((52, 52, 340, 240), 0, 0.8)), picture))
    caption = one[31:49, 52:100]  # above the first box
    assert (caption == colour_of(0, LEGEND)).all(-1).any()
    assert np.array_equal(caption, both[31:49, 52:100])


def test_hundreds_of_boxes_can_be_drawn_and_none_too():
    picture = Image.new("RGB", (80, 60))
    many = [((i % 70, i % 50, i % 70 + 9, i % 50 + 9), i % 3, 0.5 + i / 1000) for i in range(400)]
    assert KIND.draw(said(*many), picture).size == (80, 60)
    assert KIND.draw(said(), picture).tobytes() == picture.tobytes()


def test_the_truth_can_be_drawn_without_crowds():
    things = target((1, 1, 9, 9), (2, 2, 20, 20), labels=[2, 1], iscrowd=torch.tensor([0, 1]))
    truth = KIND.truth(things, LEGEND)
    KIND.check_prediction(truth, SIZE, 1)
    assert KIND.describe(truth) == "1 x dog"
    assert values([KIND.tally(truth, things)]) == pytest.approx({"ap": 100, "ap50": 100, "ap75": 100})


# --- figures ---------------------------------------------------------------------------------------------------------


def coco_of(scenes, classes):
    """AP, AP50 and AP75 by pycocotools from JSON files' content, as its own examples use it."""
    truth, found = COCO(), []
    truth.dataset = {
        "images": [{"id": 100 + number} for number in range(len(scenes))],
        "categories": [{"id": 7 + label} for label in range(classes)],
        "annotations": [],
    }

    def placed(box):
        x0, y0, x1, y1 = box
        return {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}

    for number, (things, answer) in enumerate(scenes):
        for box, label, crowd in zip(*(things[key].tolist() for key in ("boxes", "labels", "iscrowd")), strict=True):
            truth.dataset["annotations"].append(
                placed(box)
                | {
                    "id": len(truth.dataset["annotations"]) + 1,
                    "image_id": 100 + number,
                    "category_id": 7 + label,
                    "iscrowd": crowd,
                }
            )
        for box, label, score in zip(*(answer[key].tolist() for key in ("boxes", "labels", "scores")), strict=True):
            found.append({**placed(box), "image_id": 100 + number, "category_id": 7 + label, "score": score})
    truth.createIndex()
    evaluation = COCOeval(truth, truth.loadRes(found), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats[:3] * 100


@pytest.mark.parametrize(("first", "pictures", "classes"), [(0, 12, 3), (100, 30, 2), (200, 5, 8), (300, 1, 1)])
def test_figures_are_those_of_pycocotools(scene, first, pictures, classes):
    scenes = [scene(first + number, classes) for number in range(pictures)]
    legend = Legend(tuple(f"class {index}" for index in range(classes)))
    found = values(tallies_of(scenes, legend), legend)
    np.testing.assert_allclose([*found.values()], coco_of(scenes, classes), rtol=1e-12)


def test_figures_are_those_of_torchmetrics(scene):
    scenes = [scene(400 + number) for number in range(25)]
    # Its own thresholds are rounded to float32, so that a recall of exactly 0.3 falls short of them.
    thresholds = np.linspace(0.5, 0.95, 10).tolist(), np.linspace(0, 1, 101).tolist()
    metric = MeanAveragePrecision("xyxy", "bbox", *thresholds, backend="pycocotools")
    metric.update([answer for _, answer in scenes], [truth for truth, _ in scenes])
    theirs = metric.compute()
    expected = [100 * float(theirs[name]) for name in ("map", "map_50", "map_75")]
    assert [*values(tallies_of(scenes)).values()] == pytest.approx(expected, rel=1e-5)


def test_two_things_of_which_one_is_found():
    here, there = (10, 10, 30, 30), (40, 40, 60, 60)
    tally = KIND.tally(said((here, 0, 0.9)), target(here, there))
    # Precision 1 up to recall 0.5: at 51 of the 101 recalls 0, 0.01, ... 1.
    assert values([tally])["ap"] == pytest.approx(100 * 51 / 101)
    tally = KIND.tally(said((here, 0, 0.9), ((0, 0, 5, 5), 0, 0.95)), target(here, there))
    assert values([tally])["ap"] == pytest.approx(50 * 51 / 101)  # every other answer is right


def test_a_box_is_found_up_to_the_threshold_that_its_overlap_reaches():
    # 20 of 25 rows: IoU 0.8, which seven of the ten thresholds let pass.
    tally = KIND.tally(said(((0, 0, 10, 20), 0, 0.9)), target((0, 0, 10, 25)))
    assert values([tally]) == pytest.approx({"ap": 70, "ap50": 100, "ap75": 100})
    tally = KIND.tally(said(((0, 0, 10, 15), 0, 0.9)), target((0, 0, 10, 25)))
    assert values([tally]) == pytest.approx({"ap": 30, "ap50": 100, "ap75": 0})


def test_answers_inside_a_crowd_are_neither_right_nor_wrong():
    crowd = target((0, 0, 40, 40), (50, 10, 60, 20), iscrowd=torch.tensor([1, 0]))
    tally = KIND.tally(said(((5, 5, 15, 15), 0, 0.95), ((20, 20, 30, 30), 0, 0.94), ((50, 10, 60, 20), 0, 0.9)), crowd)
    assert values([tally])["ap"] == pytest.approx(100)
    alone = target((0, 0, 40, 40), (50, 10, 60, 20), iscrowd=torch.tensor([0, 0]))
    tally = KIND.tally(said(((5, 5, 15, 15), 0, 0.95), ((20, 20, 30, 30), 0, 0.94), ((50, 10, 60, 20), 0, 0.9)), alone)
    assert values([tally])["ap"] < 20


def test_classes_that_do_not_occur_do_not_count():
    box, other = (10, 10, 30, 30), (40, 40, 60, 60)
    tally = KIND.tally(said((box, 1, 0.9), (other, 2, 0.99)), target(box, labels=[1]))
    assert values([tally]) == pytest.approx({"ap": 100, "ap50": 100, "ap75": 100})
    assert values([KIND.tally(said((box, 1, 0.9)), target())]) == {"ap": None, "ap50": None, "ap75": None}


def test_each_class_counts_the_same():
    box = (10, 10, 30, 30)
    tallies = [KIND.tally(said((box, 0, 0.9)), target(box)) for _ in range(3)]
    tallies.append(KIND.tally(said(), target(box, labels=[1])))
    assert values(tallies)["ap"] == pytest.approx(50)


def test_the_hundred_best_answers_of_a_class_count():
    box = (10, 10, 30, 30)
    wrong = [((0, 0, 5, 5), 0, 0.9 + index / 10_000) for index in range(100)]
    assert values([KIND.tally(said(*wrong, (box, 0, 0.5)), target(box))])["ap"] == 0
    assert values([KIND.tally(said(*wrong[1:], (box, 0, 0.5)), target(box))])["ap"] == pytest.approx(1)
    others = [(place, 1, score) for place, _, score in wrong]  # of another class, so that they take no places
    assert values([KIND.tally(said(*others, (box, 0, 0.5)), target(box))])["ap"] == pytest.approx(100)


def test_a_class_of_more_than_a_hundred_answers_takes_no_places_of_another() -> None:
    box = (10, 10, 30, 30)
    many = [((0, 0, 5, 5), 0, 0.9 - index / 10_000) for index in range(102)]
    assert values([KIND.tally(said(*many, (box, 1, 0.5)), target(box, labels=[1]))])["ap"] == pytest.approx(100)


def test_tallies_survive_json(scene):
    tallies = tallies_of([scene(number) for number in range(10)])
    assert values(json.loads(json.dumps(tallies))) == values(tallies)


def test_figures_are_percents_of_which_more_is_better(scene):
    figures = KIND.figures(tallies_of([scene(3)]), LEGEND)
    assert [*figures] == ["ap", "ap50", "ap75"]
    assert {(figure.unit, figure.higher_is_better) for figure in figures.values()} == {("%", True)}
    assert figures["ap50"].title == "AP50 (boxes)"


def test_nothing_is_printed(scene, capsys):
    values(tallies_of([scene(1), scene(2)]))
    assert capsys.readouterr().out == ""


def test_without_pycocotools_one_sentence_says_what_to_install(scene, monkeypatch):
    tallies = tallies_of([scene(1)])
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(InputError, match=r"pycocotools.*pip install 'icm-framework\[evaluate\]'"):
        KIND.figures(tallies, LEGEND)


# --- draws of pictures -----------------------------------------------------------------------------------------------


def test_each_picture_once_gives_the_figures(scene):
    tallies = tallies_of([scene(500 + number) for number in range(20)])
    drawn = KIND.resampled(tallies, LEGEND, np.ones((2, 20)))
    assert {name: found.tolist() for name, found in drawn.items()} == {
        name: [value, value] for name, value in values(tallies).items()
    }


@pytest.mark.parametrize("at_once", [1, 150, 1000])
def test_how_many_draws_are_computed_at_once_does_not_matter(scene, monkeypatch, at_once):
    tallies = tallies_of([scene(600 + number) for number in range(6)])
    weights = np.random.default_rng(1).multinomial(6, [1 / 6] * 6, size=7).astype(np.float64)
    whole = KIND.resampled(tallies, LEGEND, weights)
    monkeypatch.setattr(coco, "_AT_ONCE", at_once)
    for name, drawn in KIND.resampled(tallies, LEGEND, weights).items():
        np.testing.assert_array_equal(drawn, whole[name])


def test_draws_are_the_figures_of_the_drawn_pictures(scene):
    scenes = [scene(600 + number) for number in range(12)]
    tallies = tallies_of(scenes)
    weights = np.random.default_rng(0).multinomial(12, [1 / 12] * 12, size=8).astype(np.float64)
    drawn = KIND.resampled(tallies, LEGEND, weights)
    for row, times in enumerate(weights):
        listed = [scenes[number] for number, count in enumerate(times) for _ in range(int(count))]
        np.testing.assert_allclose([drawn[name][row] for name in drawn], coco_of(listed, 3), rtol=1e-9)


def test_a_draw_without_things_has_no_figure():
    box = (10, 10, 30, 30)
    tallies = [KIND.tally(said((box, 0, 0.9)), target(box)), KIND.tally(said((box, 0, 0.9)), target())]
    drawn = KIND.resampled(tallies, LEGEND, np.array([[2.0, 0.0], [0.0, 2.0]]))
    assert drawn["ap"][0] == pytest.approx(100) and np.isnan(drawn["ap"][1])


# --- a data set's classes --------------------------------------------------------------------------------------------


def test_a_data_set_may_name_some_of_the_heads_classes():
    data = Legend(("dog", "car"))
    numbers = KIND.match(data, LEGEND)
    assert numbers == (2, 0)
    box, other = (10, 10, 30, 30), (40, 40, 60, 60)
    truth = KIND.renumber(target(box, labels=[0]), numbers, data)
    assert truth["labels"].tolist() == [2]
    # The person, whom the data set does not name, counts nowhere.
    assert values([KIND.tally(said((box, 2, 0.5), (other, 1, 0.9)), truth)])["ap"] == pytest.approx(100)


def test_classes_that_the_head_has_not_are_refused():
    assert "3 classes" in KIND.match(Legend(("dog", "cat")), LEGEND)
    with pytest.raises(ValueError, match="class 2; classes are 0 to 1"):
        KIND.renumber(target((1, 1, 5, 5), labels=[2]), (2, 0), Legend(("dog", "car")))
    with pytest.raises(ValueError, match="class 5; the head has the classes 0 to 2"):
        KIND.tally(said(), target((1, 1, 5, 5), labels=[5]))


def test_an_answer_that_is_none_is_refused_when_it_is_measured():
    with pytest.raises(ValueError, match="the head's answer has scores that are not finite"):
        KIND.tally(said(((1, 1, 5, 5), 0, float("nan"))), target((1, 1, 5, 5)))
