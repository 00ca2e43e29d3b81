"""Mutation testing: the page is what the stored runs say, and a planted bug is noticed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-W", "ignore", str(ROOT / "benchmarks/mutants.py")]


def imported(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"icm_{name}", ROOT / f"benchmarks/{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[f"icm_{name}"] = module
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def mutations() -> ModuleType:
    pytest.importorskip("cosmic_ray", reason="bugs are made with the extra mutants")
    return imported("mutations")


def test_the_page_is_made_from_the_stored_results() -> None:
    done = subprocess.run([*PROGRAM, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_modules_and_their_tests_are_there() -> None:
    configuration = json.loads((ROOT / "benchmarks/mutants.json").read_text())
    named = [path for module, one in configuration.items() for path in (module, *one["tests"])]
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_a_sample_follows_from_its_seed() -> None:
    drawn = imported("mutants").drawn
    first = drawn(1000, 40, 0)
    assert len({*first}) == 40 and first == sorted(first) and first[-1] > 500
    assert drawn(1000, 40, 0) == first != drawn(1000, 40, 1)
    assert drawn(7, 7, 0) == drawn(7, 40, 3) == drawn(7, None, 0) == list(range(7))


def test_own_bugs_are_those_of_their_examples(mutations: ModuleType) -> None:
    for operator in mutations.OWN:
        for example in operator.examples():
            made = mutations.mutate_code(example.pre_mutation_code, operator(), example.occurrence)
            assert made == example.post_mutation_code


def test_bugs_are_other_programs_and_leave_alone_what_computes_nothing(mutations: ModuleType) -> None:
    source = (
        '"""Doc 1."""\nfrom a import b\n\n@keep(times=3)\ndef f(x: Callable[[1], 2] = None) -> dict[str, 3]:\n'
        "    assert 1 + 1 == 2\n    y: tuple[4, int] = x.clamp(min=0) - 1\n"
        "    if not y:\n        raise ValueError(5 + 6)\n    return zip(y, strict=True)\n"
    )
    found = {one.becomes for one in mutations.mutants(source)}
    assert found == {
        "y: tuple[4, int] = x.clamp(min= 1) - 1",
        "y: tuple[4, int] = x.clamp(min= -1) - 1",
        "y: tuple[4, int] = x.clamp() - 1",
        "y: tuple[4, int] = x.clamp(max=0) - 1",
        "y: tuple[4, int] = x - 1",
        "y: tuple[4, int] = x.clamp(min=0) + 1",
        "y: tuple[4, int] = x.clamp(min=0) - 0",
        "y: tuple[4, int] = x.clamp(min=0) - 2",
        "y: tuple[4, int] = (x.clamp(min=0))",
        "y: tuple[4, int] = (1)",
        "if y:",
    }


def test_a_planted_bug_is_noticed_and_is_never_on_the_disk(mutations: ModuleType) -> None:
    module = ROOT / "icm_core/quality.py"
    before = module.stat()
    bugs = mutations.mutants(module.read_text())
    (number,) = [n for n, one in enumerate(bugs, 1) if one.becomes == "return self.step + STEPS_PER_UNIT"]
    done = subprocess.run(
        [*PROGRAM, "icm_core/quality.py", "--only", str(number)], capture_output=True, text=True, check=False
    )
    assert "test_a_quality_is_a_step_and_the_row_of_a_table_that_begins_at_1" in done.stdout
    assert (module.stat().st_mtime_ns, module.stat().st_size) == (before.st_mtime_ns, before.st_size)


def test_what_became_of_a_bug_by_hand_the_first_time_stays_on_record(tmp_path: Path) -> None:
    quality = {"module": "icm_core/quality.py", "was": "return self.step - STEPS_PER_UNIT"}
    bugs = [
        {**quality, "becomes": "return self.step"},
        {**quality, "becomes": "return -STEPS_PER_UNIT + self.step", "no_bug": "a sum has no order"},
        {**quality, "was": "code of an earlier day", "becomes": "nothing"},
        {**quality, "becomes": "return 2 * self.step - STEPS_PER_UNIT"},
    ]
    (tmp_path / "area.json").write_text(json.dumps({"wider": ["tests/core/test_quality.py"], "bugs": bugs}))
    results = tmp_path / "results"
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'benchmarks')!r}); import mutants; from pathlib import Path; "
        f"mutants.BY_HAND, mutants.BY_HAND_RESULTS = Path({str(tmp_path)!r}), Path({str(results)!r}); "
        "print('unnoticed:', mutants.by_hand('area', False)); print(mutants.written_bugs())"
    )
    results.mkdir()
    tested_before = {**quality, "becomes": "return 2 * self.step - STEPS_PER_UNIT", "now": "survived"}
    earlier = [{**quality, "becomes": "return self.step", "first": "survived", "now": "survived"}, tested_before]
    (results / "area.json").write_text(json.dumps(earlier))
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert "unnoticed: 0" in done.stdout
    assert "3: left out, icm_core/quality.py has it 0 times, not once: code of an earlier day" in done.stdout
    assert [(one.get("first"), one["now"]) for one in json.loads((results / "area.json").read_text())] == [
        ("survived", "noticed"),
        ("survived", "survived"),
        (None, "noticed"),
    ]
    assert "| area | 2 | 0 of 1 | 2 | 0 | 1 | 1 |" in done.stdout


def test_bugs_in_functions_and_outside_are_planted_in_copies_of_what_has_collected_the_tests() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'benchmarks')!r}); import planting\n"
        "module = 'icm_core/quality.py'\n"
        "source = (planting.ROOT / module).read_text()\n"
        "with planting.Collected(['tests/core/test_quality.py']) as collected:\n"
        "    for was, becomes in (\n"
        "        ('', '# a line more\\n'),\n"
        "        ('return self.step - STEPS_PER_UNIT', 'return self.step'),\n"
        "        ('return self.step - STEPS_PER_UNIT', 'import time; time.sleep(60)'),\n"
        "        ('STEPS_PER_UNIT = ', 'STEPS_PER_UNIT = 1 + '),\n"
        "        ('', ''),\n"
        "    ):\n"
        "        assert source.count(was) == 1 or not was\n"
        "        outcome = collected.tried(module, source.replace(was, becomes, 1), 8)\n"
        "        print(outcome.what, outcome.said.rpartition('FAILED ')[2][:30].strip())\n"
        "    try:\n"
        "        collected.tried('plugins/serve/icm_serve/app.py', '', 8)\n"
        "    except SystemExit as error:\n"
        "        print(str(error).splitlines()[0])\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "survived ",
        "noticed tests/core/test_quality.py::te",
        "late ",
        "noticed tests/core/test_quality.py::te",
        "survived ",
        "plugins/serve/icm_serve/app.py: its tests do not import it",
    ]
