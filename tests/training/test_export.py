"""A run made into a pipeline: loadable by path, frozen parts as they were, from a hub."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import icm_core
from icm_core.cli import app
from icm_core.errors import InputError
from icm_core.plugins.registry import Registry, build_registry
from icm_training.engine import Options, train
from icm_training.export import Exported, _is_bare, export
from icm_training.finding import find_recipe
from icm_training.folder import RunFolder
from icm_training.shapes import Shapes

SHORT = [f'stages.{stage}.schedule={{"steps": 1}}' for stage in ("joint", "segmentation", "coarse", "fine")]
COMMIT = "0" * 40


@pytest.fixture(scope="module")
def registry() -> Registry:
    return build_registry()


def trained(out: Path, registry: Registry, *changes: str, stages: tuple[str, ...] = ()) -> Path:
    recipe, home = find_recipe("smoke", registry, [*SHORT, *changes])
    train(recipe, Options(out=out, data=out, home=home, device="cpu", workers=0, stages=stages), registry)
    return out


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Path:
    return trained(tmp_path_factory.mktemp("export") / "run", registry)


@pytest.fixture(scope="module")
def exported(run: Path, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(run, tmp_path_factory.mktemp("exported"), registry)


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    return Shapes(Shapes.Params.model_validate({"size": 80}), Path(), "").__getitem__(7).picture


def test_an_export_encodes_and_decodes_by_its_path_alone(exported: Exported, picture: torch.Tensor) -> None:
    writer, reader = (icm_core.load(exported.spec, device="cpu") for _ in range(2))
    found = reader.decode(writer.encode(picture, quality=2))
    assert set(found) == {"segmentation", "coarse", "fine"}
    assert found["segmentation"].output.shape == (1, 3, 80, 80)


def test_parameters_are_stored_in_float16(exported: Exported) -> None:
    (weights,) = [path for path in exported.files if path.suffix == ".safetensors"]
    with safe_open(weights, "pt") as file:
        assert file.get_tensor("codec.encoder.0.weight").dtype == torch.float16


def test_tables_are_those_of_the_rounded_parameters(exported: Exported) -> None:
    """Every reader of the files makes the same."""
    pipe = icm_core.load(exported.spec, device="cpu")
    assert pipe.enhancement is not None
    before = {name: buffer.clone() for name, buffer in pipe.named_buffers()}
    assert any("table" in name for name in before) and any("cdf" in name for name in before)
    pipe.codec.freeze_tables()
    pipe.enhancement.freeze_tables()
    assert [name for name, buffer in pipe.named_buffers() if not torch.equal(buffer, before[name])] == []


def test_the_last_stage_is_exported_unless_another_is_named(
    exported: Exported, run: Path, registry: Registry, tmp_path: Path
) -> None:
    early = export(run, tmp_path, registry, stage="joint")
    for found, stage in ((exported, "fine"), (early, "joint")):
        (weights,) = [path for path in found.files if path.suffix == ".safetensors"]
        stored, trained = load_file(weights), load_file(RunFolder(run).result(stage))
        own = [key for key in stored if key.startswith("enhancement.decoder_r.") and key.endswith("weight")]
        assert own and all(torch.equal(stored[key], trained[key].half()) for key in own)
    assert not torch.equal(load_file(exported.files[1])[own[0]], load_file(early.files[1])[own[0]])


def test_the_card_tells_recipe_data_and_every_stage(exported: Exported) -> None:
    text = (exported.spec.parent / "README.md").read_text()
    for words in ("smoke", "training.shapes", "| joint |", "| fine |", "fingerprint"):
        assert words in text
    pipe = icm_core.load(exported.spec, device="cpu")
    assert pipe.base_fingerprint.hex() in text
    assert f"{sum(parameter.numel() for parameter in pipe.parameters()):,} parameters in\n`smoke.safetensors`" in text
    assert "tasks `segmentation` (segmentation), `coarse` (reconstruction); enhancement `sicmh.residual` over" in text
    assert "Trained on `training.shapes`, train (shapes). Looked at while training: others." in text
    record = json.loads((exported.spec.parent / "smoke.training.json").read_text())
    for name, stage in record["stages"].items():
        assert f"| {name} | 1 | {stage['seconds'] / 60:.1f} | {stage['device']} |" in text


def test_a_label_with_a_comma_is_one_column_of_the_record(registry: Registry, tmp_path: Path) -> None:
    labelled = 'stages.joint.feeds.0.losses.0.label="rate, both layers"'
    run = trained(tmp_path / "run", registry, labelled, stages=("joint",))
    spec = export(run, tmp_path / "exported", registry).spec
    last = json.loads(spec.with_suffix(".training.json").read_text())["stages"]["joint"]["last"]
    assert last["step"] == 1 and last["rate, both layers"] > 0 and last["loss"] > 0


def test_a_head_trained_on_a_frozen_codec_reads_the_files_of_before(
    exported: Exported, registry: Registry, tmp_path: Path, picture: torch.Tensor
) -> None:
    folder = tmp_path / "before"
    shutil.copytree(exported.spec.parent, folder)
    # Made on another machine, a table may differ from what this one would make of the weights.
    tensors = load_file(folder / exported.files[1].name)
    assert int(tensors["codec.h2_cdf"][0, 0, 32:34].diff()) > 1
    tensors["codec.h2_cdf"][0, 0, 32] += 1
    save_file(tensors, folder / exported.files[1].name)
    before = icm_core.load(folder / exported.spec.name, device="cpu")
    blob = before.encode(picture, quality=1)
    recipe = json.loads((Path(str(registry.recipes.get("smoke")))).read_text())
    pipeline = recipe["pipeline"]
    pipeline["name"] = "other-head"
    pipeline["tasks"]["segmentation"]["head"]["params"]["channels"] = 24
    stage = next(stage for stage in recipe["stages"] if stage["name"] == "segmentation")
    stage["start"] = [{"weights": exported.files[1].name, "module": module} for module in ("codec", "tasks.coarse")]
    mine = {**recipe, "stages": [stage]}
    path = folder / "mine-recipe.json"
    path.write_text(json.dumps(mine))
    changed, home = find_recipe(str(path), registry, [SHORT[1]])
    out = tmp_path / "run"
    train(changed, Options(out=out, data=out, home=home, device="cpu", workers=0), registry)
    after = icm_core.load(export(out, tmp_path / "exported", registry).spec, device="cpu")
    assert after.base_fingerprint == before.base_fingerprint
    assert after.decode(blob, tasks=["segmentation"])["segmentation"].output.shape == (1, 3, 80, 80)


def test_an_earlier_stage_can_be_exported(run: Path, registry: Registry, tmp_path: Path) -> None:
    found = export(run, tmp_path, registry, stage="joint", name="early")
    assert found.spec.name == "early.json"
    assert icm_core.load(found.spec, device="cpu").name == "early"


@pytest.mark.parametrize(
    ("tables", "bare"),
    [([0, 0], True), ([0, 3], False), ([3, 0], False), ([3, 5], False), ([], False)],
)
def test_a_part_is_bare_where_none_of_its_tables_is_filled(tables: list[int], bare: bool) -> None:
    part = torch.nn.Module()
    part.register_buffer("mean", torch.zeros(2))
    for number, value in enumerate(tables):
        part.register_buffer(f"table{number}", torch.tensor([0, value]))
    assert _is_bare(part) is bare


@pytest.mark.parametrize(("stage", "words"), [("head", "stage 'head' is not done"), (None, "holds no run")])
def test_what_cannot_be_exported_is_named(
    run: Path, registry: Registry, tmp_path: Path, stage: str | None, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        export(run if stage else tmp_path / "nothing", tmp_path / "out", registry, stage=stage)


class Hub(BaseHTTPRequestHandler):
    """The part of the hub's protocol that a download needs."""

    folder: Path
    asked: ClassVar[list[str]] = []
    made: ClassVar[list[dict[str, object]]] = []

    def log_message(self, *_: object) -> None:
        """Nothing: tests are quiet."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def do_POST(self) -> None:
        """A repository may be made, and nothing be put into it."""
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/api/repos/create":
            self.made.append(given)
            self.send(json.dumps({"url": "http://127.0.0.1/lab/eyes"}))
        else:
            self.send_error(403)

    def answer(self, *, body: bool) -> None:
        path = self.path.split("?")[0]
        self.asked.append(path)
        if path.startswith("/api/models/lab/eyes"):
            names = sorted(file.name for file in self.folder.iterdir())
            files = [{"rfilename": name} for name in names]
            tree = [{"type": "file", "path": n, "oid": COMMIT, "size": (self.folder / n).stat().st_size} for n in names]
            self.send(json.dumps(tree if "/tree/" in path else {"id": "lab/eyes", "sha": COMMIT, "siblings": files}))
        elif path.startswith("/lab/eyes/resolve/") and (file := self.folder / path.rpartition("/")[2]).is_file():
            self.send(file.read_bytes(), body=body, ETag=f'"{file.name}"')
        else:
            self.send_error(404)

    def send(self, content: str | bytes, *, body: bool = True, **headers: str) -> None:
        data = content.encode() if isinstance(content, str) else content
        self.send_response(200)
        for key, value in {"Content-Length": str(len(data)), "X-Repo-Commit": COMMIT, **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)


@pytest.fixture
def hub(exported: Exported) -> Iterator[str]:
    handler = type("ThisHub", (Hub,), {"folder": exported.spec.parent})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def load_from(hub: str, address: str, home: Path) -> subprocess.CompletedProcess[str]:
    return beside(hub, f"import icm_core; print(icm_core.load({address!r}, device='cpu').base_fingerprint.hex())", home)


def beside(hub: str, program: str, home: Path) -> subprocess.CompletedProcess[str]:
    # A process of its own: the library reads the hub's address when it is imported.
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub,
        "HF_HOME": str(home),
        "NO_PROXY": "127.0.0.1",
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=200, check=False
    )


def test_a_pipeline_is_loaded_from_a_hub(hub: str, exported: Exported, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    found = load_from(hub, "hf://lab/eyes", tmp_path)
    assert found.returncode == 0, found.stderr[-2000:]
    assert found.stdout.strip() == icm_core.load(exported.spec, device="cpu").base_fingerprint.hex()


def test_a_pipeline_is_fetched_in_the_revision_that_is_named(hub: str, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    Hub.asked.clear()
    program = "from icm_core.pipeline.hub import fetch; print(fetch('hf://lab/eyes@v1.2').name)"
    found = beside(hub, program, tmp_path)
    assert (found.returncode, found.stdout.strip()) == (0, "smoke.json"), found.stderr[-2000:]
    assert any("/revision/v1.2" in path for path in Hub.asked)
    assert not any("/revision/main" in path for path in Hub.asked)


def test_an_unknown_repository_is_one_sentence(hub: str, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    found = load_from(hub, "hf://lab/ears", tmp_path)
    assert "InputError: hf://lab/ears cannot be had from the hub" in found.stderr


@pytest.mark.parametrize("private", [True, False])
def test_a_pushed_pipeline_is_as_private_as_asked(
    hub: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, private: bool
) -> None:
    library = pytest.importorskip("huggingface_hub.hf_api")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(library.api, "endpoint", hub)
    monkeypatch.setattr(library.api, "token", "of-nobody")
    Hub.made.clear()
    words = ["export", str(run), "-o", str(tmp_path), "--push", "hf://lab/eyes", *["--private"] * private]
    found = CliRunner().invoke(app, words)
    assert (found.exit_code, "cannot be pushed to hf://lab/eyes" in found.output) == (2, True), found.output
    (made,) = Hub.made
    assert made["name"] == "eyes"
    assert (made.get("private") is True or made.get("visibility") == "private") is private  # old and new libraries


@pytest.mark.parametrize("address", ["hf://eyes", "hf://lab/eyes/more", "hf://lab/eyes@"])
def test_a_malformed_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="is no address of the hub"):
        icm_core.load(address)
