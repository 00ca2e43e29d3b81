"""Which part of its input each part of a network's output needs, worked out from the layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

Span = tuple[int, int]
"""First place, and the one behind the last, along rows or columns."""


class Axis(ABC):
    """What a layer does along rows, or along columns."""

    @abstractmethod
    def length(self, n: int) -> int:
        """Places of the output for `n` of the input; below 1 where the layer cannot run."""

    @abstractmethod
    def needs(self, span: Span, n: int) -> Span:
        """The part of an input of `n` places on which the layer has to be run for these places of the output.

        It begins where the layer's own steps begin. Where it ends inside of the input, what the layer makes of the
        missing neighbours is outside of `span`.
        """

    @abstractmethod
    def origin(self, start: int) -> int:
        """The place in the whole output of the first one that the layer gives, run on the input from `start` on."""


@dataclass(frozen=True)
class Same(Axis):
    """Each place of the output sees its own of the input."""

    def length(self, n: int) -> int:
        """As many."""
        return n

    def needs(self, span: Span, n: int) -> Span:
        """The same places."""
        del n
        return span

    def origin(self, start: int) -> int:
        """The same place."""
        return start


@dataclass(frozen=True)
class Window(Axis):
    """A convolution along one axis: kernel, stride, dilation and the padding before and behind."""

    kernel: int
    stride: int
    dilation: int
    before: int
    behind: int

    @property
    def reach(self) -> int:
        """From the first place that an output sees to the last."""
        return self.dilation * (self.kernel - 1)

    def length(self, n: int) -> int:
        """As PyTorch counts."""
        return (n + self.before + self.behind - self.reach - 1) // self.stride + 1

    def needs(self, span: Span, n: int) -> Span:
        """As many steps earlier as the padding is long, so that what it falsely pads there is not among the span."""
        first = max(0, span[0] - -(-self.before // self.stride)) * self.stride
        first = min(first, (n - 1) // self.stride * self.stride)
        last = (span[1] - 1) * self.stride - self.before + self.reach + 1
        return first, min(n, max(last, first + 1))

    def origin(self, start: int) -> int:
        """Steps up to there."""
        return start // self.stride


@dataclass(frozen=True)
class Spread(Axis):
    """A transposed convolution along one axis."""

    kernel: int
    stride: int
    dilation: int
    padding: int
    extra: int

    @property
    def reach(self) -> int:
        """From the first place that an input reaches to the last."""
        return self.dilation * (self.kernel - 1)

    def length(self, n: int) -> int:
        """As PyTorch counts."""
        return (n - 1) * self.stride - 2 * self.padding + self.reach + self.extra + 1

    def needs(self, span: Span, n: int) -> Span:
        """All inputs that reach the span, and more where the output of fewer would end before it."""
        first = min(-((self.reach - span[0] - self.padding) // self.stride), span[0] // self.stride)
        first = min(max(first, 0), n - 1)
        last = (span[1] - 1 + self.padding) // self.stride + 1
        short = span[1] - self.origin(first) - self.length(1)  # what an input of one place leaves out
        last = max(last, first + 1 - (-short // self.stride))
        return first, min(n, max(last, first + 1))

    def origin(self, start: int) -> int:
        """The output begins where its first input stands."""
        return start * self.stride


@dataclass(frozen=True)
class Opened(Axis):
    """Channels become places (pixel shuffle)."""

    factor: int

    def length(self, n: int) -> int:
        """So many times as many."""
        return n * self.factor

    def needs(self, span: Span, n: int) -> Span:
        """The inputs whose places the span touches."""
        del n
        return span[0] // self.factor, -(-span[1] // self.factor)

    def origin(self, start: int) -> int:
        """Its first place."""
        return start * self.factor


@dataclass(frozen=True)
class Packed(Axis):
    """Places become channels (pixel unshuffle)."""

    factor: int

    def length(self, n: int) -> int:
        """The layer takes multiples of its factor alone."""
        return n // self.factor if n % self.factor == 0 else 0

    def needs(self, span: Span, n: int) -> Span:
        """All places that go into the span."""
        del n
        return span[0] * self.factor, span[1] * self.factor

    def origin(self, start: int) -> int:
        """Its place among so many."""
        return start // self.factor


@dataclass(frozen=True)
class Layer:
    """One layer: what it does along rows and along columns, and how it is run on maps (B, C, h, w)."""

    rows: Axis
    columns: Axis
    run: Callable[[Tensor], Tensor]

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of its output."""
        return self.rows.length(height), self.columns.length(width)


_POINTWISE = (
    nn.CELU,
    nn.ELU,
    nn.GELU,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardtanh,
    nn.Identity,
    nn.LeakyReLU,
    nn.Mish,
    nn.PReLU,
    nn.ReLU,
    nn.ReLU6,
    nn.SELU,
    nn.Sigmoid,
    nn.SiLU,
    nn.Softplus,
    nn.Tanh,
)
_RESTING = (nn.BatchNorm2d, nn.Dropout, nn.Dropout2d)  # each place by itself in eval mode alone


def layers_of(module: nn.Module) -> Iterator[Layer]:
    """The layers of a chain of modules in eval mode.

    Known are ``nn.Sequential``, ``nn.Conv2d``, ``nn.ConvTranspose2d``, ``nn.PixelShuffle``, ``nn.PixelUnshuffle``,
    activations, batch normalisation and dropout at rest, and every module that says of itself that it computes each
    place by itself, with an attribute ``pointwise = True``.

    Raises:
        TypeError: a module is none of these, or pads in another way than with zeros or its edge.
    """
    if isinstance(module, nn.Sequential):
        for child in module:
            yield from layers_of(child)
    elif isinstance(module, nn.ConvTranspose2d):
        yield Layer(_spread(module, 0), _spread(module, 1), module)
    elif isinstance(module, nn.Conv2d):
        if module.padding_mode not in ("zeros", "replicate"):
            raise TypeError(f"a convolution that pads in mode {module.padding_mode!r} cannot run region by region")
        yield Layer(_window(module, 0), _window(module, 1), module)
    elif isinstance(module, nn.PixelShuffle):
        yield Layer(Opened(module.upscale_factor), Opened(module.upscale_factor), module)
    elif isinstance(module, nn.PixelUnshuffle):
        yield Layer(Packed(module.downscale_factor), Packed(module.downscale_factor), module)
    elif (
        isinstance(module, _POINTWISE)
        or (isinstance(module, _RESTING) and not module.training)
        or getattr(module, "pointwise", False) is True
    ):
        yield Layer(Same(), Same(), module)
    else:
        raise TypeError(f"a layer of type {type(module).__name__} cannot run region by region")


def halo(layers: Sequence[Layer], span: Span, n: int) -> Span:
    """The rows of a chain's input, of `n` rows, that are read for these rows of its output."""
    lengths = [n]
    for layer in layers[:-1]:
        lengths.append(layer.rows.length(lengths[-1]))
    for layer, length in zip(reversed(layers), reversed(lengths), strict=True):
        span = layer.rows.needs(span, length)
    return span


def _window(module: nn.Conv2d, axis: int) -> Window:
    kernel, stride, dilation = (int(pair[axis]) for pair in (module.kernel_size, module.stride, module.dilation))
    if module.padding == "valid":
        before = behind = 0
    elif module.padding == "same":
        before = dilation * (kernel - 1) // 2
        behind = dilation * (kernel - 1) - before
    else:
        before = behind = int(module.padding[axis])
    return Window(kernel, stride, dilation, before, behind)


def _spread(module: nn.ConvTranspose2d, axis: int) -> Spread:
    given = (module.kernel_size, module.stride, module.dilation, module.padding, module.output_padding)
    return Spread(*(int(pair[axis]) for pair in given))
