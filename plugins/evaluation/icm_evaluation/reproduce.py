"""The paper's figures from results that were measured here, beside the paper's own points."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from PIL import Image

from icm_core.errors import InputError
from icm_core.files import make_folder, write_atomically
from icm_core.inspection.cost import account
from icm_core.inspection.flops import Cost
from icm_core.interfaces import DataSet
from icm_core.pipeline.load import find_spec
from icm_core.pipeline.pipeline import Pipeline
from icm_core.plugins.registry import Registry
from icm_core.spec.extends import read_spec
from icm_evaluation.agreement import same_pipeline
from icm_evaluation.chosen import Sizes, adapter_of, groups_of, side_rate
from icm_evaluation.curves import Curve
from icm_evaluation.figure_info import CLEAN
from icm_evaluation.gallery import Shot, shoot
from icm_evaluation.kinds import Kinds
from icm_evaluation.options import spread
from icm_evaluation.papers import AccountOf, AnyFigure, Clean, Curves, Pictures, Tradeoff
from icm_evaluation.plots import Line, Mark, Panel, clean_levels, figure, line_of, pictures_figure, write_plot
from icm_evaluation.results import Result, describe_data
from icm_evaluation.tables import table
from icm_evaluation.tradeoff import page, panels_of_tasks, tradeoffs

_SPREAD = 4
"""Figures with pictures choose among so many, spread evenly over the data set."""

_LETTERS = {"codec": "a", "adapter": "b", "picture": "c", "enhancement": "d"}
"""What the paper calls the costs of components, Sec. 6.2."""


@dataclass(frozen=True)
class Material:
    """What figures are made from.

    Attributes:
        results: what was measured, on any data.
        registry: what is installed.
        source: where the paper's points are from.
        models: names of pipelines, for costs.
        pipes: loaded pipelines and
        data: a data set, for pictures; none and None if there are none.
        data_name: what the data set is called.
        sizes: by metric: the figure that the paper shows for each of its picture sizes.
    """

    results: Sequence[Result]
    registry: Registry
    source: str
    models: Sequence[str] = ()
    pipes: Sequence[Pipeline] = ()
    data: DataSet | None = None
    data_name: str = ""
    sizes: Mapping[str, Sizes] = field(default_factory=dict)


def draw(name: str, wanted: AnyFigure, material: Material, folder: Path) -> list[Path]:
    """Make one figure and return the written files.

    Raises:
        InputError: what it needs is not there; the message says what that is.
    """
    make_folder(folder)
    if isinstance(wanted, Curves):
        return _curves(name, wanted, material, folder)
    if isinstance(wanted, Pictures):
        return _pictures(name, wanted, material, folder)
    if isinstance(wanted, Tradeoff):
        return _tradeoff(name, wanted, material, folder)
    text = _clean(name, wanted, material) if isinstance(wanted, Clean) else _account(wanted, material)
    return [_page(name, wanted, text, material, folder)]


def _curves(name: str, wanted: Curves, material: Material, folder: Path) -> list[Path]:
    groups = groups_of(
        name, wanted, material.results, material.sizes.get(wanted.of.metric, {}), Kinds(material.registry)
    )
    marks = [Mark(point.label, point.bpp, point.value, point.relation) for point in wanted.points]
    written = []
    for number, (data, curves) in enumerate(groups.items()):
        axis = curves[0].about.axis
        panel = Panel(axis, [_line(curve, wanted) for curve in curves], marks, clean_levels(curves))
        if wanted.of.whole:
            panel = replace(panel, levels=())
        title = f"{wanted.title}: {_instead(data, wanted.paper_data)}"
        drawn = figure([panel], title, f"{_marked(wanted)}{_absent(wanted, curves)}{_note(wanted, material)}")
        written += _write(folder / f"{name}{f'-{number + 1}' if number else ''}", drawn)
    return written


def _write(stem: Path, drawn: Any) -> list[Path]:
    paths = [stem.with_name(f"{stem.name}{suffix}") for suffix in (".png", ".svg")]
    for path in paths:
        write_plot(path, drawn)
    return paths


def _marked(wanted: Curves) -> str:
    """What the marks are, and which of them the text gives as a share of another."""
    if not wanted.points:
        return ""
    derived = [
        f"{point.label.removeprefix('paper: ')} {point.bpp:g} bpp, {point.derived}"
        for point in wanted.points
        if point.derived
    ]
    shares = f"Of shares in the text: {'; '.join(derived)}. " if derived else ""
    return f"Hollow marks: the paper's own points, on its own data. {shares}"


def _absent(wanted: Curves, curves: Sequence[Curve]) -> str:
    """Which of the adapters there is no curve of."""
    absent = [adapter for adapter in wanted.of.adapters if adapter not in map(adapter_of, curves)]
    return f"Not measured here: {', '.join(absent)}. " if absent else ""


def _line(curve: Curve, wanted: Curves) -> Line:
    line = line_of(curve)
    if wanted.of.differ == "adapter":
        return replace(line, label=f"{curve.label} ({adapter_of(curve)})", system=curve.label)
    if wanted.of.differ == "side rate":
        return replace(line, label=f"{curve.label}, base {side_rate(curve)[0]:.3g} bpp")
    return line


def _tradeoff(name: str, wanted: Tradeoff, material: Material, folder: Path) -> list[Path]:
    found = tradeoffs(name, wanted, material.results)
    curves = [curve for one in found for curve in one.curves.values()]
    data = " and ".join(dict.fromkeys(describe_data(curve.result, classes=True) for curve in curves))
    title = f"{wanted.title}: {_instead(data, wanted.paper_data)}"
    drawn = figure(panels_of_tasks(wanted, found), title, _note(wanted, material))
    return [*_write(folder / name, drawn), _page(name, wanted, page(wanted, found), material, folder)]


def _page(name: str, wanted: AnyFigure, text: str, material: Material, folder: Path) -> Path:
    path = folder / f"{name}.md"
    said = "".join(f"\n\n{sentence}" for sentence in wanted.contradictions)
    write_atomically(path, f"# {wanted.title}\n\n{text}{said}\n\nPaper: {material.source}.\n".encode())
    return path


def _pictures(name: str, wanted: Pictures, material: Material, folder: Path) -> list[Path]:
    if material.data is None or not material.pipes:
        raise InputError(f"{name} needs {wanted.needs}")
    _check_pipes(name, material.pipes)
    numbers = spread(len(material.data), _SPREAD)
    number = numbers[wanted.picture % len(numbers)]
    kinds = Kinds(material.registry)
    base_only = not kinds.get(wanted.tasks).is_picture
    shot = shoot(material.pipes, material.data, number, wanted.limits, kinds=kinds, base_only=base_only)
    kept = [_only(shot, step_number, wanted) for step_number in range(len(shot.steps))]
    first: list[tuple[str, Image.Image | None]] = [("original", shot.original)]
    if wanted.tasks == "segmentation" and shot.truth is not None:
        first.append(("annotation", shot.truth))
    rows = [[*first, *cells] for cells in kept]
    data = f"{material.data_name}, {shot.key}, {shot.original.width}x{shot.original.height}"
    title = f"{wanted.title}: {_instead(data, wanted.paper_data)}"
    path = folder / f"{name}.png"
    write_plot(path, pictures_figure(rows, title, _note(wanted, material)))
    return [path]


def _check_pipes(name: str, pipes: Sequence[Pipeline]) -> None:
    """Raise `InputError` if one pipeline has two names, or two have one."""
    for one, other in combinations(pipes, 2):
        if one.name == other.name:
            raise InputError(
                f"{name} compares systems, and two of them are called {one.name!r}; rename one of the specs"
            )
        if same_pipeline(one, other):
            raise InputError(
                f"{name} compares systems, and {one.name!r} and {other.name!r} are one system under two names; give "
                "one of the two"
            )


def _only(shot: Shot, number: int, wanted: Pictures) -> list[tuple[str, Image.Image | None]]:
    """Titles and pictures of the outputs of one kind; None for a system that cannot be so small."""
    step = shot.steps[number]
    return [
        (f"{cell.title}\n{step.title}: {cell.caption}", cell.picture)
        for cell in step.cells
        if not cell.kind or cell.kind == wanted.tasks
    ]


def _clean(name: str, wanted: Clean, material: Material) -> str:
    found = {head: dict(_cleans(head, material.results)) for head in wanted.heads}
    measured = {head: own for head, own in found.items() if own}
    if not measured:
        raise InputError(f"{name} needs {wanted.needs}")
    about = [describe_data(result, classes=True) for result in material.results]
    shared = set.intersection(*({about[number] for number in own} for own in measured.values()))
    if not shared:
        (one, mine), (other, others) = list(measured.items())[:2]
        raise InputError(
            f"{name} compares heads on one data set: {one} was measured on {about[min(mine)]}, {other} on "
            f"{about[min(others)]}"
        )
    rows = [
        (head, f"{wanted.heads[head]:.2f} %", f"{value:.2f} %", material.results[number].system, about[number])
        for head, own in measured.items()
        for number, value in own.items()
        if about[number] in shared
    ]
    missing = [head for head in wanted.heads if head not in measured]
    text = table(["head", f"paper, {wanted.paper_data}", "here", "system", "data here"], rows)
    return text + "".join(f"\n\nNot measured here: {head}." for head in missing)


def _cleans(head: str, results: Sequence[Result]) -> Iterator[tuple[int, float]]:
    """Number of each result that has a head, and what it says of clean pictures."""
    for number, result in enumerate(results):
        for task, info in result.tasks.items():
            clean = result.points[0].tasks[task].get(CLEAN)
            if info.head == head and info.kind == "segmentation" and clean is not None:
                yield number, clean


def _account(wanted: AccountOf, material: Material) -> str:
    height, width = wanted.size
    parts = []
    for model in material.models or wanted.models:
        spec = read_spec(find_spec(model, material.registry))
        sharing = account(spec, material.registry, height=height, width=width).sharing
        costs: list[tuple[str, Cost]] = [
            ("a, codec", sharing.codec),
            ("b, adapter (mean)", sharing.adapter),
            ("c, coarse reconstruction", sharing.picture),
            ("d, enhancement", sharing.enhancement),
            (f"shared: {_in_letters(sharing.shared_formula)}", sharing.shared),
            (f"separate: {_in_letters(sharing.separate_formula)}", sharing.separate),
        ]
        if not sharing.separate.parameters:
            parts.append(f"{spec.name} has no networks but the heads, so it has nothing to share.")
            continue
        rows = [(label, f"{cost.parameters:,}", f"{cost.kmac_per_pixel:,.2f}") for label, cost in costs]
        saved = 1 - sharing.shared.parameters / sharing.separate.parameters
        faster = 1 - sharing.shared.kmac_per_pixel / sharing.separate.kmac_per_pixel
        parts.append(
            f"{spec.name}, pictures of {width}x{height}\n\n"
            f"{table(['modules', 'parameters', 'kMAC per pixel'], rows)}\n\n"
            f"Sharing saves {saved:.1%} of the parameters and {faster:.1%} of the operations."
        )
    return "\n\n".join([*parts, f"In the paper: {wanted.claims}"])


def _in_letters(formula: str) -> str:
    """A formula of components in the paper's letters.

    >>> _in_letters("codec + 3 adapter + picture + enhancement")
    'a + 3b + c + d'
    """
    return re.sub(rf"(?:(\d+) )?({'|'.join(_LETTERS)})", lambda found: (found[1] or "") + _LETTERS[found[2]], formula)


def _instead(data: str, paper_data: str) -> str:
    """What was measured on, and in whose place it stands."""
    return f"{data}, in place of the paper's {paper_data}"


def _note(wanted: AnyFigure, material: Material) -> str:
    against = f"Within the paper: {' '.join(wanted.contradictions)}" if wanted.contradictions else ""
    return " ".join(filter(None, [wanted.claims, against, f"{material.source}."]))


def overview(figures: Mapping[str, AnyFigure]) -> list[tuple[str, str, str]]:
    """Name, title and needs of each."""
    return [(name, figure.title, figure.needs) for name, figure in figures.items()]
