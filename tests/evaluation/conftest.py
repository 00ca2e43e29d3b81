from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from icm_core import load
from icm_core.cli import app
from icm_core.pipeline.weights import save
from icm_evaluation.options import Options
from icm_evaluation.results import Result
from icm_evaluation.run import evaluate

HERE = Path(__file__).parent
sys.path.append(str(HERE))  # icm_made
_TASKS = {
    "segmentation": {"adapter": {"use": "tiny.enlarge"}, "head": {"use": "shown.labels"}},
    "classification": {"adapter": {"use": "tiny.enlarge"}, "head": {"use": "tiny.classes", "params": {"classes": 7}}},
    "coarse": {"adapter": {"use": "tiny.enlarge"}, "head": {"use": "tiny.picture"}},
}
_SPOTS = {
    "spots": {"adapter": {"use": "baselines.pixels"}, "head": {"use": "spots.finder"}},
    "picture": {"adapter": {"use": "baselines.pixels"}, "head": {"use": "baselines.picture"}},
}
SPECS: dict[str, dict[str, Any]] = {
    "scalable": {
        "icm": 1,
        "name": "scalable",
        "codec": {"use": "tiny.thumbnail"},
        "tasks": _TASKS,
        "enhancement": {"use": "tiny.residual", "over": "coarse"},
        "weights": "scalable.safetensors",
    },
    "single": {
        "icm": 1,
        "name": "single",
        "codec": {"use": "tiny.thumbnail", "params": {"steps": 3}},
        "tasks": _TASKS,
        "weights": "single.safetensors",
    },
    **{
        f"spots-{codec}": {
            "icm": 1,
            "name": f"spots-{codec}",
            "codec": {"use": f"baselines.{codec}"},
            "tasks": _SPOTS,
            "weights": f"spots-{codec}.safetensors",
        }
        for codec in ("jpeg", "webp")
    },
}
PLUGINS = ("tiny", "shown", "measured", "spots", "examples")
ENTRY_POINTS = "[icm.plugins]\n" + "".join(f"{name} = icm_{name}\n" for name in PLUGINS)

Measure = Callable[..., Result]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like site-packages, with data sets and two pipelines in it; worker processes find it, too."""
    folder = tmp_path_factory.mktemp("site")
    for module in ("core/icm_tiny.py", "cli/icm_shown.py", "evaluation/icm_measured.py", "evaluation/icm_spots.py",
                   "evaluation/icm_examples.py"):  # fmt: skip
        shutil.copy(HERE.parent / module, folder)
    about = folder / "icm_tiny-1.2.3.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: icm-tiny\nVersion: 1.2.3\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    (folder / "tiny-model.json").write_text(json.dumps({**SPECS["single"], "name": "tiny-model"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        for name, spec in SPECS.items():
            path = folder / f"{name}.json"
            path.write_text(json.dumps(spec))
            torch.manual_seed(0)
            save(load(path, device="cpu", weights=False), {path.with_suffix(".safetensors"): [""]})
    return folder


@pytest.fixture(autouse=True)
def _installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(site)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures of three sizes with class maps; their names end with a class."""
    root = tmp_path_factory.mktemp("data")
    for part in ("val", "valannot"):
        (root / part).mkdir()
    generator = np.random.default_rng(7)
    for number, (height, width) in enumerate([(24, 40), (24, 40), (33, 20), (24, 40), (180, 190)]):
        name = f"p{number}_{number % 3}.png"
        ramp = np.linspace(0, 180, width)[None, :, None] + np.linspace(0, 40, height)[:, None, None]
        noise = generator.integers(0, 30, (height, width, 3))
        Image.fromarray((ramp + noise).astype(np.uint8)).save(root / "val" / name)
        classes = generator.integers(0, 4, (height, width))
        classes[generator.random((height, width)) < 0.2] = 255
        Image.fromarray(classes.astype(np.uint8)).save(root / "valannot" / name)
    return root


@pytest.fixture
def measure(tmp_path: Path, folder: Path) -> Measure:
    """Measure with one process; further arguments are `Options`."""

    def call(model: str = "scalable", kind: str = "maps", root: Path = folder, **more: Any) -> Result:
        options = Options(model, f"{kind}:{root}", **{"workers": 1, "device": "cpu", "qualities": (1.0, 3.0), **more})
        return evaluate(options, tmp_path / f"{model}.json")

    return call


@pytest.fixture(scope="session")
def measured(site: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Results of both pipelines at four qualities, on class maps."""
    out = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        for model in ("scalable", "single"):
            evaluate(Options(model, f"maps:{folder}", workers=1, device="cpu"), out / f"{model}.json")
    return {model: out / f"{model}.json" for model in ("scalable", "single")}


@pytest.fixture(scope="session")
def spotted(site: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Results of two systems that find spots, a third party's kind, on 12 pictures."""
    out = tmp_path_factory.mktemp("spots")
    models = ("spots-jpeg", "spots-webp")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        for model in models:
            options = Options(model, "field:.", '{"count": 12}', workers=1, device="cpu", keep=out / model)
            evaluate(options, out / f"{model}.json")
    return {model: out / f"{model}.json" for model in models}


@pytest.fixture
def run() -> Callable[..., str]:
    """Run the program, which has to succeed, and return its stdout."""

    def call(*arguments: object) -> str:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert (result.exit_code, result.stderr) == (0, ""), result.stderr
        return result.stdout

    return call


@pytest.fixture
def fail() -> Callable[..., str]:
    """Run the program, which has to print nothing but one sentence and exit with code 2; return the sentence."""

    def call(*arguments: object) -> str:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert (result.exit_code, result.stdout) == (2, ""), result.output
        assert result.stderr.startswith("icm: ")
        assert result.stderr.count("\n") == 1
        return result.stderr

    return call
