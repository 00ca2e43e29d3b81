"""``icm export --onnx``: files that onnxruntime runs as PyTorch runs the networks, and what a camera needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import icm_core
from icm_baselines.pixels import Picture
from icm_core import Pipeline, build, build_registry, parse_spec
from icm_core.bitstream.container import read
from icm_core.cli import app
from icm_core.pictures import to_picture
from icm_core.testing.cases.examples import pictures
from icm_core.types import Features, SideInfo
from icm_training.onnx_export import export_onnx

pytest.importorskip("onnx", reason="pip install icm-framework[onnx]")
onnxruntime = pytest.importorskip("onnxruntime", reason="pip install icm-framework[onnx]")

SIZE = (128, 192)
CAMERA = Path(__file__).parents[2] / "examples/icm-camera"
QUALITIES = (1.0, 2.4375, 4.0)


@pytest.fixture(scope="module")
def pipe() -> Pipeline:
    return icm_core.load("sicmh-small", device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("onnx")
    result = CliRunner().invoke(app, ["export", "sicmh-small", "--onnx", "-o", str(out), "--size", "120", "190"])
    assert result.exit_code == 0, result.output
    assert "not written" not in result.output
    assert "sicmh-small.segmentation.onnx" in result.output and "h1, h2 -> output  128x192" in result.output
    return out


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("size", [(64, 64), (192, 320)])
def test_the_encoder_gives_the_latents_of_pictures_of_any_size(folder: Path, pipe: Pipeline, size) -> None:
    x = pictures(size, 1)
    found = session(folder / "sicmh-small.encoder.onnx").run(None, {"picture": x.numpy()})
    with torch.inference_mode():
        wanted = pipe.codec.latents(x)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-4, atol=1e-4 * float(other.abs().max()))


@pytest.mark.parametrize("task", ["segmentation", "classification", "coarse"])
def test_a_task_answers_as_the_pipeline_does(folder: Path, pipe: Pipeline, task: str) -> None:
    side = pipe.analyse(pictures(SIZE, 1), 3.0)
    given = {f"h{number + 1}": level.numpy() for number, level in enumerate(side.levels)}
    (found,) = session(folder / f"sicmh-small.{task}.onnx").run(None, given)
    with torch.inference_mode():
        wanted = pipe.task(task)(pipe.side_for(task, SideInfo(side.levels, SIZE))).numpy()
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 1e-3 * np.abs(wanted).max()
    if task != "coarse":
        assert (found.argmax(1) == wanted.argmax(1)).mean() > 0.999


def test_a_camera_without_pytorch_writes_the_files_of_icm_encode(folder: Path, pipe: Pipeline, tmp_path: Path) -> None:
    made = [to_picture(pictures(size, number + 1)[number]) for number, size in enumerate([(90, 200), (64, 64), (1, 3)])]
    for number, picture in enumerate(made):
        picture.save(tmp_path / f"{number}.png")
    script = f"""
import sys
sys.path.insert(0, {str(CAMERA)!r})
import numpy as np
from PIL import Image
from icm_camera import Camera
camera = Camera({str(folder / "sicmh-small")!r})
for number in range({len(made)}):
    pixels = np.array(Image.open(f"{{number}}.png"))
    for quality in {QUALITIES!r}:
        open(f"{{number}}-{{quality}}.icm", "wb").write(camera.encode(pixels, quality))
print(sorted(name for name in sys.modules if name.split(".")[0] in ("torch", "torchvision")))
"""
    ran = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "[]"
    for number, picture in enumerate(made):
        for quality in QUALITIES:
            blob = (tmp_path / f"{number}-{quality}.icm").read_bytes()
            assert blob == pipe.encode(picture, quality, enhancement=False), (number, quality)
            assert read(blob).quality.value == quality
            pipe.decode(blob, ["classification"])


def test_whole_numbers_of_a_camera_are_the_codecs_whatever_the_latents(
    folder: Path, pipe: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of the same latents the streams are the same by construction; only their floats come from another library.
    monkeypatch.syspath_prepend(CAMERA)
    from icm_camera import Camera

    camera = Camera(folder / "sicmh-small")
    generator = torch.Generator().manual_seed(0)
    p = pipe.codec.params
    h1 = 6 * torch.randn(1, p.h1_channels, 4, 6, generator=generator)
    h2 = 9 * torch.randn(1, p.h2_channels, 2, 3, generator=generator)
    h1[0, :4] *= 1e5  # beyond all tables
    for value in QUALITIES:
        quality = pipe.quality(value)
        with torch.inference_mode():
            streams, _ = pipe.codec.encode_latents(h1, h2, quality)
        assert camera._coded(h1.numpy(), h2.numpy(), quality) == streams[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--name", "x"], "--onnx writes the networks of a pipeline; --stage, --name and --push are for runs"),
        (["--stage", "x"], "--onnx writes the networks of a pipeline; --stage, --name and --push are for runs"),
        (["--push", "hf://lab/eyes"], "--onnx writes the networks of a pipeline; --stage, --name and --push are for"),
        (["--size", "0", "5"], "--size is 0 5; both should be at least 1"),
    ],
)
def test_what_cannot_be_asked_for_is_one_sentence(tmp_path: Path, arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(app, ["export", "no-pipeline", "--onnx", "-o", str(tmp_path / "out"), *arguments])
    assert result.exit_code == 2 and says in " ".join(result.output.split())
    assert not (tmp_path / "out").exists()


def test_a_picture_that_is_none_is_refused_by_the_camera(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(CAMERA)
    from icm_camera import Camera

    camera = Camera(folder / "sicmh-small")
    with pytest.raises(ValueError, match=r"a picture is \(H, W, 3\) of uint8, not \(4, 4\) of uint8"):
        camera.encode(np.zeros((4, 4), np.uint8))
    for quality in (9, 0.5):
        with pytest.raises(ValueError, match=f"quality {quality} is out of range; it runs from 1 to 4"):
            camera.encode(np.zeros((4, 4, 3), np.uint8), quality)


def test_a_camera_has_quality_3_and_one_thread_unless_told_otherwise(
    folder: Path, pipe: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(CAMERA)
    from icm_camera import Camera

    picture = to_picture(pictures((50, 90), 1)[0])
    assert Camera(folder / "sicmh-small").encode(np.array(picture)) == pipe.encode(picture, 3.0, enhancement=False)
    for more, threads in ({}, 1), ({"threads": 2}, 2):
        own = Camera(folder / "sicmh-small", **more)._encoder.get_session_options()
        assert own.intra_op_num_threads == threads


@pytest.mark.parametrize("version", [0, 2])
def test_a_camera_reads_tables_of_its_own_version_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: int
) -> None:
    monkeypatch.syspath_prepend(CAMERA)
    from icm_camera import Camera

    (tmp_path / "old.encoder.onnx").write_bytes((folder / "sicmh-small.encoder.onnx").read_bytes())
    with np.load(folder / "sicmh-small.camera.npz") as file:
        tables = dict(file)
    about = {**json.loads(tables["about"].tobytes()), "version": version}
    tables["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez(tmp_path / "old.camera.npz", **tables)
    with pytest.raises(ValueError, match=f"the tables are of version {version}; this package reads 1"):
        Camera(tmp_path / "old")


class Odd(Picture):
    """One pixel is a number that tracing takes for a constant."""

    name = "tests.odd"

    def forward(self, features: Features) -> torch.Tensor:
        x = super().forward(features).clone()
        x[..., 3, 4] = 10 * float(x[0, 0, 1, 2])
        return x


def test_a_network_of_which_one_pixel_is_off_is_not_written(tmp_path: Path) -> None:
    tasks = {"odd": {"adapter": {"use": "baselines.pixels"}, "head": {"use": "baselines.picture"}}}
    pipe = build(
        parse_spec({"icm": 1, "name": "odd", "codec": {"use": "baselines.jpeg"}, "tasks": tasks}), build_registry()
    )
    own = pipe.task("odd").head
    pipe.task("odd").head = Odd(own.params, own.features)
    found, _, left = export_onnx(pipe, tmp_path, (48, 64))
    assert not found and not [*tmp_path.iterdir()]
    assert "is off PyTorch's (1, 3, 48, 64) by" in left["odd"]


def test_a_task_that_reads_the_fine_picture_is_named_with_the_reason(tmp_path: Path) -> None:
    spec = {
        "icm": 1,
        "name": "toy",
        "codec": {
            "use": "sicmh.hyperprior",
            "params": {"width": 12, "h1_channels": 16, "h2_channels": 8, "groups": 4, "context_channels": 8},
        },
        "tasks": {
            "coarse": {"adapter": {"use": "sicmh.one_scale"}, "head": {"use": "sicmh.coarse"}},
            "seen": {
                "adapter": {"use": "core.decoded_picture", "params": {"of": "fine"}},
                "head": {"use": "baselines.picture"},
            },
        },
        "enhancement": {"use": "sicmh.residual", "over": "coarse"},
    }
    found, _, left = export_onnx(build(parse_spec(spec), build_registry()), tmp_path, (64, 64))
    assert [network.path.name for network in found] == ["toy.encoder.onnx", "toy.coarse.onnx"]
    assert left == {"seen": "its adapter reads the fine picture, which the base layer alone does not give"}
