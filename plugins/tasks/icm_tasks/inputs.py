"""What every head here asks of its adapter, and of its class names."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from icm_core.errors import SpecError
from icm_core.types import FeatureLayout, Level

MOST_PIXELS = 2**22
"""The largest picture that a head sees whole (`TaskHead.most_pixels`)."""

_IMAGE = Level(channels=3, stride=1)

Side = Annotated[int, Field(ge=1, le=8192)]
"""Of a network's input, in pixels."""

Value = Annotated[float, Field(ge=-65535, le=65535)]
"""Of a channel of a network's input."""


def require_image(head: str, features: FeatureLayout) -> None:
    """Raise `SpecError` unless the adapter delivers ``image``: 3 channels at full size."""
    if "image" not in features:
        raise SpecError(f"head {head!r} needs the map 'image', but its adapter delivers {sorted(features)}")
    if features["image"] != _IMAGE:
        raise SpecError(f"head {head!r} needs 'image' as {_IMAGE}, but its adapter delivers {features['image']}")


def check_class_names(names: tuple[str, ...], classes: int) -> None:
    """Raise `ValueError` (which pydantic reports as a validation error) unless there is one name per class."""
    if names and len(names) != classes:
        raise ValueError(f"class_names has {len(names)} names for {classes} classes; give one per class, or none")
