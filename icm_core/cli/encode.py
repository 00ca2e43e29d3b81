"""``icm encode``: pictures -> ``.icm`` files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, TypedDict

import typer
from typing_extensions import NotRequired

from icm_core.bitstream.container import read
from icm_core.cli.batch import for_each, leave, print_failures
from icm_core.cli.console import print_json, print_table
from icm_core.cli.finished import Order
from icm_core.cli.inputs import PICTURES, expand, written_as
from icm_core.cli.options import AsJson, Device, Effort, Model, Precision, SearchFor, parse_names
from icm_core.files import make_folder, write_atomically
from icm_core.quality import Quality

NAME = "encode"
EXAMPLE = "Example: icm encode photo.jpg pictures/ -m sicmh-small -q 2.5 -o coded"


class Encoded(TypedDict):
    """The JSON row of one picture.

    ``base_bytes`` is how much of the file the tasks need; ``seconds`` is the encoding alone, without reading the
    picture. ``enhancement_quality`` stands where it is another than ``quality``. ``kept`` stands where an earlier run
    wrote the file and this one left it as it was.
    """

    file: str
    output: str
    height: int
    width: int
    quality: float
    enhancement_quality: NotRequired[float]
    bytes: int
    bpp: float
    base_bytes: int
    seconds: float
    kept: NotRequired[bool]


def run(
    pictures: Annotated[list[Path], typer.Argument(metavar="IMG...", help="Pictures, or folders of pictures.")],
    model: Model = None,
    quality: Annotated[
        float,
        typer.Option("--quality", "-q", metavar="Q", help="From 1 (fewest bits) to what MODEL has; fractions too."),
    ] = 3.0,
    enhancement_quality: Annotated[
        float | None,
        typer.Option("--enhancement-quality", metavar="Q", help="Of the enhancement layer alone; -q if not given."),
    ] = None,
    base_only: Annotated[
        bool, typer.Option("--base-only", help="Leave the enhancement layer out: tasks decode, no fine picture.")
    ] = False,
    control: Annotated[
        bool, typer.Option("--control", help="Add 4 bytes a layer to check decoded symbols by; costs a decoding.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Leave out pictures whose file is there already, whole and coded alike.")
    ] = False,
    effort: Effort = 0,
    search_for: SearchFor = "",
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

    What fails is named and left out; every file is either whole or not there. After an interruption, --resume codes the
    rest: it keeps a file that is whole, of this pipeline, quality and size, and not older than its picture. A file does
    not say with which effort it was made.

    --effort looks for side information with which the tasks come closer to what they say of the clean picture, at about
    the same bytes. Any decoder reads the file.
    """
    step = Quality.of(quality)
    targets = written_as(expand(pictures, PICTURES), output, ".icm")
    files = list(targets)

    from icm_core import load
    from icm_core.pictures import open_picture
    from icm_core.pipeline.search import searched_tasks

    pipe = load(model, device=device, precision=precision)
    names = parse_names(search_for)
    searched_tasks(pipe, effort, names)
    finer = pipe.enhancement_step(step, enhancement_quality, enhancement=not base_only)
    how: dict[str, Any] = {
        "enhancement": not base_only,
        "enhancement_quality": enhancement_quality,
        "control": control,
        "effort": effort,
        "search_for": names,
    }
    make_folder(next(iter(targets.values())).parent)
    order = Order.of(pipe, step, base_only=base_only, control=control, finer=finer)

    def work(path: Path) -> Encoded:
        picture = open_picture(path)
        kept = order.finished(path, (picture.height, picture.width), targets[path]) if resume else None
        start = time.perf_counter()
        blob = kept or pipe.encode(picture, quality=step.value, **how)
        seconds = time.perf_counter() - start
        if kept is None:
            write_atomically(targets[path], blob)
        row = Encoded(
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
        if finer is not None:
            row["enhancement_quality"] = finer.value
        return row if kept is None else {**row, "kept": True}

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
                    "kept" if "kept" in r else f"{r['seconds']:.2f}",
                )
                for r in rows
            ],
        )
        print_failures(failures, len(files))
    leave(failures)
