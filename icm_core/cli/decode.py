"""``icm decode``: ``.icm`` files -> label maps, classes, coarse and fine pictures."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated

import typer

from icm_core.bitstream.container import MAX_PIXELS
from icm_core.cli.batch import collect, leave, print_failures
from icm_core.cli.console import print_json, print_table
from icm_core.cli.inputs import CODED, check_names, find, shard_of
from icm_core.cli.options import (
    AsJson,
    Batch,
    Device,
    Engine,
    Files,
    MaxPixels,
    OutputFolder,
    Precision,
    Recursive,
    Shard,
    Threads,
    Workers,
)
from icm_core.corpus.decoding import Coded, Decoded, Decoding
from icm_core.corpus.engine import check_numbers, units_of, work_through
from icm_core.corpus.journal import Journal
from icm_core.errors import InputError
from icm_core.files import make_folder

NAME = "decode"
EXAMPLE = "Example: icm decode coded/photo.icm -t segmentation,classification -o decoded --json"


def run(
    coded: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE...", help="Files, or folders of .icm files.")
    ] = None,
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
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Keep what an earlier run with --resume found; give it from the first run on."),
    ] = False,
    max_pixels: MaxPixels = MAX_PIXELS,
    output: OutputFolder = Path(),
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
    """Decode .icm files to what each task says: pictures <stem>.<task>.png, classes, boxes, values.

    An answer that is a picture by itself is written as it is: a decoded picture, or a label map as an indexed PNG with
    a palette. Other answers, such as boxes, are drawn on the decoded picture. --json has all of them as numbers.

    A file that was cut inside its enhancement layer decodes without the fine picture.

    What fails is named and left out; every picture is either whole or not there. With --resume the answers are also
    written to .icm-decode.jsonl in DIR, line by line, and another run with it keeps those of the same file, pipeline,
    weights and options.

    Answers are the same for any number of workers, any shards and either engine: each file is computed by itself, by
    one thread, whoever does it. More --threads are for a single large picture, --batch is for GPUs.
    """
    check_numbers(batch=batch)
    every = find(coded or [], CODED, listed=files, recursive=recursive)
    stems = [output / one.below / one.path.stem for one in every]
    check_names([one.path for one in every], [stem.with_name(f"{stem.name}.TASK.png") for stem in stems])
    wanted = [name.strip() for part in tasks for name in part.split(",") if name.strip()] if tasks else None

    if wanted == []:
        raise InputError("-t names no task; leave it out for all tasks")
    if enhancement is not None and len(every) != 1:
        raise InputError(f"--enhancement belongs to one base file, and there are {len(every)}")
    job = Decoding(
        model=model,
        device=device,
        precision=precision,
        max_pixels=max_pixels,
        tasks=None if wanted is None else tuple(wanted),
        enhancement=enhancement,
        verify=verify,
        draw=draw,
        resume=resume,
    )
    items = list(shard_of([Coded(one.path, stem) for one, stem in zip(every, stems, strict=True)], shard))
    with ExitStack() as stack:
        journal: Journal | None = None
        if resume:
            make_folder(output)
            journal = stack.enter_context(closing(Journal(output, f"-{shard.replace('/', '-of-')}" if shard else "")))
            items = [Coded(item.source, item.stem, journal.earlier(item.source)) for item in items]
        outcomes = work_through(
            job,
            units_of(items, batch, job.key),
            engine=engine,
            workers=workers,
            threads=threads,
            device=device,
            items=len(items),
        )
        paths = [item.source for item in items]
        found, failures = collect(outcomes, paths, "decoding", journal.add if journal else lambda _: None)
    rows = [one["row"] for one in found]
    if as_json:
        print_json([*rows, *failures])
    else:
        _print(rows)
        print_failures(failures, len(paths))
    leave(failures)


def _print(rows: Sequence[Decoded]) -> None:
    lines: list[tuple[object, ...]] = []
    for row in rows:
        about: tuple[object, ...] = (row["file"], f"{row['width']}x{row['height']}", row["bytes"], f"{row['bpp']:.4f}")
        for name, task in row["tasks"].items():
            said = [str(task[key]) for key in ("text", "picture", "drawing") if task.get(key)]
            lines.append((*about, name, "; ".join(said)))
            about = ("", "", "", "")
        if "kept" in row:
            lines.append((*about, "", "kept"))
        if row["truncated"]:
            lines.append((*about, "", "cut in its enhancement layer: base layer only"))
        if "verified" in row:
            lines.append((*about, "", f"verified: {', '.join(row['verified'])}"))
    print_table(("file", ">size", ">bytes", ">bpp", "task", "result"), lines)
