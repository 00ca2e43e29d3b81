"""Contract `TaskKind`: what the answers of one kind are, and everything that depends on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import JsonValue
from torch import Generator, Tensor

from icm_core.nests import Nest, map_tensors, rows, stack
from icm_core.types import Legend, Prediction

Tally = dict[str, JsonValue]
"""What one answer says about one picture, as JSON; `TaskKind.figures` makes figures from those of many pictures."""

Weights = NDArray[np.float64]
"""(D, P): how often each of P pictures stands in each of D draws."""

Drawn: TypeAlias = Mapping[str, NDArray[np.float64]]
"""Figures of D draws by name, (D,) each; NaN where there is none."""


@dataclass(frozen=True)
class Figure:
    """A figure of merit, as ``icm evaluate`` reports it.

    Attributes:
        value: None where it cannot be said.
        unit: such as ``"%"`` or ``"dB"``; empty where it has none.
        title: what plots call it, such as ``"mIoU"``.
        higher_is_better: which way is better.
        digits: decimals that tables show.
    """

    value: float | None
    unit: str = ""
    title: str = ""
    higher_is_better: bool = True
    digits: int = 2


class TaskKind(ABC):
    """A kind of answer. What the framework does with answers and targets, it asks their kind.

    A kind has no state and no parameters. `name` is what heads and data sets put into their ``kind``. In all methods a
    *target* is what a data set has of one picture (`Sample.target`), and a *batch* what `collate` makes of several.
    An *output* is what a head's ``forward`` gives, a *prediction* what its ``predict`` gives.

    Two files make a kind plugin::

        # pyproject.toml                        # mylab_lanes/__init__.py
        [project.entry-points."icm.plugins"]    from icm_core import hookimpl
        mylab_lanes = "mylab_lanes"             from mylab_lanes.lanes import Lanes

                                                @hookimpl
                                                def icm_kinds():
                                                    return [Lanes]
    """

    name: ClassVar[str]

    is_picture: ClassVar[bool] = False
    """Whether a prediction's output is a picture (B, 3, H, W) in [0, 1]. An enhancement can refine it, and its target
    is the coded picture itself, so that every data set will do."""

    in_words: ClassVar[bool] = False
    """Whether an answer is words or numbers without a place in the picture: what is drawn is the line of `describe`
    written on it, so that a page may as well write the line beside it."""

    ragged: ClassVar[bool] = False
    """Whether the number of things differs from picture to picture: a batch is then a tuple of targets."""

    needs_labels: ClassVar[bool] = True
    """Whether data sets of the kind name classes or values."""

    compares: ClassVar[bool] = False
    """Whether the kind has a `divergence`."""

    also: ClassVar[tuple[str, ...]] = ()
    """Kinds whose heads can be trained and measured on targets of this kind as well."""

    # --- targets -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def check_target(self, target: Nest, size: tuple[int, int], legend: Legend) -> None:
        """Raise `ValueError` with a clause that says what is wrong with a target, if anything is.

        Args:
            target: of one picture.
            size: height and width of the picture.
            legend: the data set's.
        """

    @abstractmethod
    def example_target(self, size: tuple[int, int], legend: Legend, generator: Generator) -> Nest:
        """A made-up target that `check_target` has nothing against, for trying heads and data paths."""

    def collate(self, targets: Sequence[Nest]) -> Nest:
        """Targets of several pictures as a batch: stacked, or of a `ragged` kind a tuple of them.

        Raises:
            ValueError: they cannot be stacked.
        """
        return tuple(targets) if self.ragged else stack(targets)

    def select(self, batch: Nest, numbers: Sequence[int]) -> Nest:
        """The batch of some of its pictures; of a target or of a prediction's output."""
        if isinstance(batch, (tuple, list)) and self.ragged:
            return type(batch)(batch[number] for number in numbers)
        return rows(batch, numbers)

    def wrap(self, target: Nest, size: tuple[int, int]) -> Nest:
        """The target with all that has a place in the picture as ``tv_tensors`` of torchvision, so that augmentations
        move it with the picture. By default nothing has a place."""
        del size
        return target

    def fill(self, legend: Legend) -> float:
        """What wrapped masks hold where an augmentation reaches beyond the picture."""
        del legend
        return 0

    def unwrap(self, target: Nest, size: tuple[int, int], legend: Legend) -> Nest:
        """Back from `wrap` after the picture was augmented; what is no longer in it is dropped.

        Args:
            target: the moved nest.
            size: height and width of the augmented picture.
            legend: the data set's.
        """
        del size, legend
        return map_tensors(lambda tensor: tensor.as_subclass(Tensor), target)

    # --- answers -----------------------------------------------------------------------------------------------------

    def check_prediction(self, prediction: Prediction, size: tuple[int, int], count: int) -> None:
        """Raise `ValueError` with a clause that says what is wrong with a batch's predictions, if anything is.

        The conformance kit asks it of every head. By default nothing is looked at.

        Args:
            prediction: what a head's ``predict`` gives.
            size: height and width of the pictures.
            count: number of pictures, B.
        """
        del prediction, size, count

    def divergence(self, output: Nest, reference: Nest) -> Tensor:
        """How far an output is from what the head says of the clean picture, (B,), differentiable.

        Encoder-side search and distillation make it small. Kinds with ``compares = True`` have it.
        """
        del output, reference
        raise NotImplementedError(f"answers of kind {self.name!r} are not compared")

    # --- showing -----------------------------------------------------------------------------------------------------

    def enlarged(self, prediction: Prediction, size: tuple[int, int]) -> Prediction:
        """A prediction from a smaller picture, as one of the picture itself; by default, it has no size.

        Args:
            prediction: what a head with `TaskHead.most_pixels` said of means of blocks.
            size: height and width of the picture.
        """
        del size
        return prediction

    @abstractmethod
    def answer(self, prediction: Prediction) -> dict[str, JsonValue]:
        """What is said of the batch's first picture, as JSON for programs: ``icm decode --json``, services."""

    @abstractmethod
    def describe(self, prediction: Prediction) -> str:
        """What is said of the batch's first picture, in a line for a person."""

    def raster(self, prediction: Prediction) -> Image.Image | None:
        """The batch's first answer as a picture whose pixels are the answer, such as class numbers; None if it is none.

        ``icm decode`` writes it as PNG.
        """
        del prediction
        return None

    @abstractmethod
    def draw(self, prediction: Prediction, picture: Image.Image) -> Image.Image | None:
        """The batch's first answer as a person would look at it, drawn on the picture; None where that makes no sense.

        Args:
            prediction: the answer.
            picture: the photograph, or what the pipeline decodes of it, RGB, of the size that was coded.
        """

    def truth(self, target: Nest, legend: Legend) -> Prediction | None:
        """A target as the prediction that would be right, so that it can be drawn; None where there is none."""
        del target, legend
        return None

    # --- measuring ---------------------------------------------------------------------------------------------------

    def match(self, data: Legend, head: Legend) -> tuple[int, ...] | str:
        """The head's number of each of the data set's labels, or a clause that says why the two do not go together.

        By default labels are not looked at, and units have to be the same where both are known.
        """
        if data.unit and head.unit and data.unit != head.unit:
            return f"the data set's values are in {data.unit}, the head's in {head.unit}"
        return ()

    def renumber(self, target: Nest, numbers: tuple[int, ...], legend: Legend) -> Nest:
        """A target in the head's numbers, as `tally` takes it; by default it stays.

        Args:
            target: of one picture.
            numbers: what `match` gave.
            legend: the data set's.

        Raises:
            ValueError: the target has a class that the data set does not name; a clause.
        """
        del numbers, legend
        return target

    @abstractmethod
    def tally(self, prediction: Prediction, target: Nest) -> Tally:
        """What the prediction of one picture (B = 1) says, measured by its target.

        It holds what figures over many pictures need, set-level ones too: hits, counts, or whole answers. Both are on
        one device: of kinds that are pictures the pipeline's, else the CPU.

        Args:
            prediction: the answer.
            target: what `renumber` gave; of kinds that are pictures the picture itself, (3, H, W) uint8.

        Raises:
            ValueError: the target is not one that the head could meet; a clause.
        """

    @abstractmethod
    def figures(self, tallies: Sequence[Tally], legend: Legend) -> dict[str, Figure]:
        """Figures of merit over pictures, the main one first.

        Args:
            tallies: one for each picture, at least one, in any order.
            legend: the head's.
        """

    def resampled(self, tallies: Sequence[Tally], legend: Legend, weights: Weights) -> Drawn:
        """The figures of draws of pictures, for bootstrap intervals.

        By default `figures` of the drawn pictures; kinds whose figures add up do better.
        """
        drawn = [
            self.figures([tally for tally, times in zip(tallies, row, strict=True) for _ in range(int(times))], legend)
            for row in weights
        ]
        found: dict[str, NDArray[np.float64]] = {}
        for number, figures in enumerate(drawn):
            for name, figure in figures.items():
                values = found.setdefault(name, np.full(len(drawn), np.nan))  # a draw may lack a figure
                values[number] = np.nan if figure.value is None else figure.value
        return found
