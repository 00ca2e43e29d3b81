"""A detector's proposals: compared with the truth, with those of the clean picture, and thinned out."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

import torch
from torch import Tensor
from torch.nn import functional as F

from icm_tasks.onnx_files.layouts import Candidates

_MATCHED = 10  # YOLOX takes as many proposals for a thing as the overlaps of its ten nearest add up to
_LARGEST = 1e5
_CANDIDATES = 3000
_WEIGHT_OF_BOXES = 2.0


def loss(found: Candidates, target: tuple[Mapping[str, Tensor], ...]) -> Tensor:
    """Loss of each picture, (B,): quality focal loss of classes, and generalised IoU of the boxes that have a thing.

    The likelihood of a class is trained towards how far the proposal's box overlaps its thing (Li et al., Generalized
    Focal Loss, NeurIPS 2020). Which proposals have a thing, their cost decides, and how many, their overlaps, as in
    YOLOX's SimOTA (Ge et al., 2021), but anywhere in the picture, since proposals need not belong to cells.
    """
    boxes, logits = _bounded(found)
    pairs = zip(boxes, logits, target, strict=True)
    return torch.stack([_loss(Candidates(one, its_logits), truth) for one, its_logits, truth in pairs])


def _loss(found: Candidates, target: Mapping[str, Tensor]) -> Tensor:
    boxes, logits = found
    single = ~target["iscrowd"].bool() if "iscrowd" in target else torch.ones_like(target["labels"], dtype=torch.bool)
    things, labels = target["boxes"][single], target["labels"][single]
    owner, overlap = assign(Candidates(boxes.detach(), logits.detach()), things, labels)
    there = owner >= 0
    truth = torch.zeros_like(logits)
    truth[there.nonzero()[:, 0], labels[owner[there]]] = overlap[there]
    counted = torch.ones_like(there)
    if not bool(single.all()):  # what is found inside of a crowd is neither right nor wrong
        inside = _share_inside(boxes.detach(), target["boxes"][~single])
        counted = there | (inside < 0.5)
    likelihood = logits.sigmoid()
    focal = (truth - likelihood).abs().square()
    classes = F.binary_cross_entropy_with_logits(logits, truth, reduction="none") * focal
    of_boxes = _ops().generalized_box_iou_loss(boxes[there], things[owner[there]], reduction="sum")
    total: Tensor = (classes * counted[:, None]).sum() + _WEIGHT_OF_BOXES * of_boxes
    return total / there.sum().clamp_min(1)


def assign(found: Candidates, things: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Which thing each proposal of a picture has to find.

    Args:
        found: boxes (N, 4) and logits (N, K) of one picture.
        things: boxes (M, 4).
        labels: their classes (M,).

    Returns:
        Numbers of the things, (N,) int64, -1 for none; and how far each proposal's box overlaps its thing, (N,).
    """
    boxes, logits = found
    count = len(boxes)
    owner = torch.full((count,), -1, dtype=torch.int64, device=boxes.device)
    if not len(things) or not count:
        return owner, torch.zeros(count, device=boxes.device)
    overlaps = _ops().box_iou(things, boxes)
    cost = -F.logsigmoid(logits)[:, labels].T - 3 * overlaps.clamp_min(1e-8).log()
    if len(things) > count:
        raise ValueError(f"{len(things)} things for {count} proposals; no network of so few can find them")
    shares = overlaps.topk(min(_MATCHED, count), dim=1).values.sum(1).int().clamp_min(1)
    best = torch.full((count,), torch.inf, device=boxes.device)
    for number in range(len(things)):
        chosen = cost[number].topk(int(shares[number]), largest=False).indices
        nearer = chosen[cost[number, chosen] < best[chosen]]
        owner[nearer], best[nearer] = number, cost[number, nearer]
    there = owner >= 0
    overlap = torch.zeros(count, device=boxes.device)
    overlap[there] = overlaps[owner[there], there.nonzero()[:, 0]]
    return owner, overlap


def divergence(found: Candidates, reference: Candidates) -> Tensor:
    """How far proposals are from those of the clean picture, (B,), proposal by proposal.

    Kullback-Leibler divergence of classes, in nats, and generalised IoU loss of boxes, weighted with how likely the
    clean picture's are; per thing that the clean picture has.
    """
    (boxes, logits), (true_boxes, true_logits) = _bounded(found), _bounded(reference)
    true = true_logits.sigmoid()
    cross = F.binary_cross_entropy_with_logits(logits, true, reduction="none")
    own = F.binary_cross_entropy_with_logits(true_logits, true, reduction="none")
    likely = true.amax(-1)
    apart = _ops().generalized_box_iou_loss(boxes, true_boxes, reduction="none")
    total: Tensor = (cross - own).sum((1, 2)) + _WEIGHT_OF_BOXES * (likely * apart).sum(1)
    return total / likely.sum(1).clamp_min(1)


def thinned(
    boxes: Tensor, logits: Tensor, size: tuple[int, int], least: float, overlap: float | None, most: int
) -> dict[str, Tensor]:
    """The boxes of one picture that are kept, the highest score first: each with its likeliest class.

    Args:
        boxes: (N, 4) in pixels.
        logits: (N, K).
        size: height and width of the picture; boxes are cut to it.
        least: boxes of a lower score are left out.
        overlap: of boxes of a class that overlap by a larger IoU the likeliest is kept; None: all.
        most: boxes that are kept.
    """
    scores, labels = logits.float().sigmoid().max(-1)
    boxes = _ops().clip_boxes_to_image(boxes.float().nan_to_num(), size)
    kept = ((scores >= least) & (boxes[:, 2:] > boxes[:, :2]).all(1)).nonzero()[:, 0]
    kept = kept[scores[kept].argsort(descending=True, stable=True)][:_CANDIDATES]
    if overlap is not None:
        kept = kept[_ops().batched_nms(boxes[kept], scores[kept], labels[kept], overlap)]
    kept = kept[:most]
    return {"boxes": boxes[kept], "labels": labels[kept], "scores": scores[kept]}


def _bounded(found: Candidates) -> Candidates:
    """Proposals whose numbers are finite, and whose boxes have an area."""
    boxes = found.boxes.float().nan_to_num().clamp(-_LARGEST, _LARGEST)
    start, end = boxes[..., :2], boxes[..., 2:]
    boxes = torch.cat([start, torch.maximum(end, start + 1e-3)], -1)
    return Candidates(boxes, found.logits.float().nan_to_num().clamp(-80, 80))


def _share_inside(boxes: Tensor, crowds: Tensor) -> Tensor:
    """The largest share of each box's area that is inside of one crowd, (N,)."""
    start = torch.maximum(boxes[:, None, :2], crowds[None, :, :2])
    end = torch.minimum(boxes[:, None, 2:], crowds[None, :, 2:])
    inside = (end - start).clamp_min(0).prod(-1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(-1).clamp_min(1e-6)
    return (inside / area[:, None]).amax(1)


def _ops() -> ModuleType:
    from torchvision import ops  # slow to import

    found: ModuleType = ops
    return found
