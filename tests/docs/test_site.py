"""The site as it is built: whole, without a warning, and without anything from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from icm_pages import DOCS

pytest.importorskip("mkdocs", reason="the site is built with the extra docs")

ROOT = DOCS.parent


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_every_page_is_there(built: Path) -> None:
    assert [page.name for page in DOCS.glob("*.md") if not (built / f"{page.stem}.html").is_file()] == []
    assert list(built.rglob("*.py")) == []


def test_nothing_is_fetched_from_elsewhere(built: Path) -> None:
    fetched = re.compile(r'<(?:script|img|iframe|source)\b[^>]*\bsrc="(?:https?:)?//|<link\b[^>]*href="(?:https?:)?//')
    pages = list(built.rglob("*.html"))
    assert len(pages) > 25
    canonical = '<link rel="canonical"'
    assert [page.name for page in pages if fetched.search(page.read_text("utf-8").replace(canonical, ""))] == []


def test_docstrings_become_reference(built: Path) -> None:
    page = (built / "reference/python.html").read_text("utf-8")
    assert 'id="icm_core.load"' in page and "BitstreamError" in page
    assert 'id="icm_core.interfaces.Codec"' in (built / "reference/contracts.html").read_text("utf-8")
    assert 'id="icm_core.plugins.hookspecs.icm_codecs"' in (built / "reference/hooks.html").read_text("utf-8")


def test_files_that_pages_link_to_are_shown_or_stand_in_the_reference(built: Path) -> None:
    page = (built / "evaluation.html").read_text("utf-8")
    shown = "source/plugins/evaluation/icm_evaluation/results.py.html"
    assert f'href="{shown}"' in page
    assert "class Result" in re.sub(r"<[^>]+>", "", (built / shown).read_text("utf-8"))
    assert 'href="reference/contracts.html"' in (built / "kinds.html").read_text("utf-8")
    assert 'href="extending.html#from-1-to-2"' in (built / "contributing.html").read_text("utf-8")
