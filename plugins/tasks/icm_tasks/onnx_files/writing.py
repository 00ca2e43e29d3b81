"""Trained weights written back into the ONNX file that the network was made of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from icm_core.errors import WeightsError
from icm_core.files import write_atomically
from icm_tasks.onnx_files.head import Onnx
from icm_tasks.onnx_files.preparing import fold
from icm_tasks.onnx_files.reading import converted, parsed

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnx2torch.onnx_node import OnnxNode

_INPUTS = {"weight": 1, "bias": 2, "running_mean": 3, "running_var": 4}
"""Which input of a node is what PyTorch calls so."""


def write(head: Onnx, path: Path) -> None:
    """Write a head's network, with the weights that it has now, as an ONNX file.

    Any other runtime takes it, and so does a head ``tasks.onnx`` that keeps its weights. What normalisations learned
    and their statistics are written too.

    Args:
        head: a head with ``trained`` set.
        path: the file that is written.

    Raises:
        WeightsError: a weight has no counterpart in the file.
        InputError: the file cannot be written.
    """
    import onnx
    from onnx import numpy_helper
    from onnx2torch.onnx_graph import OnnxGraph

    source = head.params.file.path
    model = onnx.ModelProto()
    model.CopyFrom(parsed(source))
    fold(model)
    places = {one.name: number for number, one in enumerate(model.graph.initializer)}
    nodes = OnnxGraph(model.graph).nodes
    before, now = converted(source).state_dict(), head.net.state_dict()
    for key, old in before.items():
        new = now[f"graph.{key}"].detach().cpu()
        if torch.equal(new, old):
            continue
        node = nodes.get(key.rpartition(".")[0])
        found = None if node is None else _stored(model, node, places, key.rpartition(".")[2], old)
        if found is None:
            raise WeightsError(f"{source}: the trained weight {key!r} has no counterpart in the file")
        number, turned = found
        stored = model.graph.initializer[number]
        values = (new.T if turned else new).numpy().astype(numpy_helper.to_array(stored).dtype)
        stored.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), stored.name))
    write_atomically(path, model.SerializeToString())


def _stored(
    model: ModelProto, node: OnnxNode, places: dict[str, int], part: str, old: Tensor
) -> tuple[int, bool] | None:
    """Which initializer holds a weight of a node, and whether it is turned there.

    Weights of a node may be equal, as all of a new normalisation are, so that the one in the usual place counts first.
    """
    from onnx import numpy_helper

    turned = node.operation_type == "Gemm" and old.dim() == 2 and not node.attributes.get("transB", 0)
    wanted = (old.T if turned else old).numpy()
    usual = _INPUTS.get(part, 0)
    names = [*node.input_values[usual : usual + 1], *node.input_values]
    for number in [places[name] for name in names if name in places]:
        if np.array_equal(numpy_helper.to_array(model.graph.initializer[number]), wanted):
            return number, turned
    return None
