"""COCO's average precision from tallies: pictures are matched once, then accumulated for any draw of them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from icm_core.errors import InputError
from icm_core.interfaces import Drawn, Figure, Tally, Weights

Measure = Literal["bbox", "segm", "keypoints"]
"""What makes an answer a match: IoU of boxes, IoU of masks, or similarity of keypoints (OKS)."""

MOST: dict[str, int] = {"bbox": 100, "segm": 100, "keypoints": 20}
"""Answers of a class that count in a picture, as in COCO."""

_THRESHOLDS = {"ap": slice(None), "ap50": slice(0, 1), "ap75": slice(5, 6)}
_AT_ONCE = 2_000_000
_RECALLS = np.linspace(0.0, 1.0, 101)
_AREAS = [0.0, 1e10]


@dataclass(frozen=True)
class Matched:
    """Answers of one class in all pictures, the highest score first, and what they were matched with.

    Attributes:
        picture: which of P pictures each of N answers is of, (N,).
        hits: at each of COCO's ten thresholds, whether it found a thing, (10, N); misses likewise. An answer that fell
            on a crowd region is neither.
        misses: see above.
        things: how many there were to find in each picture, (P,).
    """

    picture: NDArray[np.int64]
    hits: NDArray[np.bool_]
    misses: NDArray[np.bool_]
    things: NDArray[np.int64]

    def precision(self, weights: Weights) -> NDArray[np.float64]:
        """Mean precision at 101 recalls, by threshold, (D, 10); NaN where there is nothing to find.

        The same as ``COCOeval.accumulate`` does with each picture standing ``weights`` times in the list. Between hits
        precision only falls and recall stands still, so that hits alone matter; and copies of an answer follow
        each other in the order of scores, so that the last one stands for all. (Of equal scores in one picture and
        class copies stay together here, there the picture does.)

        Args:
            weights: (D, P).
        """
        found = weights @ self.things
        times = weights[:, self.picture]
        ranks = np.cumsum(times, axis=1)
        means = np.zeros((len(weights), len(self.hits)))
        for row, (hits, misses) in enumerate(zip(self.hits, self.misses, strict=True)):
            places = np.flatnonzero(hits)
            right = np.cumsum(times[:, places], axis=1)
            counted = hits | misses
            said = ranks if counted.all() else np.cumsum(times * counted, axis=1)
            best = right / (said[:, places] + np.spacing(1))
            best = np.maximum.accumulate(best[:, ::-1], axis=1)[:, ::-1]
            with np.errstate(divide="ignore", invalid="ignore"):
                recalls = right / found[:, None]
            reached = np.searchsorted(_RECALLS, recalls, side="right")
            means[:, row] = (best * np.diff(reached, axis=1, prepend=0)).sum(1) / len(_RECALLS)
        means[found == 0] = np.nan
        return means


def match(tallies: Sequence[Tally], measure: Measure, sigmas: Sequence[float] = ()) -> list[Matched]:
    """Match the answers of all pictures with what there is, class by class; classes without truth do not count.

    Args:
        tallies: one for each picture, with ``found`` and ``truth``; see `icm_tasks.kinds.things`.
        measure: what makes a match.
        sigmas: of keypoints, one for each.

    Raises:
        InputError: the package pycocotools is not installed.
    """
    classes = sorted({label for tally in tallies for label in _columns(tally, "truth")["labels"]})
    if not classes:
        return []
    evaluation = _evaluated(tallies, measure, classes, sigmas)
    pictures = len(tallies)
    return [
        _of_class(evaluation.evalImgs[row * pictures : (row + 1) * pictures], pictures) for row in range(len(classes))
    ]


def average_precision(matched: Sequence[Matched], weights: Weights) -> Drawn:
    """AP in percent, over ten thresholds, at 0.5 and at 0.75, for draws of pictures.

    Args:
        matched: what `match` gave.
        weights: (D, P).

    Returns:
        ``ap``, ``ap50``, ``ap75``: (D,) each; NaN where there is nothing to find.
    """
    found = {name: np.full(len(weights), np.nan) for name in _THRESHOLDS}
    if not matched:
        return found
    step = max(1, _AT_ONCE // max(1, *(len(one.picture) for one in matched)))
    for start in range(0, len(weights), step):
        drawn = slice(start, start + step)
        means = np.array([one.precision(weights[drawn]) for one in matched])
        known = np.isfinite(means).all(2)
        for name, thresholds in _THRESHOLDS.items():
            each = np.where(known, means[..., thresholds].mean(2), 0)
            with np.errstate(invalid="ignore"):
                found[name][drawn] = 100 * each.sum(0) / known.sum(0)
    return found


def figures(matched: Sequence[Matched], pictures: int, of: str) -> dict[str, Figure]:
    """AP, AP50 and AP75 in percent; None where there is nothing to find.

    Args:
        matched: what `match` gave.
        pictures: how many there are.
        of: what was matched, for titles.
    """
    found = average_precision(matched, np.ones((1, pictures)))
    titles = {"ap": f"AP ({of})", "ap50": f"AP50 ({of})", "ap75": f"AP75 ({of})"}
    return {
        name: Figure(None if np.isnan(value[0]) else float(value[0]), "%", titles[name])
        for name, value in found.items()
    }


def run_lengths(masks: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Masks (N, H, W) as COCO's run lengths: ``size`` [H, W] and ``counts``, a string.

    Raises:
        InputError: the package pycocotools is not installed.
    """
    _, _, mask = _tools()
    encoded = mask.encode(np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8))) if len(masks) else []
    return [{"size": [*map(int, one["size"])], "counts": one["counts"].decode("ascii")} for one in encoded]


def _tools() -> tuple[Any, Any, Any]:
    """``COCO``, ``COCOeval`` and the module ``mask`` of pycocotools."""
    try:
        from pycocotools import mask
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise InputError(
            "COCO's average precision needs the package pycocotools, which is not installed; install it with: "
            "pip install 'icm-framework[evaluate]'"
        ) from error
    return COCO, COCOeval, mask


def _columns(tally: Tally, part: str) -> dict[str, list[Any]]:
    return tally[part]  # type: ignore[return-value]


def _evaluated(tallies: Sequence[Tally], measure: Measure, classes: list[int], sigmas: Sequence[float]) -> Any:
    """A ``COCOeval`` after ``evaluate``."""
    coco, evaluation, _ = _tools()
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        sides = []
        for part in ("truth", "found"):
            side = coco()
            side.dataset = {
                "info": {},
                "images": [_image(number, tally) for number, tally in enumerate(tallies)],
                "categories": [{"id": label} for label in classes],
                "annotations": _annotations(tallies, part),
            }
            side.createIndex()
            sides.append(side)
        found = evaluation(*sides, measure)
        found.params.maxDets = [MOST[measure]]
        found.params.areaRng, found.params.areaRngLbl = [_AREAS], ["all"]
        if measure == "keypoints":
            found.params.kpt_oks_sigmas = np.array(sigmas)
        found.evaluate()
    return found


def _image(number: int, tally: Tally) -> dict[str, Any]:
    """A picture as COCO lists it; sizes matter for masks alone."""
    size: Any = tally.get("size", (0, 0))
    height, width = size
    return {"id": number, "height": height, "width": width}


def _annotations(tallies: Sequence[Tally], part: str) -> list[dict[str, Any]]:
    """The things of one side as COCO writes them; their numbers count from 1, since 0 stands for no match.

    Areas matter to keypoints alone: things of all sizes count.
    """
    found: list[dict[str, Any]] = []
    for number, tally in enumerate(tallies):
        columns = _columns(tally, part)
        for row, (label, (x0, y0, x1, y1)) in enumerate(zip(columns["labels"], columns["boxes"], strict=True)):
            one: dict[str, Any] = {
                "id": len(found) + 1,
                "image_id": number,
                "category_id": label,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": (x1 - x0) * (y1 - y0),
                "iscrowd": 0,
            }
            if part == "truth":
                one["iscrowd"] = columns["iscrowd"][row]
            else:
                one["score"] = columns["scores"][row]
            if "masks" in columns:
                one["segmentation"] = columns["masks"][row]
            if "keypoints" in columns:
                points = columns["keypoints"][row]
                one["keypoints"] = [value for point in points for value in point]
                one["num_keypoints"] = sum(visibility > 0 for _, _, visibility in points)
            if "area" in columns:
                one["area"] = columns["area"][row]
            found.append(one)
    return found


def _of_class(entries: Sequence[dict[str, Any] | None], pictures: int) -> Matched:
    """What ``COCOeval.evaluate`` found for one class, an entry a picture, as arrays."""
    known = [(number, entry) for number, entry in enumerate(entries) if entry is not None]
    things = np.zeros(pictures, dtype=np.int64)
    for number, entry in known:
        things[number] = np.count_nonzero(np.asarray(entry["gtIgnore"]) == 0)
    scores = np.concatenate([np.asarray(entry["dtScores"], dtype=np.float64) for _, entry in known])
    # Stable, as COCO's own: of equal scores those of the earlier picture come first.
    order = np.argsort(-scores, kind="mergesort")
    picture = np.concatenate([np.full(len(entry["dtScores"]), number) for number, entry in known])[order]
    matched = np.concatenate([entry["dtMatches"] for _, entry in known], axis=1)[:, order] > 0
    counted = ~np.concatenate([entry["dtIgnore"] for _, entry in known], axis=1)[:, order].astype(bool)
    # Things of all sizes count, so that only an answer that was matched, with a crowd, may not count.
    return Matched(picture, matched & counted, ~matched, things)
