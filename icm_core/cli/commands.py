"""The commands of the program: entry points of the group ``icm.commands``, its own and those of plugins.

A command is a module with ``NAME``, ``EXAMPLE`` and a typed function ``run``.
Modules of commands are imported at every start of the program, so they import networks inside ``run`` only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from icm_registry import find_entry_points

GROUP = "icm.commands"
DISTRIBUTION = "icm-framework"


class Command(Protocol):
    """A module that holds one command."""

    NAME: str
    EXAMPLE: str
    run: Callable[..., None]


@dataclass(frozen=True)
class Found:
    """A command.

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


@functools.cache
def installed_commands() -> tuple[Found, ...]:
    """The commands of everything that is installed, looked up once."""
    return tuple(find_commands())


def find_commands(path: Sequence[str] | None = None) -> list[Found]:
    """The commands of the program and of all plugins, sorted by name; what is wrong with one leaves the others alone.

    No plugin can replace a command of the program's own distribution.

    Args:
        path: folders in which distributions are looked for, `sys.path` by default.
    """
    points = find_entry_points(GROUP, path)
    own = {point.name for point in find_entry_points(GROUP) if point.distribution == DISTRIBUTION}
    names = [point.name for point in points]
    found = []
    for point in points:
        command, problem = None, ""
        if point.name in own and point.distribution != DISTRIBUTION:
            problem = "the program has a command of this name"
        elif point.name not in own and names.count(point.name) > 1:
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
