"""Rows of pictures as the points of a system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from icm_evaluation.results import Coded, Counted, PictureRow, Point, TaskInfo, counted_bytes
from icm_evaluation.tally import figures, mean


def points_of(rows: Sequence[PictureRow], tasks: Mapping[str, TaskInfo], counted: Counted) -> list[Point]:
    """One point for each quality, whatever the order of the pictures."""
    return [_point(rows, index, tasks, counted) for index in range(len(rows[0].points))]


def main_figure(found: Mapping[str, float | None]) -> str:
    """The figure that clean and drop are about: the first."""
    return next(iter(found))


def _point(rows: Sequence[PictureRow], index: int, tasks: Mapping[str, TaskInfo], counted: Counted) -> Point:
    coded = [row.points[index] for row in rows]
    return Point(
        quality=coded[0].quality,
        bpp=_rate(rows, coded, True, counted),
        base_bpp=_rate(rows, coded, False, counted),
        encode_seconds=_mean([one.encode_seconds for one in coded]),
        decode_seconds=_mean([one.decode_seconds for one in coded]),
        tasks={name: _figures(name, info, rows, coded) for name, info in tasks.items()},
    )


def _figures(name: str, info: TaskInfo, rows: Sequence[PictureRow], coded: Sequence[Coded]) -> dict[str, float | None]:
    found = figures(info.kind, [one.tasks[name] for one in coded])
    if name in rows[0].clean:
        clean = figures(info.kind, [row.clean[name] for row in rows])
        main = main_figure(found)
        best, got = clean[main], found[main]
        found["clean"] = best
        found["drop"] = best - got if best is not None and got is not None else None
    return found


def _rate(rows: Sequence[PictureRow], coded: Sequence[Coded], whole: bool, counted: Counted) -> float:
    """Mean over pictures of bits per pixel."""
    each = zip(rows, coded, strict=True)
    return _mean([8 * counted_bytes(one, whole, counted) / (row.width * row.height) for row, one in each])


def _mean(values: Sequence[float]) -> float:
    found = mean(values)
    assert found is not None  # none of the values is None
    return found
