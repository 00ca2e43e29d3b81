"""Commands that plugins add to the program, through entry points of the group ``icm.commands``.

A command is a module with ``NAME``, ``EXAMPLE`` and a typed function ``run``, as the program's own in this package.
Modules of commands are imported at every start of the program, so they import networks inside ``run`` only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from icm_registry import find_entry_points

GROUP = "icm.commands"


class Command(Protocol):
    """A module that holds one command."""

    NAME: str
    EXAMPLE: str
    run: Callable[..., None]


@dataclass(frozen=True)
class Found:
    """A command of a plugin.

    Attributes:
        name: the entry point's name.
        distribution, version: who brings it.
        command: its module, None where it cannot be used.
        problem: why it cannot be used, a clause; empty if it can.
    """

    name: str
    distribution: str
    version: str
    command: Command | None
    problem: str = ""


def find_commands(taken: Collection[str], path: Sequence[str] | None = None) -> list[Found]:
    """The commands of all plugins, sorted by name; what is wrong with one leaves the others alone.

    Args:
        taken: names of the program's own commands, which no plugin can replace.
        path: folders in which distributions are looked for, `sys.path` by default.
    """
    points = find_entry_points(GROUP, path)
    names = [point.name for point in points]
    found = []
    for point in points:
        command, problem = None, ""
        if point.name in taken:
            problem = "the program has a command of this name"
        elif names.count(point.name) > 1:
            problem = "more than one distribution brings a command of this name"
        else:
            try:
                module = point.load()
                missing = [part for part in ("NAME", "EXAMPLE", "run") if not hasattr(module, part)]
                if missing:
                    problem = f"its module lacks {', '.join(missing)}"
                elif getattr(module, "NAME") != point.name:  # noqa: B009 (an object's attribute)
                    problem = f"its module calls it {getattr(module, 'NAME')!r}"  # noqa: B009
                else:
                    command = cast(Command, module)
            except (Exception, SystemExit) as error:
                problem = f"could not be loaded ({type(error).__name__}: {' '.join(str(error).split())[:300]})"
        found.append(Found(point.name, point.distribution, point.version, command, problem))
    return found
