"""Kind `depth`: distances move with their picture, and figures are those of the literature."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from torchvision.transforms.v2 import functional

from icm_core.kinds import text_size
from icm_core.pictures import png_bytes
from icm_core.types import Legend, Prediction
from icm_tasks.kinds import Depth
from icm_tasks.kinds.scale import coloured, colours, with_scale

NAN = float("nan")
METRES = Legend(unit="m")
ZERO = Legend(unit="m", ignore=0)
SIZE = (20, 30)
KIND = Depth()


def ramp(height=SIZE[0], width=SIZE[1]) -> torch.Tensor:
    """Distances that are all different and grow downwards and to the right."""
    return 1 + torch.arange(height * width, dtype=torch.float32).view(height, width) / 100


def said(values: torch.Tensor, unit: str = "m") -> Prediction:
    return Prediction("depth", values[None, None], unit=unit)


def measured(prediction, target, legend=METRES):
    tally = KIND.tally(prediction, KIND.renumber(target, (), legend))
    return {name: figure.value for name, figure in KIND.figures([tally], legend).items()}


def test_it_is_registered_by_the_plugin(kind_of):
    assert type(kind_of("depth")) is Depth


@pytest.mark.parametrize("legend", [METRES, ZERO, Legend()], ids=["nan", "zero", "nothing"])
@pytest.mark.parametrize("size", [(1, 1), (2, 9)], ids=str)
def test_examples_are_good_targets(size, legend):
    made = KIND.example_target(size, legend, torch.Generator().manual_seed(0))
    KIND.check_target(made, size, legend)
    none = made.isnan() if legend.ignore is None else made == legend.ignore
    assert none.nonzero().tolist() == ([[0, column] for column in range(size[1] // 2)] if size[1] > 1 else [])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (ramp().double(), r"float64 .*distances, \(20, 30\) float32"),
        (ramp()[None], r"shape \(1, 20, 30\)"),
        (ramp(30, 20), r"shape \(30, 20\)"),
        (ramp() - 1, "distance 0; distances are finite and above 0"),
        (ramp() - 2, "distance -1"),
        (torch.full(SIZE, float("inf")), "distance inf"),
    ],
)
def test_wrong_targets_are_refused(target, message):
    with pytest.raises(ValueError, match=message):
        KIND.check_target(target, SIZE, METRES)


def test_pixels_without_a_distance_are_nan_or_the_ignored_value():
    target = ramp()
    target[0, 0] = NAN
    KIND.check_target(target, SIZE, METRES)
    target[0, 1] = 0
    KIND.check_target(target, SIZE, ZERO)
    assert KIND.renumber(target, (), ZERO).isnan().nonzero().tolist() == [[0, 0], [0, 1]]


# --- moves -----------------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(
    flip=st.booleans(),
    scaled=st.tuples(st.integers(5, 50), st.integers(5, 50)),
    top=st.integers(-4, 1),
    left=st.integers(-4, 1),
    legend=st.sampled_from([METRES, ZERO]),
)
def test_distances_are_moved_without_being_mixed(moved, flip, scaled, top, left, legend):
    target = ramp()
    steps = [(functional.horizontal_flip,)] if flip else []
    steps += [(functional.resize, list(scaled))]
    found, size = moved(KIND, target, SIZE, legend, *steps)
    rows, columns = (
        torch.arange(new) * old // new
        for new, old in zip(scaled, SIZE, strict=True)  # the nearest pixel's
    )
    expected = (target.flip(1) if flip else target)[rows][:, columns]
    assert size == scaled and torch.equal(found, expected)
    cut, _ = moved(KIND, target, SIZE, legend, *steps, (functional.crop, top, left, *scaled))
    inside = cut[max(0, -top) : scaled[0] - max(0, top), max(0, -left) : scaled[1] - max(0, left)]
    assert torch.equal(inside, expected[max(0, top) : scaled[0] + min(0, top), max(0, left) : scaled[1] + min(0, left)])


def test_pixels_without_a_distance_move_with_the_picture(moved):
    target = ramp()
    target[3, 4] = NAN
    found, _ = moved(KIND, target, SIZE, METRES, (functional.horizontal_flip,))
    assert found.isnan().nonzero().tolist() == [[3, 25]]
    assert target.isnan().nonzero().tolist() == [[3, 4]]  # the data set's own stays what it was


@pytest.mark.parametrize("legend", [METRES, ZERO, Legend(ignore=-1)], ids=["nan", "zero", "minus one"])
def test_beyond_the_picture_there_is_no_distance(legend):
    wrapped = functional.pad(KIND.wrap(ramp(), SIZE), [2, 1, 0, 3], fill=KIND.fill(legend))
    found = KIND.unwrap(wrapped, (24, 32), legend)
    assert found.dtype == torch.float32 and type(found) is torch.Tensor
    assert torch.equal(found[1:21, 2:], ramp())
    assert found[0].isnan().all() and found[21:].isnan().all() and found[:, :2].isnan().all()


def test_losses_find_nan_wherever_there_is_no_distance(moved):
    target = ramp()
    target[3, 4] = 0
    found, _ = moved(KIND, target, SIZE, ZERO)
    assert found.isnan().nonzero().tolist() == [[3, 4]]
    batch = KIND.collate([found, found])
    assert batch.shape == (2, *SIZE) and KIND.select(batch, [1]).shape == (1, *SIZE)


# --- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (torch.ones(2, 2, 20, 30), r"\(2, 1, 20, 30\) or \(2, 20, 30\)"),
        (torch.ones(2, 1, 30, 20), r"\(2, 1, 20, 30\)"),
        (torch.ones(2, 20, 30).long(), "int64"),
        ([torch.ones(20, 30)], "is list"),
        (torch.full((2, 20, 30), float("inf")), "not finite"),
        (torch.full((2, 20, 30), NAN), "not finite"),
    ],
)
def test_what_a_head_may_not_say(output, message):
    with pytest.raises(ValueError, match=message):
        KIND.check_prediction(Prediction("depth", output), SIZE, 2)


def test_outputs_may_have_a_channel_or_none():
    with_channel, without = said(ramp()), Prediction("depth", ramp()[None], unit="m")
    for prediction in (with_channel, without):
        KIND.check_prediction(prediction, SIZE, 1)
    assert KIND.answer(with_channel) == KIND.answer(without)
    assert KIND.tally(with_channel, ramp() + 1) == KIND.tally(without, ramp() + 1)


def test_answer_sums_the_distances_up():
    values = torch.tensor([[2.0000014, 4.0, 3.0000024], [0.0, -1.0, 10.000003]])
    assert KIND.answer(said(values)) == {
        "unit": "m",
        "min": 2.000001,
        "median": 3.000002,
        "max": 10.000003,
        "valid": round(4 / 6, 6),
        "step": 0.001,
    }
    assert KIND.describe(said(values)) == "2 to 10 m, median 3 m"


@pytest.mark.parametrize("channel", [True, False])
def test_of_a_batch_the_first_picture_is_answered_shown_and_measured(channel):
    batch = torch.stack([torch.full((8, 9), 2.0), torch.full((8, 9), 5.0)])
    prediction = Prediction("depth", batch[:, None] if channel else batch, unit="m")
    assert KIND.answer(prediction)["median"] == 2
    assert KIND.describe(prediction) == "2 to 2 m, median 2 m"
    assert np.asarray(KIND.raster(prediction)).tolist() == np.full((8, 9), 2000).tolist()
    assert measured(prediction, torch.full((8, 9), 4.0))["abs_rel"] == 50


def test_no_distances_are_said_so():
    nothing = KIND.truth(torch.full(SIZE, NAN), METRES)
    assert KIND.answer(nothing) == {"unit": "m", "min": None, "median": None, "max": None, "valid": 0.0, "step": 0.001}
    assert KIND.describe(nothing) == "no distances"
    picture = Image.new("RGB", (30, 20), (9, 9, 9))
    assert KIND.draw(nothing, picture).tobytes() == picture.tobytes()
    assert not np.asarray(KIND.raster(nothing)).any()


@pytest.mark.parametrize(("most", "step"), [(9.5, 0.001), (65.535, 0.001), (65.6, 0.01), (700.0, 0.1), (60_000.0, 1.0)])
def test_written_picture_holds_the_distances_in_steps(tmp_path, most, step):
    values = ramp() * (most / float(ramp().max()))
    values[0, 0] = 0
    prediction = said(values)
    path = tmp_path / "depth.png"
    path.write_bytes(png_bytes(KIND.raster(prediction)))
    with Image.open(path) as picture:
        assert picture.mode == "I;16" and picture.size == (30, 20)
        found = np.asarray(picture).astype(np.float64)
    assert KIND.answer(prediction)["step"] == step
    assert found[0, 0] == 0
    assert np.abs(found * step - values.numpy())[1:].max() <= step / 2 * 1.001


def test_what_does_not_fit_into_16_bits_is_not_written():
    assert KIND.raster(said(ramp() * 1e5)) is None
    assert KIND.answer(said(ramp() * 1e5))["step"] is None


def test_a_distance_below_half_a_step_is_not_taken_for_none():
    assert np.asarray(KIND.raster(said(torch.tensor([[0.0001, 0.0, 5.0]])))).tolist() == [[1, 0, 5000]]


def test_drawing_has_the_scale_below_and_near_in_yellow():
    near_left = torch.linspace(1, 4, 200).expand(100, 200)
    drawn = KIND.draw(said(near_left), Image.new("RGB", (200, 100), (128, 128, 128)))
    assert drawn.width == 200 and drawn.height > 110
    assert drawn.getpixel((0, drawn.height - 1)) == (255, 255, 255)
    left, right = np.array(drawn.getpixel((1, 50)), dtype=int), np.array(drawn.getpixel((198, 50)), dtype=int)
    assert np.abs(left - (0.75 * np.array([253, 231, 37]) + 32)).max() < 8
    assert np.abs(right - (0.75 * np.array([68, 1, 84]) + 32)).max() < 8


def test_equal_ratios_of_distances_are_equal_steps_of_colour():
    near_left = torch.logspace(0, 4, 201, base=2.0).expand(100, 201)  # 1 to 16
    drawn = KIND.draw(said(near_left), Image.new("RGB", (201, 100), (128, 128, 128)))
    middle = np.array(drawn.getpixel((100, 50)), dtype=int)  # 4
    assert np.abs(middle - (0.75 * np.array([33, 145, 140]) + 32)).max() < 4


def test_pixels_without_a_distance_show_the_picture_in_grey():
    target = ramp(40, 60)
    target[:20] = NAN
    drawn = KIND.draw(KIND.truth(target, METRES), Image.new("RGB", (60, 40), (200, 0, 0)))
    assert drawn.getpixel((5, 5)) == (60, 60, 60)
    assert len({*drawn.getpixel((5, 30))}) > 1


def test_scale_is_viridis():
    pyplot = pytest.importorskip("matplotlib")
    shares = np.linspace(0, 1, 101)
    theirs = pyplot.colormaps["viridis"](1 - shares)[:, :3] * 255
    assert np.abs(colours(shares) - theirs).max() < 5
    sixteenths = np.arange(17) / 16
    assert np.abs(colours(1 - sixteenths) - pyplot.colormaps["viridis"](sixteenths)[:, :3] * 255).max() <= 0.5


def test_the_strip_below_shows_the_scale_and_names_its_ends_and_what_is_half_way(monkeypatch):
    written, write = [], ImageDraw.ImageDraw.text

    def noted(self, xy, text, *args, **more):
        written.append((text, xy[0], more["anchor"]))
        return write(self, xy, text, *args, **more)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", noted)
    drawn = with_scale(Image.new("RGB", (200, 100)), (1.0, 16.0), "m")
    size = text_size(Image.new("RGB", (200, 100)))
    margin = size // 2
    assert written == [("1 m", margin, "la"), ("4 m", 100, "ma"), ("16 m", 200 - margin, "ra")]
    row = [drawn.getpixel((x, 100 + margin)) for x in (margin - 1, margin, 200 - margin - 1, 200 - margin)]
    assert row == [(255, 255, 255), (253, 231, 37), (68, 1, 84), (255, 255, 255)]
    ink = np.asarray(drawn)[100 + margin + size + size // 6 :]  # below the strip
    assert ink.min() < 100 and drawn.getpixel((100, 99 + margin)) == (255, 255, 255)


# --- figures ---------------------------------------------------------------------------------------------------------


def reference(found: np.ndarray, true: np.ndarray, known: np.ndarray) -> dict[str, float]:
    """The three figures of one picture, pixel by pixel (Eigen et al., 2014, Sec. 4)."""
    relative, squared, near, count = 0.0, 0.0, 0, 0
    for d, t, k in zip(found.ravel().tolist(), true.ravel().tolist(), known.ravel().tolist(), strict=True):
        if k:
            relative += abs(d - t) / t
            squared += (d - t) ** 2
            near += d > 0 and max(d / t, t / d) < 1.25
            count += 1
    return {"abs_rel": 100 * relative / count, "rmse": (squared / count) ** 0.5, "delta1": 100 * near / count}


def example(seed: int):
    """Truth, known pixels and an answer."""
    generator = np.random.default_rng(seed)
    true = generator.uniform(0.5, 9, SIZE).astype(np.float32)
    found = (true * generator.lognormal(0, 0.25, SIZE)).astype(np.float32)
    return true, generator.random(SIZE) < 0.7, found


@pytest.mark.parametrize("legend", [METRES, ZERO], ids=["nan", "zero"])
def test_figures_are_means_over_pictures_of_means_over_pixels(legend):
    tallies, expected = [], []
    for seed in range(5):
        true, known, found = example(seed)
        target = torch.from_numpy(np.where(known, true, NAN if legend.ignore is None else legend.ignore))
        KIND.check_target(target, SIZE, legend)
        tallies.append(KIND.tally(said(torch.from_numpy(found)), KIND.renumber(target, (), legend)))
        expected.append(reference(found, true, known))
    figures = KIND.figures(json.loads(json.dumps(tallies)), legend)
    for name, figure in figures.items():
        assert figure.value == pytest.approx(np.mean([one[name] for one in expected]), rel=1e-6)
    assert {name: (figure.unit, figure.higher_is_better) for name, figure in figures.items()} == {
        "abs_rel": ("%", False),
        "rmse": ("m", False),
        "delta1": ("%", True),
    }


def test_answers_are_not_scaled_to_the_truth():
    assert measured(said(2 * ramp()), ramp())["abs_rel"] == pytest.approx(100)
    assert measured(said(ramp()), ramp()) == {"abs_rel": 0, "rmse": 0, "delta1": 100}


def test_delta1_counts_ratios_below_one_and_a_quarter_either_way():
    true = torch.tensor([[4.0, 4.0, 4.0, 4.0, 4.0, 4.0]])
    found = torch.tensor([[4.99, 5.01, 3.21, 3.19, 0.0, -4.0]])
    assert measured(said(found), true)["delta1"] == pytest.approx(100 * 2 / 6)


def test_delta1_leaves_out_ratios_of_just_one_and_a_quarter():
    # In numbers that binary fractions hold: 5 / 4 either way, and a hair nearer.
    true = torch.tensor([[4.0, 5.0, 4.0, 5.0]])
    found = torch.tensor([[5.0, 4.0, 4.999, 4.001]])
    assert measured(said(found), true)["delta1"] == 50


def test_what_the_head_says_where_nothing_is_known_does_not_count():
    target, found = ramp(), ramp()
    target[:5], found[:5] = NAN, NAN
    assert measured(said(found), target) == {"abs_rel": 0, "rmse": 0, "delta1": 100}


def test_pictures_without_distances_do_not_count():
    tallies = [KIND.tally(said(2 * ramp()), target) for target in (ramp(), torch.full(SIZE, NAN))]
    assert KIND.figures(tallies, METRES)["abs_rel"].value == pytest.approx(100)
    assert KIND.figures(tallies[1:], METRES)["rmse"].value is None
    drawn = KIND.resampled(tallies, METRES, np.array([[1.0, 1.0], [0.0, 2.0]]))
    assert drawn["abs_rel"][0] == pytest.approx(100) and np.isnan(drawn["abs_rel"][1])


def test_draws_are_the_figures_of_the_drawn_pictures():
    tallies = []
    for seed in range(6):
        true, _, found = example(seed)
        tallies.append(KIND.tally(said(torch.from_numpy(found)), torch.from_numpy(true)))
    weights = np.random.default_rng(1).multinomial(6, [1 / 6] * 6, size=10).astype(np.float64)
    drawn = KIND.resampled(tallies, METRES, weights)
    for row, times in enumerate(weights):
        listed = [tally for tally, count in zip(tallies, times, strict=True) for _ in range(int(count))]
        expected = {name: figure.value for name, figure in KIND.figures(listed, METRES).items()}
        assert {name: values[row] for name, values in drawn.items()} == pytest.approx(expected)


def test_draws_of_pictures_without_distances_count_nothing():
    none = KIND.tally(said(ramp()), torch.full(SIZE, NAN))
    right, off = KIND.tally(said(ramp()), ramp()), KIND.tally(said(2 * ramp()), ramp())
    weights = np.array([[5.0, 1, 0, 3], [0, 3, 2, 1], [2, 0, 0, 1]])
    drawn = KIND.resampled([none, right, none, off], METRES, weights)
    np.testing.assert_allclose(drawn["abs_rel"], [75, 25, 100])  # of 100 % in the last picture, 0 % in the second
    np.testing.assert_allclose(drawn["delta1"], [25, 75, 0])


def test_answers_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match=r"size \(20, 30\); the head's answer is \(30, 20\)"):
        KIND.tally(said(ramp(30, 20)), ramp())
    with pytest.raises(ValueError, match="not finite"):
        KIND.tally(said(torch.full(SIZE, NAN)), ramp())


def test_units_have_to_be_the_same():
    assert KIND.match(METRES, Legend(unit="m")) == ()
    assert "in m, the head's in cm" in KIND.match(METRES, Legend(unit="cm"))


def test_the_truth_is_right():
    target = ramp()
    target[0] = 0
    truth = KIND.truth(target, ZERO)
    assert truth.unit == "m" and measured(truth, target, ZERO) == {"abs_rel": 0, "rmse": 0, "delta1": 100}


# --- two answers -----------------------------------------------------------------------------------------------------


def test_divergence_is_the_mean_difference_as_a_share_of_the_mean_distance():
    reference = torch.stack([torch.full((1, 2, 2), 4.0), torch.full((1, 2, 2), 10.0)])
    output = reference.clone()
    output[0, 0, 0, 0], output[1, 0] = 8, 11
    output.requires_grad_()
    found = KIND.divergence(output, reference)
    torch.testing.assert_close(found, torch.tensor([0.25, 0.1]))
    found.sum().backward()
    assert output.grad[0, 0, 0, 0] == pytest.approx(1 / 16)
    assert KIND.divergence(reference, reference).tolist() == [0, 0]


# --- the scale of drawings -------------------------------------------------------------------------------------------


def upper(values: torch.Tensor, picture: Image.Image) -> np.ndarray:
    """What is drawn on the picture, without the strip below."""
    return np.asarray(KIND.draw(said(values), picture), dtype=np.float64)[: picture.height]


def test_a_few_odd_distances_do_not_stretch_the_scale():
    values = torch.linspace(1, 4, 10_000).view(100, 100).clone()
    values[0, :40], values[99, :40] = 1e-3, 1e3
    picture = Image.new("RGB", (100, 100), (90, 120, 30))
    low, high = np.quantile(values.numpy(), [0.01, 0.99])
    assert 0.9 < low < 1.1 and 3.9 < high < 4.1
    expected = coloured(values.numpy(), np.ones((100, 100), dtype=bool), (low, high), picture)
    assert np.abs(upper(values, picture) - np.asarray(expected, dtype=np.float64)).max() <= 1


def test_the_scale_of_a_large_map_is_that_of_all_its_parts():
    values = torch.linspace(1, 16, 500)[:, None].expand(500, 600).contiguous()
    picture = Image.new("RGB", (600, 500), (128, 128, 128))
    low, high = np.quantile(values.numpy(), [0.01, 0.99])
    expected = coloured(values.numpy(), np.ones((500, 600), dtype=bool), (low, high), picture)
    assert np.abs(upper(values, picture) - np.asarray(expected, dtype=np.float64)).max() <= 3


def test_a_map_of_one_distance_is_all_near():
    with np.errstate(all="raise"):
        drawn = upper(torch.full((40, 60), 3.0), Image.new("RGB", (60, 40), (128, 128, 128)))
    assert np.abs(drawn - (0.75 * np.array([253, 231, 37]) + 32)).max() <= 1


@pytest.mark.parametrize(("most", "step"), [(65.5354, 0.001), (65.536, 0.01), (655.354, 0.01), (655.36, 0.1)])
def test_a_step_is_the_finest_with_which_the_largest_distance_fits(most, step):
    values = torch.tensor([[1.0, most]])
    assert KIND.answer(said(values))["step"] == step
    picture = KIND.raster(said(values))
    assert picture is not None and abs(np.asarray(picture)[0, 1] * step - most) <= step / 2 + 1e-4


def test_beyond_a_picture_is_the_ignored_value_also_where_it_is_0():
    assert KIND.fill(ZERO) == 0 and KIND.fill(Legend(ignore=255)) == 255
    assert np.isnan(KIND.fill(METRES))
