"""``icm compare``: systems against one of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from icm_core.cli.console import print_json, print_table
from icm_core.cli.options import AsJson
from icm_core.errors import InputError
from icm_evaluation.cli.options import Draws

if TYPE_CHECKING:
    from icm_evaluation.compare import Comparison

NAME = "compare"
EXAMPLE = "Example: icm compare jpeg.json sicmh-small.json --at miou=50 --plot curves.svg"


def run(
    results: Annotated[list[Path], typer.Argument(metavar="RESULT.json...", help="What `icm evaluate` wrote.")],
    anchor: Annotated[
        str | None, typer.Option("--anchor", metavar="SYSTEM", help="Compare with this one; by default the first.")
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option("--at", metavar="FIGURE=VALUE", help="Compare bits at this quality, for example miou=50."),
    ] = None,
    method: Annotated[Literal["pchip", "akima"], typer.Option("--method", help="Interpolation.")] = "pchip",
    draws: Draws = 1000,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of the draws.")] = 0,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the curves into this .png or .svg file.")
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write every figure of every system into this .csv file."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare systems that were measured on the same pictures.

    Prints BD-rate, the BD of every figure (PSNR, mIoU, errors), and the bits that the systems need where they are
    equally good, all over the range that both systems cover and never beyond it. Intervals hold 95 % of what other
    draws of the pictures give.
    """
    levels = dict(_level(text) for text in at or ())

    from icm_evaluation.agreement import read_agreeing
    from icm_evaluation.compare import compare, sentence
    from icm_evaluation.kinds import Kinds

    kinds = Kinds()
    read = [read_agreeing(path, kinds) for path in results]
    found = compare(read, anchor=anchor, levels=levels, method=method, count=draws, seed=seed, kinds=kinds)
    if plot is not None:
        from icm_evaluation.plots import curves_plot, write_plot

        write_plot(plot, curves_plot(read))
    if table is not None:
        from icm_evaluation.tidy import write_tidy

        write_tidy(table, [(result.system, None, result) for result in read])
    if as_json:
        print_json([one.model_dump(mode="json") for one in found])
        return
    if not found:
        raise InputError("these systems have no figure in common")
    print_table(
        ("figure", "anchor", "test", ">BD-rate", "", ">BD of it", "", ">overlap", ">left out", "note"),
        [_row(one) for one in found],
        "Less than 0 in BD-rate is fewer bits, more than 0 in the figure's BD is better; in brackets: 95 % of draws",
    )
    for one in found:
        for level in one.at:
            typer.echo(sentence(one, level))


def _level(text: str) -> tuple[str, float]:
    metric, _, value = text.rpartition("=")
    try:
        return metric.strip(), float(value)
    except ValueError as error:
        raise InputError(f"--at is {text!r}; it should be FIGURE=VALUE, like miou=50 or psnr=32") from error


def _row(one: Comparison) -> tuple[object, ...]:
    return (
        one.metric,
        one.anchor,
        one.test,
        "-" if one.bd_rate is None else f"{one.bd_rate:+.1f} %",
        _range(one.bd_rate_interval, ".1f"),
        "-" if one.bd_value is None else f"{one.bd_value:+.3g} {one.unit}".rstrip(),
        _range(one.bd_value_interval, ".3g"),
        f"{one.overlap:.0%}",
        one.left_out,
        one.note,
    )


def _range(interval: tuple[float, float] | None, form: str) -> str:
    return "" if interval is None else f"[{interval[0]:+{form}}, {interval[1]:+{form}}]"
