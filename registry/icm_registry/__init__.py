"""Plugin discovery for any project: entry points in, catalogues of named things out. Imports nothing of `icm_core`."""

from icm_registry.catalogue import Catalogue, Entry, Owner
from icm_registry.discovery import EntryPoint, find_entry_points
from icm_registry.errors import RegistryError
from icm_registry.nearest import nearest, unknown
from icm_registry.plugins import Plugin, PluginSet, load_plugins

__all__ = [
    "Catalogue",
    "Entry",
    "EntryPoint",
    "Owner",
    "Plugin",
    "PluginSet",
    "RegistryError",
    "find_entry_points",
    "load_plugins",
    "nearest",
    "unknown",
]
