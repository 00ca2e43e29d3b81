"""One self-contained HTML page: curves to hover over, tables, and pictures at equal bytes with a slider."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image

from icm_evaluation.common import by_pictures
from icm_evaluation.compare import Comparison, sentence
from icm_evaluation.extras import need
from icm_evaluation.figure_info import FigureInfo
from icm_evaluation.gallery import Shot
from icm_evaluation.kinds import Kinds
from icm_evaluation.plots import RATE_AXIS, Panel, looks_of, panels_of
from icm_evaluation.results import Result
from icm_evaluation.styles import Style

MAX_SIDE = 1200
"""Larger pictures are shown at this size, and the page says so."""

WEBP_QUALITY = 92


def report(
    results: Sequence[Result],
    comparisons: Sequence[Comparison] = (),
    shots: Sequence[Shot] = (),
    *,
    kinds: Kinds | None = None,
) -> str:
    """The page's HTML.

    Args:
        results: systems; those of one data set share their plots and tables, over the pictures that all of them have.
        comparisons: what ``compare`` says about them.
        shots: pictures to show.
        kinds: where the kinds of answers are looked up.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["inline"] = _inline
    template = environment.from_string(files("icm_evaluation").joinpath("report.html").read_text("utf-8"))
    groups = by_pictures(results, kinds)
    panels = [panels_of(some) for some in groups.values()]
    looks = looks_of([panel for some in panels for panel in some])
    plots = [[_plot(panel, looks) for panel in some] for some in panels]
    return template.render(
        groups=list(groups.items()),
        plots=plots,
        data=Markup(_script_json([plot for some in plots for plot in some])),
        plotly=Markup(need("plotly.offline").get_plotlyjs()),
        columns=columns_of,
        comparisons=comparisons,
        sentences=[sentence(one, level) for one in comparisons for level in one.at],
        shots=shots,
        max_side=MAX_SIDE,
        shrunk=any(max(shot.original.size) > MAX_SIDE for shot in shots),
        webp_quality=WEBP_QUALITY,
    )


def columns_of(result: Result) -> list[tuple[str, str, FigureInfo]]:
    """Output and figure of each column of a result's table, and what the figure is."""
    return [(task, name, result.tasks[task].figure(name)) for task, name in result.columns]


def _plot(panel: Panel, looks: Mapping[str, Style]) -> dict[str, Any]:
    """Data and layout of a plot, as plotly's JavaScript takes them."""
    traces = []
    for line in panel.lines:
        look = looks[line.label]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": line.label,
                "x": list(line.rates),
                "y": list(line.values),
                "line": {"color": look.colour, "dash": look.dash, "width": 2},
                "marker": {"symbol": look.symbol, "size": 9},
                "hovertemplate": "%{x:.4f} bpp: %{y:.4g}<extra>%{fullData.name}</extra>",
            }
        )
    across = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "line": {"color": "#888", "dash": "dot"}}
    shapes = [{**across, "y0": value, "y1": value} for _, value in panel.levels]
    beside = {"xref": "paper", "x": 1, "xanchor": "right", "yanchor": "bottom", "showarrow": False}
    notes = [{**beside, "text": label, "y": value} for label, value in panel.levels]
    layout = {
        "xaxis": {"title": {"text": RATE_AXIS}, "type": "log", "dtick": "D2", "gridcolor": "#ddd"},
        "yaxis": {"title": {"text": panel.axis}, "gridcolor": "#ddd"},
        "legend": {"orientation": "h", "y": -0.25},
        "margin": {"l": 60, "r": 15, "t": 40, "b": 50},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "shapes": shapes,
        "annotations": notes,
    }
    return {"data": traces, "layout": layout, "title": panel.axis}


def _script_json(value: object) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def _inline(picture: Image.Image) -> str:
    """The picture as a data URL."""
    shown = picture.copy()
    shown.thumbnail((MAX_SIDE, MAX_SIDE))
    buffer = io.BytesIO()
    shown.save(buffer, "WEBP", quality=WEBP_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
