"""``icm decode``: ``.icm`` files -> label maps, classes, coarse and fine pictures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from pydantic import JsonValue
from typing_extensions import NotRequired

from icm_core.bitstream.about import About, about
from icm_core.bitstream.container import MAX_PIXELS, read
from icm_core.bitstream.split import join
from icm_core.cli.batch import for_each, leave, print_failures
from icm_core.cli.console import print_json, print_table
from icm_core.cli.inputs import CODED, check_names, expand
from icm_core.cli.options import AsJson, Device, MaxPixels, OutputFolder, Precision
from icm_core.errors import InputError
from icm_core.files import make_folder, read_file, write_atomically

if TYPE_CHECKING:
    from icm_core.pipeline.decoded import Decoded as Predictions
    from icm_core.pipeline.pipeline import Pipeline

NAME = "decode"
EXAMPLE = "Example: icm decode coded/photo.icm -t segmentation,classification -o decoded --json"


TaskRow = dict[str, JsonValue]
"""What one task gave: its ``kind``, a written ``picture`` and ``drawing`` where there is one, and what the kind answers
with, such as ``top`` (classes) or ``boxes``."""


class Decoded(About):
    """The JSON row of one file; ``seconds`` is the decoding alone, without writing pictures.

    ``verified`` stands where --verify was given: the layers whose control hash was compared.
    """

    file: str
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
    draw: Annotated[
        bool, typer.Option("--draw", help="Draw every answer on the decoded picture: <stem>.<task>.drawn.png.")
    ] = False,
    max_pixels: MaxPixels = MAX_PIXELS,
    output: OutputFolder = Path(),
    device: Device = "auto",
    precision: Precision = "fp32",
    as_json: AsJson = False,
) -> None:
    """Decode .icm files to what each task says: pictures <stem>.<task>.png, classes, boxes, values.

    An answer that is a picture by itself is written as it is: a decoded picture, or a label map as an indexed PNG with
    a palette. Other answers, such as boxes, are drawn on the decoded picture. --json has all of them as numbers.

    A file that was cut inside its enhancement layer decodes without the fine picture.
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
        decoded = pipe.decode(container, tasks=wanted, verify=verify)
        seconds = time.perf_counter() - start
        tasks = _write(pipe, decoded, output / path.stem, draw)
        its = about(container, len(blob), pipe.name)
        row = cast(Decoded, {"file": str(path), **its, "tasks": tasks, "seconds": round(seconds, 4)})
        if verify:
            row["verified"] = [str(kind) for kind in decoded.verified]
        return row

    rows, failures = for_each(paths, work, "decoding")
    if as_json:
        print_json([*rows, *failures])
    else:
        _print(rows)
        print_failures(failures, len(paths))
    leave(failures)


def _write(pipe: Pipeline, decoded: Predictions, stem: Path, draw: bool) -> dict[str, TaskRow]:
    """Write what can be looked at, all of it drawn before the first file is written."""
    from icm_core.pictures import png_bytes
    from icm_core.pipeline.told import told

    rows: dict[str, TaskRow] = {}
    written: dict[Path, bytes] = {}
    for name, one in told(pipe, decoded, draw=draw).items():
        row = rows[name] = dict(one.row)
        for key, picture, ending in (("picture", one.picture, ".png"), ("drawing", one.drawing, ".drawn.png")):
            if picture is not None:
                path = stem.with_name(f"{stem.name}.{name}{ending}")
                written[path] = png_bytes(picture)
                row[key] = str(path)
    if written:
        make_folder(stem.parent)
    for path, content in written.items():
        write_atomically(path, content)
    return rows


def _print(rows: list[Decoded]) -> None:
    lines: list[tuple[object, ...]] = []
    for row in rows:
        about: tuple[object, ...] = (row["file"], f"{row['width']}x{row['height']}", row["bytes"], f"{row['bpp']:.4f}")
        for name, task in row["tasks"].items():
            said = [str(task[key]) for key in ("text", "picture", "drawing") if task.get(key)]
            lines.append((*about, name, "; ".join(said)))
            about = ("", "", "", "")
        if row["truncated"]:
            lines.append((*about, "", "cut in its enhancement layer: base layer only"))
        if "verified" in row:
            lines.append((*about, "", f"verified: {', '.join(row['verified'])}"))
    print_table(("file", ">size", ">bytes", ">bpp", "task", "result"), lines)
