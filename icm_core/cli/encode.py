"""``icm encode``: pictures -> ``.icm`` files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icm_core.cli.batch import collect, leave, print_failures
from icm_core.cli.console import print_json, print_table
from icm_core.cli.inputs import PICTURES, find, shard_of, written_as
from icm_core.cli.options import (
    AsJson,
    Batch,
    Device,
    Effort,
    EncoderName,
    Engine,
    Files,
    Model,
    Precision,
    Recursive,
    SearchFor,
    Shard,
    Threads,
    Workers,
    parse_names,
)
from icm_core.corpus.encoding import Encoding, Picture, size_of
from icm_core.corpus.engine import check_numbers, units_of, work_through
from icm_core.quality import Quality

NAME = "encode"
EXAMPLE = "Example: icm encode photo.jpg pictures/ -m sicmh-small -q 2.5 -o coded"


def run(
    pictures: Annotated[
        list[Path] | None, typer.Argument(metavar="IMG...", help="Pictures, or folders of pictures.")
    ] = None,
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
    encoder: EncoderName = None,
    effort: Effort = 0,
    search_for: SearchFor = "",
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder, or NAME.icm for a single picture.")
    ] = Path(),
    files: Files = None,
    recursive: Recursive = False,
    shard: Shard = "",
    workers: Workers = None,
    threads: Threads = 1,
    batch: Batch = 1,
    engine: Engine = "local",
    device: Device = "auto",
    precision: Precision = "fp32",
    as_json: AsJson = False,
) -> None:
    """Encode pictures to <stem>.icm.

    Grey, palette, 16-bit and CMYK pictures are coded as RGB, transparency is laid over white, and an EXIF rotation
    is applied.

    What fails is named and left out; every file is either whole or not there. After an interruption, --resume codes the
    rest: it keeps a file that is whole, of this pipeline, quality and size, and not older than its picture. A file does
    not say with which encoder or effort it was made.

    A codec may have several encoders for the same files: one that takes longer makes better ones.

    --effort looks for side information with which the tasks come closer to what they say of the clean picture, at about
    the same bytes. Any decoder reads the file.

    Files are the same byte for byte for any number of workers, any shards and either engine: each picture is computed
    by itself, by one thread, whoever does it. More --threads are for a single large picture, --batch is for GPUs.
    """
    step = Quality.of(quality)
    check_numbers(batch=batch)
    every = find(pictures or [], PICTURES, listed=files, recursive=recursive)
    targets = written_as(every, output, ".icm")
    items = [Picture(one.path, target) for one, target in zip(every, targets, strict=True)]
    items = list(shard_of(items, shard))
    job = Encoding(
        model=model,
        device=device,
        precision=precision,
        quality=step.value,
        enhancement=not base_only,
        enhancement_quality=enhancement_quality,
        control=control,
        encoder=encoder,
        effort=effort,
        search_for=parse_names(search_for),
        resume=resume,
    )
    outcomes = work_through(
        job,
        units_of(items, batch, size_of),
        engine=engine,
        workers=workers,
        threads=threads,
        device=device,
        items=len(items),
    )
    rows, failures = collect(outcomes, [item.source for item in items], "encoding")
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
        print_failures(failures, len(items))
    leave(failures)
