"""Planes of video codecs: BT.709 in 10 bits and full range, by the standard's formulas."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from icm_baselines.colour import from_planes, planes_bytes, to_planes


def planes(colour: tuple[int, int, int]) -> list[int]:
    """Y, Cb and Cr of a picture of one pixel."""
    return np.frombuffer(to_planes(np.array([[colour]], dtype=np.uint8), halved=False), "<u2").tolist()


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (10, 200, 90), (128, 128, 128)], ids=str)
def test_planes_are_those_of_bt_709(colour: tuple[int, int, int]) -> None:
    red, green, blue = (side / 255 for side in colour)
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    expected = [1023 * luma, 1023 * (blue - luma) / 1.8556 + 512, 1023 * (red - luma) / 1.5748 + 512]
    assert planes(colour) == [min(max(round(value), 0), 1023) for value in expected]


def test_samples_of_two_bytes_are_little_endian_and_luma_comes_first() -> None:
    pixels = np.zeros((2, 4, 3), dtype=np.uint8)
    pixels[0, 1] = 255
    raw = to_planes(pixels, halved=True)
    assert len(raw) == planes_bytes(2, 4, True) == 2 * (8 + 2 + 2)
    assert raw[:4] == b"\x00\x00\xff\x03"


def test_colour_planes_are_halved_with_lanczos_and_enlarged_bicubically() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (16, 24, 3), dtype=np.uint8)

    def split(raw: bytes, height: int, width: int) -> list[Image.Image]:
        planes = np.frombuffer(raw, "<u2")[16 * 24 :].reshape(2, height, width)
        return [Image.fromarray(plane.astype(np.float32)) for plane in planes]

    full, half = split(to_planes(pixels, False), 16, 24), split(to_planes(pixels, True), 8, 12)
    for large, small in zip(full, half, strict=True):
        expected = np.asarray(large.resize((12, 8), Image.Resampling.LANCZOS)).clip(0, 1023)
        assert np.abs(expected - np.asarray(small)).max() <= 1.5  # samples were rounded before they were resized
    enlarged = [np.asarray(plane.resize((24, 16), Image.Resampling.BICUBIC)) for plane in half]
    luma = np.frombuffer(to_planes(pixels, True), "<u2")[: 16 * 24].reshape(16, 24) / 1023
    blue, red = ((plane - 512) / 1023 for plane in enlarged)
    colours = luma + 1.5748 * red, luma + 1.8556 * blue
    found = from_planes(to_planes(pixels, True), 16, 24, True)
    for channel, colour in zip((0, 2), colours, strict=True):
        assert np.abs(found[..., channel] - (255 * colour).clip(0, 255)).max() <= 0.51


def test_colour_planes_are_rounded_once_after_they_are_halved() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    red, green, blue = (pixels[..., channel] / 255 for channel in range(3))
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    found = np.frombuffer(to_planes(pixels, True), "<u2")
    assert np.abs(found[: 16 * 24].reshape(16, 24) - 1023 * luma).max() <= 0.5 + 1e-6
    whole = (blue - luma) / 1.8556, (red - luma) / 1.5748
    for difference, half in zip(whole, found[16 * 24 :].reshape(2, 8, 12), strict=True):
        plane = Image.fromarray((1023 * difference + 512).astype(np.float32))
        expected = np.asarray(plane.resize((12, 8), Image.Resampling.LANCZOS)).clip(0, 1023)
        assert np.abs(expected - half).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("halved", [False, True])
def test_smooth_pictures_come_back(halved: bool) -> None:
    rows, columns = np.mgrid[0:32, 0:48]
    pixels = np.stack([20 + 4 * columns, 200 - 3 * rows, 230 - 4 * columns + rows // 2], 2).astype(np.uint8)
    found = from_planes(to_planes(pixels, halved), 32, 48, halved)
    inside = np.s_[4:-4, 4:-4]  # enlarged chroma has less to go on at the border
    assert np.abs(found[inside].astype(int) - pixels[inside].astype(int)).max() <= 1
