"""The registry of an installation: what can be named in a spec, and who provides it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from icm_core.errors import InputError, SpecError
from icm_core.interfaces import (
    Codec,
    Component,
    ComponentParams,
    DataSet,
    Enhancement,
    SideInfoAdapter,
    TaskHead,
    TaskKind,
)
from icm_core.interfaces.dataset import PICTURES
from icm_core.plugins import GROUP, hookspecs, own
from icm_core.training import Loss
from icm_registry import Catalogue, Plugin, RegistryError, find_entry_points, load_plugins, unknown

C = TypeVar("C", bound=Component | DataSet)

CORE = "core"
"""Entry point of the core's own plugin."""

INTERFACE_VERSION = 2
"""Version of the contracts and hooks. A plugin says which it was written for with ``icm_interface = N`` in the module
that its entry point names."""

_FROM_1 = (
    "was written for interface 1 of icm, and this one has 2: a head's loss gives one value per picture, (B,), its kind "
    "measures and draws in place of metric() and draw(), and Loss and Batch are in icm_core.training; change that "
    "(docs/extending.md, From 1 to 2) and say icm_interface = 2"
)

_MOVED = (
    "; names of icm have moved since interface 1, for which it may have been written: docs/extending.md, From 1 to 2, "
    "says where they are"
)

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_KIND_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")


class PluginStatus(TypedDict):
    """One row of ``icm plugins``; ``status`` is ``"ok"`` or says what is wrong."""

    kind: str
    name: str
    distribution: str
    version: str
    status: str


@dataclass(frozen=True)
class Registry:
    """Catalogues of everything installed, one per kind; `specs` and `recipes` map a shipped file's stem to its path."""

    kinds: Catalogue[type[TaskKind]]
    codecs: Catalogue[type[Codec]]
    adapters: Catalogue[type[SideInfoAdapter]]
    heads: Catalogue[type[TaskHead]]
    enhancements: Catalogue[type[Enhancement]]
    datasets: Catalogue[type[DataSet]]
    losses: Catalogue[type[Loss]]
    specs: Catalogue[Path]
    recipes: Catalogue[Path]
    schemas: Catalogue[Callable[[Registry], dict[str, Any]]]
    default_pipelines: Catalogue[str]
    plugins: tuple[Plugin, ...]

    @property
    def catalogues(self) -> tuple[Catalogue[Any], ...]:
        """All catalogues, in the order in which they are shown."""
        return (
            self.kinds,
            self.codecs,
            self.adapters,
            self.heads,
            self.enhancements,
            self.datasets,
            self.losses,
            self.specs,
            self.recipes,
        )

    @property
    def default_pipeline(self) -> str:
        """Name of the pipeline that is used where none is named; `InputError` unless there is exactly one."""
        names = self.default_pipelines.names
        if len(names) != 1:
            found = f"several are offered: {', '.join(names)}" if names else "no installed plugin offers one"
            raise InputError(f"there is no default pipeline, {found}; name one with -m")
        return names[0]

    def of(self, contract: type[Component]) -> Catalogue[type[Any]]:
        """The catalogue of a contract: of `Codec` the codecs."""
        found: dict[type[Component], Catalogue[Any]] = {
            Codec: self.codecs,
            SideInfoAdapter: self.adapters,
            TaskHead: self.heads,
            Enhancement: self.enhancements,
            Loss: self.losses,
        }
        return found[contract]

    def kind(self, name: str, where: str = "") -> TaskKind:
        """A kind of answers by name.

        Raises:
            SpecError: none is registered by that name; the message begins with ``where``.
        """
        try:
            return self.kinds.get(name)()
        except RegistryError as error:
            raise SpecError(f"{where}: {error}" if where else str(error)) from error

    @property
    def sound(self) -> bool:
        """Whether every plugin was loaded and all that they provide can be used."""
        return all(row["status"] == "ok" for row in self.status()) and not self.schemas.absent

    def status(self) -> list[PluginStatus]:
        """Every component and every plugin that failed, usable or not, sorted by kind and name."""
        rows = []
        loaded = {plugin.owner for plugin in self.plugins if not plugin.problem}
        delivering = set()
        for catalogue in self.catalogues:
            for entry in catalogue.entries:
                rows.append((catalogue.kind, entry.name, entry.owner, entry.problem))
                delivering.add(entry.owner)
            for owner, problem in catalogue.absent:
                if owner in loaded:
                    rows.append(("plugin", owner.plugin, owner, problem))
                    delivering.add(owner)
        for plugin in self.plugins:
            if plugin.problem:
                rows.append(("plugin", plugin.owner.plugin, plugin.owner, plugin.problem + _hint(plugin.problem)))
            elif plugin.owner not in delivering:
                rows.append(("plugin", plugin.owner.plugin, plugin.owner, "provides nothing"))
        return [
            PluginStatus(
                kind=kind, name=name, distribution=owner.distribution, version=owner.version, status=problem or "ok"
            )
            for kind, name, owner, problem in rows
        ]


def build_registry(*, path: Sequence[str] | None = None, extra: Mapping[str, object] | None = None) -> Registry:
    """Import the installed plugins and collect what they provide. Each call makes a new registry.

    Args:
        path: folders in which distributions are looked for, `sys.path` by default.
        extra: further plugins as objects with hook implementations, by name; for notebooks and tests.
    """
    given = dict(extra or {})
    if all(point.name != CORE for point in find_entry_points(GROUP, path)):
        given.setdefault(CORE, own)  # wherever plugins are looked for, the core's own kinds are there
    plugins = load_plugins(hookspecs.PROJECT, hookspecs, GROUP, path=path, extra=given, accept=_check_interface)
    kinds: Catalogue[type[TaskKind]] = plugins.collect("icm_kinds", "kind", _kind)
    return Registry(
        kinds=kinds,
        codecs=plugins.collect("icm_codecs", "codec", _component(Codec)),  # type: ignore[type-abstract]
        adapters=plugins.collect("icm_adapters", "adapter", _component(SideInfoAdapter)),  # type: ignore[type-abstract]
        heads=plugins.collect("icm_heads", "head", _component(TaskHead, kinds)),  # type: ignore[type-abstract]
        enhancements=plugins.collect("icm_enhancements", "enhancement", _component(Enhancement)),  # type: ignore[type-abstract]
        datasets=plugins.collect("icm_datasets", "data set", _component(DataSet, kinds)),  # type: ignore[type-abstract]
        losses=plugins.collect("icm_losses", "loss", _component(Loss)),  # type: ignore[type-abstract]
        specs=plugins.collect("icm_specs", "pipeline", _json_file),
        recipes=plugins.collect("icm_recipes", "recipe", _json_file),
        schemas=plugins.collect("icm_schemas", "schema", _schema),
        default_pipelines=plugins.collect("icm_default_pipelines", "default pipeline", _name),
        plugins=plugins.plugins,
    )


def _hint(problem: str) -> str:
    """What to do about a plugin that asks icm for a name that is not there."""
    absent = re.search(r"No module named 'icm_core\b|cannot import name .* from 'icm_core\b", problem)
    return _MOVED if absent else ""


def _check_interface(plugin: object) -> None:
    wanted = getattr(plugin, "icm_interface", INTERFACE_VERSION)
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 1:
        raise RegistryError(f"is not loaded: its icm_interface is {wanted!r}; it should be a whole number from 1")
    if wanted > INTERFACE_VERSION:
        raise RegistryError(
            f"is not loaded: it was built for interface {wanted} of icm, and this one has {INTERFACE_VERSION}; "
            "install a newer icm or an older plugin"
        )
    if wanted < 2:
        raise RegistryError(f"is not loaded: it {_FROM_1}")


def _kind(item: object) -> tuple[str, type[TaskKind]]:
    if not (isinstance(item, type) and issubclass(item, TaskKind)):
        raise RegistryError("it is not a subclass of TaskKind")
    name = getattr(item, "name", None)
    if not isinstance(name, str) or not _KIND_NAME.fullmatch(name) or name == PICTURES:
        raise RegistryError(f"its name is {name!r}; it should be like 'depth' or 'mylab.lanes', lower case")
    if inspect.isabstract(item):
        raise RegistryError(f"it does not implement {', '.join(sorted(item.__abstractmethods__))}")
    return name, item


def _component(
    base: type[C], kinds: Catalogue[type[TaskKind]] | None = None
) -> Callable[[object], tuple[str, type[C]]]:
    def check(item: object) -> tuple[str, type[C]]:
        if not (isinstance(item, type) and issubclass(item, base)):
            raise RegistryError(f"it is not a subclass of {base.__name__}")
        name = getattr(item, "name", None)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise RegistryError(f"its name is {name!r}; it should be like 'plugin.component', lower case")
        if issubclass(item, TaskHead) and hasattr(item, "metric") and hasattr(item, "draw"):
            raise RegistryError(f"it {_FROM_1}")
        if inspect.isabstract(item):
            missing = ", ".join(sorted(item.__abstractmethods__))
            raise RegistryError(f"it does not implement {missing}")
        if not (isinstance(item.Params, type) and issubclass(item.Params, ComponentParams)):
            raise RegistryError("its Params is not a subclass of ComponentParams")
        if kinds is not None:
            _check_kind(item, kinds)
        return name, item

    return check


def _check_kind(item: type[Any], kinds: Catalogue[type[TaskKind]]) -> None:
    """A class names a registered kind; where its parameters choose one, that is looked up when it is built."""
    kind = getattr(item, "kind", None)
    chosen = not isinstance(kind, str) and (isinstance(kind, property) or "kind_of" in vars(item))
    known = [*kinds.names, *([PICTURES] if issubclass(item, DataSet) else [])]
    if not chosen and kind not in known:
        known_as = unknown("kind", kind, known) if isinstance(kind, str) else f"it should be one of {', '.join(known)}"
        raise RegistryError(f"its kind is {kind!r}; {known_as}")


def _name(item: object) -> tuple[str, str]:
    if not isinstance(item, str) or not item:
        raise RegistryError("it is not the name of a pipeline")
    return item, item


def _schema(item: object) -> tuple[str, Callable[[Registry], dict[str, Any]]]:
    if not (isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str) and callable(item[1])):
        raise RegistryError("it is not a pair of a name and a function")
    return item[0], item[1]


def _json_file(item: object) -> tuple[str, Path]:
    if not isinstance(item, Path):
        raise RegistryError("it is not a pathlib.Path")
    if item.suffix != ".json" or not item.is_file():
        raise RegistryError(f"{item} is not an existing .json file")
    return item.stem, item
