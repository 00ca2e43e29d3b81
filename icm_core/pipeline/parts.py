"""What a pipeline is made of, and what both of its sides ask of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar, cast

import torch
from torch import nn
from typing_extensions import Self

from icm_core.bitstream.control_hash import control_hash
from icm_core.bitstream.fingerprint import base_fingerprint, enhancement_fingerprint
from icm_core.coding.bounds import Bound
from icm_core.coding.weight_cache import Memo
from icm_core.errors import InputError
from icm_core.interfaces import Codec, Enhancement, TaskKind
from icm_core.pipeline.answers import Answers
from icm_core.pipeline.task import Task
from icm_core.quality import Quality
from icm_core.spec.model import FINE, PipelineSpec, TrainedOn
from icm_core.types import SideInfo
from icm_registry import unknown

Same = TypeVar("Same")

PRECISIONS = ("fp32", "bf16")
"""Arithmetic of the float networks. The coding path is exact in either, so files can be exchanged."""


class Parts(nn.Module):
    """One codec, several tasks behind it, and an enhancement over one of them; not yet at work."""

    codec: Codec
    enhancement: Enhancement | None

    def __init__(
        self, spec: PipelineSpec, codec: Codec, tasks: dict[str, Task], enhancement: Enhancement | None = None
    ) -> None:
        super().__init__()
        self.spec = spec
        self.codec = codec
        self.tasks = nn.ModuleDict(tasks)
        self.enhancement = enhancement
        self._precision = "fp32"
        self._base: Memo[bytes] = Memo()
        self._fine: Memo[bytes] = Memo()

    @property
    def name(self) -> str:
        """The spec's name."""
        return self.spec.name

    @property
    def over(self) -> str | None:
        """Name of the task whose picture the enhancement refines, None without enhancement."""
        return self.spec.enhancement.over if self.spec.enhancement else None

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        first = next(itertools.chain(self.parameters(), self.buffers()), None)
        return first.device if first is not None else torch.device("cpu")

    @property
    def precision(self) -> str:
        """``"fp32"`` or ``"bf16"``: the latter runs the float networks under bfloat16 autocast."""
        return self._precision

    @precision.setter
    def precision(self, value: str) -> None:
        if value not in PRECISIONS:
            raise InputError(f"precision {value!r} is unknown; it is one of {', '.join(PRECISIONS)}")
        self._precision = value

    @property
    def base_fingerprint(self) -> bytes:
        """Fingerprint that base layers of this pipeline carry."""
        with self._inference(exact=True):
            return self._base.get([self.codec], lambda: base_fingerprint(self.codec))

    @property
    def enhancement_fingerprint(self) -> bytes | None:
        """Fingerprint that enhancement layers of this pipeline carry, None if it writes none."""
        enhancement, over = self.enhancement, self.over
        if enhancement is None or over is None:
            return None
        with self._inference(exact=True):
            return self._fine.get(
                [self.codec, self.tasks[over], enhancement],
                lambda: enhancement_fingerprint(self.codec, self.tasks[over], enhancement),
            )

    def prove(self) -> list[Bound]:
        """A bound of every sum on the coding path, from weights and clamps.

        Raises:
            WeightsError: a layer could leave the range in which its arithmetic is exact; it is named.
        """
        with self._inference(exact=True):
            return [*self.codec.prove(), *(self.enhancement.prove() if self.enhancement is not None else ())]

    def task(self, name: str) -> Task:
        """A task by name; `InputError` with the nearest match if there is none."""
        if name not in self.tasks:
            raise InputError(unknown("task", name, self.tasks))
        return cast(Task, self.tasks[name])

    def kind(self, name: str) -> TaskKind:
        """The kind of a task's answers; of ``"fine"`` that of the picture that it refines."""
        return self.task(self.over if name == FINE and self.over is not None else name).kind

    @property
    def picture_task(self) -> str | None:
        """The task that shows a picture: the one that the enhancement refines, else the first there is, else None."""
        shown = (name for name in self.tasks if self.task(name).kind.is_picture and not self.task(name).adapter.needs)
        return self.over or next(shown, None)

    def reads_fine(self, name: str) -> bool:
        """Whether an output takes the enhancement layer: ``"fine"`` itself, and tasks that read the refined picture."""
        return name == FINE or any(map(self.reads_fine, self.task(name).adapter.needs))

    def side_for(self, name: str, side: SideInfo) -> SideInfo:
        """Side information with the pictures that a task's adapter reads; differentiable.

        Raises:
            InputError: the task reads the refined picture, which side information alone does not give.
        """
        if self.reads_fine(name):
            raise InputError(f"task {name!r} reads the {FINE!r} picture, which the base layer alone does not give")
        return Answers(self, side).side(name)

    def search_ends(self, name: str) -> tuple[float, float] | None:
        """What a unit of a task's divergence is worth in a search, at the lowest and the highest quality."""
        return self.spec.tasks[name].search

    def trained_on(self, name: str) -> TrainedOn | None:
        """What a task learned from; None where the spec does not say, and of ``"fine"``."""
        return self.spec.tasks[name].trained_on if name in self.spec.tasks else None

    def train(self, mode: bool = True) -> Self:
        """Training changes weights, so the fingerprints are forgotten."""
        self._base.clear()
        self._fine.clear()
        return super().train(mode)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As in `torch.nn.Module`; the fingerprints are forgotten."""
        self._base.clear()
        self._fine.clear()
        return super().load_state_dict(*args, **kwargs)

    def enhancement_step(self, base: Quality, value: float | None, *, enhancement: bool = True) -> Quality | None:
        """The quality that an enhancement layer has to name: None where it has the base layer's, or no value is given.

        Args:
            base: quality of the base layer.
            value: quality of the enhancement layer, or None.
            enhancement: whether there is to be an enhancement layer.

        Raises:
            InputError: the quality is out of range, or there is no enhancement layer that could have it.
        """
        if value is None:
            return None
        if self.enhancement is None:
            raise InputError(f"pipeline {self.name!r} has no enhancement layer that could have a quality of its own")
        if not enhancement:
            raise InputError("a file without its enhancement layer has no quality of the enhancement")
        step = self.quality(value)
        return None if step == base else step

    def quality(self, value: float) -> Quality:
        """A quality as files store it; `InputError` if the codec does not have it."""
        low, high = self.codec.quality_range
        with suppress(InputError):  # a file could not store it: the pipeline's own range says more
            quality = Quality.of(value)
            if low <= quality.value <= high:
                return quality
        raise InputError(f"quality {value:g} is out of range; pipeline {self.name!r} has {low:g} to {high:g}")

    @contextmanager
    def _inference(self, *, exact: bool = False) -> Iterator[None]:
        """No gradients, the chosen precision (none if exact), all in eval mode."""
        reduced = self._precision == "bf16" and not exact
        with (
            self._resting(),
            torch.inference_mode(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=reduced),
        ):
            yield

    @contextmanager
    def _resting(self) -> Iterator[None]:
        """All in eval mode; modes are put back afterwards."""
        training = [module for module in self.modules() if module.training]
        if not training:
            yield
            return
        resting = [module for module in self.modules() if not module.training]
        self.eval()
        try:
            yield
        finally:
            # train() rather than the flags alone: components drop what they derived from their weights in it.
            self.train()
            for module in resting:
                module.training = False

    def _lanes(self, asked: int | None) -> int:
        """How many threads work on many pictures; on a GPU one hands work over while another waits for results."""
        return asked if asked is not None else 2 if self.device.type == "cuda" else 1


def one_value(values: Sequence[Same], what: str) -> Same:
    """The value that all have."""
    if not values or any(value != values[0] for value in values):
        raise InputError(f"a batch has {what}, and this one has {len(set(values))} in {len(values)}")
    return values[0]


def rows(side: SideInfo, count: int) -> list[SideInfo]:
    """Side information of each picture of a batch."""
    if count == 1:
        return [side]
    return [
        SideInfo(
            tuple(level[number : number + 1] for level in side.levels),
            side.size,
            {name: picture[number : number + 1] for name, picture in side.pictures.items()},
        )
        for number in range(count)
    ]


def hashes(side: SideInfo | None, count: int) -> list[bytes]:
    """Control hash of each picture's side information; empty where there is to be none."""
    return [b""] * count if side is None else [control_hash(one.levels) for one in rows(side, count)]
