"""Trained weights written back into the ONNX file that the network was made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from icm_core.errors import WeightsError
from icm_core.files import write_atomically
from icm_tasks.onnx_files.head import Onnx
from icm_tasks.onnx_files.preparing import fold
from icm_tasks.onnx_files.reading import converted, parsed


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
        inputs = [] if node is None else [name for name in node.input_values if name in places]
        found = next((pair for name in inputs if (pair := _as_stored(model, places[name], old, new))), None)
        if found is None:
            raise WeightsError(f"{source}: the trained weight {key!r} has no counterpart in the file")
        number, values = found
        name = model.graph.initializer[number].name
        model.graph.initializer[number].CopyFrom(numpy_helper.from_array(values, name))
    write_atomically(path, model.SerializeToString())


def _as_stored(model: object, number: int, old: Tensor, new: Tensor) -> tuple[int, np.ndarray] | None:  # type: ignore[type-arg]
    """The new values in the shape of an initializer that has the old ones, as they are or transposed."""
    from onnx import numpy_helper

    stored = numpy_helper.to_array(model.graph.initializer[number])  # type: ignore[attr-defined]
    for was, becomes in ((old, new), (old.T, new.T)) if old.dim() == 2 else ((old, new),):
        if stored.shape == tuple(was.shape) and np.array_equal(stored, was.numpy()):
            return number, np.ascontiguousarray(becomes.numpy(), stored.dtype)
    return None
