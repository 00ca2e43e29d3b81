"""Kinds with one mistake each, made from the one that `icm new kind` writes: a check finds each and says what to do."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torchvision import tv_tensors

from icm_core import testing
from icm_core.interfaces import Figure, TaskKind
from icm_core.kinds import Segmentation
from icm_core.scaffold import package_files
from icm_core.testing import KindCase
from icm_core.testing.cases import kinds
from icm_core.testing.checks.answers import close
from icm_core.testing.checks.kinds import _equal, _joined, _typed
from icm_core.types import Legend, Prediction
from icm_tasks.kinds import Embedding

WRITTEN: dict[str, Any] = {"__name__": "test_place.place"}
exec(package_files("kind", "test.place")["test_place/place.py"], WRITTEN)
Place: Any = WRITTEN["Place"]
"""One box a picture."""


class Shouting(Place):
    """Named as nothing can be."""

    name = "Test.Place"


class Silent(Place):
    pass


class Boasting(Place):
    """Says that it compares, and does not."""

    divergence = TaskKind.divergence


class Drawing(Place):
    """Other targets at every call."""

    def example_target(self, size: Any, legend: Legend, generator: Any) -> Tensor:
        return super().example_target(size, legend, torch.Generator().manual_seed(int(torch.randint(9999, ()))))


class Outside(Place):
    """Example targets beyond the picture."""

    def example_target(self, size: Any, legend: Legend, generator: Any) -> Tensor:
        return super().example_target(size, legend, generator) + 1000


class Trusting(Place):
    """Looks at no type."""

    def check_target(self, target: Any, size: Any, legend: Legend) -> None:
        if not bool((target[2:] >= target[:2]).all()):
            raise ValueError("is no box")


class Careless(Place):
    """Takes anything."""

    def check_target(self, target: Any, size: Any, legend: Legend) -> None:
        return None


class Reversing(Place):
    """Batches in another order."""

    def collate(self, targets: Sequence[Any]) -> Any:
        return super().collate(targets[::-1])


class Leading(Place):
    """Always the first pictures of a batch."""

    def select(self, batch: Any, numbers: Sequence[int]) -> Any:
        return super().select(batch, range(len(numbers)))


class Halving(Place):
    """Loses something on the way."""

    def wrap(self, target: Any, size: Any) -> Any:
        return super().wrap((target / 2).round(), size)


class Wrapped(Place):
    """Hands tv_tensors on."""

    def unwrap(self, target: Any, size: Any, legend: Legend) -> Any:
        return tv_tensors.Mask(super().unwrap(target, size, legend))


class Keeping(Place):
    """A copy beside the box, which is not moved."""

    def wrap(self, target: Any, size: Any) -> Any:
        return {"box": super().wrap(target, size), "copy": target}

    def unwrap(self, target: Any, size: Any, legend: Legend) -> Any:
        return target["copy"]


class Nudging(Place):
    """A little to the right each time."""

    def unwrap(self, target: Any, size: Any, legend: Legend) -> Any:
        return super().unwrap(target, size, legend) + torch.tensor([0.01, 0, 0, 0])


class Beyond(Place):
    """Reckons with a picture that stays as large as it was."""

    def unwrap(self, target: Any, size: Any, legend: Legend) -> Any:
        box = target.as_subclass(Tensor)[0]
        return box if size == (64, 64) else box + 100


class Upside(Place):
    """A figure that is better the lower it is, and says otherwise."""

    def figures(self, tallies: Any, legend: Legend) -> Any:
        value = super().figures(tallies, legend)["iou"].value
        return {"error": Figure(None if value is None else 100 - value, "%", "error")}


class Mistaken(Place):
    """The truth of another picture."""

    def truth(self, target: Any, legend: Legend) -> Prediction:
        return Prediction(self.name, target[None] / 2)


class Repelled(Place):
    """A distance that is largest where there is none."""

    def divergence(self, output: Any, reference: Any) -> Tensor:
        return 1 / (1 + super().divergence(output, reference))


class Alternating(Place):
    """A distance for the first picture of a batch, and less than none for the second."""

    def divergence(self, output: Any, reference: Any) -> Tensor:
        return super().divergence(output, reference) * torch.tensor([1.0, -1.0])


class Single(Place):
    """One distance for the batch."""

    def divergence(self, output: Any, reference: Any) -> Tensor:
        return super().divergence(output, reference).mean()


class Never(Place):
    """An error of right answers."""

    def figures(self, tallies: Any, legend: Legend) -> Any:
        value = super().figures(tallies, legend)["iou"].value
        return {"error": Figure(None if value is None else 101 - value, "px", "error", higher_is_better=False)}


class Short(Place):
    """One draw too few."""

    def resampled(self, tallies: Any, legend: Legend, weights: Any) -> Any:
        return {name: values[1:] for name, values in super().resampled(tallies, legend, weights).items()}


class Stepped(Place):
    """A distance without a gradient."""

    def divergence(self, output: Any, reference: Any) -> Tensor:
        return super().divergence(output, reference).round().detach()


class Chatty(Place):
    """More than a line."""

    def describe(self, prediction: Any) -> str:
        return "here\nand there"


class Unreadable(Place):
    """A tensor in the answer."""

    def answer(self, prediction: Any) -> Any:
        return {"box": prediction.output[0]}


class Unknown(Place):
    """NaN in the answer."""

    def answer(self, prediction: Any) -> Any:
        return {"box": [float("nan")]}


class Clashing(Place):
    """What icm decode says itself."""

    def answer(self, prediction: Any) -> Any:
        return {"kind": "box"}


class Scribbling(Place):
    """Draws on the picture that it is given."""

    def draw(self, prediction: Any, picture: Any) -> Any:
        ImageDraw.Draw(picture).rectangle((0, 0, 5, 5), fill=(1, 2, 3))
        return picture


class Tiny(Place):
    """A stamp in place of a drawing."""

    def draw(self, prediction: Any, picture: Any) -> Any:
        return Image.new("RGB", (8, 8))


class Padded(Place):
    """A raster of the padded size."""

    def raster(self, prediction: Any) -> Any:
        return Image.new("L", (64, 64))


class Sampling(Place):
    """Measures at random."""

    def tally(self, prediction: Any, target: Any) -> Any:
        return {"iou": float(torch.rand(()))}


class Typed(Place):
    """A tally that JSON does not keep."""

    def tally(self, prediction: Any, target: Any) -> Any:
        return {"iou": torch.tensor(0.5)}


class First(Place):
    """Figures of the first picture."""

    def figures(self, tallies: Any, legend: Legend) -> Any:
        return super().figures(tallies[:1], legend)


class Infinite(Place):
    """A figure without end."""

    def figures(self, tallies: Any, legend: Legend) -> Any:
        return {"iou": Figure(float("inf"), "%", "overlap")}


class Untitled(Place):
    """A figure without a title."""

    def figures(self, tallies: Any, legend: Legend) -> Any:
        return {"iou": Figure(1.0, "%")}


class Bare(Place):
    """Numbers in place of figures."""

    def figures(self, tallies: Any, legend: Legend) -> Any:
        return {"iou": 1.0}


class Unweighted(Place):
    """Draws of other figures."""

    def resampled(self, tallies: Any, legend: Legend, weights: Any) -> Any:
        return {"iou": np.zeros(len(weights)), "found": np.zeros(len(weights))}


class Strange(Place):
    """Cannot be matched with its own legend."""

    def match(self, data: Legend, head: Legend) -> Any:
        return "labels are never the same"


class Also(Place):
    """Is a kind that there is not."""

    also = ("boxxes",)


class AlsoClasses(Place):
    """Says that a box is a class."""

    also = ("classification",)


class Spreading(Place):
    """Wants two pictures at least."""

    def figures(self, tallies: Any, legend: Legend) -> Any:
        return {"spread": Figure(statistics.stdev(tally["iou"] for tally in tallies), "", "spread", False)}


class OfNumPy(Place):
    """Needs what JSON does not keep of a number."""

    def tally(self, prediction: Any, target: Any) -> Any:
        return {"iou": np.float64(super().tally(prediction, target)["iou"])}

    def figures(self, tallies: Any, legend: Legend) -> Any:
        return {"iou": Figure(100 * sum(tally["iou"].item() for tally in tallies) / len(tallies), "%", "overlap")}


class Tupled(Place):
    """A tuple, which comes back as a list."""

    def tally(self, prediction: Any, target: Any) -> Any:
        return {**super().tally(prediction, target), "box": (1, 2)}


class Drawn(Place):
    """What icm decode says itself, of another sort."""

    def answer(self, prediction: Any) -> Any:
        return {"drawing": "box"}


class Drifting(Place):
    """A figure that depends a little on which picture comes first."""

    def figures(self, tallies: Any, legend: Legend) -> Any:
        found = super().figures(tallies, legend)["iou"].value + 1e-2 * (tallies[0]["iou"] - tallies[-1]["iou"])
        return {"iou": Figure(found, "%", "overlap")}


class Sorting(Place):
    """The main figure is another from one order of the pictures to another."""

    def figures(self, tallies: Any, legend: Legend) -> Any:
        found = super().figures(tallies, legend)
        return found if tallies[0]["iou"] < tallies[-1]["iou"] else dict(reversed(found.items()))


class Nameless(Place):
    """A title of blanks."""

    def figures(self, tallies: Any, legend: Legend) -> Any:
        return {"iou": Figure(1.0, "%", "  ")}


class Poster(Place):
    """Three times as large as the picture."""

    def draw(self, prediction: Any, picture: Any) -> Any:
        return picture.resize((3 * picture.width, 3 * picture.height))


class Lying(Place):
    """A raster whose sides changed places."""

    def raster(self, prediction: Any) -> Any:
        return Image.new("L", (33, 129))


class Longer(Place):
    name = "test.place!"


class Capital(Place):
    name = "Test.place"


class Spoken(Place):
    in_words = "yes"  # type: ignore[assignment]


class Modest(Place):
    """Has a divergence, and says that it has none."""

    compares = False


class Mute(Place):
    """Refuses without a reason."""

    def check_target(self, target: Any, size: Any, legend: Legend) -> None:
        try:
            super().check_target(target, size, legend)
        except ValueError:
            raise ValueError(" ") from None


class Ascending(Place):
    """Takes pictures out in the order of the batch."""

    def select(self, batch: Any, numbers: Sequence[int]) -> Any:
        return super().select(batch, sorted(numbers))


class Nested(Place):
    """Puts the box into a dict."""

    def unwrap(self, target: Any, size: Any, legend: Legend) -> Any:
        return {"box": super().unwrap(target, size, legend)}


class Renamed(Place):
    """The truth of another kind."""

    def truth(self, target: Any, legend: Legend) -> Prediction:
        return Prediction("place", target[None])


class Preferring(Place):
    """Points that wrong answers have more of."""

    def figures(self, tallies: Any, legend: Legend) -> Any:
        return {"points": Figure(-(super().figures(tallies, legend)["iou"].value), "", "points")}


class Rewarding(Place):
    """An error that is less than none for wrong answers."""

    def figures(self, tallies: Any, legend: Legend) -> Any:
        value = super().figures(tallies, legend)["iou"].value
        return {"error": Figure(value - 100, "px", "error", higher_is_better=False)}


class Boundless(Place):
    """A draw without end."""

    def resampled(self, tallies: Any, legend: Legend, weights: Any) -> Any:
        found = super().resampled(tallies, legend, weights)
        return {name: np.where(np.arange(len(values)) == 1, np.inf, values) for name, values in found.items()}


class More(Place):
    """A figure of draws alone."""

    def resampled(self, tallies: Any, legend: Legend, weights: Any) -> Any:
        return {**super().resampled(tallies, legend, weights), "more": np.zeros(len(weights))}


class Filled(Segmentation):
    """Fills up what is padded with a class that there is not."""

    name = "test.filled"

    def fill(self, legend: Legend) -> int:
        return 77


class AlsoValues(Place):
    """Says that a box is four values."""

    also = ("regression",)


class Latest(Place):
    """A raster of the padded size, of the last of three predictions alone."""

    def raster(self, prediction: Any) -> Any:
        last = torch.equal(prediction.output[0], KindCase(Place).targets((33, 129))[0])
        return Image.new("L", (192, 64) if last else (129, 33))


class Renumbering(Place):
    """Needs its targets renumbered, without mistakes."""

    def renumber(self, target: Any, numbers: Any, legend: Legend) -> Any:
        return {"box": target}

    def tally(self, prediction: Any, target: Any) -> Any:
        return super().tally(prediction, target["box"])


class Vanishing(Place):
    """A figure that cannot be said of another order of the pictures."""

    def figures(self, tallies: Any, legend: Legend) -> Any:
        known = tallies[0]["iou"] < tallies[-1]["iou"]
        return {"iou": Figure(1.0 if known else None, "%", "overlap")}


class Appearing(Place):
    """A figure that cannot be said but of another order of the pictures."""

    def figures(self, tallies: Any, legend: Legend) -> Any:
        known = tallies[0]["iou"] > tallies[-1]["iou"]
        return {"iou": Figure(1.0 if known else None, "%", "overlap")}


class Narrow(Place):
    """Loses something of low pictures."""

    def wrap(self, target: Any, size: Any) -> Any:
        return super().wrap(target if size[0] > 40 else target.round(), size)


class Hundredths(Place):
    """Loses what is below a hundredth of a pixel."""

    def wrap(self, target: Any, size: Any) -> Any:
        return super().wrap((100 * target).round() / 100, size)


class Sided(Place):
    """Reckons with a picture whose sides changed places."""

    def unwrap(self, target: Any, size: Any, legend: Legend) -> Any:
        return super().unwrap(target, size[::-1], legend)


class Tallying(First):
    """Figures of the first picture, of a kind whose batches are tuples."""

    ragged = True


class Limitless(Place):
    """Something without end in the answer."""

    def answer(self, prediction: Any) -> Any:
        return {"box": [float("inf")]}


class Bottomless(Place):
    """Something without end in a tally."""

    def tally(self, prediction: Any, target: Any) -> Any:
        return {**super().tally(prediction, target), "least": float("-inf")}


class Numbered(Place):
    """A flag that is a number."""

    ragged = 1  # type: ignore[assignment]


class AlsoItself(Place):
    """Says that it is what it is."""

    also = ("test.place",)


class AlsoOne(Place):
    """A name in place of a tuple of names."""

    also = "regression"  # type: ignore[assignment]


class Missed(Place):
    """How much of a box is not found, in percent: the less the better; without mistakes."""

    def figures(self, tallies: Any, legend: Legend) -> Any:
        value = super().figures(tallies, legend)["iou"].value
        return {"missed": Figure(None if value is None else 100 - value, "%", "missed", higher_is_better=False)}


class Closing(Place):
    """Something without end in the tally of the last picture alone."""

    def tally(self, prediction: Any, target: Any) -> Any:
        last = torch.equal(target, KindCase(Place).targets((64, 64))[-1])
        return {**super().tally(prediction, target), **({"least": float("-inf")} if last else {})}


class Complete(Place):
    """Cannot do without a picture."""

    def resampled(self, tallies: Any, legend: Legend, weights: Any) -> Any:
        if not weights.all():
            raise ZeroDivisionError("a picture is not drawn")
        return super().resampled(tallies, legend, weights)


KINDS = [
    (Closing, testing.check_measuring, "the tally of test.place is no JSON"),
    (Complete, testing.check_resampling, "resampling test.place raised ZeroDivisionError: a picture is not drawn"),
    (Tallying, testing.check_measuring, "in another order of the pictures. Pictures are measured in any order"),
    (Limitless, testing.check_showing, "the answer of test.place is no JSON"),
    (Bottomless, testing.check_measuring, "the tally of test.place is no JSON"),
    (Numbered, testing.check_flags, "test.place.ragged is 1. Make it True or False, or leave it out"),
    (AlsoItself, testing.check_flags, "also is ('test.place',). Make it a tuple of names of other kinds"),
    (AlsoOne, testing.check_flags, "also is 'regression'. Make it a tuple of names of other kinds"),
    (Latest, testing.check_showing, "is 192x64 for a picture of 129x33. Return a PIL image of the picture's own size"),
    (Vanishing, testing.check_measuring, "in another order of the pictures. Pictures are measured in any order"),
    (Appearing, testing.check_measuring, "in another order of the pictures. Pictures are measured in any order"),
    (Narrow, testing.check_wrapping, "a target is another after wrap and unwrap"),
    (Hundredths, testing.check_wrapping, "a target is another after wrap and unwrap"),
    (Sided, testing.check_wrapping, "a target is another after wrap and unwrap"),
    (
        Shouting,
        testing.check_declaration,
        "Set name: ClassVar[str] to 'mylab.lanes' in lower case; it is what",
    ),
    (Silent, testing.check_declaration, "test.place has no docstring"),
    (Boasting, testing.check_flags, "Say compares = True where there is a divergence, and only there"),
    (Also, testing.check_flags, "kind is 'boxxes'. Set kind: ClassVar[str] to the name of a kind that is installed"),
    (Drawing, testing.check_example_targets, "Draw from the generator that example_target is given"),
    (Outside, testing.check_example_targets, "Make check_target, example_target and unwrap say the same of targets"),
    (
        Trusting,
        testing.check_wrong_targets,
        "(None) and raised TypeError: 'NoneType' object is not subscr",
    ),
    (Careless, testing.check_wrong_targets, "takes None for a target. check_target has to refuse what"),
    (
        Reversing,
        testing.check_batches,
        "pictures [0] of a batch of test.place are not those that were",
    ),
    (Leading, testing.check_batches, "pictures [1] of a batch of test.place are not those that were put in"),
    (Halving, testing.check_wrapping, "a target is another after wrap and unwrap. wrap makes tv_tensors of what has"),
    (Wrapped, testing.check_wrapping, "unwrap gives Mask. wrap makes tv_tensors"),
    (
        Keeping,
        testing.check_moving,
        "a target stays as it is when its picture is flipped, though it was",
    ),
    (Nudging, testing.check_moving, "a target is another after two flips, which undo one another"),
    (Beyond, testing.check_moving, "a target that was cropped, of a picture of 32x33 (height x width), is the box"),
    (Upside, testing.check_truth, "error of right answers is 0 %. It should be 100: look at tally"),
    (Mistaken, testing.check_truth, "It should be 100: look at tally"),
    (
        Repelled,
        testing.check_comparing,
        "It is a distance: smallest, at best 0, where output and",
    ),
    (Alternating, testing.check_comparing, "It is a distance: smallest, at best 0, where output and"),
    (Single, testing.check_comparing, "Return a finite value each, (2,)"),
    (Never, testing.check_truth, "error of right answers is 1 px. It should be 0"),
    (Short, testing.check_resampling, "resampled gives the figure of each draw, (D,), NaN where there is none"),
    (Stepped, testing.check_comparing, "has no gradient, or one that is not finite. Compute it with differentiable"),
    (Chatty, testing.check_showing, "Return one line; empty where a picture says it all"),
    (
        Unreadable,
        testing.check_showing,
        "the answer of test.place is no JSON: Object of type Tensor",
    ),
    (Unknown, testing.check_showing, "None in place of NaN"),
    (Clashing, testing.check_showing, "has the key ['kind'], which icm decode uses itself. Call it something else"),
    (Scribbling, testing.check_showing, "Draw on picture.copy(): the next answer is drawn on the same picture"),
    (Tiny, testing.check_showing, "draws 8x8 for a picture of 129x33. Return the picture with the answer on it"),
    (Padded, testing.check_showing, "is 64x64 for a picture of 129x33. Return a PIL image of the picture's own size"),
    (Sampling, testing.check_measuring, "Use no random numbers and keep nothing between calls of tally"),
    (Typed, testing.check_measuring, "the tally of test.place is no JSON: Object of type Tensor"),
    (First, testing.check_measuring, "in another order of the pictures. Pictures are measured in any order"),
    (Infinite, testing.check_measuring, "Make it a finite number, or None where it cannot be said"),
    (Untitled, testing.check_measuring, "has the title ''. Give it a title of some words"),
    (Bare, testing.check_measuring, "Return {name: Figure(value, unit, title)}, the main first"),
    (Strange, testing.check_measuring, "does not match a data set of its own legend: labels are never the same. match"),
    (Unweighted, testing.check_resampling, "iou is 0.0 where every picture is drawn once, and"),
    (Capital, testing.check_declaration, "name is 'Test.place'. Set name: ClassVar[str] to 'mylab.lanes'"),
    (Spoken, testing.check_flags, ".in_words is 'yes'. Make it True or False, or leave it out"),
    (Longer, testing.check_declaration, "name is 'test.place!'. Set name: ClassVar[str] to 'mylab.lanes'"),
    (Modest, testing.check_flags, "compares is False, and it has a divergence. Say compares = True where there is"),
    (Mute, testing.check_wrong_targets, "refuses a target without a word. Say what is wrong with it, as a clause"),
    (Ascending, testing.check_batches, "pictures [2, 0] of a batch of test.place are not those that were put in"),
    (Nested, testing.check_wrapping, "a target is another after wrap and unwrap"),
    (Filled, testing.check_moving, "a target that was padded, of a picture of 128x67"),
    (Renamed, testing.check_truth, "the truth of test.place has the kind 'place'"),
    (Preferring, testing.check_truth, "points is -100 of right answers, and "),
    (Rewarding, testing.check_truth, "error is 0 of right answers, and -"),
    (Boundless, testing.check_resampling, "resampled gives the figure of each draw, (D,), NaN where there is none"),
    (More, testing.check_resampling, "['found', 'iou'], and ['found', 'iou', 'more'] of draws"),
    (Drawn, testing.check_showing, "has the key ['drawing'], which icm decode uses itself"),
    (Poster, testing.check_showing, "draws 387x99 for a picture of 129x33. Return the picture with the answer on it"),
    (Lying, testing.check_showing, "is 33x129 for a picture of 129x33. Return a PIL image of the picture's own size"),
    (Spreading, testing.check_measuring, "figures of test.place over 1 pictures raised StatisticsError"),
    (OfNumPy, testing.check_measuring, "'float' object has no attribute 'item'"),
    (Tupled, testing.check_measuring, "the tally of test.place is {'iou': 0.0"),
    (Drifting, testing.check_measuring, "in another order of the pictures. Pictures are measured in any order"),
    (Sorting, testing.check_measuring, "in another order of the pictures. Pictures are measured in any order"),
    (Nameless, testing.check_measuring, "has the title '  '. Give it a title of some words"),
]


@pytest.mark.parametrize(("kind", "check", "advice"), KINDS, ids=lambda value: getattr(value, "__name__", None))
def test_a_mistake_is_found_and_the_message_says_what_to_do(kind: Any, check: Any, advice: str) -> None:
    with pytest.raises(testing.ConformanceError) as caught:
        check(KindCase(kind))
    assert advice in str(caught.value)


def test_targets_have_to_serve_the_kinds_that_they_also_are() -> None:
    with pytest.raises(testing.ConformanceError, match="A kind that is also classification has everything in its"):
        testing.check_also(KindCase(AlsoClasses, legend=Legend(("one", "two"))))
    testing.check_also(KindCase(AlsoValues, legend=Legend(("left", "top", "right", "bottom"))))
    with pytest.raises(testing.ConformanceError, match="has 4 values; there are labels for 2"):
        testing.check_also(KindCase(AlsoValues, legend=Legend(("one", "two"))))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (None, None, True),
        (None, 0.0, False),
        (0.0, None, False),
        (0.0, 5e-7, True),
        (0.0, 5e-6, False),
        (100.0, 100.00005, True),
        (100.0, 100.0005, False),
        (-1.0, 1.0, False),
    ],
)
def test_figures_are_the_same_but_for_rounding(one: float | None, other: float | None, same: bool) -> None:
    assert close(one, other) is same


def test_what_is_better_the_lower_it_is_is_best_at_nothing() -> None:
    testing.check_truth(KindCase(Missed))


def test_the_cores_kinds_are_there_whatever_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing() -> Any:
        raise AssertionError("plugins were looked for")

    monkeypatch.setattr(kinds, "installed", nothing)
    assert type(kinds.find_kind("segmentation", None, "x")) is Segmentation
    assert kinds.find_kind("test.place", Place, "x").name == "test.place"


def test_targets_are_measured_renumbered() -> None:
    testing.check_measuring(KindCase(Renumbering))


def test_types_of_numbers_may_be_wider_after_a_move_and_are_brought_back() -> None:
    testing.check_moving(KindCase(Segmentation))
    found = _typed(
        {"maps": torch.tensor([1, 2]), "boxes": torch.tensor([1.0]), "more": torch.tensor([1.0]).half()},
        {"maps": torch.tensor([1], dtype=torch.uint8), "boxes": torch.tensor([1.0], dtype=torch.float64)},
    )
    assert {name: tensor.dtype for name, tensor in found.items()} == {
        "maps": torch.uint8,
        "boxes": torch.float64,
        "more": torch.float16,
    }


NAN = float("nan")


@pytest.mark.parametrize(
    ("one", "other", "most", "same"),
    [
        (torch.tensor([1, 255]), torch.tensor([1, 255]).byte(), 0.0, True),
        (torch.tensor([1.0, 255.0]), torch.tensor([1.0, NAN]), 0.0, True),
        (torch.tensor([1.0, NAN]), torch.tensor([1.0, 255.0]), 0.0, True),
        # Classes have a number for what is ignored, and no NaN.
        (torch.tensor([1, 255]), torch.tensor([1.0, NAN]), 0.0, False),
        (torch.tensor([1.0, 254.0]), torch.tensor([1.0, NAN]), 0.0, False),
        (torch.tensor([2**24]), torch.tensor([2**24 + 1]), 0.0, False),
        (torch.tensor([0.1], dtype=torch.float64), torch.tensor([0.1]), 0.0, False),
        (torch.tensor([1.0]), torch.tensor([1.5]), 0.5, True),
        (torch.tensor([1000.0]), torch.tensor([1000.6]), 0.5, False),
        (torch.tensor([1.0]), torch.tensor([[1.0]]), 0.0, False),
        (torch.tensor([1.0]), {"box": torch.tensor([1.0])}, 0.0, False),
    ],
)
def test_targets_are_the_same_by_their_values(one: Any, other: Any, most: float, same: bool) -> None:
    case = KindCase(Segmentation, legend=Legend(("a", "b"), ignore=255))
    assert _equal(case, one, other, most) is same
    # Without a number for what is ignored NaN is NaN alone.
    assert _equal(KindCase(Place), torch.tensor([255.0]), torch.tensor([NAN])) is False


def test_outputs_of_single_pictures_are_joined_part_by_part() -> None:
    one, two = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])
    assert _joined([one, two]).tolist() == [[1, 2], [3, 4]]
    found = _joined([{"a": one, "b": {"c": two}}, {"a": two, "b": {"c": one}}])
    assert found["a"].tolist() == [[1, 2], [3, 4]] and found["b"]["c"].tolist() == [[3, 4], [1, 2]]
    things = _joined([[{"labels": one}], [{"labels": two}, {"labels": one}]])
    assert [each["labels"].tolist() for each in things] == [[[1, 2]], [[3, 4]], [[1, 2]]]


def test_sizes_are_told_with_the_height_first() -> None:
    with pytest.raises(testing.ConformanceError, match=r"of a picture of 20x70 \(height x width\)"):
        testing.check_example_targets(KindCase(Outside, sizes=((20, 70),)))


def test_a_case_names_targets_that_have_to_be_refused() -> None:
    box = torch.tensor([1.0, 2.0, 5.0, 9.0])
    testing.check_wrong_targets(KindCase(Place, wrong=[box + 100]))
    with pytest.raises(testing.ConformanceError, match=r"takes Tensor .* for a target"):
        testing.check_wrong_targets(KindCase(Place, wrong=[box]))


def test_what_was_seen_is_told_once() -> None:
    with pytest.raises(testing.ConformanceError) as caught:
        testing.check_truth(KindCase(Embedding))
    assert str(caught.value).startswith("embedding has no truth, so that the case cannot make predictions.")


def test_a_kind_without_mistakes_passes() -> None:
    assert testing.run_checks(KindCase(Place)) == []
    assert isinstance(testing.case_of(Place), KindCase)


def found_by(check: Any, kind: Any) -> bool:
    """Whether a check finds a mistake."""
    try:
        check(KindCase(kind))
    except testing.ConformanceError:
        return True
    return False


@pytest.mark.parametrize(("width", "height", "wrong"), [(358, 166, False), (359, 166, True), (358, 167, True)])
def test_a_drawing_is_at_most_twice_as_large_and_a_hundred_pixels(width: int, height: int, wrong: bool) -> None:
    class Framed(Place):
        """With room around it; the picture has 129x33 pixels."""

        def draw(self, prediction: Any, picture: Any) -> Any:
            return Image.new("RGB", (width, height))

    assert found_by(testing.check_showing, Framed) is wrong


@pytest.mark.parametrize(("size", "wrong"), [((129, 33), False), ((128, 33), True), ((129, 32), True)])
def test_a_drawing_is_as_large_as_the_picture_at_least(size: tuple[int, int], wrong: bool) -> None:
    class Cut(Place):
        """A drawing of another size."""

        def draw(self, prediction: Any, picture: Any) -> Any:
            return Image.new("RGB", size)

    assert found_by(testing.check_showing, Cut) is wrong


@pytest.mark.parametrize(("by", "wrong"), [(0.0005, False), (0.002, True)])
def test_places_are_within_a_thousandth_of_a_pixel_after_two_flips(by: float, wrong: bool) -> None:
    class Drifted(Place):
        """A little smaller each time."""

        def unwrap(self, target: Any, size: Any, legend: Legend) -> Any:
            box = super().unwrap(target, size, legend)
            return box + torch.tensor([0, by, 0, 0]) * bool(box.any())

    assert found_by(testing.check_moving, Drifted) is wrong


@pytest.mark.parametrize("nothing", [None, "empty"])
def test_a_raster_a_drawing_and_a_line_may_be_left_out(nothing: str | None) -> None:
    class Quiet(Place):
        """Says little."""

        def raster(self, prediction: Any) -> Any:
            return None

        def draw(self, prediction: Any, picture: Any) -> Any:
            return None

        def describe(self, prediction: Any) -> str:
            return "" if nothing else "one line"

    testing.check_showing(KindCase(Quiet))
