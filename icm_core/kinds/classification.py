"""Kind ``classification``: one of K classes for the whole picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from PIL import Image
from pydantic import JsonValue
from torch import Generator, Tensor

from icm_core.interfaces.kind import Drawn, Figure, Tally, TaskKind, Weights
from icm_core.kinds.labels import check_classes, match_labels, renumbered
from icm_core.kinds.means import number, resampled_means
from icm_core.kinds.outputs import check_output
from icm_core.kinds.painting import captioned
from icm_core.nests import Nest, shown
from icm_core.types import Legend, Prediction

TOP = 5
"""Classes that an answer lists; a hit among as many counts as top-5."""

DESCRIBED = 3

_NO_CLASS = -1


class Classification(TaskKind):
    """Outputs are logits (B, K), targets a class, () int64, batches of them (B,)."""

    name: ClassVar[str] = "classification"
    in_words: ClassVar[bool] = True
    compares: ClassVar[bool] = True

    def check_target(self, target: Nest, size: tuple[int, int], legend: Legend) -> None:
        """A class, () int64, among the labels."""
        del size
        if not (isinstance(target, Tensor) and target.dtype == torch.int64 and target.dim() == 0):
            raise ValueError(f"is {shown(target)}; it should be a class, () int64")
        if legend.labels and not 0 <= int(target) < len(legend.labels) and int(target) != legend.ignore:
            raise ValueError(f"is the class {int(target)}, and there are {len(legend.labels)} labels")

    def example_target(self, size: tuple[int, int], legend: Legend, generator: Generator) -> Tensor:
        """A class."""
        del size
        return torch.randint(max(1, len(legend.labels)), (), generator=generator)

    def check_prediction(self, prediction: Prediction, size: tuple[int, int], count: int) -> None:
        """Logits (B, K), one for each label where there are labels."""
        del size
        check_output(prediction.output, (count, len(prediction.labels) or None), "logits")

    def divergence(self, output: Nest, reference: Nest) -> Tensor:
        """Kullback-Leibler divergence of the classes' probabilities in nats, (B,)."""
        return kl_divergence(output, reference)

    def answer(self, prediction: Prediction) -> dict[str, JsonValue]:
        """``top``: the most probable classes with label, index and probability, at most five."""
        return {"top": [*map(dict, top_classes(prediction))]}  # type: ignore[list-item]

    def describe(self, prediction: Prediction) -> str:
        """The first synonyms of the most probable classes, with probabilities in percent."""
        return ", ".join(
            f"{str(top['label']).split(',')[0]} {top['probability']:.0%}" for top in top_classes(prediction, DESCRIBED)
        )

    def draw(self, prediction: Prediction, picture: Image.Image) -> Image.Image:
        """The picture with the most probable classes written on it."""
        return captioned(picture, self.describe(prediction).split(", "))

    def truth(self, target: Nest, legend: Legend) -> Prediction | None:
        """All probability on the class."""
        if not legend.labels or not 0 <= int(target) < len(legend.labels):
            return None
        logits = torch.full((1, len(legend.labels)), -100.0)
        logits[0, int(target)] = 100.0
        return Prediction(self.name, logits, legend.labels)

    def match(self, data: Legend, head: Legend) -> tuple[int, ...] | str:
        """By names; ImageNet's classes also by their folders' names."""
        return match_labels(data, head)

    def renumber(self, target: Nest, numbers: tuple[int, ...], legend: Legend) -> Tensor:
        """The head's number of the class."""
        return renumbered(target, numbers, legend.ignore, _NO_CLASS)

    def tally(self, prediction: Prediction, target: Nest) -> Tally:
        """``top1`` and, from 6 classes on, ``top5``: whether the class is the first, or among the first five."""
        from torchmetrics.functional.classification import (
            multiclass_accuracy,  # slow to import, so only where it is used
        )

        output = prediction.output
        classes = output.shape[1]
        check_classes(target, classes)
        hits = [
            bool(multiclass_accuracy(output, target.view(1), classes, top_k=count, average="micro") == 1)
            for count in (1, TOP)
            if count < classes
        ]
        return {"top1": hits[0], "top5": hits[1]} if len(hits) > 1 else {"top1": hits[0]}

    def figures(self, tallies: Sequence[Tally], legend: Legend) -> dict[str, Figure]:
        """Shares of hits in percent."""
        del legend
        return {name: _figure(name, _percent(tallies, name)) for name in _fields(tallies)}

    def resampled(self, tallies: Sequence[Tally], legend: Legend, weights: Weights) -> Drawn:
        """As `figures`."""
        del legend
        return resampled_means(tallies, dict.fromkeys(_fields(tallies), 100.0), weights)


def kl_divergence(output: Tensor, reference: Tensor) -> Tensor:
    """KL(reference || output) of logits (B, K, ...) in nats, the mean over places, (B,)."""
    each = torch.nn.functional.kl_div(output.log_softmax(1), reference.softmax(1), reduction="none").sum(1)
    return each.reshape(len(each), -1).mean(1)


def top_classes(prediction: Prediction, count: int = TOP) -> list[dict[str, str | int | float]]:
    """The most probable classes of the batch's first picture: label, index, probability."""
    probabilities = prediction.output[0].detach().float().softmax(0)
    best = probabilities.topk(min(count, probabilities.numel()))
    return [
        {"label": prediction.legend.label(index), "index": index, "probability": round(value, 6)}
        for value, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]


def _fields(tallies: Sequence[Tally]) -> list[str]:
    return ["top1", *(["top5"] if tallies[0].get("top5") is not None else [])]


def _figure(name: str, value: float) -> Figure:
    return Figure(value, "%", f"top-{name[3:]} accuracy")


def _percent(tallies: Sequence[Tally], name: str) -> float:
    return 100 * sum(bool(number(tally, name)) for tally in tallies) / len(tallies)
