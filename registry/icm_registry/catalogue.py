"""What the installed plugins offer of one kind, and who offers it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Generic, TypeVar

from icm_registry.errors import RegistryError
from icm_registry.nearest import unknown

T = TypeVar("T")


@dataclass(frozen=True, order=True)
class Owner:
    """Where something comes from: a plugin (its entry point's name) of a distribution."""

    plugin: str
    distribution: str
    version: str

    @property
    def release(self) -> str:
        """Distribution and version, for messages."""
        return f"{self.distribution} {self.version}".rstrip()

    def __str__(self) -> str:
        return f"{self.release} (plugin {self.plugin!r})"


@dataclass(frozen=True)
class Entry(Generic[T]):
    """One offer of a plugin.

    Attributes:
        name: the name it is asked for by.
        owner: who offers it.
        value: what `Catalogue.get` returns, or None if it cannot be used.
        problem: why it cannot be used, a clause without a full stop; empty if it can.
    """

    name: str
    owner: Owner
    value: T | None
    problem: str = ""


class Catalogue(Generic[T]):
    """Named things of one kind, with their owners.

    Nothing that a plugin gets wrong raises while the catalogue is filled, so it cannot take the other plugins
    with it; `get` raises when the name in question is asked for.

    Args:
        kind: what the things are, as a noun for messages: ``"adapter"``.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, list[Entry[T]]] = {}
        self._absent: list[tuple[Owner, str]] = []

    def add(self, name: str, value: T, owner: Owner) -> None:
        """Offer ``value`` under ``name``; a second offer of the same name makes the name unusable."""
        self._entries.setdefault(name, []).append(Entry(name, owner, value))

    def reject(self, name: str, owner: Owner, problem: str) -> None:
        """Record an offer that breaks the rules."""
        self._entries.setdefault(name, []).append(Entry(name, owner, None, problem))

    def note_absent(self, owner: Owner, problem: str) -> None:
        """Record a plugin whose offers are not known because it failed."""
        self._absent.append((owner, problem))

    def get(self, name: str) -> T:
        """The thing called ``name``.

        Raises:
            RegistryError: it is unknown, offered twice, or breaks the rules.
        """
        entries = self._entries.get(name, [])
        if not entries:
            raise RegistryError(self._unknown(name))
        if len(entries) > 1:
            owners = " and by ".join(str(entry.owner) for entry in entries)
            raise RegistryError(f"{self.kind} {name!r} is provided by {owners}; uninstall all but one of them")
        (entry,) = entries
        if entry.value is None:
            raise RegistryError(f"{self.kind} {name!r} of {entry.owner} cannot be used: {entry.problem}")
        return entry.value

    @property
    def names(self) -> tuple[str, ...]:
        """The names that `get` returns something for, sorted."""
        return tuple(sorted(n for n, found in self._entries.items() if len(found) == 1 and found[0].value is not None))

    @property
    def absent(self) -> list[tuple[Owner, str]]:
        """Plugins whose offers are not known, each with the reason."""
        return list(self._absent)

    @property
    def entries(self) -> list[Entry[T]]:
        """Every offer, sorted by name; the unusable ones with their problem."""
        rows = []
        for name in sorted(self._entries):
            found = self._entries[name]
            for index, entry in enumerate(found):
                others = " and ".join(str(e.owner) for i, e in enumerate(found) if i != index)
                problem = entry.problem or (f"duplicate: also provided by {others}" if others else "")
                rows.append(Entry(name, entry.owner, entry.value, problem))
        return rows

    def _unknown(self, name: str) -> str:
        prefix = re.split(r"[.\-]", name)[0]
        # One sentence for each problem: a name that two distributions claim is one.
        likely = (prefix, re.sub(r"[.\-]", "_", name))
        reasons = {problem: str(owner) for owner, problem in reversed(self._absent) if owner.plugin in likely}
        if reasons:
            clauses = "; ".join(f"{owner} {problem}" for problem, owner in reversed(reasons.items()))
            return f"unknown {self.kind} {name!r}: {clauses}"
        return unknown(self.kind, name, self.names)
