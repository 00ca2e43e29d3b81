"""Pipelines of a hub that were fetched before, by revision; which folders are pushed, and how."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from icm_core import InputError, SpecError
from icm_core.pipeline import hub

library = pytest.importorskip("huggingface_hub")
constants = pytest.importorskip("huggingface_hub.constants")
SPEC = {"icm": 1, "name": "eyes", "codec": {"use": "tiny.thumbnail"}}


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache as the library keeps it, of one repository in two revisions; nothing can be downloaded."""
    repository = tmp_path / "models--lab--eyes"
    for revision, commit in (("main", "a" * 40), ("v1", "b" * 40)):
        put(repository / "refs" / revision, commit)
        put(repository / "snapshots" / commit / "eyes.json", json.dumps(SPEC))
        put(repository / "snapshots" / commit / "eyes.training.json", json.dumps({"codec": "a record is no spec"}))
        put(repository / "snapshots" / commit / "notes.json", json.dumps({"icm": "nor is a note"}))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return repository / "snapshots"


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(("address", "letter"), [("hf://lab/eyes", "a"), ("hf://lab/eyes@v1", "b")])
def test_what_was_fetched_before_is_found_in_its_revision(kept: Path, address: str, letter: str) -> None:
    assert hub.cached(address) == kept / (letter * 40)
    assert hub.fetch(address) == kept / (letter * 40) / "eyes.json"


def test_nobody_is_asked_for_what_was_fetched_before(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def repo_info(*given: Any, **_: Any) -> None:
        asked.append(given)
        raise ConnectionError("there is no network")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(library.HfApi, "repo_info", repo_info)
    assert hub.cached("hf://lab/eyes@v1") == kept / ("b" * 40)
    assert not asked
    with pytest.raises(InputError, match=r"^hf://lab/eyes@v1 cannot be had from the hub: there is no network$"):
        hub.fetch("hf://lab/eyes@v1")
    assert len(asked) == 1


def test_what_was_not_fetched_is_refused_with_the_command_that_does(kept: Path) -> None:
    with pytest.raises(InputError) as caught:
        hub.cached("hf://lab/eyes@v2")
    assert str(caught.value) == (
        "hf://lab/eyes@v2 is not on this machine; fetch it once with: hf download lab/eyes --revision v2 "
        "--include '*.json' --include '*.safetensors'"
    )
    with pytest.raises(InputError, match="fetch it once with: hf download lab/ears --include"):
        hub.cached("hf://lab/ears")
    with pytest.raises(InputError, match="hf://lab/eyes@v2 cannot be had from the hub"):
        hub.fetch("hf://lab/eyes@v2")


def test_a_repository_holds_one_spec(kept: Path) -> None:
    put(kept / ("a" * 40) / "more.json", json.dumps(SPEC))
    with pytest.raises(SpecError, match=r"one pipeline spec .*, and this one holds eyes\.json, more\.json$"):
        hub.fetch("hf://lab/eyes")
    for name in ("eyes", "more"):
        (kept / ("a" * 40) / f"{name}.json").unlink()
    with pytest.raises(SpecError, match="and this one holds none"):
        hub.fetch("hf://lab/eyes")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the library was asked for instead of doing it."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(library, "create_repo", lambda name, **how: found.append({"name": name, **how}))

    def upload(**how: Any) -> SimpleNamespace:
        found.append(how)
        return SimpleNamespace(commit_url="http://hub/commit/1")

    monkeypatch.setattr(library, "upload_folder", upload)
    return found


@pytest.mark.parametrize("private", [True, False])
def test_specs_weights_and_cards_are_pushed_to_the_revision_that_is_named(
    tmp_path: Path, asked: list[dict[str, Any]], private: bool
) -> None:
    put(tmp_path / "eyes.json", json.dumps(SPEC))
    assert hub.push(tmp_path, "hf://lab/eyes@next", private=private) == "http://hub/commit/1"
    made, sent = asked
    assert made == {"name": "lab/eyes", "private": private, "exist_ok": True}
    assert (sent["repo_id"], sent["folder_path"], sent["revision"]) == ("lab/eyes", tmp_path, "next")
    assert sorted(sent["allow_patterns"]) == ["*.json", "*.md", "*.safetensors"]


@pytest.mark.parametrize("count", [0, 2])
def test_a_folder_of_no_spec_or_several_is_not_pushed(tmp_path: Path, asked: list[dict[str, Any]], count: int) -> None:
    put(tmp_path / "record.json", "[]")
    for number in range(count):
        put(tmp_path / f"eyes{number}.json", json.dumps(SPEC))
    with pytest.raises(SpecError, match="should hold one pipeline spec"):
        hub.push(tmp_path, "hf://lab/eyes")
    assert not asked


@pytest.mark.parametrize(
    "address",
    [
        "hf://lab",
        "hf://lab/",
        "hf:///eyes",
        "hf://lab/eyes@",
        "hf://lab/eyes/more",
        "hf://lab/eyes@v1 and more",
        "hf://lab/eyes?x=1",
        "hf://lab/eyes\n",
        " hf://lab/eyes",
        "HF://lab/eyes",
        "https://lab/eyes",
    ],
)
def test_what_is_no_address_is_refused_to_its_last_character(
    tmp_path: Path, asked: list[dict[str, Any]], address: str
) -> None:
    put(tmp_path / "eyes.json", json.dumps(SPEC))
    for ask in (hub.fetch, hub.cached, lambda wrong: hub.push(tmp_path, wrong)):
        with pytest.raises(InputError, match=r"is no address of the hub; it should be like hf://owner/name or"):
            ask(address)
    assert not asked


@pytest.mark.parametrize(
    ("address", "name", "revision"),
    [
        ("hf://lab/eyes", "lab/eyes", None),
        ("hf://My-Lab.2/eyes_v3.1", "My-Lab.2/eyes_v3.1", None),
        ("hf://lab/eyes@refs/pr/3", "lab/eyes", "refs/pr/3"),
        ("hf://lab/eyes@v1.0-rc", "lab/eyes", "v1.0-rc"),
    ],
)
def test_owner_name_and_revision_are_told_apart(
    tmp_path: Path, asked: list[dict[str, Any]], address: str, name: str, revision: str | None
) -> None:
    put(tmp_path / "eyes.json", json.dumps(SPEC))
    hub.push(tmp_path, address)
    assert (asked[0]["name"], asked[1]["repo_id"], asked[1]["revision"]) == (name, name, revision)


@pytest.mark.parametrize("text", ["", "{", "\u00ff{}", "[" * 200, '"icm codec"', '["icm", "codec"]', "null"])
def test_what_is_no_spec_stands_beside_one(kept: Path, text: str) -> None:
    put(kept / ("a" * 40) / "aaa.json", text)
    (kept / ("a" * 40) / "folder.json").mkdir()
    (kept / ("a" * 40) / "latin.json").write_bytes(b'{"icm": "\xff", "codec": 1}')
    assert hub.fetch("hf://lab/eyes") == kept / ("a" * 40) / "eyes.json"


def test_what_the_library_says_is_told_in_one_short_line(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ValueError("the first line\n\n   the second\tline " + "x" * 400)

    monkeypatch.setattr(library, "snapshot_download", refuse)
    with pytest.raises(InputError) as caught:
        hub.fetch("hf://lab/eyes")
    said = str(caught.value).removeprefix("hf://lab/eyes cannot be had from the hub: ")
    assert said.startswith("the first line the second line xxx") and len(said) == 300


@pytest.mark.parametrize("error", [ImportError, ModuleNotFoundError])
def test_without_the_library_or_with_a_broken_one_it_is_said_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    put(tmp_path / "huggingface_hub.py", f"raise {error.__name__}('cannot import name')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "huggingface_hub")
    for ask in (hub.fetch, hub.cached):
        with pytest.raises(
            InputError, match=r"need huggingface-hub; install it with: pip install 'icm-framework\[hub\]'"
        ):
            ask("hf://lab/eyes")
