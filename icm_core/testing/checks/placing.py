"""Checks of where a component's tensors live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from icm_core.testing.cases.base import ComponentCase, Example, Parts
from icm_core.testing.cases.codecs import CodecCase
from icm_core.testing.checks.running import differing
from icm_core.testing.failing import expecting, require


def check_builds_on_meta(case: ComponentCase) -> None:
    """On the ``meta`` device it is built and run without allocating anything, as ``icm check`` does."""
    advice = (
        "Construction and forward may use shapes, not values: no .item(), no numpy, no table computed from "
        "parameters (that is what freeze_tables is for); icm check and icm graph build every spec on the meta device."
    )
    with torch.device("meta"), torch.no_grad(), expecting(f"building {case.name} on the meta device", advice):
        component = case.build(bare=True)
    elsewhere = [name for name, tensor in _state(component) if tensor.device.type != "meta"]
    require(
        not elsewhere,
        f"{case.name} built on the meta device holds memory in {', '.join(elsewhere[:5])}",
        "Make tensors with torch's own factories and no device=, so that the surrounding device counts.",
    )
    example = case.example(case.build(), case.sizes[0], 1)
    expected = case.shapes(case.build(), example)
    with torch.no_grad(), expecting(f"running {case.name} on the meta device", advice):
        found = case.run(component, example.to("meta"))
    wrong = [name for name, tensor in found.items() if tensor.device.type != "meta" or name not in expected]
    require(not wrong, f"{case.name} run on the meta device gave other outputs: {', '.join(wrong)}", advice)


def check_device_moves(case: ComponentCase) -> None:
    """``.to(device)`` takes everything along; where there is a GPU, it computes there what it does on the CPU."""
    component = case.build(bare=True)
    stray = [path for name, module in component.named_modules() for path in _stray(name, module)]
    require(
        not stray,
        f"{case.name} keeps tensors as plain attributes: {', '.join(stray[:5])}",
        "Make them parameters, or register_buffer(name, tensor, persistent=False) if they can be computed anew; "
        "plain attributes stay behind when a pipeline moves to a GPU.",
    )
    component = case.build()
    example = case.example(component, case.sizes[0], 1)
    with (
        torch.no_grad(),
        expecting(
            f"running {case.name} after .to('meta')", "Use the device of the inputs or of a parameter, none by name."
        ),
    ):
        found = case.run(case.build(bare=True).to("meta"), example.to("meta"))
    _on(case, found, "meta")
    if torch.cuda.is_available():
        _try_cuda(case, component, example)


def _try_cuda(case: ComponentCase, component: nn.Module, example: Example) -> None:
    with torch.no_grad():
        here = case.run(component, example)
        with expecting(f"running {case.name} on a GPU", "Use the device of the inputs, none by name."):
            there = case.run(component.to("cuda"), example.to("cuda"))
    _on(case, there, "cuda")
    # Rounding in a codec may fall to the other side where a GPU differs in the last bits.
    most = 0.05 if isinstance(case, CodecCase) else 0.01
    for name, value in here.items():
        share = differing(value, there[name].cpu(), 1e-2)
        require(share <= most, f"{case.name}: {share:.0%} of {name} differs on a GPU", "Look for uninitialised memory.")


def _on(case: ComponentCase, found: Parts, device: str) -> None:
    wrong = [name for name, tensor in found.items() if tensor.device.type != device]
    require(not wrong, f"{case.name} on {device} gives {', '.join(wrong)} elsewhere", "Make tensors like the inputs.")


def _state(component: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from component.named_parameters()
    yield from component.named_buffers()


def _stray(name: str, module: nn.Module) -> Iterator[str]:
    for key, value in vars(module).items():
        if key not in ("_parameters", "_buffers", "_modules"):
            values = value.values() if isinstance(value, Mapping) else value
            many = values if isinstance(value, (Mapping, list, tuple)) else [value]
            if any(isinstance(item, Tensor) for item in many):
                yield f"{name}.{key}".lstrip(".")
