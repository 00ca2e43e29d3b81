"""``icm demo``: the whole method on real photographs, as a table, pictures and one page."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from icm_core.cli.batch import for_each, leave
from icm_core.cli.console import print_json, print_table
from icm_core.cli.inputs import PICTURES, check_names, expand
from icm_core.cli.options import AsJson, Device, Model, Precision
from icm_core.errors import InputError
from icm_core.files import make_folder, write_atomically

if TYPE_CHECKING:
    from icm_core.pipeline.pipeline import Pipeline
    from icm_core.results import NamedValue, TopClass
    from icm_demo import Sample, Step

NAME = "demo"
EXAMPLE = "Example: icm demo photo.jpg -o demo-out"


class StepRow(TypedDict):
    """The JSON row of one picture at one quality; an infinite PSNR is null, as is a JPEG that cannot be so small."""

    picture: str
    file: str
    quality: float
    bytes: int
    bpp: float
    base_bytes: int
    base_bpp: float
    psnr: dict[str, float | None]
    jpeg: dict[str, float | None] | None
    classes: dict[str, list[TopClass]]
    values: dict[str, list[NamedValue]]
    labels: dict[str, dict[str, float]]
    encode_seconds: float
    decode_seconds: float


def run(
    pictures: Annotated[
        list[Path] | None,
        typer.Argument(metavar="IMG...", help="Pictures or folders; three photographs from wheels if none."),
    ] = None,
    model: Model = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder; made where missing.")] = Path(
        "demo-out"
    ),
    device: Device = "auto",
    precision: Precision = "fp32",
    as_json: AsJson = False,
) -> None:
    """Code photographs at several qualities, decode them from the bytes, and show what came of it.

    Writes the coded files, a sheet per picture (original, label map, coarse and fine picture), demo.png with all of
    them, and index.html, which needs nothing else.
    """
    from icm_core import load
    from icm_core.pictures import png_bytes
    from icm_demo import Demo, collect, page, sheet_of_all, sheet_of_one, shipped_photographs
    from icm_demo.collect import warm_up

    paths = expand(pictures, PICTURES) if pictures else shipped_photographs()
    sheets = {path: output / f"{path.stem}.sheet.png" for path in paths}
    check_names(paths, list(sheets.values()))
    made = {(output / name).resolve() for name in ("demo.png", "index.html")}
    for path in paths:
        if path.resolve() in made:
            raise InputError(f"the demo would write over its input {path}; choose another folder with -o")
    pipe = load(model, device=device, precision=precision)
    make_folder(output)
    warm_up(pipe)

    def work(path: Path) -> Sample:
        sample = collect(pipe, path, output)
        write_atomically(sheets[path], png_bytes(sheet_of_one(sample)))
        return sample

    samples, failures = for_each(paths, work, "photographs")
    written: dict[str, str] = {}
    if samples:
        demo = Demo(pipe.name, _place(pipe), pipe.precision, samples)
        written = {"sheet": str(output / "demo.png"), "page": str(output / "index.html")}
        write_atomically(output / "demo.png", png_bytes(sheet_of_all(demo)))
        write_atomically(output / "index.html", page(demo).encode("utf-8"))
    if as_json:
        rows = [_row(sample, step) for sample in samples for step in sample.steps]
        print_json({"pipeline": pipe.name, **written, "rows": rows, "failures": failures})
    else:
        _print(samples, written)
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
        classes=dict(step.classes),
        values=dict(step.values),
        labels={name: {s.label: round(s.share, 4) for s in found} for name, found in step.labels.items()},
        encode_seconds=round(step.encode_seconds, 4),
        decode_seconds=round(step.decode_seconds, 4),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _print(samples: list[Sample], written: dict[str, str]) -> None:
    steps = [(sample, step) for sample in samples for step in sample.steps]
    if not steps:
        return
    from icm_core.results import describe, describe_values

    first = steps[0][1]
    names, tasks, numbers, maps = (list(found) for found in (first.psnr, first.classes, first.values, first.labels))
    rates = [
        (
            *_about(sample, step),
            step.base_bytes,
            f"{step.base_bpp:.3f}",
            step.bytes,
            f"{step.bpp:.3f}",
            *(f"{step.psnr[name]:.2f}" for name in names),
            *((step.jpeg.bytes, f"{step.jpeg.psnr:.2f}") if step.jpeg else ("-", "-")),
        )
        for sample, step in steps
    ]
    rate_columns = (">base bytes", ">bpp", ">whole bytes", ">bpp", *(f">{name} dB" for name in names))
    print_table(
        ("picture", ">q", *rate_columns, ">JPEG bytes", ">JPEG dB"),
        rates,
        "Bytes and PSNR; the base layer is part of the whole file, JPEG has at most its bytes",
    )
    seen = [
        (
            *_about(sample, step),
            *(describe(step.classes[name][:2]) for name in tasks),
            *(describe_values(step.values[name]) for name in numbers),
            *(", ".join(f"{swatch.label} {swatch.share:.0%}" for swatch in step.labels[name][:3]) for name in maps),
            f"{step.encode_seconds:.2f}",
            f"{step.decode_seconds:.2f}",
        )
        for sample, step in steps
    ]
    print_table(
        ("picture", ">q", *tasks, *numbers, *maps, ">encode s", ">decode s"), seen, "What the networks see, and times"
    )
    typer.echo(f"pictures: {written['sheet']}\npage:     {written['page']}")


def _about(sample: Sample, step: Step) -> tuple[str, str]:
    return (sample.name if step is sample.steps[0] else "", f"{step.quality:g}")
