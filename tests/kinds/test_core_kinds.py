"""The core's four kinds: figures against numpy, drawings, answers, and what is refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from icm_core.interfaces import TaskKind
from icm_core.kinds import Classification, Reconstruction, Regression, Segmentation
from icm_core.types import Legend, Prediction

GREY = Image.new("RGB", (60, 40), (128, 128, 128))
ROAD = Legend(("sky", "road", "tree"), (), ((10, 20, 200), (90, 80, 70), (0, 160, 0)))


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_miou_is_what_numpy_counts_over_all_pixels_together() -> None:
    kind, numpy_counts = Segmentation(), np.zeros((3, 3))
    tallies = []
    for seed in range(4):
        truth = torch.randint(-1, 3, (6, 7), generator=rng(seed))
        logits = torch.randn(1, 3, 6, 7, generator=rng(100 + seed))
        tallies.append(kind.tally(Prediction("segmentation", logits), truth))
        for t, p in zip(truth.flatten().tolist(), logits[0].argmax(0).flatten().tolist(), strict=True):
            if t >= 0:
                numpy_counts[t, p] += 1
    hits = np.diag(numpy_counts)
    expected = 100 * np.mean(hits / (numpy_counts.sum(0) + numpy_counts.sum(1) - hits))
    figure = kind.figures(tallies, ROAD)["miou"]
    assert figure.value == pytest.approx(expected, abs=1e-4)
    assert (figure.unit, figure.higher_is_better) == ("%", True)


def test_a_map_without_a_counted_pixel_has_no_miou() -> None:
    tally = Segmentation().tally(Prediction("segmentation", torch.zeros(1, 3, 2, 2)), torch.full((2, 2), -1))
    assert Segmentation().figures([tally], ROAD)["miou"].value is None


def test_top_1_and_top_5_are_shares_of_pictures() -> None:
    kind = Classification()
    logits = torch.arange(8.0)[None]
    tallies = [kind.tally(Prediction("classification", logits), torch.tensor(target)) for target in (7, 4, 0, 6)]
    found = kind.figures(tallies, Legend())
    assert (found["top1"].value, found["top5"].value) == (25.0, 75.0)


def test_five_classes_have_no_top_5() -> None:
    tally = Classification().tally(Prediction("classification", torch.arange(5.0)[None]), torch.tensor(4))
    assert list(Classification().figures([tally], Legend())) == ["top1"]


def test_psnr_is_the_mean_over_pictures_of_what_the_definition_says() -> None:
    kind, values, tallies = Reconstruction(), [], []
    for seed in range(3):
        picture = torch.randint(256, (3, 20, 30), generator=rng(seed)).to(torch.uint8)
        output = (picture.float() / 255 + 0.05 * (seed + 1))[None]
        tallies.append(kind.tally(Prediction("reconstruction", output), picture))
        shown = (output[0].clamp(0, 1) * 255).round().numpy().astype(np.float64)
        values.append(10 * math.log10(255**2 / np.mean((shown - picture.numpy()) ** 2)))
    assert kind.figures(tallies, Legend())["psnr"].value == pytest.approx(np.mean(values), abs=1e-6)


def test_ms_ssim_counts_grey_levels_of_255() -> None:
    """With a range of 1 in its place the constants of MS-SSIM would vanish, and flat areas would decide it."""
    picture = torch.full((3, 180, 180), 100, dtype=torch.uint8)
    picture[:, ::2] = 102
    output = torch.full((1, 3, 180, 180), 101 / 255)
    tally = Reconstruction().tally(Prediction("reconstruction", output), picture)
    # Structure is lost, but a step of two grey levels hardly counts against C2 = (0.03 * 255)^2.
    assert 0.9 < tally["ms_ssim"] < 1


def test_ms_ssim_is_of_the_picture_rounded_to_8_bits() -> None:
    picture = torch.full((3, 180, 180), 100, dtype=torch.uint8)
    off = torch.where(torch.arange(180) % 2 == 0, 0.45, -0.45)
    tally = Reconstruction().tally(Prediction("reconstruction", (picture + off)[None] / 255), picture)
    assert tally == {"psnr": None, "ms_ssim": pytest.approx(1, abs=1e-6)}


def test_an_equal_picture_has_no_psnr_and_a_small_one_no_ms_ssim() -> None:
    picture = torch.randint(256, (3, 20, 30), generator=rng(0)).to(torch.uint8)
    tally = Reconstruction().tally(Prediction("reconstruction", picture[None].float() / 255), picture)
    assert tally == {"psnr": None, "ms_ssim": None}
    assert Reconstruction().figures([tally], Legend())["psnr"].value is None


def test_mean_absolute_errors_are_numpys_and_lower_is_better() -> None:
    kind, rows = Regression(), np.random.default_rng(0)
    truth, said = rows.normal(size=(5, 2)).astype(np.float32), rows.normal(size=(5, 2)).astype(np.float32)
    legend = Legend(("near", "far"), unit="m")
    tallies = [
        kind.tally(Prediction("regression", torch.from_numpy(s)[None]), torch.from_numpy(t))
        for s, t in zip(said, truth, strict=True)
    ]
    found = kind.figures(tallies, legend)
    errors = np.abs(said.astype(np.float64) - truth)
    assert found["mae"].value == pytest.approx(errors.mean())
    assert found["mae.far"].value == pytest.approx(errors[:, 1].mean())
    assert all((figure.unit, figure.higher_is_better) == ("m", False) for figure in found.values())


def test_values_are_measured_in_the_heads_order_and_unknown_ones_left_out() -> None:
    kind = Regression()
    numbers = kind.match(Legend(("far", "near")), Legend(("near", "middle", "far")))
    assert numbers == (2, 0)
    target = kind.renumber(torch.tensor([3.0, 1.0]), numbers, Legend(("far", "near")))
    tally = kind.tally(Prediction("regression", torch.tensor([[1.5, 100.0, 1.0]])), target)
    assert tally == {"errors": [0.5, None, 2.0], "mae": 1.25}
    whole = kind.tally(Prediction("regression", torch.tensor([[4.0, 0.0, 0.0]])), torch.zeros(3))
    figures = kind.figures([tally, whole], Legend(("near", "middle", "far")))
    assert figures["mae"].value == pytest.approx((1.25 + 4 / 3) / 2)
    assert (figures["mae.near"].value, figures["mae.middle"].value) == (2.25, None)


@pytest.mark.parametrize("kind", [Classification(), Segmentation(), Regression()])
@given(weights=st.lists(st.integers(0, 3), min_size=6, max_size=6).filter(any))
@settings(max_examples=20, deadline=None)
def test_figures_of_a_draw_are_those_of_the_drawn_pictures(kind: TaskKind, weights: list[int]) -> None:
    shape = {"classification": (8,), "segmentation": (3, 4, 5), "regression": (2,)}[kind.name]
    legend = Legend(tuple("abcdefgh"[: shape[0]]))
    tallies = []
    for seed in range(6):
        target = kind.renumber(kind.example_target((4, 5), legend, rng(seed)), tuple(range(shape[0])), legend)
        tallies.append(kind.tally(Prediction(kind.name, torch.randn(1, *shape, generator=rng(seed))), target))
    drawn = [tally for tally, times in zip(tallies, weights, strict=True) for _ in range(times)]
    found = kind.resampled(tallies, legend, np.array([weights, [1] * 6], dtype=np.float64))
    assert list(found) == list(kind.figures(drawn, legend))
    for name, figure in kind.figures(drawn, legend).items():
        assert found[name][0] == pytest.approx(figure.value, abs=1e-4)
    for name, figure in kind.figures(tallies, legend).items():
        assert found[name][1] == pytest.approx(figure.value, abs=1e-4)


def test_figures_of_drawn_pictures_are_means_of_the_drawn() -> None:
    tallies = [{"psnr": 30.0, "ms_ssim": 0.9}, {"psnr": 33.0, "ms_ssim": 0.5}, {"psnr": 42.0, "ms_ssim": None}]
    found = Reconstruction().resampled(tallies, Legend(), np.array([[2.0, 1, 0], [1, 1, 1]]))
    assert found["psnr"].tolist() == pytest.approx([31, 35])
    assert found["ms_ssim"].tolist() == pytest.approx([2.3 / 3, math.nan], nan_ok=True)


def test_classes_are_told_to_be_the_same_by_name_by_folder_or_by_number() -> None:
    kind = Classification()
    head = Legend(("cat", "dog", "cow"), (("n1", "n2", "n3"),))
    assert kind.match(Legend(("cow", "cat")), head) == (2, 0)
    assert kind.match(Legend(("cow", "cat", "dog")), head) == (2, 0, 1)
    assert kind.match(Legend(("n3", "n2")), head) == (2, 1)
    assert kind.match(Legend(("x", "y", "z")), head) == (0, 1, 2)
    assert kind.match(Legend(("x", "y")), head) == "the head has 3 classes, and they are not the data set's 2"


def test_a_single_value_has_one_figure_and_none_has_no_target() -> None:
    kind = Regression()
    tally = kind.tally(Prediction("regression", torch.tensor([[2.0]])), torch.tensor([0.5]))
    legend = Legend(("cars",))
    assert [*kind.figures([tally], legend)] == [*kind.resampled([tally], legend, np.ones((1, 1)))] == ["mae"]
    assert kind.renumber(torch.zeros(0), (), Legend()).shape == (0,)
    with pytest.raises(ValueError, match="values"):
        kind.check_prediction(Prediction("regression", torch.zeros(1, 3), ("cars", "trees")), (4, 5), 1)


@pytest.mark.parametrize("kind", [Classification(), Segmentation(), Regression(), Reconstruction()])
def test_what_is_no_tensor_is_no_target(kind: TaskKind) -> None:
    with pytest.raises(ValueError, match="should be"):
        kind.check_target("a word", (4, 5), ROAD)


def test_other_units_do_not_go_together() -> None:
    assert Regression().match(Legend(("a",), unit="m"), Legend(("a",), unit="ft")) == (
        "the data set's values are in m, the head's in ft"
    )


def test_a_class_beyond_the_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="holds the class 7; classes are 0 to 2"):
        Segmentation().renumber(torch.tensor([[0, 7]], dtype=torch.uint8), (0, 1, 2), ROAD)


@pytest.mark.parametrize(
    ("kind", "target", "says"),
    [
        (Classification(), torch.tensor(1.0), "should be a class"),
        (Classification(), torch.tensor(9), "the class 9, and there are 3 labels"),
        (Segmentation(), torch.zeros(4, 5), "should be a class map"),
        (Segmentation(), torch.full((4, 5), 9, dtype=torch.uint8), "has the class 9"),
        (Regression(), torch.zeros(3, dtype=torch.float64), "should be values"),
        (Regression(), torch.tensor([0.0, 1.0]), "has 2 values for 3 labels"),
        (Regression(), torch.tensor([0.0, 1.0, torch.nan]), "not finite"),
        (Reconstruction(), torch.zeros(3, 4, 5), "should be a picture"),
        (Reconstruction(), torch.zeros(3, 5, 4, dtype=torch.uint8), "should be a picture"),
    ],
)
def test_a_wrong_target_is_refused_in_words(kind: TaskKind, target: torch.Tensor, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        kind.check_target(target, (4, 5), ROAD)


def test_a_label_maps_raster_holds_class_numbers_in_the_legends_colours() -> None:
    logits = torch.zeros(2, 3, 3, 5)
    logits[0, 1] = 1
    logits[0, 2, 0, 1] = 2
    picture = Segmentation().raster(Prediction("segmentation", logits, ROAD.labels, ROAD.colours))
    assert (picture.mode, picture.size) == ("P", (5, 3))
    assert (picture.getpixel((0, 0)), picture.getpixel((1, 0))) == (1, 2)
    assert picture.convert("RGB").getpixel((0, 0)) == ROAD.colours[1]


def test_a_label_map_is_drawn_over_the_picture_with_its_legend_below() -> None:
    logits = torch.zeros(1, 3, 40, 60)
    logits[0, 0, :, :30] = 1
    logits[0, 1, :, 30:] = 1
    drawn = Segmentation().draw(Prediction("segmentation", logits, ROAD.labels, ROAD.colours), GREY)
    assert drawn.width == 60 and drawn.height > 40
    left, right = drawn.getpixel((5, 20)), drawn.getpixel((55, 20))
    assert left[2] > 150 > right[2] and left != (128, 128, 128)


def test_answers_are_json_and_a_line() -> None:
    logits = torch.zeros(1, 3, 4, 4)
    logits[0, 2, :, 0] = 5
    prediction = Prediction("segmentation", logits, ROAD.labels)
    assert Segmentation().answer(prediction)["classes"] == [
        {"label": "sky", "index": 0, "share": 0.75},
        {"label": "tree", "index": 2, "share": 0.25},
    ]
    assert Segmentation().describe(prediction) == "sky 75%, tree 25%"
    classes = Prediction("classification", torch.tensor([[0.0, math.log(3), 0.0]]), ("cat, tom", "dog", "cow"))
    assert json.dumps(Classification().answer(classes)).count("label") == 3
    assert Classification().describe(classes).startswith("dog 60%, cat 20%")
    counts = Prediction("regression", torch.tensor([[1.25, 3.0]]), ("cars", "trees"), unit="m")
    assert Regression().answer(counts) == {
        "values": [{"label": "cars", "value": 1.25}, {"label": "trees", "value": 3.0}],
        "unit": "m",
    }
    assert Regression().describe(counts) == "cars 1.25 m, trees 3 m"


@pytest.mark.parametrize("kind", [Classification(), Segmentation(), Regression()])
def test_the_truth_has_the_best_figures(kind: TaskKind) -> None:
    target = kind.example_target((4, 5), ROAD, rng(3))
    truth = kind.truth(target, ROAD)
    assert truth is not None
    tally = kind.tally(truth, kind.renumber(target, (0, 1, 2), ROAD))
    main = next(iter(kind.figures([tally], ROAD).values()))
    assert main.value == (100 if main.higher_is_better else 0)


@pytest.mark.parametrize("target", [-1, 3, 255])
def test_a_class_without_a_label_has_no_right_answer(target: int) -> None:
    assert Classification().truth(torch.tensor(target), ROAD) is None


def test_made_up_maps_leave_out_a_few_pixels_and_hold_every_class() -> None:
    made = Segmentation().example_target((40, 60), Legend(ROAD.labels, ignore=9), rng(0))
    assert (made == 9).nonzero().tolist() == [[0, column] for column in range(30)]
    assert made.unique().tolist() == [0, 1, 2, 9]


def test_made_up_maps_have_ignored_pixels_whatever_class_is_ignored() -> None:
    labels = tuple("abcdefghi")
    plain, with_ignored = (Segmentation().example_target((4, 6), Legend(labels, ignore=i), rng(1)) for i in (None, 0))
    assert plain[0, :3].any() and not with_ignored[0, :3].any()
    assert torch.equal(plain.flatten()[3:], with_ignored.flatten()[3:])


@pytest.mark.parametrize(("change", "right"), [(0.0, True), (-0.6, False), (0.6, False)])
def test_pictures_are_within_0_and_1(change: float, right: bool) -> None:
    output = torch.linspace(0.2, 0.8, 60).view(1, 3, 4, 5)
    output[0, 1, 2, 3] += change
    check = Reconstruction().check_prediction
    if right:
        check(Prediction("reconstruction", output), (4, 5), 1)
    else:
        with pytest.raises(ValueError, match=r"pictures are clamped to \[0, 1\]"):
            check(Prediction("reconstruction", output), (4, 5), 1)


def test_an_enlarged_map_is_that_of_enlarged_logits() -> None:
    logits, kind = torch.randn(1, 5, 23, 40, generator=rng(0)), Segmentation()
    found = kind.enlarged(Prediction("segmentation", logits, ("a", "b", "c", "d", "e")), (201, 157))
    full = torch.nn.functional.interpolate(logits, (201, 157), mode="bilinear", align_corners=False)[0].argmax(0)
    same = torch.from_numpy(np.array(kind.raster(found))) == full
    assert same.double().mean() > 0.9995  # where two classes are as likely, the last bit decides
    truth = torch.randint(5, (201, 157), generator=rng(1))
    confusion = torch.tensor(kind.tally(found, truth)["confusion"]).view(5, 5)
    right = int((full == truth).sum())
    assert confusion.sum() == 201 * 157 and abs(int(confusion.trace()) - right) < 20
    assert sum(one["share"] for one in kind.answer(found)["classes"]) == pytest.approx(1, abs=1e-4)
    kind.check_prediction(found, (201, 157), 1)
    with pytest.raises(ValueError, match="should be of"):
        kind.check_prediction(found, (201, 158), 1)


def test_divergence_is_zero_for_the_same_answer_and_per_picture() -> None:
    logits = torch.randn(2, 3, 4, 5, generator=rng(0))
    other = logits.clone()
    other[1] += torch.randn(3, 4, 5, generator=rng(1))
    found = Segmentation().divergence(other, logits)
    assert found.shape == (2,) and found[0] == pytest.approx(0, abs=1e-6) and found[1] > 0.01
    pictures = torch.rand(2, 3, 4, 5, generator=rng(2))
    moved = pictures + torch.tensor([0.0, 0.1])[:, None, None, None]
    assert Reconstruction().divergence(moved, pictures).tolist() == pytest.approx([0, 25.5**2], rel=1e-4)
