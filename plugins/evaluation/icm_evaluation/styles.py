"""One look for each system, in print and on a screen: colour, marker and line all differ."""

from __future__ import annotations

from dataclasses import dataclass

# Okabe & Ito's colours, which people with any colour vision tell apart; yellow is left out, it vanishes on paper.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
_MARKERS = (("o", "circle"), ("s", "square"), ("^", "triangle-up"), ("D", "diamond"), ("v", "triangle-down"))
_LINES = (("-", "solid"), ("--", "dash"), ("-.", "dashdot"), (":", "dot"))


@dataclass(frozen=True)
class Style:
    """How one system is drawn.

    Attributes:
        colour: ``#rrggbb``.
        marker, line: for matplotlib.
        symbol, dash: the same for plotly.
    """

    colour: str
    marker: str
    line: str
    symbol: str
    dash: str


def style(number: int) -> Style:
    """The look of the n-th system, from 0; 140 of them differ."""
    marker, symbol = _MARKERS[number % len(_MARKERS)]
    line, dash = _LINES[number % len(_LINES)]
    return Style(_COLOURS[number % len(_COLOURS)], marker, line, symbol, dash)
