"""Checks of losses."""

from __future__ import annotations

import torch
from torch import Tensor

from icm_core.testing.cases.examples import BATCH
from icm_core.testing.cases.losses import LossCase
from icm_core.testing.failing import expecting, require

NEAR = 1e-4
"""A picture's loss alone may differ from that in a batch by this share: sums in floating point."""


def check_loss_of_each_picture(case: LossCase) -> None:
    """A batch gives one finite value per picture, (B,), and of another size as many."""
    pipe = case.seeded()
    loss = case.build(pipe)
    for count in (1, BATCH + 1):
        with torch.no_grad(), expecting(f"{case.name} of {count} pictures", "It takes a Batch of any length."):
            found = loss(case.batch(pipe, case.example(pipe, count)))
        what = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        require(
            isinstance(found, Tensor) and found.shape == (count,) and found.is_floating_point(),
            f"{case.name} gives {what} for {count} pictures",
            f"Return one value for each picture, ({count},); the engine weights them and takes the mean.",
        )
        require(
            bool(found.isfinite().all()),
            f"{case.name} is {found.tolist()} of pictures in [0, 1]",
            "Compute it from logits, and bound what is divided by.",
        )


def check_loss_of_a_picture_alone(case: LossCase) -> None:
    """A picture has the loss in a batch that it has alone."""
    pipe = case.seeded()
    loss, example = case.build(pipe), case.example(pipe, BATCH + 1)
    with torch.no_grad():
        together = loss(case.batch(pipe, example))
        for index in range(BATCH + 1):
            alone = loss(case.batch(pipe, example.one(index)))
            require(
                torch.allclose(alone, together[index : index + 1], rtol=NEAR, atol=NEAR),
                f"{case.name} of picture {index} is {alone.tolist()} alone and {together[index].tolist()} in a batch",
                "Take no mean over the batch and divide by nothing that is counted over it: how pictures are spread "
                "over batches and machines must not matter.",
            )


def check_loss_gradients(case: LossCase) -> None:
    """A finite gradient reaches the modules of the pipeline that the case names."""
    pipe = case.seeded().requires_grad_(True)
    loss = case.build(pipe)
    with torch.enable_grad(), expecting(f"the gradient of {case.name}", "Use differentiable operations alone."):
        total = loss(case.batch(pipe, case.example(pipe))).sum()
        if total.requires_grad:  # else nothing is reached, which is said below
            total.backward()
    for path in case.reaches:
        gradients = [p.grad for p in pipe.get_submodule(path).parameters() if p.grad is not None]
        require(
            any(bool(gradient.any()) for gradient in gradients),
            f"{case.name}: no gradient reaches {path}",
            "Look for .detach(), torch.no_grad() and argmax between the pipeline and the loss.",
        )
        finite = all(bool(gradient.isfinite().all()) for gradient in gradients)
        require(finite, f"{case.name}: the gradient at {path} is not finite", "Bound what is divided by.")


def check_loss_owns_its_weights(case: LossCase) -> None:
    """No parameter of the pipeline is one of the loss's."""
    pipe = case.seeded()
    own = dict(case.build(pipe).named_parameters())
    pipes = {id(parameter) for parameter in pipe.parameters()}
    shared = [name for name, parameter in own.items() if id(parameter) in pipes]
    require(
        not shared,
        f"{case.name} holds the pipeline's own {', '.join(shared[:5])}",
        "Keep no module of the pipeline as an attribute; Batch.pipe has it, and copy.deepcopy makes another.",
    )
