"""The demo's sheets and page, and the words around them, piece by piece."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from icm_core import load
from icm_core.bitstream.container import read
from icm_core.jpeg import Jpeg
from icm_core.spec.model import TrainedOn
from icm_demo.collect import Answer, Demo, Sample, Step, collect, qualities_of, warm_up
from icm_demo.command import _means, _place, _print, _print_left, _row
from icm_demo.page import page
from icm_demo.samples import Given
from icm_demo.sheet import CELL, GAP, _fitting, caption, sheet_of_all, sheet_of_one

Run = Callable[..., str]


def answer(picture: Image.Image | None = None, text: str = "", psnr: float | None = None) -> Answer:
    return Answer("kind", 12_345, 0.25, {}, text, picture, psnr)


def step(answers: Mapping[str, Answer], quality: float = 1.0) -> Step:
    return Step(quality, Path("a.icm"), 20_000, 12_345, 0.5, 0.25, answers, None, 0.0, 0.0)


def sample(picture: Image.Image, *steps: Step) -> Sample:
    return Sample(Path("a.png"), picture, steps)


def plain(size: tuple[int, int], colour: str) -> Image.Image:
    return Image.new("RGB", size, colour)


@pytest.mark.parametrize(
    ("low", "high", "qualities"),
    [(1, 4, [1, 2, 3, 4]), (2, 3, [2, 3]), (1.5, 3.5, [2, 3]), (3, 3, [3]), (5, 8, [5]), (2.2, 2.8, [2.2])],
)
def test_qualities_are_those_that_the_pipeline_has_or_its_lowest(low: float, high: float, qualities: Any) -> None:
    pipe: Any = SimpleNamespace(codec=SimpleNamespace(quality_range=(low, high)))
    assert qualities_of(pipe) == qualities


def test_tasks_speak_that_say_something_at_any_quality() -> None:
    steps = [step({"one": answer(text="a")}), step({"one": answer(), "two": answer(text="b")}, 2.0)]
    assert sample(plain((8, 8), "red"), *steps).speaking == ["one", "two"]


def test_the_page_holds_pictures_as_they_are_but_for_webp() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8))
    text = page(Demo("tiny", "cpu", "fp32", [sample(picture, step({}))]))
    (data,) = re.findall(r'src="data:image/webp;base64,([^"]+)"', text)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=92)
    assert base64.b64decode(data) == buffer.getvalue()


def test_a_wide_picture_that_is_shown_smaller_is_told() -> None:
    for size, told in (((1601, 10), True), ((10, 1601), True), ((1600, 1600), False)):
        text = page(Demo("tiny", "cpu", "fp32", [sample(plain(size, "red"), step({}))]))
        assert ("at most 1600 pixels" in text) == told


def test_a_caption_says_bytes_rate_and_distance() -> None:
    assert caption("fine", answer(psnr=31.26)) == "fine: 12,345 bytes, 0.250 bpp, 31.3 dB"
    assert caption("fine", answer(psnr=0.0)) == "fine: 12,345 bytes, 0.250 bpp, 0.0 dB"
    assert caption("boxes", answer()) == "boxes: 12,345 bytes, 0.250 bpp"


def test_a_sheet_is_as_wide_as_its_longest_row_and_as_high_as_its_rows() -> None:
    red, blue = plain((400, 100), "red"), plain((400, 300), "blue")
    few, many = step({"one": answer(blue)}), step({"one": answer(blue), "two": answer(blue)})
    sheet = sheet_of_all(Demo("tiny", "cpu", "fp32", [sample(red, few), sample(red, many)]))
    assert sheet.width == GAP + 3 * (CELL + GAP)
    assert sheet.height == GAP + 2 * (22 + 300 + GAP)
    found = (np.asarray(sheet) == (0, 0, 255)).all(2)
    columns = np.flatnonzero(np.diff(np.r_[0, found.any(0).astype(int), 0]))
    rows = np.flatnonzero(np.diff(np.r_[0, found.any(1).astype(int), 0]))
    second, third = GAP + CELL + GAP, GAP + 2 * (CELL + GAP)
    assert columns.tolist() == [second, second + 400, third, third + 400]
    assert rows.tolist() == [GAP + 22, GAP + 322, GAP + 322 + GAP + 22, GAP + 322 + GAP + 322]


def test_of_each_picture_the_middle_quality_stands_for_all() -> None:
    steps = [step({"one": answer(plain((400, 100), colour))}, index) for index, colour in enumerate(("red", "blue"))]
    pixels = np.asarray(sheet_of_all(Demo("tiny", "cpu", "fp32", [sample(plain((9, 9), "white"), *steps)])))
    assert (pixels == (0, 0, 255)).all(2).any()
    assert not (pixels == (255, 0, 0)).all(2).any()


def shown(picture: Image.Image) -> tuple[np.ndarray[Any, Any], tuple[int, int]]:
    """What a sheet shows of a picture, and its width and height there."""
    pixels = np.asarray(sheet_of_one(sample(picture, step({}))))[GAP + 22 : -GAP, GAP : GAP + CELL]
    inked = np.flatnonzero((pixels != 255).any((0, 2))), np.flatnonzero((pixels != 255).any((1, 2)))
    return pixels, (int(inked[0].max()) + 1, int(inked[1].max()) + 1)


def test_pictures_fit_into_a_column_and_tall_ones_into_two_columns_height() -> None:
    assert shown(plain((800, 200), "red"))[1] == (400, 100)
    assert shown(plain((100, 1000), "red"))[1] == (80, 800)
    assert shown(plain((100, 50), "red"))[1] == (400, 200)
    assert shown(plain((1, 2000), "red"))[1] == (1, 800)
    assert shown(plain((2000, 1), "red"))[1] == (400, 1)


def test_small_pictures_are_enlarged_without_smoothing_and_others_with() -> None:
    small = Image.fromarray(np.array([[[255, 0, 0], [0, 0, 255]]] * 2, np.uint8))
    pixels, _ = shown(small)
    assert {tuple(colour) for colour in pixels[:400].reshape(-1, 3)} == {(255, 0, 0), (0, 0, 255)}
    large, _ = shown(small.resize((300, 300), Image.Resampling.NEAREST))
    assert len({tuple(colour) for colour in large[:400].reshape(-1, 3)}) > 2


@pytest.mark.parametrize("begin", [0.5, 1.0])
def test_what_is_too_long_for_a_column_keeps_its_beginning_and_its_end(begin: float) -> None:
    draw, font = ImageDraw.Draw(plain((9, 9), "red")), ImageFont.load_default(13)
    text = f"the beginning {'of a long story ' * 20} the end"
    short = _fitting(draw, text, font, begin)
    assert draw.textlength(short, font) <= CELL < draw.textlength(text, font)
    first, _, last = short.partition("...")
    assert text.startswith(first)
    assert text.endswith(last)
    assert len(first) > 20
    assert abs(len(first) - len(last)) <= 1 if begin == 0.5 else last == ""
    assert draw.textlength(f"{text[: len(first) + 1]}...{last}", font) > CELL - 10  # no more is left out than has to be
    assert _fitting(draw, "short", font, begin) == "short"


def test_what_the_picture_says_is_not_written_under_the_original() -> None:
    red, blue = plain((400, 100), "red"), plain((400, 100), "blue")
    answers = {"drawn": answer(blue, "two boxes"), "said": answer(text="a cat"), "silent": answer(blue)}
    original, drawn, silent = (_cell(sheet_of_one(sample(red, step(answers))), number) for number in range(3))
    only_said = _cell(sheet_of_one(sample(red, step({"said": answers["said"]}))), 0)
    assert np.array_equal(original, only_said)
    assert (drawn[22 : 22 + 18] != 255).any() and (silent[22 : 22 + 18] == 255).all()


def _cell(sheet: Image.Image, number: int) -> np.ndarray[Any, Any]:
    """A column of a sheet of one row."""
    left = GAP + number * (CELL + GAP)
    return np.asarray(sheet)[GAP:-GAP, left : left + CELL]


def test_the_table_and_the_sheet_of_all_are_of_the_middle_quality(capsys: pytest.CaptureFixture[str]) -> None:
    answers = [{"one": answer(plain((400, 100), colour), colour)} for colour in ("red", "blue", "green")]
    steps = [step(told, quality) for quality, told in enumerate(answers, 2)]
    found = Demo("tiny", "cpu", "fp32", [sample(plain((400, 100), "white"), *steps)])
    middle = sheet_of_one(sample(plain((400, 100), "white"), steps[1]))
    assert sheet_of_all(found).tobytes() == middle.tobytes()
    _print(found)
    _, said = " ".join(capsys.readouterr().out.split()).split("What the networks say at quality 3")
    assert "blue" in said and "red" not in said and "green" not in said


@pytest.mark.parametrize("layered", [True, False])
def test_the_table_has_means_of_a_quality_over_the_pictures(layered: bool) -> None:
    """Of JPEG only where every picture has one."""
    red = plain((8, 8), "red")
    one = replace(
        step({"coarse": answer(psnr=20.0), "said": answer(text="a"), "fine": answer(psnr=30.5)}, 2.5),
        jpeg=Jpeg(50, 18_000, 28.0, red),
        encode_seconds=1.0,
        decode_seconds=4.0,
    )
    two = Step(
        2.5, Path("b.icm"), 40_000, 12_350, 0.75, 0.5,
        {"coarse": answer(psnr=23.0), "fine": answer(psnr=31.0)}, Jpeg(20, 39_000, 29.5, red), 2.0, 8.0,
    )  # fmt: skip
    base = [("base bytes", "12348"), ("bpp", "0.375")] if layered else []
    before = [
        ("quality", "2.5"), *base, ("whole bytes" if layered else "bytes", "30000"), ("bpp", "0.625"),
        ("coarse dB", "21.50"), ("fine dB", "30.75"),
    ]  # fmt: skip
    after = [("encode s", "1.50"), ("decode s", "6.00")]
    assert _means([one, two], layered) == [*before, ("JPEG bytes", "28500"), ("JPEG dB", "28.75"), *after]
    for steps in ([one, replace(two, jpeg=None)], [replace(one, jpeg=None), two]):
        assert _means(steps, layered) == [*before, ("JPEG bytes", "-"), ("JPEG dB", "-"), *after]


def test_files_have_two_layers_where_one_of_them_ends_behind_its_base() -> None:
    red, two = plain((8, 8), "red"), step({})
    one = replace(two, base_bytes=two.bytes)
    for samples, layered in (([sample(red, one, two)], True), ([sample(red, one)], False), ([], False)):
        assert Demo("tiny", "cpu", "fp32", samples).layered is layered


def test_a_picture_of_0_db_has_a_distance_and_an_answer_without_one_has_none() -> None:
    blue = plain((8, 8), "blue")
    one = step({"bad": answer(blue, psnr=0.0), "equal": answer(blue, psnr=math.inf), "said": answer(text="a")})
    assert one.psnr == {"bad": 0.0, "equal": math.inf}
    assert (one.texts, list(one.pictures)) == ({"said": "a"}, ["bad", "equal"])


def test_json_has_null_for_what_is_infinite_and_times_in_their_place() -> None:
    given = replace(
        step({"bad": answer(psnr=0.0), "equal": answer(psnr=math.inf)}),
        jpeg=Jpeg(77, 900, math.inf, plain((8, 8), "red")),
        encode_seconds=1.23456,
        decode_seconds=2.00004,
    )
    row = _row(sample(plain((8, 8), "red"), given), given)
    assert row["psnr"] == {"bad": 0.0, "equal": None}
    assert row["jpeg"] == {"quality": 77, "bytes": 900, "psnr": None}
    assert (row["encode_seconds"], row["decode_seconds"]) == (1.2346, 2.0)
    assert (row["bytes"], row["base_bytes"], row["bpp"], row["base_bpp"]) == (20_000, 12_345, 0.5, 0.25)


@pytest.mark.parametrize(("low", "first"), [(1.0, 1.0), (2.5, 3.0)])
def test_one_picture_is_coded_beforehand_at_a_quality_that_there_is(
    low: float, first: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = load("tiny-model", device="cpu")
    seen: list[float] = []
    encode = pipe.encode
    monkeypatch.setattr(type(pipe.codec), "quality_range", property(lambda _: (low, 4.0)))

    def remember(picture: Image.Image, quality: float) -> bytes:
        seen.append(quality)
        return encode(picture, quality=quality)

    monkeypatch.setattr(pipe, "encode", remember)
    warm_up(pipe)
    assert seen == [first]


def test_what_a_kind_draws_is_shown_in_rgb_and_not_where_words_say_it(
    tmp_path: Path, photo: Path, boxed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = load(boxed, device="cpu")
    kind = type(pipe.kind("boxes"))
    monkeypatch.setattr(kind, "draw", lambda self, prediction, picture: picture.convert("L"))
    for in_words in (False, True):
        monkeypatch.setattr(kind, "in_words", in_words)
        told = collect(pipe, Given(photo, frozenset()), tmp_path).steps[0].answers["boxes"]
        assert told.text == "2 boxes" and told.psnr is None
        if in_words:
            assert told.picture is None
        else:
            assert told.picture is not None and told.picture.mode == "RGB"
            assert told.picture.tobytes() == Image.open(photo).convert("L").convert("RGB").tobytes()


@pytest.mark.parametrize(("option", "says"), [("--precision", "precision"), ("--device", "device")])
def test_the_demo_runs_where_and_how_it_is_told(photo: Path, fail: Run, option: str, says: str) -> None:
    said = fail("demo", photo, "-m", "tiny-model", option, "fp8")
    assert says in said and "'fp8'" in said


def test_threads_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe: Any = SimpleNamespace(device=torch.device("cpu"))
    for threads, words in ((1, "cpu, 1 thread"), (2, "cpu, 2 threads")):
        monkeypatch.setattr("torch.get_num_threads", lambda threads=threads: threads)
        assert _place(pipe) == words


def test_how_to_ask_a_task_can_be_pasted_into_a_shell(capsys: pytest.CaptureFixture[str]) -> None:
    left = {"seg": TrainedOn(data="one drive", pictures="old streets")}
    _print_left([Sample(Path("a.png"), plain((8, 8), "red"), [], left)])
    assert "add --shows 'old streets'" in capsys.readouterr().out
    picture = plain((8, 8), "red")
    _print_left([Sample(Path("a.png"), picture, []), *(Sample(Path(f"{n}.png"), picture, [], left) for n in "bc")])
    assert capsys.readouterr().out.count("skipped: seg, trained on ") == 1


def test_the_demo_writes_over_no_picture_that_it_is_given(
    tmp_path: Path, fail: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    plain((40, 24), "red").save(tmp_path / "out" / "demo.png")
    before = (tmp_path / "out" / "demo.png").read_bytes()
    monkeypatch.chdir(tmp_path)
    assert "would write over its input out/demo.png" in fail("demo", "out/demo.png", "-m", "tiny-model", "-o", "out")
    assert (tmp_path / "out" / "demo.png").read_bytes() == before


def test_files_of_fractional_qualities_have_names_of_their_own(
    tmp_path: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icm_demo.collect.qualities_of", lambda _: [1.625, 2.0])
    found = collect(load("tiny-model", device="cpu"), Given(photo, frozenset()), tmp_path)
    assert [one.file.name for one in found.steps] == ["photo.q1.625.icm", "photo.q2.icm"]
    assert [read(one.file.read_bytes()).quality.value for one in found.steps] == [1.625, 2.0]


def test_of_the_demos_own_pictures_nobody_is_told_what_to_add(
    tmp_path: Path, photo: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tmp_path / "learned.json"
    tasks = {"segmentation": {"trained_on": {"data": "one drive", "pictures": "streets"}}}
    spec.write_text(json.dumps({"icm": 1, "name": "learned", "extends": "tiny-model", "tasks": tasks}))
    assert "skipped: segmentation" in run("demo", photo, "-m", spec, "-o", tmp_path / "out")
    monkeypatch.setattr("icm_demo.samples.demo_pictures", lambda _: [Given(photo, frozenset({"objects"}))])
    assert "skipped" not in run("demo", "-m", spec, "-o", tmp_path / "out")
