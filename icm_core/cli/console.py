"""What the program prints: JSON and tables on stdout, complaints and progress on stderr."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from icm_core.errors import IcmError

_WIDE = 200
"""Columns of a table that goes to a file or a pipe, where wrapping helps nobody."""


class Step(Protocol):
    """Called when the next item of a long work begins."""

    def __call__(self, name: str) -> None:
        """Show the item's name, and count the one before as done."""


def complain(error: IcmError, path: Path | None = None) -> None:
    """One line on stderr: the error, with the file that it is about."""
    typer.echo(f"icm: {message_of(error, path)}", err=True)


def message_of(error: IcmError, path: Path | None = None) -> str:
    """The error's sentence, on one line, with the file in front unless the sentence names it."""
    text = " ".join(str(error).split())
    return text if path is None or str(path) in text else f"{path}: {text}"


def print_json(value: object) -> None:
    """Indented JSON, nothing else on stdout; a number that is not finite is an error of ours."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    """A table; columns that start with ``>`` stand to the right. An empty one prints nothing."""
    if not rows:
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDE)
    table = Table(title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    console.print(table)


@contextmanager
def bar(unit: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on stderr while something long runs; silent where stderr is no terminal.

    Args:
        unit: what is done, for example ``"encoding"``.

    Yields:
        A function of the number of items that are done, of all items, and of a name to show.
    """
    columns = (
        TextColumn(unit, markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[name]}", markup=False),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task(unit, total=None, name="")

        def advance(done: int, total: int, name: str) -> None:
            shown.update(task, completed=done, total=total, name=name)

        yield advance


@contextmanager
def progress(total: int, unit: str) -> Iterator[Step]:
    """A `bar` for items that are done one after the other.

    Args:
        total: number of items.
        unit: what is done, for example ``"encoding"``.
    """
    with bar(unit) as advance:
        begun = 0

        def step(name: str) -> None:
            nonlocal begun
            advance(begun, total, name)
            begun += 1

        yield step
