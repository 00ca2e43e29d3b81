"""``icm check``: does a spec hold together, and what does the pipeline cost?"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from icm_core.cli.console import print_json, print_table
from icm_core.cli.options import AsJson
from icm_core.cli.sizes import Size, parse_size
from icm_core.errors import SpecError

if TYPE_CHECKING:
    from icm_core.account import Account, Cost, Sharing

NAME = "check"
EXAMPLE = "Example: icm check my-pipeline.json --size 360x480"


def run(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A spec file (.json) or a shipped pipeline's name.")],
    size: Size = "512x1024",
    with_sources: Annotated[
        bool, typer.Option("--sources", help="Show each value of the merged spec, and which file it comes from.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Validate a spec and print its resolved graph, with shapes, parameters and kMAC per pixel.

    A spec that extends another is shown as it is after merging; --sources says where each value comes from.

    Nothing is trained, downloaded or allocated, and no weights are needed. Behind the modules stands the account of
    what sharing them between tasks saves.
    """
    height, width = parse_size(size)

    from icm_core.account import account
    from icm_core.composing import compose
    from icm_core.loading import find_spec
    from icm_core.plugins import build_registry
    from icm_core.sources import sources

    registry = build_registry()
    path = find_spec(spec, registry)
    composed = compose(path, registry)
    try:
        found = account(composed.spec, registry, height=height, width=width)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error
    origins = sources(composed, registry) if with_sources else []
    if as_json:
        more = {"merged": composed.spec.to_json(), "sources": [asdict(one) for one in origins]} if with_sources else {}
        print_json({"spec": str(path), **found.model_dump(mode="json"), **more})
    else:
        _print(found)
        rows = [(one.field, json.dumps(one.value, ensure_ascii=False), one.origin) for one in origins]
        print_table(("field", "value", "from"), rows, "Where each value comes from")


def _print(found: Account) -> None:
    rows: list[tuple[object, ...]] = []
    parent = ""
    for module in found.modules:
        parent = module.path if module.use else parent
        name = module.path if module.use else "  " + module.path.removeprefix(f"{parent}.")
        shapes = ", ".join(f"{key} {'x'.join(map(str, shape))}" for key, shape in module.outputs.items())
        rows.append((name, module.use, *_cells(module.cost), shapes))
    rows.append(("all", "", *_cells(found.total), ""))
    print_table(
        ("module", "component", ">parameters", ">kMAC/pixel", "outputs"),
        rows,
        f"{found.name}, picture {found.width}x{found.height}, computed at {found.padded[1]}x{found.padded[0]}",
    )
    _print_sharing(found.sharing)


def _print_sharing(sharing: Sharing) -> None:
    rows: list[tuple[object, ...]] = [
        ("a, codec", *_cells(sharing.a)),
        ("b, adapter (mean)", *_cells(sharing.b)),
        ("c, coarse reconstruction", *_cells(sharing.c)),
        ("d, enhancement", *_cells(sharing.d)),
        (f"shared: {sharing.shared_formula}", *_cells(sharing.shared)),
        (f"separate systems: {sharing.separate_formula}", *_cells(sharing.separate)),
        (
            "shared / separate",
            _ratio(sharing.shared.parameters, sharing.separate.parameters),
            _ratio(sharing.shared.kmac_per_pixel, sharing.separate.kmac_per_pixel),
        ),
    ]
    print_table(("modules", ">parameters", ">kMAC/pixel"), rows, "Sharing (task networks left out: the same in both)")


def _cells(cost: Cost) -> tuple[str, str]:
    return f"{cost.parameters:,}", f"{cost.kmac_per_pixel:,.2f}"


def _ratio(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "-"
