"""What targets and answers with lines in them have to look like."""

from __future__ import annotations

import torch
from torch import Tensor

from icm_core.interfaces import Nest
from icm_core.nests import shown


def check_lines(found: Nest, names: tuple[str, ...], classes: int) -> None:
    """Raise `ValueError` with a clause unless something is a dict of lines.

    Args:
        found: a target, or what a head says of a picture.
        names: what it has to have.
        classes: how many there are; 0 where that is not known.
    """
    if not isinstance(found, dict) or set(found) != set(names):
        is_now = f"a dict with {', '.join(map(str, found))}" if isinstance(found, dict) else shown(found)
        raise ValueError(f"is {is_now}; it should be a dict with {', '.join(names)}")
    points, lines, labels = found["points"], found["lines"], found["labels"]
    if not (isinstance(points, Tensor) and points.is_floating_point() and points.shape[1:] == (2,)):
        raise ValueError(f"has points that are {shown(points)}; they should be (M, 2) float32")
    if not bool(points.isfinite().all()):
        raise ValueError("has a point that is not finite")
    for name, value, count in (("lines", lines, len(points)), ("labels", labels, None)):
        if not (isinstance(value, Tensor) and value.dtype == torch.int64 and value.dim() == 1):
            raise ValueError(f"has {name} that are {shown(value)}; they should be int64 of one dimension")
        if count is not None and len(value) != count:
            raise ValueError(f"has {len(value)} {name} for {count} points")
    rising = len(lines) == 0 or (int(lines[0]) == 0 and bool(((lines.diff() == 0) | (lines.diff() == 1)).all()))
    sizes = lines.bincount(minlength=len(labels)) if rising else lines
    if not rising or len(sizes) != len(labels) or bool((sizes < 2).any()):
        raise ValueError(
            f"has points of the lines {lines.unique().tolist()} and {len(labels)} labels; points stand line after "
            "line, lines are numbered from 0, and each has a label and two points or more"
        )
    if len(labels) and (int(labels.min()) < 0 or (classes and int(labels.max()) >= classes)):
        raise ValueError(f"has a line of the class {int(labels.max())}, and there are {classes} labels")
    if "scores" in names:
        scores = found["scores"]
        if not (isinstance(scores, Tensor) and scores.is_floating_point() and scores.shape == labels.shape):
            raise ValueError(f"has scores that are {shown(scores)}; there should be one for each line")
        if not bool(((scores >= 0) & (scores <= 1)).all()):
            raise ValueError("has a score that is not between 0 and 1")
