"""Stopped in the middle, by a signal or by the power: what is there is whole, and the next run does the rest.

A named pipe among the pictures holds the work up for as long as a test needs: reading it waits for somebody who writes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from icm_core.bitstream.container import read

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")

LAST = "p05"


@contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """The program in a group of processes of its own, all of which are gone afterwards."""
    # Where tests run in the background, a shell has told them to ignore Ctrl-C, and what they start would do so, too.
    heeding = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code = f"{heeding}runpy.run_module('icm_core', run_name='__main__', alter_sys=True)"
    command = [sys.executable, "-c", code, *map(str, arguments), "--device", "cpu", "--json"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def group(leader: int) -> list[int]:
    """The processes of a group that are alive."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == leader and fields[0] != "Z":
                found.append(int(entry.name))
    return found


@pytest.fixture
def held_up(album: Path, coded: Path, tmp_path: Path) -> Callable[[str], tuple[Path, Path]]:
    """The pictures, or the files, of the album in one folder, one of them a pipe; and the one that should be there."""

    def make(ending: str) -> tuple[Path, Path]:
        folder = tmp_path / "held-up"
        folder.mkdir()
        for path in (album if ending == ".png" else coded).rglob(f"*{ending}"):
            shutil.copy2(path, folder)
        one = folder / f"{LAST}{ending}"
        right = one.rename(tmp_path / f"right{ending}")
        os.mkfifo(one)
        return folder, right

    return make


def names(folder: Path) -> list[str]:
    return [str(path) for path in sorted(folder.iterdir())]


@pytest.mark.parametrize(("how", "workers"), [("killed", 2), ("interrupted", 1), ("interrupted", 2)])
def test_coding_goes_on_where_it_was(how, workers, held_up, run, tree, toy, coded, tmp_path) -> None:
    folder, right = held_up(".png")
    out = tmp_path / "out"
    options = ("-m", toy, "-o", out, "--workers", workers)
    with started("encode", *names(folder), *options) as process:
        wait_for(lambda: out.is_dir() and len(list(out.glob("*.icm"))) >= 5)
        if how == "killed":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does: everybody gets it
            stdout, stderr = process.communicate(timeout=300)
            assert (process.returncode, stdout) == (130, "")
            assert stderr.startswith("icm: stopped; ")
            assert stderr.endswith(" of 12 are done, and --resume does the rest\n")
            wait_for(lambda: not group(process.pid))
            assert not list(out.glob(".*"))
    finished = list(out.glob("*.icm"))
    assert 5 <= len(finished) < 12
    for path in finished:
        assert not read(path.read_bytes()).truncated
    (folder / f"{LAST}.png").unlink()
    shutil.copy2(right, folder / f"{LAST}.png")
    code, rows, _ = run("encode", *names(folder), *options, "--resume")
    assert code == 0
    assert sorted(Path(row["output"]) for row in rows if row.get("kept")) == sorted(finished)
    made = {name: blob for name, blob in tree(out).items() if not name.startswith(".")}
    assert made == {Path(name).name: blob for name, blob in tree(coded).items()}


def test_decoding_goes_on_where_it_was(held_up, run, tree, toy, decoded, tmp_path) -> None:
    folder, right = held_up(".icm")
    out = tmp_path / "out"
    options = ("-m", toy, "-o", out, "--workers", 2, "--resume")
    journal = out / ".icm-decode.jsonl"
    with started("decode", *names(folder), *options) as process:
        wait_for(lambda: journal.is_file() and journal.read_bytes().count(b"\n") >= 5)
        os.killpg(process.pid, signal.SIGKILL)
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:5]) + lines[0][:40])  # as if the power had gone while the sixth was written
    done = [json.loads(line)["row"]["file"] for line in lines[:5]]
    (folder / f"{LAST}.icm").unlink()
    shutil.copy2(right, folder / f"{LAST}.icm")
    code, rows, _ = run("decode", *names(folder), *options)
    assert code == 0
    assert sorted(row["file"] for row in rows if row.get("kept")) == sorted(done)
    assert tree(out) == {Path(name).name: blob for name, blob in tree(decoded).items()}
    assert all(row["kept"] for row in run("decode", *names(folder), *options)[1])


def test_a_worker_that_is_killed_has_its_picture_named_and_the_rest_is_done(
    held_up, toy, tree, coded, tmp_path
) -> None:
    folder, _ = held_up(".png")
    out = tmp_path / "out"
    with started("encode", *names(folder), "-m", toy, "-o", out, "--workers", 2) as process:
        wait_for(lambda: out.is_dir() and len(list(out.glob("*.icm"))) >= 10)  # one is held up, one waits behind it
        (stuck,) = [worker for worker in group(process.pid) if opens_a_pipe(worker)]
        os.kill(stuck, signal.SIGKILL)
        stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 2
    path = folder / f"{LAST}.png"
    says = f"{path}: the worker that had it was killed (SIGKILL); if memory is short, try fewer --workers"
    assert stderr == f"icm: {says}\n"
    rows = json.loads(stdout)
    assert [row["file"] for row in rows[:-1]] == [name for name in names(folder) if name != str(path)]
    assert rows[-1] == {"file": str(path), "error": says}
    assert tree(out) == {Path(n).name: blob for n, blob in tree(coded).items() if Path(n).stem != LAST}


def opens_a_pipe(process: int) -> bool:
    try:
        return "wait_for_partner" in Path(f"/proc/{process}/wchan").read_text()
    except OSError:
        return False


OTHERWISE = {"tasks": ["-t", "coarse"], "precision": ["--precision", "bf16"], "drawings": ["--draw"]}


@pytest.mark.parametrize(
    "change", ["weights", "another file", "a picture is gone", *OTHERWISE, "another shape of the journal"]
)
def test_answers_are_kept_only_where_they_would_be_found_again(change, run, toy, coded, tmp_path) -> None:
    files = shutil.copytree(coded, tmp_path / "files")
    home = shutil.copytree(toy.parent, tmp_path / "toy")
    out = tmp_path / "out"
    options = ["decode", files / "deep", "-m", home / "toy.json", "-o", out, "--resume"]
    assert not any("kept" in row for row in run(*options)[1])
    first = run(*options)[1]
    assert all(row["kept"] for row in first)
    changed = {Path(row["file"]).stem for row in first}
    if change == "weights":  # of a head, which no fingerprint covers
        from safetensors.torch import load_file, save_file

        from icm_core.pipeline.weights import metadata

        path = home / "toy.safetensors"
        state, about = load_file(path), metadata(path)
        key = next(key for key in state if key.startswith("tasks.coarse.head") and state[key].is_floating_point())
        save_file({**state, key: state[key] + 0.5}, path, about)
    elif change == "another file":
        shutil.copy(files / "deep" / "p01.icm", files / "deep" / "p04.icm")
        changed = {"p04"}
    elif change == "a picture is gone":
        (out / "p07.fine.png").unlink()
        changed = {"p07"}
    elif change in OTHERWISE:
        options += OTHERWISE[change]
    else:
        journal = out / ".icm-decode.jsonl"
        journal.write_bytes(b'[]\n{"mark": 3}\n\xff\xfe\n{"mark": "x", "row": {"tasks": 1}}\n')
    rows = run(*options)[1]
    assert {Path(row["file"]).stem for row in rows if not row.get("kept")} == changed
    assert (out / "p07.fine.png").is_file()


def test_shards_keep_journals_of_their_own_and_read_those_of_others(run, toy, coded, tmp_path) -> None:
    options = ("decode", coded / "deep", "-m", toy, "-o", tmp_path, "--resume")
    for shard in ("1/2", "2/2"):
        run(*options, "--shard", shard)
    assert sorted(path.name for path in tmp_path.glob(".*")) == [".icm-decode-1-of-2.jsonl", ".icm-decode-2-of-2.jsonl"]
    assert all(row["kept"] for row in run(*options)[1])
