"""A start for the transforms that is a picture codec already: a pyramid of Karhunen-Loève transforms (KLT).

Trained from random weights, the networks of SICMH take most of a short training to find what a linear block transform
does. Here they begin as one. Pictures are modelled as a first-order autoregressive field, whose KLT is close to the
DCT (Ahmed, Natarajan, Rao, 1974); each stride-2 layer transforms blocks of 2x2 positions and keeps the components of
highest variance. Nothing is measured, so the start is the same everywhere and favours no data set.

Non-linearities are kept out of the way, not removed: GDN is near the identity for the small values that the scaling
below gives, ReLUs see pairs (u, -u) or values raised by a bias that is taken off behind them. Training bends them as
it likes. Channels that the pyramid does not need start at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

NAME = "klt"
"""What a recipe calls this start."""

H1_SCALE = 16.0
"""h1 over mean grey levels in [0, 1]; gains of 2 to 8 are then quantisation steps of some 250 to 60 of 255."""

_RHO = (0.98, 0.982)  # between rows and between columns; unequal, so that no two components have one variance
_COLOUR_VARIANCE = (0.2, 0.008, 0.005)  # of brightness and two differences, pixels in [0, 1]
_COLOUR = (
    (3**-0.5, 3**-0.5, 3**-0.5),
    (2**-0.5, 0.0, -(2**-0.5)),
    (6**-0.5, -2 * 6**-0.5, 6**-0.5),
)
_LEAK = 0.002  # share of its random start that a layer keeps, so that nothing is exactly symmetric
_HEADROOM = 3.0  # standard deviations that a bias raises a value by


@dataclass(frozen=True)
class Stage:
    """One stage of the pyramid.

    Attributes:
        matrix: rows are components of the 2x2 block of the level before, (kept, c, 2, 2), orthonormal.
        std: standard deviation of each component, scaled as its level's values are.
    """

    matrix: Tensor
    std: Tensor


def pyramid(kept: Sequence[int]) -> list[Stage]:
    """Stages of halving scale, from pixels; a stage keeps at most so many components.

    Values are averages rather than sums, a factor of 1/2 a stage, so that brightness keeps its range.
    """
    colour = torch.tensor(_COLOUR, dtype=torch.float64)
    cov_colour = colour.T @ torch.diag(torch.tensor(_COLOUR_VARIANCE, dtype=torch.float64)) @ colour
    basis = torch.eye(3, dtype=torch.float64).reshape(3, 3, 1, 1)  # component, colour, row, column
    levels = []
    for stage, most in enumerate(kept, start=1):
        count, _, side, _ = basis.shape
        blocks = torch.zeros(count, 2, 2, 3, 2 * side, 2 * side, dtype=torch.float64)
        for dy in (0, 1):
            for dx in (0, 1):
                blocks[:, dy, dx, :, dy * side : (dy + 1) * side, dx * side : (dx + 1) * side] = basis
        flat = blocks.reshape(4 * count, 3, 2 * side, 2 * side)
        distance = (torch.arange(2 * side)[:, None] - torch.arange(2 * side)[None]).abs().double()
        rows, columns = (torch.as_tensor(rho, dtype=torch.float64) ** distance for rho in _RHO)
        filtered = torch.einsum("kcyx,cd,yz,xw->kdzw", flat, cov_colour, rows, columns)
        values, vectors = torch.linalg.eigh(filtered.flatten(1) @ flat.flatten(1).T)
        values, vectors = values.flip(0)[:most].clamp_min(1e-12), vectors.flip(1)[:, :most].T
        sizes = vectors.abs()  # of which several may be the largest, but for noise
        first = (sizes > 0.999 * sizes.amax(1, keepdim=True)).int().argmax(1, keepdim=True)
        largest = vectors.gather(1, first)
        vectors = vectors * largest.sign()  # an eigenvector's sign is the library's choice
        basis = (vectors @ flat.flatten(1)).reshape(-1, 3, 2 * side, 2 * side)
        levels.append(Stage(vectors.reshape(-1, count, 2, 2).float(), (values.sqrt() * 0.5**stage).float()))
    return levels


def start_encoder(network: nn.Sequential, levels: Sequence[Stage], scale: float = 1.0) -> None:
    """Encoder and Encoder_r as the first four stages; their result is multiplied by ``scale``."""
    for layer, level, factor in zip(_layers(network), levels, (0.5, 0.5, 0.5, 0.5 * scale), strict=True):
        _place(layer, level.matrix * factor, taps=2)


def start_decoder(network: nn.Sequential, levels: Sequence[Stage], scale: float = 1.0) -> None:
    """Decoder, Decoder_r, Decoder_side2: the inverse of `start_encoder` with the same ``scale``."""
    for layer, level, factor in zip(_layers(network), reversed(levels), (2 / scale, 2, 2, 2), strict=True):
        _place(layer, level.matrix * factor, taps=2)


def start_encoder_h1(network: nn.Sequential, level: Stage, scale: float) -> None:
    """Encoder_h1 as the stage from y to h1, times ``scale``."""
    first, second, third, fourth = _layers(network)
    kept, channels = level.matrix.shape[:2]
    pairs = min(kept, second.out_channels // 2)
    _place(first, _identity(channels))
    merged = level.matrix.reshape(kept, 4 * channels, 1, 1)[:pairs] * (0.5 * scale)
    _place(second, torch.cat([merged, -merged]))
    _place(third, _pairs_to_pairs(pairs))
    _place(fourth, torch.cat([_identity(pairs), -_identity(pairs)], 1))


def start_decoder_h1(network: nn.Sequential, level: Stage, below: Stage, scale: float) -> None:
    """Decoder_h1, Decoder_side1: the inverse of `start_encoder_h1`; ``below`` is y's own level."""
    first, second, third, fourth = _layers(network)
    kept, channels = level.matrix.shape[:2]
    pairs = min(kept, second.out_channels // 2)
    _place(first, _identity(kept)[:pairs] / scale)
    _place(second, torch.cat([_identity(pairs), -_identity(pairs)]))
    split = 2 * level.matrix.reshape(kept, 4 * channels, 1, 1)[:pairs]
    _place(third, torch.cat([split, -split]).transpose(0, 1))
    raised = _HEADROOM * below.std + 0.05
    _bias(third, raised.repeat_interleave(4))
    _place(fourth, _identity(channels))
    _bias(fourth, -raised)


def start_hyper(encoder_h2: nn.Sequential, decoder_h2: nn.Sequential, prediction: nn.Sequential, std: Tensor) -> None:
    """h2 as the mean of 2x2 positions of h1's strongest channels, and h1's mean as what h2 says of it.

    Args:
        encoder_h2, decoder_h2, prediction: the networks.
        std: standard deviation of each channel of h1 that the pyramid fills, the first ones.
    """
    first, second, third, fourth = _layers(encoder_h2)
    channels = first.out_channels
    # Each network has a narrowest place: pairs in Encoder_h2, a quarter of the channels behind Depth2Space.
    count = min(second.out_channels // 2, channels // 4, len(std))
    _place(first, _identity(channels))
    mean = torch.zeros(count, channels, 4)
    mean[torch.arange(count), torch.arange(count)] = 0.25
    mean = mean.reshape(count, 4 * channels, 1, 1)
    _place(second, torch.cat([mean, -mean]))
    _place(third, _pairs_to_pairs(count))
    _place(fourth, torch.cat([_identity(count), -_identity(count)], 1))

    first, second, third, fourth = _layers(decoder_h2)
    _place(first, _identity(count))
    _place(second, torch.cat([_identity(count), -_identity(count)]))
    spread = torch.zeros(count, 4, count)
    spread[torch.arange(count), :, torch.arange(count)] = 1
    spread = spread.reshape(4 * count, count, 1, 1)
    raised = _HEADROOM * std[:count]
    _place(third, torch.cat([spread, -spread], 1))
    _bias(third, raised.repeat_interleave(4))
    _place(fourth, _identity(count))
    _bias(fourth, -raised)

    convolutions = _layers(prediction)
    last = prediction[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        for layer in convolutions:
            _place(layer, _identity(count))
        _bias(convolutions[0], raised)
        last.weight.mul_(_LEAK)
        middle = last.weight.view(2 * channels, -1, 9)[:, :, 4]
        middle[:count, :count] = torch.eye(count)
        _start_scales(last, std)
        assert last.bias is not None
        last.bias[:count] = -raised
        # What is left of a channel when the mean of four neighbours is known; a guess that training mends first.
        last.bias[channels : channels + count] -= 0.5


def start_scales(prediction: nn.Sequential, std: Tensor) -> None:
    """A Prediction Model that says mean 0 and these standard deviations, whatever it sees."""
    last = prediction[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.mul_(_LEAK)
        _start_scales(last, std)


def hush(network: nn.Sequential, share: float = _LEAK) -> None:
    """Shrink a network's last layer, so that what it adds to others begins small."""
    with torch.no_grad():
        _layers(network)[-1].weight.mul_(share)


def _start_scales(last: nn.Linear, std: Tensor) -> None:
    assert last.bias is not None
    last.bias.zero_()
    channels = len(last.bias) // 2
    last.bias[channels : channels + len(std)] = std.log2()


def _layers(network: nn.Sequential) -> list[nn.Conv2d | nn.ConvTranspose2d]:
    return [layer for layer in network if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))]


def _identity(channels: int) -> Tensor:
    return torch.eye(channels)[:, :, None, None]


def _pairs_to_pairs(pairs: int) -> Tensor:
    """(relu(u), relu(-u)) -> (u, -u)."""
    same = _identity(pairs)
    return torch.cat([torch.cat([same, -same], 1), torch.cat([-same, same], 1)])


@torch.no_grad()
def _place(layer: nn.Conv2d | nn.ConvTranspose2d, matrix: Tensor, taps: int = 1) -> None:
    """Write (outputs, inputs, taps, taps), for a transposed layer (inputs, outputs, ...), into a layer's middle.

    The channels that the matrix speaks of keep a little of their random start. Others' inputs stay random; what they
    give to the matrix's channels is shrunk.
    """
    assert layer.bias is not None
    weight = layer.weight
    transposed = isinstance(layer, nn.ConvTranspose2d)
    if transposed and taps == 1:
        matrix = matrix.transpose(0, 1)
    outputs = matrix.shape[1] if transposed else matrix.shape[0]
    first = weight.shape[-1] // 2
    rows = weight[:, :outputs] if transposed else weight[:outputs]
    rows.mul_(_LEAK)
    rows = rows[: matrix.shape[0]] if transposed else rows[:, : matrix.shape[1]]
    rows[:, :, first : first + taps, first : first + taps] += matrix.to(weight)


@torch.no_grad()
def _bias(layer: nn.Conv2d | nn.ConvTranspose2d, values: Tensor) -> None:
    assert layer.bias is not None
    layer.bias[: len(values)] = values
