"""Class maps, maps of whole numbers, and pictures as tensors: nothing is converted, and what is refused is named."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from icm_core.bitstream.container import MAX_SIDE
from icm_core.errors import InputError
from icm_core.pictures import (
    as_batch,
    as_bytes,
    open_picture,
    png_bytes,
    read_class_map,
    read_grey_map,
    read_picture,
    to_picture,
    to_rgb,
    to_tensor,
)

Read = Callable[..., Any]


def content(image: Image.Image, of: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, of, **options)
    return buffer.getvalue()


def grey(values: object, dtype: type = np.uint8) -> Image.Image:
    return Image.fromarray(np.array(values, dtype=dtype))


# --- maps ------------------------------------------------------------------------------------------------------------


def test_a_class_map_holds_the_numbers_of_its_pixels_and_not_their_colours() -> None:
    palette = grey([[0, 2, 1], [255, 1, 0]])
    palette.putpalette([9, 9, 9, 200, 100, 50, *([1, 2, 3] * 254)])
    assert palette.mode == "P"
    for image in (grey([[0, 2, 1], [255, 1, 0]]), palette):
        found = read_class_map(content(image), "classes.png")
        assert found.dtype == torch.uint8 and found.tolist() == [[0, 2, 1], [255, 1, 0]]


@pytest.mark.parametrize("mode", ["RGB", "1", "LA", "I;16"])
def test_other_modes_are_no_class_maps(mode: str) -> None:
    data = content(Image.new(mode, (4, 3)))
    with pytest.raises(InputError, match=r"^classes is a PNG picture of mode .*; a class map is a PNG with one byte"):
        read_class_map(data, "classes")


def test_what_a_jpeg_has_smeared_is_no_map() -> None:
    for read, says in ((read_class_map, "a class map"), (read_grey_map, "a map of whole numbers")):
        with pytest.raises(InputError, match=f"^m is a JPEG picture of mode L; {says}"):
            read(content(grey([[0, 7]]), "JPEG"), "m")


def test_a_grey_map_holds_all_of_16_bits() -> None:
    values = [[0, 255, 256], [32768, 40000, 65535]]
    found = read_grey_map(content(grey(values, np.uint16)), "steps")
    assert found.dtype == torch.int32 and found.tolist() == values
    assert read_grey_map(content(grey([[0, 7, 255]])), "steps").tolist() == [[0, 7, 255]]
    as_integers = grey(values, np.int32)  # what Pillow makes of some files of 16 bits, and writes as 32
    assert read_grey_map(content(as_integers, "TIFF"), "steps").tolist() == values


@pytest.mark.parametrize(("values", "says"), [([[3, 65536]], "from 3 to 65536"), ([[-1, 5]], "from -1 to 5")])
def test_grey_values_beyond_16_bits_are_named(values: object, says: str) -> None:
    with pytest.raises(InputError, match=rf"^steps holds values {says}; they should be 0 to 65535"):
        read_grey_map(content(grey(values, np.int32), "TIFF"), "steps")


@pytest.mark.parametrize("mode", ["RGB", "P", "LA", "1"])
def test_other_modes_are_no_grey_maps(mode: str) -> None:
    with pytest.raises(InputError, match=r"^steps is a PNG picture of mode .*; a map of whole numbers is a PNG"):
        read_grey_map(content(Image.new(mode, (4, 3))), "steps")


# --- what is read ----------------------------------------------------------------------------------------------------

READERS = [read_picture, read_class_map, read_grey_map]


@pytest.mark.parametrize("read", READERS)
def test_each_reader_has_its_own_limit_and_names_the_file(read: Read) -> None:
    data = content(Image.new("L", (5, 4)))
    assert read(data, "a", max_pixels=20) is not None
    with pytest.raises(InputError, match=r"^a is too large: 5x4 is more than 19 pixels$"):
        read(data, "a", max_pixels=19)
    with pytest.raises(InputError, match=r"^a is empty$"):
        read(b"", "a")
    with pytest.raises(InputError, match=r"^a is not a picture that Pillow can read$"):
        read(b"no picture", "a")
    with pytest.raises(InputError, match=r"^a is cut or damaged: "):
        noise = np.random.default_rng(0).integers(0, 256, (50, 50))
        read(content(grey(noise))[:1500], "a")


def test_the_longest_side_that_a_file_can_hold_is_read() -> None:
    assert read_picture(content(Image.new("1", (MAX_SIDE, 1))), "wide").size == (65535, 1)
    with pytest.raises(InputError, match=r"^tall is too large: 1x65536 has a side of more than 65535 pixels"):
        read_picture(content(Image.new("1", (1, MAX_SIDE + 1))), "tall")


def test_a_files_name_stands_once_in_what_is_wrong_with_it() -> None:
    floats = content(grey([[1.5]], np.float32), "TIFF")
    for name in ("x.tif", "mode", "f"):  # also where the sentence has such a word
        with pytest.raises(InputError, match=rf"^{name}: grey values of mode F reach beyond 0 to 1$"):
            read_picture(floats, name)
    with pytest.raises(InputError) as caught:
        read_picture(b"", "picture.png")
    assert str(caught.value).count("picture.png") == 1


def test_grey_below_0_is_refused_as_that_above() -> None:
    with pytest.raises(InputError, match="beyond 0 to 1"):
        to_rgb(grey([[-0.25, 0.5]], np.float32))


def test_a_camera_that_was_held_upright_is_turned_the_right_way() -> None:
    image = Image.new("RGB", (16, 8), (255, 255, 255))
    image.paste((0, 0, 0), (0, 0, 8, 8))  # the left half is dark
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise: what was left is above
    picture = read_picture(content(image, "PNG", exif=exif), "turned")
    assert (picture.size, picture.getpixel((4, 3)), picture.getpixel((4, 12))) == ((8, 16), (0, 0, 0), (255,) * 3)


@pytest.mark.parametrize(("mode", "colour"), [("La", (50, 100)), ("RGBa", (50, 50, 50, 100))])
def test_colours_that_were_multiplied_with_their_opacity_lie_over_white(mode: str, colour: tuple[int, ...]) -> None:
    """50 is 100/255 of 127.5: two fifths of grey over white."""
    expected = 50 + 255 * (1 - 100 / 255)
    assert to_rgb(Image.new(mode, (1, 1), colour)).getpixel((0, 0)) == pytest.approx((expected,) * 3, abs=1.5)


# --- tensors ---------------------------------------------------------------------------------------------------------

PIXELS = np.random.default_rng(3).integers(0, 256, (4, 7, 3), dtype=np.uint8)


def test_a_picture_is_the_same_in_every_form() -> None:
    expected = torch.tensor(PIXELS.transpose(2, 0, 1).tolist(), dtype=torch.uint8)[None]
    image = Image.fromarray(PIXELS)
    for form in (image, expected, expected[0]):
        whole = as_bytes(form)
        assert whole is not None and whole.dtype == torch.uint8 and torch.equal(whole, expected)
        assert torch.equal(as_batch(form), expected / 255)
    assert torch.equal(to_tensor(image), expected / 255)
    for floats in (expected / 255, expected[0] / 255):
        assert as_bytes(floats) is None and torch.equal(as_batch(floats), expected / 255)
    assert as_bytes(torch.zeros(1, 4, 4, dtype=torch.uint8)) is None
    assert as_bytes(torch.zeros(2, 3, 4, 4, dtype=torch.uint8)) is None
    assert as_bytes("a path") is None  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(4, 4), (1, 1, 3, 4, 4), (4, 4, 3), (3, 3, 4, 4), (3, 1, 4, 4)])
def test_what_is_no_pictures_shape_is_named(shape: tuple[int, ...]) -> None:
    for dtype in (torch.uint8, torch.float32):
        with pytest.raises(InputError, match=r"a picture's tensor has the shape .*, not \(" + str(shape[0])):
            as_batch(torch.zeros(shape, dtype=dtype))


def test_a_picture_that_no_file_can_hold_is_named_by_width_and_height() -> None:
    image, tensor = Image.new("1", (2, 65536)), torch.zeros(3, 1, 1, dtype=torch.uint8).expand(3, 65536, 2)
    for read in (as_bytes, as_batch):
        for form in (image, tensor):
            with pytest.raises(InputError, match=r"^a picture of 2x65536 pixels does not fit an \.icm file"):
                read(form)


@pytest.mark.parametrize("value", [-0.001, 1.001, float("nan"), float("inf")])
def test_one_value_outside_is_enough(value: float) -> None:
    picture = torch.full((3, 4, 4), 0.5)
    picture[1, 2, 3] = value
    with pytest.raises(InputError, match=r"floats lie in \[0, 1\]"):
        as_batch(picture)


def test_no_gradient_goes_into_a_picture_and_half_precision_is_read() -> None:
    learned = torch.full((3, 2, 2), 0.5, requires_grad=True)
    assert not as_batch(learned).requires_grad
    assert as_batch(torch.full((3, 2, 2), 0.5, dtype=torch.float16)).dtype == torch.float32


def test_a_cut_picture_is_refused_by_name_when_its_pixels_are_read() -> None:
    data = content(Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)))
    for read in (as_bytes, as_batch):
        image = Image.open(io.BytesIO(data[: len(data) // 2]))
        with image, pytest.raises(InputError, match=r"^the picture is cut or damaged: "):
            read(image)


def test_a_tall_picture_is_put_together_from_its_strips() -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (600, 5, 3), dtype=np.uint8)  # strips have 256 rows
    tensor = to_tensor(Image.fromarray(pixels))
    assert np.array_equal(np.asarray(to_picture(tensor)), pixels)
    assert np.array_equal(np.asarray(to_picture(tensor[0])), pixels)


def test_of_several_pictures_the_first_is_shown_rounded_to_the_nearest_step() -> None:
    steps = torch.tensor([10.4, 10.6, 255.0]).view(3, 1, 1) / 255
    learned = torch.stack([steps, 1 - steps]).requires_grad_()
    assert to_picture(learned).getpixel((0, 0)) == (10, 11, 255)


def test_a_pictures_png_decodes_to_it() -> None:
    image = Image.fromarray(PIXELS)
    with Image.open(io.BytesIO(png_bytes(image))) as again:
        assert again.format == "PNG" and np.array_equal(np.asarray(again), PIXELS)


def test_a_picture_is_opened_within_its_limit(tmp_path: Any) -> None:
    Image.new("L", (5, 4)).save(tmp_path / "a.png")
    assert open_picture(tmp_path / "a.png", max_pixels=20).size == (5, 4)
    assert open_picture(str(tmp_path / "a.png")).mode == "RGB"


@pytest.mark.parametrize("mode", ["P", "L", "RGB", "RGBA", "I;16"])
def test_a_png_keeps_the_pictures_mode(mode: str) -> None:
    """Class maps have their numbers in a palette picture, depths theirs in 16 bits."""
    numbers = np.arange(24).reshape(4, 6)
    if mode == "I;16":
        image = Image.fromarray((numbers * 2000).astype(np.uint16))
    elif mode == "P":
        image = Image.fromarray(numbers.astype(np.uint8))
        image.putpalette([value for index in range(24) for value in (index * 10, 5, 255 - index)])
    else:
        image = Image.fromarray(PIXELS).convert(mode)
    with Image.open(io.BytesIO(png_bytes(image))) as again:
        assert again.mode == image.mode == mode and again.size == image.size
        assert np.array_equal(np.asarray(again), np.asarray(image))
        assert np.array_equal(np.asarray(again.convert("RGB")), np.asarray(image.convert("RGB")))
