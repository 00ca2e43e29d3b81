"""Kind ``reconstruction``: the picture itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from PIL import Image
from pydantic import JsonValue
from torch import Generator, Tensor

from icm_core.interfaces.kind import Drawn, Figure, Tally, TaskKind, Weights
from icm_core.kinds.means import mean, number, resampled_means
from icm_core.kinds.outputs import check_output
from icm_core.nests import Nest
from icm_core.pictures import to_picture
from icm_core.types import Legend, Prediction

MIN_SIDE = 176
"""Five scales of an 11-tap window do not fit into fewer pixels."""


class Reconstruction(TaskKind):
    """Outputs are pictures (B, 3, H, W) in [0, 1]; the target is the coded picture, in batches as floats too."""

    name: ClassVar[str] = "reconstruction"
    is_picture: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False
    compares: ClassVar[bool] = True

    def check_target(self, target: Nest, size: tuple[int, int], legend: Legend) -> None:
        """A picture (3, H, W) uint8."""
        del legend
        if not (isinstance(target, Tensor) and target.dtype == torch.uint8 and target.shape == (3, *size)):
            raise ValueError(f"should be a picture, {(3, *size)} uint8")

    def example_target(self, size: tuple[int, int], legend: Legend, generator: Generator) -> Tensor:
        """Coloured noise."""
        del legend
        return torch.randint(256, (3, *size), generator=generator).to(torch.uint8)

    def wrap(self, target: Nest, size: tuple[int, int]) -> Nest:
        """A picture."""
        from torchvision import tv_tensors  # slow to import

        del size
        return tv_tensors.Image(target)

    def check_prediction(self, prediction: Prediction, size: tuple[int, int], count: int) -> None:
        """Pictures (B, 3, H, W) in [0, 1]."""
        check_output(prediction.output, (count, 3, *size), "pictures")
        low, high = (float(value) for value in prediction.output.aminmax())
        if low < 0 or high > 1:
            raise ValueError(f"has values from {low:g} to {high:g}; pictures are clamped to [0, 1]")

    def divergence(self, output: Nest, reference: Nest) -> Tensor:
        """Mean squared error in grey levels (of 255) against the clean picture, (B,)."""
        found: Tensor = (output - reference).square().flatten(1).mean(1) * 255**2
        return found

    def answer(self, prediction: Prediction) -> dict[str, JsonValue]:
        """Nothing: the picture says it."""
        del prediction
        return {}

    def describe(self, prediction: Prediction) -> str:
        """Nothing: the picture says it."""
        del prediction
        return ""

    def raster(self, prediction: Prediction) -> Image.Image:
        """The picture in 8 bits."""
        return to_picture(prediction.output)

    def draw(self, prediction: Prediction, picture: Image.Image) -> Image.Image:
        """The decoded picture itself."""
        del picture
        return to_picture(prediction.output)

    def tally(self, prediction: Prediction, target: Nest) -> Tally:
        """``psnr`` in dB and ``ms_ssim``, of the picture rounded to 8 bits as it would be shown.

        ``psnr`` is None where the pictures are equal, ``ms_ssim`` where a side is shorter than 176 pixels.
        """
        from torchmetrics.functional.image import (  # slow to import
            multiscale_structural_similarity_index_measure,
            peak_signal_noise_ratio,
        )

        shown = prediction.output.clamp(0, 1).mul(255).round().double()
        true = target.unsqueeze(0).to(shown.device).double()
        psnr = float(peak_signal_noise_ratio(shown, true, data_range=255.0))
        similarity = None
        if min(target.shape[-2:]) >= MIN_SIDE:
            similarity = float(
                multiscale_structural_similarity_index_measure(shown.float(), true.float(), data_range=255.0)
            )
        return {"psnr": psnr if math.isfinite(psnr) else None, "ms_ssim": similarity}

    def figures(self, tallies: Sequence[Tally], legend: Legend) -> dict[str, Figure]:
        """Means over pictures: ``psnr``, None if a picture is equal to its original, and ``ms_ssim``."""
        del legend
        return {
            "psnr": Figure(mean([number(tally, "psnr") for tally in tallies]), "dB", "PSNR"),
            "ms_ssim": Figure(mean([number(tally, "ms_ssim") for tally in tallies]), "", "MS-SSIM", digits=4),
        }

    def resampled(self, tallies: Sequence[Tally], legend: Legend, weights: Weights) -> Drawn:
        """As `figures`."""
        del legend
        return resampled_means(tallies, {"psnr": 1.0, "ms_ssim": 1.0}, weights)
