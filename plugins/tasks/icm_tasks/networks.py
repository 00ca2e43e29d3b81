"""timm networks by name, built without weights: no download, and any device, ``meta`` included."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from icm_core.errors import SpecError
from icm_tasks import efficientnet_lite

# timm documents mean = std = 0.5 for EfficientNet-Lite, but the ImageNet weights that we can get from a package
# index were trained on (x * 255 - 127) / 128; the two differ by half a grey level.
_STATISTICS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    f"tf_efficientnet_lite{size}": ((127 / 255,) * 3, (128 / 255,) * 3) for size in (0, 1, 2)
}

# timm has no exception of its own for an option that a network does not take.
_REFUSALS = (AssertionError, AttributeError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError)


class Normalisation(NamedTuple):
    """Mean and standard deviation of each input channel, for pictures in [0, 1].

    Plain numbers, not buffers: a network built on ``meta`` and filled from a file then has nothing left behind.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, name: str, config: Mapping[str, Any]) -> Normalisation:
        """What the network ``name`` expects, from its timm configuration where we know no better."""
        mean, std = _STATISTICS.get(name.split(".")[0], (config["mean"], config["std"]))
        return cls(tuple(mean), tuple(std))

    def __call__(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> the same shape, normalised."""
        mean = image.new_tensor(self.mean).view(1, -1, 1, 1)
        std = image.new_tensor(self.std).view(1, -1, 1, 1)
        return (image - mean) / std


def has(name: str) -> bool:
    """Whether timm has a network of this name."""
    import timm  # slow to import

    # timm would fetch names such as "hf-hub:..." from the network.
    return ":" not in name and bool(timm.is_model(name))


def create(name: str, **options: Any) -> nn.Module:
    """A timm network with random weights.

    Args:
        name: a name that ``timm.list_models()`` knows, with or without a weights tag.
        options: passed to ``timm.create_model``.

    Raises:
        SpecError: timm has no such network, or the network does not take these options.
    """
    if (own := efficientnet_lite.create(name, options)) is not None:
        return own
    import timm  # slow to import

    if not has(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=1, cutoff=0.0)
        raise SpecError(f"timm has no network named {name!r}; the nearest name is {near[0]!r}")
    try:
        network: nn.Module = timm.create_model(name, pretrained=False, **options)
    except _REFUSALS as error:
        given = ", ".join(f"{key}={value}" for key, value in options.items())
        raise SpecError(f"timm network {name!r} cannot be built with {given}: {error}") from error
    return network


def configuration(network: nn.Module) -> Mapping[str, Any]:
    """A timm network's own configuration: ``mean``, ``std``, ``input_size`` and more."""
    config = network.pretrained_cfg
    if not isinstance(config, Mapping):
        raise SpecError(f"timm network {type(network).__name__} carries no configuration")
    return config
