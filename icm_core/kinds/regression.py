"""Kind ``regression``: real values that labels name, such as counts, distances or scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from PIL import Image
from pydantic import JsonValue
from torch import Generator, Tensor

from icm_core.interfaces.kind import Drawn, Figure, Tally, TaskKind, Weights
from icm_core.kinds.labels import match_labels
from icm_core.kinds.means import mean, number, resampled_means
from icm_core.kinds.outputs import check_output
from icm_core.kinds.painting import captioned
from icm_core.nests import Nest, shown
from icm_core.types import Legend, Prediction


class Regression(TaskKind):
    """Outputs are values (B, K), targets (K,) float32, batches of them (B, K)."""

    name: ClassVar[str] = "regression"
    in_words: ClassVar[bool] = True
    compares: ClassVar[bool] = True

    def check_target(self, target: Nest, size: tuple[int, int], legend: Legend) -> None:
        """One finite value for each label, (K,) float32."""
        del size
        if not (isinstance(target, Tensor) and target.dtype == torch.float32 and target.dim() == 1):
            raise ValueError(f"is {shown(target)}; it should be values, (K,) float32")
        if legend.labels and len(target) != len(legend.labels):
            raise ValueError(f"has {len(target)} values for {len(legend.labels)} labels")
        if not bool(target.isfinite().all()):
            raise ValueError("has a value that is not finite")

    def example_target(self, size: tuple[int, int], legend: Legend, generator: Generator) -> Tensor:
        """Values from 0 to 1."""
        del size
        return torch.rand(max(1, len(legend.labels)), generator=generator)

    def check_prediction(self, prediction: Prediction, size: tuple[int, int], count: int) -> None:
        """Values (B, K), one for each label where there are labels."""
        del size
        check_output(prediction.output, (count, len(prediction.labels) or None), "values")

    def divergence(self, output: Nest, reference: Nest) -> Tensor:
        """Mean squared difference, (B,)."""
        found: Tensor = (output - reference).square().flatten(1).mean(1)
        return found

    def answer(self, prediction: Prediction) -> dict[str, JsonValue]:
        """``values``: label and value, in order, and the unit where there is one."""
        values: list[JsonValue] = [
            {"label": prediction.legend.label(index), "value": round(value, 6)}
            for index, value in enumerate(prediction.output[0].detach().float().tolist())
        ]
        return {"values": values, **({"unit": prediction.unit} if prediction.unit else {})}

    def describe(self, prediction: Prediction) -> str:
        """Labels with their values."""
        values = prediction.output[0].detach().float().tolist()
        return ", ".join(
            f"{prediction.legend.label(index)} {value:.3g}{f' {prediction.unit}' if prediction.unit else ''}"
            for index, value in enumerate(values)
        )

    def draw(self, prediction: Prediction, picture: Image.Image) -> Image.Image:
        """The picture with the values written on it."""
        return captioned(picture, self.describe(prediction).split(", "))

    def truth(self, target: Nest, legend: Legend) -> Prediction:
        """The values."""
        return Prediction(self.name, target[None], legend.labels, unit=legend.unit)

    def match(self, data: Legend, head: Legend) -> tuple[int, ...] | str:
        """By names, else in order; units have to be the same where both are known."""
        found = super().match(data, head)
        return found if isinstance(found, str) else match_labels(data, head, "values")

    def renumber(self, target: Nest, numbers: tuple[int, ...], legend: Legend) -> Tensor:
        """The values in the head's order, NaN where the data set has none."""
        del legend
        if len(target) > len(numbers):
            raise ValueError(f"has {len(target)} values; there are labels for {len(numbers)}")
        known = list(numbers[: len(target)])
        values = torch.full((max(known, default=-1) + 1,), torch.nan, dtype=torch.float32)
        values[known] = target.detach().cpu().float()
        return values

    def tally(self, prediction: Prediction, target: Nest) -> Tally:
        """``errors``: absolute errors by value, None where the truth is not known; ``mae`` is their mean."""
        output = prediction.output[0].detach().cpu().float()
        if len(target) > len(output):
            raise ValueError(f"has {len(target)} values; the head has {len(output)}")
        errors = (output[: len(target)].double() - target.double()).abs().tolist()
        known: list[float | None] = [error if error == error else None for error in errors]
        return {"errors": [*known], "mae": mean([error for error in known if error is not None])}

    def figures(self, tallies: Sequence[Tally], legend: Legend) -> dict[str, Figure]:
        """``mae``: the mean absolute error over pictures and values; with several values also each one's own."""
        errors = _errors(tallies)
        found = {
            "mae": Figure(mean([number(tally, "mae") for tally in tallies]), legend.unit, "mean absolute error", False)
        }
        if len(errors) > 1:
            for index, values in enumerate(errors):
                label = legend.label(index)
                found[f"mae.{label}"] = Figure(mean(values), legend.unit, f"mean absolute error of {label}", False)
        return found

    def resampled(self, tallies: Sequence[Tally], legend: Legend, weights: Weights) -> Drawn:
        """As `figures`."""
        errors = _errors(tallies)
        flat: list[Tally] = [
            {"mae": tally["mae"], **{f"mae.{legend.label(i)}": values[row] for i, values in enumerate(errors)}}
            for row, tally in enumerate(tallies)
        ]
        names = ["mae", *(f"mae.{legend.label(i)}" for i in range(len(errors)) if len(errors) > 1)]
        return resampled_means(flat, dict.fromkeys(names, 1.0), weights)


def _errors(tallies: Sequence[Tally]) -> list[list[float | None]]:
    """Absolute errors by value and picture."""
    rows: list[list[float | None]] = [list(tally["errors"]) for tally in tallies]  # type: ignore[arg-type]
    return [list(column) for column in zip(*rows, strict=True)]
