"""Rows of pictures as the points of a system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from icm_evaluation.results import Coded, PictureRow, Point, TaskInfo
from icm_evaluation.tally import figures, mean


def points_of(rows: Sequence[PictureRow], tasks: Mapping[str, TaskInfo]) -> list[Point]:
    """One point for each quality, whatever the order of the pictures."""
    return [_point(rows, index, tasks) for index in range(len(rows[0].points))]


def main_figure(found: Mapping[str, float | None]) -> str:
    """The figure that clean and drop are about: the first."""
    return next(iter(found))


def _point(rows: Sequence[PictureRow], index: int, tasks: Mapping[str, TaskInfo]) -> Point:
    coded = [row.points[index] for row in rows]
    return Point(
        quality=coded[0].quality,
        bpp=_rate(rows, coded, "bytes"),
        base_bpp=_rate(rows, coded, "base_bytes"),
        payload_bpp=_rate(rows, coded, "payload_bytes"),
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


def _rate(rows: Sequence[PictureRow], coded: Sequence[Coded], field: str) -> float:
    """Mean over pictures of bits per pixel."""
    return _mean([8 * getattr(one, field) / (row.width * row.height) for row, one in zip(rows, coded, strict=True)])


def _mean(values: Sequence[float]) -> float:
    found = mean(values)
    assert found is not None  # none of the values is None
    return found
