"""Whole runs of the recipe `smoke`, as processes: broken off and resumed, on one process and on two."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from icm_core import Pipeline

# With dropout, so that something in a step is random that is no augmentation and no noise.
SHORT = [
    *("--set", "stages.joint.schedule.steps=8", "--set", "checkpoint_every=2", "--set", "log_every=2"),
    *("--set", "pipeline.tasks.segmentation.head.params.dropout=0.1"),
]
STAGES = ("joint", "segmentation", "coarse", "fine")


def command(out: Path, *more: str, launcher: tuple[str, ...] = ()) -> list[str]:
    return [sys.executable, *launcher, "-m", "icm_core", "train", "smoke", "-o", str(out), "--device", "cpu", *more]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def run(out: Path, *more: str, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    found = subprocess.run(
        command(out, *more, launcher=launcher), capture_output=True, text=True, env=environment(), timeout=400
    )
    assert found.returncode == 0, found.stderr[-2000:]
    return found


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "run"
    run(out, *SHORT)
    return out


def test_a_killed_run_goes_on_to_the_very_weights_of_an_unbroken_one(unbroken: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen(
        command(out, *SHORT), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not (out / "joint" / "step-000000004.safetensors").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "joint" / "done.json").exists()
    run(out, "--resume", *SHORT)
    for stage in STAGES:
        ours, theirs = (load_file(folder / stage / "weights.safetensors") for folder in (out, unbroken))
        assert ours.keys() == theirs.keys()
        assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []
        rows, whole = ((folder / stage / "log.csv").read_text().splitlines() for folder in (out, unbroken))
        assert [row.split(",")[0] for row in rows] == [row.split(",")[0] for row in whole]


def two_processes() -> tuple[str, ...]:
    return ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(20000 + os.getpid() % 20000))


# Plain gradient descent: Adam's first steps are of one size whatever the gradient, so that a sum in another order turns
# values about zero round, and float noise would be compared with nothing but itself.
PLAIN = (
    *("--stages", "joint", "--set", "stages.joint.schedule.steps=4", "--set", "stages.joint.validate_on=null"),
    *("--set", 'stages.joint.optimizer={"use": "sgd", "weight_decay": 0}', "--set", "stages.joint.train.0.lr=0.05"),
    *("--set", "log_every=1"),
)


def test_two_processes_train_what_one_does(pipe: Pipeline, tmp_path: Path) -> None:
    run(tmp_path / "one", *PLAIN)
    run(tmp_path / "two", *PLAIN, launcher=two_processes())
    one, two = (load_file(tmp_path / name / "joint" / "weights.safetensors") for name in ("one", "two"))
    moved = apart = 0.0
    for key, start in pipe.state_dict().items():
        if start.is_floating_point():
            own_move, own_gap = float((one[key] - start).norm()), float((two[key] - one[key]).norm())
            assert own_gap <= 2e-3 * own_move + 1e-7, key
            moved, apart = moved + own_move**2, apart + own_gap**2
    assert moved**0.5 > 0.05 and apart**0.5 < 1e-4 * moved**0.5
    logs = []
    for name in ("one", "two"):
        with (tmp_path / name / "joint" / "log.csv").open(newline="") as file:
            logs.append(list(csv.DictReader(file)))
    for ours, theirs in zip(*logs, strict=True):
        assert float(ours["loss"]) == pytest.approx(float(theirs["loss"]), rel=1e-4)
        assert float(ours["gradient"]) == pytest.approx(float(theirs["gradient"]), rel=1e-3)


def test_a_second_run_needs_another_folder_or_resume(unbroken: Path) -> None:
    found = subprocess.run(command(unbroken, *SHORT), capture_output=True, text=True, env=environment(), timeout=400)
    assert found.returncode == 2
    assert "--resume" in found.stderr
