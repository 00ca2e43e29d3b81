"""The one exception of this package."""

from __future__ import annotations


class RegistryError(Exception):
    """A name that cannot be used; the message is one sentence that says why and what would be right."""
