"""What the page about public names promises: they are there, and plugins need no others."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from icm_pages import DOCS, PUBLIC, blocks_of

import icm_core
from icm_core.scaffold import COMPONENTS, DATA_SETS, HEADS, package_files

ROOT = DOCS.parent
PAGE = (DOCS / "public.md").read_text("utf-8")
OWN = {"icm_core", "icm_registry"}


@pytest.mark.parametrize("place", PUBLIC)
def test_a_public_place_lists_its_names(place: str) -> None:
    module = importlib.import_module(place)
    listed = module.__all__
    assert sorted(listed) == sorted(set(listed))
    assert [name for name in listed if not hasattr(module, name)] == []
    assert module.__doc__


def test_the_interface_of_the_page_is_the_one_there_is() -> None:
    assert f"a whole number; now it is {icm_core.INTERFACE_VERSION}." in PAGE


def imports(text: str) -> Iterator[tuple[str, str]]:
    """The modules of icm that a text imports from, with each name."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in OWN:
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.split(".")[0] in OWN)


def hidden(text: str) -> list[str]:
    """What a text imports that is not public."""
    found = []
    for module, name in imports(text):
        public = module in PUBLIC and (not name or name in importlib.import_module(module).__all__)
        if not public and f"{module}.{name}" not in PUBLIC:
            found.append(f"{module}: {name}")
    return found


def third_parties() -> dict[str, str]:
    """Python that people write who use icm: the examples, what `icm new` makes, the pages."""
    found = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in (ROOT / "examples").rglob("*.py")}
    made = [(component, None) for component in COMPONENTS]
    made += [("head", kind) for kind in HEADS] + [("dataset", kind) for kind in DATA_SETS]
    for component, kind in made:
        files = package_files(component, "mylab.thing", kind)
        found |= {f"icm new {component} {kind}: {path}": text for path, text in files.items() if path.endswith(".py")}
    for page in sorted(DOCS.glob("*.md")):
        for block in blocks_of(page):
            if block.language == "python":
                found[f"{page.name}:{block.line}"] = block.text
    return found


def test_those_who_use_icm_need_only_what_is_public() -> None:
    texts = third_parties()
    assert len(texts) > 30
    assert {where: names for where, text in texts.items() if (names := hidden(text))} == {}


def test_what_is_not_public_is_noticed() -> None:
    assert hidden("from icm_core.spec.resolve import resolve") == ["icm_core.spec.resolve: resolve"]
    assert hidden("from icm_core.quality import MAX_STEP\nimport icm_core.pipeline.load") != []
    assert hidden("import icm_core\nfrom icm_core.errors import InputError") == []
    assert hidden("from icm_core import interfaces") == []


def test_every_group_of_entry_points_is_named() -> None:
    own = metadata.distribution("icm-framework").entry_points
    groups = {point.group for point in own if point.group.startswith("icm.")}
    assert groups
    assert [group for group in groups if f"`{group}`" not in PAGE] == []


def test_the_licence_is_in_the_clone() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in text and "Version 2.0, January 2004" in text
    assert Path(ROOT / "CITATION.cff").read_text("utf-8").count("license: Apache-2.0") == 1
