"""Encoding a folder when things go wrong: what was finished is whole, what was not is absent."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from icm_core import load
from icm_core.cli import app

SPEC = Path(__file__).parents[1] / "golden" / "presets" / "presets.json"
PROGRAM = [sys.executable, "-c", "from icm_core.cli import main; main()"]
PICTURES = 12

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


@pytest.fixture
def album(tmp_path: Path) -> list[Path]:
    """Twelve pictures."""
    paths = [tmp_path / "album" / f"{i:02}.png" for i in range(PICTURES)]
    paths[0].parent.mkdir()
    for i, path in enumerate(paths):
        Image.effect_noise((60 + i, 50), 20 + i).convert("RGB").save(path)
    return paths


def all_whole(folder: Path) -> list[str]:
    """Stems of the files, each of which has to decode."""
    pipeline = load(SPEC, device="cpu")
    for path in folder.glob("*.icm"):
        assert pipeline.decode(path.read_bytes(), []).complete
    return sorted(path.stem for path in folder.glob("*.icm"))


def test_after_kill_9_files_are_whole_or_absent_and_a_second_run_codes_the_rest(
    tmp_path: Path, album: list[Path]
) -> None:
    out = tmp_path / "out"
    seventh = album[6].read_bytes()
    album[6].unlink()
    os.mkfifo(album[6])  # nobody writes into it, so the program waits here until it is killed
    one_by_one = ["--workers", "1"]
    process = subprocess.Popen([*PROGRAM, "encode", *map(str, album), "-m", str(SPEC), "-o", str(out), *one_by_one])
    deadline = time.monotonic() + 300
    while not (out / "05.icm").exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert all_whole(out) == [f"{i:02}" for i in range(6)]
    album[6].unlink()
    album[6].write_bytes(seventh)
    again = CliRunner().invoke(app, ["encode", *map(str, album), "-m", str(SPEC), "-o", str(out), "--resume", "--json"])
    assert again.exit_code == 0
    assert [row.get("kept", False) for row in json.loads(again.stdout)] == [True] * 6 + [False] * 6
    assert all_whole(out) == [path.stem for path in album]


def test_on_a_full_disk_files_are_whole_or_absent_and_each_failure_is_named(tmp_path: Path, album: list[Path]) -> None:
    small = tmp_path / "small"
    small.mkdir()
    # A disk of four pages, in a mount of its own; what is on it is copied out at the end.
    script = (
        f'mount -t tmpfs -o size=16k tmpfs "{small}" && {{ "$@"; code=$?; cp "{small}"/* "{tmp_path}"; exit $code; }}'
    )
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    command = [*PROGRAM, "encode", *map(str, album), "-m", str(SPEC), "-o", str(small), "--json"]
    done = subprocess.run([*alone, "sh", "-c", script, "sh", *command], capture_output=True, text=True, check=False)
    if "mount:" in done.stderr:
        pytest.skip("no file system can be mounted here")
    assert done.returncode == 2, done.stderr
    rows = json.loads(done.stdout)
    written = [Path(row["output"]).stem for row in rows if "output" in row]
    failed = [row for row in rows if "error" in row]
    assert all_whole(tmp_path) == written and 0 < len(written) < PICTURES
    assert len(failed) == PICTURES - len(written) == len(done.stderr.splitlines())
    assert all("No space left on device" in row["error"] for row in failed)
    assert not list(tmp_path.glob(".icm-*"))


def test_unreadable_files_in_the_middle_are_named_and_the_rest_is_coded(tmp_path: Path, album: list[Path]) -> None:
    album[3].write_bytes(album[3].read_bytes()[:40])
    album[5].unlink()
    album[5].symlink_to("nowhere")
    album[8].write_bytes(b"")
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["encode", *map(str, album), "-m", str(SPEC), "-o", str(out), "--json"])
    assert done.exit_code == 2
    assert [Path(row["file"]).name for row in json.loads(done.stdout) if "error" in row] == [
        "03.png",
        "05.png",
        "08.png",
    ]
    assert all_whole(out) == [path.stem for i, path in enumerate(album) if i not in (3, 5, 8)]
