"""Networks whose weights stay those of a file, and belong to no pipeline's state."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from torch import Tensor, nn


def freeze(net: nn.Module) -> None:
    """Make a network's weights buffers that are in no state: they are the file's, which is there."""
    for module in net.modules():
        for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if tensor is None:
                continue
            delattr(module, name)
            module.register_buffer(name, tensor.detach(), persistent=False)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.track_running_stats = False  # else it puts a count of batches into states that are loaded


def with_a_place(net: nn.Module) -> None:
    """Let modules that ask their parameters where they are find their buffers instead."""
    for module in net.modules():
        if hasattr(type(module), "device"):
            module.parameters = partial(_buffers, module)  # type: ignore[assignment]


def _buffers(module: nn.Module, recurse: bool = True) -> Iterator[Tensor]:
    return module.buffers(recurse)
