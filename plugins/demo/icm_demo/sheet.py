"""Contact sheets: original, label map, coarse and fine picture side by side with captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from icm_core.kinds.painting import Swatch
from icm_core.spec.model import FINE
from icm_demo.collect import Demo, Sample, Step

CELL = 400
GAP = 12
CAPTION = 24
LEGEND = 22
PAPER, INK, MUTED = "white", (25, 28, 33), (95, 102, 112)


@dataclass(frozen=True)
class Cell:
    """A picture with a caption above and the colours of its classes below."""

    picture: Image.Image
    caption: str
    legend: Sequence[Swatch] = ()


def sheet_of_one(sample: Sample) -> Image.Image:
    """One row per quality."""
    return _sheet([_row(sample, step) for step in sample.steps])


def sheet_of_all(demo: Demo) -> Image.Image:
    """One row per photograph, at its middle quality."""
    return _sheet([_row(sample, sample.middle) for sample in demo.samples])


def caption(step: Step, name: str) -> str:
    """What stands over a task's picture: the bytes it needs, and its PSNR where it has one."""
    size, bpp = (step.bytes, step.bpp) if name == FINE else (step.base_bytes, step.base_bpp)
    quality = f", {step.psnr[name]:.1f} dB" if name in step.psnr else ""
    return f"{name}: {size:,} bytes, {bpp:.3f} bpp{quality}"


def _row(sample: Sample, step: Step) -> list[Cell]:
    size = f"{sample.picture.width}x{sample.picture.height}"
    first = Cell(sample.picture, f"{sample.name}, {size}, quality {step.quality:g}")
    shown = step.pictures.items()
    return [first, *(Cell(picture, caption(step, name), step.labels.get(name, ())) for name, picture in shown)]


def _sheet(rows: Sequence[Sequence[Cell]]) -> Image.Image:
    heights = [max(_scaled(cell.picture).height for cell in row) + CAPTION + LEGEND for row in rows]
    columns = max(map(len, rows))
    sheet = Image.new("RGB", (GAP + columns * (CELL + GAP), GAP + sum(heights) + GAP * (len(rows) - 1)), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = GAP
    for row, height in zip(rows, heights, strict=True):
        for index, cell in enumerate(row):
            _draw(sheet, draw, cell, GAP + index * (CELL + GAP), top)
        top += height + GAP
    return sheet


def _draw(sheet: Image.Image, draw: ImageDraw.ImageDraw, cell: Cell, left: int, top: int) -> None:
    font, small = ImageFont.load_default(15), ImageFont.load_default(13)
    draw.text((left, top + CAPTION - 6), _fitting(draw, cell.caption, font), INK, font, anchor="ls")
    picture = _scaled(cell.picture)
    sheet.paste(picture, (left, top + CAPTION))
    below = top + CAPTION + picture.height + 5
    at = float(left)
    for swatch in cell.legend:
        text = f"{swatch.label} {swatch.share:.0%}"
        width = 17 + draw.textlength(text, small)
        if at + width > left + CELL or swatch.share < 0.01:
            break
        draw.rectangle((at, below + 1, at + 12, below + 13), swatch.colour)
        draw.text((at + 17, below + 12), text, MUTED, small, anchor="ls")
        at += width + 12


def _fitting(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The text, its middle left out where it is wider than a cell."""
    kept = len(text)
    short = text
    while draw.textlength(short, font) > CELL and kept > 2:
        kept -= 1
        short = f"{text[: kept // 2]}...{text[len(text) - kept // 2 :]}"
    return short


def _scaled(picture: Image.Image) -> Image.Image:
    """The picture at a cell's width, at most twice as high; small ones are enlarged without smoothing."""
    scale = min(CELL / picture.width, 2 * CELL / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS)
