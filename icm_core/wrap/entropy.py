"""CompressAI's entropy models inside of a codec: tables in no state, streams read strictly, shapes without values."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from compressai.entropy_models import EntropyBottleneck
from compressai.entropy_models.entropy_models import EntropyModel
from compressai.layers import CheckerboardMaskedConv2d, MaskedConv2d
from compressai.models.utils import remap_old_keys
from torch import Tensor, nn
from torch.nn import functional as F

from icm_core.coding import MAX_SYMBOL, CdfTables, StreamDecoder, StreamEncoder

_TABLES = ("_offset", "_quantized_cdf", "_cdf_length", "scale_table")


class _Masked(MaskedConv2d):  # type: ignore[misc]
    """CompressAI's masked convolution, which leaves its weights as they are: theirs writes the masked ones back."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.mask, self.bias, self.stride, self.padding, self.dilation, self.groups)


class _CheckerboardMasked(_Masked, CheckerboardMaskedConv2d):  # type: ignore[misc]
    pass


_OWN = {MaskedConv2d: _Masked, CheckerboardMaskedConv2d: _CheckerboardMasked}


def adopt(model: nn.Module) -> None:
    """Make a model's state what was trained, and nothing that follows from it.

    Tables leave the state: their shapes change with the weights, and `tables_of` makes them when they are needed. The
    quantiles of entropy bottlenecks, which no gradient of a rate or a distance reaches, become buffers that
    `find_quantiles` fills. Masked convolutions no longer write to their weights in a forward pass.
    """
    for module in model.modules():
        if isinstance(module, EntropyModel):
            for name in _TABLES:
                if name in dict(module.named_buffers(recurse=False)):
                    module.register_buffer(name, getattr(module, name), persistent=False)
        if isinstance(module, EntropyBottleneck) and isinstance(module.quantiles, nn.Parameter):
            quantiles = module.quantiles.detach()
            del module.quantiles
            module.register_buffer("quantiles", quantiles)
        if type(module) in _OWN:
            module.__class__ = _OWN[type(module)]


@torch.no_grad()
def find_quantiles(model: nn.Module) -> None:
    """The ends and medians of all bottlenecks' densities, which CompressAI trains with a loss of their own."""
    for module in model.modules():
        if isinstance(module, EntropyBottleneck):
            module._update_quantiles()


def without_tables(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of a model of CompressAI's, of any of its versions, without the tables that follow from the rest."""
    found = dict(state)
    for name, module in model.named_modules():
        if isinstance(module, EntropyBottleneck):
            found = remap_old_keys(name, found)
        if isinstance(module, EntropyModel):
            found = {key: value for key, value in found.items() if key not in [f"{name}.{table}" for table in _TABLES]}
    return dict(found)


@contextmanager
def shapes_alone(model: nn.Module) -> Iterator[None]:
    """Let a model run on the meta device: CompressAI's bottlenecks look at values on their way."""
    parts = [module for module in model.modules() if isinstance(module, EntropyBottleneck)]
    for part in parts:
        part.forward = _shapes
    try:
        yield
    finally:
        for part in parts:
            del part.forward


def _shapes(x: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
    return x, torch.empty_like(x)


def twin(model: nn.Module) -> nn.Module:
    """A copy that shares all weights and buffers and may be given tables, while the model itself stays as it is."""
    tensors = itertools.chain(model.parameters(), model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors}).eval()


def read_strictly(model: nn.Module) -> bool:
    """Give all entropy models of a model a coder that reads to the end of its stream, no further; false without any."""
    parts = [module for module in model.modules() if isinstance(module, EntropyModel)]
    for part in parts:
        part.entropy_coder = _StrictCoder()
    return bool(parts)


class Followed(bytes):
    """A string with zeros behind it, for models that read it with CompressAI's coder themselves: that looks for no end.

    A symbol takes at most one word, and an escape's length is counted in the string's nibbles.
    """

    string: bytes

    @classmethod
    def by_zeros(cls, string: bytes, symbols: int) -> Followed:
        """The string, followed by enough zeros for a number of symbols."""
        made = cls(string + bytes(16 * len(string) + 4 * symbols + 64))
        made.string = string
        return made


class _StrictCoder:
    """Streams of `icm_core.coding` with the methods of CompressAI's coder."""

    def __init__(self) -> None:
        self._seen: tuple[Any, ...] = ()
        self._made = CdfTables([], [], [])

    def encode_with_indexes(self, symbols: Sequence[int], indexes: Sequence[int], *tables: list[Any]) -> bytes:
        stream = StreamEncoder()
        stream.push(_whole(symbols).clamp(-MAX_SYMBOL, MAX_SYMBOL), _whole(indexes), self._tables(*tables))
        return stream.finish()

    def decode_with_indexes(self, string: bytes, indexes: Sequence[int], *tables: list[Any]) -> list[int]:
        stream = StreamDecoder(getattr(string, "string", string), len(indexes))
        symbols = stream.pull(_whole(indexes), self._tables(*tables))
        stream.finish()
        return cast("list[int]", symbols.tolist())

    def _tables(self, rows: list[list[int]], sizes: list[int], offsets: list[int]) -> CdfTables:
        given = (rows, sizes, offsets)
        if given != self._seen:  # an entropy model hands over all of its tables for every string
            self._made = CdfTables.from_tensor(torch.tensor(rows), torch.tensor(sizes), torch.tensor(offsets))
            self._seen = given
        return self._made


def _whole(values: Sequence[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)
