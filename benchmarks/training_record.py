"""The records of several runs as one: what trained the weights that ship, where it took more than one run.

python benchmarks/training_record.py RUN [RUN ...] --json benchmarks/results/sicmh-small.training.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from icm_core.files import write_atomically
from icm_core.validation.strict_json import read_json
from icm_training.export import training_record
from icm_training.folder import RunFolder
from icm_training.recipe import parse_recipe


def merged(runs: list[Path]) -> dict[str, Any]:
    """The last run's record with the stages of all; paths of the machine that they ran on stay out."""
    stages: dict[str, Any] = {}
    record: dict[str, Any] = {}
    for run in runs:
        record = training_record(RunFolder(run), parse_recipe(read_json(run / "recipe.json")))
        for name, stage in record["stages"].items():
            stages.pop(name, None)  # a stage that ran again stands where it ran last
            stages[name] = {**stage, "source": record["source"]}
    command = f"icm train {record['recipe']} --data DIR -o RUN --stages {','.join(stages)}"
    return {**record, "command": command, "stages": stages}


def main() -> None:
    """Read, merge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--json", required=True, type=Path)
    options = parser.parse_args()
    write_atomically(options.json, f"{json.dumps(merged(options.runs), indent=1)}\n".encode())


if __name__ == "__main__":
    main()
