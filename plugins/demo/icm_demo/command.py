"""``icm demo``: the whole method on real photographs, as a table, pictures and one page."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean as mean
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer
from pydantic import JsonValue

from icm_core.cli.batch import for_each, leave
from icm_core.cli.console import print_json, print_table
from icm_core.cli.inputs import PICTURES, check_names, expand
from icm_core.cli.options import AsJson, Device, Model, Precision
from icm_core.errors import InputError
from icm_core.files import make_folder, write_atomically

if TYPE_CHECKING:
    from icm_core.pipeline.pipeline import Pipeline
    from icm_demo.collect import Demo, Sample, Step

NAME = "demo"
EXAMPLE = "Example: icm demo photo.jpg -o demo-out"


class StepRow(TypedDict):
    """The JSON row of one picture at one quality.

    An infinite PSNR is null, as is a JPEG that cannot be so small. ``tasks`` has of each task its ``kind``, what the
    kind answers with, and ``text``, as in ``icm decode --json``; ``not_asked`` names the others, and what they were
    trained on.
    """

    picture: str
    file: str
    quality: float
    bytes: int
    bpp: float
    base_bytes: int
    base_bpp: float
    psnr: dict[str, float | None]
    jpeg: dict[str, float | None] | None
    tasks: dict[str, dict[str, JsonValue]]
    not_asked: dict[str, str]
    encode_seconds: float
    decode_seconds: float


def run(
    pictures: Annotated[
        list[Path] | None,
        typer.Argument(metavar="IMG...", help="Pictures or folders; a street and three objects if none."),
    ] = None,
    model: Model = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder; made where missing.")] = Path(
        "demo-out"
    ),
    shows: Annotated[
        str,
        typer.Option(
            "--shows",
            metavar="A,B",
            help="What your pictures show, such as streets; tasks that were trained on something else are skipped. "
            "Default: objects.",
        ),
    ] = "",
    device: Device = "auto",
    precision: Precision = "fp32",
    as_json: AsJson = False,
) -> None:
    """Code photographs at several qualities, decode them from the bytes, and show what came of it.

    Writes the coded files, a sheet per picture (the original, and what each task makes of it), demo.png with
    all of them, and index.html, which needs nothing else.
    """
    from icm_core import load
    from icm_core.pictures import png_bytes
    from icm_demo.asked import parse_shows
    from icm_demo.collect import Demo, collect, warm_up
    from icm_demo.page import page
    from icm_demo.samples import OBJECTS, Given, demo_pictures
    from icm_demo.sheet import sheet_of_all, sheet_of_one

    if shows and not pictures:
        raise InputError(f"--shows is {shows!r}, and it is said of pictures of yours; name some")
    if pictures:
        given = [Given(path, frozenset({OBJECTS})) for path in expand(pictures, PICTURES)]
    else:
        given = demo_pictures(output)
    paths = [one.path for one in given]
    sheets = {path: output / f"{path.stem}.sheet.png" for path in paths}
    check_names(paths, list(sheets.values()))
    made = {(output / name).resolve() for name in ("demo.png", "index.html")}
    for path in paths:
        if path.resolve() in made:
            raise InputError(f"the demo would write over its input {path}; choose another folder with -o")
    pipe = load(model, device=device, precision=precision)
    if shows:
        given = [Given(path, parse_shows(pipe, shows)) for path in paths]
    about = {one.path: one for one in given}
    make_folder(output)
    warm_up(pipe)

    def work(path: Path) -> Sample:
        sample = collect(pipe, about[path], output)
        write_atomically(sheets[path], png_bytes(sheet_of_one(sample)))
        return sample

    samples, failures = for_each(paths, work, "photographs")
    demo = Demo(pipe.name, _place(pipe), pipe.precision, samples)
    written: dict[str, str] = {}
    if samples:
        written = {"sheet": str(output / "demo.png"), "page": str(output / "index.html")}
        write_atomically(output / "demo.png", png_bytes(sheet_of_all(demo)))
        write_atomically(output / "index.html", page(demo).encode("utf-8"))
    if as_json:
        rows = [_row(sample, step) for sample in samples for step in sample.steps]
        print_json({"pipeline": pipe.name, **written, "rows": rows, "failures": failures})
    elif samples:
        _print(demo)
        if pictures:
            _print_left(samples)
        typer.echo(f"pictures: {written['sheet']}\npage:     {written['page']}")
    leave(failures)


def _place(pipe: Pipeline) -> str:
    import torch

    if pipe.device.type == "cuda":
        return torch.cuda.get_device_name(pipe.device)
    threads = torch.get_num_threads()
    return f"{pipe.device.type}, {threads} thread{'s' if threads > 1 else ''}"


def _row(sample: Sample, step: Step) -> StepRow:
    jpeg = step.jpeg
    return StepRow(
        picture=str(sample.path),
        file=str(step.file),
        quality=step.quality,
        bytes=step.bytes,
        bpp=step.bpp,
        base_bytes=step.base_bytes,
        base_bpp=step.base_bpp,
        psnr={name: _finite(value) for name, value in step.psnr.items()},
        jpeg={"quality": jpeg.quality, "bytes": jpeg.bytes, "psnr": _finite(jpeg.psnr)} if jpeg else None,
        tasks={
            name: {"kind": answer.kind, **answer.said, "text": answer.text} for name, answer in step.answers.items()
        },
        not_asked={name: str(learned) for name, learned in sample.left.items()},
        encode_seconds=round(step.encode_seconds, 4),
        decode_seconds=round(step.decode_seconds, 4),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _print(demo: Demo) -> None:
    """A line per quality on bytes and PSNR, and a line per picture and task on what is said; the page has the rest."""
    qualities = zip(*(sample.steps for sample in demo.samples), strict=True)
    means = [_means(steps, demo.layered) for steps in qualities]
    many = f", means over {len(demo.samples)} pictures" if len(demo.samples) > 1 else ""
    layer = "the base layer is part of the whole file, " if demo.layered else ""
    print_table(
        [f">{column}" for column, _ in means[0]],
        [[value for _, value in row] for row in means],
        f"Bytes and PSNR{many}; {layer}JPEG has at most as many bytes",
    )
    said = [
        ("" if number else sample.name, name, text)
        for sample in demo.samples
        for number, (name, text) in enumerate(sample.middle.texts.items())
    ]
    quality = demo.samples[0].middle.quality
    print_table(("picture", "task", "answer"), said, f"What the networks say at quality {quality:g}")


def _print_left(samples: Sequence[Sample]) -> None:
    """Which tasks were skipped for pictures that somebody gave, and how to run them."""
    left = {name: learned for sample in samples for name, learned in sample.left.items()}
    for name, learned in left.items():
        remedy = f"if yours show {learned.pictures}, add --shows {shlex.quote(learned.pictures)}"
        typer.echo(f"skipped: {name}, trained on {learned}; {remedy}")


def _means(steps: Sequence[Step], layered: bool) -> list[tuple[str, str]]:
    """Means of one quality over the pictures, as columns with their values."""
    base = [
        ("base bytes", f"{mean(step.base_bytes for step in steps):.0f}"),
        ("bpp", f"{mean(step.base_bpp for step in steps):.3f}"),
    ]
    return [
        ("quality", f"{steps[0].quality:g}"),
        *(base if layered else ()),
        ("whole bytes" if layered else "bytes", f"{mean(step.bytes for step in steps):.0f}"),
        ("bpp", f"{mean(step.bpp for step in steps):.3f}"),
        *((f"{name} dB", f"{mean(step.psnr[name] for step in steps):.2f}") for name in steps[0].psnr),
        *zip(("JPEG bytes", "JPEG dB"), _jpeg(steps), strict=True),
        ("encode s", f"{mean(step.encode_seconds for step in steps):.2f}"),
        ("decode s", f"{mean(step.decode_seconds for step in steps):.2f}"),
    ]


def _jpeg(steps: Sequence[Step]) -> tuple[str, str]:
    """Mean bytes and PSNR of JPEG; nothing where one of the pictures has none so small."""
    found = [step.jpeg for step in steps if step.jpeg is not None]
    if len(found) < len(steps):
        return "-", "-"
    return f"{mean(jpeg.bytes for jpeg in found):.0f}", f"{mean(jpeg.psnr for jpeg in found):.2f}"
