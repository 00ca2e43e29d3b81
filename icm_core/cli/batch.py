"""One work for many files: what fails is named and left out, the others go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict, TypeVar

import typer

from icm_core.cli.console import complain, message_of, print_table, progress
from icm_core.errors import IcmError, InputError, out_of_memory

Row = TypeVar("Row")


class Failure(TypedDict):
    """The row of a file that failed, where others have their results."""

    file: str
    error: str


def for_each(paths: Sequence[Path], work: Callable[[Path], Row], unit: str) -> tuple[list[Row], list[Failure]]:
    """Do the work for each file under a progress bar, and complain about each failure when it happens."""
    rows: list[Row] = []
    failures: list[Failure] = []
    with progress(len(paths), unit) as step:
        for path in paths:
            step(path.name)
            try:
                rows.append(_within_memory(work, path))
            except IcmError as error:
                complain(error, path)
                failures.append(Failure(file=str(path), error=message_of(error, path)))
    return rows, failures


def print_failures(failures: Sequence[Failure], total: int) -> None:
    """The end of a table: what failed, and why. Of a single file that was said already."""
    if total == 1:
        return
    print_table(
        ("file", "error"),
        [(failure["file"], failure["error"].removeprefix(f"{failure['file']}: ")) for failure in failures],
        f"{len(failures)} of {total} failed",
    )


def leave(failures: Sequence[Failure]) -> None:
    """Exit with code 2 if anything failed."""
    if failures:
        raise typer.Exit(2)


def _within_memory(work: Callable[[Path], Row], path: Path) -> Row:
    try:
        return work(path)
    except (MemoryError, RuntimeError) as error:
        if out_of_memory(error):
            raise InputError(f"{path}: not enough memory for a picture of this size") from error
        raise
