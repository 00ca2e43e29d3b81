"""The JSON that ``icm evaluate`` writes and everything else reads, whether the kinds in it are installed or not.

Rates are in bits per pixel of the original picture; figures describe themselves.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from icm_core.errors import InputError, SpecError
from icm_core.files import write_atomically
from icm_core.interfaces import Tally
from icm_core.types import Legend
from icm_core.validation.messages import explain
from icm_core.validation.strict_json import read_json
from icm_evaluation.figure_info import CLEAN, DROP, FigureInfo, earlier_figures

SEARCHED = "+search"
"""Between a pipeline's name, which has no such sign, and the steps of its search."""

FIXED_BASE, FIXED_ENHANCEMENT = "+base", "+enhancement"
"""Between a pipeline's name and the quality that one of its layers keeps while the other's changes."""

MAX_BYTES = 500_000_000
"""Confusion matrices of many classes, pictures and qualities take room."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Set(_Model):
    """What was coded with two qualities, or with one for both layers."""

    quality: float = Field(description="of the base layer, and of the enhancement unless that has its own")
    enhancement_quality: float | None = Field(default=None, description="of the enhancement layer; None: the same")

    @property
    def setting(self) -> tuple[float, float | None]:
        """What tells the points of a result apart."""
        return self.quality, self.enhancement_quality

    @property
    def shown(self) -> str:
        """Both qualities for people, such as ``2`` and ``2 + 3.5``."""
        own = "" if self.enhancement_quality is None else f" + {self.enhancement_quality:g}"
        return f"{self.quality:g}{own}"

    @model_serializer(mode="wrap")
    def _one_quality(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A file of one quality has one field for it, as before there were two."""
        found: dict[str, Any] = handler(self)
        if self.enhancement_quality is None:
            found.pop("enhancement_quality", None)
        return found


class Coded(_Set):
    """One picture at one quality, or at one of each layer."""

    bytes: int = Field(ge=1, description="the whole file")
    base_bytes: int = Field(ge=1, description="the file with its base layer only")
    payload_bytes: int = Field(ge=0, description="the codec's own bytes: the file without its headers")
    encode_seconds: float = Field(ge=0, description="picture in memory to bytes, wall clock")
    decode_seconds: float = Field(ge=0, description="bytes to all predictions, wall clock")
    tasks: dict[str, Tally] = Field(description="by task, what its kind keeps of the picture")


Counted = Literal["file", "payload"]


def counted_bytes(coded: Coded, whole: bool, counted: Counted) -> int:
    """The bytes that an output needs: of the whole file, or of the file with its base layer only."""
    if counted == "payload":
        return coded.payload_bytes
    return coded.bytes if whole else coded.base_bytes


class PictureRow(_Model):
    """One picture."""

    key: str = Field(description="its name inside the data set")
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    clean: dict[str, Tally] = Field(description="the heads on the picture itself, by task")
    points: list[Coded] = Field(description="one for each quality, in order")


class Point(_Set):
    """All pictures at one quality, or at one of each layer."""

    bpp: float = Field(gt=0, description="whole files; see Result.counted")
    base_bpp: float = Field(gt=0, description="files with their base layer only; see Result.counted")
    encode_seconds: float = Field(ge=0)
    decode_seconds: float = Field(ge=0)
    tasks: dict[str, dict[str, float | None]] = Field(
        description="by task: its figures, clean (the main one on clean pictures) and drop (how much worse it is coded)"
    )


class Data(_Model):
    """What was measured on."""

    name: str = Field(description="the data set as on the command line, without its folder")
    params: dict[str, JsonValue] = Field(description="its parameters")
    kind: str = Field(description="of its targets; pictures where it has none")
    split: str
    pictures: int = Field(ge=1)
    of: int = Field(ge=1, description="pictures in the whole split")
    sizes: dict[str, int] = Field(description="number of pictures by size, WIDTHxHEIGHT")
    labels: list[str] = Field(description="classes of the targets")


class TaskInfo(_Model):
    """One measured output."""

    kind: str
    head: str = Field(description="registered name; of the refined picture the enhancement's")
    adapter: str = Field(description="registered name; empty for the refined picture")
    whole: bool = Field(description="if True, it needs the whole file, else the base layer only")
    labels: list[str] = Field(default_factory=list, description="names of its classes or values")
    unit: str = Field(default="", description="of its values")
    figures: dict[str, FigureInfo] = Field(description="what its figures are, the main one first")

    @model_validator(mode="before")
    @classmethod
    def _described(cls, data: Any) -> Any:
        """Files of before figures described themselves have those of three kinds."""
        if isinstance(data, dict) and "figures" not in data and data.get("kind") in earlier_figures():
            return {**data, "figures": earlier_figures()[data["kind"]]}
        return data

    @property
    def legend(self) -> Legend:
        """What its kind is told when figures are made."""
        return Legend(tuple(self.labels), unit=self.unit)

    @property
    def main(self) -> str | None:
        """The figure that clean and drop are about: the first; None if there is none."""
        return next(iter(self.figures), None)

    def figure(self, name: str) -> FigureInfo:
        """What one of its figures is; clean and drop are as the main one."""
        main = self.main
        return self.figures[main if name in (CLEAN, DROP) and main is not None else name]


class Result(_Model):
    """One system on one data set."""

    icm_evaluation: Literal[1] = Field(description="version of this format")
    system: str = Field(
        description="name of the pipeline; behind it +base or +enhancement and the quality that this layer keeps, then "
        "the encoder unless it is the usual one, and +search and its steps"
    )
    codec: str = Field(description="registered name of the codec")
    counted: Counted = Field(
        description="what bpp counts: the .icm file, or, of codecs that write files of their own, those files"
    )
    weights: str = Field(description="SHA-256 of everything that was loaded, 16 hexadecimal digits")
    data: Data
    encoder: str | None = Field(default=None, description="name of the codec's encoder, null for the usual one")
    effort: int = Field(default=0, ge=0, description="steps of encoder-side search, 0 for none")
    searched: list[str] = Field(default_factory=list, description="tasks that were searched for")
    tasks: dict[str, TaskInfo]
    skipped: dict[str, str] = Field(description="tasks that were not measured, and why")
    points: list[Point] = Field(min_length=1, description="by rising quality")
    pictures: list[PictureRow] = Field(min_length=1, description="in the order of the data set")
    versions: dict[str, str]
    device: str
    precision: str
    workers: int = Field(ge=1, description="processes at work while the times were taken")
    command: str = Field(description="what was typed, without folders")

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Output and figure of each column of a table of the points."""
        names = [(task, name) for point in self.points for task, found in point.tasks.items() for name in found]
        order = list(dict.fromkeys(task for task, _ in names))
        return sorted(dict.fromkeys(names), key=lambda name: order.index(name[0]))

    @property
    def model(self) -> str:
        """Name of the pipeline."""
        return self.system.partition("+")[0]

    @property
    def fixed_base(self) -> float | None:
        """The quality that the base layer keeps at every point while the enhancement's changes, None if it does not."""
        qualities = {point.quality for point in self.points}
        own = self.points[0].enhancement_quality is not None
        return self.points[0].quality if own and len(qualities) == 1 else None


def read_result(path: Path) -> Result:
    """A result from its file; `InputError` names the file and what is wrong in it."""
    try:
        data = read_json(path, max_bytes=MAX_BYTES)
    except SpecError as error:
        raise InputError(str(error)) from error
    if not isinstance(data, dict) or "icm_evaluation" not in data:
        raise InputError(f"{path}: not a result of `icm evaluate`: it has no field 'icm_evaluation'")
    try:
        found = Result.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{path}: {explain(error, Result, data)}") from error
    _check_settings(path, found)
    _check_names(path, found)
    _check_answers(path, found)
    return found


def _check_settings(path: Path, result: Result) -> None:
    """Every setting has one point, and every picture has these points."""
    shown = [point.shown for point in result.points]
    for index, one in enumerate(shown):
        if one in shown[:index]:
            raise InputError(f"{path}: two points have quality {one}; each quality should have one point")
    for row in result.pictures:
        if (own := [coded.shown for coded in row.points]) != shown:
            raise InputError(
                f"{path}: picture {row.key!r} has points at quality {', '.join(own) or 'none'}; like the result it "
                f"should have them at {', '.join(shown)}"
            )


def _check_names(path: Path, result: Result) -> None:
    """Every point has every task, and every figure of a point is one that its task describes."""
    for point in result.points:
        for task in result.tasks:
            if task not in point.tasks:
                raise InputError(f"{path}: the point at quality {point.shown} has no figures of {task!r}")
    for task, name in result.columns:
        if task not in result.tasks:
            raise InputError(f"{path}: points have figures of {task!r}, which is not among its tasks")
        if name not in (CLEAN, DROP, *result.tasks[task].figures):
            raise InputError(f"{path}: points have the figure {name!r}, which tasks.{task}.figures does not describe")


def _check_answers(path: Path, result: Result) -> None:
    """Every picture has an answer of every task at every quality, and all or none have one of the clean picture."""
    clean = result.pictures[0].clean.keys()
    for row in result.pictures:
        for coded in row.points:
            if missing := result.tasks.keys() - coded.tasks.keys():
                raise InputError(f"{path}: picture {row.key!r} has no {min(missing)!r} at quality {coded.shown}")
        if missing := row.clean.keys() ^ clean:
            raise InputError(f"{path}: some pictures have {min(missing)!r} of the clean picture, and others have not")


def write_result(path: Path, result: Result) -> None:
    """A result as JSON: points first, one line for each picture, so that two of them can be compared by eye."""
    data = result.model_dump(mode="json", exclude_none=False)
    pictures = data.pop("pictures")
    head = json.dumps(data, indent=1, allow_nan=False).removesuffix("\n}")
    rows = ",\n".join("  " + dump_row(PictureRow.model_validate(row)) for row in pictures)
    write_atomically(path, f'{head},\n "pictures": [\n{rows}\n ]\n}}\n'.encode())


def dump_row(row: PictureRow) -> str:
    """A picture's row as one line of JSON, without the fields that are not set."""
    return json.dumps(row.model_dump(mode="json", exclude_none=True), allow_nan=False, separators=(",", ":"))


def describe_data(result: Result, *, classes: bool = False) -> str:
    """Data set, number of pictures and their size in a line.

    Args:
        result: what was measured.
        classes: also say whose classes they are, if a parameter does: folders and pairs of files may be of any data
            set, such as ``pairs (cityscapes)``.
    """
    data = result.data
    whose = data.params.get("classes")
    name = f"{data.name} ({whose})" if classes and isinstance(whose, str) else data.name
    some = f"{data.pictures}" if data.pictures == data.of else f"{data.pictures} of {data.of}"
    sizes = " and ".join(data.sizes) if len(data.sizes) < 3 else f"{len(data.sizes)} sizes"
    return f"{name} {data.split}, {some} pictures of {sizes}"
