"""Networks between decoded symbols and probabilities: the Prediction Model and CAHCM.

Each has a float form, for training, and runs in integers when coding (`icm_core.coding.IntegerNetwork`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icm_core.coding import IntegerNetwork
from icm_sicmh.layers import conv, started

Network = Callable[[Tensor], Tensor]
_NEIGHBOURHOOD = 5
_POSITIONS_AT_ONCE = 1024  # of 25 C numbers each; keeps a large picture's patches out of memory


def prediction_layers(channels: int, outputs: int | None = None) -> nn.Sequential:
    """Prediction Model (Fig. 9) on one 5x5 patch: (P, C, 5, 5) -> (P, 2D) = (mu, log2 sigma); D is C unless given."""
    return started(
        nn.Sequential(
            conv(channels, channels, 3),
            nn.LeakyReLU(0.2),
            conv(channels, channels, 3, 2),
            nn.LeakyReLU(0.2),
            conv(channels, channels, 3),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(9 * channels, 2 * (outputs or channels)),
        )
    )


def predict(layers: Network, x: Tensor) -> Tensor:
    """Runs a Prediction Model, float or integer, at each position of x: (B, C, h, w) -> (B, 2D, h, w)."""
    return torch.cat(list(predicted(layers, x)), 2)


def predicted(layers: Network, x: Tensor) -> Iterator[Tensor]:
    """What `predict` gives, as strips of rows from the top, (B, 2D, rows, w) each."""
    batch, channels, height, width = x.shape
    margin = _NEIGHBOURHOOD // 2
    padded = F.pad(x, (margin,) * 4)
    rows = max(1, _POSITIONS_AT_ONCE // width)
    for top in range(0, height, rows):
        strip = padded[:, :, top : top + rows + 2 * margin]
        if (shared := getattr(layers, "on_patches", None)) is not None:  # integer networks have it
            found = shared(strip, _NEIGHBOURHOOD)
        else:
            patches = F.unfold(strip, _NEIGHBOURHOOD).transpose(1, 2)  # (B, positions, 25C)
            found = layers(patches.reshape(-1, channels, _NEIGHBOURHOOD, _NEIGHBOURHOOD))
        yield found.reshape(batch, -1, width, found.shape[1]).permute(0, 3, 1, 2)


class CAHCM(nn.Module):
    """Channel-wise auto-regressive hyper-prior context model (Sec. 3.1.2).

    h1 is cut into K groups of channels. Group k's (mu, log2 sigma) are the Prediction Model's own, corrected
    by a small network that sees h2p and the groups before k (after Minnen & Singh, ICIP 2020).

    Args:
        channels: channels of h1.
        groups: K.
        hidden: inner channels of each group's network.
    """

    def __init__(self, channels: int, groups: int, hidden: int) -> None:
        super().__init__()
        self.groups = groups
        self.group_channels = channels // groups
        self.networks = nn.ModuleList(
            started(
                nn.Sequential(
                    conv(2 * channels + k * self.group_channels, hidden, 3),
                    nn.LeakyReLU(0.2),
                    conv(hidden, hidden, 3),
                    nn.LeakyReLU(0.2),
                    conv(hidden, 2 * self.group_channels, 1),
                )
            )
            for k in range(groups)
        )
        for network in self.networks:
            assert isinstance(network, nn.Sequential)
            last = network[-1]
            nn.init.zeros_(last.weight)  # type: ignore[arg-type]  # starts as the Prediction Model alone

    def integer(self) -> list[IntegerNetwork]:
        """The exact twins of the group networks."""
        return [IntegerNetwork(f"codec.cahcm.networks.{k}", network) for k, network in enumerate(self.networks)]

    def parameters_of(self, k: int, network: Network, h2p: Tensor, decoded: list[Tensor]) -> tuple[Tensor, Tensor]:
        """(mu, log2 sigma) of group k, each (B, C/K, h, w), before the gain.

        Args:
            k: the group, from 0.
            network: ``networks[k]`` or its integer twin.
            h2p: the Prediction Model's output (B, 2C, h, w).
            decoded: the groups before k, (B, C/K, h, w) each, without gain.
        """
        mean, scale = h2p.chunk(2, 1)
        own = slice(k * self.group_channels, (k + 1) * self.group_channels)
        correction = network(torch.cat([h2p, *decoded], 1))
        mean_change, scale_change = correction.chunk(2, 1)
        return mean[:, own] + mean_change, scale[:, own] + scale_change
