"""Nothing that a user can name is missing from the pages."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Mapping

import pytest
import typer
from icm_pages import DOCS, PUBLIC

from icm_core.cli.app import app
from icm_core.interfaces import TaskKind
from icm_core.plugins import hookspecs
from icm_core.plugins.registry import Registry, build_registry

WRITTEN = {page.name: page.read_text("utf-8") for page in DOCS.glob("*.md")}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return build_registry()


@pytest.fixture(scope="module")
def generated() -> Mapping[str, str]:
    found = importlib.util.spec_from_file_location("gen_reference", DOCS / "gen_reference.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    pages: Mapping[str, str] = module.pages()
    return pages


def section(page: str, name: str) -> str:
    """What stands under a heading that is a name in backticks."""
    found = re.search(rf"^## `{re.escape(name)}`\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def test_every_hook_is_explained() -> None:
    hooks = [name for name in vars(hookspecs) if name.startswith("icm_")]
    assert len(hooks) >= 11
    assert [name for name in hooks if f"`{name}`" not in WRITTEN["plugins.md"]] == []


def test_every_command_is_explained_and_has_its_options_in_the_reference(generated: Mapping[str, str]) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    text = "\n".join(WRITTEN.values())
    assert [name for name in commands if f"`icm {name}`" not in text] == []
    for name, command in commands.items():
        described = section(generated["reference/commands.md"], f"icm {name}")
        assert described, f"icm {name}"
        missing = [option for one in command.params for option in one.opts if one.param_type_name == "option"]
        assert [option for option in missing if f"`{option}`" not in described] == [], f"icm {name}"
        assert [one.name for one in command.params if not one.help] == [], f"icm {name} has options without a help"


@pytest.mark.parametrize("kind", ["codecs", "adapters", "heads", "enhancements", "datasets", "losses"])
def test_every_component_has_a_section_with_all_parameters(
    kind: str, registry: Registry, generated: Mapping[str, str]
) -> None:
    entries = getattr(registry, kind).entries
    assert entries
    for entry in entries:
        described = section(generated[f"reference/{kind}.md"], entry.name)
        assert described, f"{entry.name} has no section"
        assert entry.value.__doc__, f"{entry.name} has no docstring"
        for name, field in entry.value.Params.model_fields.items():
            assert f"| `{name}` |" in described, f"{entry.name}: {name}"
            assert field.description, f"{entry.name}: {name} has no description"


def test_every_kind_has_a_section_and_a_row(registry: Registry, generated: Mapping[str, str]) -> None:
    assert registry.kinds.entries
    for entry in registry.kinds.entries:
        described = section(generated["reference/kinds.md"], entry.name)
        assert entry.value.__doc__ and all(f"| {what} |" in described for what in ("target", "drawing", "figures"))
        assert f"\n| `{entry.name}` |" in WRITTEN["kinds.md"], f"{entry.name} is missing in the table of docs/kinds.md"


def test_every_data_set_has_a_row_and_its_parameters_are_explained(registry: Registry) -> None:
    page = WRITTEN["data.md"]
    own = [entry for entry in registry.datasets.entries if entry.owner.plugin == "datasets"]
    assert len(own) >= 12
    for entry in own:
        assert f"\n| [`{entry.name}`](#" in page, entry.name
        assert [name for name in entry.value.Params.model_fields if f"`{name}`" not in page] == [], entry.name


def test_every_method_of_a_kind_is_explained() -> None:
    asked = [name for name, value in vars(TaskKind).items() if callable(value) and not name.startswith("_")]
    assert len(asked) >= 17
    assert [name for name in asked if f"`{name}`" not in WRITTEN["kinds.md"]] == []


def test_every_pipeline_and_recipe_that_ships_is_listed(registry: Registry, generated: Mapping[str, str]) -> None:
    page = generated["reference/shipped.md"]
    rows = dict(re.findall(r"^\| `([^`]+)` \| (.*?) \|", page, re.MULTILINE))
    names = [entry.name for entry in (*registry.specs.entries, *registry.recipes.entries)]
    assert [name for name in names if not rows.get(name)] == []


@pytest.mark.parametrize("place", sorted({*PUBLIC} - {"icm_core.cli"}))  # whose names are commands
def test_all_of_the_public_python_names_are_in_the_reference(place: str, generated: Mapping[str, str]) -> None:
    text = "\n".join(page for name, page in generated.items() if name.startswith("reference/"))
    names = [name for name in importlib.import_module(place).__all__ if not name.startswith("_") and not name.isupper()]
    known = [f"::: {place}.{name}\n" in text or f"::: icm_core.{name}\n" in text for name in names]
    assert [name for name, there in zip(names, known, strict=True) if not there] == []
