"""One picture through a pipeline: files, everything decoded from them, and what came of it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from icm_core.bitstream.container import read
from icm_core.files import write_atomically
from icm_core.interfaces import Sample, Tally
from icm_core.nests import Nest, map_tensors
from icm_core.pipeline.pipeline import Pipeline
from icm_core.types import Features, Prediction
from icm_evaluation.kinds import kept, said, target_of
from icm_evaluation.plan import Measured, Plan, Setting
from icm_evaluation.results import Coded, PictureRow


def warm_up(pipe: Pipeline, plan: Plan) -> None:
    """Encode and decode once, so that the first measured time holds no one-time work."""
    blob = pipe.encode(Image.new("RGB", (64, 64), "grey"), **plan.settings[0].arguments, **plan.search)
    pipe.decode(blob, tasks=list(plan.tasks))


def measure(pipe: Pipeline, plan: Plan, sample: Sample, keep: Path | None = None) -> PictureRow:
    """Encode a picture at every setting and decode it from the bytes.

    Args:
        pipe: the pipeline.
        plan: what is measured.
        sample: picture and target.
        keep: if given, the files are written into this folder, as ``<key>.q<quality>.icm``, or
            ``<key>.q<quality>.e<quality>.icm`` where the enhancement has a quality of its own.

    Raises:
        InputError: the target is not one of its kind or has a class that the data set does not name, or a head
            answers what its kind cannot measure.
    """
    targets = _targets(pipe, plan, sample)
    clean = {name: _clean(pipe, plan, name, sample, targets[name]) for name in plan.clean}
    height, width = sample.picture.shape[-2:]
    points = [_coded(pipe, plan, sample, targets, setting, keep) for setting in plan.settings]
    return PictureRow(key=sample.key, width=width, height=height, clean=clean, points=points)


def file_name(key: str, quality: float, enhancement: float | None = None) -> str:
    """Name of a kept file."""
    return f"{key.replace('/', '.')}.q{Setting(quality, enhancement).name}.icm"


def _coded(
    pipe: Pipeline, plan: Plan, sample: Sample, targets: dict[str, Nest], setting: Setting, keep: Path | None
) -> Coded:
    start = time.perf_counter()
    blob = pipe.encode(sample.picture, **setting.arguments, **plan.search)
    middle = time.perf_counter()
    decoded = pipe.decode(blob, tasks=list(plan.tasks))
    end = time.perf_counter()
    if keep is not None:
        write_atomically(keep / file_name(sample.key, setting.quality, setting.enhancement), blob)
    file = read(blob)
    tasks = {
        name: _tally(one, name, decoded[name], sample, targets[name], f" at quality {setting.name}")
        for name, one in plan.tasks.items()
    }
    return Coded(
        quality=setting.quality,
        enhancement_quality=setting.enhancement,
        bytes=len(blob),
        base_bytes=file.base_bytes,
        payload_bytes=len(blob) - file.overhead,
        encode_seconds=middle - start,
        decode_seconds=end - middle,
        tasks=tasks,
    )


def _clean(pipe: Pipeline, plan: Plan, name: str, sample: Sample, target: Nest) -> Tally:
    x = sample.picture.unsqueeze(0).to(pipe.device).float() / 255
    size = (x.shape[-2], x.shape[-1])
    reduced = pipe.precision == "bf16"
    with torch.inference_mode(), torch.autocast(pipe.device.type, torch.bfloat16, enabled=reduced):
        prediction = pipe.task(name).answer(Features({"image": x}, size))
    return _tally(plan.tasks[name], name, prediction, sample, target, ", clean,")


def _targets(pipe: Pipeline, plan: Plan, sample: Sample) -> dict[str, Nest]:
    """What each output is measured by: pictures where the pipeline is, other targets on the CPU."""
    found: dict[str, Nest] = {}
    for name, one in plan.tasks.items():
        if one.numbers is None or plan.targets is None:
            found[name] = sample.picture.to(pipe.device)
        else:
            found[name] = target_of(sample, plan.targets, one.kind, one.numbers, plan.legend)
    return found


def _tally(one: Measured, name: str, prediction: Prediction, sample: Sample, target: Nest, where: str) -> Tally:
    if one.numbers is not None:
        prediction = replace(prediction, output=map_tensors(lambda tensor: tensor.cpu(), prediction.output))
        size = (sample.picture.shape[-2], sample.picture.shape[-1])
        said(f"what {name} says of {sample.key}{where}", one.kind.check_prediction, prediction, size, 1)
    return kept(one.kind, said(f"the target of {sample.key}", one.kind.tally, prediction, target))
