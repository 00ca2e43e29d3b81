"""Which classes, kinds, files and names a registry takes from plugins, and what it says of the others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from icm_core import (
    Codec,
    DataSet,
    Enhancement,
    InputError,
    Registry,
    SideInfoAdapter,
    SpecError,
    TaskHead,
    build_registry,
    hookimpl,
)
from icm_core.kinds import Regression
from icm_core.training import Loss
from icm_registry import RegistryError


def _returning(items: Any) -> Callable[[], Any]:
    return lambda: items


def plugin(**hooks: Any) -> ModuleType:
    module = ModuleType("plugin")
    for name, items in hooks.items():
        setattr(module, name, hookimpl(_returning(items), specname=name))
    return module


def made(**hooks: Any) -> Registry:
    """A registry of one plugin, ``lab``, and the core."""
    return build_registry(path=[], extra={"lab": plugin(**hooks)})


def status(registry: Registry, kind: str) -> dict[str, str]:
    return {row["name"]: row["status"] for row in registry.status() if row["kind"] == kind}


def named(base: type, name: object, **more: object) -> type:
    return type("Some", (base,), {"name": name, **more})


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("lab.codec", True),
        ("lab2.my_codec.v3", True),
        ("codec", False),
        ("lab.", False),
        ("lab.codec!", False),
        ("lab.Codec", False),
        ("lab.co-dec", False),
        ("2lab.codec", False),
        (3, False),
    ],
)
def test_a_component_is_called_after_its_plugin(tiny: ModuleType, name: object, fits: bool) -> None:
    registry = made(icm_codecs=[named(tiny.Thumbnail, name)])
    assert registry.codecs.names == ((name,) if fits else ())
    if not fits:
        (said,) = status(registry, "codec").values()
        assert said == f"its name is {name!r}; it should be like 'plugin.component', lower case"


@pytest.mark.parametrize(
    ("name", "fits"),
    [("depth", True), ("mylab.lanes", True), ("pictures", False), ("lanes!", False), ("Lanes", False), (None, False)],
)
def test_a_kind_has_a_plain_name_and_is_not_called_as_data_without_targets(name: object, fits: bool) -> None:
    registry = made(icm_kinds=[named(Regression, name)])
    assert (name in registry.kinds.names) is fits
    assert not fits or registry.kind(str(name)).name == name


def test_kinds_that_are_none_are_reported() -> None:
    registry = made(icm_kinds=[dict, named(Regression, "open", __abstractmethods__=frozenset({"tally", "draw"}))])
    said = status(registry, "kind")
    assert said["dict"] == "it is not a subclass of TaskKind"


def test_each_contract_has_its_catalogue(tiny: ModuleType) -> None:
    registry = build_registry(path=[], extra={"tiny": tiny})
    expected: dict[type, object] = {
        Codec: registry.codecs,
        SideInfoAdapter: registry.adapters,
        TaskHead: registry.heads,
        Enhancement: registry.enhancements,
        Loss: registry.losses,
    }
    assert [registry.of(contract) for contract in expected] == list(expected.values())
    assert len({id(catalogue) for catalogue in expected.values()}) == 5


def test_there_is_a_default_pipeline_where_just_one_is_offered() -> None:
    with pytest.raises(InputError, match=r"no default pipeline, no installed plugin offers one; name one with -m"):
        _ = made().default_pipeline
    assert made(icm_default_pipelines=["small"]).default_pipeline == "small"
    with pytest.raises(InputError, match=r"several are offered: large, small; name one with -m"):
        _ = made(icm_default_pipelines=["small", "large"]).default_pipeline
    assert made(icm_default_pipelines=["", 3, "small"]).default_pipeline == "small"


def test_an_unknown_kind_is_said_with_its_place_if_it_has_one() -> None:
    registry = made()
    with pytest.raises(SpecError, match=r"^tasks\.a\.head: unknown kind 'segmentaton'; did you mean 'segmentation'\?"):
        registry.kind("segmentaton", "tasks.a.head")
    with pytest.raises(SpecError, match=r"^unknown kind 'segmentaton'; did you mean"):
        registry.kind("segmentaton")
    assert registry.kind("segmentation").name == "segmentation"


def test_a_registry_is_sound_where_all_that_was_found_can_be_used(tiny: ModuleType) -> None:
    schemas = [("one", lambda registry: {"of": registry})]
    assert made(icm_codecs=[tiny.Thumbnail], icm_schemas=schemas).sound
    assert not made(icm_codecs=[named(tiny.Thumbnail, "Upper")], icm_schemas=schemas).sound
    assert not made(icm_codecs=[tiny.Thumbnail], icm_schemas="nonsense").sound
    assert not made().sound  # it provides nothing


def test_a_plugin_that_fails_in_one_hook_has_one_row_for_it_and_those_of_the_rest(tiny: ModuleType) -> None:
    registry = made(icm_codecs=[tiny.Thumbnail], icm_heads="nonsense")
    rows = [(row["kind"], row["name"]) for row in registry.status() if row["distribution"] == "this process"]
    assert [row for row in rows if row[1] == "lab"] == [("plugin", "lab")]
    assert ("codec", "tiny.thumbnail") in rows and registry.codecs.names == ("tiny.thumbnail",)


def test_a_plugin_that_is_not_loaded_has_one_row(tiny: ModuleType) -> None:
    older = plugin(icm_codecs=[tiny.Thumbnail])
    older.icm_interface = 1  # type: ignore[attr-defined]
    registry = build_registry(path=[], extra={"lab": older})
    (said,) = status(registry, "plugin").values()
    assert said.startswith("is not loaded: it was written for interface 1 of icm, and this one has 2: a head's loss")
    assert registry.codecs.names == ()


def test_yes_is_no_number_of_an_interface() -> None:
    wrong = plugin()
    wrong.icm_interface = True  # type: ignore[attr-defined]
    (said,) = status(build_registry(path=[], extra={"lab": wrong}), "plugin").values()
    assert said == "is not loaded: its icm_interface is True; it should be a whole number from 1"


def test_the_core_can_be_replaced_and_is_there_otherwise() -> None:
    assert build_registry(path=[]).kinds.names == ("classification", "reconstruction", "regression", "segmentation")
    mine = plugin(icm_kinds=[named(Regression, "mine")])
    assert build_registry(path=[], extra={"core": mine}).kinds.names == ("mine",)


def test_heads_of_interface_1_are_known_by_measuring_and_drawing_both(tiny: ModuleType) -> None:
    old = named(tiny.Picture, "lab.old", metric=lambda self: None, draw=lambda self: None)
    drawing = named(tiny.Picture, "lab.drawing", draw=lambda self: None)
    measuring = named(tiny.Picture, "lab.measuring", metric=lambda self: None)
    registry = made(icm_heads=[old, drawing, measuring])
    assert registry.heads.names == ("lab.drawing", "lab.measuring")
    with pytest.raises(RegistryError, match=r"it was written for interface 1 of icm.*From 1 to 2"):
        registry.heads.get("lab.old")


class Numbers(DataSet):
    """Nothing."""

    def __len__(self) -> int:
        return 0

    def __getitem__(self, number: int) -> Any:
        raise IndexError(number)


def test_a_kind_is_registered_or_chosen_by_parameters(tiny: ModuleType) -> None:
    heads = [
        named(tiny.Picture, "lab.chosen", kind=property(lambda self: "regression")),
        named(tiny.Picture, "lab.before", kind=None, kind_of=classmethod(lambda cls, params: "regression")),
        named(tiny.Picture, "lab.pictures", kind="pictures"),
        named(tiny.Picture, "lab.typo", kind="regresion"),
        named(tiny.Picture, "lab.none", kind=None),
    ]
    data = [named(Numbers, f"lab.{kind}", kind=kind) for kind in ("pictures", "regression", "guess")]
    registry = made(icm_heads=heads, icm_datasets=data)
    assert registry.heads.names == ("lab.before", "lab.chosen")
    assert registry.datasets.names == ("lab.pictures", "lab.regression")
    said = status(registry, "head")
    assert said["lab.typo"].startswith("its kind is 'regresion'; unknown kind 'regresion'; did you mean 'regression'?")
    assert said["lab.none"].startswith("its kind is None; it should be one of classification, reconstruction,")
    assert "pictures" not in said["lab.none"]
    assert "known: classification, pictures, recon" in status(registry, "data set")["lab.guess"]


def test_files_are_known_by_their_stems_and_each_hook_has_its_own(tmp_path: Path) -> None:
    spec, recipe, text = (tmp_path / name for name in ("a.spec.json", "b.json", "c.txt"))
    for path in (spec, recipe, text):
        path.write_text(json.dumps({}))
    registry = made(icm_specs=[spec, tmp_path / "gone.json"], icm_recipes=[recipe, text])
    assert (registry.specs.names, registry.recipes.names) == (("a.spec",), ("b",))
    assert (registry.specs.get("a.spec"), registry.recipes.get("b")) == (spec, recipe)
    assert f"{tmp_path / 'gone.json'} is not an existing .json file" in status(registry, "pipeline").values()
    assert list(status(registry, "recipe").values()) == ["ok", f"{text} is not an existing .json file"]


def test_a_schema_is_a_name_and_a_function() -> None:
    def told(registry: Registry) -> dict[str, Any]:
        return {"kinds": len(registry.kinds.names)}

    registry = made(icm_schemas=[("Mine", told), ("only a name",), (told, "Mine"), ("no function", 3)])
    assert registry.schemas.names == ("Mine",)
    assert registry.schemas.get("Mine")(registry) == {"kinds": 4}


def test_what_is_installed_is_shown_in_an_order_from_kinds_to_recipes_and_nothing_is_left_out() -> None:
    registry = build_registry(path=[])
    names = ["kinds", "codecs", "adapters", "heads", "enhancements", "datasets", "losses", "specs", "recipes"]
    assert [id(one) for one in registry.catalogues] == [id(getattr(registry, name)) for name in names]


def test_a_folder_is_no_file_of_a_pipeline(tmp_path: Path) -> None:
    (tmp_path / "lab.json").mkdir()
    found = status(made(icm_specs=[tmp_path / "lab.json"]), "pipeline")
    assert list(found.values()) == [f"{tmp_path / 'lab.json'} is not an existing .json file"]
