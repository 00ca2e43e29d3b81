"""What is found of plugins, by which name it is asked for, and who is said to offer it."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pluggy
import pytest

from icm_registry import Catalogue, EntryPoint, Owner, RegistryError, find_entry_points, load_plugins, nearest, unknown

Install = Callable[..., Path]

ONE, TWO = Owner("one", "dist-one", "1.0"), Owner("two", "dist-two", "")


class Hooks:
    @pluggy.HookspecMarker("demo")
    def things(self) -> list[object]:  # type: ignore[empty-body]
        """Things."""

    @pluggy.HookspecMarker("demo")
    def others(self) -> list[object]:  # type: ignore[empty-body]
        """Other things."""


def giving(**hooks: object) -> ModuleType:
    """A plugin that returns just this from its hooks."""
    module = ModuleType("plugin")
    for name, found in hooks.items():
        setattr(module, name, pluggy.HookimplMarker("demo")(lambda found=found: found, specname=name))
    return module


def named(item: object) -> tuple[str, object]:
    if not isinstance(item, str):
        raise RegistryError("it is not text")
    return item, item.upper()


def error(catalogue: Catalogue[Any], name: str) -> str:
    with pytest.raises(RegistryError) as caught:
        catalogue.get(name)
    return str(caught.value)


# --- catalogues ------------------------------------------------------------------------------------------------------


def test_what_several_offer_can_be_had_of_none_of_them() -> None:
    catalogue: Catalogue[int] = Catalogue("thing")
    for name, owner in (("a.x", ONE), ("a.x", TWO), ("a.y", ONE), ("a.z", ONE)):
        catalogue.add(name, 3, owner)
    catalogue.reject("a.z", TWO, "it is too large")
    catalogue.reject("a.bad", ONE, "it is too small")
    assert catalogue.names == ("a.y",) and catalogue.get("a.y") == 3
    assert error(catalogue, "a.x") == (
        "thing 'a.x' is provided by dist-one 1.0 (plugin 'one') and by dist-two (plugin 'two'); "
        "uninstall all but one of them"
    )
    assert "is provided by" in error(catalogue, "a.z")
    assert error(catalogue, "a.bad") == "thing 'a.bad' of dist-one 1.0 (plugin 'one') cannot be used: it is too small"
    assert [(entry.name, entry.owner.plugin, entry.problem) for entry in catalogue.entries] == [
        ("a.bad", "one", "it is too small"),
        ("a.x", "one", "duplicate: also provided by dist-two (plugin 'two')"),
        ("a.x", "two", "duplicate: also provided by dist-one 1.0 (plugin 'one')"),
        ("a.y", "one", ""),
        ("a.z", "one", "duplicate: also provided by dist-two (plugin 'two')"),
        ("a.z", "two", "it is too large"),
    ]


@pytest.mark.parametrize(
    ("name", "told"),
    [("one.x", True), ("one-more", True), ("one", True), ("two.x", False), ("lab.one", False), ("lab.two", True)],
)
def test_a_plugin_that_failed_is_named_where_a_thing_sounds_like_its(name: str, told: bool) -> None:
    catalogue: Catalogue[int] = Catalogue("thing")
    catalogue.note_absent(ONE, "could not be loaded")
    catalogue.note_absent(Owner("lab_two", "lab", "2"), "could not be loaded either")
    said = error(catalogue, name)
    assert ("could not be loaded" in said) is told
    assert told or said == f"unknown thing {name!r}; known: none is installed"


def test_each_problem_is_told_once() -> None:
    catalogue: Catalogue[int] = Catalogue("thing")
    for owner in (ONE, Owner("one", "dist-three", "3")):
        catalogue.note_absent(owner, "is claimed twice")
    catalogue.note_absent(Owner("one", "dist-four", "4"), "failed")
    assert error(catalogue, "one.x") == (
        "unknown thing 'one.x': dist-one 1.0 (plugin 'one') is claimed twice; dist-four 4 (plugin 'one') failed"
    )


def test_what_is_absent_cannot_be_changed_from_outside() -> None:
    catalogue: Catalogue[int] = Catalogue("thing")
    catalogue.note_absent(ONE, "failed")
    catalogue.absent.clear()
    assert catalogue.absent == [(ONE, "failed")]


# --- finding ---------------------------------------------------------------------------------------------------------


def egg(folder: Path, name: str, lines: str) -> None:
    """As setuptools leaves a package in its source folder."""
    info = folder / f"{name}.egg-info"
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_text(lines)


def test_a_version_is_that_of_the_files_name_without_what_stands_behind_it(tmp_path: Path) -> None:
    egg(tmp_path, "lab-1.2-py3.11", "[demo.plugins]\nx = mod\n")
    egg(tmp_path, "icm_framework", "[demo.plugins]\ny = mod\n")
    installed = importlib.metadata.version("icm-framework")
    found = find_entry_points("demo.plugins", [str(tmp_path)])
    assert [(point.name, point.distribution, point.version) for point in found] == [
        ("x", "lab", "1.2"),
        ("y", "icm-framework", installed),
    ]


def test_one_distribution_is_written_in_many_ways(tmp_path: Path, install: Install) -> None:
    install(tmp_path / "a", "My.Lab", "[demo.plugins]\nx = first\n", "1.0")
    install(tmp_path / "b", "my_lab", "[demo.plugins]\nx = second\n", "2.0")
    install(tmp_path / "b", "my_lab_2", "[demo.plugins]\nx = third\n", "3.0")
    found = find_entry_points("demo.plugins", [str(tmp_path / "a"), str(tmp_path / "b")])
    assert [(p.target, p.distribution) for p in found] == [("first", "my-lab"), ("third", "my-lab-2")]


def test_points_are_sorted_by_name_and_then_by_distribution(tmp_path: Path, install: Install) -> None:
    install(tmp_path / "a", "zeta", "[demo.plugins]\nx = mod\nb = mod\n")
    install(tmp_path / "b", "alpha", "[demo.plugins]\nx = mod\na = mod\n")
    found = find_entry_points("demo.plugins", [str(tmp_path / "a"), str(tmp_path / "b")])
    assert [(p.name, p.distribution) for p in found] == [("a", "alpha"), ("b", "zeta"), ("x", "alpha"), ("x", "zeta")]


@pytest.mark.parametrize("damage", [b"this is = not\n an [ini file\n", b"[demo.plugins]\nx = \xff\xfe\n"])
def test_beside_a_damaged_file_only_the_group_itself_is_read(tmp_path: Path, install: Install, damage: bytes) -> None:
    install(tmp_path, "aaa_damaged", "")
    (tmp_path / "aaa_damaged-1.0.dist-info/entry_points.txt").write_bytes(damage)
    lines = "[demo.plugins.more]\ny = mod\n[demo.plugins]\nx = mod\n[demo]\nz = mod\n"
    install(tmp_path, "good", lines, "3.0")
    found = [point for point in find_entry_points("demo.plugins", [str(tmp_path)]) if point.distribution == "good"]
    assert found == [EntryPoint("x", "mod", "good", "3.0")]


def test_a_target_may_name_what_is_inside_of_a_module() -> None:
    assert EntryPoint("x", "os.path:join", "d", "1").load() is __import__("os").path.join
    assert EntryPoint("x", "os.path", "d", "1").load() is sys.modules["os.path"]
    assert EntryPoint("x", "os:path.join [extra]", "d", "1").load() is __import__("os").path.join
    for target in ("os.path:", "os path", "os.path:join.", "", "os:path:join"):
        with pytest.raises(ImportError, match="is not of the form"):
            EntryPoint("x", target, "d", "1").load()


# --- loading ---------------------------------------------------------------------------------------------------------


def test_plugins_are_loaded_by_name_whatever_their_order(tmp_path: Path, install: Install) -> None:
    install(tmp_path, "dist", "[demo.plugins]\nmiddle = loaded_middle\n", loaded_middle="")
    given = {"zeta": giving(things=["z"]), "alpha": giving(things=["a"])}
    plugins = load_plugins("demo", Hooks, "demo.plugins", path=[str(tmp_path)], extra=given)
    assert [plugin.owner for plugin in plugins.plugins] == [
        Owner("alpha", "this process", ""),
        Owner("middle", "dist", "1.0"),
        Owner("zeta", "this process", ""),
    ]
    assert plugins.collect("things", "thing", named).names == ("a", "z")


def test_each_plugin_is_asked_for_its_own_things_alone() -> None:
    given = {"one": giving(things=["a"], others=["b"]), "two": giving(others=["c"])}
    plugins = load_plugins("demo", Hooks, "demo.plugins", path=[], extra=given)
    things, others = (plugins.collect(hook, "thing", named) for hook in ("things", "others"))
    assert [(entry.name, entry.owner.plugin, entry.value) for entry in things.entries] == [("a", "one", "A")]
    assert [(entry.name, entry.owner.plugin) for entry in others.entries] == [("b", "one"), ("c", "two")]


@pytest.mark.parametrize("failure", [SystemExit("bye"), ValueError("two\n  lines"), KeyError("x" * 400)])
def test_a_hook_that_fails_in_any_way_takes_no_other_with_it(failure: BaseException) -> None:
    def fails() -> list[object]:
        raise failure

    failing = ModuleType("plugin")
    setattr(failing, "things", pluggy.HookimplMarker("demo")(fails, specname="things"))  # noqa: B010
    plugins = load_plugins("demo", Hooks, "demo.plugins", path=[], extra={"a": failing, "b": giving(things=["b"])})
    catalogue = plugins.collect("things", "thing", named)
    assert catalogue.names == ("b",)
    ((owner, problem),) = catalogue.absent
    assert owner.plugin == "a" and problem.startswith(f"failed in its hook things ({type(failure).__name__}: ")
    assert "\n" not in problem and "  " not in problem and len(problem) < 400


@pytest.mark.parametrize("returned", ["text", b"bytes", 3, None])
def test_a_hook_returns_a_list(returned: object) -> None:
    plugins = load_plugins("demo", Hooks, "demo.plugins", path=[], extra={"a": giving(things=returned)})
    catalogue = plugins.collect("things", "thing", named)
    assert catalogue.entries == []
    if returned is not None:  # to pluggy, None is no answer
        assert f"it returned {type(returned).__name__}, not a list" in catalogue.absent[0][1]


class Nameless:
    name = None


def test_what_is_refused_is_listed_under_some_name() -> None:
    items = [SimpleNamespace(name=3), Nameless, SimpleNamespace(name="lab.x"), len, 7]
    plugins = load_plugins("demo", Hooks, "demo.plugins", path=[], extra={"a": giving(things=items)})
    entries = plugins.collect("things", "thing", named).entries
    assert {entry.problem for entry in entries} == {"it is not text"}
    assert [entry.name for entry in entries] == ["7", "Nameless", "lab.x", "len", "namespace(name=3)"]


def test_a_plugin_with_an_unknown_hook_is_not_asked_for_anything() -> None:
    wrong = giving(things=["a"])
    setattr(wrong, "thing", pluggy.HookimplMarker("demo")(lambda: ["a"]))  # noqa: B010
    plugins = load_plugins("demo", Hooks, "demo.plugins", path=[], extra={"wrong": wrong})
    assert plugins.collect("things", "thing", named).names == ()
    assert plugins.manager.get_plugins() == set()
    assert "it implements an unknown hook 'thing'; did you mean 'things'?" in plugins.plugins[0].problem


def test_a_plugin_that_leaves_while_it_is_imported_is_recorded(tmp_path: Path, install: Install) -> None:
    install(tmp_path, "dist", "[demo.plugins]\nx = leaves_at_once\n", leaves_at_once="raise SystemExit(3)")
    (plugin,) = load_plugins("demo", Hooks, "demo.plugins", path=[str(tmp_path)]).plugins
    assert plugin.problem == "could not be loaded (SystemExit: 3)"


# --- names -----------------------------------------------------------------------------------------------------------


def test_the_nearest_name_resembles_the_one_that_was_meant() -> None:
    known = ["multi_scale", "one_scale"]
    assert nearest("MULTISCALE", known) == "multi_scale"
    assert nearest("two", known) is None and nearest("lab", ["label_map_of_streets"]) is None
    assert unknown("adapter", "lab", reversed(known)) == "unknown adapter 'lab'; known: multi_scale, one_scale"
