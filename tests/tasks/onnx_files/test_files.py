"""ONNX files are data of strangers: bounded, checked, and part of the pipeline that names them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import icm_small_onnx as small
import numpy as np
import onnx
import pytest
import torch
from onnx import helper

import icm_core
from icm_core import Registry, SpecError, WeightsError, build, build_registry, parse_spec
from icm_core.pipeline.fill import fill
from icm_core.spec.extends import compose
from icm_core.spec.files import copy_files
from icm_core.types import Features
from icm_tasks.onnx_files.reading import signature
from icm_tasks.onnx_files.writing import write

DATA = Path(os.environ.get("ICM_DATA", Path(__file__).parents[4] / "shared/data"))


@pytest.fixture(scope="module")
def registry() -> Registry:
    return build_registry()


def spec(home: Path, file="net.onnx", name="boxes", **params) -> Path:
    head = {"use": "tasks.onnx", "params": {"file": file, "kind": "classification", **params}}
    path = home / f"{name}.json"
    adapter = {"use": "core.decoded_picture", "params": {"of": "coarse"}}
    data = {"icm": 1, "name": name, "extends": "sicmh-small", "tasks": {"thing": {"adapter": adapter, "head": head}}}
    path.write_text(json.dumps(data))
    return path


def test_a_spec_alone_makes_a_pipeline_of_a_file(tmp_path, registry):
    small.classifier(tmp_path / "net.onnx")
    pipe = icm_core.load(spec(tmp_path), device="cpu", registry=registry)
    assert pipe.task("thing").head.net is not None
    assert not [key for key in pipe.state_dict() if key.startswith("tasks.thing")]


def test_weights_that_are_not_trained_stay_the_files_and_are_in_no_state(tmp_path, head):
    own = head(small.classifier(tmp_path / "net.onnx"), "classification")
    assert not own.state_dict() and not list(own.parameters())
    own.train()
    assert not own.net.training
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    own.loss(own(Features({"image": image}, (64, 64))), torch.tensor([1])).sum().backward()
    assert image.grad is not None and bool(image.grad.any())


def test_weights_that_are_trained_begin_as_the_files_and_belong_to_the_pipeline(tmp_path, head):
    path = small.classifier(tmp_path / "net.onnx")
    own, fixed = head(path, "classification", trained=True), head(path, "classification")
    image = Features({"image": torch.rand(1, 3, 64, 64)}, (64, 64))
    torch.testing.assert_close(own(image), fixed(image))
    assert own.state_dict() and all(parameter.requires_grad for parameter in own.parameters())
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.zero_()
    own.start_from("file")
    torch.testing.assert_close(own(image), fixed(image))
    with pytest.raises(SpecError, match="knows no pretrained weights 'imagenet'; known: file"):
        own.start_from("imagenet")


def square(path: Path) -> Path:
    """A classifier whose last layer has as many classes as channels, and is turned on the way to PyTorch."""
    return Path(small.classifier(path, classes=8))


@pytest.mark.parametrize(
    "write_network", [small.classifier, small.grid, square], ids=["classifier", "detector", "square"]
)
def test_trained_weights_become_a_file_that_says_the_same(tmp_path, head, write_network):
    path = write_network(tmp_path / "net.onnx")
    kind = {"kind": "classification"}
    if write_network is small.grid:
        kind = {"kind": "detection", "layout": {"form": "grid", "strides": [8, 16]}}
    own = head(path, trained=True, **kind)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    write(own, tmp_path / "mine.onnx")
    image = Features({"image": torch.rand(1, 3, 64, 64, generator=generator)}, (64, 64))
    for engine in ("torch", "onnxruntime"):
        mine = head(tmp_path / "mine.onnx", engine=engine, **kind)
        torch.testing.assert_close(mine(image), own(image), rtol=1e-3, atol=1e-4)


def test_writing_trained_weights_changes_nothing_of_what_others_write_of_the_same_file(tmp_path, head):
    path = small.classifier(tmp_path / "net.onnx")
    own, other = (head(path, "classification", trained=True) for _ in range(2))
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.add_(0.25)
    write(own, tmp_path / "mine.onnx")
    write(other, tmp_path / "others.onnx")
    image = Features({"image": torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))}, (64, 64))
    found = head(tmp_path / "others.onnx", "classification")(image)
    torch.testing.assert_close(found, head(path, "classification")(image))


def written(head: Callable[..., Any], path: Path, ending: str) -> tuple[torch.Tensor, torch.Tensor]:
    """What the file says that is written of a network with other weights of some names, and what the network says."""
    own = head(path, "classification", trained=True)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        changed = [tensor for key, tensor in own.state_dict().items() if key.endswith(ending)]
        assert changed
        for tensor in changed:
            tensor.add_(torch.rand(tensor.shape, generator=generator))
    write(own, path.with_name("mine.onnx"))
    image = Features({"image": torch.rand(1, 3, 32, 48, generator=generator)}, (32, 48))
    return head(path.with_name("mine.onnx"), "classification", engine="onnxruntime")(image), own(image)


def test_weights_that_were_the_same_both_ways_are_written_the_right_way(
    tmp_path: Path, head: Callable[..., Any]
) -> None:
    g = small.Graph()
    pooled = g.node("Flatten", g.node("GlobalAveragePool", g.body()))
    g.out(g.node("Gemm", pooled, g.constant(np.eye(8, dtype=np.float32)), g.weight(8)), "classes", ["n", 8])
    found, expected = written(head, g.write(tmp_path / "net.onnx"), ".weight")
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("part", ["weight", "bias", "running_mean", "running_var"])
def test_of_a_new_normalisation_each_part_is_written_to_its_own(
    tmp_path: Path, head: Callable[..., Any], part: str
) -> None:
    g = small.Graph()
    ones, zeros = np.ones(8, np.float32), np.zeros(8, np.float32)
    norm = [g.constant(values) for values in (ones, zeros, zeros, ones)]
    normed = g.node("BatchNormalization", g.conv("images", 3, 8, stride=4), *norm)
    g.out(g.node("Flatten", g.node("GlobalAveragePool", normed)), "classes", ["n", 8])
    found, expected = written(head, g.write(tmp_path / "net.onnx"), f"n1.{part}")
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_trained_weights_are_written_by_import(tmp_path, registry):
    small.classifier(tmp_path / "net.onnx")
    path = spec(tmp_path, trained=True)
    with pytest.raises(WeightsError, match=r"of tasks\.thing\.head; icm train or icm import makes them"):
        icm_core.load(path, device="cpu", registry=registry)
    data = json.loads(path.read_text()) | {"weights": "boxes.safetensors"}
    path.write_text(json.dumps(data))
    fill(path, registry, {"tasks.thing.head": "start:file"})
    assert icm_core.load(path, device="cpu", registry=registry).task("thing").head.state_dict()


def test_a_file_is_found_beside_the_spec_that_names_it_and_taken_along(tmp_path, registry):
    base, above, copy = tmp_path / "base", tmp_path, tmp_path / "copy"
    base.mkdir(), copy.mkdir()
    small.classifier(base / "net.onnx")
    spec(base)
    (above / "mine.json").write_text(json.dumps({"name": "mine", "extends": "base/boxes.json"}))
    composed = compose(above / "mine.json", registry)
    assert composed.spec.files == {"tasks.thing.head.params.file": base / "net.onnx"}
    with torch.device("meta"):
        build(composed.spec, registry)
    assert copy_files(composed.spec, copy) == (copy / "net.onnx",)
    (copy / "mine.json").write_text(json.dumps(composed.spec.to_json()))
    assert compose(copy / "mine.json", registry).spec.files == {"tasks.thing.head.params.file": copy / "net.onnx"}


def test_a_spec_from_no_file_says_so(registry):
    head = {"use": "tasks.onnx", "params": {"file": "net.onnx", "kind": "classification"}}
    task = {"adapter": {"use": "baselines.pixels"}, "head": head}
    found = parse_spec({"icm": 1, "name": "x", "codec": {"use": "baselines.jpeg"}, "tasks": {"thing": task}})
    with pytest.raises(SpecError, match=r"tasks\.thing\.head: 'net\.onnx' is found from the folder of a spec's file"):
        build(found, registry)


@pytest.mark.parametrize("file", ["/etc/passwd", "../net.onnx", "a/../../net.onnx", "C:\\net.onnx", ""])
def test_paths_out_of_the_folder_are_refused(tmp_path, registry, file):
    with pytest.raises(SpecError, match=r"tasks\.thing\.head\.params\.file"):
        build(compose(spec(tmp_path, file), registry).spec, registry)


def test_a_link_out_of_the_folder_is_refused(tmp_path, registry):
    home = tmp_path / "home"
    home.mkdir()
    small.classifier(tmp_path / "net.onnx")
    (home / "net.onnx").symlink_to(tmp_path / "net.onnx")
    with pytest.raises(SpecError, match=r"params\.file: a file 'net\.onnx' leads out of the spec's folder"):
        compose(spec(home), registry)


def test_files_that_are_missing_or_damaged_are_named(tmp_path, head):
    with pytest.raises(WeightsError, match=r"net\.onnx: the network is missing, there is no such file"):
        head(tmp_path / "net.onnx", "classification")
    for content in (b"", b"not a network", small.classifier(tmp_path / "good.onnx").read_bytes()[:200]):
        (tmp_path / "net.onnx").write_bytes(content)
        with pytest.raises(WeightsError, match=r"net\.onnx: not a (readable|valid) ONNX"):
            head(tmp_path / "net.onnx", "classification")


def test_weights_in_other_files_are_refused(tmp_path, head):
    model = onnx.load(str(small.classifier(tmp_path / "good.onnx")))
    onnx.save(model, str(tmp_path / "net.onnx"), save_as_external_data=True, size_threshold=0, location="secret.bin")
    for engine in ("torch", "onnxruntime"):
        with pytest.raises(WeightsError, match=r"the weights 'w\d+' are in another file"):
            head(tmp_path / "net.onnx", "classification", engine=engine)


def test_one_weight_in_another_file_is_refused_too_wherever_it_stands(tmp_path, head):
    def outside(tensor):
        """Says that it lies in another file."""
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="secret.bin")

    (tmp_path / "secret.bin").write_bytes(b"\0" * 10_000)
    model = onnx.load(str(small.classifier(tmp_path / "good.onnx")))
    outside(model.graph.initializer[1])
    onnx.save(model, str(tmp_path / "weight.onnx"))
    g = small.Graph()
    constant = helper.make_tensor("", onnx.TensorProto.FLOAT, [3, 1, 1], np.ones(3, np.float32).tobytes(), raw=True)
    g.out(g.node("Add", "images", g.node("Constant", value=constant)), "maps", ["n", 3, 32, 48])
    model = g.model()
    (tensor,) = (part.t for part in model.graph.node[0].attribute)
    tensor.name = "hidden"
    outside(tensor)
    onnx.save(model, str(tmp_path / "constant.onnx"))
    with pytest.raises(WeightsError, match=r"weight\.onnx: the weights 'w1' are in another file"):
        head(tmp_path / "weight.onnx", "classification")
    with pytest.raises(WeightsError, match=r"constant\.onnx: the weights 'hidden' are in another file"):
        head(tmp_path / "constant.onnx", "segmentation")


def test_an_operator_of_somebody_elses_is_not_taken_for_one_of_onnx(tmp_path, head):
    g = small.Graph()
    g.out(g.node("Relu", "images", domain="mine"), "maps", ["n", 3, 32, 48])
    model = g.model()
    model.opset_import.append(helper.make_opsetid("mine", 14))  # a version that ONNX's own has
    onnx.save(model, str(tmp_path / "net.onnx"))
    with pytest.raises(SpecError, match="operators without a counterpart in PyTorch here: Relu; set engine"):
        head(tmp_path / "net.onnx", "segmentation")


def test_what_is_wrong_with_a_file_is_said_on_one_line(tmp_path, head):
    g = small.Graph()
    g.out(g.node("Conv", "images", "nowhere"), "maps", ["n", 3, 32, 48])  # whose message has several
    with pytest.raises(WeightsError, match="not a valid ONNX network") as raised:
        head(g.write(tmp_path / "net.onnx"), "segmentation")
    assert "\n" not in str(raised.value) and "nowhere" in str(raised.value)


def test_a_package_that_cannot_be_loaded_is_named(tmp_path, head, monkeypatch):
    (tmp_path / "onnx2torch.py").write_text("raise ImportError('libsomething.so: cannot open')")
    monkeypatch.delitem(sys.modules, "onnx2torch")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SpecError, match=r"need the package 'onnx2torch'; install it with: pip install 'icm-framework"):
        head(small.classifier(tmp_path / "net.onnx"), "classification")


def test_a_folder_is_no_network(tmp_path, head):
    (tmp_path / "net.onnx").mkdir()
    with pytest.raises(WeightsError, match=r"net\.onnx: it should be an ONNX file, and is a folder"):
        head(tmp_path / "net.onnx", "classification")


def test_operators_without_a_counterpart_are_all_named(tmp_path, head):
    g = small.Graph()
    found = g.node("Det", g.node("MatMul", "images", g.node("Transpose", "images", perm=[0, 1, 3, 2])))
    g.out(g.node("Hardmax", found), "classes", ["n", 3])
    path = g.write(tmp_path / "net.onnx")
    with pytest.raises(SpecError, match=r"operators without a counterpart in PyTorch here: Det, Hardmax; set engine"):
        head(path, "classification")
    answer = head(path, "classification", engine="onnxruntime")(Features({"image": torch.rand(2, 3, 64, 64)}, (64, 64)))
    assert answer.shape == (2, 3)


def modern(path, opset=20):
    """What today's exporters write: shared weights through Identity, axes as inputs, newer operators."""
    g = small.Graph(opset=opset)
    body = g.conv("images", 3, 8, stride=4)
    shared = g.node("Identity", g.weight(8))
    once = g.node("Conv", body, g.weight(8, 8, 1, 1), shared)
    twice = g.node("Conv", once, g.weight(8, 8, 1, 1), g.node("Identity", shared))
    parts = [f"part{number}" for number in range(2)]
    more = {"num_outputs": 2} if opset >= 18 else {}
    g.nodes.append(helper.make_node("Split", [twice], parts, name="split", axis=1, **more))
    active = g.node("Gelu", parts[0], approximate="tanh") if opset >= 20 else g.node("Relu", parts[0])
    added = g.node("Add", active, parts[1])
    axes = g.constant(np.array([2, 3], np.int64))
    mean = g.node("ReduceMean", added, axes, keepdims=0) if opset >= 18 else g.node("ReduceMean", added, axes=[2, 3])
    mean = mean if opset >= 18 else g.node("Flatten", mean)
    constant = g.node("Constant", value_float=2.5)
    g.out(g.node("Mul", mean, constant), "classes", ["n", 4])
    return g.write(path)


@pytest.mark.parametrize("opset", [17, 18, 20])
def test_what_today_s_exporters_write_is_read(tmp_path, head, opset):
    path = modern(tmp_path / "net.onnx", opset)
    image = Features({"image": torch.rand(2, 3, 64, 64)}, (64, 64))
    mine, theirs = head(path, "regression"), head(path, "regression", engine="onnxruntime")
    torch.testing.assert_close(mine(image), theirs(image), rtol=1e-4, atol=1e-5)
    own = head(path, "regression", trained=True)
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.add_(0.1 * torch.rand(parameter.shape))
    write(own, tmp_path / "mine.onnx")
    written = head(tmp_path / "mine.onnx", "regression", engine="onnxruntime")
    torch.testing.assert_close(written(image), own(image), rtol=1e-4, atol=1e-4)


def test_newer_attributes_that_change_the_answer_are_refused(tmp_path, head):
    g = small.Graph(opset=19)
    sizes = g.constant(np.array([1, 3, 16, 24], np.int64))
    g.out(g.node("Resize", "images", "", "", sizes, mode="linear", antialias=1), "maps", ["n", 3, 16, 24])
    with pytest.raises(SpecError, match=r"without a counterpart in PyTorch here: Resize \(antialias\)"):
        head(g.write(tmp_path / "net.onnx"), "segmentation")


def test_a_converted_network_that_says_something_else_is_refused(tmp_path, head, monkeypatch):
    import onnx2torch

    convert = onnx2torch.convert

    def wrong(model):
        net = convert(model)
        with torch.no_grad():
            next(net.parameters()).mul_(1.5)
        return net

    monkeypatch.setattr(onnx2torch, "convert", wrong)
    with pytest.raises(SpecError, match=r"output 'classes' differs by up to .* so an operator has another meaning"):
        head(small.classifier(tmp_path / "net.onnx"), "classification")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: 1.005 * found, None),  # sums in another order
        (lambda found: 1.03 * found, "differs by up to"),
        (lambda found: found + torch.tensor([0.0, 0, 0, 0, 1]) * 0.03 * found.abs().max(), "differs by up to"),
        (lambda found: found * torch.nan, "differs by up to nan"),
        (lambda found: found.T, r"has the shape \(5, 1\), and should have \(1, 5\)"),
    ],
    ids=["near", "scaled", "one value", "nan", "turned"],
)
def test_a_converted_network_may_differ_by_a_hundredth_and_not_in_shape(tmp_path, head, monkeypatch, change, message):
    import onnx2torch

    class Changed(torch.nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, image):
            return change(self.net(image))

    convert = onnx2torch.convert
    monkeypatch.setattr(onnx2torch, "convert", lambda model: Changed(convert(model)))
    path = small.classifier(tmp_path / "net.onnx")
    if message is None:
        head(path, "classification")
        return
    with pytest.raises(SpecError, match=f"output 'classes' {message}.* set engine to 'onnxruntime'"):
        head(path, "classification")


def test_inputs_that_are_no_pictures_are_refused(tmp_path, head):
    model = onnx.load(str(small.classifier(tmp_path / "good.onnx")))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
    onnx.save(model, str(tmp_path / "four.onnx"))
    with pytest.raises((SpecError, WeightsError), match=r"float \(1, 4, 32, 48\); it should be pictures"):
        head(tmp_path / "four.onnx", "classification")
    model.graph.input.append(helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, [1]))
    onnx.save(model, str(tmp_path / "two.onnx"))
    with pytest.raises(SpecError, match="a network of pictures has one input, and this one has images, more"):
        head(tmp_path / "two.onnx", "classification")


@pytest.mark.parametrize("size", [("h", 48), (32, "w"), ("h", "w")])
def test_an_input_of_which_a_side_is_open_is_of_no_fixed_size(
    tmp_path: Path, head: Callable[..., Any], size: tuple[int | str, int | str]
) -> None:
    path = small.maps(tmp_path / "net.onnx", size=size)
    assert signature(path).size is None
    height, width = (side if isinstance(side, int) else 64 for side in size)
    seen = Features({"image": torch.rand(1, 3, height, width)}, (height, width))
    assert head(path, "segmentation")(seen).shape == (1, 5, height, width)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"kind": "detection"}, r"kind 'detection' takes a layout"),
        ({"layout": {"form": "grid"}}, r"kind 'classification' takes no layout"),
        ({"trained": True, "engine": "onnxruntime"}, r"trained weights need engine 'torch'"),
        ({"kind": "depth", "fit": "cover"}, r"fit 'cover' cuts the picture"),
        ({"std": [1, 0, 1]}, r"those of std above 0"),
        ({"size": [64, 64]}, r"size is \(64, 64\), and .*net\.onnx takes pictures of \(32, 48\)"),
        ({"outputs": ["class"]}, r"the network has no output 'class'; did you mean 'classes'\?"),
    ],
)
def test_parameters_that_do_not_fit_are_refused_in_a_sentence(tmp_path, registry, params, message):
    small.classifier(tmp_path / "net.onnx")
    with pytest.raises(SpecError, match=message):
        build(compose(spec(tmp_path, **params), registry).spec, registry)


@pytest.mark.skipif(
    not (DATA / "weights/yolox_nano.onnx").is_file(),
    reason="YOLOX-nano is not here; ICM_DATA names the folder that weights/yolox_nano.onnx is in",
)
def test_yolox_nano_says_what_onnxruntime_says(head):
    import onnxruntime

    path = DATA / "weights/yolox_nano.onnx"
    own = head(path, "detection", layout={"form": "grid"}, order="bgr", levels=255)
    image = torch.rand(1, 3, 416, 416, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = own(Features({"image": image}, (416, 416)))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    raw = session.run(None, {"images": 255 * image.numpy()[:, ::-1]})[0]
    scores = raw[..., 4:5] * raw[..., 5:]
    np.testing.assert_allclose(found["logits"].sigmoid().numpy(), scores.clip(1e-7), rtol=1e-2, atol=1e-5)
    first = (raw[0, 53, :2] + [1, 1]) * 8  # the second cell of the second row of 52
    sides = np.exp(raw[0, 53, 2:4]) * 8
    np.testing.assert_allclose(found["boxes"][0, 53].numpy(), [*(first - sides / 2), *(first + sides / 2)], rtol=1e-3)
