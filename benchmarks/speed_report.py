"""What `docs/results.md` says of `benchmarks/speed.py`: seconds of one picture's way, ours and others', as ratios."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from icm_evaluation.tables import table

RESULT = Path(__file__).parent / "results/speed.json"
PROFILE = Path(__file__).parent / "results/speed.profile.json"
START = Path(__file__).parent / "results/speed.start.json"
OURS, BF16, PEER = "sicmh-small", "sicmh-small in bf16", "bmshj2018-hyperprior"
TARGETS = {"both": (0.5, "picture to file and file to label map"), "classification": (0.35, "file to class")}
"""The most that ours may take of the peer's time, and of what."""
LOADING = 1.5
"""The most that loading may take of the time of importing PyTorch and reading the weights."""


def section() -> str:
    """The part of the page; empty before anything was measured."""
    if not RESULT.is_file():
        return ""
    found: dict[str, Any] = json.loads(RESULT.read_text())
    systems = found["systems"]
    rows = [
        [
            name,
            f"{one['bytes']:,}",
            *(f"{seconds(one, action):.3f}" for action in ("encode", "segmentation", "classification")),
            *(f"{ratio(systems, name, what):.2f}" for what in TARGETS),
            f"{one['peak_mb']:,}",
        ]
        for name, one in systems.items()
    ]
    head = ["system", "bytes", "encode", "to label map", "to class", "both, ratio", "to class, ratio", "peak MB"]
    parts = [
        "## Seconds a picture, beside other codecs",
        table(head, rows),
        f"Seconds of processor time, medians of {found['rounds']} rounds in which the systems take turns; a photograph "
        f"of {found['size']}, {found['device']}. Every codec is followed by the same heads; ratios are over "
        f"{PEER} with them, `both` is encoding and decoding to a label map. CompressAI's models have weights as "
        "drawn at the start: the time of networks does not depend on them. `python benchmarks/speed.py -o "
        "benchmarks/results/speed.json`",
        "\n".join(f"- {_aim(systems, what)}" for what in TARGETS),
    ]
    if "growth" in found:
        parts.append(_growth(found))
    if START.is_file():
        parts.append(_start(json.loads(START.read_text())))
    if PROFILE.is_file():
        parts.append(_profile(json.loads(PROFILE.read_text())))
    return "\n\n".join(parts)


def seconds(one: dict[str, Any], action: str) -> float:
    """Median processor time of an action, of encoding and decoding to a label map for ``"both"``."""
    if action == "both":
        return seconds(one, "encode") + seconds(one, "segmentation")
    return float(one[action]["process"]["median"])


def ratio(systems: dict[str, Any], name: str, what: str) -> float:
    """A system's time over the peer's."""
    return seconds(systems[name], what) / seconds(systems[PEER], what)


def _aim(systems: dict[str, Any], what: str) -> str:
    aim, title = TARGETS[what]
    said = []
    for name in (OURS, BF16):
        reached = ratio(systems, name, what)
        said.append(f"{name} {reached:.2f} ({'reached' if reached <= aim else 'missed'})")
    return f"{title}: at most {aim} of {PEER}'s time was aimed at; " + ", ".join(said) + "."


def _growth(found: dict[str, Any]) -> str:
    rows = []
    for size, systems in found["growth"].items():
        row = [size]
        for name in (OURS, PEER):
            one = systems[name]
            row += [f"{float(size) / seconds(one, 'both'):.2f}", f"{one['peak_mb']:,}"]
        rows.append(row)
    sizes = table(["megapixels", "ours, MP/s", "ours, peak MB", f"{PEER}, MP/s", f"{PEER}, peak MB"], rows)
    left_out = found.get("left_out", [])
    missing = f"\n\nLeft out, as they took too long: {', '.join(left_out)}." if left_out else ""
    counts = [[count, f"{seconds(one, 'both') / int(count):.3f}"] for count, one in found["batches"].items()]
    return (
        f"Larger pictures (encoding and decoding to a label map, megapixels a second of processor time):\n\n{sizes}\n\n"
        f"Batches of {found['size']} (seconds a picture, ours):\n\n{table(['pictures', 'seconds'], counts)}"
        f"{missing}"
    )


def _start(found: dict[str, Any]) -> str:
    rows = [[title, f"{one['median']:.2f}", f"{one['first']:.1f}"] for title, one in found["commands"].items()]
    needed, loading = (found["loading"][what]["median"] for what in ("needed", "loading"))
    ratio = loading / needed
    return (
        f"Start-up (seconds of processor time of whole processes, medians of {found['rounds']}, {found['device']}; "
        "`python benchmarks/speed.py --start -o benchmarks/results/speed.start.json`). A command's first run finds out "
        "what is installed, and later ones remember it until something changes:\n\n"
        + table(["command", "seconds", "first run"], rows)
        + f"\n\nA process that loads {OURS} takes {loading:.2f} seconds, {ratio:.2f} times the {needed:.2f} of one "
        f"that imports PyTorch and reads the weights; at most {LOADING:g} times was aimed at "
        f"({'reached' if ratio <= LOADING else 'missed'})."
    )


def _profile(found: dict[str, Any]) -> str:
    parts = list(found[OURS])
    rows = [[part, *(f"{found[name][part]:.3f}" for name in (OURS, BF16))] for part in parts]
    return (
        f"Where the time goes (seconds, {found['size']}, {found['device']}; "
        f"`python benchmarks/speed.py --profile -o benchmarks/results/speed.profile.json`):\n\n"
        + table(["part", "fp32", "bf16"], rows)
    )
