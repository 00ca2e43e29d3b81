"""CompressAI's range coder, two small extension modules, without the rest of that package.

Importing the package takes longer than importing PyTorch: its models come along, and SciPy and others with them.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from types import ModuleType

_PACKAGE = "compressai"


def extension(name: str) -> ModuleType:
    """An extension module of CompressAI's: ``ans`` or ``_CXX``.

    It is the very module that the package itself has: an extension can be initialised once.

    Raises:
        ImportError: the package is not installed.
    """
    full = f"{_PACKAGE}.{name}"
    if full in sys.modules or _PACKAGE in sys.modules:
        return importlib.import_module(full)
    package = importlib.util.find_spec(_PACKAGE)
    if package is None:
        raise ModuleNotFoundError(f"No module named {_PACKAGE!r}", name=_PACKAGE)
    spec = importlib.machinery.PathFinder.find_spec(full, package.submodule_search_locations)
    if spec is None or not isinstance(spec.loader, importlib.machinery.ExtensionFileLoader):
        return importlib.import_module(full)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[full] = module  # what the package imports later is this one
    return module
