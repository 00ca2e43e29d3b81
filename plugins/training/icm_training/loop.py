"""One optimisation loop for every stage: schedule, precision, clipping, log, checkpoints."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

Step = Callable[[int], dict[str, Tensor]]
"""Number of the step -> its terms; the term ``loss`` is minimised, the rest is logged."""


@dataclass(frozen=True)
class Group:
    """Modules that train together at one peak learning rate, without those parts that another group has."""

    modules: tuple[nn.Module, ...]
    lr: float
    without: tuple[nn.Module, ...] = ()

    def parameters(self) -> Iterable[nn.Parameter]:
        """The trained parameters."""
        elsewhere = {id(p) for module in self.without for p in module.parameters()}
        for module in self.modules:
            yield from (p for p in module.parameters() if id(p) not in elsewhere)


@dataclass(frozen=True)
class Schedule:
    """Length and pace of a stage.

    Attributes:
        steps: optimiser steps.
        warmup: steps of linear rise of the learning rate; afterwards it falls as half a cosine to 1 %.
        clip: largest norm of the gradient.
        weight_decay: AdamW's.
    """

    steps: int
    warmup: int = 50
    clip: float = 1.0
    weight_decay: float = 1e-4

    def factor(self, step: int) -> float:
        """Share of the peak learning rate at a step."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return float(0.01 + 0.99 * (1 + torch.cos(torch.tensor(torch.pi * done))) / 2)


def run(name: str, groups: list[Group], schedule: Schedule, step: Step, folder: Path, device: torch.device) -> None:
    """Train one stage; writes ``folder/<name>.jsonl`` and resumes from ``folder/<name>.ckpt`` if it is there.

    Raises:
        FloatingPointError: the loss is not a number; the stage and the step are named.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parameters = [p for group in groups for p in group.parameters()]
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(
        [{"params": list(group.parameters()), "lr": group.lr} for group in groups],
        weight_decay=schedule.weight_decay,
        betas=(0.9, 0.99),  # a second moment of 0.999 still remembers the first steps' large gradients
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule.factor)
    modules = nn.ModuleList(module for group in groups for module in group.modules)
    checkpoint, first = folder / f"{name}.ckpt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        modules.load_state_dict(state["modules"])
        optimizer.load_state_dict(state["optimizer"])
        scheduler.load_state_dict(state["scheduler"])
        first = int(state["step"])
    started, seen, sums = time.time(), 0, dict[str, float]()
    for number in range(first, schedule.steps):
        torch.manual_seed(number)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16):
            terms = step(number)
        loss = terms["loss"]
        if not bool(torch.isfinite(loss)):
            raise FloatingPointError(f"stage '{name}', step {number}: the loss is {float(loss)}")
        loss.backward()  # type: ignore[no-untyped-call]
        terms["gradient"] = nn.utils.clip_grad_norm_(parameters, schedule.clip)
        optimizer.step()
        scheduler.step()
        seen += 1
        for key, value in terms.items():
            sums[key] = sums.get(key, 0.0) + float(value.detach())
        if (number + 1) % 50 == 0 or number + 1 == schedule.steps:
            row = {"step": number + 1, "seconds": round(time.time() - started, 1)}
            row |= {key: round(value / seen, 5) for key, value in sums.items()}
            with (folder / f"{name}.jsonl").open("a") as log:
                log.write(json.dumps(row) + "\n")
            print(name, json.dumps(row), flush=True)
            seen, sums = 0, {}
        if (number + 1) % 200 == 0 or number + 1 == schedule.steps:
            aside = checkpoint.with_suffix(".tmp")
            state = {
                "modules": modules.state_dict(),
                "optimizer": optimizer.state_dict(),
                "scheduler": scheduler.state_dict(),
                "step": number + 1,
            }
            torch.save(state, aside)
            aside.replace(checkpoint)
    for parameter in parameters:
        parameter.requires_grad_(False)
