"""``python -m icm_training STAGE... --data DIR --run DIR``: trains stages in order, each from the one before."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import icm_core
from icm_core.errors import IcmError, InputError
from icm_core.weights import save, stored_state
from icm_training.stages import Stages, freeze

STEPS = {
    "head": 320,
    "warmup": 1400,
    "joint": 800,
    "segmentation": 180,
    "coarse": 400,
    "fine": 1000,
    "classification": 200,
}
"""The stages in their order, with their steps. (docs/training.md tells how the shipped weights differ.)"""

FILES = {
    "codec": ["codec.", "enhancement.", "tasks.coarse.", "tasks.segmentation."],
    "tasks": ["tasks.classification."],
}


def training_record(run: Path) -> dict[str, object]:
    """What the logs say of each stage: steps, seconds, the last means."""
    logs = {name: run / f"{name}.jsonl" for name in STEPS}
    stages = {name: json.loads(log.read_text().splitlines()[-1]) for name, log in logs.items() if log.exists()}
    return {
        "command": "python -m icm_training --data DIR --run RUN --export DIR",
        "device": f"{torch.get_num_threads()} {platform.machine()} CPU cores, bfloat16, torch {torch.__version__}",
        "stages": stages,
    }


def main() -> None:
    """Parse the command line and train, then export when asked."""
    parser = argparse.ArgumentParser(prog="python -m icm_training", description=__doc__)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"of {', '.join(STEPS)}; without any, all")
    parser.add_argument("--data", type=Path, help="folder with camvid, imagenette224 and bsds500")
    parser.add_argument("--run", type=Path, required=True, help="folder for logs, checkpoints and the stages' results")
    parser.add_argument("--steps", type=int, help="optimiser steps, when one stage is given")
    parser.add_argument("--spec", default="sicmh-small", help="pipeline that is trained")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--export", type=Path, help="write <spec>.*.safetensors of the last finished stage here")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    pipe = icm_core.load(options.spec, weights=False)
    stages = options.stages or ([] if options.export and not options.data else list(STEPS))
    for name in stages:
        if name not in STEPS:
            raise InputError(f"unknown stage '{name}'; known: {', '.join(STEPS)}")
    if stages and options.data is None:
        raise InputError("training needs --data, a folder with camvid, imagenette224 and bsds500")
    for name in stages:
        before = list(STEPS)[: list(STEPS).index(name)]
        done = [options.run / f"{b}.safetensors" for b in reversed(before)]
        start = next((path for path in done if path.exists()), None)
        if start is not None:
            pipe.load_state_dict(load_file(start))
        print(f"stage {name}, from {start.name if start else 'ImageNet features and random weights'}", flush=True)
        getattr(Stages(pipe, options.data, options.run, options.seed), name)(options.steps or STEPS[name])
        aside = options.run / f"{name}.tmp"
        save_file({key: value.contiguous() for key, value in pipe.state_dict().items()}, aside)
        aside.replace(options.run / f"{name}.safetensors")
    if options.export:
        finished = [path for name in STEPS if (path := options.run / f"{name}.safetensors").exists()]
        if not finished:
            raise InputError(f"nothing to export: '{options.run}' holds no finished stage")
        pipe.load_state_dict(load_file(finished[-1]))
        # Tables are made from the rounded parameters, which are what a reader of the files has.
        pipe.load_state_dict(stored_state(pipe))
        freeze(pipe)
        save(pipe, {options.export / f"{options.spec}.{part}.safetensors": keys for part, keys in FILES.items()})
        record = options.export / f"{options.spec}.training.json"
        record.write_text(json.dumps(training_record(options.run), indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except IcmError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
