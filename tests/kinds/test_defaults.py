"""What a kind of answers does that says no more than it has to, and what it is asked for in vain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import JsonValue
from torch import Generator, Tensor
from torchvision import tv_tensors

from icm_core.interfaces import TaskKind
from icm_core.interfaces.kind import Figure, Tally
from icm_core.nests import Nest
from icm_core.types import Legend, Prediction


class Counts(TaskKind):
    """How many of what there are; a kind with nothing but what it must have."""

    name: ClassVar[str] = "counts"

    def check_target(self, target: Nest, size: tuple[int, int], legend: Legend) -> None:
        del target, size, legend

    def example_target(self, size: tuple[int, int], legend: Legend, generator: Generator) -> Tensor:
        del size, legend
        return torch.randint(9, (2,), generator=generator)

    def answer(self, prediction: Prediction) -> dict[str, JsonValue]:
        return {"counts": prediction.output[0].tolist()}

    def describe(self, prediction: Prediction) -> str:
        return str(prediction.output[0].tolist())

    def draw(self, prediction: Prediction, picture: Image.Image) -> Image.Image | None:
        del prediction, picture
        return None

    def tally(self, prediction: Prediction, target: Nest) -> Tally:
        return {"off": float((prediction.output[0] - target).abs().sum())}

    def figures(self, tallies: Sequence[Tally], legend: Legend) -> dict[str, Figure]:
        """The largest error; of more than one picture the smallest too; and a figure that some draws lack."""
        off = [float(str(tally["off"])) for tally in tallies]
        found = {"most": Figure(max(off)), "known": Figure(None if 0 in off else 1.0)}
        return found if len(off) < 2 else {**found, "least": Figure(min(off))}


class Named(Counts):
    in_words: ClassVar[bool] = True


class Things(Counts):
    ragged: ClassVar[bool] = True


LEGEND = Legend(("cars", "trees"), (), ((1, 2, 3), (4, 5, 6)), "m", 7)
TARGET = {"boxes": torch.arange(12.0).view(3, 4), "names": ["a", "b", "c"]}
SAID = Prediction("counts", torch.tensor([[3.0, 4.0]]), ("cars", "trees"), ((1, 2, 3), (4, 5, 6)), "m")


def test_nothing_has_a_place_in_the_picture() -> None:
    assert Counts().wrap(TARGET, (6, 9)) is TARGET
    assert Counts().fill(LEGEND) == 0
    assert Counts().enlarged(SAID, (600, 900)) is SAID


def test_what_was_wrapped_is_plain_again() -> None:
    moved = {"mask": tv_tensors.Mask(torch.ones(2, 3)), "of": "a", "parts": [tv_tensors.Image(torch.zeros(3, 2, 2))]}
    found = Counts().unwrap(moved, (2, 3), LEGEND)
    assert type(found["mask"]) is Tensor and type(found["parts"][0]) is Tensor and found["of"] == "a"
    assert found["mask"].shape == (2, 3) and found["parts"][0].shape == (3, 2, 2)


@pytest.mark.parametrize("kind", [Counts(), Named()])
def test_there_is_no_picture_and_no_right_answer(kind: TaskKind) -> None:
    assert kind.raster(SAID) is None
    assert kind.truth(torch.tensor([3.0, 4.0]), LEGEND) is None


def test_answers_are_not_compared() -> None:
    assert not Counts.compares
    with pytest.raises(NotImplementedError, match="answers of kind 'counts' are not compared"):
        Counts().divergence(torch.zeros(1, 2), torch.zeros(1, 2))


def test_targets_keep_their_numbers() -> None:
    assert Counts().renumber(TARGET, (1, 0), LEGEND) is TARGET
    assert Counts().renumber(TARGET, (), LEGEND) is TARGET


@pytest.mark.parametrize(
    ("data", "head", "expected"),
    [
        ("m", "m", ()),
        ("", "m", ()),
        ("m", "", ()),
        ("", "", ()),
        ("m", "mm", "the data set's values are in m, the head's in mm"),
    ],
)
def test_units_are_the_same_where_both_are_known(data: str, head: str, expected: Any) -> None:
    labels = ("cars", "trees")
    assert Counts().match(Legend(labels, unit=data), Legend(("birds",), unit=head)) == expected


def test_nothing_is_wrong_with_any_prediction() -> None:
    Counts().check_prediction(SAID, (6, 9), 17)


def test_batches_are_stacked_and_those_of_ragged_kinds_are_tuples() -> None:
    singles = [{"n": torch.tensor([number, 2])} for number in range(3)]
    stacked = Counts().collate(singles)
    assert stacked["n"].tolist() == [[0, 2], [1, 2], [2, 2]]
    assert Counts().select(stacked, [2, 0])["n"].tolist() == [[2, 2], [0, 2]]
    several = Things().collate(singles)
    assert isinstance(several, tuple) and several[1] is singles[1]
    assert Things().select(several, [2, 0]) == (singles[2], singles[0])
    assert Things().select([*several], [1]) == [singles[1]]
    assert Things().select(torch.arange(3), [2]).tolist() == [2]


def test_figures_of_draws_are_those_of_the_drawn_pictures_and_nan_where_there_is_none() -> None:
    tallies: list[Tally] = [{"off": 5.0}, {"off": 0.0}, {"off": 2.0}]
    weights = np.array([[1.0, 0, 0], [0, 1, 1], [2, 0, 1]])
    found = Counts().resampled(tallies, LEGEND, weights)
    assert list(found) == ["most", "known", "least"]
    assert found["most"].tolist() == [5.0, 2.0, 5.0]
    np.testing.assert_equal(found["known"], [1.0, np.nan, 1.0])
    np.testing.assert_equal(found["least"], [np.nan, 0.0, 2.0])  # the first draw is of one picture
