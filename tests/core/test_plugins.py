"""The registry of codecs, adapters, heads, enhancements and specs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from icm_core import INTERFACE_VERSION, Registry, TaskHead, build_registry, hookimpl
from icm_registry import RegistryError


def _returning(items: Any) -> Callable[[], Any]:
    return lambda: items


def plugin(**hooks: Any) -> ModuleType:
    module = ModuleType("plugin")
    for name, items in hooks.items():
        setattr(module, name, hookimpl(_returning(items), specname=name))
    return module


def test_catalogues_hold_the_classes(registry: Registry, tiny: ModuleType) -> None:
    assert registry.codecs.get("tiny.thumbnail") is tiny.Thumbnail
    assert registry.adapters.names == ("core.decoded_picture", "tiny.enlarge")
    assert registry.heads.names == ("tiny.classes", "tiny.labels", "tiny.picture")
    assert registry.enhancements.get("tiny.residual") is tiny.Residual
    assert registry.specs.names == ()


def test_status_has_a_row_for_everything(tiny: ModuleType, tmp_path: Path) -> None:
    spec = tmp_path / "shipped.json"
    spec.write_text("{}")
    rows = build_registry(
        path=[],
        extra={
            "tiny": tiny,
            "twin": plugin(icm_codecs=[tiny.Thumbnail], icm_specs=[spec]),
            "idle": plugin(),
            "odd": plugin(icm_heads="nonsense"),
        },
    ).status()
    assert all(set(row) == {"kind", "name", "distribution", "version", "status"} for row in rows)
    by_name = {(row["kind"], row["name"]): row["status"] for row in rows}
    assert by_name["adapter", "tiny.enlarge"] == "ok"
    assert by_name["pipeline", "shipped"] == "ok"
    assert by_name["codec", "tiny.thumbnail"].startswith("duplicate: also provided by")
    assert by_name["plugin", "idle"] == "provides nothing"
    assert "failed in its hook icm_heads" in by_name["plugin", "odd"]


def test_a_broken_plugin_is_in_the_status_and_in_errors(tmp_path: Path, install: Any, tiny: ModuleType) -> None:
    install(tmp_path, "lab", "[icm.plugins]\nlab = lab_broken\n", "0.2", lab_broken="import nothing_like_this")
    registry = build_registry(path=[str(tmp_path)], extra={"tiny": tiny})
    row = next(row for row in registry.status() if row["name"] == "lab")
    assert (row["kind"], row["distribution"], row["version"]) == ("plugin", "lab", "0.2")
    assert "No module named 'nothing_like_this'" in row["status"]
    with pytest.raises(RegistryError, match=r"unknown head 'lab\.net': lab 0\.2 .* could not be loaded"):
        registry.heads.get("lab.net")
    assert registry.heads.get("tiny.labels")


def _bad_classes(tiny: ModuleType) -> dict[str, tuple[object, str]]:
    class NoName(tiny.Picture):
        name: ClassVar[str] = "Upper.Case"

    class Bare(tiny.Picture):
        name: ClassVar[str] = "p.bare"

        class Params(BaseModel):
            pass

    class Kindless(tiny.Picture):
        name: ClassVar[str] = "p.kindless"
        kind = "guess"

    class Abstract(TaskHead):
        name: ClassVar[str] = "p.abstract"
        kind = "reconstruction"

    return {
        "Upper.Case": (NoName, "it should be like 'plugin.component'"),
        "p.bare": (Bare, "Params is not a subclass of ComponentParams"),
        "p.kindless": (Kindless, "its kind is 'guess'"),
        "p.abstract": (Abstract, "does not implement forward, loss"),
        "tiny.enlarge": (tiny.Enlarge, "is not a subclass of TaskHead"),
    }


@pytest.mark.parametrize("name", ["Upper.Case", "p.bare", "p.kindless", "p.abstract", "tiny.enlarge"])
def test_classes_that_break_the_contract(tiny: ModuleType, name: str) -> None:
    item, says = _bad_classes(tiny)[name]
    registry = build_registry(path=[], extra={"p": plugin(icm_heads=[item, tiny.Picture])})
    assert registry.heads.names == ("tiny.picture",)
    with pytest.raises(RegistryError, match="cannot be used") as caught:
        registry.heads.get(name)
    assert says in str(caught.value)


def test_an_instance_is_not_a_class(tiny: ModuleType) -> None:
    made = tiny.Thumbnail(tiny.Thumbnail.Params())
    found = build_registry(path=[], extra={"p": plugin(icm_codecs=[made])})
    assert [row["status"] for row in found.status() if row["kind"] == "codec"] == ["it is not a subclass of Codec"]


def test_spec_paths_are_checked(tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("")
    found = build_registry(path=[], extra={"p": plugin(icm_specs=["a.json", tmp_path / "missing.json", text])})
    assert found.specs.names == ()
    assert [
        "pathlib.Path" in r["status"] or ".json file" in r["status"] for r in found.status() if r["kind"] == "pipeline"
    ] == [True] * 3


def test_installed_plugins_come_through_entry_points(tmp_path: Path, install: Any) -> None:
    source = Path(__file__).with_name("icm_tiny.py").read_text()
    install(tmp_path, "icm_tiny_dist", "[icm.plugins]\ntiny = icm_tiny_installed\n", "4.2", icm_tiny_installed=source)
    found = build_registry(path=[str(tmp_path)])
    rows = [row for row in found.status() if row["distribution"] != "this process"]
    assert {row["name"] for row in found.status()} >= {"segmentation", "core.decoded_picture"}
    assert {(row["distribution"], row["version"], row["status"]) for row in rows} == {("icm-tiny-dist", "4.2", "ok")}
    assert len(rows) == 6


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("from icm_core.images import open_picture", True),
        ("from icm_core.interfaces import Loss", True),
        ("import icm_core_of_somebody", False),
    ],
)
def test_a_plugin_that_asks_for_a_name_of_interface_1_is_told_where_names_are(
    line: str, told: bool, tmp_path: Path, install: Any
) -> None:
    install(tmp_path, "old", "[icm.plugins]\nold = lab_old\n", lab_old=f"icm_interface = 1\n{line}\n")
    (row,) = [row for row in build_registry(path=[str(tmp_path)]).status() if row["name"] == "old"]
    assert row["status"].startswith("could not be loaded (")
    assert ("docs/extending.md, From 1 to 2" in row["status"]) == told


def test_a_plugin_for_a_newer_interface_is_reported_and_breaks_nothing_else(tiny: ModuleType) -> None:
    newer = plugin(icm_heads=[type("Tomorrows", (tiny.Picture,), {"name": "newer.picture"})])
    newer.icm_interface = INTERFACE_VERSION + 1  # type: ignore[attr-defined]
    registry = build_registry(path=[], extra={"tiny": tiny, "newer": newer})
    assert registry.heads.names == ("tiny.classes", "tiny.labels", "tiny.picture")
    rows = {(row["kind"], row["name"]): row["status"] for row in registry.status()}
    assert rows["plugin", "newer"] == (
        f"is not loaded: it was built for interface {INTERFACE_VERSION + 1} of icm, and this one has "
        f"{INTERFACE_VERSION}; install a newer icm or an older plugin"
    )
    with pytest.raises(RegistryError, match=r"plugin 'newer'.* was built for interface"):
        registry.heads.get("newer.picture")


@pytest.mark.parametrize(("wanted", "usable"), [(INTERFACE_VERSION, True), (0, False), ("1", False), (True, False)])
def test_a_plugins_interface_is_a_whole_number(tiny: ModuleType, wanted: object, usable: bool) -> None:
    module = plugin(icm_heads=[tiny.Picture])
    module.icm_interface = wanted  # type: ignore[attr-defined]
    assert bool(build_registry(path=[], extra={"some": module}).heads.names) is usable
