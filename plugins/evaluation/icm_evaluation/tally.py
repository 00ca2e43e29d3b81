"""One output against what is true of its picture, and many of these as the figures of a system.

What is kept for a picture can be added up: confusion matrices as counts, hits, PSNR. So the figures of a data set do
not depend on the order of its pictures or on who measured which.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassJaccardIndex
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_confusion_matrix
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure, peak_signal_noise_ratio

from icm_core.errors import InputError
from icm_evaluation.results import Tally

TOP = 5
MIN_SIDE = 176
"""Five scales of an 11-tap window do not fit into fewer pixels."""


def tally_classes(output: Tensor, target: Tensor) -> Tally:
    """Logits (1, K) against a class, () int64; `InputError` if there is no such class."""
    classes = output.shape[1]
    _check(target, classes)
    hits = [
        bool(multiclass_accuracy(output, target.view(1), classes, top_k=count, average="micro") == 1)
        for count in (1, TOP)
        if count < classes
    ]
    return Tally(top1=hits[0], top5=hits[1] if len(hits) > 1 else None)


def tally_map(output: Tensor, target: Tensor, ignore: int) -> Tally:
    """Logits (1, K, H, W) against a class map (H, W) int64; pixels of value `ignore`, which is no class, do not count.

    Raises:
        InputError: the map holds a class that the head does not have.
    """
    _check(target[target != ignore], output.shape[1])
    counts = multiclass_confusion_matrix(output.argmax(1), target.unsqueeze(0), output.shape[1], ignore_index=ignore)
    return Tally(confusion=counts.flatten().tolist())


def tally_picture(output: Tensor, picture: Tensor) -> Tally:
    """A decoded picture (1, 3, H, W) in [0, 1], rounded to 8 bits as it would be shown, against (3, H, W) uint8."""
    shown = output.clamp(0, 1).mul(255).round().double()
    true = picture.unsqueeze(0).double()
    psnr = float(peak_signal_noise_ratio(shown, true, data_range=255.0))
    similarity = None
    if min(picture.shape[-2:]) >= MIN_SIDE:
        similarity = float(
            multiscale_structural_similarity_index_measure(shown.float(), true.float(), data_range=255.0)
        )
    return Tally(psnr=psnr if math.isfinite(psnr) else None, ms_ssim=similarity)


def figures(kind: Kind, tallies: Sequence[Tally]) -> dict[str, float | None]:
    """The figures of one output over pictures.

    Args:
        kind: what the output is.
        tallies: one for each picture, at least one.

    Returns:
        Segmentation: ``miou`` in percent over the classes that occur, None if no pixel counts. Classification:
        ``top1`` and, from 6 classes on, ``top5``, in percent. Pictures: ``psnr`` in dB, None if a picture is equal to
        its original, and ``ms_ssim``, None if a picture is too small for it.
    """
    if kind == "segmentation":
        counts = torch.tensor([tally.confusion for tally in tallies], dtype=torch.int64).sum(0)
        classes = math.isqrt(counts.numel())
        return {"miou": mean_iou(counts.view(classes, classes))}
    if kind == "classification":
        found: dict[str, float | None] = {"top1": _percent([tally.top1 for tally in tallies])}
        if tallies[0].top5 is not None:
            found["top5"] = _percent([tally.top5 for tally in tallies])
        return found
    return {
        "psnr": mean([tally.psnr for tally in tallies]),
        "ms_ssim": mean([tally.ms_ssim for tally in tallies]),
    }


def mean_iou(counts: Tensor) -> float | None:
    """Mean intersection over union, in percent, of the classes that occur in a (K, K) confusion matrix."""
    if not int(counts.sum()):
        return None
    metric = MulticlassJaccardIndex(counts.shape[0])
    metric.merge_state({"confmat": counts})
    return 100 * float(metric.compute())


def mean(values: Sequence[float | None]) -> float | None:
    """The mean, None if a value is None; exact, so that it does not depend on the order."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if len(known) == len(values) else None


def _check(target: Tensor, classes: int) -> None:
    if target.numel() and not 0 <= int(target.min()) <= int(target.max()) < classes:
        wrong = int(target.min()) if int(target.min()) < 0 else int(target.max())
        raise InputError(f"a target holds the class {wrong}; the head has the classes 0 to {classes - 1}")


def _percent(hits: Sequence[bool | None]) -> float:
    return 100 * sum(map(bool, hits)) / len(hits)
