"""Networks run by onnxruntime: no gradients, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from icm_core.errors import InputError, SpecError, WeightsError
from icm_tasks.onnx_files.reading import INSTALL, Signature


class Runtime(nn.Module):
    """The network of a file, as onnxruntime runs it.

    Args:
        path: the file.
        found: what its network takes and gives.
        outputs: names of the outputs that it gives, in this order.
    """

    def __init__(self, path: Path, found: Signature, outputs: Sequence[str]) -> None:
        super().__init__()
        self._path, self._input, self._outputs = path, found.input, list(outputs)
        _session(path, path.stat().st_mtime_ns)  # what is wrong with it is said when it is built

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """The outputs for a batch of inputs, without gradients."""
        if image.requires_grad and torch.is_grad_enabled():
            raise InputError(f"{self._path}: onnxruntime gives no gradients; set engine to 'torch' to train through it")
        session = _session(self._path, self._path.stat().st_mtime_ns)
        found = session.run(self._outputs, {self._input: image.detach().float().cpu().numpy()})
        return tuple(torch.from_numpy(output).to(image.device) for output in found)


@lru_cache(maxsize=4)
def _session(path: Path, changed: int) -> Any:
    """A session, outside of modules: it can be neither copied nor sent to another process."""
    del changed
    try:
        import onnxruntime
    except ImportError as error:
        raise SpecError(f"engine 'onnxruntime' needs the package 'onnxruntime'; {INSTALL}") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class of its own for each of its states
        raise WeightsError(
            f"{path}: onnxruntime cannot run the network: {' '.join(str(error).split())[:200]}"
        ) from error
