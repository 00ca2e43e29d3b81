"""Checks of what training needs: gradients everywhere, a loss that is finite and falls."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from icm_core.testing.cases.base import ComponentCase, Example
from icm_core.testing.cases.heads import HeadCase
from icm_core.testing.failing import expecting, require

FIRST_STEPS = 4
"""Layers that start at zero let gradients through to those before them only when they have moved."""

STEPS = 15
RATE = 3e-3


def check_gradients(case: ComponentCase) -> None:
    """In training mode, a gradient reaches every parameter within a few steps, and each is finite."""
    component = case.build().requires_grad_(True).train()
    example = case.example(component, case.sizes[0])
    waiting = dict(component.named_parameters())
    if not waiting:
        return
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(1)
        optimizer = torch.optim.Adam(component.parameters(), lr=1e-4)
        for _ in range(FIRST_STEPS):
            with expecting(f"a training pass of {case.name}", "forward has to work in training mode."):
                _step(case, component, optimizer, example)
            odd = [name for name, value in component.named_parameters() if not _finite(value.grad)]
            require(
                not odd, f"{case.name}: the gradient of {', '.join(odd[:5])} is not finite", "Bound what is divided by."
            )
            waiting = {name: value for name, value in waiting.items() if value.grad is None or not value.grad.any()}
    without = list(waiting)
    require(
        not without,
        f"{case.name}: no gradient reaches {', '.join(without[:5])}"
        + (f" and {len(without) - 5} more" if len(without) > 5 else ""),
        "Remove parameters that nothing uses; look for .detach(), torch.no_grad(), and rounding without a "
        "straight-through gradient.",
    )


def check_loss_is_finite(case: HeadCase) -> None:
    """The loss is a finite scalar, also for outputs far from the target."""
    component = case.build()
    example = case.example(component, case.sizes[0])
    with torch.no_grad():
        output = case.run(component, example)["output"]
        for factor in (1.0, 1000.0, 0.0):
            with expecting(f"{case.name}.loss", "It takes forward's output and the target that TaskHead.loss names."):
                loss = component.loss(output * factor, example.target)
            require(
                isinstance(loss, Tensor) and loss.dim() == 0,
                f"{case.name}.loss gives {_shape(loss)}",
                "Return a scalar tensor: the mean over the batch.",
            )
            require(
                bool(loss.isfinite()),
                f"{case.name}.loss is {float(loss)} for outputs multiplied by {factor:g}",
                "Compute it from logits (cross_entropy, not log of softmax).",
            )


def check_loss_falls(case: HeadCase) -> None:
    """A few steps of Adam on one batch make the loss smaller."""
    component = case.build().requires_grad_(True).train()
    example = case.example(component, case.sizes[0])
    if not any(True for _ in component.parameters()):
        return
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(1)
        optimizer = torch.optim.Adam(component.parameters(), lr=RATE)
        losses = [_step(case, component, optimizer, example) for _ in range(STEPS)]
    first, last = losses[0], sum(losses[-3:]) / 3
    require(
        last < first,
        f"{case.name}: {STEPS} steps on one batch took the loss from {first:.4g} to {last:.4g}",
        "The loss has to depend on the output and get smaller as it comes near the target; look at its sign.",
    )


def _finite(gradient: Tensor | None) -> bool:
    return gradient is None or bool(gradient.isfinite().all())


def _step(case: ComponentCase, component: nn.Module, optimizer: torch.optim.Optimizer, example: Example) -> float:
    optimizer.zero_grad()
    loss = case.objective(component, example)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return float(loss.detach())


def _shape(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
