"""``icm join``: a whole file from its base file and its enhancement."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icm_core.bitstream.split import join
from icm_core.cli.console import print_json, print_table
from icm_core.cli.inputs import check_names
from icm_core.cli.options import AsJson
from icm_core.files import read_file, write_atomically

NAME = "join"
EXAMPLE = "Example: icm join photo.base.icm photo.icme -o photo.icm"


def run(
    base: Annotated[Path, typer.Argument(metavar="BASE", help="A base file, or one cut in its enhancement layer.")],
    enhancement: Annotated[Path, typer.Argument(metavar="ENH", help="The .icme file that icm split made from it.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The whole file.")],
    as_json: AsJson = False,
) -> None:
    """Put a base file and its enhancement together; parts of different files are refused."""
    for path in (base, enhancement):
        check_names([path], [output])
    blob = join(read_file(base), read_file(enhancement))
    write_atomically(output, blob)
    if as_json:
        print_json({"output": str(output), "bytes": len(blob)})
    else:
        print_table(("file", ">bytes"), [(output, len(blob))])
