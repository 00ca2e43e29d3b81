"""A progress bar for work whose items are done in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@contextmanager
def bar(unit: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on stderr, silent where stderr is no terminal; the function takes done, all, and the last item's name."""
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
