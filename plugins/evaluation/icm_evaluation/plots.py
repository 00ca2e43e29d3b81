"""Curves on paper: rate to the right, one panel for each figure, one style for each system."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from icm_core.errors import InputError
from icm_core.files import write_atomically
from icm_evaluation.curves import Curve, Key, curves_of, same_head
from icm_evaluation.extras import need
from icm_evaluation.results import Result, describe_data
from icm_evaluation.styles import Style, styles

SUFFIXES = (".png", ".svg")
_WIDTH, _HEIGHT = 5.6, 4.2  # inches, a panel
_CROWDED, _BESIDE = 6, 2.4  # entries of a legend beyond which it stands beside its panel; inches for it there
_LEGEND = 36  # characters a line
_PICTURE = 3.4  # inches, a picture's width


@dataclass(frozen=True)
class Mark:
    """A single point that somebody else has published.

    Attributes:
        label: whose it is.
        rate: bits per pixel.
        value: in the unit of its panel.
        relation: ``"="``, ``"~"`` (about) or ``">"`` (more than), as the source says it.
    """

    label: str
    rate: float
    value: float
    relation: str = "="


@dataclass(frozen=True)
class Line:
    """One curve as it is drawn; a system has its own colour and marker, each of its labels its own line."""

    system: str
    label: str
    rates: Sequence[float]
    values: Sequence[float]


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        axis: name of the vertical axis, such as ``"PSNR in dB"``.
        lines: measured here.
        marks: published elsewhere.
        levels: horizontal lines, such as the figure on clean pictures, with their names.
    """

    axis: str
    lines: Sequence[Line]
    marks: Sequence[Mark] = ()
    levels: Sequence[tuple[str, float]] = field(default=())


RATE_AXIS = "bits per pixel of the files that are needed"


def panels_of(results: Sequence[Result]) -> list[Panel]:
    """A panel for each figure that one of the results has."""
    groups: dict[Key, list[Curve]] = {}
    for result in results:
        for curve in curves_of(result):
            groups.setdefault(curve.key, []).append(curve)
    return [
        Panel(some[0].about.axis, [line_of(curve) for curve in some], levels=clean_levels(some))
        for some in groups.values()
    ]


def line_of(curve: Curve) -> Line:
    """A curve as it is drawn."""
    return Line(curve.result.system, curve.label, curve.points.rates.tolist(), curve.points.values.tolist())


def clean_levels(curves: Sequence[Curve]) -> list[tuple[str, float]]:
    """The figures of the heads on clean pictures; those of the same head once."""
    levels: dict[float, list[str]] = {}
    for curve in curves:
        if curve.clean is not None:
            known = [level for level in levels if same_head(level, curve.clean, curve.about)]
            levels.setdefault(known[0] if known else curve.clean, []).append(curve.label)
    if len(levels) == 1:
        return [("clean pictures", next(iter(levels)))]
    return [(f"clean pictures, head of {', '.join(labels)}", value) for value, labels in levels.items()]


def curves_plot(results: Sequence[Result]) -> Any:
    """All curves of results of one data set."""
    titles = dict.fromkeys(describe_data(result) for result in results)
    return figure(panels_of(results), "; ".join(titles))


def figure(panels: Sequence[Panel], title: str, note: str = "") -> Any:
    """A matplotlib figure.

    Args:
        panels: at most 2 stand side by side.
        title: over all of them.
        note: under all of them, for example where the marks are from.
    """
    if not panels:
        raise InputError("there is nothing to draw: no result has a figure")
    need("matplotlib").use("Agg")
    plt = need("matplotlib.figure")
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    crowded = any(len(panel.lines) + len(panel.marks) + len(panel.levels) > _CROWDED for panel in panels)
    width = _WIDTH + (_BESIDE if crowded else 0)
    drawn = plt.Figure(figsize=(width * columns, _HEIGHT * rows + 0.5), layout="constrained")
    axes = drawn.subplots(rows, columns, squeeze=False).flatten()
    looks = looks_of(panels)
    for panel, ax in zip(panels, axes, strict=False):
        _draw(ax, panel, looks)
    for ax in axes[len(panels) :]:
        ax.remove()
    drawn.suptitle("\n".join(textwrap.wrap(title, 62 * columns)), fontsize=11)
    if note:
        drawn.supxlabel("\n".join(textwrap.wrap(note, 85 * columns)), fontsize=7.5, color="#444444")
    return drawn


def pictures_figure(rows: Sequence[Sequence[tuple[str, Image.Image | None]]], title: str, note: str) -> Any:
    """Pictures side by side, each with its title; an empty frame where there is none."""
    need("matplotlib").use("Agg")
    columns = max(map(len, rows))
    some = next(picture for row in rows for _, picture in row if picture is not None)
    height = _PICTURE * some.height / some.width + 0.7
    drawn = need("matplotlib.figure").Figure(
        figsize=(_PICTURE * columns, height * len(rows) + 0.8), layout="constrained"
    )
    axes = drawn.subplots(len(rows), columns, squeeze=False)
    for row, places in zip(rows, axes, strict=True):
        for ax in places:
            ax.set_axis_off()
        for (text, picture), ax in zip(row, places, strict=False):
            ax.set_title("\n".join(part for line in text.split("\n") for part in textwrap.wrap(line, 46)), fontsize=8)
            if picture is not None:
                ax.imshow(picture, interpolation="none")
    drawn.suptitle("\n".join(textwrap.wrap(title, 40 * columns)), fontsize=11)
    drawn.supxlabel("\n".join(textwrap.wrap(note, 55 * columns)), fontsize=7.5, color="#444444")
    return drawn


def looks_of(panels: Sequence[Panel]) -> dict[str, Style]:
    """The look of every label in some panels."""
    lines = [(line.system, line.label) for panel in panels for line in panel.lines]
    return styles([*lines, *((mark.label, mark.label) for panel in panels for mark in panel.marks)])


def plot_bytes(drawn: Any, suffix: str) -> bytes:
    """A figure as the content of a .png or .svg file; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    if suffix == ".svg":
        with need("matplotlib").rc_context({"svg.hashsalt": "icm"}):
            drawn.savefig(buffer, format="svg", metadata={"Date": None})
    else:
        drawn.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()


def write_plot(path: Path, drawn: Any) -> None:
    """Write a figure; `InputError` unless the file is called .png or .svg."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path} is no plot's name; it should end in {' or '.join(SUFFIXES)}")
    write_atomically(path, plot_bytes(drawn, path.suffix.lower()))


def _log(ax: Any) -> None:
    """Rates on a logarithmic axis, on which an equal share of bits is an equal length, with plain numbers on it."""
    ticker = need("matplotlib.ticker")
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(ticker.NullFormatter())


def _draw(ax: Any, panel: Panel, looks: Mapping[str, Style]) -> None:
    for line in panel.lines:
        look = looks[line.label]
        ax.plot(
            line.rates, line.values, look.line, color=look.colour, marker=look.marker, markersize=5, label=line.label
        )
    for mark in panel.marks:
        look = looks[mark.label]
        ax.plot(
            [mark.rate], [mark.value], linestyle="none", color=look.colour, marker=look.marker, markersize=9,
            markerfacecolor="none", markeredgewidth=1.8, label=mark.label,
        )  # fmt: skip
        sign = {"=": "", "~": "about ", ">": "more than "}[mark.relation]
        ax.annotate(
            f"{sign}{mark.value:g}", (mark.rate, mark.value), textcoords="offset points", xytext=(7, 5), fontsize=7
        )
    for index, (label, value) in enumerate(panel.levels):
        ax.axhline(value, color="#777777", linewidth=1, linestyle=(0, (1 + 3 * index, 2)), label=label, zorder=0)
    ax.set_xlabel(RATE_AXIS)
    ax.set_ylabel(panel.axis)
    _log(ax)
    ax.grid(color="#dddddd", linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    handles, labels = ax.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    texts = ["\n".join(textwrap.wrap(label, _LEGEND, break_on_hyphens=False)) for label in once]
    beside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if len(once) > _CROWDED else {}
    ax.legend(once.values(), texts, fontsize=8, frameon=False, **beside)
