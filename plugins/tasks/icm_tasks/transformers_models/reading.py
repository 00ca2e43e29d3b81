"""Folders as transformers keeps models in, read as data: config.json and safetensors, no pickles, nobody's code."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import torch
from torch import nn

from icm_core.errors import SpecError, WeightsError
from icm_core.validation.strict_json import read_json
from icm_registry import unknown
from icm_tasks.networks import has

CONFIG, PICTURES = "config.json", "preprocessor_config.json"

_MODELS = {
    "classification": "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
    "segmentation": "MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES",
    "detection": "MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES",
    "depth": "MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES",
}
"""Tables of transformers: a network's name in config.json, and its class."""

_DROPPED = ("_attn_implementation", "_experts_implementation", "attn_implementation", "auto_map", "custom_pipelines")
"""What a config may say of whose code runs it; it is run by transformers' own."""

MOST_LAYERS = 256
_LAYERS = ("layers", "depth", "blocks")


def library() -> ModuleType:
    """The package; `SpecError` if it is not installed."""
    try:
        import transformers
    except ImportError as error:
        raise SpecError(
            "networks of transformers need the package transformers; install it with: "
            "pip install 'icm-framework[transformers]'"
        ) from error
    return transformers


def read_config(folder: Path, kind: str) -> Any:
    """What a folder's config.json says of a network, as an object of transformers.

    Args:
        folder: the folder.
        kind: what the network answers.

    Raises:
        SpecError: there is no such file, it is damaged, names code or networks from elsewhere or too many layers, or
            transformers has no such network for the kind.
    """
    transformers = library()
    path = folder / CONFIG
    data = read_json(path)
    if not isinstance(data, dict):
        raise SpecError(f"{path}: a config is a JSON object, not {type(data).__name__}")
    known = _known(kind)
    name = data.get("model_type")
    if name not in known:
        raise SpecError(f"{path}: model_type: " + unknown(f"network for {kind}", str(name), known))
    if "quantization_config" in data:
        raise SpecError(f"{path}: quantization_config: weights of fewer bits are not read; give them in full")
    plain = _checked(data, str(path))
    try:
        return transformers.CONFIG_MAPPING[name].from_dict(plain)
    except Exception as error:
        raise SpecError(f"{path}: transformers cannot read it: {_one_line(error)}") from error


def build(folder: Path, config: Any, kind: str, *, weights: bool) -> nn.Module:
    """The network of a folder, on the default device.

    Args:
        folder: the folder.
        config: what `read_config` gave.
        kind: what the network answers.
        weights: whether its weights are the folder's; else they are random. On the ``meta`` device there are none.

    Raises:
        WeightsError: there are no safetensors files, or they are damaged or of another network.
        SpecError: transformers cannot build it.
    """
    cls = getattr(library(), _known(kind)[config.model_type])
    place = torch.get_default_device()
    with _quiet():
        if not weights or place.type == "meta":
            try:
                return cast(nn.Module, cls._from_config(config, dtype=torch.float32))
            except Exception as error:
                raise SpecError(f"{folder / CONFIG}: transformers cannot build it: {_one_line(error)}") from error
        return _load(cls, folder, config).to(place)


def _load(cls: Any, folder: Path, config: Any) -> nn.Module:
    if not any(folder.glob("*.safetensors")):
        raise WeightsError(f"{folder}: there are no weights, such as model.safetensors; other formats are not read")
    try:
        with torch.device("cpu"):
            net, found = cls.from_pretrained(
                str(folder),
                config=config,
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except Exception as error:
        raise WeightsError(f"{folder}: the weights cannot be read: {_one_line(error)}") from error
    if missing := sorted(found["missing_keys"]):
        raise WeightsError(
            f"{folder}: the weights lack {missing[0]!r} of {cls.__name__}; they are of another network, or of one that "
            "is not trained for this kind"
        )
    return cast(nn.Module, net)


def _known(kind: str) -> Mapping[str, str]:
    library()
    from transformers.models.auto import modeling_auto

    # Of networks with several classes the first is the usual one.
    table = dict(getattr(modeling_auto, _MODELS[kind]))
    return {name: cls if isinstance(cls, str) else cls[0] for name, cls in table.items()}


def _checked(value: Any, where: str) -> Any:
    """A config without what is of no use here; `SpecError` where it names what is elsewhere, or has too many layers."""
    if isinstance(value, dict):
        kept = {key: part for key, part in value.items() if key not in _DROPPED}
        found = {key: _checked(part, f"{where}: {key}") for key, part in kept.items()}
        name = found.get("backbone")
        if isinstance(name, str) and not has(name):
            raise SpecError(f"{where}: backbone is {name!r}, which timm does not have; give a backbone_config instead")
        if found.get("use_pretrained_backbone"):
            found["use_pretrained_backbone"] = False  # its weights are among the folder's
        for key, part in found.items():
            counts = part if isinstance(part, list) else [part]
            named = any(word in key for word in _LAYERS)
            if named and any(type(count) is int and count > MOST_LAYERS for count in counts):
                raise SpecError(f"{where}: {key} is {part}, and the limit is {MOST_LAYERS}")
        return found
    return [_checked(part, where) for part in value] if isinstance(value, list) else value


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars and remarks; what matters of them is an error here."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
