"""``icm split``: a file taken apart into its base file and its enhancement."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypedDict

import typer

from icm_core.bitstream.split import split
from icm_core.cli.batch import for_each, leave, print_failures
from icm_core.cli.console import print_json, print_table
from icm_core.cli.inputs import CODED, PART, check_names, expand
from icm_core.cli.options import AsJson, OutputFolder
from icm_core.files import make_folder, read_file, write_atomically

NAME = "split"
EXAMPLE = "Example: icm split photo.icm -o parts && icm decode parts/photo.base.icm --enhancement parts/photo.icme"


class Parts(TypedDict):
    """The JSON row of one file."""

    file: str
    base: str
    enhancement: str
    base_bytes: int
    enhancement_bytes: int


def run(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files, or folders of .icm files.")],
    output: OutputFolder = Path(),
    as_json: AsJson = False,
) -> None:
    """Split .icm files into <stem>.base.icm, which every task reads, and <stem>.icme, the rest.

    icm join puts them together again, byte for byte; icm decode takes both.
    """
    paths = expand(files, CODED)
    check_names(paths, [output / f"{path.stem}.base.icm" for path in paths])
    check_names(paths, [output / f"{path.stem}{PART}" for path in paths])

    def work(path: Path) -> Parts:
        base, enhancement = split(read_file(path))
        make_folder(output)
        one, two = output / f"{path.stem}.base.icm", output / f"{path.stem}{PART}"
        write_atomically(one, base)
        write_atomically(two, enhancement)
        return Parts(
            file=str(path),
            base=str(one),
            enhancement=str(two),
            base_bytes=len(base),
            enhancement_bytes=len(enhancement),
        )

    rows, failures = for_each(paths, work, "splitting")
    if as_json:
        print_json([*rows, *failures])
    else:
        print_table(
            ("base", ">bytes", "enhancement", ">bytes"),
            [(row["base"], row["base_bytes"], row["enhancement"], row["enhancement_bytes"]) for row in rows],
        )
        print_failures(failures, len(paths))
    leave(failures)
