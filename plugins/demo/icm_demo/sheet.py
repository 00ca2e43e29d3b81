"""Contact sheets: the original and every answer that can be looked at, side by side with captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from icm_demo.collect import Answer, Demo, Sample, Step

CELL = 400
GAP = 14
TITLE, NOTE = 22, 18
PAPER, INK, MUTED = "white", (25, 28, 33), (95, 102, 112)


@dataclass(frozen=True)
class Cell:
    """A picture that fits into a column, with a title above it, and under the title lines of text."""

    picture: Image.Image
    title: str
    notes: Sequence[str]


def sheet_of_one(sample: Sample) -> Image.Image:
    """One row per quality."""
    return _sheet([_row(sample, step) for step in sample.steps])


def sheet_of_all(demo: Demo) -> Image.Image:
    """One row per photograph, at its middle quality."""
    return _sheet([_row(sample, sample.middle) for sample in demo.samples])


def caption(name: str, answer: Answer) -> str:
    """What stands over a task's picture: the bytes it needs, and its PSNR where it has one."""
    quality = f", {answer.psnr:.1f} dB" if answer.psnr is not None else ""
    return f"{name}: {answer.bytes:,} bytes, {answer.bpp:.3f} bpp{quality}"


def _row(sample: Sample, step: Step) -> list[Cell]:
    """The original, with what is said of it in words only, and the answers that have a picture."""
    size = f"{sample.picture.width}x{sample.picture.height}"
    said = [f"{name}: {text}" for name, text in step.texts.items() if name not in step.pictures]
    said += [f"{name}: skipped, trained on {learned.pictures} only" for name, learned in sample.left.items()]
    cells = [Cell(_scaled(sample.picture), f"{sample.name}, {size}, quality {step.quality:g}", said)]
    for name, picture in step.pictures.items():
        answer = step.answers[name]
        cells.append(Cell(_scaled(picture), caption(name, answer), [answer.text] if answer.text else []))
    return cells


def _sheet(rows: Sequence[Sequence[Cell]]) -> Image.Image:
    # Pictures of a row begin at one height, below the longest caption; they may end at different ones.
    captions = [TITLE + NOTE * max(len(cell.notes) for cell in row) for row in rows]
    heights = [
        above + max(_scaled(cell.picture).height for cell in row) for above, row in zip(captions, rows, strict=True)
    ]
    columns = max(map(len, rows))
    sheet = Image.new("RGB", (GAP + columns * (CELL + GAP), GAP + sum(heights) + GAP * len(rows)), PAPER)
    top = GAP
    for row, above, height in zip(rows, captions, heights, strict=True):
        for index, cell in enumerate(row):
            _draw(sheet, cell, (GAP + index * (CELL + GAP), top), above)
        top += height + GAP
    return sheet


def _draw(sheet: Image.Image, cell: Cell, place: tuple[int, int], above: int) -> None:
    draw = ImageDraw.Draw(sheet)
    font, small = ImageFont.load_default(15), ImageFont.load_default(13)
    left, top = place
    draw.text((left, top + 14), _fitting(draw, cell.title, font), INK, font, anchor="ls")
    for number, note in enumerate(cell.notes):
        draw.text((left, top + TITLE + 11 + number * NOTE), _fitting(draw, note, small, 1), MUTED, small, anchor="ls")
    sheet.paste(cell.picture, (left, top + above))


def _fitting(
    draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, begin: float = 0.5
) -> str:
    """The text, something left out where it is wider than a cell.

    Args:
        draw: of the sheet.
        text: one line.
        font: what it is written in.
        begin: share of what is kept that is its beginning.
    """
    kept = len(text)
    short = text
    while draw.textlength(short, font) > CELL and kept > 2:
        kept -= 1
        first = round(begin * kept)
        short = f"{text[:first]}...{text[len(text) - kept + first :]}"
    return short


def _scaled(picture: Image.Image) -> Image.Image:
    """The picture at a cell's width, at most twice as high; small ones are enlarged without smoothing."""
    scale = min(CELL / picture.width, 2 * CELL / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS)
