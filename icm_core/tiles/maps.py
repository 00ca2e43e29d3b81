"""Named maps of which some are made only when they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from icm_core.tiles.field import Field, Map, whole


class Maps(Mapping[str, Tensor]):
    """Maps by name. One that is not there yet is made, as a whole, when somebody looks it up; then it stays.

    `icm_core.tiles.field_of` reads it region by region instead.
    """

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self._maps = dict(maps)

    def __getitem__(self, name: str) -> Tensor:
        """The whole map."""
        found = whole(self._maps[name])
        self._maps[name] = found
        return found

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._maps)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._maps)

    def __contains__(self, name: object) -> bool:
        """Whether there is such a map; it is not made."""
        return name in self._maps

    def unmade(self, name: str) -> Map:
        """The map as it is."""
        return self._maps[name]


def field_of(maps: Mapping[str, Tensor], name: str) -> Map:
    """A map to be read region by region where it is not there yet."""
    return maps.unmade(name) if isinstance(maps, Maps) else maps[name]


def tensors(maps: Mapping[str, Map]) -> Mapping[str, Tensor]:
    """The maps as a component hands them on."""
    there = {name: one for name, one in maps.items() if not isinstance(one, Field)}
    return there if len(there) == len(maps) else Maps(maps)
