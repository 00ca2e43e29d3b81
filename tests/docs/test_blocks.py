"""Every block of code on the pages of the site, and in the README, does what it says."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from icm_pages import COMMAND, DOCS, LANGUAGES, Block, Reader, blocks_of
from PIL import Image

from icm_demo.samples import shipped_photographs

PAGES = [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]
BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def name(block: Block) -> str:
    return f"{block.page}:{block.line}"


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages find in their folder: a photograph, and small data sets in the layouts of the real ones."""
    folder = tmp_path_factory.mktemp("found")
    photo = Image.open(shipped_photographs()[0]).convert("RGB").resize((192, 128))
    photo.save(folder / "photo.jpg")
    for split in ("train", "val"):
        for kind in ("", "annot"):
            (folder / f"data/camvid/{split}{kind}").mkdir(parents=True)
        city = "aachen/aachen_000000_000019"
        for kind, end, value in (("leftImg8bit", "leftImg8bit", None), ("gtFine", "gtFine_labelIds", 7)):
            path = folder / f"data/cityscapes/{kind}/{split}/{city}_{end}.png"
            path.parent.mkdir(parents=True)
            (photo if value is None else Image.new("L", photo.size, value)).resize((1024, 512)).save(path)
        for number in range(2 if split == "train" else 1):  # each picture takes seconds in the comparisons
            photo.save(folder / f"data/camvid/{split}/{number}.png")
            Image.new("L", photo.size, number).save(folder / f"data/camvid/{split}annot/{number}.png")
    return folder


@pytest.mark.parametrize(
    "page", sorted({block.page for block in BLOCKS if block.language in ("python", "bash", "json")})
)
def test_the_blocks_of_a_page_run_in_order(page: str, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "reader"
    shutil.copytree(data, folder)
    Reader(folder, tmp_path / "venv").follow([block for block in BLOCKS if block.page == page])


def test_a_block_that_fails_is_found(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "reader"
    shutil.copytree(data, folder)
    reader = Reader(folder, tmp_path / "venv")
    for block, message in (
        (Block("p.md", 7, "python", "", "x = 1\nassert x == 2\n", ""), 'p.md.py", line 8'),
        (Block("p.md", 1, "bash", "", "icm info absent.icm\n", ""), "icm: "),
        (Block("p.md", 1, "bash", "", "ls absent | cat && false\n", ""), "p.md, line 1"),
        (Block("p.md", 1, "json", "", '{"icm": 1, "name": "x"}', ""), "codec"),
    ):
        with pytest.raises(Exception, match="") as caught:
            reader.follow([block])
        assert message in str(caught.value)


def test_every_block_says_what_it_is() -> None:
    assert {name(block): block.language for block in BLOCKS if block.language not in ("", *LANGUAGES)} == {}


def test_what_is_not_run_is_marked_with_a_reason() -> None:
    """A command that is only indented would be neither run nor marked."""
    hidden = [
        name(block)
        for block in BLOCKS
        if block.language in ("", "text") and not block.why_not
        if any(COMMAND.match(line) for line in block.text.splitlines())
    ]
    assert hidden == [], "make it ```bash, or put <!-- not run: why --> before it"
    left_out = {name(block): block.why_not for block in BLOCKS if block.why_not}
    allowed = ("GPU", "network", "data")
    assert [why for why in left_out.values() if not any(word in why for word in allowed)] == []
    print(
        f"{len(left_out)} blocks are not run:", *(f"{where}: {why}" for where, why in left_out.items()), sep=os.linesep
    )
