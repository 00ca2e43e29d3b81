"""The transformer decoder of TrSeg: pooled tokens ask the whole feature map."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


def sine_encoding(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Sine encoding of positions, (1, height * width, channels) in float32, rows first.

    The first half of the channels encodes the row and the second half the column, each as sines and cosines of
    the position's share of the map times 2 pi, so that a map of another size covers the same range.

    Args:
        height: rows of the map.
        width: columns of the map.
        channels: a multiple of 4.
        device: where the encoding is made.
    """
    pairs = channels // 4
    rates = torch.exp(torch.arange(pairs, device=device) * (-math.log(10_000) / pairs))
    rows, columns = (
        torch.cat((angles.sin(), angles.cos()), dim=1)
        for count in (height, width)
        for angles in [((torch.arange(count, device=device) + 1) * (2 * math.pi / count))[:, None] * rates]
    )
    halves = (rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1))
    return torch.cat(halves, dim=2).reshape(1, height * width, channels)


class DecoderLayer(nn.Module):
    """Self-attention of the tokens, attention to the map, feed-forward; normalised after each residual.

    Positions enter queries and keys, not values.

    Args:
        channels: channels C of tokens and map.
        heads: attention heads, a divisor of C.
        feedforward: channels of the hidden layer.
        dropout: share of activations dropped in training.
    """

    def __init__(self, channels: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.own = nn.MultiheadAttention(channels, heads, dropout, batch_first=True)
        self.cross = nn.MultiheadAttention(channels, heads, dropout, batch_first=True)
        self.widen = nn.Linear(channels, feedforward)
        self.narrow = nn.Linear(feedforward, channels)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Tokens (B, T, C) after one round.

        Args:
            tokens: (B, T, C).
            query: learned position of each token, (1, T, C).
            keys: the map with positions, (B, P, C).
            values: the map without, (B, P, C).
        """
        placed = tokens + query
        seen, _ = self.own(placed, placed, tokens, need_weights=False)
        tokens = self.norms[0](tokens + self.dropout(seen))
        seen, _ = self.cross(tokens + query, keys, values, need_weights=False)
        tokens = self.norms[1](tokens + self.dropout(seen))
        seen = self.narrow(self.dropout(functional.relu(self.widen(tokens))))
        normalised: Tensor = self.norms[2](tokens + self.dropout(seen))
        return normalised


class Decoder(nn.Module):
    """A stack of `DecoderLayer` with a learned query per token.

    Args:
        tokens: number of tokens T.
        layers: number of layers.
        channels: see `DecoderLayer`, as the other arguments.
        heads: as above.
        feedforward: as above.
        dropout: as above.
    """

    def __init__(self, tokens: int, layers: int, channels: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(1, tokens, channels))
        nn.init.normal_(self.query)
        self.layers = nn.ModuleList(DecoderLayer(channels, heads, feedforward, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(channels)

    def forward(self, tokens: Tensor, feature_map: Tensor) -> Tensor:
        """Tokens (B, T, C) that have looked at the map (B, C, h, w): (B, T, C)."""
        _, channels, height, width = feature_map.shape
        values = feature_map.flatten(2).transpose(1, 2)
        keys = values + sine_encoding(height, width, channels, values.device).to(values.dtype)
        for layer in self.layers:
            tokens = layer(tokens, self.query, keys, values)
        normalised: Tensor = self.norm(tokens)
        return normalised
