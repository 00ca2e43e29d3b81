import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image

from icm_core.errors import InputError
from icm_core.pictures import open_picture, read_picture, to_picture, to_rgb, to_tensor

WIDE = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)


def saved(folder: Path, image: Image.Image, name: str = "picture.png", **options: object) -> Path:
    path = folder / name
    image.save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA"])
def test_every_png_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    picture = open_picture(saved(tmp_path, Image.new(mode, (5, 3))))
    assert (picture.mode, picture.size) == ("RGB", (5, 3))


def test_grey_keeps_its_values(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(np.array([[0, 7, 255]], dtype=np.uint8)))
    assert np.array(open_picture(path)).tolist() == [[[0] * 3, [7] * 3, [255] * 3]]


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    image = Image.new("P", (1, 1), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    assert open_picture(saved(tmp_path, image)).getpixel((0, 0)) == (10, 20, 30)


def test_alpha_lies_over_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (3, 1))
    for x, alpha in enumerate((0, 51, 255)):
        image.putpixel((x, 0), (0, 100, 200, alpha))
    assert np.array(open_picture(saved(tmp_path, image))).tolist() == [[[255] * 3, [204, 224, 244], [0, 100, 200]]]


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_a_transparent_colour_becomes_white(tmp_path: Path, mode: str) -> None:
    path = saved(tmp_path, Image.new(mode, (2, 2), 0), transparency=0)
    assert open_picture(path).getpixel((0, 0)) == (255, 255, 255)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("CMYK", (8, 8), (0, 0, 0, 255)), "k.jpg")
    assert open_picture(path).getpixel((4, 4)) == (0, 0, 0)


@pytest.mark.parametrize("name", ["wide.png", "wide.tif"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path, name: str) -> None:
    picture = open_picture(saved(tmp_path, Image.fromarray(WIDE), name))
    assert np.array(picture)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_16_bit_grey_in_32_bit_integers_is_scaled() -> None:
    assert np.array(to_rgb(Image.fromarray(WIDE.astype(np.int32))))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_floats_from_0_to_1_are_scaled() -> None:
    image = Image.fromarray(np.array([[0.0, 0.5, 1.0]], dtype=np.float32))
    assert np.array(to_rgb(image))[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("values", [[[70000]], [[-1]]])
def test_grey_beyond_16_bit_is_refused(values: list[list[int]]) -> None:
    with pytest.raises(InputError, match="beyond 0 to 65535"):
        to_rgb(Image.fromarray(np.array(values, dtype=np.int32)))


@pytest.mark.parametrize("value", [1.5, float("nan")])
def test_floats_beyond_1_are_refused_with_the_files_name(tmp_path: Path, value: float) -> None:
    path = saved(tmp_path, Image.fromarray(np.array([[value]], dtype=np.float32)), "float.tif")
    with pytest.raises(InputError, match=r"float\.tif.*beyond 0 to 1"):
        open_picture(path)


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (16, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees
    picture = open_picture(saved(tmp_path, image, "turned.jpg", exif=exif))
    assert picture.size == (8, 16)


def test_a_rotated_picture_is_turned_once(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = open_picture(saved(tmp_path, Image.new("RGB", (16, 8)), "turned.jpg", exif=exif))
    assert to_rgb(picture).size == (8, 16)


def test_one_pixel_is_a_picture(tmp_path: Path) -> None:
    tensor = to_tensor(open_picture(saved(tmp_path, Image.new("RGB", (1, 1), (255, 0, 51)))))
    assert torch.equal(tensor, torch.tensor([1.0, 0.0, 0.2]).reshape(1, 3, 1, 1))


def test_a_tensor_has_rows_before_columns() -> None:
    assert to_tensor(Image.new("RGB", (7, 2))).shape == (1, 3, 2, 7)


def test_a_picture_goes_to_a_tensor_and_back() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    assert np.array_equal(np.array(to_picture(to_tensor(Image.fromarray(pixels)))), pixels)


def test_values_outside_0_to_1_are_clamped() -> None:
    picture = to_picture(torch.tensor([-0.5, 0.5, 1.5]).reshape(3, 1, 1))
    assert picture.getpixel((0, 0)) == (0, 128, 255)


def test_more_pixels_than_allowed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"picture\.png is too large: 10x10 is more than 99 pixels"):
        open_picture(saved(tmp_path, Image.new("RGB", (10, 10))), max_pixels=99)


def test_what_pillow_calls_a_bomb_is_too_large(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"picture\.png is too large"):
        open_picture(saved(tmp_path, Image.new("1", (20000, 10000))))


def test_a_side_that_no_file_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="side of more than 65535"):
        open_picture(saved(tmp_path, Image.new("1", (65536, 1))))


@pytest.mark.filterwarnings("error")
def test_a_large_picture_within_the_limit_opens_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 90)
    assert open_picture(saved(tmp_path, Image.new("1", (10, 10)))).size == (10, 10)


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nothing.jpg"
    path.touch()
    with pytest.raises(InputError, match=r"nothing\.jpg is empty"):
        open_picture(path)


def test_what_is_not_a_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.png"
    path.write_text("not a picture")
    with pytest.raises(InputError, match=r"notes\.png is not a picture"):
        open_picture(path)


def test_a_file_that_is_a_program_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = tmp_path / "ran"
    interpreter = tmp_path / "gs"  # what Pillow looks for
    interpreter.write_text(f"#!/bin/sh\n[ $1 = --version ] || {{ : > '{ran}'; exit 1; }}\n")
    interpreter.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    path = saved(tmp_path, Image.new("RGB", (8, 8)), "drawing.eps")
    with pytest.raises(InputError, match=r"drawing\.eps is an EPS file, a program"):
        open_picture(path)
    with pytest.raises(InputError, match="the picture is an EPS file, a program"):
        read_picture(path.read_bytes(), "the picture")
    assert not ran.exists()
    with Image.open(path) as image, pytest.raises(subprocess.CalledProcessError):
        image.load()
    assert ran.exists()  # so Pillow alone would have run it


@pytest.mark.parametrize("name", ["cut.png", "cut.jpg", "cut.webp", "cut.gif", "cut.tif"])
def test_a_cut_picture_is_named(tmp_path: Path, name: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path, Image.fromarray(pixels), name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        open_picture(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*gone\.png: No such file"):
        open_picture(tmp_path / "gone.png")


def test_a_folder_is_not_a_picture(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        open_picture(tmp_path)
