"""Results of one data set over the pictures that they have in common, so that they can stand in one plot."""

from __future__ import annotations

import json
from collections.abc import Sequence

from icm_core.errors import IcmError
from icm_evaluation.kinds import Kinds
from icm_evaluation.results import PictureRow, Result, describe_data
from icm_evaluation.summary import summary_of

Picture = tuple[str, int, int]
"""Its name, width and height."""


def by_pictures(results: Sequence[Result], kinds: Kinds | None = None) -> dict[str, list[Result]]:
    """Results by their data set, those of one reduced to the pictures that all of them have.

    Where they have none in common, or the kind of an answer is not installed, which makes figures of fewer pictures,
    results stay as they are, those of the same pictures together.

    Args:
        results: of any data.
        kinds: where the kinds of their answers are looked up.
    """
    sets: dict[str, list[Result]] = {}
    for result in results:
        data = result.data
        size = next(iter(data.sizes)) if len(data.sizes) == 1 else ""
        sets.setdefault(json.dumps([data.name, data.split, data.params, size], sort_keys=True), []).append(result)
    groups: dict[str, list[Result]] = {}
    for some in sets.values():
        for result in in_common(some, kinds) or some:
            groups.setdefault(describe_data(result), []).append(result)
    return groups


def in_common(results: Sequence[Result], kinds: Kinds | None = None) -> list[Result]:
    """Results of one data set over the pictures that all of them have; empty if that cannot be.

    Args:
        results: at least one.
        kinds: where the kinds of their answers are looked up.
    """
    shared = set.intersection(*({_picture(row) for row in result.pictures} for result in results))
    if not shared:
        return []
    kinds = kinds or Kinds()
    try:
        return [_over(result, shared, kinds) for result in results]
    except IcmError:
        return []


def _over(result: Result, pictures: set[Picture], kinds: Kinds) -> Result:
    rows = [row for row in result.pictures if _picture(row) in pictures]
    if len(rows) == len(result.pictures):
        return result
    points, tasks = summary_of(rows, result.tasks, result.counted, kinds)
    sizes: dict[str, int] = {}
    for row in rows:
        size = f"{row.width}x{row.height}"
        sizes[size] = sizes.get(size, 0) + 1
    data = result.data.model_copy(update={"pictures": len(rows), "sizes": dict(sorted(sizes.items()))})
    return result.model_copy(update={"data": data, "points": points, "tasks": tasks, "pictures": rows})


def _picture(row: PictureRow) -> Picture:
    return row.key, row.width, row.height
