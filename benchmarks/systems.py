"""The systems that SICMH is compared with: a short training of each recipe here, and what comes of it measured.

    python benchmarks/systems.py --data DIR --runs RUNS [--only RECIPE,...] [--steps N]

DIR holds ``camvid`` and ``imagenette224``. Each row of ``benchmarks/systems/*.json`` says what its short training is:
of each stage the steps, the pictures a step and the side of their crops; everything else is as the recipe that ships
has it. ``given`` names recipes whose stage of that name is taken over, so that rows which differ in later stages share
the codec. ``variant`` is a spec beside the rows that is trained in place of the recipe's.

Rows run one after the other, on one thread. What is done is not done again; a stopped
training goes on. RUNS keeps runs and weights, which do not ship. ``benchmarks/results/systems`` gets a result and a
record of its training for each row. The pictures are among those that ``sicmh-small`` is measured on.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from icm_core import Registry, build_registry
from icm_core.errors import IcmError
from icm_core.files import make_folder, write_atomically
from icm_evaluation.options import Options as Measurement
from icm_evaluation.run import evaluate
from icm_training.engine import Options, train
from icm_training.export import export, training_record
from icm_training.finding import find_recipe
from icm_training.folder import RunFolder
from icm_training.recipe import RecipeSpec, ScheduleSpec, StageSpec

ROWS = Path(__file__).parent / "systems"
RESULTS = Path(__file__).parent / "results/systems"

PICTURES: dict[str, tuple[str, int]] = {
    "camvid": ("camvid:{data}/camvid", 6),
    "imagenette": ("folders:{data}/imagenette224", 20),
}
"""Data set and number of the pictures that a row is measured on."""

TRAIN = {"camvid": "CamVid train, 367 pictures", "imagenette": "Imagenette train, 1250 of its pictures"}
"""What the recipes train on."""


def rows() -> list[dict[str, Any]]:
    """All rows of the page."""
    return [row for file in sorted(ROWS.glob("*.json")) for row in json.loads(file.read_text("utf-8"))]


def stem(row: dict[str, Any]) -> str:
    """Name of a row's files."""
    return ".".join(filter(None, (row["spec"], row.get("recipe"))))


def shortened(recipe: RecipeSpec, row: dict[str, Any], steps: int | None) -> RecipeSpec:
    """The recipe with the row's schedule, without figures on other pictures while it runs."""

    def short(stage: StageSpec) -> StageSpec:
        plan = row["short"][stage.name]
        feeds = tuple(
            feed.model_copy(
                update={
                    "batch": plan["batch"],
                    "augment": feed.augment.model_copy(update={"crop": (plan["crop"], plan["crop"])}),
                }
            )
            for feed in stage.feeds
        )
        count = steps or plan["steps"]
        schedule = ScheduleSpec(steps=count, warmup=min(50, count // 4))
        return stage.model_copy(update={"feeds": feeds, "schedule": schedule, "validate_on": None})

    changes: dict[str, Any] = {"stages": tuple(map(short, recipe.stages)), "log_every": 25}
    if "variant" in row:
        changes["pipeline"] = str(ROWS / "variants" / f"{row['variant']}.json")
    return recipe.model_copy(update=changes)


def trained(row: dict[str, Any], data: Path, runs: Path, steps: int | None, registry: Registry) -> Path:
    """The exported spec of a row after its training, which is recorded."""
    recipe, home = find_recipe(row["recipe"], registry, row.get("set", []))
    recipe = shortened(recipe, row, steps)
    run = runs / row["recipe"]
    given = {stage: runs / other / stage for stage, other in row.get("given", {}).items()}
    options = Options(run, data, home, resume=run.exists(), device="cpu", workers=0, given=given)
    train(recipe, options, registry)
    record = training_record(RunFolder(run), recipe)
    record = {key: record[key] for key in ("recipe", "seed", "device", "python", "packages", "source", "stages")}
    record["pictures"] = TRAIN[row["pictures"]]
    for stage in recipe.stages:
        record["stages"][stage.name] |= {key: row["short"][stage.name][key] for key in ("batch", "crop")}
        record["stages"][stage.name]["from"] = row.get("given", {}).get(stage.name)
    write_atomically(RESULTS / "training" / f"{stem(row)}.json", f"{json.dumps(record, indent=1)}\n".encode())
    return export(run, run / "exported", registry).spec


def run(row: dict[str, Any], options: argparse.Namespace, registry: Registry) -> None:
    """Train, export and measure one row, unless it has its result."""
    out = RESULTS / f"{stem(row)}.json"
    if out.is_file():
        return
    data, limit = PICTURES[row["pictures"]]
    model = row["spec"]
    if "recipe" in row:
        model = str(trained(row, options.data, options.runs, options.steps, registry))
    told = {key: tuple(value) if isinstance(value, list) else value for key, value in row.get("measure", {}).items()}
    how: dict[str, Any] = {"limit": limit, "workers": 1, "device": "cpu", **told}
    evaluate(Measurement(model=model, data=data.format(data=options.data), **how), out)


def main() -> int:
    """Run what is asked for, one after the other; what fails is said, and the others still run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--runs", required=True, type=Path, help="folder for runs and weights")
    parser.add_argument("--only", default="", help="recipes, or specs of rows without one; by default all")
    parser.add_argument("--steps", type=int, help="so many steps of every stage, in place of the row's")
    options = parser.parse_args()
    known = {row.get("recipe", row["spec"]): row for row in rows() if "pictures" in row}
    wanted = options.only.split(",") if options.only else list(known)
    if unknown := [name for name in wanted if name not in known]:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(known)}")
    torch.set_num_threads(1)
    make_folder(RESULTS / "training")
    registry, failed = build_registry(), 0
    for name in wanted:
        try:
            run(known[name], options, registry)
        except IcmError as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
