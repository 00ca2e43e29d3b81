"""Maps that are computed region by region, when they are read."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icm_core.tiles.bound import large, positions
from icm_core.tiles.layers import Layer, Span, layers_of

_ROUND = 16  # sides of regions are multiples of it where they can be


class Field(ABC):
    """A batch of maps (B, C, H, W) of which any region can be read.

    Sums and differences with tensors, fields and numbers are fields again. Nothing is kept: what is read twice is
    computed twice (see `kept`).

    Attributes:
        shape: (B, C, H, W).
        finest: positions of the largest map that has to be made for it.
    """

    def __init__(self, shape: Sequence[int], finest: int) -> None:
        batch, channels, height, width = shape
        self.shape = torch.Size((batch, channels, height, width))
        self.finest = max(finest, height * width)

    @abstractmethod
    def read(self, rows: Span, columns: Span) -> Tensor:
        """The region (B, C, rows, columns); both spans are inside of the map and hold a place at least."""

    def regions(self) -> Iterator[tuple[Span, Span]]:
        """Regions that cover the map, none larger than the bound allows (`icm_core.tiles.bound.positions`)."""
        height, width = self.shape[2:]
        most = max(1, positions() * height * width // self.finest)
        side = math.isqrt(most)
        wide = width if 2 * (most // width) >= min(side, height) else _rounded(side)
        tall = _rounded(max(1, most // wide))
        for top in range(0, height, tall):
            for left in range(0, width, wide):
                yield (top, min(height, top + tall)), (left, min(width, left + wide))

    def tensor(self) -> Tensor:
        """The whole map, region by region."""
        found: Tensor | None = None
        for rows, columns in self.regions():
            region = self.read(rows, columns)
            if found is None:
                if region.shape == self.shape:
                    return region
                found = region.new_empty(self.shape)
            found[:, :, slice(*rows), slice(*columns)] = region
        assert found is not None
        return found

    def __add__(self, other: Map | float) -> Field:
        return _joined(torch.add, self, other)

    def __radd__(self, other: Map | float) -> Field:
        return self + other

    def __sub__(self, other: Map | float) -> Field:
        return _joined(torch.sub, self, other)

    def __neg__(self) -> Field:
        return Pointwise(torch.neg, [self], self.shape[1])

    def clamp(self, low: float, high: float) -> Field:
        """Values held between two numbers."""
        return Pointwise(lambda x: x.clamp(low, high), [self], self.shape[1])

    def float(self) -> Field:
        """In float32."""
        return Pointwise(lambda x: x.float(), [self], self.shape[1])

    def cut(self, height: int, width: int) -> Field:
        """The upper left part."""
        return _Cut(self, height, width)

    def continued(self, height: int, width: int) -> Field:
        """Continued to the right and below by its edge."""
        return _Continued(self, height, width) if (height, width) != tuple(self.shape[2:]) else self

    def averaged(self, factor: int) -> Field:
        """Means of blocks of `factor` x `factor` places; those at the right and lower edge may be smaller."""
        return _Averaged(self, factor) if factor > 1 else self


Map: TypeAlias = Tensor | Field
"""Maps (B, C, H, W), there already or not."""


class Whole(Field):
    """A tensor as a field."""

    def __init__(self, whole: Tensor) -> None:
        super().__init__(whole.shape, 0)
        self.whole = whole

    def read(self, rows: Span, columns: Span) -> Tensor:
        """A view."""
        return self.whole[:, :, slice(*rows), slice(*columns)]

    def tensor(self) -> Tensor:
        """The tensor itself."""
        return self.whole


class Bytes(Field):
    """Pictures (B, 3, H, W) of uint8 as floats in [0, 1], on a device."""

    def __init__(self, pixels: Tensor, device: torch.device) -> None:
        super().__init__(pixels.shape, 0)
        self._pixels, self._device = pixels, device

    def read(self, rows: Span, columns: Span) -> Tensor:
        """float32."""
        part = self._pixels[:, :, slice(*rows), slice(*columns)].to(self._device)
        return part.contiguous().float().div_(255)


class Deferred(Field):
    """A tensor that is made when it is first read, and kept."""

    def __init__(self, shape: Sequence[int], make: Callable[[], Tensor]) -> None:
        super().__init__(shape, 0)
        self._make = make
        self._made: Tensor | None = None

    def read(self, rows: Span, columns: Span) -> Tensor:
        """A view."""
        return self.tensor()[:, :, slice(*rows), slice(*columns)]

    def tensor(self) -> Tensor:
        """The tensor."""
        if self._made is None:
            self._made = self._make()
        return self._made


class Pointwise(Field):
    """A function of several fields of one size, place by place."""

    def __init__(self, function: Callable[..., Tensor], parts: Sequence[Field], channels: int) -> None:
        first = parts[0].shape
        if any(part.shape[2:] != first[2:] for part in parts):
            raise ValueError(f"maps of sizes {[tuple(part.shape[2:]) for part in parts]} do not go together")
        super().__init__((first[0], channels, *first[2:]), max(part.finest for part in parts))
        self._function, self._parts = function, parts

    def read(self, rows: Span, columns: Span) -> Tensor:
        """The function of the parts' regions."""
        return self._function(*(part.read(rows, columns) for part in self._parts))


class Chain(Field):
    """What a chain of layers makes of a field.

    Args:
        layers: the layers in order.
        channels: of the output.
        source: the input.

    Raises:
        ValueError: the input is too small for a layer, or no multiple of what it unshuffles.
    """

    def __init__(self, layers: Sequence[Layer], channels: int, source: Field) -> None:
        self._sizes = [(source.shape[2], source.shape[3])]
        for layer in layers:
            height, width = layer.size(*self._sizes[-1])
            if min(height, width) < 1:
                raise ValueError(f"a layer cannot run on maps of {self._sizes[-1][0]}x{self._sizes[-1][1]} places")
            self._sizes.append((height, width))
        finest = max(source.finest, *(height * width for height, width in self._sizes))
        super().__init__((source.shape[0], channels, *self._sizes[-1]), finest)
        self._layers, self._source = layers, source

    def read(self, rows: Span, columns: Span) -> Tensor:
        """Backwards from the region to what each layer has to be given, then forwards, cut to that after each."""
        wanted = [(rows, columns)]
        for layer, (height, width) in zip(reversed(self._layers), reversed(self._sizes[:-1]), strict=True):
            rows, columns = wanted[-1]
            wanted.append((layer.rows.needs(rows, height), layer.columns.needs(columns, width)))
        rows, columns = wanted.pop()
        x = self._source.read(rows, columns)
        for layer in self._layers:
            top, left = layer.rows.origin(rows[0]), layer.columns.origin(columns[0])
            rows, columns = wanted.pop()
            x = layer.run(x)[:, :, rows[0] - top : rows[1] - top, columns[0] - left : columns[1] - left]
        return x


class _Cut(Field):
    def __init__(self, source: Field, height: int, width: int) -> None:
        super().__init__((*source.shape[:2], height, width), source.finest)
        self._source = source

    def read(self, rows: Span, columns: Span) -> Tensor:
        return self._source.read(rows, columns)


class _Continued(Field):
    def __init__(self, source: Field, height: int, width: int) -> None:
        super().__init__((*source.shape[:2], height, width), source.finest)
        self._source = source

    def read(self, rows: Span, columns: Span) -> Tensor:
        (top, below), (left, right) = (
            (min(span[0], length - 1), min(span[1], length))
            for span, length in zip((rows, columns), self._source.shape[2:], strict=True)
        )
        known = self._source.read((top, below), (left, right))
        missing = rows[1] - rows[0] - (below - top), columns[1] - columns[0] - (right - left)
        return F.pad(known, (0, missing[1], 0, missing[0]), mode="replicate") if any(missing) else known


class _Averaged(Field):
    def __init__(self, source: Field, factor: int) -> None:
        height, width = (-(-side // factor) for side in source.shape[2:])
        super().__init__((*source.shape[:2], height, width), source.finest)
        self._source, self._factor = source, factor

    def read(self, rows: Span, columns: Span) -> Tensor:
        factor = self._factor
        spans = [
            (span[0] * factor, min(span[1] * factor, length))
            for span, length in zip((rows, columns), self._source.shape[2:], strict=True)
        ]
        part = self._source.read(spans[0], spans[1]).float()
        return F.avg_pool2d(part, factor, ceil_mode=True, count_include_pad=False)


def spread(x: Map, size: tuple[int, int] | None = None) -> Map:
    """A tensor as a field where its pictures are large, so that what is made of it is made region by region.

    Args:
        x: maps.
        size: height and width of the pictures; those of `x` if not given.
    """
    if isinstance(x, Field):
        return x
    return Whole(x) if large(size or (x.shape[2], x.shape[3])) else x


def apply(module: nn.Module, x: Map) -> Map:
    """What a chain of layers (`icm_core.tiles.layers_of`) makes of maps: of a tensor at once, of a field when read.

    Raises:
        TypeError: of a field, a layer cannot run region by region.
        ValueError: a field is too small for a layer.
    """
    if isinstance(x, Tensor):
        found: Tensor = module(x)
        return found
    layers = tuple(layers_of(module))
    return Chain(layers, _channels(module, x.shape[1]), x)


def cat(parts: Sequence[Map]) -> Map:
    """Maps of one size, channels behind channels."""
    tensors = [part for part in parts if isinstance(part, Tensor)]
    if len(tensors) == len(parts):
        return torch.cat(tensors, 1)
    fields = [_field(part) for part in parts]
    return Pointwise(lambda *regions: torch.cat(regions, 1), fields, sum(field.shape[1] for field in fields))


def added(first: Map, second: Map) -> Map:
    """The sum of maps of one size."""
    return second + first if isinstance(second, Field) else first + second


def cut(x: Map, height: int, width: int) -> Map:
    """The upper left part of maps."""
    return x[..., :height, :width] if isinstance(x, Tensor) else x.cut(height, width)


def whole(x: Map) -> Tensor:
    """The maps as a tensor."""
    return x if isinstance(x, Tensor) else x.tensor()


def kept(x: Map) -> Map:
    """The maps, made now, so that they are not made anew with each reading; a field stays one."""
    return x if isinstance(x, Tensor) else Whole(x.tensor())


def _field(x: Map) -> Field:
    return Whole(x) if isinstance(x, Tensor) else x


def _joined(function: Callable[..., Tensor], first: Field, second: Map | float) -> Field:
    if isinstance(second, Tensor | Field):
        return Pointwise(function, [first, _field(second)], first.shape[1])
    return Pointwise(lambda x: function(x, second), [first], first.shape[1])


def _channels(module: nn.Module, channels: int) -> int:
    """Channels of a chain's output."""
    if isinstance(module, nn.Sequential):
        for child in module:
            channels = _channels(child, channels)
    elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        return module.out_channels
    elif isinstance(module, nn.PixelShuffle):
        return channels // module.upscale_factor**2
    elif isinstance(module, nn.PixelUnshuffle):
        return channels * module.downscale_factor**2
    return channels


def _rounded(side: int) -> int:
    return side // _ROUND * _ROUND if side > 2 * _ROUND else side
