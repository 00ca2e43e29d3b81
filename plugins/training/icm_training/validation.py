"""Figures on pictures that are not trained on, and sample pictures, while a stage runs."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as tvf

from icm_core.interfaces import DataSet, Sample
from icm_core.pipeline.pipeline import Pipeline
from icm_core.spec.model import FINE
from icm_core.types import Prediction, SideInfo
from icm_training.log import Log
from icm_training.recipe import ValidationSpec


@torch.no_grad()
def validate(pipe: Pipeline, data: DataSet, spec: ValidationSpec, log: Log, step: int) -> dict[str, float]:
    """The metric of every task that the data have targets for, by quality; the first picture goes to the log.

    Every process looks at all pictures: metrics add up over processes by themselves, and so stay what they are.
    Rates are the estimates that training minimises, from rounded values; real files are measured by ``icm evaluate``.
    """
    modes = {module: module.training for module in pipe.modules()}
    for module in modes:
        module.training = False
    try:
        return _figures(pipe, data, spec, log, step)
    finally:
        for module, training in modes.items():
            module.training = training


def _figures(pipe: Pipeline, data: DataSet, spec: ValidationSpec, log: Log, step: int) -> dict[str, float]:
    count = min(spec.limit, len(data))
    numbers = sorted({round(i * (len(data) - 1) / max(1, count - 1)) for i in range(count)})
    figures: dict[str, float] = {}
    for quality in spec.qualities:
        metrics = {
            name: pipe.task(name).head.metric().to(pipe.device)
            for name in pipe.tasks
            if pipe.task(name).head.kind in ("reconstruction", data.kind)
        }
        bits: list[Tensor] = []
        for position, number in enumerate(numbers):
            sample = data[number]
            x = (sample.picture[None].float() / 255).to(pipe.device)
            out = pipe.codec(x, torch.full((1,), quality, device=pipe.device))
            bits.append(out.total_bits.float().cpu() / (x.shape[-1] * x.shape[-2]))
            for name, metric in metrics.items():
                output = pipe.task(name)(out.side).float()
                metric.update(output, _target(sample, x, pipe.task(name).head.kind))
            if position == 0 and quality == spec.qualities[0]:
                _show(pipe, x, out.side, quality, log, step)
        figures[f"val bpp q{quality:g}"] = float(torch.cat(bits).mean())
        figures |= {f"val {name} q{quality:g}": float(metric.compute()) for name, metric in metrics.items()}
    return figures


def _target(sample: Sample, x: Tensor, kind: str) -> Tensor:
    if kind == "reconstruction" or sample.target is None:
        return x
    return sample.target[None].long().to(x.device)


def _show(pipe: Pipeline, x: Tensor, side: SideInfo, quality: float, log: Log, step: int) -> None:
    log.picture("picture", x[0], step)
    for name in pipe.tasks:
        task = pipe.task(name)
        features = task.adapter(side)
        if "image" in features.maps:
            log.picture(f"{name}/semantic image", features.cropped("image")[0], step)
        prediction: Prediction = task.head.predict(features)
        drawn: Image.Image | None = task.head.draw(prediction)
        if drawn is not None:
            log.picture(f"{name}/prediction", tvf.pil_to_tensor(drawn.convert("RGB")).float() / 255, step)
        if name == pipe.over and pipe.enhancement is not None:
            coarse = prediction.output.float().clamp(0, 1)
            fine, _ = pipe.enhancement(x, coarse, side, torch.full((1,), quality, device=x.device))
            log.picture(FINE, fine[0], step)
