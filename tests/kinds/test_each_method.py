"""Methods of the core's kinds one by one: counts and sizes, borders of classes, what is drawn where."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from icm_core.interfaces import TaskKind
from icm_core.interfaces.kind import Tally
from icm_core.kinds import (
    Classification,
    Reconstruction,
    Regression,
    Segmentation,
    Swatch,
    captioned,
    label,
    with_legend,
)
from icm_core.kinds.imagenet import names, synsets
from icm_core.types import Legend, Prediction


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def logits_of(classes: list[list[int]], count: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(classes), count).permute(2, 0, 1)[None].float()


# --- made-up targets -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [(), ("one",), ("one", "two", "three")])
@pytest.mark.parametrize("kind", [Classification(), Segmentation(), Regression(), Reconstruction()])
def test_made_up_targets_are_right_and_hang_on_their_seed(kind: TaskKind, labels: tuple[str, ...]) -> None:
    legend = Legend(labels)
    made = [kind.example_target((4, 7), legend, rng(seed)) for seed in range(12)]
    for target in made:
        kind.check_target(target, (4, 7), legend)
    assert all(torch.equal(kind.example_target((4, 7), legend, rng(seed)), made[seed]) for seed in range(12))
    classes = kind.name in ("classification", "segmentation")
    if classes and len(labels) < 2:
        assert not any(target.any() for target in made)  # there is one class at most
    else:
        assert len({tuple(target.flatten().tolist()) for target in made}) > 2
    if kind.name == "regression":
        assert {len(target) for target in made} == {max(1, len(labels))}
        assert all(float(target.min()) >= 0 and float(target.max()) < 1 for target in made)


def test_made_up_pictures_have_every_channel_and_all_grey_levels() -> None:
    made = Reconstruction().example_target((40, 90), Legend(), rng(0))
    assert made.shape == (3, 40, 90) and made.dtype == torch.uint8
    assert made.flatten(1).amin(1).tolist() == [0, 0, 0] and made.flatten(1).amax(1).tolist() == [255, 255, 255]


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "shape", "labels", "right"),
    [
        (Classification(), (2, 3), ("a", "b", "c"), True),
        (Classification(), (2, 4), (), True),
        (Classification(), (1, 3), ("a", "b", "c"), False),
        (Classification(), (3, 3), ("a", "b", "c"), False),
        (Classification(), (2, 4), ("a", "b", "c"), False),
        (Classification(), (2, 3, 1), ("a", "b", "c"), False),
        (Regression(), (2, 2), ("a", "b"), True),
        (Regression(), (2, 5), (), True),
        (Regression(), (1, 2), ("a", "b"), False),
        (Regression(), (2, 3), ("a", "b"), False),
        (Segmentation(), (2, 3, 4, 7), ("a", "b", "c"), True),
        (Segmentation(), (2, 9, 4, 7), (), True),
        (Segmentation(), (1, 3, 4, 7), ("a", "b", "c"), False),
        (Segmentation(), (2, 2, 4, 7), ("a", "b", "c"), False),
        (Segmentation(), (2, 3, 7, 4), ("a", "b", "c"), False),
        (Reconstruction(), (2, 3, 4, 7), (), True),
        (Reconstruction(), (1, 3, 4, 7), (), False),
        (Reconstruction(), (2, 1, 4, 7), (), False),
        (Reconstruction(), (2, 3, 7, 4), (), False),
    ],
)
def test_a_prediction_is_of_all_pictures_all_labels_and_their_size(
    kind: TaskKind, shape: tuple[int, ...], labels: tuple[str, ...], right: bool
) -> None:
    prediction = Prediction(kind.name, torch.full(shape, 0.5), labels)
    if right:
        kind.check_prediction(prediction, (4, 7), 2)
    else:
        with pytest.raises(ValueError, match="it should be"):
            kind.check_prediction(prediction, (4, 7), 2)


@pytest.mark.parametrize("shape", [(1, 4, 7), (4, 4, 7), (4, 7), (1, 3, 4, 7)])
def test_a_target_picture_has_three_channels(shape: tuple[int, ...]) -> None:
    Reconstruction().check_target(torch.zeros(3, 4, 7, dtype=torch.uint8), (4, 7), Legend())
    with pytest.raises(ValueError, match=r"should be a picture, \(3, 4, 7\) uint8"):
        Reconstruction().check_target(torch.zeros(shape, dtype=torch.uint8), (4, 7), Legend())


@pytest.mark.parametrize(
    ("ignore", "held", "strange"),
    [
        (9, [0, 1, 9], None),
        (9, [0, 1, 255], 255),
        (255, [0, 1, 255], None),
        (255, [0, 9, 255], 9),
        (None, [0, 1], None),
        (None, [1, 2], 2),
        (None, [1, 255], 255),
    ],
)
def test_maps_hold_labels_and_the_ignored_value(ignore: int | None, held: list[int], strange: int | None) -> None:
    target = torch.tensor([held], dtype=torch.uint8)
    size = (1, len(held))
    Segmentation().check_target(target, size, Legend(ignore=ignore))  # classes without names may be any
    legend = Legend(("a", "b"), ignore=ignore)
    if strange is None:
        Segmentation().check_target(target, size, legend)
    else:
        with pytest.raises(ValueError, match=f"has the class {strange}, and there are 2 labels"):
            Segmentation().check_target(target, size, legend)


@pytest.mark.parametrize(("wrong", "fits"), [(-2, False), (2, False), (-1, True), (1, True), (0, True)])
def test_a_map_is_measured_where_its_classes_are_the_heads(wrong: int, fits: bool) -> None:
    said = Prediction("segmentation", logits_of([[0, 1, 0]], 2))
    target = torch.tensor([[0, 1, wrong]])
    if fits:
        confusion = Segmentation().tally(said, target)["confusion"]
        assert confusion == {-1: [1, 0, 0, 1], 0: [2, 0, 0, 1], 1: [1, 0, 1, 1]}[wrong]
    else:
        with pytest.raises(ValueError, match=f"holds the class {wrong}; the head has the classes 0 to 1"):
            Segmentation().tally(said, target)


def test_values_of_two_heads_have_no_figures_together() -> None:
    tallies: list[Tally] = [{"errors": [1.0, 2.0], "mae": 1.5}, {"errors": [1.0], "mae": 1.0}]
    with pytest.raises(ValueError, match="shorter"):
        Regression().figures(tallies, Legend(("a", "b")))


# --- figures ---------------------------------------------------------------------------------------------------------


def test_top_5_is_there_where_the_first_picture_missed_it() -> None:
    tallies: list[Tally] = [{"top1": False, "top5": False}, {"top1": False, "top5": True}, {"top1": True, "top5": True}]
    found = Classification().figures(tallies, Legend())
    assert [(name, figure.unit, figure.title, figure.higher_is_better) for name, figure in found.items()] == [
        ("top1", "%", "top-1 accuracy", True),
        ("top5", "%", "top-5 accuracy", True),
    ]
    assert [figure.value for figure in found.values()] == pytest.approx([100 / 3, 200 / 3])
    drawn = Classification().resampled(tallies, Legend(), np.array([[2.0, 0, 0], [0, 1, 3], [1, 1, 0]]))
    assert {name: values.tolist() for name, values in drawn.items()} == {"top1": [0, 75, 0], "top5": [0, 100, 50]}


def test_six_classes_have_a_top_5_and_five_have_none() -> None:
    for classes, fields in ((6, ["top1", "top5"]), (5, ["top1"]), (2, ["top1"])):
        said = Prediction("classification", torch.arange(float(classes))[None])
        assert list(Classification().tally(said, torch.tensor(0))) == fields


def test_more_of_both_figures_of_pictures_is_better() -> None:
    found = Reconstruction().figures([{"psnr": 30.0, "ms_ssim": 0.9}], Legend())
    assert [(one.title, one.higher_is_better, one.digits) for one in found.values()] == [
        ("PSNR", True, 2),
        ("MS-SSIM", True, 4),
    ]
    drawn = Reconstruction().resampled([{"psnr": 30.0, "ms_ssim": 0.5}], Legend(), np.ones((2, 1)))
    assert {name: values.tolist() for name, values in drawn.items()} == {"psnr": [30.0] * 2, "ms_ssim": [0.5] * 2}


def test_two_values_have_figures_of_their_own_in_draws_too() -> None:
    legend = Legend(("near", "far"), unit="km")
    tallies: list[Tally] = [{"errors": [1.0, 4.0], "mae": 2.5}, {"errors": [3.0, None], "mae": 3.0}]
    found = Regression().figures(tallies, legend)
    assert {name: figure.value for name, figure in found.items()} == {"mae": 2.75, "mae.near": 2.0, "mae.far": None}
    assert [(one.title, one.unit) for one in found.values()] == [
        ("mean absolute error", "km"),
        ("mean absolute error of near", "km"),
        ("mean absolute error of far", "km"),
    ]
    drawn = Regression().resampled(tallies, legend, np.array([[3.0, 0], [1, 1]]))
    assert list(drawn) == list(found)
    np.testing.assert_equal(drawn["mae"], [2.5, 2.75])
    np.testing.assert_equal(drawn["mae.near"], [1.0, 2.0])
    np.testing.assert_equal(drawn["mae.far"], [4.0, np.nan])


def test_maps_without_a_right_pixel_have_a_miou_of_0_and_those_without_any_none() -> None:
    wrong: list[Tally] = [{"confusion": [0, 3, 4, 0]}]
    assert Segmentation().figures(wrong, Legend())["miou"].value == 0.0
    assert Segmentation().figures([{"confusion": [0, 0, 0, 0]}], Legend())["miou"].value is None
    drawn = Segmentation().resampled([*wrong, {"confusion": [0, 0, 0, 0]}], Legend(), np.array([[1.0, 1], [0, 2]]))
    np.testing.assert_equal(drawn["miou"], [0.0, np.nan])


@pytest.mark.parametrize("draws", [1, 49, 50, 51, 100, 117])
def test_every_draw_has_its_miou(draws: int) -> None:
    """A picture all right, and one that confuses two classes half the time: its weight is the draw's number."""
    tallies: list[Tally] = [{"confusion": [10, 0, 0, 10]}, {"confusion": [5, 5, 5, 5]}]
    weights = np.array([[1.0, number] for number in range(draws)])
    found = Segmentation().resampled(tallies, Legend(), weights)["miou"]
    # Of each class 10 + 5 n pixels are right, and 5 n are wrong on either side.
    expected = [100 * (10 + 5 * n) / (10 + 15 * n) for n in range(draws)]
    assert found.tolist() == pytest.approx(expected)


# --- targets ---------------------------------------------------------------------------------------------------------


def test_class_0_may_be_the_ignored_one_of_maps() -> None:
    target = torch.tensor([[0, 1], [2, 0]], dtype=torch.uint8)
    found = Segmentation().renumber(target, (9, 4, 6), Legend(("void", "a", "b"), ignore=0))
    assert found.tolist() == [[-1, 4], [6, -1]]
    assert Segmentation().renumber(target, (9, 4, 6), Legend(("void", "a", "b"))).tolist() == [[9, 4], [6, 9]]


def test_maps_come_back_as_plain_tensors_in_int64() -> None:
    target = torch.tensor([[0, 200], [255, 7]], dtype=torch.uint8)
    kind = Segmentation()
    found = kind.unwrap(kind.wrap(target, (2, 2)), (2, 2), Legend())
    assert type(found) is torch.Tensor and found.dtype == torch.int64 and found.tolist() == target.tolist()


def test_values_are_in_the_heads_order_and_no_more_than_have_labels() -> None:
    found = Regression().renumber(torch.tensor([1.0, 2.0]), (3, 0, 1), Legend())
    assert found[[0, 3]].tolist() == [2.0, 1.0] and found.isnan().tolist() == [False, True, True, False]
    with pytest.raises(ValueError, match="has 3 values; there are labels for 2"):
        Regression().renumber(torch.zeros(3), (1, 0), Legend())


def test_the_truth_of_a_class_is_certain_and_has_the_labels() -> None:
    found = Classification().truth(torch.tensor(2), Legend(("a", "b", "c")))
    assert found is not None and (found.kind, found.labels) == ("classification", ("a", "b", "c"))
    assert found.output.softmax(1).tolist() == [[0.0, 0.0, 1.0]]
    assert Classification().truth(torch.tensor(0), Legend()) is None
    assert Segmentation().truth(torch.zeros(2, 3, dtype=torch.uint8), Legend()) is None


# --- answers ---------------------------------------------------------------------------------------------------------


def test_every_class_of_a_map_is_answered() -> None:
    classes = [[*range(14), 13]]
    found = Segmentation().answer(Prediction("segmentation", logits_of(classes, 14), tuple("abcdefghijklmn")))
    rows = found["classes"]
    assert isinstance(rows, list) and len(rows) == 14
    assert rows[0] == {"label": "n", "index": 13, "share": round(2 / 15, 6)}
    assert [row["index"] for row in rows[1:] if isinstance(row, dict)] == list(range(13))


def test_answers_are_of_the_first_picture_of_a_batch() -> None:
    maps = torch.cat([logits_of([[0, 0, 1]], 2), logits_of([[1, 1, 1]], 2)])
    assert Segmentation().describe(Prediction("segmentation", maps, ("a", "b"))) == "a 67%, b 33%"
    values = torch.tensor([[1.2345678, 20.0], [3.0, 4.0]])
    assert Regression().answer(Prediction("regression", values, ("a",))) == {
        "values": [{"label": "a", "value": 1.234568}, {"label": "1", "value": 20.0}]
    }
    assert Regression().describe(Prediction("regression", values * 1000, ("a",))) == "a 1.23e+03, 1 2e+04"
    classes = torch.tensor([[0.0, 50.0], [50.0, 0.0]])
    assert Classification().describe(Prediction("classification", classes, ("a", "b, c"))) == "b 100%, a 0%"


def test_a_picture_says_nothing_in_words_and_is_drawn_as_it_is() -> None:
    output = torch.zeros(2, 3, 20, 50)
    output[0, 1, :, :25] = 1
    output[1] = 0.5
    said = Prediction("reconstruction", output)
    assert (Reconstruction().answer(said), Reconstruction().describe(said)) == ({}, "")
    expected = (output[0] * 255).byte().permute(1, 2, 0).numpy()
    for drawn in (Reconstruction().raster(said), Reconstruction().draw(said, Image.new("RGB", (33, 44), (9, 9, 9)))):
        assert np.array_equal(np.asarray(drawn), expected)


def test_classes_are_written_one_below_the_other() -> None:
    ground = Image.new("RGB", (300, 200), (0, 90, 0))
    said = Prediction("classification", torch.tensor([[0.0, 3.0, -1.0, -50.0]]), ("cat, tom", "dog", "cow", "bat"))
    drawn = Classification().draw(said, ground)
    assert np.array_equal(np.asarray(drawn), np.asarray(captioned(ground, ["dog 94%", "cat 5%", "cow 2%"])))
    values = Prediction("regression", torch.tensor([[2.0, 0.5]]), ("cars", "old trees"), unit="m")
    drawn = Regression().draw(values, ground)
    assert np.array_equal(np.asarray(drawn), np.asarray(captioned(ground, ["cars 2 m", "old trees 0.5 m"])))
    assert (np.asarray(ground) == (0, 90, 0)).all()


def test_a_map_covers_three_fifths_of_the_picture() -> None:
    colours = ((250, 0, 0), (0, 0, 200))
    said = Prediction("segmentation", logits_of([[0] * 40 + [1] * 20] * 30, 2), ("sky", "road"), colours)
    drawn = np.asarray(Segmentation().draw(said, Image.new("RGB", (60, 30), (100, 50, 200)))).astype(int)
    assert np.abs(drawn[:30, :40] - [190, 20, 80]).max() <= 1
    assert np.abs(drawn[:30, 40:] - [40, 20, 200]).max() <= 1


# --- painting --------------------------------------------------------------------------------------------------------


def test_where_one_name_does_not_fit_none_that_follows_is_written() -> None:
    red, blue, green = (250, 0, 0), (0, 0, 250), (0, 250, 0)
    found = [Swatch("a", 0, 0.6, red), Swatch("a name that is far too long", 1, 0.3, blue), Swatch("b", 2, 0.1, green)]
    strip = np.asarray(with_legend(Image.new("RGB", (140, 100), (255, 255, 255)), found))[100:]
    assert [bool((strip == colour).all(2).any()) for colour in (red, blue, green)] == [True, False, False]


def test_swatches_stand_in_the_strip_and_apart() -> None:
    colours = [(250, 0, 0), (0, 0, 250)]
    found = [Swatch("a", 0, 0.75, colours[0]), Swatch("b", 1, 0.25, colours[1])]
    drawn = np.asarray(with_legend(Image.new("RGB", (480, 480), (255, 255, 255)), found))
    assert drawn.shape == (480 + 36, 480, 3)  # text of 20 pixels, and a strip of 1.8 of these
    places = [np.argwhere((drawn == colour).all(2)) for colour in colours]
    for place in places:
        (top, left), (bottom, right) = place.min(0), place.max(0)
        assert (top, bottom) == (488, 508) and right - left == 20
    assert places[0][:, 1].min() == 6  # a third of the text's height
    assert places[1][:, 1].min() > places[0][:, 1].max() + 20  # the text is between them


def test_lines_are_one_and_a_half_times_their_height_apart() -> None:
    ground = Image.new("RGB", (480, 480), (0, 90, 0))
    drawn = np.asarray(captioned(ground, ["a", "b"]))
    expected = ground.copy()
    label(expected, (6, 6), "a", (25, 28, 33), 20)
    label(expected, (6, 36), "b", (25, 28, 33), 20)
    assert np.array_equal(drawn, np.asarray(expected))


# --- ImageNet --------------------------------------------------------------------------------------------------------


def test_imagenet_has_its_thousand_classes_in_order() -> None:
    assert len(synsets()) == len(names()) == 1000
    assert [*synsets()] == sorted(set(synsets()))
    assert (synsets()[0], synsets()[207], synsets()[-1]) == ("n01440764", "n02099601", "n15075141")
    for number, word in ((0, "tench"), (207, "golden retriever"), (999, "toilet tissue")):
        assert word in names()[number]
    assert all(line == line.strip() and line for line in (*synsets(), *names()))
