"""The option ``--size HxW``."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from icm_core.errors import InputError

Size = Annotated[
    str, typer.Option("--size", metavar="HxW", help="Height and width of the picture that is accounted for.")
]


def parse_size(text: str) -> tuple[int, int]:
    """Height and width in pixels; `InputError` where it is anything else."""
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if match is None:
        raise InputError(f"--size is {text!r}; it should be HEIGHTxWIDTH in pixels, like 512x1024")
    return int(match[1]), int(match[2])
