"""The records of several runs as one: what trained the weights that ship, where it took more than one run.

python benchmarks/training_record.py RUN [RUN ...] --recipes A,B --json benchmarks/results/sicmh-small.training.json

RUN is a run's folder, or the record of earlier weights that these went on from (a JSON file). A stage that was stopped
is recorded as far as its log goes. The recipes are those that ship and do the same, in their order.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

from icm_core.files import write_atomically
from icm_core.validation.strict_json import read_json
from icm_training.export import training_record
from icm_training.folder import RunFolder
from icm_training.recipe import parse_recipe

SHARES = ("data share", "forward share", "backward share")


def merged(runs: list[Path], recipes: list[str]) -> dict[str, Any]:
    """The last run's record with the stages of all; paths of the machine that they ran on stay out."""
    stages: dict[str, Any] = {}
    record: dict[str, Any] = {}
    for run in runs:
        if run.is_file():
            stages |= json.loads(run.read_text())["stages"]
            continue
        recipe = parse_recipe(read_json(run / "recipe.json"))
        record = training_record(RunFolder(run), recipe)
        for stage in recipe.stages:
            found = record["stages"].get(stage.name) or stopped(run / stage.name / "log.csv", record["device"])
            if found is not None:
                stages[_free(stage.name, stages)] = {**found, "source": record["source"]}
    command = "; ".join(f"icm train {recipe} --data DIR -o RUN" for recipe in recipes)
    return {**record, "recipe": recipes[-1], "command": command, "stages": stages}


def stopped(log: Path, device: str) -> dict[str, Any] | None:
    """What the log of a stage says that was stopped before its last step; None without a log."""
    if not log.is_file():
        return None
    last: dict[str, float] = {}
    seconds, before = 0.0, 0
    with log.open(newline="") as file:
        for row in csv.DictReader(file):
            last.update({key: float(value) for key, value in row.items() if value})
            steps = int(row["step"]) - before
            if row["pictures/s"] and steps > 0:
                seconds += steps * batch_of(log) / float(row["pictures/s"])
                before += steps
    shares = {name.replace(" ", "_"): round(last[name], 3) for name in SHARES}
    rate = round(last["pictures/s"], 2)
    return {
        "steps": before,
        "seconds": round(seconds),
        "device": device,
        "pictures_a_second": rate,
        **shares,
        "last": last,
    }


def batch_of(log: Path) -> int:
    """Pictures in a step of the stage that a log is of."""
    recipe = parse_recipe(read_json(log.parents[1] / "recipe.json"))
    return sum(feed.batch for stage in recipe.stages if stage.name == log.parent.name for feed in stage.feeds)


def _free(name: str, taken: dict[str, Any]) -> str:
    """The name, or the name with a number, where an earlier stage has it."""
    return name if name not in taken else _free(f"{name.rstrip('0123456789 ')} {_number(name) + 1}", taken)


def _number(name: str) -> int:
    last = name.rpartition(" ")[2]
    return int(last) if last.isdigit() else 1


def main() -> None:
    """Read, merge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--recipes", required=True)
    parser.add_argument("--json", required=True, type=Path)
    options = parser.parse_args()
    write_atomically(
        options.json, f"{json.dumps(merged(options.runs, options.recipes.split(',')), indent=1)}\n".encode()
    )


if __name__ == "__main__":
    main()
