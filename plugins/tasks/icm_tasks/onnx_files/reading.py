"""ONNX files read as data: bounded, checked, and made networks of PyTorch."""

from __future__ import annotations

import copy
import difflib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from icm_core.errors import SpecError, WeightsError
from icm_tasks.onnx_files.preparing import odd_attributes, prepared

if TYPE_CHECKING:
    from onnx import ModelProto

MAX_BYTES = 1_000_000_000
"""Largest file that is read; the protocol itself ends at two gigabytes."""

_TRIED = (224, 288)
"""Size of the picture on which networks are compared whose input has any size."""

_NEAR = 1e-2
"""A converted network may differ by this share of its largest value: sums in another order, over many layers."""

_ENGINE = "set engine to 'onnxruntime' where nothing is trained through it"

INSTALL = "install it with: pip install 'icm-framework[onnx]'"


@dataclass(frozen=True)
class Signature:
    """What a file's network takes and gives.

    Attributes:
        batch: pictures that it takes at once; None: any number.
        size: height and width of its input; None: any.
        outputs: names of its outputs.
    """

    input: str
    batch: int | None
    size: tuple[int, int] | None
    outputs: tuple[str, ...]


def signature(path: Path) -> Signature:
    """What the network in a file takes and gives; see `network` for errors."""
    return _read(*_stamp(path))[1]


def network(path: Path, outputs: Sequence[str]) -> nn.Module:
    """The network in a file as a module of PyTorch, with the file's weights, in eval mode and on the CPU.

    Args:
        path: the file.
        outputs: names of the outputs that it gives, in this order, as a tuple.

    Raises:
        WeightsError: there is no such file, it is too large, damaged, or keeps weights in other files.
        SpecError: the packages are not installed, it has no such output, or an operator of it has no counterpart.
    """
    return _Network(copy.deepcopy(converted(path)), signature(path).outputs, outputs)


def parsed(path: Path) -> ModelProto:
    """The file's content, which nobody changes; see `network` for errors."""
    return _read(*_stamp(path))[0]


def converted(path: Path) -> nn.Module:
    """The network of PyTorch that a file's became, which nobody changes; see `network` for errors."""
    return _converted(*_stamp(path))


class _Network(nn.Module):
    """A converted network that gives chosen outputs."""

    def __init__(self, graph: nn.Module, known: Sequence[str], wanted: Sequence[str]) -> None:
        super().__init__()
        self.graph = graph
        self._chosen = tuple(known.index(name) for name in wanted)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """The outputs for a batch of inputs."""
        with warnings.catch_warnings():
            # The converter indexes with lists, of which PyTorch says that they will be tensors one day; they are
            # lists of slices, for which nothing changes.
            warnings.filterwarnings("ignore", message=".*non-tuple sequence.*")
            found = self.graph(image)
        outputs = _tuple(found)
        return tuple(outputs[index] for index in self._chosen)


def _stamp(path: Path) -> tuple[Path, int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise WeightsError(f"{path}: the network is missing, there is no such file") from error
    if not path.is_file():
        raise WeightsError(f"{path}: it should be an ONNX file, and is a folder")
    if stat.st_size > MAX_BYTES:
        raise WeightsError(f"{path}: {stat.st_size} bytes, above the limit of {MAX_BYTES}")
    return path, stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=8)
def _read(path: Path, changed: int, size: int) -> tuple[ModelProto, Signature]:
    del changed, size
    onnx = _library("onnx")
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except (DecodeError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: not a readable ONNX file: {_line(error)}") from error
    tensors = [*model.graph.initializer, *(part.t for node in model.graph.node for part in node.attribute)]
    outside = [one.name for one in tensors if one.data_location == onnx.TensorProto.EXTERNAL]
    if outside:
        raise WeightsError(
            f"{path}: the weights {outside[0]!r} are in another file; save the network with all weights in one "
            "(onnx.save(model, path, save_as_external_data=False))"
        )
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError, TypeError) as error:
        raise WeightsError(f"{path}: not a valid ONNX network: {_line(error)}") from error
    return model, _signature(path, model, onnx)


def _signature(path: Path, model: Any, onnx: Any) -> Signature:
    weights = {one.name for one in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise SpecError(f"{path}: a network of pictures has one input, and this one has {names}")
    kind = inputs[0].type.tensor_type
    dims = [one.dim_value if one.HasField("dim_value") else None for one in kind.shape.dim]
    if kind.elem_type != onnx.TensorProto.FLOAT or len(dims) != 4 or dims[1] not in (3, None):
        shape = ", ".join("any" if one is None else str(one) for one in dims)
        name = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
        raise SpecError(
            f"{path}: the input {inputs[0].name!r} is {name} ({shape}); it should be pictures, float (B, 3, H, W)"
        )
    batch, _, height, width = dims
    size = (height, width) if height and width else None
    return Signature(inputs[0].name, batch or None, size, tuple(value.name for value in model.graph.output))


@lru_cache(maxsize=4)
def _converted(path: Path, changed: int, size: int) -> nn.Module:
    model, found = _read(path, changed, size)
    onnx2torch = _library("onnx2torch")
    model = prepared(model)
    _check_operators(path, model)
    try:
        with torch.device("cpu"):
            made: nn.Module = onnx2torch.convert(model)
    except Exception as error:  # the converter raises whatever its operators happen to raise
        raise SpecError(f"{path}: the network cannot be made one of PyTorch: {_line(error)}") from error
    made.eval()
    _compare(path, made, found)
    return made


def _compare(path: Path, made: nn.Module, found: Signature) -> None:
    """Raise `SpecError` unless the converted network says what onnxruntime says of the file, on a picture of noise.

    The converter may know an operator as it was in another version. Where the file leaves the input's size open and the
    network takes none of the size that is tried, or this runtime does not know an operator, nothing is compared.
    """
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(found.batch or 1, 3, *(found.size or _TRIED), generator=generator)
    try:
        session = _library("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
        wanted = session.run(None, {found.input: image.numpy()})
    except SpecError:
        return
    except Exception:  # onnxruntime has a class of its own for each of its states
        return
    with warnings.catch_warnings(), torch.no_grad(), torch.autocast("cpu", enabled=False):
        warnings.simplefilter("ignore")
        try:
            outputs = made(image)
        except Exception as error:
            raise SpecError(f"{path}: the network cannot run as one of PyTorch: {_line(error)}") from error
    for name, one, other in zip(found.outputs, _tuple(outputs), map(torch.from_numpy, wanted), strict=True):
        if one.shape != other.shape:
            raise SpecError(
                f"{path}: as a network of PyTorch its output {name!r} has the shape {tuple(one.shape)}, and should "
                f"have {tuple(other.shape)}; {_ENGINE}"
            )
        apart = float((one.float() - other.float()).abs().max()) if one.numel() else 0.0
        large = float(other.float().abs().max()) if one.numel() else 0.0
        if not apart <= _NEAR * max(large, _NEAR):
            raise SpecError(
                f"{path}: as a network of PyTorch its output {name!r} differs by up to {apart:.3g}, of values up to "
                f"{large:.3g}, so an operator has another meaning there; {_ENGINE}"
            )


def _tuple(outputs: Any) -> tuple[Tensor, ...]:
    return tuple(outputs) if isinstance(outputs, (list, tuple)) else (outputs,)


def _check_operators(path: Path, model: ModelProto) -> None:
    from onnx2torch.node_converters.registry import get_converter

    versions = {one.domain: one.version for one in model.opset_import}
    unknown = {*odd_attributes(model)}
    for node in model.graph.node:
        try:
            get_converter(domain=node.domain, operation_type=node.op_type, version=versions.get(node.domain, 1))
        except NotImplementedError:
            unknown.add(node.op_type)
    if unknown:
        raise SpecError(
            f"{path}: the network has operators without a counterpart in PyTorch here: {', '.join(sorted(unknown))}; "
            f"{_ENGINE}, or export the network without them"
        )


def _library(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SpecError(f"networks from ONNX files need the package {name!r}; {INSTALL}") from error


def chosen(path: Path, known: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """Names of outputs, all that a file has by default; `SpecError` with the nearest name where one is unknown."""
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            raise SpecError(
                f"{path}: the network has no output {name!r}; did you mean {near[0]!r}? it has {', '.join(known)}"
            )
    return tuple(wanted) or tuple(known)


def _line(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
