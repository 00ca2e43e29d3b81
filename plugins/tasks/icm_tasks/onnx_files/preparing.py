"""ONNX networks rewritten, without changing what they say, to what the converter to PyTorch reads.

The converter knows operators as they were up to version 17 of the operator set, and wants weights where they are used.
Newer versions mostly allow further types of numbers, which changes nothing here. `icm_tasks.onnx_files.reading`
compares the result with another runtime.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_REDUCTIONS = tuple(
    f"Reduce{name}" for name in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
)
_DEFAULTS = {
    "AveragePool": ("dilations",),
    "Cast": ("saturate", "round_mode"),
    "Resize": ("antialias", "axes", "keep_aspect_ratio_policy"),
    "Reshape": ("allowzero",),
    "Split": ("num_outputs",),
}
"""Attributes that newer versions have, which the converter would not look at; they may only say what was always so."""


def prepared(model: ModelProto) -> ModelProto:
    """A copy of a checked model that the converter reads; what it cannot read, it will name itself."""
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(model)
    fold(made)
    for node in made.graph.node:
        if node.op_type in _REDUCTIONS:
            _axes_as_attribute(made, node)
    _add_converters()
    return made


def odd_attributes(model: ModelProto) -> list[str]:
    """Operators with an attribute of a newer version that says something new, each as ``"Resize (antialias)"``."""
    found = []
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name in _DEFAULTS.get(node.op_type, ()) and _says_something(attribute):
                found.append(f"{node.op_type} ({attribute.name})")
        if node.op_type == "Pad" and len(node.input) > 3 and node.input[3]:
            found.append("Pad (axes)")
    return sorted({*found})


def _says_something(attribute: Any) -> bool:
    if attribute.name == "dilations":
        return any(value != 1 for value in attribute.ints)
    if attribute.name == "keep_aspect_ratio_policy":
        return bool(attribute.s != b"stretch")
    if attribute.name in ("antialias", "allowzero"):
        return bool(attribute.i)
    return bool(attribute.name == "axes")


def fold(model: ModelProto) -> None:
    """Weights that an Identity hands on, and constants, become weights of those who use them."""
    from onnx import helper, numpy_helper

    graph = model.graph
    weights = {one.name: one for one in graph.initializer}
    outputs = {value.name for value in graph.output}
    kept = []
    for node in graph.node:
        if node.domain in ("", "ai.onnx") and node.output and node.output[0] not in outputs:
            source = weights.get(node.input[0]) if node.op_type == "Identity" else None
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                source = node.attribute[0].t
            elif node.op_type == "Constant" and node.attribute[0].name in ("value_float", "value_int"):
                source = numpy_helper.from_array(_scalar(helper.get_attribute_value(node.attribute[0])))
            if source is not None:
                copy = graph.initializer.add()
                copy.CopyFrom(source)
                copy.name = node.output[0]
                weights[copy.name] = copy
                continue
        kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def _scalar(value: float | int) -> Any:
    import numpy as np

    return np.array(value, np.int64 if isinstance(value, int) else np.float32)


def _axes_as_attribute(model: ModelProto, node: NodeProto) -> None:
    """A reduction of version 18, whose axes are an input, as one of 13, where they are an attribute."""
    from onnx import helper, numpy_helper

    noop = next((one.i for one in node.attribute if one.name == "noop_with_empty_axes"), 0)
    if noop or len(node.input) != 2:
        return
    axes = next((one for one in model.graph.initializer if one.name == node.input[1]), None)
    if axes is not None:
        del node.input[1]
        node.attribute.append(helper.make_attribute("axes", numpy_helper.to_array(axes).tolist()))
        for one in [one for one in node.attribute if one.name == "noop_with_empty_axes"]:
            node.attribute.remove(one)


@functools.cache
def _add_converters() -> None:
    """Teach the converter later versions of the operators that it knows, and two that it does not."""
    from onnx import defs
    from onnx2torch.node_converters.registry import _CONVERTER_REGISTRY as KNOWN
    from onnx2torch.node_converters.registry import add_converter
    from onnx2torch.utils.common import OperationConverterResult, onnx_mapping_from_node

    newest: dict[str, int] = {}
    for one in KNOWN:
        if one.domain == defs.ONNX_DOMAIN:
            newest[one.operation_type] = max(one.version, newest.get(one.operation_type, 0))
    described = {one: converter for one, converter in KNOWN.items() if one.domain == defs.ONNX_DOMAIN}
    by_name = {(one.operation_type, one.version): converter for one, converter in described.items()}
    for schema in defs.get_all_schemas_with_history():
        if schema.domain == defs.ONNX_DOMAIN and schema.name in newest and schema.since_version > newest[schema.name]:
            add_converter(schema.name, schema.since_version)(by_name[schema.name, newest[schema.name]])

    def gelu(node: Any, graph: Any) -> Any:
        del graph
        return OperationConverterResult(
            nn.GELU(node.attributes.get("approximate", "none")), onnx_mapping_from_node(node)
        )

    def mish(node: Any, graph: Any) -> Any:
        del graph
        return OperationConverterResult(nn.Mish(), onnx_mapping_from_node(node))

    for name, versions, converter in (("Gelu", (20, 28), gelu), ("Mish", (18, 22), mish)):
        for version in versions:
            if (name, version) not in by_name:
                add_converter(name, version)(converter)
