"""One lane, in this process."""

from __future__ import annotations

from collections.abc import Iterable

from icm_core.corpus.work import Item, Job, Outcomes, Place, Row, Unit, outcomes


def here(job: Job[Item, Row], units: Iterable[Unit[Item]], threads: int) -> Outcomes[Row]:
    """Outcomes in order; PyTorch has so many threads until the iterator is at its end or closed."""
    from icm_core.pipeline.many import threads as having

    with having(threads):
        work = job.open(Place(threads=threads))
        for unit in units:
            yield from outcomes(work, unit)
