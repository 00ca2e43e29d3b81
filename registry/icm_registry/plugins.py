"""Loading plugins into a pluggy `PluginManager`, and collecting what their hooks return.

pluggy's own ``load_setuptools_entrypoints`` silently drops the second of two same-named entry points, dies on
one plugin's ImportError and loads in the order of the disk. Here plugins load by name, and what is wrong with
one is recorded and leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, TypeVar

import pluggy

from icm_registry.catalogue import Catalogue, Owner
from icm_registry.discovery import EntryPoint, find_entry_points
from icm_registry.errors import RegistryError
from icm_registry.nearest import nearest

T = TypeVar("T")

IN_PROCESS = "this process"
"""Distribution of a plugin that was handed over as an object."""


@dataclass(frozen=True)
class Plugin:
    """A plugin that was found.

    Attributes:
        owner: its entry point's name, its distribution and version.
        problem: why it could not be loaded, a clause; empty if it was.
    """

    owner: Owner
    problem: str = ""


class PluginSet:
    """The plugins of one group, loaded or not, and the manager that calls their hooks.

    Args:
        project: pluggy's project name, as in the markers of the hookspecs.
        hookspecs: module or class with the hook specifications.
        accept: looks at a plugin before it is registered; raises `RegistryError` with a clause if it is not to be.
    """

    def __init__(
        self, project: str, hookspecs: ModuleType | type, accept: Callable[[object], None] | None = None
    ) -> None:
        self.manager = pluggy.PluginManager(project)
        self.manager.add_hookspecs(hookspecs)
        self.hooks = tuple(name for name in vars(self.manager.hook) if not name.startswith("_"))
        self._accept = accept or (lambda _: None)
        self._plugins: list[Plugin] = []
        self._loaded: list[tuple[Owner, object]] = []

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """Every plugin that was found, in the order of loading (by name)."""
        return tuple(self._plugins)

    def add(self, owner: Owner, load: Callable[[], object]) -> None:
        """Import and register one plugin; a failure is recorded, whatever it is."""
        try:
            module = load()
            try:
                self._accept(module)
            except RegistryError as error:
                self.add_broken(owner, str(error))
                return
            self._register(owner, module)
        except (Exception, SystemExit) as error:
            self.add_broken(owner, f"could not be loaded ({type(error).__name__}: {_one_line(error)})")
        else:
            self._plugins.append(Plugin(owner))
            self._loaded.append((owner, module))

    def add_broken(self, owner: Owner, problem: str) -> None:
        """Record a plugin that is not loaded."""
        self._plugins.append(Plugin(owner, problem))

    def _register(self, owner: Owner, module: object) -> None:
        try:
            self.manager.register(module, owner.plugin)
            for caller in self.manager.get_hookcallers(module) or []:
                if not caller.has_spec():
                    guess = nearest(caller.name, self.hooks)
                    hint = f"; did you mean {guess!r}?" if guess else ""
                    raise RegistryError(f"it implements an unknown hook {caller.name!r}{hint}")
        except Exception:
            if self.manager.get_plugin(owner.plugin) is module:
                self.manager.unregister(module)
            raise

    def collect(self, hook: str, kind: str, check: Callable[[object], tuple[str, T]]) -> Catalogue[T]:
        """Call one hook of every plugin and file what it returns.

        Args:
            hook: name of a hook that takes nothing and returns a list.
            kind: noun for messages.
            check: returns an item's name and value, or raises `RegistryError` with a clause that says what is
                wrong with it.
        """
        catalogue: Catalogue[T] = Catalogue(kind)
        for plugin in self._plugins:
            if plugin.problem:
                catalogue.note_absent(plugin.owner, plugin.problem)
        for owner, module in self._loaded:
            try:
                items = self._call(hook, module)
            except (Exception, SystemExit) as error:
                catalogue.note_absent(owner, f"failed in its hook {hook} ({type(error).__name__}: {_one_line(error)})")
                continue
            for item in items:
                try:
                    name, value = check(item)
                except RegistryError as error:
                    catalogue.reject(_name_of(item), owner, str(error))
                else:
                    catalogue.add(name, value, owner)
        return catalogue

    def _call(self, hook: str, module: object) -> list[Any]:
        others = [plugin for plugin in self.manager.get_plugins() if plugin is not module]
        items: list[Any] = []
        for result in self.manager.subset_hook_caller(hook, others)():
            if isinstance(result, (str, bytes)) or not isinstance(result, Iterable):
                raise RegistryError(f"it returned {type(result).__name__}, not a list")
            items.extend(result)
        return items


def load_plugins(
    project: str,
    hookspecs: ModuleType | type,
    group: str,
    *,
    path: Sequence[str] | None = None,
    extra: Mapping[str, object] | None = None,
    accept: Callable[[object], None] | None = None,
) -> PluginSet:
    """Find, import and register the plugins of an entry-point group.

    Two distributions that claim one entry-point name are both left out: which of them a user means cannot be
    known. `Catalogue.get` says so when something of theirs is asked for.

    Args:
        project: pluggy's project name.
        hookspecs: module or class with the hook specifications.
        group: entry-point group.
        path: folders to search, `sys.path` by default.
        extra: plugins that are already imported (notebooks, tests), by name.
        accept: looks at each imported plugin; raises `RegistryError` with a clause where it is not to be used.
    """
    plugins = PluginSet(project, hookspecs, accept)
    given = dict(extra or {})
    by_name: dict[str, list[EntryPoint]] = {}
    for point in find_entry_points(group, path):
        by_name.setdefault(point.name, []).append(point)
    owners = {
        name: [Owner(name, point.distribution, point.version) for point in points] for name, points in by_name.items()
    }
    for name in given:
        owners.setdefault(name, []).append(Owner(name, IN_PROCESS, ""))
    for name in sorted(owners):
        if len(owners[name]) > 1:
            claims = " and ".join(owner.release for owner in owners[name])
            for owner in owners[name]:
                plugins.add_broken(owner, f"is not loaded: entry point {name!r} is claimed by {claims}")
        elif name in by_name:
            plugins.add(owners[name][0], by_name[name][0].load)
        else:
            plugins.add(owners[name][0], partial(given.get, name))
    return plugins


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def _name_of(item: object) -> str:
    name = getattr(item, "name", None)
    return name if isinstance(name, str) else getattr(item, "__name__", None) or repr(item)
