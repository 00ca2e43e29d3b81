"""``icm new``: a package for a component of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icm_core.cli.console import print_json
from icm_core.cli.options import AsJson
from icm_core.errors import InputError

NAME = "new"
EXAMPLE = "Example: icm new head mylab.depth && pip install --editable 'mylab-depth[test]' && pytest mylab-depth"


def run(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="head, adapter, codec, enhancement or dataset.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its registered name, like mylab.depth.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder; by default the package's name, mylab-depth."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write an installable package with a small component that works, to be changed into yours.

    It holds the class with its parameters, the entry point, a spec that uses it, and tests that check its contract;
    they pass at once. Existing files are never written over.
    """
    from icm_core.plugins.registry import build_registry
    from icm_core.scaffold import make_package

    taken = {found for catalogue in build_registry().catalogues for found in catalogue.names}
    if name in taken:
        raise InputError(f"the name {name!r} is taken by a component that is installed; choose another")
    folder = output if output is not None else Path(name.replace(".", "-").replace("_", "-"))
    written = make_package(kind, name, folder)
    if as_json:
        print_json({"folder": str(folder), "files": [str(path) for path in written]})
    else:
        typer.echo("\n".join(map(str, written)))
        typer.echo(f"\nNext: pip install --editable '{folder}[test]' && pytest {folder}")
