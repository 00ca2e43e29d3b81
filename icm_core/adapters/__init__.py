"""Adapters that the core brings, which stand behind any codec."""

from icm_core.adapters.decoded_picture import DecodedPicture

__all__ = ["DecodedPicture"]
