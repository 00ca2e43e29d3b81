"""One look for each system, in print and on a screen: colour, marker and line all differ."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# Okabe & Ito's colours, which people with any colour vision tell apart; yellow is left out, it vanishes on paper.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
_MARKERS = (("o", "circle"), ("s", "square"), ("^", "triangle-up"), ("D", "diamond"), ("v", "triangle-down"))
_LINES = (("-", "solid"), (":", "dot"), ("--", "dash"), ("-.", "dashdot"))


@dataclass(frozen=True)
class Style:
    """How one output of a system is drawn.

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


def styles(labels: Iterable[tuple[str, str]]) -> dict[str, Style]:
    """Looks by label: a system has its colour and marker, each of its outputs a line of its own.

    Args:
        labels: (system, label) in any order, also several times.
    """
    systems: dict[str, int] = {}
    outputs: dict[str, list[str]] = {}
    found: dict[str, Style] = {}
    for system, label in labels:
        number = systems.setdefault(system, len(systems))
        own = outputs.setdefault(system, [])
        if label in found:
            continue
        own.append(label)
        marker, symbol = _MARKERS[number % len(_MARKERS)]
        line, dash = _LINES[(len(own) - 1) % len(_LINES)]
        found[label] = Style(_COLOURS[number % len(_COLOURS)], marker, line, symbol, dash)
    return found
