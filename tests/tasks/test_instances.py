"""Kind `instances`: masks move with their picture, are drawn, and are what is matched."""

from __future__ import annotations

import contextlib
import io
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchvision import tv_tensors
from torchvision.transforms import v2

from icm_core.types import Legend, Prediction
from icm_tasks.kinds import Detection, Instances
from icm_tasks.kinds.coco import run_lengths

LEGEND = Legend(("car", "person", "dog"))
SIZE = (40, 50)
KIND = Instances()


def filled(*boxes, size=SIZE) -> torch.Tensor:
    """Masks (N, H, W) bool that fill boxes of whole pixels."""
    masks = torch.zeros(len(boxes), *size, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    return masks


def target(*boxes, labels=None, size=SIZE, **more):
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor([0] * len(boxes) if labels is None else labels, dtype=torch.int64),
        "masks": filled(*boxes, size=size),
        **more,
    }


def said(*things, size=SIZE) -> Prediction:
    """A head's answer of (box, label, score) each, whose masks fill their boxes."""
    boxes, labels, scores = zip(*things, strict=True) if things else ((), (), ())
    answer = target(*boxes, labels=list(labels), size=size) | {"scores": torch.tensor(scores)}
    answer["masks"] = answer["masks"].float()[:, None]
    return Prediction("instances", [answer], LEGEND.labels)


def values(tallies):
    return {name: figure.value for name, figure in KIND.figures(tallies, LEGEND).items()}


def masked(boxes: torch.Tensor, size) -> torch.Tensor:
    """Masks (N, H, W) bool of ellipses in boxes, with a pixel at least."""
    rows, columns = torch.arange(size[0])[:, None] + 0.5, torch.arange(size[1])[None] + 0.5
    found = []
    for x0, y0, x1, y1 in boxes.tolist():
        x, y = 2 * (columns - (x0 + x1) / 2) / (x1 - x0), 2 * (rows - (y0 + y1) / 2) / (y1 - y0)
        found.append((x.square() + y.square()) <= 1)
    return torch.stack(found) if found else torch.zeros(0, *size, dtype=torch.bool)


def test_it_is_registered_by_the_plugin(kind_of):
    assert type(kind_of("instances")) is Instances


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (40, 50)], ids=str)
def test_examples_are_good_targets(size):
    example = KIND.example_target(size, LEGEND, torch.Generator().manual_seed(0))
    KIND.check_target(example, size, LEGEND)


def test_each_mask_of_several_has_a_pixel() -> None:
    masks = torch.zeros(3, 40, 50, dtype=torch.bool)
    masks[0], masks[2, 39, 49] = True, True
    boxes = torch.tensor([[0.0, 0, 50, 40], [5, 5, 9, 9], [49, 39, 50, 40]])
    target = {"boxes": boxes, "labels": torch.tensor([0, 1, 0]), "masks": masks}
    with pytest.raises(ValueError, match="has a mask without a pixel"):
        KIND.check_target(target, (40, 50), LEGEND)
    KIND.check_target({name: value[[0, 2]] for name, value in target.items()}, (40, 50), LEGEND)
    target["masks"] = masks.to(torch.uint8)
    target["masks"][1, 7, 8] = 2
    with pytest.raises(ValueError, match="has masks with the value 2; they should be 0 or 1"):
        KIND.check_target(target, (40, 50), LEGEND)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (torch.ones(1, 40, 50), r"float32.*\(1, 40, 50\) bool or uint8"),
        (torch.ones(2, 40, 50).bool(), r"shape \(2, 40, 50\)"),
        (torch.ones(1, 50, 40).bool(), r"shape \(1, 50, 40\)"),
        (torch.full((1, 40, 50), 255, dtype=torch.uint8), "value 255; they should be 0 or 1"),
        (torch.zeros(1, 40, 50).bool(), "mask without a pixel"),
    ],
)
def test_wrong_masks_are_refused(masks, message):
    with pytest.raises(ValueError, match=message):
        KIND.check_target(target((1, 1, 9, 9)) | {"masks": masks}, SIZE, LEGEND)


def test_missing_masks_are_refused():
    wrong = target((1, 1, 9, 9))
    del wrong["masks"]
    with pytest.raises(ValueError, match="no 'masks'"):
        KIND.check_target(wrong, SIZE, LEGEND)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), crop=st.tuples(st.integers(1, 60), st.integers(1, 60)))
def test_masks_are_where_the_picture_shows_the_things(seed, crop):
    things = KIND.example_target(SIZE, LEGEND, torch.Generator().manual_seed(seed))
    # A picture whose channels show the three masks.
    picture = tv_tensors.Image(255 * things["masks"].to(torch.uint8))
    torch.manual_seed(seed)
    picture, wrapped = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomCrop(crop, pad_if_needed=True)])(
        picture, KIND.wrap(things, SIZE)
    )
    # Which ones are left can be told by their classes, if these differ.
    wrapped["labels"] = torch.arange(3)
    found = KIND.unwrap(wrapped, crop, LEGEND)
    assert found["masks"].dtype == torch.uint8
    assert torch.equal(found["masks"], (picture[found["labels"]] == 255).to(torch.uint8).as_subclass(torch.Tensor))
    for number in set(range(3)) - set(found["labels"].tolist()):
        x0, y0, x1, y1 = wrapped["boxes"][number].tolist()
        assert not picture[number].any() or min(x1 - x0, y1 - y0) < 1


def test_a_thing_whose_mask_left_the_picture_is_dropped(moved):
    things = target((0, 0, 30, 30), (5, 5, 30, 30), labels=[1, 2])
    things["masks"][0, :, 10:] = False  # its box reaches further than itself
    found, _ = moved(KIND, things, SIZE, LEGEND, (v2.functional.crop, 0, 15, 40, 35))
    assert found["labels"].tolist() == [2] and len(found["masks"]) == len(found["boxes"]) == 1


def test_no_things_survive_augmentation(moved):
    found, _ = moved(KIND, target(), SIZE, LEGEND, (v2.functional.resize, [20, 20]), (v2.functional.crop, 0, 0, 10, 10))
    assert found["masks"].shape == (0, 10, 10) and found["boxes"].shape == (0, 4)


# --- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (torch.zeros(1, 2, 40, 50), r"\(N, 1, H, W\) or \(N, H, W\)"),
        (torch.zeros(1, 1, 50, 40), r"size \(50, 40\), and the pictures are \(40, 50\)"),
        (torch.full((1, 1, 40, 50), 3.0), r"outside of \[0, 1\]"),
        (torch.zeros(2, 40, 50), "all of one N"),
    ],
)
def test_what_masks_a_head_may_not_give(masks, message):
    answer = said(((1, 1, 9, 9), 0, 0.9))
    answer.output[0]["masks"] = masks
    with pytest.raises(ValueError, match=message):
        KIND.check_prediction(answer, SIZE, 1)


def test_a_pixel_is_the_things_above_one_half():
    answer = said(((10, 10, 20, 20), 0, 0.9))
    answer.output[0]["masks"] = torch.full((1, 1, *SIZE), 0.5)
    answer.output[0]["masks"][..., 10:20, 10:20] = 0.51
    KIND.check_prediction(answer, SIZE, 1)
    assert KIND.answer(answer)["instances"][0]["area"] == 100
    for masks in (answer.output[0]["masks"][:, 0], answer.output[0]["masks"][:, 0] > 0.5):
        answer.output[0]["masks"] = masks
        assert KIND.answer(answer)["instances"][0]["area"] == 100


def test_written_picture_has_the_numbers_of_the_answer_the_better_one_in_front():
    answer = said(((0, 0, 20, 20), 2, 0.6), ((10, 10, 30, 30), 1, 0.8))
    picture, things = KIND.raster(answer), KIND.answer(answer)["instances"]
    assert [(thing["label"], thing["pixel"], thing["area"]) for thing in things] == [
        ("person", 1, 400),
        ("dog", 2, 400),
    ]
    assert (picture.mode, picture.size) == ("P", (50, 40))
    pixels = np.asarray(picture)
    assert (pixels[5, 5], pixels[15, 15], pixels[25, 25], pixels[35, 35]) == (2, 1, 1, 0)
    assert np.count_nonzero(pixels == 2) == 300


def test_masks_are_drawn_over_the_picture_with_borders():
    picture = Image.new("RGB", (50, 40), (100, 100, 100))
    answer = said(((10, 20, 40, 38), 0, 0.9))
    answer.output[0]["masks"] = filled((15, 25, 35, 33)).float()
    drawn, colour = KIND.draw(answer, picture), (230, 159, 0)
    assert drawn.size == (50, 40)
    assert drawn.getpixel((25, 32)) == colour  # the mask's border
    assert drawn.getpixel((25, 31)) == tuple(round((100 + side) / 2) for side in colour)
    assert drawn.getpixel((25, 34)) == drawn.getpixel((5, 38)) == (100, 100, 100)  # in the box alone, and outside


def test_of_masks_that_meet_the_surer_one_is_on_top():
    answer = said(((50, 50, 250, 150), 0, 0.9), ((50, 50, 250, 150), 0, 0.8))
    masks = torch.zeros(2, 200, 300)
    masks[0, 100:140, 60:240] = masks[1, 110:145, 60:240] = 1
    answer.output[0]["masks"] = masks
    drawn = KIND.draw(answer, Image.new("RGB", (300, 200)))
    assert drawn.getpixel((60, 125)) == (230, 159, 0)  # where both have their border
    assert drawn.getpixel((60, 143)) == (86, 180, 233)


def test_things_of_one_class_have_colours_of_their_own():
    drawn = KIND.draw(said(((0, 20, 20, 40), 0, 0.9), ((30, 20, 50, 40), 0, 0.8)), Image.new("RGB", (50, 40)))
    assert drawn.getpixel((10, 36)) != drawn.getpixel((40, 36))


def test_nothing_can_be_drawn_and_written():
    picture = Image.new("RGB", (50, 40))
    assert KIND.draw(said(), picture).tobytes() == picture.tobytes()
    assert not np.asarray(KIND.raster(said())).any()
    assert KIND.answer(said()) == {"instances": [], "left_out": 0}


def test_the_truth_is_found_by_itself():
    things = target((1, 1, 9, 9), (20, 20, 30, 35), labels=[2, 1], iscrowd=torch.tensor([0, 1]))
    truth = KIND.truth(things, LEGEND)
    KIND.check_prediction(truth, SIZE, 1)
    assert values([KIND.tally(truth, things)]) == pytest.approx({"ap": 100, "ap50": 100, "ap75": 100})


# --- figures ---------------------------------------------------------------------------------------------------------


def scenes_of(scene, first, count):
    found = []
    for number in range(first, first + count):
        things, answer = scene(number, size=(60, 80))
        things["masks"], answer["masks"] = masked(things["boxes"], (60, 80)), masked(answer["boxes"], (60, 80))
        found.append((things, answer))
    return found


def coco_of(scenes):
    """AP, AP50 and AP75 of masks by pycocotools, from what its files would hold."""
    sides = {"truth": [], "found": []}
    for number, pair in enumerate(scenes):
        for side, things in zip(sides, pair, strict=True):
            for row, label in enumerate(things["labels"].tolist()):
                encoded = rle.encode(np.asfortranarray(things["masks"][row].numpy().astype(np.uint8)))
                one = {"id": len(sides[side]) + 1, "image_id": number, "category_id": label, "segmentation": encoded}
                one |= {"area": float(rle.area(encoded)), "bbox": rle.toBbox(encoded).tolist()}
                crowd = {"iscrowd": int(things["iscrowd"][row])} if side == "truth" else {}
                score = {"score": float(things["scores"][row])} if side == "found" else {}
                sides[side].append({**one, **crowd, **score})
    truth = COCO()
    truth.dataset = {
        "images": [{"id": number, "height": 60, "width": 80} for number in range(len(scenes))],
        "categories": [{"id": label} for label in range(3)],
        "annotations": sides["truth"],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(sides["found"]), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[:3] * 100


def test_figures_are_those_of_pycocotools(scene):
    scenes = scenes_of(scene, 700, 25)
    tallies = [KIND.tally(Prediction("instances", [answer], LEGEND.labels), things) for things, answer in scenes]
    expected = coco_of(scenes)
    assert 1 < expected[0] < 99
    np.testing.assert_allclose([*values(json.loads(json.dumps(tallies))).values()], expected, rtol=1e-12)
    drawn = KIND.resampled(tallies, LEGEND, np.array([[1.0] * 25, [0.0] * 10 + [3.0] * 15]))
    again = coco_of([pair for pair in scenes[10:] for _ in range(3)])
    np.testing.assert_allclose([drawn[name] for name in drawn], np.stack([expected, again], 1), rtol=1e-9)


def test_masks_are_matched_and_not_boxes():
    here, there = (0, 0, 20, 20), (20, 20, 40, 40)
    answer = said((here, 0, 0.9))
    answer.output[0]["masks"] = filled(there)[:, None].float()
    assert values([KIND.tally(answer, target(here))])["ap"] == 0
    assert values([KIND.tally(answer, target(there))])["ap"] == pytest.approx(100)
    assert KIND.figures([KIND.tally(answer, target(here))], LEGEND)["ap"].title == "AP (masks)"


def test_run_lengths_are_those_of_pycocotools_column_by_column():
    masks = np.zeros((2, 2, 5), dtype=bool)
    masks[0, 0, 1:3] = masks[1, 1, 4] = True
    first, second = run_lengths(masks)
    assert first["size"] == second["size"] == [2, 5]
    # Down the columns, by hand: of the first mask 2 off, 1 on, 1 off, 1 on, 5 off; of the second 9 off, 1 on.
    for found, counts in ((first, [2, 1, 1, 1, 5]), (second, [9, 1])):
        assert found["counts"] == rle.frPyObjects({"size": [2, 5], "counts": counts}, 2, 5)["counts"].decode()
    np.testing.assert_array_equal(rle.decode([first, second]).transpose(2, 0, 1), masks)
    json.dumps([first, second])
    assert run_lengths(np.zeros((0, 4, 3), dtype=bool)) == []


def test_masks_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"size \(40, 50\), and the head's are \(41, 50\)"):
        KIND.tally(said(((1, 1, 9, 9), 0, 0.9), size=(41, 50)), target((1, 1, 9, 9)))


def test_a_detector_is_measured_on_the_same_targets():
    assert "detection" in KIND.also
    things, detection = target((1, 1, 9, 9), labels=[2]), Detection()
    boxes = {name: value for name, value in said(((1, 1, 9, 9), 0, 0.9)).output[0].items() if name != "masks"}
    data = Legend(("dog", "person", "car"))
    truth = detection.renumber(things, detection.match(data, LEGEND), data)
    tally = detection.tally(Prediction("detection", [boxes], LEGEND.labels), truth)
    assert detection.figures([tally], LEGEND)["ap"].value == pytest.approx(100)


@pytest.mark.parametrize("size", [(40, 50), (9, 130), (1, 1), (2, 3)])
def test_example_masks_are_ellipses_that_fill_their_boxes(size) -> None:
    generator = torch.Generator().manual_seed(4)
    rows, columns = torch.arange(size[0])[:, None] + 0.5, torch.arange(size[1])[None] + 0.5
    for _ in range(20):
        example = KIND.example_target(size, LEGEND, generator)
        KIND.check_target(example, size, LEGEND)
        for (x0, y0, x1, y1), mask in zip(example["boxes"].tolist(), example["masks"], strict=True):
            middle, half = ((x0 + x1) / 2, (y0 + y1) / 2), ((x1 - x0) / 2, (y1 - y0) / 2)
            away = ((columns - middle[0]) / half[0]) ** 2 + ((rows - middle[1]) / half[1]) ** 2
            corner = torch.zeros_like(mask)
            corner[int(y0), int(x0)] = True  # so that the smallest has a pixel
            assert torch.equal(mask, (away <= 1) | corner)


def test_an_answer_without_a_thing_may_have_masks_of_any_size() -> None:
    nothing = said(size=(8, 8))
    wanted = target((3, 4, 20, 30))
    assert KIND.tally(nothing, wanted)["size"] == [*SIZE]
    with pytest.raises(ValueError, match=r"masks of size \(40, 50\), and the head's are \(8, 8\)"):
        KIND.tally(said(((1, 1, 5, 5), 0, 0.9), size=(8, 8)), wanted)
