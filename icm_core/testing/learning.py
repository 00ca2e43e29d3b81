"""Checks of what training needs: gradients everywhere, a loss that is finite and falls."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from icm_core.testing.case import ComponentCase
from icm_core.testing.failing import expecting, require
from icm_core.testing.heads import HeadCase

STEPS = 25
RATE = 3e-3


def check_gradients(case: ComponentCase) -> None:
    """In training mode, a gradient reaches every parameter."""
    component = case.build().requires_grad_(True).train()
    example = case.example(component, case.sizes[0])
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(1)
        with expecting(f"a training pass of {case.name}", "forward has to work in training mode."):
            objective = case.objective(component, example)
            if any(True for _ in component.parameters()):
                objective.backward()  # type: ignore[no-untyped-call]
    parameters = dict(component.named_parameters())
    without = [name for name, value in parameters.items() if value.grad is None or not bool(value.grad.any())]
    require(
        not without,
        f"{case.name}: no gradient reaches {', '.join(without[:5])}"
        + (f" and {len(without) - 5} more" if len(without) > 5 else ""),
        "Remove parameters that nothing uses; look for .detach(), torch.no_grad(), rounding without a "
        "straight-through gradient, and weights that start at zero behind one another.",
    )
    odd = [name for name, value in parameters.items() if value.grad is not None and not value.grad.isfinite().all()]
    require(not odd, f"{case.name}: the gradient of {', '.join(odd[:5])} is not finite", "Bound what is divided by.")


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


def _step(case: HeadCase, component: nn.Module, optimizer: torch.optim.Optimizer, example: object) -> float:
    optimizer.zero_grad()
    loss = case.objective(component, example)  # type: ignore[arg-type]
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return float(loss.detach())


def _shape(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
