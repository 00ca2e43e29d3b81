"""Kind `keypoints`: points move with their picture, left and right are swapped in mirrors, figures are COCO's."""

from __future__ import annotations

import contextlib
import io
import json
import re

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval, Params
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from icm_core.errors import InputError
from icm_core.types import Legend, Prediction
from icm_tasks.kinds import Keypoints
from icm_tasks.kinds.keypoints import COCO_SIGMAS, MOVES_FROM, opposites

FACE = Legend(("left_eye", "right_eye", "chin"))
PERSON = Legend(tuple(COCO_SIGMAS))
SIZE = (60, 80)
KIND = Keypoints()

moves = pytest.mark.skipif(
    tuple(int(part) for part in torchvision.__version__.split(".")[:2]) < MOVES_FROM,
    reason="this torchvision does not move keypoints",
)


def target(*things, box=(10, 10, 70, 50), labels=None, **more):
    """Things with the points (x, y, visibility) each, all in one box."""
    points = torch.tensor(things, dtype=torch.float32).reshape(len(things), len(things[0]) if things else 3, 3)
    return {
        "boxes": torch.tensor([box] * len(things), dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor([0] * len(things) if labels is None else labels, dtype=torch.int64),
        "keypoints": points,
        **more,
    }


ONE = [(20, 30, 2), (40, 30, 1), (30, 40, 2)]


def said(*things, scores=None, legend=FACE, **more) -> Prediction:
    answer = target(*things, **more) | {"scores": torch.tensor(scores or [0.9] * len(things))}
    return Prediction("keypoints", [answer], legend.labels)


def values(tallies, legend=FACE):
    return {name: figure.value for name, figure in KIND.figures(tallies, legend).items()}


def test_it_is_registered_by_the_plugin(kind_of):
    assert type(kind_of("keypoints")) is Keypoints


@pytest.mark.parametrize("legend", [FACE, PERSON, Legend()], ids=["face", "person", "nameless"])
@pytest.mark.parametrize("size", [(1, 1), (2, 9), (60, 80)], ids=str)
def test_examples_are_good_targets(size, legend):
    KIND.check_target(KIND.example_target(size, legend, torch.Generator().manual_seed(0)), size, legend)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (ONE[:2], r"shape \(1, 2, 3\); they should be \(1, 3, 3\) float32"),
        ([*ONE[:2], (30, 40, 3)], "visibility 3; it should be 0"),
        ([*ONE[:2], (30, 40, 1.5)], "visibility 1.5; it should be 0"),
        ([*ONE[:2], (30, 40, -1)], "visibility -1; it should be 0"),
        ([*ONE[:2], (30, 40, float("nan"))], "visibility nan; it should be 0"),
        ([*ONE[:2], (90, 40, 2)], r"point \(90, 40\) outside of the picture of 80x60"),
        ([*ONE[:2], (30, 60, 1)], r"point \(30, 60\) outside"),
        ([*ONE[:2], (float("nan"), 60, 1)], r"point \(nan, 60\) outside"),
    ],
)
def test_wrong_points_are_refused(points, message):
    with pytest.raises(ValueError, match=message):
        KIND.check_target(target(points), SIZE, FACE)


def test_places_of_points_that_are_not_labelled_do_not_matter():
    KIND.check_target(target([*ONE[:2], (-5, 400, 0)]), SIZE, FACE)


def test_classes_are_numbers_without_names():
    KIND.check_target(target(ONE, ONE, labels=[0, 7]), SIZE, FACE)
    with pytest.raises(ValueError, match="class -1; classes count from 0"):
        KIND.check_target(target(ONE, labels=[-1]), SIZE, FACE)


# --- moves -----------------------------------------------------------------------------------------------------------


def rotated(inpt, angle):
    return functional.rotate(inpt, angle, expand=True)


@moves
def test_left_and_right_are_swapped_in_a_mirror(moved):
    found, _ = moved(KIND, target(ONE), SIZE, FACE, (functional.horizontal_flip,))
    # torchvision's mirror sends the pixel x to 79 - x.
    assert found["keypoints"].tolist() == [[[39, 30, 1], [59, 30, 2], [49, 40, 2]]]
    assert found["boxes"].tolist() == [[10, 10, 70, 50]]
    assert set(found) == {"boxes", "labels", "keypoints"}


@moves
@pytest.mark.parametrize(
    ("steps", "mirrored"),
    [
        ([], False),
        ([(functional.vertical_flip,)], True),
        ([(functional.horizontal_flip,), (functional.horizontal_flip,)], False),
        ([(functional.horizontal_flip,), (functional.vertical_flip,)], False),  # turned by 180 degrees
        ([(functional.crop, 25, 15, 30, 40), (functional.horizontal_flip,), (functional.resize, [77, 31])], True),
        ([(functional.resize, [120, 90]), (functional.crop, -10, -10, 200, 200)], False),
        ([(rotated, 30.0)], False),
        ([(rotated, 90.0), (functional.horizontal_flip,)], True),
    ],
)
def test_mirrors_are_noticed_whatever_else_is_done(moved, steps, mirrored):
    found, _ = moved(KIND, target(ONE), SIZE, FACE, *steps)
    # The right eye is hidden, which tells which one is which.
    assert found["keypoints"][0, :, 2].tolist() == ([1, 2, 2] if mirrored else [2, 1, 2])


@moves
def test_no_things_survive_augmentation(moved):
    found, _ = moved(KIND, target(), SIZE, FACE, (functional.horizontal_flip,), (v2.RandomCrop(20),))
    assert found["keypoints"].shape == (0, 3, 3) and found["boxes"].shape == (0, 4)


@moves
def test_points_that_leave_the_picture_are_not_labelled_any_more(moved):
    found, _ = moved(KIND, target(ONE), SIZE, FACE, (functional.crop, 20, 25, 30, 30))
    assert found["keypoints"].tolist() == [[[0, 0, 0], [15, 10, 1], [5, 20, 2]]]


@moves
def test_points_at_the_pictures_border_stay(moved):
    corners = [(0, 0, 2), (79, 59, 2), (79, 0, 2)]
    found, _ = moved(KIND, target(corners), SIZE, Legend(("a", "b", "c")), (functional.horizontal_flip,))
    assert found["keypoints"].tolist() == [[[79, 0, 2], [0, 59, 2], [0, 0, 2]]]
    # The last pixel, 79, comes to lie at 39.5, beyond the last one of the smaller picture.
    found, _ = moved(KIND, target(corners), SIZE, Legend(("a", "b", "c")), (functional.resize, [30, 40]))
    assert found["keypoints"].tolist() == [[[0, 0, 2], [39, 29, 2], [39, 0, 2]]]


@moves
def test_a_thing_that_left_the_picture_takes_its_points_along(moved):
    things = target(ONE, ONE, labels=[0, 1]) | {"iscrowd": torch.tensor([0, 1]), "area": torch.tensor([9.0, 8.0])}
    things["boxes"][0] = torch.tensor([0.0, 0.0, 20.0, 20.0])
    found, _ = moved(KIND, things, SIZE, FACE, (functional.crop, 25, 25, 30, 30))
    assert found["labels"].tolist() == found["iscrowd"].tolist() == [1]
    assert found["keypoints"].shape == (1, 3, 3)


@moves
@settings(max_examples=60, deadline=None)
@given(
    points=st.lists(st.tuples(st.integers(0, 79), st.integers(0, 59), st.integers(0, 2)), min_size=3, max_size=3),
    flip=st.booleans(),
    scale=st.sampled_from([0.5, 1.0, 1.5, 2.0]),
    crop=st.tuples(st.integers(-20, 100), st.integers(-20, 100), st.integers(1, 120), st.integers(1, 120)),
)
def test_points_are_flipped_scaled_and_cropped_with_the_picture(moved, points, flip, scale, crop):
    top, left, height, width = crop
    scaled = [round(side * scale) for side in SIZE]
    assume(top < scaled[0] and left < scaled[1] and top + height > 0 and left + width > 0)
    steps = [(functional.horizontal_flip,)] if flip else []
    steps += [(functional.resize, scaled), (functional.crop, top, left, height, width)]
    found, _ = moved(KIND, target(points, box=(0, 0, 80, 60)), SIZE, FACE, *steps)
    expected = []
    for x, y, visibility in points:
        x, y = (79 - x if flip else x) * scale - left, y * scale - top
        inside = visibility and -1 < x < width and -1 < y < height
        place = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
        expected.append([*place, visibility] if inside else [0, 0, 0])
    if flip:
        expected[0], expected[1] = expected[1], expected[0]
    # Nothing but the box decides whether the thing itself is still there.
    left_of_it = min(80 * scale, left + width) - max(0, left), min(60 * scale, top + height) - max(0, top)
    assume(min(left_of_it) >= 1)
    torch.testing.assert_close(found["keypoints"], torch.tensor([expected], dtype=torch.float32), atol=1e-3, rtol=0)


@pytest.mark.parametrize("version", ["0.19.0", "0.23.0+cpu"])
def test_a_torchvision_that_does_not_move_points_is_said_in_one_sentence(monkeypatch, version):
    monkeypatch.setattr(torchvision, "__version__", version)
    with pytest.raises(InputError, match=re.escape(f"from torchvision 0.24 on, and {version} is installed")):
        KIND.wrap(target(ONE), SIZE)


@moves
@pytest.mark.parametrize("version", ["0.24.0", "0.24.1+cpu", "0.30.0", "1.0.0"])
def test_from_version_24_on_points_are_moved(monkeypatch, version):
    monkeypatch.setattr(torchvision, "__version__", version)
    wrapped = KIND.wrap(target(ONE), SIZE)
    assert wrapped["keypoints"].canvas_size == SIZE
    assert KIND.unwrap(wrapped, SIZE, FACE)["keypoints"].tolist() == [[list(point) for point in ONE]]


@pytest.mark.parametrize(
    ("place", "inside"),
    [
        ((-0.9, -0.9), True), ((-1, 5), False), ((5, -1), False),
        ((79.9, 59.9), True), ((80, 5), False), ((5, 60), False),
    ],
)  # fmt: skip
def test_points_are_in_the_picture_up_to_a_pixel_beyond_its_last_ones(place, inside):
    points = target([*ONE[:2], (*place, 1)])
    if inside:
        KIND.check_target(points, SIZE, FACE)
        return
    with pytest.raises(ValueError, match="outside of the picture of 80x60 pixels"):
        KIND.check_target(points, SIZE, FACE)


def test_pairs_are_told_by_the_words_left_and_right():
    assert opposites(PERSON.labels) == [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    assert opposites(("eye left", "bright spot", "eye right", "left only")) == [2, 1, 0, 3]


# --- answers ---------------------------------------------------------------------------------------------------------


def test_answer_names_the_points():
    assert KIND.answer(said(ONE)) == {
        "instances": [
            {
                "index": 0,
                "score": 0.9,
                "box": [10.0, 10.0, 70.0, 50.0],
                "points": [
                    {"label": "left_eye", "x": 20.0, "y": 30.0},
                    {"label": "right_eye", "x": 40.0, "y": 30.0},
                    {"label": "chin", "x": 30.0, "y": 40.0},
                ],
            }
        ],
        "left_out": 0,
    }
    assert KIND.describe(said(ONE, ONE, scores=[0.9, 0.8])) == "2 x thing"


@pytest.mark.parametrize("points", [torch.zeros(1, 3, 2), torch.zeros(1, 4, 3), torch.zeros(1, 9)])
def test_what_points_a_head_may_not_give(points):
    answer = said(ONE)
    answer.output[0]["keypoints"] = points
    with pytest.raises(ValueError, match=r"\(N, 3, 3\)"):
        KIND.check_prediction(answer, SIZE, 1)


def test_classes_of_answers_are_numbers_from_0():
    KIND.check_prediction(said(ONE, labels=[7]), SIZE, 1)
    with pytest.raises(ValueError, match="class -1; classes are numbers from 0"):
        KIND.check_prediction(said(ONE, ONE, labels=[0, -1]), SIZE, 1)


def test_points_are_drawn_where_they_are_but_for_those_not_labelled():
    picture = Image.new("RGB", (80, 60))
    drawn = KIND.draw(said([(20, 40, 2), (40, 40, 0), (60, 40, 1)]), picture)
    colour = (230, 159, 0)
    assert drawn.getpixel((20, 40)) == drawn.getpixel((60, 40)) == colour
    assert drawn.getpixel((40, 40)) == (0, 0, 0)
    assert picture.getbbox() is None


def test_points_are_dots_of_one_and_a_half_lines_with_a_white_edge():
    drawn = KIND.draw(said([(20, 40, 2), (20, 40, 0), (20, 40, 0)], box=(1, 1, 79, 20)), Image.new("RGB", (80, 60)))
    row = [drawn.getpixel((x, 40)) for x in range(15, 26)]
    shown = [x for x, colour in enumerate(row, 15) if colour != (0, 0, 0)]
    assert shown == list(range(17, 24)) and row[2] == row[8] == (255, 255, 255)


def test_the_truth_is_found_by_itself():
    things = target(ONE, [(20, 12, 2), (30, 12, 0), (60, 40, 1)])
    truth = KIND.truth(things, FACE)
    KIND.check_prediction(truth, SIZE, 1)
    assert values([KIND.tally(truth, things)]) == pytest.approx({"ap": 100, "ap50": 100, "ap75": 100})


# --- figures ---------------------------------------------------------------------------------------------------------


def scenes_of(scene, count, points, areas):
    found = []
    for number in range(800, 800 + count):
        generator = torch.Generator().manual_seed(number)
        things, answer = scene(number, classes=1)
        truth = KIND.example_target(SIZE, Legend(tuple(map(str, range(points)))), generator)["keypoints"]
        shares = torch.rand(len(things["boxes"]), points, 2, generator=generator)
        boxes = things["boxes"]
        places = boxes[:, None, :2] + shares * (boxes[:, None, 2:] - boxes[:, None, :2])
        seen = torch.randint(3, (len(boxes), points, 1), generator=generator).float()
        things["keypoints"] = torch.cat((places, seen), 2)
        if areas:
            things["area"] = 20 + 200 * torch.rand(len(boxes), generator=generator)
        # An answer is near the points of a thing, or anywhere.
        pool = torch.cat((things["keypoints"], truth))
        some = pool[torch.randint(len(pool), (len(answer["boxes"]),), generator=generator)]
        noise = torch.randn(some[..., :2].shape, generator=generator) * torch.rand(len(some), 1, 1, generator=generator)
        answer["keypoints"] = torch.cat((some[..., :2] + 2 * noise, torch.ones_like(some[..., :1])), 2)
        found.append((things, answer))
    return found


def coco_of(scenes, sigmas):
    sides = {"truth": [], "found": []}
    for number, pair in enumerate(scenes):
        for side, things in zip(sides, pair, strict=True):
            for row, (x0, y0, x1, y1) in enumerate(things["boxes"].tolist()):
                points = things["keypoints"][row]
                one = {"id": len(sides[side]) + 1, "image_id": number, "category_id": 0}
                one |= {"keypoints": points.flatten().tolist()}
                if side == "truth":
                    area = float(things["area"][row]) if "area" in things else (x1 - x0) * (y1 - y0)
                    one |= {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": area, "iscrowd": int(things["iscrowd"][row])}
                    one |= {"num_keypoints": int((points[:, 2] > 0).sum())}
                else:
                    one |= {"score": float(things["scores"][row])}
                sides[side].append(one)
    truth = COCO()
    truth.dataset = {
        "images": [{"id": number} for number in range(len(scenes))],
        "categories": [{"id": 0}],
        "annotations": sides["truth"],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(sides["found"]), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[:3] * 100


@pytest.mark.parametrize("areas", [False, True])
@pytest.mark.parametrize(
    ("legend", "sigmas"), [(PERSON, Params("keypoints").kpt_oks_sigmas), (FACE, [0.05] * 3)], ids=["person", "face"]
)
def test_figures_are_those_of_pycocotools(scene, legend, sigmas, areas):
    scenes = scenes_of(scene, 25, len(legend.labels), areas)
    tallies = [KIND.tally(Prediction("keypoints", [answer], legend.labels), things) for things, answer in scenes]
    expected = coco_of(scenes, sigmas)
    assert 1 < expected[0] < 99
    np.testing.assert_allclose([*values(json.loads(json.dumps(tallies)), legend).values()], expected, rtol=1e-12)
    drawn = KIND.resampled(tallies, legend, np.array([[1.0] * 25, [0.0] * 10 + [3.0] * 15]))
    again = coco_of([pair for pair in scenes[10:] for _ in range(3)], sigmas)
    np.testing.assert_allclose([drawn[name] for name in drawn], np.stack([expected, again], 1), rtol=1e-9)


def test_points_in_another_order_keep_their_own_sigmas():
    assert KIND.sigmas([], Legend(("left_hip", "nose", "left_ankle")))[0] == [0.107, 0.026, 0.089]


def test_titles_say_which_sigmas():
    tally = KIND.tally(said(ONE), target(ONE))
    assert KIND.figures([tally], FACE)["ap"].title == "AP (keypoints, OKS with sigma 0.05)"
    some = Legend(("left_eye", "right_eye", "nose")[::-1])
    assert all(label in COCO_SIGMAS for label in some.labels)
    assert KIND.figures([tally], some)["ap50"].title == "AP50 (keypoints, OKS with COCO's sigmas)"


def test_sigmas_are_cocos_own():
    assert [*COCO_SIGMAS.values()] == pytest.approx(Params("keypoints").kpt_oks_sigmas)


def test_an_answer_is_right_as_far_as_its_points_are_near():
    # One point of sigma 0.05 in an area of 400: similarity 0.8 at a distance of sqrt(-2 * 400 * 0.1^2 * ln 0.8).
    things = target([(30, 30, 2)], box=(20, 20, 40, 40))
    distance = float(np.sqrt(-2 * 400 * 0.1**2 * np.log(0.8)))
    for further, expected in ((-0.01, 70), (0.01, 60)):
        answer = said([(30 + distance + further, 30, 1)], legend=Legend(("tip",)))
        assert values([KIND.tally(answer, things)], Legend(("tip",)))["ap"] == pytest.approx(expected)


@pytest.mark.parametrize("count", [1, 3, 20])
def test_points_without_names_are_measured_however_many_they_are(count: int) -> None:
    points = [(30 + index, 30, 2) for index in range(count)]
    # All are moved by as much as one alone that is 0.75 similar: its thing has the area 60 * 40.
    distance = float(np.sqrt(-2 * 2400 * 0.1**2 * np.log(0.7501)))
    moved = [(x + distance, y, 1) for x, y, _ in points]
    tallies = [KIND.tally(said(moved, legend=Legend()), target(points))]
    assert values(tallies, Legend())["ap"] == pytest.approx(60)  # of 0.5, 0.55 and so on up to 0.95 the first six


def test_things_without_a_labelled_point_are_not_to_be_found():
    """As in COCO: an answer where such a thing stands is neither right nor wrong."""
    unknown = [(0, 0, 0)] * 3
    right = KIND.tally(said(ONE), target(ONE))
    for others in (said(), said(ONE, scores=[1.0])):
        found = values([right, KIND.tally(others, target(unknown))])
        assert found == {"ap": pytest.approx(100), "ap50": pytest.approx(100), "ap75": pytest.approx(100)}


def test_the_twenty_best_answers_count():
    far = [(70, 50, 1), (71, 51, 1), (72, 52, 1)]
    for others, expected in ((20, 0), (19, 5)):
        answer = said(*[far] * others, ONE, scores=[0.9] * others + [0.5])
        assert values([KIND.tally(answer, target(ONE))])["ap50"] == pytest.approx(expected)


# --- a data set's points ---------------------------------------------------------------------------------------------


def test_points_are_put_into_the_heads_order():
    data = Legend(("chin", "left_eye"))
    numbers = KIND.match(data, FACE)
    assert numbers == (2, 0)
    truth = KIND.renumber(target([(30, 40, 2), (20, 30, 1)], labels=[4]), numbers, data)
    assert truth["keypoints"].tolist() == [[[20, 30, 1], [0, 0, 0], [30, 40, 2]]]
    assert truth["labels"].tolist() == [4]
    # The right eye, of which the data set says nothing, counts nowhere.
    lost = said([(20, 30, 1), (0, 59, 1), (30, 40, 1)], labels=[4])
    assert values([KIND.tally(lost, truth)])["ap"] == pytest.approx(100)


def test_points_that_the_data_set_does_not_have_at_the_end_are_not_labelled():
    data = Legend(("left_eye", "right_eye"))
    truth = KIND.renumber(target(ONE[:2]), KIND.match(data, FACE), data)
    assert values([KIND.tally(said([*ONE[:2], (5, 5, 1)]), truth)])["ap"] == pytest.approx(100)


def test_points_that_the_head_has_not_are_refused():
    assert "3 keypoints" in KIND.match(Legend(("tail", "chin")), FACE)
    with pytest.raises(ValueError, match="has 3 keypoints; there are labels for 2"):
        KIND.renumber(target(ONE), (2, 0), Legend(("chin", "left_eye")))
    with pytest.raises(ValueError, match="has 3 keypoints; the head has 1"):
        KIND.tally(said([(1, 1, 1)], legend=Legend(("chin",))), target(ONE))
