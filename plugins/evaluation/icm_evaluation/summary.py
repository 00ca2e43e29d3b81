"""Rows of pictures as the points of a system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from icm_core.interfaces import TaskKind
from icm_core.kinds import mean
from icm_evaluation.figure_info import CLEAN, DROP, FigureInfo
from icm_evaluation.kinds import Kinds, figures, infos, value_of
from icm_evaluation.results import Coded, Counted, PictureRow, Point, TaskInfo, counted_bytes

Values = dict[str, float | None]


def points_of(
    rows: Sequence[PictureRow], tasks: Mapping[str, TaskInfo], counted: Counted, kinds: Kinds | None = None
) -> list[Point]:
    """One point for each quality, whatever the order of the pictures."""
    return summary_of(rows, tasks, counted, kinds)[0]


def summary_of(
    rows: Sequence[PictureRow], tasks: Mapping[str, TaskInfo], counted: Counted, kinds: Kinds | None = None
) -> tuple[list[Point], dict[str, TaskInfo]]:
    """The points, and the tasks with what their figures are.

    Args:
        rows: at least one.
        tasks: the outputs that were measured.
        counted: which bytes count.
        kinds: where their kinds are looked up.

    Raises:
        SpecError: a kind is not installed.
        InputError: a kind gives figures that results cannot hold.
    """
    kinds = kinds or Kinds()
    values: dict[str, list[Values]] = {}
    told: dict[str, TaskInfo] = {}
    for name, info in tasks.items():
        values[name], found = _values(name, info, kinds.get(info.kind), rows)
        told[name] = info.model_copy(update={"figures": found})
    points = [
        _point(rows, index, counted, {name: of_task[index] for name, of_task in values.items()})
        for index in range(len(rows[0].points))
    ]
    return points, told


def _values(
    name: str, info: TaskInfo, kind: TaskKind, rows: Sequence[PictureRow]
) -> tuple[list[Values], dict[str, FigureInfo]]:
    """A task's figures at each quality, and what they are."""
    of_point = [[row.points[index].tasks[name] for row in rows] for index in range(len(rows[0].points))]
    coded = [figures(kind, tallies, info.legend) for tallies in of_point]
    # Some figures may be there at some qualities only, such as those of classes that were found.
    names = dict.fromkeys(one for found in coded for one in found)
    about = infos({one: next(found[one] for found in coded if one in found) for one in names})
    values: list[Values] = [{one: value_of(figure) for one, figure in found.items()} for found in coded]
    main = next(iter(about), None)
    if main is not None and name in rows[0].clean:
        best = figures(kind, [row.clean[name] for row in rows], info.legend).get(main)
        clean = None if best is None else value_of(best)
        for own in values:
            own[CLEAN], own[DROP] = clean, _drop(clean, own.get(main), about[main].higher_is_better)
    return values, about


def _drop(clean: float | None, coded: float | None, higher_is_better: bool) -> float | None:
    """By how much a coded figure is worse than that of clean pictures."""
    if clean is None or coded is None:
        return None
    return clean - coded if higher_is_better else coded - clean


def _point(rows: Sequence[PictureRow], index: int, counted: Counted, tasks: Mapping[str, Values]) -> Point:
    coded = [row.points[index] for row in rows]
    return Point(
        quality=coded[0].quality,
        enhancement_quality=coded[0].enhancement_quality,
        bpp=_rate(rows, coded, True, counted),
        base_bpp=_rate(rows, coded, False, counted),
        encode_seconds=_mean([one.encode_seconds for one in coded]),
        decode_seconds=_mean([one.decode_seconds for one in coded]),
        tasks=dict(tasks),
    )


def _rate(rows: Sequence[PictureRow], coded: Sequence[Coded], whole: bool, counted: Counted) -> float:
    """Mean over pictures of bits per pixel."""
    each = zip(rows, coded, strict=True)
    return _mean([8 * counted_bytes(one, whole, counted) / (row.width * row.height) for row, one in each])


def _mean(values: Sequence[float]) -> float:
    found = mean(values)
    assert found is not None  # none of the values is None
    return found
