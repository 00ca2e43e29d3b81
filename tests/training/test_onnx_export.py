"""``icm export --onnx``: files that onnxruntime runs as PyTorch runs the networks, and what a camera needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from typer.testing import CliRunner

import icm_core
from icm_baselines.pixels import Picture
from icm_core import Pipeline, build, build_registry, parse_spec
from icm_core.bitstream.container import read
from icm_core.cli import app
from icm_core.interfaces import ComponentParams
from icm_core.pictures import to_picture
from icm_core.testing.cases.examples import pictures
from icm_core.types import FeatureLayout, Features, SideInfo
from icm_training.onnx_export import Network, export_onnx

onnx = pytest.importorskip("onnx", reason="pip install icm-framework[onnx]")
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
    h1[0, 4:8] *= 1e15  # and beyond what products of 64 bits hold, were it not for the limit of latents
    h2[0, :2] *= 1e15
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


class Lost(Picture):
    """A pixel that is no number any more in a file that was traced for another picture."""

    name = "tests.lost"

    def forward(self, features: Features) -> torch.Tensor:
        x = super().forward(features).clone()
        off = x[0, 0, 1, 2] - float(x[0, 0, 1, 2])
        x[..., 3, 4] += torch.sqrt(-off.square())
        return x


class Grid(Picture):
    """Through means of a grid of 2 rows and 4 columns, enlarged to three quarters of the height and half the width."""

    name = "tests.grid"

    def forward(self, features: Features) -> torch.Tensor:
        x = super().forward(features)
        means = functional.adaptive_avg_pool2d(x, (2, 4))
        size = (int(x.shape[-2]) * 3 // 4, int(x.shape[-1]) // 2)
        small = functional.interpolate(x, size, mode="bilinear", antialias=True)
        return small * means.mean((-2, -1), keepdim=True) + functional.interpolate(means, size, mode="bilinear")


class Sums(Picture):
    """Means of a grid that does not divide the picture, and none else."""

    name = "tests.sums"

    def forward(self, features: Features) -> torch.Tensor:
        return functional.adaptive_avg_pool2d(super().forward(features), (5, 7))


class Turned(Picture):
    """Twice as large by a transposed convolution of a subclass that is only faster, and once more by plain resizing."""

    name = "tests.turned"

    class Faster(torch.nn.ConvTranspose2d):
        pass

    def __init__(self, params: ComponentParams, features: FeatureLayout) -> None:
        super().__init__(params, features)
        self.enlarge = self.Faster(3, 3, 2, stride=2)

    def forward(self, features: Features) -> torch.Tensor:
        found: torch.Tensor = self.enlarge(super().forward(features))
        return functional.interpolate(found, scale_factor=2.0, mode="bilinear", antialias=False)


def odd(head: type[Picture]) -> Pipeline:
    """A pipeline of one task, whose head is another."""
    tasks = {"odd": {"adapter": {"use": "baselines.pixels"}, "head": {"use": "baselines.picture"}}}
    pipe = build(
        parse_spec({"icm": 1, "name": "odd", "codec": {"use": "baselines.jpeg"}, "tasks": tasks}), build_registry()
    )
    own = pipe.task("odd").head
    torch.manual_seed(0)
    pipe.task("odd").head = head(own.params, own.features)
    return pipe.eval()


@pytest.mark.parametrize(("head", "by"), [(Odd, ""), (Lost, "nan")])
def test_a_network_of_which_one_pixel_is_off_is_not_written(tmp_path: Path, head: type[Picture], by: str) -> None:
    found, _, left = export_onnx(odd(head), tmp_path, (48, 64))
    assert not found and not [*tmp_path.iterdir()]
    assert f"is off PyTorch's (1, 3, 48, 64) by {by}" in left["odd"]


@pytest.mark.parametrize(("head", "size"), [(Grid, (36, 32)), (Sums, (5, 7)), (Turned, (192, 256))])
@torch.no_grad()
def test_a_file_answers_as_the_network_and_says_which_sizes_it_takes(
    tmp_path: Path, head: type[Picture], size: tuple[int, int]
) -> None:
    pipe = odd(head)
    before = [type(module) for module in pipe.modules()]
    (network,), more, left = export_onnx(pipe, tmp_path, (48, 64))
    assert (left, more) == ({"encoder": "codec baselines.jpeg has no latents of its own"}, [])
    any_size = head is Turned
    assert network == Network(tmp_path / "odd.odd.onnx", ("level0",), ("output",), "any" if any_size else "48x64")
    for height, width in ((48, 64), *([(8, 24)] if any_size else [])):
        x = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(height))
        (found,) = session(network.path).run(None, {"level0": x.numpy()})
        wanted = pipe.task("odd").head(Features({"image": x}, (height, width)))
        np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)
        assert found.shape[-2:] == (size if height == 48 else (32, 96))
    # The pipeline is what it was.
    assert [type(module) for module in pipe.modules()] == before
    assert onnx.load(network.path).opset_import[0].version == 17


def test_a_camera_takes_pictures_of_any_size_and_other_networks_that_of_the_padded_one(tmp_path: Path) -> None:
    codec = {
        "use": "sicmh.hyperprior",
        "params": {"width": 12, "h1_channels": 16, "h2_channels": 8, "groups": 4, "context_channels": 8},
    }
    behind = {"use": "core.decoded_picture", "params": {"of": "coarse"}}
    spec = {
        "icm": 1,
        "name": "toy",
        "codec": codec,
        "tasks": {
            "coarse": {"adapter": {"use": "sicmh.one_scale"}, "head": {"use": "sicmh.coarse"}},
            "seen": {"adapter": behind, "head": {"use": "baselines.picture"}},
        },
        "enhancement": {"use": "sicmh.residual", "over": "coarse"},
    }
    pipe = build(parse_spec(spec), build_registry())
    own = pipe.task("seen").head
    pipe.task("seen").head = Sums(own.params, own.features)
    found, more, left = export_onnx(pipe, tmp_path / "new", (65, 1))
    names, folder = ("h1", "h2"), tmp_path / "new"
    assert left == {} and found == [
        Network(folder / "toy.encoder.onnx", ("picture",), names, "any"),
        Network(folder / "toy.coarse.onnx", names, ("output",), "any"),
        Network(folder / "toy.seen.onnx", names, ("output",), "128x64"),
    ]
    assert [path.name for path in more] == ["toy.camera.npz"]
    assert [one.name for one in session(found[0].path).get_outputs()] == ["h1", "h2"]


def test_a_codec_without_tables_for_cameras_has_its_networks_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Levels of side information have numbers where the codec is not the paper's."""
    params = {"width": 12, "h1_channels": 16, "h2_channels": 8, "groups": 4, "context_channels": 8}
    spec = {
        "icm": 1,
        "name": "toy",
        "codec": {"use": "sicmh.hyperprior", "params": params},
        "tasks": {"coarse": {"adapter": {"use": "sicmh.one_scale"}, "head": {"use": "sicmh.coarse"}}},
    }
    pipe = build(parse_spec(spec), build_registry())
    monkeypatch.setattr(type(pipe.codec), "name", "own.codec")
    found, more, left = export_onnx(pipe, tmp_path, (64, 64))
    assert [network.inputs for network in found] == [("picture",), ("level0", "level1")]
    assert (more, left) == ([], {"camera": "codec 'own.codec' has no tables for cameras; sicmh.hyperprior has"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy.coarse.onnx", "toy.encoder.onnx"]


def test_latents_have_their_names_where_the_side_information_is_a_picture(tmp_path: Path) -> None:
    params = {"width": 12, "h1_channels": 16, "h2_channels": 8, "groups": 4, "context_channels": 8}
    spec = {
        "icm": 1,
        "name": "toy",
        "codec": {"use": "sicmh.coarse_to_fine", "params": params},
        "tasks": {"seen": {"adapter": {"use": "baselines.pixels"}, "head": {"use": "baselines.picture"}}},
    }
    (encoder, seen), _, left = export_onnx(build(parse_spec(spec), build_registry()), tmp_path, (64, 64))
    assert (encoder.outputs, seen.inputs, {*left}) == (("h1", "h2"), ("h1",), {"camera"})
    assert [one.name for one in session(encoder.path).get_outputs()] == ["h1", "h2"]


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
