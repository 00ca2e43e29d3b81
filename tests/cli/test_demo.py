import importlib.util
import io
import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from icm_core.errors import InputError
from icm_core.jpeg import jpeg_within, psnr
from icm_core.kinds.painting import Swatch, swatches
from icm_core.types import Prediction
from icm_demo.samples import shipped_photographs

Run = Callable[..., str]
Partly = Callable[..., tuple[str, list[str]]]
MakePhoto = Callable[..., Path]
MODEL = ("-m", "tiny-model")


def noisy(size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def test_a_demo_leaves_files_sheets_and_a_page(tmp_path: Path, photo: Path, run: Run) -> None:
    run("demo", photo, *MODEL, "-o", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "demo.png",
        "index.html",
        *(f"photo.q{quality}.icm" for quality in (1, 2, 3, 4)),
        "photo.sheet.png",
    ]


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
        assert math.isclose(sum(row["labels"]["segmentation"].values()), 1, abs_tol=0.001)


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


def test_the_shipped_photographs_are_pictures() -> None:
    paths = shipped_photographs()
    assert [path.name for path in paths] == ["china.jpg", "chelsea.png", "coffee.png"]
    assert [Image.open(path).size for path in paths] == [(640, 427), (451, 300), (600, 400)]


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


def test_swatches_are_sorted_by_area_with_the_drawings_colours() -> None:
    logits = torch.zeros(1, 3, 1, 4)
    logits[0, 2, 0, :3] = 1
    drawn = Image.fromarray(np.array([[[9, 9, 9]] * 3 + [[1, 2, 3]]], dtype=np.uint8))
    found = swatches(Prediction("segmentation", logits, ("a", "b", "c")), drawn)
    assert found == [Swatch("c", 0.75, (9, 9, 9)), Swatch("a", 0.25, (1, 2, 3))]
