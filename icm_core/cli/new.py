"""``icm new``: a package for a component of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icm_core.cli.console import print_json
from icm_core.cli.options import AsJson
from icm_core.errors import InputError

NAME = "new"
EXAMPLE = (
    "Example: icm new head mylab.depth --kind depth && pip install --editable 'mylab-depth[test]' && pytest mylab-depth"
)


def run(
    component: Annotated[
        str, typer.Argument(metavar="COMPONENT", help="head, adapter, codec, enhancement, kind or dataset.")
    ],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its registered name, like mylab.depth.")],
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="Kind of a head's answers or a data set's targets, such as detection; by default classification.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder; by default the package's name, mylab-depth."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write an installable package with a small component that works, for you to change.

    It holds the class with its parameters, the entry point, a spec that uses it, and tests that check its contract;
    they pass at once. Existing files are never overwritten.

    If your answers are of a new kind, icm new kind writes one, with a metric of its own.
    """
    from icm_core.interfaces.dataset import PICTURES
    from icm_core.plugins.registry import build_registry
    from icm_core.scaffold import make_package
    from icm_registry import unknown

    registry = build_registry()
    taken = {found for catalogue in registry.catalogues for found in catalogue.names}
    if name in taken:
        raise InputError(f"the name {name!r} is taken by a component that is installed; choose another")
    known = [*registry.kinds.names, PICTURES]
    if kind is not None and kind not in known:
        raise InputError(unknown("kind", kind, known))
    folder = output if output is not None else Path(name.replace(".", "-").replace("_", "-"))
    written = make_package(component, name, folder, kind)
    if as_json:
        print_json({"folder": str(folder), "files": [str(path) for path in written]})
    else:
        typer.echo("\n".join(map(str, written)))
        typer.echo(f"\nNext: pip install --editable '{folder}[test]' && pytest {folder}")
