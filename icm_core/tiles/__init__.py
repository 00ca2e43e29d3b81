"""Maps of any size in flat memory: networks run region by region, with the overlap that their layers need."""

from icm_core.tiles.bound import PIXELS, bound, bounded, large
from icm_core.tiles.field import Bytes, Deferred, Field, Map, Whole, added, apply, cat, cut, kept, spread, whole
from icm_core.tiles.layers import Layer, halo, layers_of
from icm_core.tiles.maps import Maps, field_of, tensors

__all__ = [
    "PIXELS",
    "Bytes",
    "Deferred",
    "Field",
    "Layer",
    "Map",
    "Maps",
    "Whole",
    "added",
    "apply",
    "bound",
    "bounded",
    "cat",
    "cut",
    "field_of",
    "halo",
    "kept",
    "large",
    "layers_of",
    "spread",
    "tensors",
    "whole",
]
