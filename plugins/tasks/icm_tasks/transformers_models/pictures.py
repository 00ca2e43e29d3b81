"""What a network wants of pictures, from the preprocessor_config.json of its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from icm_core.errors import SpecError
from icm_core.validation.strict_json import read_json
from icm_core.wrap import Input
from icm_tasks.transformers_models.reading import PICTURES

_WHITE = 255
_RESAMPLING = {2: "bilinear", 3: "bicubic", None: "bilinear"}
"""Pillow's numbers."""

_YOLOS_PATCH = 16


def wanted(folder: Path, kind: str) -> Input:
    """What the network of a folder wants.

    Nothing is cut off: where the file would cut a picture's borders, and of classifiers always, the whole picture is
    squeezed into the input.

    Raises:
        SpecError: there is no such file, or it says what is not known; the message names the entry.
    """
    path = folder / PICTURES
    if not path.is_file():
        raise SpecError(
            f"{folder} has no {PICTURES}, which says how pictures are normalised; give the head's parameters mean, std "
            "and size"
        )
    data = read_json(path)
    if not isinstance(data, dict):
        raise SpecError(f"{path}: it is {type(data).__name__}; it should be a JSON object")
    try:
        return _read(data, kind)
    except (TypeError, ValueError) as error:
        raise SpecError(f"{path}: {error}") from error


def _read(data: Mapping[str, Any], kind: str) -> Input:
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if data.get("do_normalize", "image_mean" in data):
        mean, std = _three(data, "image_mean"), _three(data, "image_std")
    rescaled = data.get("do_rescale", True)
    factor = float(data.get("rescale_factor", 1 / _WHITE)) if rescaled else 1.0
    size = _size(data, kind) if data.get("do_resize", True) else {}
    return Input(
        mean=mean,
        std=std,
        levels=_WHITE * factor,
        order="bgr" if data.get("do_flip_channel_order") else "rgb",
        resample=_RESAMPLING.get(data.get("resample"), "bilinear"),  # type: ignore[arg-type]
        **size,
    )


def _three(data: Mapping[str, Any], name: str) -> tuple[float, float, float]:
    values = data.get(name)
    if not (isinstance(values, list) and len(values) == 3 and all(isinstance(value, (int, float)) for value in values)):
        raise ValueError(f"{name} is {values!r}; it should be three numbers")
    return float(values[0]), float(values[1]), float(values[2])


def _size(data: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Size, longest side, multiples and fit."""
    multiple = data.get("ensure_multiple_of") or data.get("size_divisor") or _multiple(data)
    if type(multiple) is not int or multiple < 1:
        raise ValueError(f"sides are multiples of {multiple!r}; it should be a whole number")
    size = data.get("size")
    if data.get("do_center_crop") and data.get("crop_size"):
        size = data["crop_size"]
    if isinstance(size, int):
        size = {"height": size, "width": size}
    if size is None and data.get("size_divisor"):
        return {"multiple": multiple}
    if not isinstance(size, dict) or any(type(side) is not int and side is not None for side in size.values()):
        raise ValueError(f"size is {size!r}; it should be height and width, or the shortest edge")
    if {"height", "width"} <= size.keys():
        kept = bool(data.get("keep_aspect_ratio"))
        fit = {"fit": "least", "multiple": multiple} if kept else {}
        return {"size": (size["height"], size["width"]), **fit}
    if "shortest_edge" not in size:
        raise ValueError(f"size is {size!r}; it should have height and width, or shortest_edge")
    edge = size["shortest_edge"]
    if kind == "classification":
        return {"size": (edge, edge)}
    return {"size": edge, "longest": size.get("longest_edge"), "multiple": multiple}


def _multiple(data: Mapping[str, Any]) -> int:
    """What sides are multiples of though the file does not say so."""
    processor = data.get("image_processor_type") or data.get("feature_extractor_type") or ""
    return _YOLOS_PATCH if isinstance(processor, str) and processor.startswith("Yolos") else 1
