"""Mutation testing: small bugs, one at a time, and whether the tests that belong to the module notice.

python benchmarks/mutants.py MODULE...       plants and stores what came of it; a path, or the end of one: coding/rans
python benchmarks/mutants.py MODULE --list   shows the bugs
python benchmarks/mutants.py MODULE --only 7 plants one and shows what the tests say
python benchmarks/mutants.py MODULE --sample 40 plants so many of the bugs, drawn by --seed, and stores what came of it
python benchmarks/mutants.py --by-hand AREA... plants the bugs that people wrote in benchmarks/by_hand/AREA.json; with
                                             --new, those that no test has noticed yet
python benchmarks/mutants.py --page          writes docs/testing.md from what is stored
python benchmarks/mutants.py --check         exit code 1 if the page is not what the stored results say

benchmarks/mutants.json says which tests belong to which module, and which survivors were judged to be no bugs. A file
of bugs by hand has ``"wider"``, the tests that are run where the module's let a bug pass, and ``"bugs"``, each with
``module``, ``was`` and ``becomes`` (text that stands once in the module, and what it becomes), ``tests`` of its own if
those of the module are not the ones, and ``no_bug`` with the reason once it was judged to be none.

No bug is ever on the disk: each is planted in a process of its own, so the tree can be worked in meanwhile. A test
that starts a process does not see the bug, therefore. How that is done: benchmarks/planting.py.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import random
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from planting import LATE, NOTICED, ROOT, SURVIVED, Collected, Outcome, dotted, prepare, tried

CONFIGURATION = ROOT / "benchmarks/mutants.json"
RESULTS = ROOT / "benchmarks/results/mutants"
BY_HAND, BY_HAND_RESULTS = ROOT / "benchmarks/by_hand", ROOT / "benchmarks/results/by_hand"
PAGE, TEXT = ROOT / "docs/testing.md", ROOT / "benchmarks/testing.md.in"


def configuration() -> dict[str, dict[str, Any]]:
    """By module: its tests, and survivors that were judged."""
    found: dict[str, dict[str, Any]] = json.loads(CONFIGURATION.read_text())
    return found


def chosen(names: Sequence[str]) -> list[str]:
    """Modules of the configuration by path, or by the end of one."""
    known = configuration()
    found = []
    for name in names:
        end = name.removesuffix(".py")
        matches = [module for module in known if f"/{module}".removesuffix(".py").endswith(f"/{end}")]
        if len(matches) != 1:
            what = "stands for " + ", ".join(matches) if matches else "has no tests there"
            sys.exit(f"{name}: {what}; {CONFIGURATION.name} has: {', '.join(known)}")
        found += matches
    return found


def drawn(count: int, sample: int | None, seed: int) -> list[int]:
    """Numbers of the bugs that are planted, from 0: all, or so many of them by chance, in order."""
    if sample is None or sample >= count:
        return list(range(count))
    return sorted(random.Random(seed).sample(range(count), sample))


def measured(module: str, tests: Sequence[str], sample: int | None, seed: int) -> dict[str, Any]:
    """Plants the bugs of a module, or a sample of them, and says what came of them."""
    from mutations import mutants

    source = (ROOT / module).read_text()
    found = mutants(source)
    numbers = drawn(len(found), sample, seed)
    some = f"{len(numbers)} of " if len(numbers) < len(found) else ""
    began, survivors, late = time.monotonic(), [], 0
    with Collected(tests) as collected:
        plain = collected.tried(module, source, 1200)
        if plain.what != SURVIVED:
            sys.exit(f"{module}: its tests fail without any bug\n{plain.said}")
        print(f"{module}: {some}{len(found)} bugs, {plain.seconds:.1f} s a run without one", flush=True)
        for number in numbers:
            one = found[number]
            outcome = collected.tried(module, one.source, 30 + 5 * plain.seconds)
            late += outcome.what == LATE
            if outcome.what == SURVIVED:
                survivors.append({"line": one.line, "was": one.was, "becomes": one.becomes})
                print(f"  {number + 1}: survived, line {one.line}: {one.was}  ->  {one.becomes}", flush=True)
    return {
        "module": module,
        "tests": list(tests),
        "bugs": len(numbers),
        "of": len(found),
        **({"seed": seed} if some else {}),
        "late": late,
        "seconds": round(time.monotonic() - began),
        "source_sha256": hashlib.sha256(source.encode()).hexdigest(),
        "versions": {name: version(name) for name in ("cosmic_ray", "torch", "pytest", "hypothesis")},
        "survivors": survivors,
    }


def by_hand(area: str, new: bool) -> int:
    """Plants the bugs that people wrote, stores what came of each, and says how many passed unnoticed.

    What happened the first time that a bug was planted stays on record, with the tests of that day.

    Args:
        area: name of the file.
        new: leaves out those that tests have noticed already.
    """
    given = json.loads((BY_HAND / f"{area}.json").read_text())
    target = BY_HAND_RESULTS / f"{area}.json"
    results = {_key(one): one for one in json.loads(target.read_text())} if target.exists() else {}
    BY_HAND_RESULTS.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(_Runs()) as runs:
        return _by_hand(given, target, results, runs, new)


def _by_hand(given: dict[str, Any], target: Path, results: dict[tuple[str, ...], Any], runs: _Runs, new: bool) -> int:
    unnoticed = 0
    for number, bug in enumerate(given["bugs"], 1):
        before = results.get(_key(bug), {})
        if new and ("no_bug" in bug or before.get("now") == NOTICED):
            continue
        source = (ROOT / bug["module"]).read_text()
        if source.count(bug["was"]) != 1:  # the module has changed, or the bug was written wrongly
            times = source.count(bug["was"])
            print(f"{number}: left out, {bug['module']} has it {times} times, not once: {bug['was']}", flush=True)
            continue
        source = source.replace(bug["was"], bug["becomes"])
        compile(source, bug["module"], "exec", dont_inherit=True)
        try:
            found, said = _planted_by_hand(bug, source, given["wider"], runs)
        except SystemExit as error:
            sys.exit(f"{number}: {error}")
        unnoticed += found != NOTICED and "no_bug" not in bug
        print(f"{number}: {found}, {bug['module']}: {bug['was']}  ->  {bug['becomes']}  {said}", flush=True)
        first = {"first": found} if not before else {name: before[name] for name in before if name == "first"}
        results[_key(bug)] = {**_named(bug), **first, "now": found}
        rows = [results[_key(one)] for one in given["bugs"] if _key(one) in results]
        target.write_text(json.dumps(rows, indent=1) + "\n")
    return unnoticed


def _named(bug: dict[str, Any]) -> dict[str, Any]:
    return {name: bug[name] for name in ("module", "was", "becomes")}


def _key(bug: dict[str, Any]) -> tuple[str, ...]:
    return tuple(_named(bug).values())


class _Runs:
    """The last lists of tests, collected; they are believed if they pass without a bug."""

    def __init__(self) -> None:
        self._collected: dict[tuple[str, ...], Collected] = {}
        self._believed: set[tuple[str, ...]] = set()

    def tried(self, module: str, source: str, tests: Sequence[str], limit: float, *, imported: bool = True) -> Outcome:
        collected = self._of(tuple(tests))
        outcome = collected.tried(module, source, limit, imported=imported)
        if outcome.what != SURVIVED and collected.tests not in self._believed:
            plain = collected.tried(module, (ROOT / module).read_text(), limit)
            if plain.what != SURVIVED:
                sys.exit(f"{', '.join(tests)}: they fail without any bug\n{plain.said}")
            self._believed.add(collected.tests)
        return outcome

    def _of(self, tests: tuple[str, ...], most: int = 3) -> Collected:
        kept = self._collected.pop(tests, None) or Collected(tests)
        self._collected[tests] = kept
        while len(self._collected) > most:
            self._collected.pop(next(iter(self._collected))).close()
        return kept

    def close(self) -> None:
        for collected in self._collected.values():
            collected.close()


def _planted_by_hand(bug: dict[str, Any], source: str, wider: Sequence[str], runs: _Runs) -> tuple[str, str]:
    """What became of a bug, and which test noticed it."""
    module = bug["module"]
    tests = bug.get("tests") or configuration()[module]["tests"]
    outcome = runs.tried(module, source, tests, 600)
    if outcome.what == SURVIVED:
        outcome = runs.tried(module, source, wider, 1200, imported=False)
    failed = [line for line in outcome.said.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return outcome.what, next(iter(failed), "")[:120]


def judged(module: str, survivor: dict[str, Any]) -> str | None:
    """Why a survivor is no bug, None if nobody has said so."""
    for one in configuration()[module].get("no_bug", []):
        if (one["was"], one["becomes"]) == (survivor["was"], survivor["becomes"]):
            return str(one["because"])
    return None


def stored() -> list[dict[str, Any]]:
    """What was measured, by module."""
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def page() -> str:
    """docs/testing.md."""
    rows, verdicts, results = [], [], stored()
    for result in results:
        reasons = [judged(result["module"], one) for one in result["survivors"]]
        open_ones = reasons.count(None)
        noticed = result["bugs"] - len(reasons)
        some = f"{result['bugs']} of {result['of']}" if result["bugs"] < result["of"] else result["bugs"]
        rows.append([f"`{result['module']}`", some, noticed, len(reasons) - open_ones, open_ones, result["seconds"]])
        verdicts += [
            [f"`{Path(result['module']).name}`, {one['line']}", *_apart(one["was"], one["becomes"]), why or "open"]
            for one, why in zip(result["survivors"], reasons, strict=True)
        ]
    done = {result["module"] for result in results}
    missing = [
        f"* `{module}`: {', '.join(one['tests'])}" for module, one in configuration().items() if module not in done
    ]
    return (
        TEXT.read_text()
        .replace("@SCORES@", table(["module", "bugs", "noticed", "no bugs", "open", "seconds"], rows))
        .replace("@SURVIVORS@", table(["where", "was", "becomes", "why it is no bug"], verdicts))
        .replace("@BY_HAND@", written_bugs())
        .replace("@MISSING@", "\n".join(missing) or "None.")
    )


def written_bugs() -> str:
    """The table of the bugs that people wrote."""
    rows, total = [], [0] * 7
    for path in sorted(BY_HAND_RESULTS.glob("*.json")):
        results, bugs = json.loads(path.read_text()), json.loads((BY_HAND / path.name).read_text())["bugs"]
        reasons = {_key(one): one.get("no_bug") for one in bugs}
        real = [one for one in results if not reasons.get(_key(one))]
        first = [one["first"] == NOTICED for one in real if "first" in one]
        now = sum(one["now"] == NOTICED for one in real)
        numbers = [len(real), sum(first), len(first), now, len(real) - now]
        numbers += [len(results) - len(real), len(bugs) - len(results)]
        rows.append(_row(path.stem, numbers))
        total = [a + b for a, b in zip(total, numbers, strict=True)]
    head = ["area", "bugs", "noticed the first time", "noticed now", "open", "no bugs", "not planted yet"]
    return table(head, [*rows, _row("all", total)])


def _row(area: str, numbers: Sequence[int]) -> list[object]:
    bugs, first, known, *others = numbers
    return [area, bugs, f"{first} of {known}", *others]


def _alike(one: str, other: str) -> int:
    """Number of characters at the beginning that are the same."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _apart(was: str, becomes: str, context: int = 24) -> tuple[str, str]:
    """Where two lines differ, with a little of what stands around, as cells of a table."""
    start = _alike(was, becomes)
    end = _alike(was[start:][::-1], becomes[start:][::-1])
    first, last = max(start - context, 0), max(end - context, 0)

    def cell(code: str) -> str:
        shown = "… " * (first > 0) + code[first : len(code) - last].strip() + " …" * (last > 0)
        return "`" + shown.replace("|", "\\|") + "`"

    return cell(was), cell(becomes)


def main() -> None:
    """What the module's first lines say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--only", type=int, metavar="NUMBER")
    parser.add_argument("--sample", type=int, metavar="COUNT", help="so many of the bugs, drawn by chance")
    parser.add_argument("--seed", type=int, default=0, help="of a sample; 0 by default")
    parser.add_argument("--by-hand", nargs="+", metavar="AREA", help="bugs that people wrote")
    parser.add_argument("--new", action="store_true", help="of those, the ones that no test has noticed yet")
    parser.add_argument("--page", action="store_true")
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    if given.page or given.check:
        if given.page:
            PAGE.write_text(page())
        elif PAGE.read_text() != page():
            sys.exit(f"{PAGE.name} is not what the stored results say; run python benchmarks/mutants.py --page")
        return
    modules = chosen(given.modules)
    if not modules and not given.by_hand:
        parser.error("name a module, such as coding/rans")
    if given.list or given.only is not None:
        from mutations import mutants

        for module in modules:
            for number, one in enumerate(mutants((ROOT / module).read_text()), 1):
                if given.list:
                    print(f"{number}: line {one.line}, {one.operator}: {one.was}  ->  {one.becomes}")
                elif number == given.only:
                    print(f"line {one.line}: {one.was}  ->  {one.becomes}", flush=True)
                    print(tried(module, one.source, configuration()[module]["tests"], 1200).said)
        return
    prepare()
    RESULTS.mkdir(parents=True, exist_ok=True)
    open_ones = sum(by_hand(area, given.new) for area in given.by_hand or ())
    for module in modules:
        result = measured(module, configuration()[module]["tests"], given.sample, given.seed)
        open_ones += sum(judged(module, one) is None for one in result["survivors"])
        noticed = result["bugs"] - len(result["survivors"])
        print(f"{module}: {noticed} of {result['bugs']} bugs noticed, {result['seconds']} s")
        (RESULTS / f"{dotted(ROOT / module)}.json").write_text(json.dumps(result, indent=1) + "\n")
    PAGE.write_text(page())
    if open_ones:
        sys.exit(f"{open_ones} survived: each wants a test, or a reason in {CONFIGURATION.name}")


if __name__ == "__main__":
    main()
