"""One picture through a pipeline: files, everything decoded from them, and what came of it."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from icm_core.bitstream.container import read
from icm_core.errors import InputError
from icm_core.files import write_atomically
from icm_core.interfaces import Sample
from icm_core.pipeline.pipeline import Pipeline
from icm_core.types import Features
from icm_evaluation.plan import Plan
from icm_evaluation.results import Coded, PictureRow, Tally
from icm_evaluation.tally import tally_classes, tally_map, tally_picture

IGNORED = -1
"""Pixels that count nowhere, whatever the data set writes there: its value may be a class of the head."""


def warm_up(pipe: Pipeline, plan: Plan) -> None:
    """Encode and decode once, so that the first measured time holds no one-time work."""
    blob = pipe.encode(Image.new("RGB", (64, 64), "grey"), quality=plan.qualities[0], **plan.search)
    pipe.decode(blob, tasks=list(plan.tasks))


def measure(pipe: Pipeline, plan: Plan, sample: Sample, keep: Path | None = None) -> PictureRow:
    """Encode a picture at every quality and decode it from the bytes.

    Args:
        pipe: the pipeline.
        plan: what is measured.
        sample: picture and target.
        keep: if given, the files are written into this folder, as ``<key>.q<quality>.icm``.

    Raises:
        InputError: the target has a class that the data set does not name.
    """
    targets = {name: _target(sample, numbers, plan.ignore) for name, numbers in plan.classes.items()}
    clean = {name: _clean(pipe, plan, name, sample, targets[name]) for name in plan.clean}
    height, width = sample.picture.shape[-2:]
    points = [_coded(pipe, plan, sample, targets, quality, keep) for quality in plan.qualities]
    return PictureRow(key=sample.key, width=width, height=height, clean=clean, points=points)


def file_name(key: str, quality: float) -> str:
    """Name of a kept file."""
    return f"{key.replace('/', '.')}.q{quality:g}.icm"


def _coded(
    pipe: Pipeline, plan: Plan, sample: Sample, targets: dict[str, Tensor], quality: float, keep: Path | None
) -> Coded:
    start = time.perf_counter()
    blob = pipe.encode(sample.picture, quality=quality, **plan.search)
    middle = time.perf_counter()
    decoded = pipe.decode(blob, tasks=list(plan.tasks))
    end = time.perf_counter()
    if keep is not None:
        write_atomically(keep / file_name(sample.key, quality), blob)
    file = read(blob)
    tasks = {name: _tally(plan, name, decoded[name].output, sample, targets.get(name)) for name in plan.tasks}
    return Coded(
        quality=quality,
        bytes=len(blob),
        base_bytes=file.base_bytes,
        payload_bytes=len(blob) - file.overhead,
        encode_seconds=middle - start,
        decode_seconds=end - middle,
        tasks=tasks,
    )


def _clean(pipe: Pipeline, plan: Plan, name: str, sample: Sample, target: Tensor) -> Tally:
    x = sample.picture.unsqueeze(0).to(pipe.device).float() / 255
    size = (x.shape[-2], x.shape[-1])
    reduced = pipe.precision == "bf16"
    with torch.inference_mode(), torch.autocast(pipe.device.type, torch.bfloat16, enabled=reduced):
        output = pipe.task(name).head.predict(Features({"image": x}, size)).output.float()
    return _tally(plan, name, output, sample, target)


def _tally(plan: Plan, name: str, output: Tensor, sample: Sample, target: Tensor | None) -> Tally:
    kind = plan.tasks[name].kind
    if target is None:
        return tally_picture(output, sample.picture.to(output.device))
    target = target.to(output.device)
    return tally_classes(output, target) if kind == "classification" else tally_map(output, target, IGNORED)


def _target(sample: Sample, numbers: tuple[int, ...], ignore: int | None) -> Tensor:
    """The target in the head's numbers, int64; `IGNORED` where it counts nowhere."""
    if sample.target is None:
        raise InputError(f"{sample.key} has no target, though its data set has some")
    target = sample.target.long()
    counted = target != ignore if ignore is not None else torch.ones_like(target, dtype=torch.bool)
    wrong = target[counted & ((target < 0) | (target >= len(numbers)))]
    if wrong.numel():
        raise InputError(
            f"the target of {sample.key} holds the class {int(wrong[0])}; classes are 0 to {len(numbers) - 1}"
        )
    table = torch.tensor(numbers)
    return torch.where(counted, table[target.clamp(0, len(numbers) - 1)], IGNORED)
