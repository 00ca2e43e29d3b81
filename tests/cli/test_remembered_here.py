"""What is remembered of an installation, asked in this process: of which files, under which conditions, and where."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from icm_core.cli import remembered as module
from icm_core.cli.remembered import Found, remembered
from icm_registry import EntryPoint, find_entry_points

LONG_AGO = 10**18
"""Nanoseconds: a day of 2001, on which all files here were written."""


def old(path: Path, later: int = 0) -> None:
    """A file or folder as it is long after it was written."""
    os.utime(path, ns=(LONG_AGO + later, LONG_AGO + later))


def write(path: Path, text: str, later: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    for changed in (path, path.parent):
        old(changed, later)


class Toys:
    """A process that has imported little yet, in an installation of a few old files."""

    def __init__(self, home: Path) -> None:
        self.home, self.site = home, home / "site"
        self.named = [home / "named.json"]
        self.system = SimpleNamespace(modules={}, path=[str(self.site), ""], prefix="/one", version="3.99")
        self.times = 0

    def ask(self, what: str = "toys", *, sound: bool = True) -> Any:
        """How often it was found out; what is remembered is an earlier answer."""

        def find_out() -> Found:
            self.times += 1
            return Found(self.times, sound, self.named)

        return remembered(what, find_out)

    @property
    def kept(self) -> list[Path]:
        return sorted((self.home / "cache").glob("*.json"))

    def files(self) -> dict[str, Any]:
        (path,) = self.kept
        found: dict[str, Any] = json.loads(path.read_text().partition("\n")[2])["files"]
        return found


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toys:
    made = Toys(tmp_path)
    about = made.site / "toys-1.0.dist-info"
    write(about / "METADATA", "Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    write(about / "entry_points.txt", "[icm.plugins]\ntoys = toy_plugin.deep:plugin\n")
    for name in ("__init__.py", "deep.py", "data/table.txt", "data/more/list.txt", "__pycache__/deep.pyc"):
        write(made.site / "toy_plugin" / name, "1 2 3")
    write(made.site / "toy_own" / "__init__.py", "")
    write(tmp_path / "named.json", "{}")
    write(tmp_path / "helper.py", "")
    write(tmp_path / "here" / "file", "")
    for folder in ("toy_plugin/data/more", "toy_plugin/data", "toy_plugin", "toy_own", "", "../here"):
        old(made.site / folder)
    helper = ModuleType("helper")
    helper.__file__ = str(tmp_path / "helper.py")
    made.system.modules["helper"] = helper
    made.system.modules["built_in"] = ModuleType("built_in")

    def points(group: str) -> list[EntryPoint]:
        return find_entry_points(group, [str(made.site)])

    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.syspath_prepend(made.site)
    monkeypatch.setenv("ICM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "sys", made.system)
    monkeypatch.setattr(module, "find_entry_points", points)
    monkeypatch.setattr(module, "_OWN", ("toy_own",))
    return made


def test_what_was_found_out_is_remembered_for_each_thing_that_is_asked(toys: Toys) -> None:
    assert [toys.ask(), toys.ask(), toys.ask("other"), toys.ask(), toys.ask("other")] == [1, 1, 2, 1, 2]
    assert len(toys.kept) == 2


@pytest.mark.parametrize("value", [None, 0, [], {"a": [1, "ü"]}])
def test_any_value_is_remembered(toys: Toys, value: object) -> None:
    assert remembered("value", lambda: Found(value, True)) == value
    assert remembered("value", lambda: Found("another", True)) == value


def test_all_that_was_read_is_noted(toys: Toys) -> None:
    toys.ask()
    plugin = toys.site / "toy_plugin"
    paths = [plugin, *(plugin / name for name in ("__init__.py", "deep.py", "data", "data/table.txt", "data/more"))]
    paths += [plugin / "data/more/list.txt", toys.site / "toy_own", toys.site / "toy_own/__init__.py"]
    paths += [toys.site, toys.home / "here", toys.home / "named.json", toys.home / "helper.py"]
    assert sorted(toys.files()) == sorted(map(str, paths))
    assert toys.files()[str(plugin / "data/table.txt")] == [LONG_AGO, 5]


def another_version(toys: Toys) -> None:
    (toys.site / "toys-1.0.dist-info").rename(toys.site / "toys-1.1.dist-info")
    write(toys.site / "toys-1.1.dist-info" / "METADATA", "Metadata-Version: 2.1\nName: toys\nVersion: 1.1\n")
    old(toys.site)


def another_target(toys: Toys) -> None:
    write(toys.site / "toys-1.0.dist-info/entry_points.txt", "[icm.plugins]\ntoys = toy_plugin.data:plugin\n")


def one_file_less(toys: Toys) -> None:
    (toys.site / "toy_plugin/deep.py").unlink()
    old(toys.site / "toy_plugin")


CHANGES: dict[str, Callable[[Toys], object]] = {
    "a nanosecond": lambda toys: old(toys.site / "toy_plugin/data/table.txt", 1),
    "a size": lambda toys: write(toys.site / "toy_plugin/data/table.txt", "1 2 3 4"),
    "far down": lambda toys: old(toys.site / "toy_plugin/data/more/list.txt", 10**9),
    "a folder of a plugin": lambda toys: old(toys.site / "toy_plugin/data/more", 10**9),
    "a file that is gone": one_file_less,
    "the program": lambda toys: old(toys.site / "toy_own/__init__.py", 10**9),
    "a module": lambda toys: old(toys.home / "helper.py", 10**9),
    "a folder that is searched": lambda toys: old(toys.site, 10**9),
    "the folder that one is in": lambda toys: old(toys.home / "here", 10**9),
    "a file that is named": lambda toys: old(toys.home / "named.json", -1),
    "the order of the search": lambda toys: toys.system.path.reverse(),
    "Python": lambda toys: setattr(toys.system, "version", "3.99 (another build)"),
    "a plugin's version": another_version,
    "a plugin's target": another_target,
}


@pytest.mark.parametrize("what", CHANGES)
def test_any_change_is_noticed_once(toys: Toys, what: str) -> None:
    assert [toys.ask(), toys.ask()] == [1, 1]
    CHANGES[what](toys)
    assert [toys.ask(), toys.ask()] == [2, 2]


def test_another_version_of_the_program_finds_out_anew(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    assert toys.ask() == 1
    monkeypatch.setattr(module, "__version__", "99.0")
    assert [toys.ask(), toys.ask()] == [2, 2]


def test_a_file_that_was_not_there_may_come(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    toys.named = [Path("new.json")]  # of the folder that one is in
    assert [toys.ask(), toys.ask()] == [1, 1]
    assert toys.files()[str(toys.home / "here/new.json")] is None
    write(toys.home / "here/new.json", "")
    assert [toys.ask(), toys.ask()] == [2, 2]
    monkeypatch.chdir(toys.home)
    toys.system.path[-1] = str(toys.home / "here")
    assert toys.ask() == 2


def test_what_python_makes_itself_does_not_count(toys: Toys) -> None:
    toys.ask()
    write(toys.site / "toy_plugin/__pycache__/deep.pyc", "compiled anew", 10**9)
    loose = ModuleType("loose")
    loose.__file__ = "<made in memory>"
    toys.system.modules["loose"] = loose
    assert toys.ask() == 1


def test_each_environment_has_a_file_of_its_own(toys: Toys) -> None:
    assert toys.ask() == 1
    toys.system.prefix = "/two"
    assert [toys.ask(), toys.ask()] == [2, 2]
    toys.system.prefix = "/one"
    assert toys.ask() == 1
    assert len(toys.kept) == 2


def test_where_something_is_wrong_it_is_found_out_each_time(toys: Toys) -> None:
    assert [toys.ask(sound=False), toys.ask(sound=False)] == [1, 2]
    assert toys.kept == []


def test_a_process_that_has_imported_networks_neither_reads_nor_writes(toys: Toys) -> None:
    toys.system.modules["torch"] = ModuleType("torch")
    assert [toys.ask(), toys.ask()] == [1, 2]
    assert toys.kept == []
    del toys.system.modules["torch"]
    assert toys.ask() == 3
    toys.system.modules["torch"] = ModuleType("torch")
    assert toys.ask() == 4


@pytest.mark.parametrize(("later", "answers"), [(-1, [1, 1]), (0, [1, 2]), (1, [1, 2])])
def test_what_changed_since_this_process_began_is_not_remembered(
    toys: Toys, later: int, answers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_STARTED", LONG_AGO + 10**9)
    old(toys.home / "named.json", 10**9 + later)
    assert [toys.ask(), toys.ask()] == answers


def test_of_too_many_files_nothing_is_remembered(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    toys.ask()
    count = len(toys.files())
    for most, answers in ((count - 1, [2, 3]), (count, [4, 4])):
        for path in toys.kept:
            path.unlink()
        monkeypatch.setattr(module, "MOST_FILES", most)
        assert [toys.ask(), toys.ask()] == answers


@pytest.mark.parametrize(
    ("cache", "shared", "place"),
    [
        ("{0}/own", "{0}/shared", "own"),
        ("", "{0}/shared", "shared/icm"),
        (None, "{0}/shared", "shared/icm"),
        (None, "shared", "home/.cache/icm"),
        (None, "", "home/.cache/icm"),
        ("", None, "home/.cache/icm"),
        ("relative", None, "here/relative"),
    ],
)
def test_the_folder_is_where_the_user_wants_it(
    toys: Toys, cache: str | None, shared: str | None, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: toys.home / "home")
    for name, value in (("ICM_CACHE", cache), ("XDG_CACHE_HOME", shared)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value.format(toys.home))
    assert toys.ask() == 1
    (made,) = (toys.home / place).glob("*.json")
    assert len(made.stem) == 24
    assert toys.ask() == (2 if place.startswith("here") else 1)  # a new file in a folder that is searched is a change


def test_a_user_without_a_home_finds_out_each_time(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    for name in ("ICM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert [toys.ask(), toys.ask()] == [1, 2]


@pytest.mark.parametrize("place", ["named.json", "named.json/below"])
def test_a_folder_that_cannot_be_used_makes_it_slow_and_nothing_else(
    toys: Toys, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICM_CACHE", str(toys.home / place))
    assert [toys.ask(), toys.ask()] == [1, 2]
    assert (toys.home / "named.json").read_text() == "{}"


def signed(data: object) -> bytes:
    text = data if isinstance(data, str) else json.dumps(data)
    return f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}".encode()


DAMAGES: dict[str, Callable[[bytes, dict[str, Any]], bytes]] = {
    "empty": lambda *_: b"",
    "cut": lambda blob, _: blob[:-1],
    "another value": lambda blob, _: blob.replace(b'"value": 1', b'"value": 7'),
    "no text": lambda blob, _: b"\xff" + blob,
    "no value": lambda _, data: signed({key: data[key] for key in data if key != "value"}),
    "no files": lambda _, data: signed({key: data[key] for key in data if key != "files"}),
    "files in a list": lambda _, data: signed({**data, "files": []}),
    "another thing": lambda _, data: signed({**data, "what": "boys"}),
    "another format": lambda _, data: signed({**data, "format": 2}),
    "an array": lambda *_: signed([1, 2]),
    "no JSON": lambda *_: signed("{"),
    "deep": lambda *_: signed("[" * 100_000),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_is_damaged_or_says_something_else_is_made_anew(toys: Toys, damage: str) -> None:
    toys.ask()
    (path,) = toys.kept
    whole = path.read_bytes()
    data = json.loads(whole.partition(b"\n")[2])
    assert signed(data) == whole
    path.write_bytes(DAMAGES[damage](whole, data))
    assert [toys.ask(), toys.ask()] == [2, 2]


def test_what_is_signed_and_fits_is_believed(toys: Toys) -> None:
    toys.ask()
    (path,) = toys.kept
    path.write_bytes(signed({**json.loads(path.read_text().partition("\n")[2]), "value": "said"}))
    assert toys.ask() == "said"
