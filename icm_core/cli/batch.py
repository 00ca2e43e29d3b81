"""One work for many files: what fails is named and left out, the others go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypedDict, TypeVar

import typer

from icm_core.cli.console import bar, complain, message_of, print_table, progress
from icm_core.corpus.work import Outcomes, attempt
from icm_core.errors import IcmError

Row = TypeVar("Row")

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


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
            found = attempt(work, path)
            if isinstance(found, IcmError):
                failures.append(_failed(found, path))
            else:
                rows.append(found)
    return rows, failures


def collect(
    outcomes: Outcomes[Row], paths: Sequence[Path], unit: str, keep: Callable[[Row], None] = lambda _: None
) -> tuple[list[Row], list[Failure]]:
    """Rows and failures in the order of the files, under a progress bar; complains about each failure when it comes.

    Args:
        outcomes: as they come, with the numbers of the files; closed at the end.
        paths: the files.
        unit: what is done, for example ``"encoding"``.
        keep: called with each row when it comes.

    Raises:
        typer.Exit: with 130 after Ctrl-C, when all that was begun is whole or gone.
    """
    rows: dict[int, Row] = {}
    failures: dict[int, Failure] = {}
    try:
        with closing(outcomes), bar(unit) as advance:
            advance(0, len(paths), "")
            for outcome in outcomes:
                path = paths[outcome.number]
                if outcome.error is not None:
                    failures[outcome.number] = _failed(outcome.error, path)
                elif outcome.row is not None:
                    rows[outcome.number] = outcome.row
                    keep(outcome.row)
                advance(len(rows) + len(failures), len(paths), path.name)
    except KeyboardInterrupt as error:
        typer.echo(f"icm: stopped; {len(rows)} of {len(paths)} are done, and --resume does the rest", err=True)
        raise typer.Exit(INTERRUPTED) from error
    return [rows[number] for number in sorted(rows)], [failures[number] for number in sorted(failures)]


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


def _failed(error: IcmError, path: Path) -> Failure:
    complain(error, path)
    return Failure(file=str(path), error=message_of(error, path))
