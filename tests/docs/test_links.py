"""What a page links to is in the clone: a newcomer follows links without building the site."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from icm_pages import DOCS
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = DOCS.parent
PAGES = [
    *sorted(DOCS.glob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
    *sorted((ROOT / ".github").rglob("*.md")),
]


@cache
def tokens(page: Path) -> list[Token]:
    text = re.sub(r"\A---\n.*?\n---\n", "", page.read_text("utf-8"), flags=re.DOTALL)
    return MarkdownIt("commonmark").enable("table").parse(text)


def links(page: Path) -> list[str]:
    """Where the page's links and pictures lead, but for those that leave the repository."""
    inner = [child for token in tokens(page) for child in token.children or ()]
    found = [str(child.attrGet("href") or child.attrGet("src") or "") for child in inner if child.attrs]
    return [link for link in found if link and not re.match(r"[a-z]+:", link)]


@cache
def anchors(page: Path) -> set[str]:
    """The headings of a page as they stand behind # in links."""
    titles = [after.content for token, after in pairwise(tokens(page)) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def broken(page: Path) -> list[str]:
    found = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.is_file() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_of_the_clone(page: Path) -> None:
    assert broken(page) == []


NAMED = re.compile(r"(icm_core|registry|plugins|examples|benchmarks|tests|docs)/[\w./-]+")


def named(page: Path) -> list[str]:
    """Files and folders of the repository that stand in the page's text as code."""
    inner = [child for token in tokens(page) for child in token.children or ()]
    return [child.content for child in inner if child.type == "code_inline" and NAMED.fullmatch(child.content)]


def test_every_file_that_a_page_names_is_there() -> None:
    # The changelog tells of what was, too.
    paths = [(page, path) for page in PAGES if page.name != "CHANGELOG.md" for path in named(page)]
    assert len(paths) > 30
    assert [(page.name, path) for page, path in paths if not (ROOT / path).exists()] == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# What is *here*\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md) [b](there.md#what-is-here) [c](absent.md) ![d](absent.png)\n\n"
        "| [e](there.md#absent) |\n|---|\n| [f](https://example.org) |\n\n```text\n[g](absent.md)\n```\n"
    )
    assert broken(page) == ["absent.md", "absent.png", "there.md#absent"]
