"""The page docs/trust.md, with the figures of the stored results.

python benchmarks/trust_report.py            writes it
python benchmarks/trust_report.py --check    exit code 1 if it is not what the results say
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"
PAGE = ROOT / "docs/trust.md"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *rows])


def stored(name: str) -> dict[str, Any]:
    """A file of results."""
    found: dict[str, Any] = json.loads((RESULTS / f"trust.{name}.json").read_text())
    return found


def matrix_table(result: dict[str, Any]) -> str:
    """One row a condition."""
    return table(
        ["condition", "decodings", "different"],
        [[name.replace("_", " "), str(count), str(different)] for name, count, different in result["conditions"]],
    )


def matrix_section() -> str:
    """The matrix with the newest torch, and what was run with the oldest."""
    newest, oldest = stored("matrix"), stored("matrix-oldest")
    compiled = "not run for this page"
    if (RESULTS / "trust.matrix-compile.json").exists():
        found = stored("matrix-compile")
        compiled = f"{found['decodings']} decodings, {found['different']} different"
    gpu = newest["cuda"] or "not run for this page: the machine had none"
    return f"""{matrix_table(newest)}

torch {newest["torch"]}, Python {newest["python"]}, {newest["machine"]}: {newest["decodings"]} decodings,
{newest["different"]} different (`python tests/golden/matrix.py`). CUDA: {gpu}. torch.compile:
{compiled} (`python tests/golden/matrix.py --fast --compile`).
With the oldest supported version, torch {oldest["torch"]}, one condition changed at a time: {oldest["decodings"]}
decodings, {oldest["different"]} different (`python tests/golden/matrix.py --fast`)."""


def fuzz_section() -> str:
    """Outcomes by what was done to the files."""
    fuzz = stored("fuzz")
    kinds = ("right", "refused", "another file", "failure")
    rows = [
        [name, *(str(counts.get(kind, 0)) for kind in kinds)]
        for name, counts in [*fuzz["by_kind"].items(), ("**all**", fuzz["outcomes"])]
    ]
    return f"""{table(["what was done", "right answer", "`BitstreamError`", "another valid file", "failure"], rows)}

{fuzz["count"]} mutants of golden files, decoded with a picture limit of {fuzz["max_pixels"]} pixels:
{fuzz["failed"]} failures. The slowest took {fuzz["seconds_slowest"]:.2f} s of processor time, and a valid file at the
limit takes {fuzz["seconds_valid"]:.2f} s; the process grew by {fuzz["growth_kib"] // 1024} MB in all, and by
{fuzz["growth_valid_kib"] // 1024} MB when it had loaded the pipeline and decoded valid files at the limit.
(`python benchmarks/fuzz.py --count {fuzz["count"]}`, torch {fuzz["versions"]["torch"]}; the same numbers give the same
mutants.)"""


def rate_table(rate: dict[str, Any]) -> str:
    """Bits by the integer tables beside the float networks' estimate, and the bits of the stream."""
    rows = []
    for point in rate["points"]:
        for layer, name in (("base", "base"), ("fine", "enhancement")):
            information, estimate, bits = (point[f"{layer}_{kind}"] for kind in ("information", "estimate", "bits"))
            rows.append(
                [
                    f"{point['quality']:g}",
                    name,
                    f"{estimate:.0f}",
                    f"{information:.0f}",
                    f"{100 * (information / estimate - 1):+.2f} %",
                    f"{bits:.0f}",
                ]
            )
    head = ["quality", "layer", "float estimate, bits", "integer tables, bits", "difference", "stream, bits"]
    return table(head, rows)


def cost_section() -> str:
    """Rate, time and memory."""
    cost = stored("cost")
    rate, time, memory = cost["rate"], cost["time"], cost["memory"]
    per = memory["mb_per_megapixel"]
    return f"""{rate_table(rate)}

Means over {rate["pictures"]} pictures of CamVid val. A stream also holds the coder's own end, about 50 bits, which has
nothing to do with exactness.

Decoding the base layer's symbols takes {time["ratio_median"]:.2f} times the processor time that the float networks take
(median of {time["pairs"]} pairs, {time["ratio_lowest"]:.2f} to {time["ratio_highest"]:.2f};
{1000 * time["integer_seconds"]:.0f} ms against {1000 * time["float_seconds"]:.0f} ms for 480x360, {time["device"]}).
This is processor time, measured in turns because the machine was shared. Both include the coder's own time.

Decoding takes about {per["base"]:.0f} MB of memory a megapixel for the coarse picture, and {per["both"]:.0f} MB
with the enhancement layer (between {memory["sizes"][0]} and {memory["sizes"][1]}). So a valid file of 100 megapixels,
the default limit, needs more memory than most machines have. If files come from strangers, set `--max-pixels` to what
your machine can handle. Other tasks also need memory for their networks.

`{time["command"].replace(" --part time", "")}`, weights {time["weights"]}, torch {time["versions"]["torch"]}."""


def page() -> str:
    """The whole page."""
    template = Path(__file__).with_name("trust.md.in").read_text()
    sections = {"MATRIX": matrix_section(), "FUZZ": fuzz_section(), "COST": cost_section()}
    for name, text in sections.items():
        template = template.replace(f"@{name}@", text)
    return template


def main() -> int:
    """Write, or compare."""
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page())
        return 0
    if not PAGE.exists() or PAGE.read_text() != page():
        print("docs/trust.md is not what the stored results say; run python benchmarks/trust_report.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
