"""``icm train``: a recipe -> a run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from icm_core.cli.options import Device
from icm_core.errors import InputError

NAME = "train"
EXAMPLE = "Example: icm train camvid-small --data pictures -o runs/first --set stages.fine.schedule.steps=2000"


def run(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe file (.json) or a shipped recipe's name.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="RUN", help="Folder of the run.")],
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="Folder that the recipe's data sets are relative to.")
    ] = Path(),
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run in the folder.")] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe; may be given again."),
    ] = None,
    stages: Annotated[
        str, typer.Option("--stages", metavar="A,B", help="Train these stages only; those before must be done.")
    ] = "",
    device: Device = "auto",
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Processes that read pictures, for each device.")
    ] = 1,
    loggers: Annotated[
        list[str] | None,
        typer.Option("--logger", metavar="NAME", help="Log to wandb or mlflow, too; may be given again."),
    ] = None,
) -> None:
    """Train what a recipe says, stage by stage.

    --resume continues an interrupted run as if it had not been interrupted. For several GPUs or machines, start the
    same command with torchrun, as in "torchrun --nproc-per-node 4 -m icm_core train ...".
    """
    try:
        import lightning_fabric  # noqa: F401
        import tensorboard  # noqa: F401
    except ImportError as error:
        raise InputError(f"training needs {error.name}; install it with: pip install 'icm-framework[train]'") from error

    # Its remarks about precision and processes are for those who build on it.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)

    from icm_core.plugins.registry import build_registry
    from icm_training.engine import Options, train
    from icm_training.finding import find_recipe
    from icm_training.loggers import check_loggers

    registry = build_registry()
    found, home = find_recipe(recipe, registry, changes or ())
    names = [name for name in stages.split(",") if name]
    check_loggers(loggers or [])
    options = Options(
        out=output,
        data=data,
        home=home,
        resume=resume,
        stages=names,
        device=device,
        workers=workers,
        loggers=loggers or (),
    )
    folder = train(found, options, registry)
    typer.echo(f"trained: {', '.join(s.name for s in found.stages if folder.is_done(s.name))} in {output}")
