"""Kind ``embedding``: a direction for every picture, near for pictures of the same thing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import JsonValue
from torch import Generator, Tensor
from torch.nn import functional

from icm_core.interfaces import Drawn, Figure, Tally, TaskKind, Weights
from icm_core.kinds import captioned, check_output
from icm_core.nests import Nest, shown
from icm_core.types import Legend, Prediction

DIGITS = 7
"""Decimals of components of unit vectors, in tallies and answers; float32 has no more."""

_AT_ONCE = 1000

# Cosines of equal vectors differ in the last bits.
_COSINE_DIGITS = 10


class Embedding(TaskKind):
    """Outputs are vectors (B, D), of which the direction counts; targets a class or instance, () int64, batches (B,).

    Vectors should be of length 1; answers, figures and comparisons bring them to it. Figures are of the whole set: each
    picture is a query against all others, by cosine. Classes of data sets need not be those that a head was trained on.
    """

    name: ClassVar[str] = "embedding"
    needs_labels: ClassVar[bool] = False
    in_words: ClassVar[bool] = True
    compares: ClassVar[bool] = True

    def check_target(self, target: Nest, size: tuple[int, int], legend: Legend) -> None:
        """A class or instance, () int64, from 0; among the labels, where there are some."""
        del size
        if not (isinstance(target, Tensor) and target.dtype == torch.int64 and target.dim() == 0):
            raise ValueError(f"is {shown(target)}; it should be a class or instance, () int64")
        if int(target) == legend.ignore:
            return
        if int(target) < 0 or (legend.labels and int(target) >= len(legend.labels)):
            known = f"there are {len(legend.labels)} labels" if legend.labels else "numbers count from 0"
            raise ValueError(f"is the number {int(target)}, and {known}")

    def example_target(self, size: tuple[int, int], legend: Legend, generator: Generator) -> Tensor:
        """A class or instance."""
        del size
        return torch.randint(len(legend.labels) or 2, (), generator=generator)

    def check_prediction(self, prediction: Prediction, size: tuple[int, int], count: int) -> None:
        """Vectors (B, D), none of length 0."""
        del size
        check_output(prediction.output, (count, None), "vectors")
        if bool((prediction.output.norm(dim=1) == 0).any()):
            raise ValueError("has a vector of length 0, which has no direction")

    def divergence(self, output: Nest, reference: Nest) -> Tensor:
        """1 less the cosine, (B,)."""
        return 1 - functional.cosine_similarity(output, reference, dim=1)

    def answer(self, prediction: Prediction) -> dict[str, JsonValue]:
        """``vector``: its components, of length 1."""
        return {"vector": [*_components(prediction)]}

    def describe(self, prediction: Prediction) -> str:
        """How many numbers it has, and the first ones."""
        vector = _components(prediction)
        return f"vector of {len(vector)}: {' '.join(f'{value:+.2f}' for value in vector[:4])}" + (
            " ..." if len(vector) > 4 else ""
        )

    def draw(self, prediction: Prediction, picture: Image.Image) -> Image.Image:
        """The picture with the first numbers written on it."""
        return captioned(picture, [self.describe(prediction)])

    def renumber(self, target: Nest, numbers: tuple[int, ...], legend: Legend) -> Tensor:
        """The class or instance as it is, -1 where it counts nowhere."""
        del numbers
        found: Tensor = torch.where(target == legend.ignore, -1, target) if legend.ignore is not None else target
        return found

    def tally(self, prediction: Prediction, target: Nest) -> Tally:
        """``vector`` and ``id``; without ``id`` where the picture counts nowhere."""
        if not bool(prediction.output[0].isfinite().all()) or not float(prediction.output[0].norm()):
            raise ValueError("cannot be compared: the head's vector is not finite or of length 0")
        return {"vector": [*_components(prediction)], "id": int(target) if int(target) >= 0 else None}

    def figures(self, tallies: Sequence[Tally], legend: Legend) -> dict[str, Figure]:
        """``recall_at_1`` and ``map_at_r`` in percent, over the pictures that share their class or instance with
        another one; None if none does (Musgrave, Belongie & Lim, "A Metric Learning Reality Check", ECCV 2020)."""
        del legend
        found = {
            name: None if (known := values[np.isfinite(values)]).size == 0 else 100 * float(known.mean())
            for name, values in _queries(tallies).items()
        }
        return {
            "recall_at_1": Figure(found["recall_at_1"], "%", "recall@1"),
            "map_at_r": Figure(found["map_at_r"], "%", "mAP@R"),
        }

    def resampled(self, tallies: Sequence[Tally], legend: Legend, weights: Weights) -> Drawn:
        """The figures of draws of queries; what they are searched in stays the whole set.

        Were it drawn as well, copies of a picture would be each other's nearest neighbours, and recall too high.
        """
        del legend
        found = {}
        for name, values in _queries(tallies).items():
            known = np.isfinite(values)
            times = weights[:, known]
            with np.errstate(invalid="ignore"):  # a draw without any query that counts has no figure
                found[name] = 100 * (times @ values[known]) / times.sum(1)
        return found


def _components(prediction: Prediction) -> list[float]:
    """The first vector, of length 1."""
    vector = functional.normalize(prediction.output[0].detach().cpu().double(), dim=0)
    return [round(value, DIGITS) for value in vector.tolist()]


def _queries(tallies: Sequence[Tally]) -> dict[str, NDArray[np.float64]]:
    """What each picture as a query gives, (P,): a hit at the first place, and AP@R; NaN where it does not count.

    With R other pictures of the query's class, AP@R is the mean over the first R places of the precision up to those
    that are hits, and 0 for those that are none. Of equally near pictures those of other classes come first, so that
    a network that says the same of all pictures gets nothing for it.
    """
    counted = np.array([tally["id"] is not None for tally in tallies])
    found = {name: np.full(len(tallies), np.nan) for name in ("recall_at_1", "map_at_r")}
    kept = [tally for tally, known in zip(tallies, counted, strict=True) if known]
    if not kept:
        return found
    ids = np.array([tally["id"] for tally in kept])
    vectors = np.array([tally["vector"] for tally in kept], dtype=np.float64)  # of length 1
    hits = np.full(len(kept), np.nan)
    precision = np.full(len(kept), np.nan)
    for start in range(0, len(kept), _AT_ONCE):
        cosines = np.round(vectors[start : start + _AT_ONCE] @ vectors.T, _COSINE_DIGITS)
        for row, near in enumerate(cosines, start):
            same = ids == ids[row]
            others = int(same.sum()) - 1
            if not others:
                continue
            near[row] = -np.inf  # the query itself comes last
            least = np.partition(near, -others)[-others]
            nearest = np.flatnonzero(near >= least)
            first = same[nearest[np.lexsort((same[nearest], -near[nearest]))[:others]]]
            hits[row] = first[0]
            precision[row] = (first * np.cumsum(first) / np.arange(1, others + 1)).mean()
    found["recall_at_1"][counted], found["map_at_r"][counted] = hits, precision
    return found
