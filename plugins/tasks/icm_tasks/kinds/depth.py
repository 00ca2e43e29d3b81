"""Kind ``depth``: a distance for every pixel, in a unit, with pixels that have none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from pydantic import JsonValue
from torch import Generator, Tensor

from icm_core.interfaces import Drawn, Figure, Tally, TaskKind, Weights
from icm_core.kinds import mean, number, resampled_means
from icm_core.nests import Nest, shown
from icm_core.types import Legend, Prediction
from icm_tasks.kinds.scale import coloured, with_scale

STEPS = (0.001, 0.01, 0.1, 1.0)
"""What one step of a written picture may stand for, in the unit; the finest with which all values fit is taken."""

_MOST = 2**16 - 1
_RATIO = 1.25
_FIGURES = {"abs_rel": 100.0, "rmse": 1.0, "delta1": 100.0}


class Depth(TaskKind):
    """A distance for every pixel, above 0, in the unit of the legend.

    Targets are (H, W) float32, NaN or the legend's ignored value where there is none. Batches of them are (B, H, W),
    with NaN wherever there is none, so that a loss has one thing to look at. Outputs are (B, 1, H, W), or (B, H, W) for
    short.

    Values are compared as they are: predictions are not scaled to the truth's median, so a head whose scale is wrong
    has a large error. Resizing a picture does not change its distances.
    """

    name: ClassVar[str] = "depth"
    needs_labels: ClassVar[bool] = False
    compares: ClassVar[bool] = True

    # --- targets -----------------------------------------------------------------------------------------------------

    def check_target(self, target: Nest, size: tuple[int, int], legend: Legend) -> None:
        """Distances (H, W) float32 of the picture's size, finite and above 0 but where there is none."""
        if not (isinstance(target, Tensor) and target.dtype == torch.float32 and target.shape == size):
            raise ValueError(f"is {shown(target)}; it should be distances, {size} float32")
        strange = target[~(target.isfinite() & (target > 0)) & ~_none(target, legend)]
        if strange.numel():
            raise ValueError(
                f"has the distance {float(strange[0]):g}; distances are finite and above 0, and NaN or the ignored "
                "value where there is none"
            )

    def example_target(self, size: tuple[int, int], legend: Legend, generator: Generator) -> Tensor:
        """Distances from 1 to 9, and some pixels without."""
        made = 1 + 8 * torch.rand(size, generator=generator)
        if size[1] > 1:
            made[0, : size[1] // 2] = torch.nan if legend.ignore is None else legend.ignore
        return made

    def wrap(self, target: Nest, size: tuple[int, int]) -> Nest:
        """A mask, which is moved without mixing distances."""
        from torchvision import tv_tensors  # slow to import

        del size
        return tv_tensors.Mask(target)

    def fill(self, legend: Legend) -> float:
        """The ignored value, else NaN: there is no distance beyond the picture."""
        return float("nan") if legend.ignore is None else legend.ignore

    def unwrap(self, target: Nest, size: tuple[int, int], legend: Legend) -> Nest:
        """The distances, NaN where there is none."""
        return self.renumber(super().unwrap(target, size, legend), (), legend)

    # --- answers -----------------------------------------------------------------------------------------------------

    def check_prediction(self, prediction: Prediction, size: tuple[int, int], count: int) -> None:
        """Finite distances (B, 1, H, W) or (B, H, W) of the pictures' size."""
        output = prediction.output
        shapes = ((count, 1, *size), (count, *size))
        if not (isinstance(output, Tensor) and output.is_floating_point() and tuple(output.shape) in shapes):
            raise ValueError(f"is {shown(output)}; it should be distances, {shapes[0]} or {shapes[1]}")
        if not bool(output.isfinite().all()):
            raise ValueError("has distances that are not finite")

    def divergence(self, output: Nest, reference: Nest) -> Tensor:
        """Mean absolute difference as a share of the clean picture's mean distance, (B,)."""
        difference = (output - reference).abs().flatten(1).mean(1)
        found: Tensor = difference / reference.abs().flatten(1).mean(1).clamp_min(torch.finfo(torch.float32).tiny)
        return found

    # --- showing -----------------------------------------------------------------------------------------------------

    def answer(self, prediction: Prediction) -> dict[str, JsonValue]:
        """``unit``, ``min``, ``median``, ``max``, ``valid``: the share of pixels that have a distance (above 0), and
        ``step``: what one step of the written picture stands for, in the unit; None where there is none."""
        values = _map(prediction)
        known = values[_valid(values)]
        low, middle, high = (
            (float(known.min()), float(known.median()), float(known.max())) if known.numel() else (None, None, None)
        )
        return {
            "unit": prediction.unit,
            "min": None if low is None else round(low, 6),
            "median": None if middle is None else round(middle, 6),
            "max": None if high is None else round(high, 6),
            "valid": round(known.numel() / values.numel(), 6),
            "step": _step(known),
        }

    def describe(self, prediction: Prediction) -> str:
        """The nearest, the median and the farthest distance."""
        values = _map(prediction)
        known = values[_valid(values)]
        if not known.numel():
            return "no distances"
        unit = f" {prediction.unit}" if prediction.unit else ""
        return f"{float(known.min()):.3g} to {float(known.max()):.3g}{unit}, median {float(known.median()):.3g}{unit}"

    def raster(self, prediction: Prediction) -> Image.Image | None:
        """A 16-bit picture in thousandths of the unit, or hundredths, tenths or whole ones where the largest distance
        asks for it (the answer's ``step``); 0 is none. None where even whole ones do not fit."""
        values = _map(prediction)
        known = _valid(values)
        step = _step(values[known])
        if step is None:
            return None
        steps = torch.where(known, (values.double() / step).round().clamp(1, _MOST), 0)
        return Image.fromarray(steps.numpy().astype(np.uint16))

    def draw(self, prediction: Prediction, picture: Image.Image) -> Image.Image:
        """Colours of distances over the picture's grey, and below which distance has which colour."""
        values = _map(prediction)
        known = _valid(values)
        if not bool(known.any()):
            return picture.convert("RGB")
        low, high = torch.quantile(_some(values[known]), torch.tensor([0.01, 0.99], dtype=values.dtype)).tolist()
        return with_scale(coloured(values.numpy(), known.numpy(), (low, high), picture), (low, high), prediction.unit)

    def truth(self, target: Nest, legend: Legend) -> Prediction:
        """The distances, NaN where there is none."""
        return Prediction(self.name, self.renumber(target, (), legend)[None, None], unit=legend.unit)

    # --- measuring ---------------------------------------------------------------------------------------------------

    def renumber(self, target: Nest, numbers: tuple[int, ...], legend: Legend) -> Tensor:
        """The distances, NaN where there is none."""
        del numbers
        return torch.where(_none(target, legend), torch.nan, target)

    def tally(self, prediction: Prediction, target: Nest) -> Tally:
        """Errors of the picture over the pixels that have a distance, None if none has.

        ``abs_rel`` is the mean of |d - t| / t, ``rmse`` the root of the mean of (d - t)^2, ``delta1`` the share where
        max(d / t, t / d) < 1.25 (Eigen, Puhrsch & Fergus, "Depth Map Prediction from a Single Image using a Multi-Scale
        Deep Network", NeurIPS 2014).
        """
        values = _map(prediction)
        if values.shape != target.shape:
            raise ValueError(f"is of size {tuple(target.shape)}; the head's answer is {tuple(values.shape)}")
        known = ~target.isnan()
        if not bool(values[known].isfinite().all()):
            raise ValueError("cannot be compared: the head's answer has distances that are not finite")
        if not bool(known.any()):
            return dict.fromkeys(_FIGURES)
        found, true = values[known].double(), target[known].double()
        error = found - true
        # A distance of 0 or below is never near the truth.
        near = (found < _RATIO * true) & (true < _RATIO * found)
        return {
            "abs_rel": float((error.abs() / true).mean()),
            "rmse": float(error.square().mean().sqrt()),
            "delta1": float(near.double().mean()),
        }

    def figures(self, tallies: Sequence[Tally], legend: Legend) -> dict[str, Figure]:
        """Means over the pictures that have distances: ``abs_rel`` in percent, ``rmse`` in the unit, ``delta1`` in
        percent."""
        known = [tally for tally in tallies if tally["abs_rel"] is not None]
        means = {name: mean([number(tally, name) for tally in known]) for name in _FIGURES}
        found = {name: None if value is None else _FIGURES[name] * value for name, value in means.items()}
        return {
            "abs_rel": Figure(found["abs_rel"], "%", "mean relative error", higher_is_better=False),
            "rmse": Figure(found["rmse"], legend.unit, "root mean squared error", higher_is_better=False, digits=3),
            "delta1": Figure(found["delta1"], "%", "distances within a factor of 1.25"),
        }

    def resampled(self, tallies: Sequence[Tally], legend: Legend, weights: Weights) -> Drawn:
        """As `figures`."""
        del legend
        known = [tally["abs_rel"] is not None for tally in tallies]
        with np.errstate(invalid="ignore"):  # a draw without any such picture has no figure
            return resampled_means(
                [tally for tally, kept in zip(tallies, known, strict=True) if kept], _FIGURES, weights[:, known]
            )


def _none(target: Tensor, legend: Legend) -> Tensor:
    """Where a target has no distance."""
    none = target.isnan()
    return none if legend.ignore is None else none | (target == legend.ignore)


def _map(prediction: Prediction) -> Tensor:
    """The distances (H, W) of the batch's first picture, on the CPU."""
    values: Tensor = prediction.output[0].detach().cpu().float()
    return values[0] if values.dim() == 3 else values


def _valid(values: Tensor) -> Tensor:
    return values.isfinite() & (values > 0)


def _step(known: Tensor) -> float | None:
    """The finest step with which the largest distance fits into 16 bits, None if there is none."""
    most = float(known.max()) if known.numel() else 0.0
    return next((step for step in STEPS if most / step < _MOST + 0.5), None)


def _some(known: Tensor, most: int = 100_000) -> Tensor:
    """Evenly chosen ones of many values: quantiles of millions are slow and no better."""
    return known[:: max(1, known.numel() // most)]
