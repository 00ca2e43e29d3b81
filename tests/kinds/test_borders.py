"""What is told apart at the borders of the core's kinds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors

from icm_core.interfaces.kind import Tally
from icm_core.kinds import Classification, Reconstruction, Regression, Segmentation, Swatch, with_legend
from icm_core.kinds.labels import match_labels, renumbered
from icm_core.kinds.means import resampled_means
from icm_core.kinds.outputs import check_output
from icm_core.types import Legend, Prediction


def test_a_heads_labels_come_before_its_other_names() -> None:
    head = Legend(("left", "right", "up"), (("right", "left", "down"),))
    assert match_labels(Legend(("right", "left")), head) == (1, 0)
    assert match_labels(Legend(("down", "left")), head) == (2, 1)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
def test_every_number_of_an_output_is_finite(wrong: float) -> None:
    output = torch.zeros(2, 3)
    check_output(output, (2, None), "values")
    output[1, 2] = wrong
    with pytest.raises(ValueError, match="has values that are not finite among its values"):
        check_output(output, (2, None), "values")


def test_whole_numbers_are_no_output() -> None:
    with pytest.raises(ValueError, match=r"it should be values, \(2, any\)"):
        check_output(torch.zeros(2, 3, dtype=torch.int64), (2, None), "values")


@pytest.mark.parametrize("ignore", [0, 1, 2])
def test_any_class_may_be_the_ignored_one(ignore: int) -> None:
    found = renumbered(torch.tensor([[0, 1], [2, 1]]), (5, 6, 7), ignore, -1)
    assert found.tolist() == [[-1 if n == ignore else 5 + n for n in row] for row in ([0, 1], [2, 1])]


def test_an_ignored_picture_has_no_class_of_the_head() -> None:
    kind, legend = Classification(), Legend(("cat", "dog"), ignore=7)
    assert [int(kind.renumber(torch.tensor(n), (4, 2), legend)) for n in (0, 1, 7)] == [4, 2, -1]


def test_the_truth_of_values_has_their_unit_and_that_of_maps_their_colours() -> None:
    metres = Regression().truth(torch.tensor([1.0, 2.5]), Legend(("near", "far"), unit="m"))
    assert (metres.unit, metres.labels, metres.output.tolist()) == ("m", ("near", "far"), [[1.0, 2.5]])
    colours = ((10, 20, 30), (40, 50, 60))
    found = Segmentation().truth(torch.tensor([[0, 1]], dtype=torch.uint8), Legend(("sky", "road"), (), colours))
    assert found is not None and found.colours == colours


def test_pixels_without_a_class_have_the_first_in_the_truth() -> None:
    found = Segmentation().truth(torch.tensor([[1, 255, 2, 3]], dtype=torch.uint8), Legend(tuple("abc"), ignore=255))
    assert found is not None and found.output.argmax(1).tolist() == [[[1, 0, 2, 0]]]
    # As `renumber` has them.
    found = Segmentation().truth(torch.tensor([[1, -1, 2]]), Legend(tuple("abc"), ignore=255))
    assert found is not None and found.output.argmax(1).tolist() == [[[1, 0, 2]]]


def test_an_enlarged_map_keeps_all_that_its_head_said() -> None:
    colours = ((1, 2, 3), (4, 5, 6))
    said = Prediction("segmentation", torch.rand(1, 2, 3, 4), ("a", "b"), colours, "m")
    found = Segmentation().enlarged(said, (30, 40))
    assert (found.kind, found.labels, found.colours, found.unit) == ("segmentation", ("a", "b"), colours, "m")
    with pytest.raises(ValueError, match=r"are logits of \(30, 40\); they should be of \(31, 40\)"):
        Segmentation().check_prediction(found, (31, 40), 1)


def test_an_enlarged_map_has_logits_of_each_label() -> None:
    found = Segmentation().enlarged(Prediction("segmentation", torch.rand(1, 5, 3, 4), ("a", "b")), (30, 40))
    with pytest.raises(ValueError, match=r"it should be logits, \(1, 2, any, any\)"):
        Segmentation().check_prediction(found, (30, 40), 1)


def test_answers_are_of_float32_whatever_a_head_computes_in() -> None:
    logits = torch.tensor([[1.0, 2.0, 4.0]], dtype=torch.bfloat16)
    found = Classification().answer(Prediction("classification", logits, ("a", "b", "great white shark, man-eater")))
    powers = [math.exp(n) for n in (4, 2, 1)]
    top = found["top"]
    assert isinstance(top, list)
    assert [one["probability"] for one in top if isinstance(one, dict)] == [round(n / sum(powers), 6) for n in powers]
    said = Classification().describe(Prediction("classification", logits, ("a", "b", "great white shark, man-eater")))
    assert said == "great white shark 84%, b 11%, a 4%"


def test_five_classes_are_answered_and_three_described() -> None:
    prediction = Prediction("classification", torch.arange(9.0)[None], tuple("abcdefghi"))
    top = Classification().answer(prediction)["top"]
    assert isinstance(top, list) and [one["label"] for one in top if isinstance(one, dict)] == list("ihgfe")
    assert [words[0] for words in Classification().describe(prediction).split(", ")] == list("ihg")
    classes = torch.arange(4).repeat_interleave(torch.tensor([5, 4, 3, 2]))
    logits = torch.nn.functional.one_hot(classes, 4).T.reshape(1, 4, 2, 7).float()
    assert Segmentation().describe(Prediction("segmentation", logits, tuple("wxyz"))) == "w 36%, x 29%, y 21%"


@pytest.mark.parametrize(("ignore", "fill"), [(None, 0), (0, 0), (7, 7), (255, 255)])
def test_what_is_filled_up_around_maps_is_ignored_where_something_is(ignore: int | None, fill: int) -> None:
    assert Segmentation().fill(Legend(("a", "b"), ignore=ignore)) == fill


def test_maps_are_moved_as_masks_and_pictures_as_pictures() -> None:
    assert type(Segmentation().wrap(torch.zeros(4, 5, dtype=torch.uint8), (4, 5))) is tv_tensors.Mask
    assert type(Reconstruction().wrap(torch.zeros(3, 4, 5, dtype=torch.uint8), (4, 5))) is tv_tensors.Image


def test_figures_of_pictures_say_which_way_is_better_and_with_how_many_digits() -> None:
    found = Reconstruction().figures([{"psnr": 30.0, "ms_ssim": 0.9}, {"psnr": 40.0, "ms_ssim": 0.8}], Legend())
    psnr, similarity = found["psnr"], found["ms_ssim"]
    assert (psnr.value, psnr.unit, psnr.title, psnr.higher_is_better) == (35.0, "dB", "PSNR", True)
    assert similarity.value == pytest.approx(0.85) and (similarity.unit, similarity.digits) == ("", 4)


def test_errors_of_values_are_exact_where_float32_is_not() -> None:
    said = Prediction("regression", torch.tensor([[16777216.0]]))
    assert Regression().tally(said, torch.tensor([0.5]))["errors"] == [16777215.5]
    assert Regression().describe(Prediction("regression", torch.tensor([[12.345, 0.0]]), ("a", "b"))) == "a 12.3, b 0"


def test_values_have_as_many_labels_and_are_called_values() -> None:
    legend = Legend(("a", "b", "c"))
    for count in (2, 4):
        with pytest.raises(ValueError, match=f"has {count} values for 3 labels"):
            Regression().check_target(torch.zeros(count), (4, 5), legend)
    assert Regression().match(Legend(("x", "y")), legend) == (
        "the head has 3 values, and they are not the data set's 2"
    )


def test_a_class_on_less_than_a_hundredth_of_the_picture_is_not_named_below_it() -> None:
    red, blue, green = (250, 0, 0), (0, 0, 250), (0, 250, 0)
    found = [Swatch("a", 0, 0.981, red), Swatch("b", 1, 0.01, blue), Swatch("c", 2, 0.009, green)]
    strip = np.asarray(with_legend(Image.new("RGB", (600, 40), (255, 255, 255)), found))[40:]
    assert [bool((strip == colour).all(2).any()) for colour in (red, blue, green)] == [True, True, False]


def test_a_number_without_bound_counts_only_in_draws_that_hold_it() -> None:
    tallies: list[Tally] = [{"x": math.inf}, {"x": 1.5}, {"x": None}]
    found = resampled_means(tallies, {"x": 2.0}, np.array([[0.0, 2, 0], [1, 1, 0], [0, 1, 1]]))["x"]
    assert found[0] == 3.0 and np.isnan(found[1:]).all()


def test_pictures_may_be_black_and_white() -> None:
    output = torch.tensor([0.0, 1.0]).expand(1, 3, 4, 2)
    Reconstruction().check_prediction(Prediction("reconstruction", output), (4, 2), 1)
