"""Which curves a figure of the paper shows, and whether they are the comparison that it makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from icm_core.errors import InputError
from icm_evaluation.agreement import same_system
from icm_evaluation.common import by_pictures
from icm_evaluation.curves import Curve, curves_of
from icm_evaluation.kinds import Kinds
from icm_evaluation.papers import Curves, Shared, Wanted
from icm_evaluation.results import Result, describe_data

STEADY = 0.05
"""Base layers whose rates lie within this share of each other have one rate."""

Groups = dict[str, list[Curve]]

Sizes = Mapping[tuple[int, int], str]


def groups_of(name: str, wanted: Curves, results: Sequence[Result], sizes: Sizes, kinds: Kinds | None = None) -> Groups:
    """The curves of a figure by what they were measured on, each group a figure of its own.

    Args:
        name: the figure's.
        wanted: what it shows.
        results: what there is.
        kinds: where the kinds of answers are looked up; figures of fewer pictures are made by them.
        sizes: the figure of this kind that the paper shows for each of its picture sizes, (height, width).

    Raises:
        InputError: there are none, or they differ in something else than the figure is about, or not in that.
    """
    of = wanted.of
    shared = [result for some in by_pictures(results, kinds).values() for result in some]
    curves = [curve for result in shared for curve in curves_of(result) if _shown(curve, of)]
    if not curves:
        raise InputError(f"{name} needs {wanted.needs}; {_there(results)}")
    groups: Groups = {}
    for curve in _of_size(name, wanted, curves, sizes):
        groups.setdefault(_pictures(curve), []).append(curve)
    steady = {key: _steady(some) for key, some in groups.items()} if of.differ == "side rate" else groups
    enough = {key: some for key, some in steady.items() if len(some) >= of.lines}
    for some in enough.values():
        _check(name, of, some)
    if enough:
        return _described(enough.values())
    raise InputError(_too_few(name, wanted, groups))


def _described(groups: Iterable[list[Curve]]) -> Groups:
    """Groups by their data in words; other pictures in the same words are told apart."""
    found: Groups = {}
    for some in groups:
        about = describe_data(some[0].result, classes=True)
        while about in found:
            about += ", others"
        found[about] = some
    return found


def side_rate(curve: Curve) -> tuple[float, float]:
    """Lowest and highest rate of the base layer over the points of a curve, in bits per pixel."""
    rates = [point.base_bpp for point in curve.result.points if point.setting in curve.settings]
    return min(rates), max(rates)


def adapter_of(curve: Curve) -> str:
    """Registered name of the curve's adapter."""
    return curve.result.tasks[curve.task].adapter


def _shown(curve: Curve, of: Wanted) -> bool:
    task = curve.result.tasks[curve.task]
    return (
        curve.result.data.kind == of.data
        and curve.metric == of.metric
        and (not of.adapters or task.adapter in of.adapters)
        and (not of.whole or task.whole)
    )


def _pictures(curve: Curve) -> str:
    """What a curve was measured on, picture by picture: data sets of one name may lie in several folders."""
    rows = [(row.key, row.width, row.height) for row in curve.result.pictures]
    return f"{curve.result.data.name} {curve.result.data.split} {rows}"


def _of_size(name: str, wanted: Curves, curves: Sequence[Curve], sizes: Sizes) -> list[Curve]:
    """Those at the paper's size; else those at sizes that no figure of the paper is about, which stand in its place."""
    if wanted.size is None:
        return list(curves)
    exact = [curve for curve in curves if _size_of(curve.result) == wanted.size]
    if exact:
        return exact
    others = [curve for curve in curves if _size_of(curve.result) not in sizes]
    if not others:
        found = _size_of(curves[0].result)
        assert found is not None
        raise InputError(
            f"{name} shows pictures of {_text(wanted.size)}, and {curves[0].result.system!r} was measured on "
            f"{_text(found)}, which {sizes[found]} shows"
        )
    return others


def _size_of(result: Result) -> tuple[int, int] | None:
    """Height and width of all pictures; None where they are of several sizes."""
    if len(result.data.sizes) != 1:
        return None
    width, height = map(int, next(iter(result.data.sizes)).split("x"))
    return height, width


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _steady(curves: Sequence[Curve]) -> list[Curve]:
    """Those whose base layer has one rate at all points."""
    return [curve for curve in curves if _spread(*side_rate(curve)) <= STEADY]


def _spread(low: float, high: float) -> float:
    return (high - low) / low


def check_different(name: str, one: Result, other: Result) -> None:
    """Raise `InputError` if two results are of one pipeline that has two names."""
    if one is not other and same_system(one, other):
        raise InputError(
            f"{name} compares systems, and {one.system!r} and {other.system!r} are one system under two names; give "
            "one of the two results"
        )


def _check(name: str, of: Wanted, curves: Sequence[Curve]) -> None:
    """Raise `InputError` unless they differ in what they should, and share what they should."""
    for index, curve in enumerate(curves):
        for other in curves[:index]:
            if of.differ == "system" and curve.label == other.label:
                raise InputError(
                    f"{name} compares systems, and two results on {describe_data(curve.result)} are of "
                    f"{curve.result.system!r}"
                )
            if of.differ == "system":
                check_different(name, other.result, curve.result)
            if of.differ == "adapter" and adapter_of(curve) == adapter_of(other):
                raise InputError(
                    f"{name} compares adapters, and both {other.label!r} and {curve.label!r} have {adapter_of(curve)}"
                )
            rates = sorted((side_rate(curve)[0], side_rate(other)[0]))
            if of.differ == "side rate" and _spread(*rates) <= STEADY:
                raise InputError(
                    f"{name} compares side rates, and the base layers of both {other.label!r} and {curve.label!r} have "
                    f"{rates[0]:.3g} bpp"
                )
    for what in of.share:
        if what in _VALUES:
            _check_same(name, of, what, curves)


_VALUES: Mapping[Shared, Callable[[Curve], str]] = {
    "codec": lambda curve: curve.result.codec,
    "search": lambda curve: f"of {curve.result.effort} steps",
    "head": lambda curve: curve.result.tasks[curve.task].head,
}


def _check_same(name: str, of: Wanted, what: Shared, curves: Sequence[Curve]) -> None:
    first, value = curves[0], _VALUES[what]
    for curve in curves[1:]:
        if value(curve) != value(first):
            raise InputError(
                f"{name} compares {of.differ}s alone, and the {what} of {first.label!r} is {value(first)}, that of "
                f"{curve.label!r} {value(curve)}"
            )


def _too_few(name: str, wanted: Curves, groups: Groups) -> str:
    """Why no group has enough lines."""
    of = wanted.of
    if of.differ == "side rate":
        for some in groups.values():
            for curve in some:
                low, high = side_rate(curve)
                if _spread(low, high) > STEADY:
                    return (
                        f"{name} compares side rates that stay, and the base layer of {curve.label!r} has {low:.3g} to "
                        f"{high:.3g} bpp; measure it with -q Q --enhancement-quality 1,2,3,4 for two or more Q"
                    )
    curves = [curve for some in groups.values() for curve in some]
    if len(curves) >= of.lines and len(groups) > 1:
        one, other = curves[0], next(curve for curve in curves if _pictures(curve) != _pictures(curves[0]))
        same = one.result.data.name == other.result.data.name and one.result.data.split == other.result.data.split
        what = "picture size" if same and one.result.data.sizes != other.result.data.sizes else "data set"
        return (
            f"{name} compares {of.differ}s on one {what}: {one.label!r} was measured on {describe_data(one.result)}, "
            f"{other.label!r} on {describe_data(other.result)}"
        )
    found = ", ".join(f"{curve.label!r}{_detail(of, curve)}" for curve in curves)
    return f"{name} needs {wanted.needs}; there is {found} alone"


def _detail(of: Wanted, curve: Curve) -> str:
    if of.differ == "adapter":
        return f" with {adapter_of(curve)}"
    return f" with {side_rate(curve)[0]:.3g} bpp" if of.differ == "side rate" else ""


def _there(results: Sequence[Result]) -> str:
    """What there is, where nothing of it can be shown."""
    if not results:
        return "there are no results"
    about = dict.fromkeys(f"{result.system!r} on {describe_data(result)}" for result in results)
    return f"there is {', '.join(list(about)[:4])}{' and more' if len(about) > 4 else ''}"
