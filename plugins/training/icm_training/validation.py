"""Figures on pictures that are not trained on, and sample pictures, while a stage runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tvf

from icm_core.errors import IcmError
from icm_core.interfaces import Figure, Sample, Tally
from icm_core.nests import map_tensors
from icm_core.pictures import to_picture
from icm_core.pipeline.answers import Answers
from icm_core.pipeline.pipeline import Pipeline, Task
from icm_core.spec.model import FINE
from icm_core.types import Prediction, SideInfo
from icm_training.log import Log
from icm_training.mixture import Mixture
from icm_training.recipe import ValidationSpec

T = TypeVar("T")


@dataclass
class _Measured:
    """A task that the data have targets for.

    Attributes:
        task: the task.
        numbers: the head's number of each of the data's labels; None where the target is the picture.
        tallies: of the pictures so far.
    """

    task: Task
    numbers: tuple[int, ...] | None
    tallies: list[Tally] = field(default_factory=list)


@torch.no_grad()
def validate(
    pipe: Pipeline, data: Mixture, spec: ValidationSpec, log: Log, step: int, encoder: str | None = None
) -> dict[str, float]:
    """The figures of every task that the data have targets for, by quality; the first picture goes to the log.

    A task's main figure is called ``val TASK qQUALITY``, further ones ``val TASK FIGURE qQUALITY``. They are those of
    ``icm evaluate``, but that percent are shares between 0 and 1. What a kind cannot measure or draw is left out, and
    the log says so once.

    Every process looks at all pictures: metrics that add up over processes by themselves stay what they are.
    It is the codec's usual encoder that works, or the one that is named.
    Rates are the estimates that training minimises, from rounded values; real files are measured by ``icm evaluate``.
    """
    modes = {module: module.training for module in pipe.modules()}
    for module in modes:
        module.training = False
    try:
        return _figures(pipe, data, spec, log, step, encoder)
    finally:
        for module, training in modes.items():
            module.training = training


def _figures(
    pipe: Pipeline, data: Mixture, spec: ValidationSpec, log: Log, step: int, encoder: str | None
) -> dict[str, float]:
    codec = pipe.codec if encoder is None else pipe.codec.with_encoder(encoder)
    count = min(spec.limit, len(data))
    numbers = sorted({round(i * (len(data) - 1) / max(1, count - 1)) for i in range(count)})
    found: dict[str, float] = {}
    for quality in spec.qualities:
        measured = _measured(pipe, data, log)
        bits: list[Tensor] = []
        for position, number in enumerate(numbers):
            sample = data[number]
            x = (sample.picture[None].float() / 255).to(pipe.device)
            out = codec(x, torch.full((1,), quality, device=pipe.device))
            answers = Answers(pipe, out.side, partial(_refined, pipe, x, quality))
            bits.append(out.total_bits.float().cpu() / (x.shape[-1] * x.shape[-2]))
            for name in [*measured]:
                if not _tallied(name, measured[name], answers.of(name), sample, data, log):
                    del measured[name]
            if position == 0 and quality == spec.qualities[0]:
                _show(pipe, x, answers, log, step)
        found[f"val bpp q{quality:g}"] = float(torch.cat(bits).mean())
        for name, one in measured.items():
            found |= _named(name, one, quality, log)
    return found


def _measured(pipe: Pipeline, data: Mixture, log: Log) -> dict[str, _Measured]:
    """The tasks whose answers are pictures, and those whose kind the data serve."""
    found: dict[str, _Measured] = {}
    for name in pipe.tasks:
        task = pipe.task(name)
        if task.kind.is_picture:
            found[name] = _Measured(task, None)
        elif task.kind.name in data.serves:
            numbers = task.kind.match(data.legend, task.head.legend)
            if isinstance(numbers, str):
                log.note(f"task {name!r} is not validated: {numbers}")
            else:
                found[name] = _Measured(task, numbers)
    return found


def _tallied(name: str, one: _Measured, prediction: Prediction, sample: Sample, data: Mixture, log: Log) -> bool:
    """Add a picture's tally; False where there is none."""
    kind = one.task.kind

    # Where the data set's targets are: kinds compare what is on one device.
    prediction = replace(prediction, output=map_tensors(Tensor.cpu, prediction.output))
    size = (sample.picture.shape[-2], sample.picture.shape[-1])

    def check() -> bool:
        kind.check_prediction(prediction, size, 1)
        return True

    def tally() -> Tally:
        if one.numbers is None:
            return kind.tally(prediction, sample.picture)
        return kind.tally(prediction, kind.renumber(sample.target, one.numbers, data.legend))

    if not _tried(check, f"task {name!r} is not validated: its answer", log):
        return False
    found = _tried(tally, f"task {name!r} is not validated: the target of {sample.key}", log)
    if found is not None:
        one.tallies.append(found)
    return found is not None


def _named(name: str, one: _Measured, quality: float, log: Log) -> dict[str, float]:
    """A task's figures as the log calls them."""
    kind, legend = one.task.kind, one.task.head.legend
    what = f"task {name!r} is not validated: its kind"
    made: dict[str, Figure] = _tried(lambda: kind.figures(one.tallies, legend), what, log) or {}
    found: dict[str, float] = {}
    for number, (key, figure) in enumerate(made.items()):
        if figure.value is not None:
            title = f"val {name} q{quality:g}" if number == 0 else f"val {name} {key} q{quality:g}"
            found[title] = figure.value / 100 if figure.unit == "%" else figure.value
    return found


def _tried(ask: Callable[[], T], what: str, log: Log) -> T | None:
    """What a kind answers, None where it fails: others wrote it, and a figure is worth no training of hours."""
    try:
        return ask()
    except (ValueError, IcmError) as error:
        log.note(f"{what} {error}")
    except Exception as error:
        log.note(f"{what} fails with {type(error).__name__}: {error}")
    return None


def _refined(pipe: Pipeline, x: Tensor, quality: float, coarse: Tensor, side: SideInfo) -> Tensor:
    """The refined picture, from rounded values in place of a file."""
    assert pipe.enhancement is not None  # who asks for it has looked
    found: Tensor = pipe.enhancement(x, coarse, side, torch.full((1,), quality, device=x.device))[0]
    return found.float().clamp(0, 1)


def _show(pipe: Pipeline, x: Tensor, answers: Answers, log: Log, step: int) -> None:
    log.picture("picture", x[0], step)
    for name in pipe.tasks:
        task = pipe.task(name)
        features = task.adapter(answers.side(name))
        if "image" in features.maps:
            log.picture(f"{name}/semantic image", features.cropped("image")[0], step)
        draw = partial(task.kind.draw, answers.of(name), to_picture(x))
        drawn = _tried(draw, f"task {name!r} is not drawn: its kind", log)
        if drawn is not None:
            log.picture(f"{name}/prediction", tvf.pil_to_tensor(drawn.convert("RGB")).float() / 255, step)
    if pipe.over is not None:
        log.picture(FINE, answers.of(FINE).output[0], step)
