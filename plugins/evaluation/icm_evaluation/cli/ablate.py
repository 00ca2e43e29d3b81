"""``icm ablate``: one pipeline in several variants, trained, measured, compared."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icm_core.cli.console import print_table
from icm_core.cli.options import Device, parse_names
from icm_core.errors import InputError
from icm_evaluation.cli.options import DataParams, Limit, Split, Tasks

if TYPE_CHECKING:
    from icm_evaluation.ablation import Work

NAME = "ablate"
EXAMPLE = (
    "Example: icm ablate sicmh-small --vary tasks.segmentation.adapter=sicmh.one_scale,sicmh.multi_scale "
    "--recipe adapter-camvid --train-data data --data camvid:data/camvid -o ablation"
)


def run(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="The pipeline: a spec file (.json) or a shipped name.")],
    vary: Annotated[
        list[str],
        typer.Option(
            "--vary",
            metavar="PATH=A,B",
            help="Values of a field of the spec, or of the recipe if PATH begins with recipe. Given again: a grid.",
        ),
    ],
    recipe: Annotated[str, typer.Option("--recipe", metavar="RECIPE", help="What trains each variant.")],
    data: Annotated[str, typer.Option("--data", metavar="NAME:FOLDER", help="What each variant is measured on.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the ablation.")],
    train_data: Annotated[
        Path, typer.Option("--train-data", metavar="DIR", help="Folder that the recipe's data sets are relative to.")
    ] = Path(),
    split: Split = "val",
    data_params: DataParams = "",
    qualities: Annotated[
        str, typer.Option("--qualities", "-q", metavar="Q,...", help="Qualities; by default all whole numbers.")
    ] = "",
    tasks: Tasks = "",
    limit: Limit = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="A change in all variants; may be given again."),
    ] = None,
    seeds: Annotated[
        str, typer.Option("--seeds", metavar="N,...", help="Seeds that every variant is trained with.")
    ] = "0",
    start: Annotated[
        str | None,
        typer.Option(
            "--start",
            metavar="WEIGHTS",
            help="Weights from which unvaried parts start; by default SPEC's own, 'none' for none.",
        ),
    ] = None,
    parallel: Annotated[
        int,
        typer.Option("--parallel", min=1, metavar="N", help="Variants at a time; in processes, by Ray if installed."),
    ] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the work and do nothing.")] = False,
    device: Device = "auto",
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes that read pictures in training.")] = 1,
) -> None:
    """Train a pipeline's variants, measure them, and write a table, a plot, a JSON file and a CSV file.

    Every combination of the varied values is a variant. Parts that no path touches start from the same weights in all
    variants; varied parts start untrained in all of them. A stage that variants share is trained once. If a run was
    stopped, the same command resumes it.
    """
    from icm_core.pipeline.load import find_spec
    from icm_core.plugins.registry import build_registry
    from icm_core.spec.extends import compose
    from icm_core.validation.strict_json import read_json
    from icm_evaluation.ablated import page, summary, write_summary
    from icm_evaluation.ablation import Plan, check, jobs_of, work_of
    from icm_evaluation.ablation import run as carry_out
    from icm_evaluation.options import Options, parse_numbers, parse_whole
    from icm_evaluation.variants import grid, parse_vary
    from icm_training.engine import Options as TrainOptions
    from icm_training.finding import recipe_path

    registry = build_registry()
    path = find_spec(spec, registry)
    composed = compose(path, registry)
    source = recipe_path(recipe, registry)
    weights = start or (spec if composed.has_weights else "none")
    text = read_json(source)
    if not isinstance(text, dict):
        raise InputError(f"{source}: a recipe is a JSON object")
    variants = grid(
        composed.spec.to_json(),
        text,
        [parse_vary(one) for one in vary],
        changes or [],
        None if weights == "none" else weights,
    )
    numbers = parse_whole(seeds, "--seeds")
    jobs = jobs_of(variants, numbers, output)
    plan = Plan(
        jobs,
        TrainOptions(out=output, data=train_data, home=source.parent, device=device, workers=workers),
        Options(
            model="",
            data=data,
            params=data_params,
            split=split,
            qualities=parse_numbers(qualities, "-q") if qualities else None,
            tasks=parse_names(tasks),
            limit=limit,
            workers=None if parallel == 1 else 1,
            device=device,
        ),
    )
    check(plan, registry)
    if dry_run:
        _list(work_of(jobs))
        return
    results = carry_out(plan, parallel=parallel, told=lambda line: typer.echo(line, err=True))
    command = shlex.join(
        ["icm", "ablate", spec, *(word for one in vary for word in ("--vary", one)), "--recipe", recipe]
        + [word for one in changes or [] for word in ("--set", one)]
        + (["--start", start] if start else [])
        + ["--seeds", seeds, "--data", f"{data.partition(':')[0]}:DIR"]
        + (["--data-params", data_params] if data_params else [])
        + ["--split", split]
        + (["-q", qualities] if qualities else [])
        + (["--tasks", tasks] if tasks else [])
        + (["--limit", str(limit)] if limit is not None else [])
    )
    paths = write_summary(output, jobs, results, command)
    typer.echo(page(summary(jobs, results, command)))
    typer.echo(f"written: {', '.join(map(str, paths))}")


def _list(works: list[Work]) -> None:
    rows = []
    for work in works:
        stages = {stage.name: stage for stage in work.job.recipe.stages}
        lengths = [f"{name} ({_length(stages[name].schedule)})" for name in work.stages]
        shared = [f"{name} of {owner}" for name, owner in work.shared]
        values = ", ".join(f"{path} = {value}" for path, value in work.job.variant.values.items())
        rows.append(
            (
                work.job.variant.name,
                work.job.seed,
                values,
                ", ".join(lengths) or "-",
                ", ".join(shared) or "-",
                "yes" if work.measure else "done",
            )
        )
    print_table(("variant", ">seed", "values", "to be trained", "taken over", "to be measured"), rows, "Work")


def _length(schedule: object) -> str:
    from icm_training.recipe import ScheduleSpec

    assert isinstance(schedule, ScheduleSpec)
    if schedule.steps is not None:
        return f"{schedule.steps} steps"
    if schedule.epochs is not None:
        return f"{schedule.epochs:g} epochs"
    return " + ".join(f"{p.steps} steps" if p.steps is not None else f"{p.epochs:g} epochs" for p in schedule.phases)
