"""Tables of `docs/serve.md` and `docs/corpora.md`, from the results of `benchmarks/serve.py` and `corpora.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from icm_evaluation.tables import table

RESULTS = Path(__file__).parent / "results"
WAYS = {"one_by_one": "one by one", "batches": "in batches"}


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / name).read_text())
    return found


def service() -> str:
    """Requests a second, and how files with changed bits were answered."""
    found, faults = _read("serve.json"), _read("serve.faults.json")
    rows = [
        [
            what,
            WAYS[way],
            f"{one['per_second']:.1f}",
            f"{one['p50_ms']:.0f}",
            f"{one['p99_ms']:.0f}",
            f"{one['mean_batch']:.1f}",
            f"{one['per_second'] / found['alone'][what]['per_second']:.2f}",
        ]
        for what in ("decode", "encode")
        for way in WAYS
        for one in [found[way][what]]
    ]
    head = [
        "",
        "computed",
        "requests per second",
        "p50, ms",
        "p99, ms",
        "mean batch",
        "share of the pipeline's own rate",
    ]
    statuses = ", ".join(f"status {status} for {count:,}" for status, count in faults["statuses"].items())
    return (
        f"{table(head, rows)}\n\n{found['model']}, {found['size']}, {found['clients']} clients on the same machine, "
        f"{found['processors']} processors, tasks {found['tasks']}; `python benchmarks/serve.py`. Answers to "
        f"{faults['files']:,} files with changed bits: {statuses}, and nothing else; "
        f"`python benchmarks/serve.py --faults {faults['files']}`."
    )


def corpora() -> str:
    """Pictures a second of one lane and of workers."""
    found = _read("corpora.json")
    rows = [
        [what, f"{rates['one_lane']:.2f}", f"{rates['workers']:.2f}", f"{found['times_one_lane'][what]:.2f}"]
        for what, rates in found["pictures_per_second"].items()
    ]
    same = "the same bytes" if found["same_bytes"] else "other bytes"
    return (
        table(["pictures a second", "one worker", f"{found['workers']} workers", "ratio"], rows)
        + f"\n\n{found['model']}, {found['pictures']} pictures of {found['size']}, whole files, tasks "
        f"{found['tasks']}, {found['machine']}; {same} both times."
    )
