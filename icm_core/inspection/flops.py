"""Counts what modules compute, from shapes alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

T = TypeVar("T")


def _matrix_product(_: Any, a: Sequence[int], b: Sequence[int], **__: Any) -> int:
    """Operations of ``sum += a @ b``: (..., m, k) by (..., k, n)."""
    return 2 * math.prod(a) * b[-1]


# PyTorch counts addmm and baddbmm, but not their in-place forms.
_IN_PLACE = {torch.ops.aten.addmm_: _matrix_product, torch.ops.aten.baddbmm_: _matrix_product}


class Cost(BaseModel):
    """Parameters, and thousands of multiply-accumulates per pixel of the picture."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parameters: int = 0
    kmac_per_pixel: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            parameters=self.parameters + other.parameters, kmac_per_pixel=self.kmac_per_pixel + other.kmac_per_pixel
        )

    def times(self, count: float) -> Cost:
        """The cost of several such modules."""
        return Cost(parameters=round(self.parameters * count), kmac_per_pixel=self.kmac_per_pixel * count)


def measure(module: nn.Module, pixels: int, call: Callable[[], T]) -> tuple[T, Cost, dict[str, Cost]]:
    """Run a module and count its products: convolutions (transposed ones too), matrix products, attention.

    Args:
        module: the module; may be on the ``meta`` device.
        pixels: what costs are divided by.
        call: runs it.

    Returns:
        What ``call`` returned, the cost of the module, and those of its direct children by name.
    """
    scale = 2 * pixels * 1000  # a multiply-accumulate is counted as two operations
    children = dict(module.named_children())
    with FlopCounterMode(display=False, custom_mapping=_IN_PLACE) as counter, _spent(children, counter) as spent:
        result = call()
    cost = Cost(parameters=_parameters(module), kmac_per_pixel=counter.get_total_flops() / scale)
    parts = {
        name: Cost(parameters=_parameters(child), kmac_per_pixel=spent[name] / scale)
        for name, child in children.items()
    }
    return result, cost, parts


@contextmanager
def _spent(children: dict[str, nn.Module], counter: FlopCounterMode) -> Iterator[dict[str, int]]:
    """Operations that each child spends while the context is open.

    A child that is only a list is never called itself, so all modules inside a child are watched, and what the
    outermost of them spends at a time is added.
    """
    spent = dict.fromkeys(children, 0)
    handles = []

    def watch(name: str, child: nn.Module) -> None:
        depth, start = 0, 0

        def before(*_: Any) -> None:
            nonlocal depth, start
            if depth == 0:
                start = counter.get_total_flops()
            depth += 1

        def after(*_: Any) -> None:
            nonlocal depth
            depth -= 1
            if depth == 0:
                spent[name] += counter.get_total_flops() - start

        for inner in child.modules():
            handles.append(inner.register_forward_pre_hook(before))
            handles.append(inner.register_forward_hook(after))

    try:
        for name, child in children.items():
            watch(name, child)
        yield spent
    finally:
        for handle in handles:
            handle.remove()


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
