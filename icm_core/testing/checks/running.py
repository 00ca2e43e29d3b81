"""Checks of a forward pass in eval mode."""

from __future__ import annotations

import torch
from torch import Tensor

from icm_core.testing.cases.base import BATCH, ComponentCase
from icm_core.testing.failing import expecting, require


def differing(one: Tensor, other: Tensor, tolerance: float = 1e-3) -> float:
    """Share of values that differ by more than the tolerance, which is relative to the largest of them."""
    if one.shape != other.shape:
        return 1.0
    scale = max(1.0, float(other.abs().max())) if other.numel() else 1.0
    off = ~((one.float() - other.float()).abs() <= tolerance * scale)  # NaN differs
    return float(off.float().mean())


def check_shapes(case: ComponentCase) -> None:
    """Every output has the shape that the contract gives it, at each of the case's sizes, and is finite."""
    component = case.build()
    for size in case.sizes:
        example = case.example(component, size)
        where = f"pictures of {size[0]}x{size[1]} (height x width)"
        with torch.no_grad(), expecting(f"running {case.name} on {where}", "Any size from 1x1 on has to work."):
            found, expected = case.run(component, example), case.shapes(component, example)
        require(
            set(found) == set(expected),
            f"{case.name} gives {sorted(found)} where it announces {sorted(expected)}",
            "Deliver exactly what is announced.",
        )
        for name, shape in expected.items():
            have = tuple(found[name].shape)
            fits = len(have) == len(shape) and all(w in (None, h) for h, w in zip(have, shape, strict=True))
            asked = tuple("any" if side is None else side for side in shape)
            require(
                fits,
                f"{case.name}: {name} has the shape {have} for {where}, and should have {asked}",
                "Side information and features cover the padded picture, a head's output the picture itself "
                "(features.size, Features.cropped).",
            )
            require(
                bool(found[name].isfinite().all()),
                f"{case.name}: {name} has values that are not finite for {where}",
                "Look for a division by zero or a logarithm of zero.",
            )


def check_batch_independence(case: ComponentCase) -> None:
    """A picture gives the same alone as in a batch."""
    component = case.build()
    example = case.example(component, case.sizes[-1], BATCH + 1)
    with torch.no_grad():
        together = case.run(component, example)
        for index in range(BATCH + 1):
            for name, value in case.run(component, example.one(index)).items():
                share = differing(value, together[name][index : index + 1])
                require(
                    share <= 0.01,
                    f"{case.name}: {share:.0%} of {name} of picture {index} is another alone than in a batch",
                    "In eval mode nothing may be computed over the batch: check normalisation layers and means "
                    "that run over dimension 0.",
                )


def check_eval_is_deterministic(case: ComponentCase) -> None:
    """In eval mode, the same input gives the same output bit for bit, and the component stays as it is."""
    component = case.build()
    example = case.example(component, case.sizes[0])
    before = {key: value.clone() for key, value in component.state_dict().items()}
    with torch.no_grad():
        first, second = case.run(component, example), case.run(component, example)
    for name, value in first.items():
        require(
            torch.equal(value, second[name]),
            f"{case.name}: {name} changes from run to run in eval mode",
            "Use dropout and noise only where self.training is True.",
        )
    after = component.state_dict()
    changed = [key for key, value in before.items() if not torch.equal(value, after[key])]
    require(
        not changed,
        f"{case.name}: running it in eval mode changes {', '.join(changed[:5])}",
        "Update running statistics only where self.training is True.",
    )
