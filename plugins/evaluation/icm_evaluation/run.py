"""A whole measurement: options in, a JSON file out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from icm_core.files import make_folder
from icm_core.pipeline.identify import weights_digest
from icm_core.plugins.registry import Registry
from icm_evaluation.journal import Journal
from icm_evaluation.kinds import Kinds
from icm_evaluation.options import Options, spread
from icm_evaluation.plan import Plan, Setting
from icm_evaluation.provenance import command_of, device_name, versions
from icm_evaluation.results import (
    FIXED_BASE,
    FIXED_ENHANCEMENT,
    SEARCHED,
    Counted,
    Data,
    PictureRow,
    Result,
    write_result,
)
from icm_evaluation.summary import summary_of
from icm_evaluation.work import Site, rows_of, workers_of

Advance = Callable[[int, int, str], None]
"""Called with the number of pictures that are done, of all, and the key of the last one."""


def evaluate(
    options: Options, target: Path, *, registry: Registry | None = None, advance: Advance = lambda *_: None
) -> Result:
    """Measure, and write the result.

    Pictures that an earlier call with the same options had measured before it was stopped are not measured again:
    they stand in ``<target>.journal``, which is removed at the end. Each picture is computed by one thread, so that
    the figures, times aside, are the same for any number of workers.

    Args:
        options: what to measure.
        target: the JSON file that is written; its folder is made.
        registry: what is installed, found anew by default; worker processes always find it anew.
        advance: told of the progress.

    Raises:
        IcmError: anything that cannot be used. What was measured until then is kept.
    """
    site = Site.open(options, registry)
    numbers = spread(len(site.data), options.limit)
    make_folder(target.parent)
    if options.keep is not None:
        make_folder(options.keep)
    journal = Journal(target.with_name(f"{target.name}.journal"), _identity(site))
    missing = [number for number in numbers if number not in journal.rows]
    workers = workers_of(site, len(missing))
    advance(len(numbers) - len(missing), len(numbers), "")
    with closing(rows_of(site, missing, workers)) as found:
        for count, (number, row) in enumerate(found, 1 + len(numbers) - len(missing)):
            journal.add(number, row)
            advance(count, len(numbers), row.key)
    result = _result(site, [journal.rows[number] for number in numbers], workers)
    write_result(target, result)
    journal.remove()
    return result


def _identity(site: Site) -> dict[str, object]:
    """What the row of a picture depends on."""
    options = site.options
    return {
        "weights": weights_digest(site.pipe),
        "data": [options.data, options.params, options.split, len(site.data)],
        "qualities": [one.quality if one.enhancement is None else one.name for one in site.plan.settings],
        **({} if options.tasks is None else {"tasks": sorted(options.tasks)}),
        "search": [site.plan.effort, *site.plan.searched],
        **({} if site.plan.encoder is None else {"encoder": site.plan.encoder}),
        "device": [device_name(site.pipe), options.precision],
        "versions": versions(site.registry),
    }


def _fixed(settings: Sequence[Setting]) -> str:
    """What a system is called besides its pipeline where one of its layers keeps one quality."""
    if settings[0].enhancement is None:
        return ""
    if len({setting.quality for setting in settings}) == 1:
        return f"{FIXED_BASE}{settings[0].quality:g}"
    return f"{FIXED_ENHANCEMENT}{settings[0].enhancement:g}"


def _encoded(plan: Plan) -> str:
    """What a system is called besides for how it encodes."""
    return (f"+{plan.encoder}" if plan.encoder else "") + (f"{SEARCHED}{plan.effort}" if plan.effort else "")


def _result(site: Site, rows: Sequence[PictureRow], workers: int) -> Result:
    options, plan, data = site.options, site.plan, site.data
    counted: Counted = "payload" if site.pipe.codec.writes_own_files else "file"
    sizes = Counter(f"{row.width}x{row.height}" for row in rows)
    measured = {name: one.info for name, one in plan.tasks.items()}
    points, tasks = summary_of(rows, measured, counted, Kinds(site.registry))
    return Result(
        icm_evaluation=1,
        system=site.pipe.name + _fixed(plan.settings) + _encoded(plan),
        codec=site.pipe.codec.name,
        counted=counted,
        weights=weights_digest(site.pipe),
        data=Data(
            name=options.data_name,
            params=options.data_params(),
            kind=data.kind,
            split=options.split,
            pictures=len(rows),
            of=len(data),
            sizes=dict(sorted(sizes.items())),
            labels=list(data.labels),
        ),
        encoder=plan.encoder,
        effort=plan.effort,
        searched=list(plan.searched),
        tasks=tasks,
        skipped=plan.skipped,
        points=points,
        pictures=list(rows),
        versions=versions(site.registry),
        device=device_name(site.pipe),
        precision=options.precision,
        workers=workers,
        command=command_of(options, plan.settings),
    )
