"""``icm reproduce``: the paper's figures, ours beside the paper's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icm_core.cli.console import bar, complain, print_table
from icm_core.cli.options import Device
from icm_core.errors import InputError
from icm_evaluation.cli.options import DataParams, Limit, OptionalData, OptionalModels, Split

NAME = "reproduce"
EXAMPLE = "Example: icm reproduce fig11 fig16 --data camvid:data/camvid --models sicmh-small,jpeg-camvid -o figures"


def run(
    figures: Annotated[
        list[str] | None, typer.Argument(metavar="FIGURE...", help="fig11 ... sec6.2, or all; without one, lists them.")
    ] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option("--results", metavar="RESULT.json", help="What `icm evaluate` wrote; may be given again."),
    ] = None,
    data: OptionalData = None,
    split: Split = "val",
    data_params: DataParams = "",
    models: OptionalModels = None,
    limit: Limit = None,
    workers: Annotated[int | None, typer.Option("--workers", metavar="N", help="As in `icm evaluate`.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder; made if missing.")] = Path(
        "figures"
    ),
    device: Device = "auto",
) -> None:
    """Draw the paper's figures from results, with the paper's own points beside them.

    With --data and --models, what is missing is measured first, into the same folder; a result that is already there
    is used. A figure is skipped, with the reason, if it lacks what it needs, or if its curves differ in something other
    than what it shows. Results at several picture sizes make several figures.
    """
    from dataclasses import replace

    from icm_evaluation.papers import Pictures, find_figures, paper
    from icm_evaluation.reproduce import Material, draw, overview

    source = paper()
    if not figures:
        print_table(("figure", "what", "needs"), overview(source.figures), "The paper's figures")
        return
    wanted = find_figures(figures, source)

    from icm_core import build_registry, load
    from icm_core.files import make_folder
    from icm_core.plugins.datasets import open_dataset
    from icm_evaluation.agreement import check_asked, read_agreeing
    from icm_evaluation.kinds import Kinds
    from icm_evaluation.options import Options, parse_models
    from icm_evaluation.run import evaluate

    names = parse_models(models or [])
    registry = build_registry()
    kinds = Kinds(registry)
    found = [read_agreeing(path, kinds) for path in results or ()]
    material = Material(found, registry, source.source, names, sizes=source.sizes)
    if data is not None and names:
        options = [
            Options(name, data, data_params, split, limit=limit, workers=workers, device=device) for name in names
        ]
        if any(figure.kind in ("curves", "clean", "tradeoff") for figure in wanted.values()):
            make_folder(output)
            for one in options:
                path = output / f"{Path(one.model).stem}.{one.data_name}.json"
                if path.exists():
                    found.append(read_agreeing(path, kinds))
                    check_asked(path, found[-1], one)
                    typer.echo(f"taken as it is: {path}")
                    continue
                with bar(f"measuring {one.model}") as advance:
                    found.append(evaluate(one, path, advance=advance))
        if any(isinstance(figure, Pictures) for figure in wanted.values()):
            opened = open_dataset(data, split, registry, options[0].data_params())
            pipes = [load(name, device=device, registry=registry) for name in names]
            material = replace(material, pipes=pipes, data=opened, data_name=f"{options[0].data_name} {split}")
    missing = False
    for name, figure in wanted.items():
        try:
            for path in draw(name, figure, material, output):
                typer.echo(f"{name}: {path}")
        except InputError as error:
            missing = True
            complain(error)
    if missing:
        raise typer.Exit(2)
