"""Whether the figures of a result are those of its own pictures, and whether two systems are one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from icm_core.errors import InputError, SpecError
from icm_core.pipeline.pipeline import Pipeline
from icm_evaluation.kinds import Kinds
from icm_evaluation.options import Options
from icm_evaluation.results import Coded, PictureRow, Point, Result, read_result
from icm_evaluation.summary import points_of

_NEAR = 1e-4
"""Share by which a figure may lie beside what its pictures give: other machines and versions round otherwise."""

_RATES = ("bpp", "base_bpp", "encode_seconds", "decode_seconds")

Shown = tuple[int, dict[str, object]]
"""Bytes of the codec and what the answers were."""


def read_agreeing(path: Path, kinds: Kinds) -> Result:
    """A result from its file, like `read_result`, whose figures and sizes are those of its pictures.

    Args:
        path: the file.
        kinds: where the kinds of its answers are looked up; figures of one that is not installed stay unchecked.

    Raises:
        InputError: the file cannot be read, or one of its figures was changed after it was measured.
    """
    result = read_result(path)
    _check_data(path, result)
    known = {name: info for name, info in result.tasks.items() if _installed(info.kind, kinds)}
    try:
        made = points_of(result.pictures, known, result.counted, kinds)
    except (InputError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        # A kind counts on what its own tally has; of an edited one it may raise anything of these.
        raise InputError(f"{path}: no figures can be made of what it keeps of its pictures: {error}") from error
    for stated, right in zip(result.points, made, strict=True):
        for what, value, given in _values(stated, right):
            if not _near(value, given):
                raise InputError(
                    f"{path}: its point at quality {stated.shown} says {what} {_said(value)}, and its own pictures "
                    f"give {_said(given)}; it was changed after it was measured: measure it again with `icm evaluate`"
                )
    return result


def check_asked(path: Path, result: Result, options: Options) -> None:
    """Raise `InputError` if a result that lies there was measured on other pictures than are asked for."""
    data = result.data
    wanted = min(options.limit or data.of, data.of)
    for what, has, asked in (
        ("split", data.split, options.split),
        ("parameters", data.params, options.data_params()),
        ("pictures", data.pictures, wanted),
    ):
        if has != asked:
            raise InputError(
                f"{path} has {what} {has}, and {asked} should be measured; remove the file, or give another folder "
                "with -o"
            )


def same_system(one: Result, other: Result) -> bool:
    """Whether two results are of the same pipeline, whatever it is called.

    They are if spec, weights and way of encoding are the same, or if every picture that both were measured on has as
    many bytes and the same answers at every quality that both have.
    """
    if _called(one) != _called(other):
        return False
    if one.weights == other.weights:
        return True
    mine, others = _by_picture(one), _by_picture(other)
    common = mine.keys() & others.keys()
    return bool(common) and one.tasks.keys() == other.tasks.keys() and all(mine[key] == others[key] for key in common)


def same_pipeline(one: Pipeline, other: Pipeline) -> bool:
    """Whether two pipelines are made of the same components with the same weights, whatever they are called."""
    if _components(one) != _components(other):
        return False
    mine, others = one.state_dict(), other.state_dict()
    return mine.keys() == others.keys() and all(torch.equal(mine[name], others[name]) for name in mine)


def _components(pipe: Pipeline) -> dict[str, object]:
    """The spec without names, words and files."""
    spec = pipe.spec.to_json()
    for task in spec["tasks"].values():
        task.pop("trained_on", None)
    return {part: spec.get(part) for part in ("codec", "tasks", "enhancement")}


def _called(result: Result) -> tuple[str, Sequence[str]]:
    """How it encodes: what stands behind the name of the pipeline, and the tasks that were searched for."""
    return result.system.removeprefix(result.model), result.searched


def _by_picture(result: Result) -> dict[tuple[object, ...], Shown]:
    return {(row.key, row.width, row.height, coded.setting): _shown(coded) for row, coded in _coded(result.pictures)}


def _coded(rows: Sequence[PictureRow]) -> Iterator[tuple[PictureRow, Coded]]:
    return ((row, coded) for row in rows for coded in row.points)


def _shown(coded: Coded) -> Shown:
    return coded.payload_bytes, dict(coded.tasks)


def _check_data(path: Path, result: Result) -> None:
    """What is said of the pictures is what they are: figures of the paper are told apart by their sizes."""
    data, rows = result.data, result.pictures
    if data.pictures != len(rows):
        raise InputError(f"{path}: it says that it has {data.pictures} pictures, and has {len(rows)}")
    sizes: dict[str, int] = {}
    for row in rows:
        size = f"{row.width}x{row.height}"
        sizes[size] = sizes.get(size, 0) + 1
    if data.sizes != sizes:
        raise InputError(f"{path}: it says that its pictures are {_sizes(data.sizes)}, and they are {_sizes(sizes)}")


def _sizes(sizes: dict[str, int]) -> str:
    return ", ".join(f"{count} of {size}" for size, count in sorted(sizes.items())) or "none"


def _installed(kind: str, kinds: Kinds) -> bool:
    try:
        kinds.get(kind)
    except SpecError:
        return False
    return True


def _values(stated: Point, right: Point) -> Iterator[tuple[str, float | None, float | None]]:
    """Every number of a point with its name and what it should be; those that are not made any more are left out."""
    for name in _RATES:
        yield name, getattr(stated, name), getattr(right, name)
    for task, found in right.tasks.items():
        for name in found.keys() & stated.tasks[task].keys():
            yield f"{task} {name}", stated.tasks[task][name], found[name]


def _near(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=_NEAR, abs_tol=_NEAR)


def _said(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.6g}"
