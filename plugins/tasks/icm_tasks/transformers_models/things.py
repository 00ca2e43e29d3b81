"""Queries of DETR and its descendants (Carion et al., ECCV 2020) made things."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from icm_core.wrap import Fitted


def kept(
    boxes: Tensor, logits: Tensor, size: tuple[int, int], least: float, most: int, single: bool
) -> dict[str, Tensor]:
    """The things of one picture, the highest score first.

    Args:
        boxes: of the queries, (Q, 4) in pixels of the picture.
        logits: log-odds of each class, (Q, K).
        size: height and width of the picture, to which boxes are cut.
        least: things of a lower score are left out.
        most: things that are kept.
        single: whether a query is one thing, as where classes share one softmax; else it may be one of each class.
    """
    odds = logits.float().sigmoid()
    if single:
        scores, labels = odds.max(-1)
        queries = torch.arange(len(scores), device=odds.device)
    else:
        scores = odds.flatten()
        numbers = torch.arange(len(scores), device=odds.device)
        queries, labels = numbers // odds.shape[1], numbers % odds.shape[1]
    rows = scores.argsort(descending=True, stable=True)[:most]
    rows = rows[scores[rows] >= least]
    limits = boxes.new_tensor([size[1], size[0], size[1], size[0]])
    found = boxes[queries[rows]].float().clamp_min(0).minimum(limits)
    return {"boxes": found, "labels": labels[rows], "scores": scores[rows]}


def as_labels(things: Mapping[str, Tensor], fitted: Fitted) -> dict[str, Tensor]:
    """A target as transformers' detectors take it: middle, width and height as shares of the input; without crowds."""
    single = torch.ones_like(things["labels"], dtype=torch.bool)
    if "iscrowd" in things:
        single = ~things["iscrowd"].bool()
    height, width = fitted.image.shape[-2:]
    boxes = fitted.placed(things["boxes"][single]) / things["boxes"].new_tensor([width, height, width, height])
    start, end = boxes[:, :2], boxes[:, 2:]
    return {"class_labels": things["labels"][single], "boxes": torch.cat([(start + end) / 2, end - start], 1)}
