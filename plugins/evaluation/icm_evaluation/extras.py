"""Packages that only some commands need."""

from __future__ import annotations

import importlib
from typing import Any

from icm_core.errors import InputError

EXTRA = "evaluate"


def need(module: str, extra: str = EXTRA) -> Any:
    """A module of an extra; `InputError` with the line that installs it where it is missing."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.split(".")[0]
        raise InputError(
            f"the package {package} is not installed; get it with: pip install 'icm-framework[{extra}]'"
        ) from error
