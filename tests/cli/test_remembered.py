"""What commands remember of an installation, and when they do not believe it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from icm_core.cli import info, schema
from icm_core.cli.remembered import Found

# A command as those of the program are: it finds out what a plugin says, unless that is remembered.
ASK = """
import sys
from pathlib import Path
from icm_core.cli.remembered import Found, remembered

def find_out():
    import toy_plugin, toy_helper
    print("found out")
    return Found([toy_plugin.SAYS, toy_helper.SAYS], SOUND, [Path(NAMED)])

print(remembered("toys", find_out))
"""

Ask = Callable[..., str]


def write(path: Path, text: str, age: float = 60) -> None:
    """A file as it is long after it was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    for changed in (path, path.parent):
        os.utime(changed, (time.time() - age,) * 2)


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    """A folder like site-packages with a plugin, a module that it uses, and a file that it names."""
    folder = tmp_path / "toys"
    about = folder / "toys-1.0.dist-info"
    write(about / "METADATA", "Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    write(about / "entry_points.txt", "[icm.plugins]\ntoys = toy_plugin.plugin\n")
    write(folder / "toy_plugin" / "__init__.py", "SAYS = 'one'\n")
    write(folder / "toy_plugin" / "plugin.py", "")
    write(folder / "toy_plugin" / "data" / "table.txt", "1 2 3")
    write(folder / "toy_helper.py", "SAYS = 'help'\n")
    write(tmp_path / "named.json", "{}")
    for changed in (folder / "toy_plugin", folder):
        os.utime(changed, (time.time() - 60,) * 2)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def python(toys: Path, cache: Path) -> Ask:
    """Run Python in a new process, with the plugin installed."""

    def call(*arguments: str, **variables: str) -> str:
        environment = {
            **{key: value for key, value in os.environ.items() if key != "XDG_CACHE_HOME"},
            "ICM_CACHE": str(cache),
            "PYTHONPATH": str(toys),
            "PYTHONDONTWRITEBYTECODE": "1",
            **variables,
        }
        # Python searches the folder that it is started in, which should therefore be one that nothing is written to.
        done = subprocess.run([sys.executable, *arguments], env=environment, cwd=toys, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return call


@pytest.fixture
def ask(python: Ask, tmp_path: Path) -> Ask:
    """Ask what the plugin says; the answer begins with "found out" where it is not remembered."""

    def call(sound: bool = True, first: str = "", **variables: str) -> str:
        code = first + ASK.replace("SOUND", str(sound)).replace("NAMED", repr(str(tmp_path / "named.json")))
        return python("-c", code, **variables)

    return call


@pytest.fixture
def known(ask: Ask, cache: Path) -> Path:
    """The file of what is remembered. While tests run, Python may still be writing next to the program's modules."""
    for _ in range(10):
        assert ask() == "found out\n['one', 'help']\n"
        if found := list(cache.glob("*.json")):
            return found[0]
        time.sleep(1)
    raise AssertionError("nothing is remembered")


REMEMBERED = "['one', 'help']\n"


@pytest.mark.usefixtures("known")
def test_what_was_found_out_is_remembered(ask: Ask) -> None:
    assert ask() == REMEMBERED
    assert ask() == REMEMBERED


@pytest.mark.parametrize("what", ["plugin", "helper", "table", "named", "new file", "version", "other", "gone"])
@pytest.mark.usefixtures("known")
def test_any_change_is_noticed(what: str, ask: Ask, toys: Path, tmp_path: Path) -> None:
    answer = ["one", "help"]
    if what == "plugin":  # of the same length
        write(toys / "toy_plugin" / "__init__.py", "SAYS = 'two'\n", age=30)
        answer[0] = "two"
    elif what == "helper":
        write(toys / "toy_helper.py", "SAYS = 'helped'\n")
        answer[1] = "helped"
    elif what == "table":
        write(toys / "toy_plugin" / "data" / "table.txt", "1 2 4", age=30)
    elif what == "named":
        write(tmp_path / "named.json", "{ }")
    elif what == "new file":
        write(toys / "toy_plugin" / "data" / "more.txt", "", age=30)
    elif what == "version":
        (toys / "toys-1.0.dist-info").rename(toys / "toys-1.1.dist-info")
    elif what == "other":
        write(toys / "more-1.0.dist-info" / "entry_points.txt", "[icm.plugins]\nmore = toy_helper\n")
    else:
        (tmp_path / "named.json").unlink()
    assert ask() == f"found out\n{answer}\n"


@pytest.mark.parametrize(
    "change", ["sys.version = 'another'", "icm_core.__version__ = '99.0'", "sys.path.append('/x')"]
)
@pytest.mark.usefixtures("known")
def test_another_python_program_or_path_is_another_installation(change: str, ask: Ask) -> None:
    assert ask(first=f"import sys, icm_core; {change}") == f"found out\n{REMEMBERED}"
    assert ask(first=f"import sys, icm_core; {change}") == REMEMBERED


def _resigned(text: str, old: str, new: str) -> str:
    body = text.partition("\n")[2].replace(old, new)
    return f"{hashlib.sha256(body.encode()).hexdigest()}\n{body}"


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:-20],
        lambda text: text.replace('"one"', '"two"'),
        lambda text: text.replace("toys", "t\0ys", 1),
        lambda text: _resigned(text, '"what": "toys"', '"what": "boys"'),
        lambda text: _resigned(text, '"format": 1', '"format": 2'),
        lambda text: _resigned(text, text.partition("\n")[2], "[1, 2]"),
        lambda text: _resigned(text, text.partition("\n")[2], "[" * 100_000),
        lambda text: _resigned(text, '"files": {', '"folders": {'),
    ],
    ids=["empty", "cut", "value", "NUL", "what", "format", "array", "deep", "no files"],
)
def test_a_damaged_file_is_not_believed_and_made_anew(
    damage: Callable[[str], str], ask: Ask, known: Path, cache: Path
) -> None:
    whole = known.read_text()
    known.write_text(damage(whole))
    assert known.read_text() != whole
    assert ask() == f"found out\n{REMEMBERED}"
    assert ask() == REMEMBERED
    assert list(cache.iterdir()) == [known]


def test_without_a_folder_to_write_to_commands_are_slow_and_nothing_else(ask: Ask, tmp_path: Path) -> None:
    for _ in range(2):
        assert ask(ICM_CACHE=str(tmp_path / "named.json" / "below")) == f"found out\n{REMEMBERED}"


@pytest.mark.usefixtures("known")
def test_what_is_wrong_is_looked_at_each_time(ask: Ask, known: Path) -> None:
    known.unlink()
    for _ in range(2):
        assert ask(sound=False) == f"found out\n{REMEMBERED}"
    assert not known.exists()


def test_a_file_that_changed_meanwhile_is_not_remembered(ask: Ask, known: Path, toys: Path) -> None:
    """Its module may have been read before it changed."""
    known.unlink()
    write(toys / "toy_helper.py", "SAYS = 'help'\n", age=-1000)
    for _ in range(2):
        assert ask() == f"found out\n{REMEMBERED}"
    assert not known.exists()


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"ICM_CACHE": "{0}/own", "XDG_CACHE_HOME": "{0}/shared"}, "own"),
        ({"ICM_CACHE": "", "XDG_CACHE_HOME": "{0}/shared"}, "shared/icm"),
        ({"ICM_CACHE": "", "XDG_CACHE_HOME": "shared", "HOME": "{0}"}, ".cache/icm"),
        ({"ICM_CACHE": "", "HOME": "{0}"}, ".cache/icm"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="the home is in another variable there")
@pytest.mark.usefixtures("known")
def test_the_folder_is_where_the_user_wants_it(variables: dict[str, str], place: str, ask: Ask, tmp_path: Path) -> None:
    given = {key: value.format(tmp_path) for key, value in variables.items()}
    assert ask(**given).startswith("found out")
    assert ask(**given) == REMEMBERED
    assert len(list((tmp_path / place).iterdir())) == 1


SHIPS = """
from pathlib import Path
from icm_core import hookimpl

@hookimpl
def icm_specs():
    return [Path(__file__).with_name("toy.json")]
"""

# Runs the program, and says on stderr what it imported that is slow.
RUN = """
import sys
sys.argv[0] = "icm"
from icm_core.cli import main
try:
    main()
except SystemExit as error:
    assert not error.code, error.code
slow = {"torch", "numpy", "torchvision", "timm", "PIL"} & set(sys.modules)
assert slow == set() or WARM, slow
"""


@pytest.fixture
def remember(python: Ask, cache: Path, tmp_path: Path) -> Callable[[str, Found], None]:
    """Remember what was found out in this process, as a command of its own would have."""

    def call(what: str, found: Found) -> None:
        (tmp_path / "value.json").write_text(json.dumps(found.value))
        assert found.sound
        value = f"json.load(open({str(tmp_path / 'value.json')!r}))"
        code = f"import json; from icm_core.cli.remembered import *; remembered({what!r}, lambda: Found({value}, True))"
        for _ in range(10):
            python("-c", code)
            if list(cache.glob("*.json")):
                return
            time.sleep(1)
        raise AssertionError("nothing is remembered")

    return call


def test_info_imports_no_networks_once_pipelines_are_known(
    python: Ask, remember: Callable[[str, Found], None], coded: Path, run: Callable[..., str]
) -> None:
    remember("pipelines", info._pipelines())
    assert python("-c", RUN.replace("WARM", "False"), "info", str(coded)) == run("info", coded)
    assert "tiny-model" in run("info", coded)


@pytest.mark.parametrize("name", ["pipeline", "recipe"])
def test_schemas_import_no_networks_once_they_are_known(
    name: str, python: Ask, remember: Callable[[str, Found], None], run: Callable[..., str]
) -> None:
    remember(f"schema {name}", schema._made(name))
    assert python("-c", RUN.replace("WARM", "False"), "schema", name) == run("schema", name)


def test_plugins_imports_no_networks_once_they_are_known(python: Ask, cache: Path, toys: Path) -> None:
    """All in processes of their own: what the first one finds out is what the second one shows."""
    write(toys / "toy_plugin" / "plugin.py", SHIPS)
    write(toys / "toy_plugin" / "toy.json", "{}")
    for _ in range(5):
        first = python("-c", RUN.replace("WARM", "True"), "plugins", "--json")
        if list(cache.glob("*.json")):
            break
    assert python("-c", RUN.replace("WARM", "False"), "plugins", "--json") == first
    rows = [row for row in json.loads(first) if row["distribution"] == "toys"]
    assert rows == [{"kind": "pipeline", "name": "toy", "distribution": "toys", "version": "1.0", "status": "ok"}]


def test_help_and_version_import_no_networks(python: Ask) -> None:
    for arguments in (["--help"], ["--version"], ["info", "--help"], ["encode", "--help"]):
        assert "icm" in python("-c", RUN.replace("WARM", "False"), *arguments)
