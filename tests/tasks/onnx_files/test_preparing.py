"""What is done to ONNX networks before they are made networks of PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import icm_small_onnx as small
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, defs, helper, numpy_helper
from onnx2torch.node_converters.registry import _CONVERTER_REGISTRY as KNOWN

from icm_core.types import Features
from icm_tasks.onnx_files.preparing import fold, odd_attributes, prepared

SIZED = ("x", "", "", "sizes")


def network(*nodes: onnx.NodeProto, weights: tuple[onnx.TensorProto, ...] = ()) -> onnx.ModelProto:
    found = helper.make_tensor_value_info("found", TensorProto.FLOAT, None)
    return helper.make_model(helper.make_graph(nodes, "made", [], [found], weights))


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "odd"),
    [
        ("Reshape", ("x", "shape"), {"allowzero": 1}, "allowzero"),
        ("Reshape", ("x", "shape"), {"allowzero": 0}, None),
        ("AveragePool", ("x",), {"dilations": [1, 2]}, "dilations"),
        ("AveragePool", ("x",), {"dilations": [1, 1]}, None),
        ("MaxPool", ("x",), {"dilations": [2, 2]}, None),  # which always had them
        ("Resize", SIZED, {"antialias": 1}, "antialias"),
        ("Resize", SIZED, {"antialias": 0}, None),
        ("Resize", SIZED, {"axes": [2, 3]}, "axes"),
        ("Resize", SIZED, {"keep_aspect_ratio_policy": "not_larger"}, "keep_aspect_ratio_policy"),
        ("Resize", SIZED, {"keep_aspect_ratio_policy": "stretch"}, None),
        ("Pad", ("x", "pads", "value", "axes"), {}, "axes"),
        ("Pad", ("x", "pads", "value", ""), {}, None),
        ("Pad", ("x", "pads", "value"), {}, None),
        ("Split", ("x",), {"num_outputs": 2}, None),
        ("Cast", ("x",), {"to": TensorProto.FLOAT, "saturate": 0}, None),
    ],
)
def test_attributes_of_newer_versions_may_only_say_what_was_always_so(
    kind: str, inputs: tuple[str, ...], attributes: dict[str, object], odd: str | None
) -> None:
    node = helper.make_node(kind, inputs, ["found"], **attributes)
    assert odd_attributes(network(node)) == ([f"{kind} ({odd})"] if odd else [])


def test_constants_become_weights_of_their_own_type() -> None:
    stored = numpy_helper.from_array(np.array([[1.5, 2.5]], np.float16), "stored")
    model = network(
        helper.make_node("Constant", [], ["whole"], value_int=7),
        helper.make_node("Constant", [], ["part"], value_float=2.5),
        helper.make_node("Constant", [], ["tensor"], value=numpy_helper.from_array(np.array([3, 4], np.int32))),
        helper.make_node("Identity", ["stored"], ["handed on"]),
        helper.make_node("Identity", ["handed on"], ["again"], domain="ai.onnx"),  # ONNX's own operators in full
        helper.make_node("Sum", ["whole", "part", "tensor", "again"], ["found"]),
        weights=(stored,),
    )
    fold(model)
    assert [node.op_type for node in model.graph.node] == ["Sum"]
    found = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    wanted = {
        "stored": np.array([[1.5, 2.5]], np.float16),
        "whole": np.array(7, np.int64),
        "part": np.array(2.5, np.float32),
        "tensor": np.array([3, 4], np.int32),
        "handed on": np.array([[1.5, 2.5]], np.float16),
        "again": np.array([[1.5, 2.5]], np.float16),
    }
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype and np.array_equal(found[name], value), name


@pytest.mark.parametrize("kind", ["Identity", "Constant"])
def test_what_an_output_is_made_of_stays_a_node(kind: str) -> None:
    stored = numpy_helper.from_array(np.array([1.5], np.float32), "stored")
    node = helper.make_node("Identity", ["stored"], ["found"])
    if kind == "Constant":
        node = helper.make_node("Constant", [], ["found"], value=stored)
    model = network(node, weights=(stored,))
    fold(model)
    assert [one.op_type for one in model.graph.node] == [kind]


@pytest.mark.parametrize("name", ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare"])
def test_reductions_whose_axes_are_an_input_are_read(tmp_path: Path, head: Any, name: str) -> None:
    g = small.Graph(size=(4, 6), opset=18)
    axes = g.constant(np.array([2, 3], np.int64))
    g.out(g.node(f"Reduce{name}", "images", axes, keepdims=0), "found", ["n", 3])
    path = g.write(tmp_path / "net.onnx")
    image = 0.5 + torch.rand(1, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    expected = onnxruntime.InferenceSession(str(path)).run(None, {"images": image.numpy()})[0]
    own = head(path, "regression")
    with torch.no_grad():
        np.testing.assert_allclose(own(Features({"image": image}, (4, 6))).numpy(), expected, rtol=1e-4)


def test_a_model_that_is_prepared_stays_as_it_was() -> None:
    g = small.Graph(size=(4, 6), opset=18)
    g.out(g.node("ReduceMean", "images", g.constant(np.array([2, 3], np.int64)), keepdims=0), "found", ["n", 3])
    g.node("Identity", g.weight(3))
    model = g.model()
    before = model.SerializeToString()
    made = prepared(model)
    assert model.SerializeToString() == before
    assert [len(node.input) for node in made.graph.node] == [1, 1] and len(model.graph.node) == 3


@pytest.mark.parametrize(
    ("name", "opset", "attributes"),
    [
        ("Gelu", 20, {}),
        ("Gelu", 20, {"approximate": "none"}),
        ("Gelu", 20, {"approximate": "tanh"}),
        ("Mish", 18, {}),
        ("Mish", 22, {}),
        ("Relu", 22, {}),
        ("Sigmoid", 22, {}),
    ],
)
def test_activations_of_newer_versions_are_read(
    tmp_path: Path, head: Any, name: str, opset: int, attributes: dict[str, str]
) -> None:
    g = small.Graph(size=(4, 6), opset=opset)
    # Values from -4 to 4, where activations differ.
    wide = g.node("Mul", g.node("Sub", "images", g.constant(np.float32(0.5))), g.constant(np.float32(8)))
    g.out(g.node(name, wide, **attributes), "found", ["n", 3, 4, 6])
    image = torch.rand(1, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    own = head(g.write(tmp_path / "net.onnx"), "segmentation")
    x = 8 * (image - 0.5)
    expected = {
        "Gelu": torch.nn.functional.gelu(x, approximate=attributes.get("approximate", "none")),
        "Mish": x * torch.tanh(torch.log1p(x.exp())),
        "Relu": x.clamp_min(0),
        "Sigmoid": 1 / (1 + (-x).exp()),
    }
    with torch.no_grad():
        torch.testing.assert_close(own(Features({"image": image}, (4, 6))), expected[name], rtol=1e-5, atol=1e-5)


def test_every_later_version_of_an_operator_that_is_read_is_read() -> None:
    prepared(small.Graph().model())
    known = {(one.operation_type, one.version) for one in KNOWN if one.domain == defs.ONNX_DOMAIN}
    names = {name for name, _ in known}
    later = {
        (schema.name, schema.since_version)
        for schema in defs.get_all_schemas_with_history()
        if schema.domain == defs.ONNX_DOMAIN and schema.name in names and schema.since_version > 17
    }
    assert {("Conv", 22), ("Gelu", 20), ("Mish", 22)} < later <= known
