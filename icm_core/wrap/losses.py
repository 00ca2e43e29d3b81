"""Losses that suit every network of a kind: one value for each picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from icm_core.errors import InputError

LINEAR_BELOW = 0.01
"""Share of the mean true distance below which the logarithm of a distance goes on as a straight line."""

_VARIANCE = 0.5


def classification(output: Tensor, target: Tensor, ignore: int) -> Tensor:
    """Cross-entropy of each picture in nats, (B,); of logits (B, K) and classes (B,)."""
    del ignore
    _check_classes(target, output.shape[1])
    return F.cross_entropy(output, target, reduction="none")


def segmentation(output: Tensor, target: Tensor, ignore: int) -> Tensor:
    """Mean cross-entropy in nats over the pixels of each picture that count, (B,); 0 where none does.

    Of logits (B, K, H, W) and classes (B, H, W), int64, of which `ignore` counts nowhere.
    """
    counted = target != ignore
    _check_classes(target[counted], output.shape[1])
    each = F.cross_entropy(output, target, ignore_index=ignore, reduction="none").flatten(1).sum(1)
    return each / counted.flatten(1).sum(1).clamp_min(1)


def regression(output: Tensor, target: Tensor, ignore: int) -> Tensor:
    """Mean squared error of each picture, (B,); of values (B, K)."""
    del ignore
    return (output - target).square().mean(1)


def reconstruction(output: Tensor, target: Tensor, ignore: int) -> Tensor:
    """Mean squared error of each picture, (B,); of pictures (B, 3, H, W) in [0, 1]."""
    del ignore
    return (output - target).square().flatten(1).mean(1)


def depth(output: Tensor, target: Tensor, ignore: int) -> Tensor:
    """Scale-invariant error of logarithms, (B,), over the pixels that have a distance; 0 where none has.

    With g = log d - log t it is mean(g^2) - mean(g)^2 / 2 (Eigen, Puhrsch & Fergus, NeurIPS 2014, Eq. 4, lambda 1/2).
    Networks may say 0 or less: there the logarithm goes on as a straight line, so that a gradient leads back.

    Args:
        output: distances (B, 1, H, W).
        target: distances (B, H, W), NaN where there is none.
        ignore: not looked at.
    """
    del ignore
    known = ~target.isnan()
    count = known.flatten(1).sum(1).clamp_min(1)
    true = torch.where(known, target, 1.0)
    least = LINEAR_BELOW * (true * known).flatten(1).sum(1) / count
    least = torch.where(least > 0, least, LINEAR_BELOW).view(-1, 1, 1)
    found = output[:, 0]
    logarithm = found.clamp_min(least).log() + (found - least).clamp_max(0) / least
    errors = (logarithm - true.log()) * known
    return errors.square().flatten(1).sum(1) / count - _VARIANCE * (errors.flatten(1).sum(1) / count).square()


LOSSES: Mapping[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "classification": classification,
    "segmentation": segmentation,
    "regression": regression,
    "reconstruction": reconstruction,
    "depth": depth,
}
"""By the name of a kind: output, batch of targets and the ignored class to (B,)."""


def _check_classes(target: Tensor, count: int) -> None:
    # PyTorch finds it too, in words that name neither, and on a GPU by ending the process.
    if target.device.type == "meta" or not target.numel():
        return
    low, high = int(target.min()), int(target.max())
    if low < 0 or high >= count:
        raise InputError(
            f"a target has the class {low if low < 0 else high}, and the network tells {count}, from 0; a value that "
            "counts nowhere is the head's ignore_index"
        )
