"""Kind ``segmentation``: a class for every pixel."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import JsonValue
from torch import Generator, Tensor
from torch.nn import functional as F

from icm_core.interfaces.kind import Drawn, Figure, Tally, TaskKind, Weights
from icm_core.kinds.classification import kl_divergence
from icm_core.kinds.labels import check_classes, match_labels, renumbered
from icm_core.kinds.outputs import check_output
from icm_core.kinds.painting import indexed_picture, overlay, swatches, with_legend
from icm_core.nests import Nest, shown
from icm_core.types import Legend, Prediction

IGNORED = -1
"""Pixels that count nowhere, whatever the data set writes there: its value may be a class of the head."""

_AT_ONCE = 50
_ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class Enlarged(Prediction):
    """Logits (B, K, h, w) of a picture's means over blocks: at full size they would not fit into memory.

    Attributes:
        size: height and width of the picture.
    """

    size: tuple[int, int] = (1, 1)

    @cached_property
    def classes(self) -> Tensor:
        """The first picture's class map (H, W) uint8, from logits that are resized bilinearly, strip by strip."""
        logits, (height, width) = self.output[0], self.size
        found = torch.empty(height, width, dtype=torch.uint8, device=logits.device)
        step = logits.shape[1] / height
        for top in range(0, height, _ROWS_AT_ONCE):
            rows = torch.arange(top, min(height, top + _ROWS_AT_ONCE), device=logits.device)
            place = ((rows + 0.5) * step - 0.5).clamp(0, logits.shape[1] - 1)
            above = place.long()
            below = (above + 1).clamp(max=logits.shape[1] - 1)
            strip = torch.lerp(logits[:, above], logits[:, below], (place - above)[:, None])
            wide = F.interpolate(strip[None], (len(rows), width), mode="bilinear", align_corners=False)
            found[top : top + len(rows)] = wide[0].argmax(0)
        return found


class Segmentation(TaskKind):
    """Outputs are logits (B, K, H, W), targets class maps (H, W) uint8, batches of them (B, H, W) int64.

    What a head says of a larger picture than it takes is an `Enlarged`, whose logits are smaller.
    """

    name: ClassVar[str] = "segmentation"
    compares: ClassVar[bool] = True

    def check_target(self, target: Nest, size: tuple[int, int], legend: Legend) -> None:
        """A class map (H, W) uint8 of the picture's size, whose values are labels or the ignored value."""
        if not (isinstance(target, Tensor) and target.dtype == torch.uint8 and target.shape == size):
            raise ValueError(f"is {shown(target)}; it should be a class map, {size} uint8")
        values = target.reshape(-1).bincount().nonzero().flatten().tolist()
        strange = [value for value in values if value != legend.ignore and not 0 <= value < len(legend.labels)]
        if legend.labels and strange:
            raise ValueError(f"has the class {strange[0]}, and there are {len(legend.labels)} labels")

    def example_target(self, size: tuple[int, int], legend: Legend, generator: Generator) -> Tensor:
        """Any class anywhere, and some ignored pixels where there is an ignored value."""
        made = torch.randint(max(1, len(legend.labels)), size, generator=generator).to(torch.uint8)
        if legend.ignore is not None and 0 <= legend.ignore <= 255:
            made[0, : size[1] // 2] = int(legend.ignore)
        return made

    def wrap(self, target: Nest, size: tuple[int, int]) -> Nest:
        """A mask, which is moved without mixing classes."""
        from torchvision import tv_tensors  # slow to import

        del size
        return tv_tensors.Mask(target)

    def fill(self, legend: Legend) -> float:
        """The ignored value, else class 0."""
        return 0 if legend.ignore is None else legend.ignore

    def unwrap(self, target: Nest, size: tuple[int, int], legend: Legend) -> Nest:
        """The map in int64, as losses take it."""
        return super().unwrap(target, size, legend).long()

    def check_prediction(self, prediction: Prediction, size: tuple[int, int], count: int) -> None:
        """Logits (B, K, H, W), K of each pixel, one for each label where there are labels."""
        if isinstance(prediction, Enlarged):
            check_output(prediction.output, (count, len(prediction.labels) or None, None, None), "logits")
            if prediction.size != size:
                raise ValueError(f"are logits of {prediction.size}; they should be of {size}")
            return
        check_output(prediction.output, (count, len(prediction.labels) or None, *size), "logits of all pixels")

    def enlarged(self, prediction: Prediction, size: tuple[int, int]) -> Prediction:
        """The same logits, and the size of the map that is made of them."""
        p = prediction
        return Enlarged(p.kind, p.output, p.labels, p.colours, p.unit, size)

    def divergence(self, output: Nest, reference: Nest) -> Tensor:
        """Kullback-Leibler divergence of the classes' probabilities in nats, the mean over pixels, (B,)."""
        return kl_divergence(output, reference)

    def answer(self, prediction: Prediction) -> dict[str, JsonValue]:
        """``classes``: label, index and share of the picture of each class that occurs, largest first."""
        return {
            "classes": [
                {"label": found.label, "index": found.index, "share": round(found.share, 6)}
                for found in swatches(_map(prediction), prediction.legend)
            ]
        }

    def describe(self, prediction: Prediction) -> str:
        """The three largest classes with their shares in percent."""
        return ", ".join(f"{one.label} {one.share:.0%}" for one in swatches(_map(prediction), prediction.legend)[:3])

    def raster(self, prediction: Prediction) -> Image.Image:
        """A palette picture whose pixels are class numbers."""
        return indexed_picture(_map(prediction), prediction.legend)

    def draw(self, prediction: Prediction, picture: Image.Image) -> Image.Image:
        """The classes' colours over the picture, and which is which below."""
        found = swatches(_map(prediction), prediction.legend)
        return with_legend(overlay(picture, self.raster(prediction)), found)

    def truth(self, target: Nest, legend: Legend) -> Prediction | None:
        """All probability on the classes of the map; ignored pixels have the first class."""
        count = len(legend.labels)
        if not count:
            return None
        classes = target.long()
        known = (classes >= 0) & (classes < count)
        logits = torch.nn.functional.one_hot(torch.where(known, classes, 0), count).permute(2, 0, 1)[None].float()
        return Prediction(self.name, logits, legend.labels, legend.colours)

    def match(self, data: Legend, head: Legend) -> tuple[int, ...] | str:
        """By names, else in order."""
        return match_labels(data, head)

    def renumber(self, target: Nest, numbers: tuple[int, ...], legend: Legend) -> Tensor:
        """The map in the head's numbers, -1 where it counts nowhere."""
        return renumbered(target, numbers, legend.ignore, IGNORED)

    def tally(self, prediction: Prediction, target: Nest) -> Tally:
        """``confusion``: pixels by truth (row) and prediction (column), K * K numbers."""
        from torchmetrics.functional.classification import multiclass_confusion_matrix  # slow to import

        classes = prediction.output.shape[1]
        check_classes(target[target != IGNORED], classes)
        found = _map(prediction).long().unsqueeze(0)
        counts = multiclass_confusion_matrix(found, target.unsqueeze(0), classes, ignore_index=IGNORED)
        return {"confusion": counts.flatten().tolist()}

    def figures(self, tallies: Sequence[Tally], legend: Legend) -> dict[str, Figure]:
        """``miou`` over the classes that occur, from all pixels together; None if no pixel counts."""
        del legend
        counts = torch.tensor([tally["confusion"] for tally in tallies], dtype=torch.int64).sum(0)
        classes = math.isqrt(counts.numel())
        return {"miou": Figure(mean_iou(counts.view(classes, classes)), "%", "mIoU")}

    def resampled(self, tallies: Sequence[Tally], legend: Legend, weights: Weights) -> Drawn:
        """As `figures`."""
        del legend
        counts = np.array([tally["confusion"] for tally in tallies], dtype=np.float64)
        parts = [miou_of(weights[start : start + _AT_ONCE] @ counts) for start in range(0, len(weights), _AT_ONCE)]
        return {"miou": np.concatenate(parts)}


def mean_iou(counts: Tensor) -> float | None:
    """Mean intersection over union, in percent, of the classes that occur in a (K, K) confusion matrix."""
    if not int(counts.sum()):
        return None
    from torchmetrics.classification import MulticlassJaccardIndex  # slow to import

    metric = MulticlassJaccardIndex(counts.shape[0])
    metric.merge_state({"confmat": counts})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it was never updated: the counts are ours
        return 100 * float(metric.compute())


def miou_of(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean IoU in percent from flattened confusion matrices (..., K * K); NaN where no pixel counts."""
    classes = math.isqrt(counts.shape[-1])
    matrix = counts.reshape(*counts.shape[:-1], classes, classes)
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    union = matrix.sum(-1) + matrix.sum(-2) - hits
    occurs = union > 0
    scores = np.divide(hits, union, out=np.zeros_like(hits), where=occurs)
    known = occurs.sum(-1)
    total = 100 * scores.sum(-1)
    found: NDArray[np.float64] = np.divide(total, known, out=np.full_like(total, np.nan), where=known > 0)
    return found


def _map(prediction: Prediction) -> Tensor:
    if isinstance(prediction, Enlarged):
        return prediction.classes
    classes: Tensor = prediction.output[0].argmax(0)
    return classes
