"""``icm check``: is a spec valid, and what does the pipeline cost?"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from icm_core.cli.console import print_json, print_table
from icm_core.cli.options import AsJson
from icm_core.cli.sizes import Size, parse_size
from icm_core.errors import InputError, SpecError

if TYPE_CHECKING:
    from icm_core.coding.bounds import Bound
    from icm_core.inspection.cost import Account, Cost, Sharing

NAME = "check"
EXAMPLE = "Example: icm check my-pipeline.json --size 360x480"


def run(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A spec file (.json) or a shipped pipeline's name.")],
    size: Size = "512x1024",
    with_sources: Annotated[
        bool, typer.Option("--sources", help="Show each value of the merged spec, and which file it comes from.")
    ] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="Load the weights and prove that the coding path cannot overflow.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Validate a spec and print its resolved graph, with shapes, parameters and kMAC per pixel.

    A spec that extends another is shown as it is after merging; --sources says where each value comes from.

    Nothing is trained, downloaded or allocated, and no weights are needed. A second table says what sharing the
    modules between tasks saves.

    With --exact the pipeline's weights are loaded. The table then has the largest possible sum of every layer on the
    coding path, and the limit below which the arithmetic is exact.
    """
    if exact:
        _prove(spec, as_json)
        return
    height, width = parse_size(size)

    from icm_core.inspection.cost import account
    from icm_core.pipeline.load import find_spec
    from icm_core.plugins.registry import build_registry
    from icm_core.spec.extends import compose
    from icm_core.spec.origins import sources

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


def _prove(model: str, as_json: bool) -> None:
    from icm_core.pipeline.load import load

    pipe = load(model, device="cpu")
    bounds = pipe.prove()
    if not bounds:
        raise InputError(f"the codec of pipeline {pipe.name!r} gives no proof that its coding path is exact")
    if as_json:
        print_json({"name": pipe.name, "fingerprint": pipe.base_fingerprint.hex(), "layers": list(map(_row, bounds))})
    else:
        least = min(bound.margin_bits for bound in bounds)
        print_table(
            ("layer", "arithmetic", ">largest", ">limit", ">margin"),
            [
                (b.layer, b.arithmetic, f"2^{b.bits:.2f}", f"2^{b.limit_bits:.0f}", f"{b.margin_bits:.2f} bits")
                for b in bounds
            ],
            f"{pipe.name}: exact, {len(bounds)} layers, smallest margin {least:.2f} bits",
        )


def _row(bound: Bound) -> dict[str, object]:
    return {
        "layer": bound.layer,
        "arithmetic": bound.arithmetic,
        "largest": bound.largest,
        "limit": bound.limit,
        "margin_bits": bound.margin_bits,
    }


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
        ("codec", *_cells(sharing.codec)),
        ("adapter (mean)", *_cells(sharing.adapter)),
        ("picture: head of the base picture", *_cells(sharing.picture)),
        ("enhancement", *_cells(sharing.enhancement)),
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
