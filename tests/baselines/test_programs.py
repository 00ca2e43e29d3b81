"""Codecs that are programs of their own: what they are told, how long they may take, and what they say when they fail.

BPG's programs are made up: a file of theirs is a header of BPG's and the picture as PNG.
"""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from icm_baselines import ffmpeg
from icm_baselines.bpg import BPG, claimed
from icm_baselines.ffmpeg import FFmpegError
from icm_baselines.video import VVC
from icm_core import BitstreamError, InputError, Quality

PROGRAM = """#!{python}
import sys
from PIL import Image
out, source = sys.argv[sys.argv.index("-o") + 1], sys.argv[-1]
open({said!r}, "a").write(" ".join(sys.argv[1:]) + "\\n")
print("a warning that is none of a failure", file=sys.stderr)
if {fails!r}:
    print("out of luck", file=sys.stderr)
    sys.exit(3)
if sys.argv[0].endswith("bpgenc"):
    sides = b"".join(bytes([side >> 7 | 0x80, side & 0x7F]) for side in Image.open(source).size)
    open(out, "wb").write(b"BPG\\xfb\\x20\\x00" + sides + open(source, "rb").read())
else:
    open(out, "wb").write(open(source, "rb").read()[10:])
"""


class Programs:
    """The folder of both programs; `told` has a line for each run."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._said = folder, folder / "said"
        monkeypatch.setenv("PATH", str(folder))
        self.write()

    def write(self, fails: bool = False) -> None:
        for name in ("bpgenc", "bpgdec"):
            path = self.folder / name
            path.write_text(PROGRAM.format(python=sys.executable, said=str(self._said), fails=fails))
            path.chmod(path.stat().st_mode | stat.S_IXUSR)

    @property
    def told(self) -> list[str]:
        return self._said.read_text().splitlines()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    return Programs(tmp_path, monkeypatch)


def test_bpg_codes_with_the_reference_encoder_at_the_nearest_qp(programs: Programs, picture: Any) -> None:
    x = picture(40, 300)
    for chroma, quality, qp in (("4:4:4", 1.5, 42), ("4:2:0", 2.25, 38), ("4:4:4", 1.0625, 45)):
        codec = BPG(BPG.Params.model_validate({"chroma": chroma}))
        (payload,) = codec.encode(x, Quality.of(quality))
        assert claimed(payload) == (40, 300)
        form = chroma.replace(":", "")
        assert programs.told[-1].startswith(f"-e jctvc -m 9 -q {qp} -f {form} -c ycbcr_bt709 -b 10 -o ")
        found = codec.decode([payload], (40, 300), Quality.of(quality)).levels[0]
        assert torch.equal(found, (x * 255).round() / 255)


def test_a_bpg_program_that_fails_is_quoted_and_a_warning_is_no_failure(programs: Programs, picture: Any) -> None:
    codec, x = BPG(BPG.Params.model_validate({})), picture(40, 300)
    (payload,) = codec.encode(x, Quality.of(1))
    programs.write(fails=True)
    with pytest.raises(InputError, match=r"cannot code a picture of 300x40 pixels: a warning that is none of a fail"):
        codec.encode(x, Quality.of(1))
    with pytest.raises(BitstreamError, match=r"the baselines\.bpg stream is damaged: a warning"):
        codec.decode([payload], (40, 300), Quality.of(1))


def test_a_bpg_file_of_another_size_is_not_decoded(programs: Programs, picture: Any) -> None:
    codec = BPG(BPG.Params.model_validate({}))
    (payload,) = codec.encode(picture(40, 300), Quality.of(1))
    runs = len(programs.told)
    with pytest.raises(BitstreamError, match="holds a picture of 300x40 pixels, and the file's is 40x300"):
        codec.decode([payload], (300, 40), Quality.of(1))
    assert len(programs.told) == runs


def test_a_bpg_file_that_holds_another_picture_than_its_header_says(programs: Programs, picture: Any) -> None:
    codec = BPG(BPG.Params.model_validate({}))
    (payload,), (other,) = (codec.encode(picture(40, width), Quality.of(1)) for width in (300, 200))
    with pytest.raises(BitstreamError, match="holds a picture of 200x40 pixels, and the file's is 300x40"):
        codec.decode([payload[:10] + other[10:]], (40, 300), Quality.of(1))


def test_a_program_that_does_not_start_is_told(
    programs: Programs, picture: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (programs.folder / "bpgenc").write_text("#!/no/such/interpreter\n")
    with pytest.raises(InputError, match="cannot code a picture of 9x8 pixels: it does not start: No such file"):
        BPG(BPG.Params.model_validate({})).encode(picture(8, 9), Quality.of(1))
    monkeypatch.setattr(ffmpeg, "program", lambda codec: str(programs.folder / "bpgenc"))
    with pytest.raises(
        InputError, match=r"^some\.codec: ffmpeg does not start: No such file .*; pip install 'icm-frame"
    ):
        ffmpeg.run("some.codec", [], b"", 64)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Programs that are not started: their time limits, and what comes of them."""
    seen = SimpleNamespace(limits=[], answer=subprocess.CompletedProcess([], 0, b"coded", b""))

    def run(command: Sequence[str], timeout: float, **more: object) -> subprocess.CompletedProcess[bytes]:
        seen.limits.append(timeout)
        if isinstance(seen.answer, BaseException):
            raise seen.answer
        found: subprocess.CompletedProcess[bytes] = seen.answer
        return found

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr("icm_baselines.bpg.shutil.which", lambda name: f"/somewhere/{name}")
    monkeypatch.setattr(ffmpeg, "program", lambda codec: "ffmpeg")
    return seen


def test_programs_have_two_minutes_and_more_for_larger_pictures(started: SimpleNamespace) -> None:
    ffmpeg.run("some.codec", [], b"", 700_000)
    with pytest.raises(InputError, match="no file came out"):
        BPG(BPG.Params.model_validate({})).compress(np.zeros((700, 1000, 3), np.uint8), 30)
    assert started.limits == [120 + 700_000 / 2000, 120 + 700_000 / 500]


def test_a_program_that_does_not_end_is_no_damaged_stream(started: SimpleNamespace) -> None:
    started.answer = subprocess.TimeoutExpired("x", 123.0)
    with pytest.raises(InputError, match=r"some\.codec: ffmpeg did not end within 125 seconds"):
        ffmpeg.run("some.codec", [], b"", 10_000)
    with pytest.raises(InputError, match="cannot code a picture of 8x9 pixels: it did not end within 123 seconds"):
        BPG(BPG.Params.model_validate({})).compress(np.zeros((9, 8, 3), np.uint8), 30)


@pytest.mark.parametrize(
    ("status", "out", "said", "told"),
    [
        (1, b"half", b"\n first line \nsecond\n", "^first line $"),
        (0, b"", b"", "^it ended with status 0 and wrote nothing$"),
        (7, b"half", b"", "^it ended with status 7 and wrote nothing$"),
    ],
)
def test_what_ffmpeg_says_is_told(started: SimpleNamespace, status: int, out: bytes, said: bytes, told: str) -> None:
    started.answer = subprocess.CompletedProcess([], status, out, said)
    with pytest.raises(FFmpegError, match=told):
        ffmpeg.run("some.codec", [], b"", 64)


def test_ffmpeg_that_says_something_and_ends_well_has_done_its_work(started: SimpleNamespace) -> None:
    started.answer = subprocess.CompletedProcess([], 0, b"coded", b"deprecated pixel format\n")
    assert ffmpeg.run("some.codec", [], b"", 64) == b"coded"


def test_what_a_video_coder_refuses_is_told_with_the_pictures_own_size(started: SimpleNamespace, picture: Any) -> None:
    started.answer = subprocess.CompletedProcess([], 1, b"", b"no such encoder\n")
    codec = VVC(VVC.Params.model_validate({}))
    with pytest.raises(InputError, match=r"^baselines\.vvc cannot code a picture of 83x50 pixels: no such encoder$"):
        codec.encode(picture(50, 83), Quality.of(1))
    with pytest.raises(BitstreamError, match=r"^the baselines\.vvc stream is damaged: no such encoder$"):
        codec.decode([b"x"], (50, 83), Quality.of(1))
    # Of what is coded, 88x64 pixels.
    assert started.limits == [120 + 88 * 64 / 2000] * 2


def test_ffmpeg_is_told_just_this(monkeypatch: pytest.MonkeyPatch, picture: Any) -> None:
    """Nothing is read but what comes in: a stream may name other files and addresses."""
    seen: list[list[str]] = []

    def run(command: list[str], **more: Any) -> subprocess.CompletedProcess[bytes]:
        seen.append(command)
        return subprocess.CompletedProcess([], 0, HEAD + RAW, b"")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(ffmpeg, "program", lambda codec: "ffmpeg")
    codec = VVC(VVC.Params.model_validate({}))
    codec.encode(picture(61, 70), Quality.of(2))
    codec.decompress(b"", (61, 70))
    encode, decode = (" ".join(command) for command in seen)
    assert encode == (
        "ffmpeg -nostdin -hide_banner -loglevel error -f rawvideo -pix_fmt yuv420p10le -s 72x64 -protocol_whitelist "
        "pipe -i pipe:0 -frames:v 1 -c:v libvvenc -preset medium -qp 45 -qpa 0 -vvenc-params intraperiod=1:gopsize=1 "
        "-f vvc pipe:1"
    )
    assert decode == (
        "ffmpeg -nostdin -hide_banner -loglevel error -xerror -err_detect explode -f vvc -max_pixels 17408 -threads 1 "
        "-protocol_whitelist pipe -i pipe:0 -frames:v 1 -strict -1 -f yuv4mpegpipe pipe:1"
    )


HEAD = b"YUV4MPEG2 W72 H64 F25:1 Ip A0:0 C420p10 XYSCSS=420P10 XCOLORRANGE=FULL\nFRAME\n"
RAW = bytes(64 * 72 * 3)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (HEAD + RAW + b"\0", "it holds 13825 bytes of pixels"),
        (HEAD + RAW[:-1], "it holds 13823 bytes of pixels"),
        (HEAD.replace(b"W72 H64", b"W64 H72") + RAW, "holds a picture of 64x72 pixels, and the file's is 72x64"),
        (HEAD.replace(b"C420p10", b"C420jpeg") + RAW, "it holds pixels as '420jpeg', not of 10 bits"),
        (HEAD.replace(b" C420p10", b"") + RAW, "it holds pixels as None, not of 10 bits"),
        (HEAD.replace(b"FRAME", b"GRAME") + RAW, "it holds no picture"),
        (HEAD.replace(b"C420p10", b"C444p10") + RAW, "it holds 13824 bytes of pixels"),
        (HEAD.replace(b"W72", b"W64 W72") + RAW, "holds a picture of 64x64 pixels, and the file's is 72x64"),
    ],
)  # fmt: skip
def test_what_a_video_decoder_gives_is_one_picture_of_the_right_size(
    monkeypatch: pytest.MonkeyPatch, given: bytes, says: str
) -> None:
    codec = VVC(VVC.Params.model_validate({}))
    monkeypatch.setattr("icm_baselines.video.run", lambda *more: HEAD + RAW)
    assert codec.decompress(b"", (61, 70)).shape == (61, 70, 3)
    monkeypatch.setattr("icm_baselines.video.run", lambda *more: given)
    with pytest.raises(BitstreamError, match=f"baselines.vvc stream .*{says}"):
        codec.decompress(b"", (61, 70))


def test_a_video_decoder_is_told_to_stop_at_errors_and_at_large_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def run(codec: str, arguments: Sequence[str], data: bytes, pixels: int) -> bytes:
        seen.append(" ".join(arguments))
        return HEAD + RAW

    monkeypatch.setattr("icm_baselines.video.run", run)
    VVC(VVC.Params.model_validate({})).decompress(b"", (61, 70))
    assert "-xerror -err_detect explode" in seen[0]
    # Sides are those of what was coded, and a block of 64 on top of each.
    assert f"-max_pixels {(64 + 64) * (72 + 64)} " in seen[0] and "-frames:v 1" in seen[0]
