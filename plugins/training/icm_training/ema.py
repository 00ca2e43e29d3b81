"""A running mean of the weights that train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Ema:
    """Exponential moving average of some parameters.

    Args:
        names: their names.
        parameters: the parameters; the mean begins with their values.
        decay: share of the mean that a step keeps.
    """

    def __init__(self, names: Sequence[str], parameters: Sequence[nn.Parameter], decay: float) -> None:
        self.names, self.parameters = list(names), list(parameters)
        self.means: list[Tensor] = [parameter.detach().clone() for parameter in parameters]
        self._average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def update(self) -> None:
        """Move the means towards the parameters."""
        self._average(self.means, [parameter.detach() for parameter in self.parameters], 0)

    @torch.no_grad()
    def apply(self) -> None:
        """Give the parameters the values of their means."""
        for parameter, mean in zip(self.parameters, self.means, strict=True):
            parameter.copy_(mean)

    def state(self) -> dict[str, Tensor]:
        """The means by name."""
        return dict(zip(self.names, self.means, strict=True))

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take the means from `state`."""
        for name, mean in zip(self.names, self.means, strict=True):
            mean.copy_(state[name])
