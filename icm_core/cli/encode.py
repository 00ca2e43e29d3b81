"""``icm encode``: pictures -> ``.icm`` files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, TypedDict

import typer

from icm_core.cli.batch import for_each, leave
from icm_core.cli.console import print_json, print_table
from icm_core.cli.inputs import CODED, PICTURES, check_names, expand
from icm_core.cli.options import DEFAULT_MODEL, AsJson, Device, Model, Precision
from icm_core.container import read
from icm_core.errors import InputError
from icm_core.files import make_folder, write_atomically
from icm_core.quality import Quality

NAME = "encode"
EXAMPLE = "Example: icm encode photo.jpg pictures/ -m sicmh-small -q 2.5 -o coded"


class Encoded(TypedDict):
    """The JSON row of one picture.

    ``base_bytes`` is how much of the file the tasks need; ``seconds`` is the encoding alone, without reading the
    picture.
    """

    file: str
    output: str
    height: int
    width: int
    quality: float
    bytes: int
    bpp: float
    base_bytes: int
    seconds: float


def run(
    pictures: Annotated[list[Path], typer.Argument(metavar="IMG...", help="Pictures, or folders of pictures.")],
    model: Model = DEFAULT_MODEL,
    quality: Annotated[
        float,
        typer.Option("--quality", "-q", metavar="Q", help="From 1 (fewest bits) to 4 or more; fractions allowed."),
    ] = 3.0,
    base_only: Annotated[
        bool, typer.Option("--base-only", help="Leave the enhancement layer out: tasks decode, no fine picture.")
    ] = False,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder, or NAME.icm for a single picture.")
    ] = Path(),
    device: Device = "auto",
    precision: Precision = "fp32",
    as_json: AsJson = False,
) -> None:
    """Encode pictures to <stem>.icm.

    Grey, palette, 16-bit and CMYK pictures are coded as RGB, transparency is laid over white, and an EXIF rotation
    is applied.
    """
    step = Quality.of(quality)
    files = expand(pictures, PICTURES)
    targets = _targets(files, output)
    check_names(files, list(targets.values()))

    from icm_core import load
    from icm_core.images import open_picture

    pipe = load(model, device=device, precision=precision)
    make_folder(next(iter(targets.values())).parent)

    def work(path: Path) -> Encoded:
        picture = open_picture(path)
        start = time.perf_counter()
        blob = pipe.encode(picture, quality=step.value, enhancement=not base_only)
        seconds = time.perf_counter() - start
        write_atomically(targets[path], blob)
        return Encoded(
            file=str(path),
            output=str(targets[path]),
            height=picture.height,
            width=picture.width,
            quality=step.value,
            bytes=len(blob),
            bpp=8 * len(blob) / (picture.height * picture.width),
            base_bytes=read(blob).base_bytes,
            seconds=round(seconds, 4),
        )

    rows, failures = for_each(files, work, "encoding")
    if as_json:
        print_json([*rows, *failures])
    else:
        print_table(
            ("file", ">size", ">bytes", ">bpp", ">base bytes", ">seconds"),
            [
                (
                    r["output"],
                    f"{r['width']}x{r['height']}",
                    r["bytes"],
                    f"{r['bpp']:.4f}",
                    r["base_bytes"],
                    f"{r['seconds']:.2f}",
                )
                for r in rows
            ],
        )
    leave(failures)


def _targets(files: list[Path], output: Path) -> dict[Path, Path]:
    """Where each picture's file goes."""
    if output.suffix.lower() in CODED and not output.is_dir():
        if len(files) != 1:
            raise InputError(f"-o {output} names one file and there are {len(files)} pictures; give a folder")
        return {files[0]: output}
    return {file: output / f"{file.stem}.icm" for file in files}
