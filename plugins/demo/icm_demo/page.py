"""One self-contained HTML page: every picture inlined, no script, nothing fetched from elsewhere."""

from __future__ import annotations

import base64
import io
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from PIL import Image

from icm_demo.collect import Demo
from icm_demo.sheet import caption

MAX_SIDE = 1600
"""Larger pictures are shown at this size, and the page says so."""

WEBP_QUALITY = 92


def page(demo: Demo) -> str:
    """The page's HTML."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["inline"] = _inline
    template = environment.from_string(files(__package__ or "icm_demo").joinpath("page.html").read_text("utf-8"))
    return template.render(
        demo=demo,
        caption=caption,
        most_steps=max((len(sample.steps) for sample in demo.samples), default=0),
        webp_quality=WEBP_QUALITY,
        max_side=MAX_SIDE,
        shrunk=any(max(sample.picture.size) > MAX_SIDE for sample in demo.samples),
    )


def _inline(picture: Image.Image) -> str:
    """The picture as a data URL."""
    shown = picture.copy()
    shown.thumbnail((MAX_SIDE, MAX_SIDE))
    buffer = io.BytesIO()
    shown.save(buffer, "WEBP", quality=WEBP_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
