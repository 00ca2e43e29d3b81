"""One spec laid over another: JSON data in, merged data and the origin of each value out.

* Objects merge key by key; any other value, lists included, replaces what was there.
* ``null`` removes a key: a task, the enhancement, the description. Inside ``params`` it is a value like any other.
* A component whose ``use`` becomes another loses its ``params``: they were those of the other component. So does a
  component inside of another's ``params``.
* A task whose head becomes another loses its ``trained_on``: the other head learned from that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from icm_core.spec.places import is_component

Place = tuple[str, ...]
Origin = TypeVar("Origin")


class Layers(Generic[Origin]):
    """JSON objects laid one over the other, and which of them each value comes from.

    Attributes:
        data: the merged object.
        origins: where each value that is no object comes from, by its place.
    """

    def __init__(self) -> None:
        self.data: dict[str, object] = {}
        self.origins: dict[Place, Origin] = {}

    def add(self, data: Mapping[str, object], origin: Origin) -> None:
        """Lay an object over what is there."""
        self._merge((), self.data, data, origin)

    def drop(self, place: Place) -> None:
        """Remove a value, with everything in it."""
        parent: object = self.data
        for key in place[:-1]:
            parent = parent.get(key) if isinstance(parent, dict) else None
        if isinstance(parent, dict):
            parent.pop(place[-1], None)
        for known in [known for known in self.origins if known[: len(place)] == place]:
            del self.origins[known]

    def _merge(self, place: Place, below: dict[str, object], above: Mapping[str, object], origin: Origin) -> None:
        if "use" in above and above["use"] != below.get("use") and (is_component(place) or "params" in place):
            self.drop((*place, "params"))
        if len(place) == 2 and place[0] == "tasks" and _use(above) not in (None, _use(below)):
            self.drop((*place, "trained_on"))
        for key, value in above.items():
            here = (*place, key)
            if value is None and "params" not in place:
                self.drop(here)
            elif isinstance(value, Mapping):
                inner = below.get(key)
                if not isinstance(inner, dict):
                    self.drop(here)
                    below[key] = inner = {}
                if value:
                    self.origins.pop(here, None)
                elif not inner:
                    self.origins.setdefault(here, origin)
                self._merge(here, inner, value, origin)
            else:
                self.drop(here)
                below[key] = value
                self.origins[here] = origin


def _use(task: Mapping[str, object]) -> object:
    """The name of a task's head, None where nothing is said of it."""
    head = task.get("head")
    return head.get("use") if isinstance(head, Mapping) else None


def values(data: Mapping[str, object], place: Place = ()) -> Iterator[tuple[Place, object]]:
    """Every value that is no object with its place, and empty objects."""
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from values(value, (*place, key))
        else:
            yield (*place, key), value
