"""``icm decode``: ``.icm`` files -> label maps, classes, coarse and fine pictures."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer
from typing_extensions import NotRequired

from icm_core.bitstream.container import MAX_PIXELS, read
from icm_core.bitstream.split import join
from icm_core.cli.batch import for_each, leave, print_failures
from icm_core.cli.console import print_json, print_table
from icm_core.cli.inputs import CODED, check_names, expand
from icm_core.cli.options import AsJson, Device, MaxPixels, OutputFolder, Precision
from icm_core.errors import InputError
from icm_core.files import make_folder, read_file, write_atomically

if TYPE_CHECKING:
    from PIL import Image

    from icm_core.pipeline.pipeline import Pipeline
    from icm_core.results import NamedValue, TopClass
    from icm_core.types import Prediction

NAME = "decode"
EXAMPLE = "Example: icm decode coded/photo.icm -t segmentation,classification -o decoded --json"


class TaskRow(TypedDict, total=False):
    """What one task gave: ``picture`` is a written file, ``top`` the five most probable classes, ``values`` numbers."""

    kind: str
    picture: str
    top: list[TopClass]
    values: list[NamedValue]


class Decoded(TypedDict):
    """The JSON row of one file; ``seconds`` is the decoding alone, without writing pictures.

    ``verified`` stands where --verify was given: the layers whose control hash was compared.
    """

    file: str
    pipeline: str
    height: int
    width: int
    quality: float
    bytes: int
    bpp: float
    truncated: bool
    tasks: dict[str, TaskRow]
    seconds: float
    verified: NotRequired[list[str]]


def run(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files, or folders of .icm files.")],
    tasks: Annotated[
        list[str] | None,
        typer.Option("--tasks", "-t", metavar="TASK,...", help="Only these tasks; fine is the refined picture."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", metavar="MODEL", help="Pipeline or spec file; found by fingerprint if not given."
        ),
    ] = None,
    enhancement: Annotated[
        Path | None,
        typer.Option("--enhancement", metavar="ENH", help="The .icme file that came apart from a single base file."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check decoded symbols by the control hashes of icm encode --control.")
    ] = False,
    max_pixels: MaxPixels = MAX_PIXELS,
    output: OutputFolder = Path(),
    device: Device = "auto",
    precision: Precision = "fp32",
    as_json: AsJson = False,
) -> None:
    """Decode .icm files to <stem>.<task>.png, named classes and named values.

    A label map is an indexed PNG with a palette. A file that was cut inside its enhancement layer decodes without
    the fine picture.
    """
    paths = expand(files, CODED)
    check_names(paths, [output / f"{path.stem}.TASK.png" for path in paths])
    wanted = [name.strip() for part in tasks for name in part.split(",") if name.strip()] if tasks else None

    if wanted == []:
        raise InputError("-t names no task; leave it out for all tasks")
    if enhancement is not None and len(paths) != 1:
        raise InputError(f"--enhancement belongs to one base file, and there are {len(paths)}")

    from icm_core.cli.pipelines import Pipelines

    pipelines = Pipelines(model, device, precision)

    def work(path: Path) -> Decoded:
        blob = read_file(path)
        if enhancement is not None:
            blob = join(blob, read_file(enhancement), max_pixels=max_pixels)
        container = read(blob, max_pixels=max_pixels)
        pipe = pipelines.of(container)
        start = time.perf_counter()
        decoded = pipe.decode(blob, tasks=wanted, verify=verify, max_pixels=max_pixels)
        seconds = time.perf_counter() - start
        row = Decoded(
            file=str(path),
            pipeline=pipe.name,
            height=container.height,
            width=container.width,
            quality=container.quality.value,
            bytes=len(blob),
            bpp=8 * len(blob) / (container.height * container.width),
            truncated=container.truncated,
            tasks=_write(pipe, decoded, output, path.stem),
            seconds=round(seconds, 4),
        )
        return {**row, "verified": [str(kind) for kind in decoded.verified]} if verify else row

    rows, failures = for_each(paths, work, "decoding")
    if as_json:
        print_json([*rows, *failures])
    else:
        _print(rows)
        print_failures(failures, len(paths))
    leave(failures)


def _write(pipe: Pipeline, decoded: Mapping[str, Prediction], folder: Path, stem: str) -> dict[str, TaskRow]:
    """Write what can be looked at, all of it drawn before the first file is written."""
    from icm_core.pictures import png_bytes
    from icm_core.results import named_values, top_classes

    rows: dict[str, TaskRow] = {}
    drawn: dict[Path, bytes] = {}
    for name, prediction in decoded.items():
        rows[name] = TaskRow(kind=prediction.kind)
        if prediction.kind == "classification":
            rows[name]["top"] = top_classes(prediction)
        elif prediction.kind == "regression":
            rows[name]["values"] = named_values(prediction)
        picture = _draw(pipe, name, prediction)
        if picture is not None:
            path = folder / f"{stem}.{name}.png"
            drawn[path] = png_bytes(picture)
            rows[name]["picture"] = str(path)
    if drawn:
        make_folder(folder)
    for path, content in drawn.items():
        write_atomically(path, content)
    return rows


def _draw(pipe: Pipeline, name: str, prediction: Prediction) -> Image.Image | None:
    """Decoded pictures as they are; anything else as its head draws it."""
    from icm_core.pictures import to_picture

    if prediction.kind == "reconstruction":
        return to_picture(prediction.output)
    return pipe.task(name).head.draw(prediction)


def _print(rows: list[Decoded]) -> None:
    from icm_core.results import describe, describe_values

    lines: list[tuple[object, ...]] = []
    for row in rows:
        about: tuple[object, ...] = (row["file"], f"{row['width']}x{row['height']}", row["bytes"], f"{row['bpp']:.4f}")
        for name, task in row["tasks"].items():
            found = (describe(task.get("top", [])), describe_values(task.get("values", [])), task.get("picture"))
            lines.append((*about, name, "; ".join(filter(None, found))))
            about = ("", "", "", "")
        if row["truncated"]:
            lines.append((*about, "", "cut in its enhancement layer: base layer only"))
        if "verified" in row:
            lines.append((*about, "", f"verified: {', '.join(row['verified'])}"))
    print_table(("file", ">size", ">bytes", ">bpp", "task", "result"), lines)
