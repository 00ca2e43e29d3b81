"""A pipeline's float networks as ONNX files, and what a camera needs to code with them."""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from icm_core.errors import InputError
from icm_core.files import make_folder, write_atomically
from icm_core.nests import paths
from icm_core.pipeline.pipeline import Pipeline
from icm_core.spec.model import FINE
from icm_core.types import SideInfo

OPSET = 17
NEAR = 1e-3
"""Outputs of a file may be off PyTorch's by this share of the largest of them."""


@dataclass(frozen=True)
class Network:
    """One file.

    Attributes:
        path: the file.
        inputs, outputs: names.
        sizes: ``"any"``, or the padded height and width that it takes: ``"384x512"``.
    """

    path: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    sizes: str


def export_onnx(pipe: Pipeline, out: Path, size: tuple[int, int]) -> tuple[list[Network], list[Path], dict[str, str]]:
    """Write the encoder up to the latents, each task's adapter with its head, and a camera's tables.

    Each file is run by onnxruntime and compared with PyTorch before it is kept. It takes pictures of any size, in
    multiples of the codec's alignment; where a network cannot, of one size.

    Args:
        pipe: the pipeline, on the CPU.
        out: folder of the files.
        size: height and width of a picture; that of networks which take one size alone, after padding.

    Returns:
        The networks, further files, and what was not written: the part -> a clause that says why.

    Raises:
        InputError: the packages are missing, or a folder cannot be written.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise InputError(f"ONNX files need {error.name}; pip install 'icm-framework[onnx]'") from error
    make_folder(out)
    step = pipe.codec.layout.alignment
    height, width = (max(1, -(-side // step)) * step for side in size)
    sizes = [(height, width), (height, width), (height + step, width + 2 * step)]
    found: list[Network] = []
    left: dict[str, str] = {}
    with torch.inference_mode(False), torch.no_grad():
        if (latents := getattr(pipe.codec, "latents", None)) is not None:
            path = out / f"{pipe.name}.encoder.onnx"
            seen: list[tuple[Tensor, ...]] = [(torch.rand(1, 3, *one),) for one in sizes]
            found.append(_written(path, _Latents(pipe.codec, latents), ["picture"], seen))
        else:
            left["encoder"] = f"codec {pipe.codec.name} has no latents of its own"
        plain = _plain(pipe)
        for name in pipe.tasks:
            if pipe.reads_fine(name):
                left[name] = f"its adapter reads the {FINE} picture, which the base layer alone does not give"
                continue
            levels = pipe.codec.layout.levels
            inputs = [
                tuple(torch.randn(1, level.channels, *(side // level.stride for side in one)) for level in levels)
                for one in sizes
            ]
            names = [f"level{number}" for number in range(len(levels))]
            if pipe.codec.name.startswith("sicmh."):
                names = [f"h{number + 1}" for number in range(len(levels))]
            try:
                found.append(
                    _written(out / f"{pipe.name}.{name}.onnx", _Answer(plain, name, levels[0].stride), names, inputs)
                )
            except (InputError, RuntimeError, ValueError, TypeError, NotImplementedError) as error:
                left[name] = " ".join(str(error).split())[:200] or type(error).__name__
    more = []
    if (tables := getattr(pipe.codec, "camera_tables", None)) is not None:
        try:
            arrays = tables()
        except InputError as error:
            left["camera"] = str(error)
        else:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **arrays)
            more.append(out / f"{pipe.name}.camera.npz")
            write_atomically(more[0], buffer.getvalue())
    return found, more, left


class _Latents(nn.Module):
    """Padded pictures to unquantised latents."""

    def __init__(self, codec: nn.Module, latents: Callable[[Tensor], Sequence[Tensor]]) -> None:
        super().__init__()
        self.codec, self.latents = codec, latents
        self.names: list[str] = []

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        found = tuple(self.latents(picture))
        self.names = [f"h{number + 1}" for number in range(len(found))]
        return found


class _Answer(nn.Module):
    """Side information to a head's output, over the padded picture; through the picture that its adapter reads."""

    def __init__(self, pipe: Pipeline, name: str, stride: int) -> None:
        super().__init__()
        self.pipe, self.task, self.stride = pipe, name, stride
        self.names: list[str] = []

    def forward(self, *levels: Tensor) -> tuple[Tensor, ...]:
        size = (levels[0].shape[-2] * self.stride, levels[0].shape[-1] * self.stride)
        side = self.pipe.side_for(self.task, SideInfo(tuple(levels), size))
        found = paths(self.pipe.task(self.task)(side))
        self.names = [name or "output" for name in found]
        return tuple(found.values())


def _written(path: Path, module: _Latents | _Answer, inputs: list[str], examples: list[tuple[Tensor, ...]]) -> Network:
    """A file that was compared with PyTorch: of any size if it can, else of the first example's.

    Args:
        path: the file.
        module: what it has to compute.
        inputs: their names.
        examples: inputs, two of one size and one of another. The first is traced: what tracing takes for a constant
            shows in the second.
    """
    module.eval()
    problem = ""
    for free in (True, False):
        try:
            module(*examples[0])  # for the names of what comes out
            blob = _traced(module, inputs, module.names, examples[0], free)
            problem = _difference(blob, module, examples if free else examples[:2])
        except Exception as error:  # the exporter and onnxruntime have exceptions of many kinds
            problem = " ".join(str(error).split())[:200] or type(error).__name__
        if not problem:
            write_atomically(path, blob)
            sizes = "any" if free else "x".join(str(side) for side in _size_of(module, examples[0]))
            return Network(path, tuple(inputs), tuple(module.names), sizes)
    raise InputError(f"{path.name} was not written: {problem}")


def _plain(pipe: Pipeline) -> Pipeline:
    """A copy whose transposed convolutions are PyTorch's own: subclasses that are only faster cannot be exported."""
    copied = copy.deepcopy(pipe)
    for module in copied.modules():
        if isinstance(module, nn.ConvTranspose2d):
            module.__class__ = nn.ConvTranspose2d
    return copied


@contextlib.contextmanager
def _as_products() -> Iterator[None]:
    """Pooling to a size and antialiased resizing as two products with constant matrices; ONNX has neither."""
    pool, resize = functional.adaptive_avg_pool2d, functional.interpolate

    def product(x: Tensor, op: Callable[[Tensor, tuple[int, int]], Tensor], size: Any) -> Tensor:
        height, width = int(x.shape[-2]), int(x.shape[-1])
        rows, columns = (size, size) if isinstance(size, int) else (int(side) for side in size)
        left = op(torch.eye(height)[None, None], (rows, height))[0, 0]
        right = op(torch.eye(width)[None, None], (width, columns))[0, 0]
        return left @ x @ right

    def pooled(x: Tensor, output_size: Any) -> Tensor:
        return product(x, pool, output_size)

    def resized(x: Tensor, size: Any = None, *args: Any, **more: Any) -> Tensor:
        if not more.get("antialias"):
            return resize(x, size, *args, **more)
        return product(x, lambda one, its: resize(one, its, *args, **more), size)

    with (
        mock.patch.object(functional, "adaptive_avg_pool2d", pooled),
        mock.patch.object(functional, "interpolate", resized),
    ):
        yield


def _size_of(module: _Latents | _Answer, example: tuple[Tensor, ...]) -> tuple[int, int]:
    stride = module.stride if isinstance(module, _Answer) else 1
    return example[0].shape[-2] * stride, example[0].shape[-1] * stride


def _traced(module: nn.Module, inputs: list[str], outputs: list[str], example: tuple[Tensor, ...], free: bool) -> bytes:
    axes: Mapping[str, Any] | None = None
    if free:
        axes = {name: {2: f"{name}_height", 3: f"{name}_width"} for name in inputs}
    buffer = io.BytesIO()
    with warnings.catch_warnings(), _as_products():
        warnings.simplefilter("ignore")  # of values that tracing keeps; what comes out is compared
        torch.onnx.export(
            module,
            example,
            buffer,  # type: ignore[arg-type]
            input_names=inputs,
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    return buffer.getvalue()


def _difference(blob: bytes, module: nn.Module, examples: list[tuple[Tensor, ...]]) -> str:
    """What is wrong with a file's outputs; empty if they are PyTorch's."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(blob, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    for example in examples:
        given = {name: value.numpy() for name, value in zip(names, example, strict=False)}
        found: list[NDArray[Any]] = session.run(None, given)
        for output, wanted in zip(found, module(*example), strict=True):
            true = wanted.float().numpy()
            off = float(np.abs(output - true).max()) if output.shape == true.shape else np.inf
            if not off <= NEAR * max(1.0, float(np.abs(true).max())):
                return f"an output of shape {output.shape} is off PyTorch's {true.shape} by {off:.3g}"
    return ""
