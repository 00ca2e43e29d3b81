"""Bytes and errors on a photograph from a wheel, against the codecs called by hand."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icm_core.pictures import to_tensor
from icm_core.quality import Quality

skimage = pytest.importorskip(
    "skimage", reason="the photograph is in scikit-image's wheel; install icm-framework[demo]"
)

CALLS = {
    "jpeg": ("JPEG", {"quality": 20, "subsampling": "4:2:0", "optimize": True, "progressive": True}),
    "jpeg2000": (
        "JPEG2000",
        {"quality_mode": "rates", "quality_layers": [24 / 0.4], "irreversible": True, "mct": 1},
    ),
    "webp": ("WEBP", {"quality": 45, "method": 6}),
    "avif": (
        "AVIF",
        {
            "quality": 35,
            "subsampling": "4:4:4",
            "codec": "aom",
            "speed": 4,
            "max_threads": 1,
            "advanced": {"tune": "psnr"},
        },
    ),
    "jpegxl": ("JXL", {"quality": 100 - (5 - 0.1) / 0.09, "effort": 7, "num_threads": 1}),
}


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    with Image.open(Path(skimage.__file__).parent / "data/chelsea.png") as image:
        pixels = np.asarray(image.convert("RGB"))[50:178, 100:260]
        return Image.fromarray(pixels)  # without the file's metadata, which some formats would store


@pytest.mark.parametrize("name", CALLS)
def test_stills_are_what_pillow_makes_with_the_documented_call(usable, photograph, name) -> None:
    codec = usable(name)
    form, options = CALLS[name]
    by_hand = io.BytesIO()
    photograph.save(by_hand, form, **options)
    (payload,) = codec.encode(to_tensor(photograph), Quality.of(4))
    assert payload == by_hand.getvalue()
    decoded = codec.decode([payload], (128, 160), Quality.of(4)).levels[0]
    with Image.open(io.BytesIO(payload)) as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), decoded[0].mul(255).round().permute(1, 2, 0).numpy())


@pytest.mark.parametrize("name", ["hevc", "vvc", "bpg"])
def test_a_better_picture_than_jpegs_in_fewer_bytes(usable, photograph, name) -> None:
    codec, x = usable(name), to_tensor(photograph)
    (payload,) = codec.encode(x, Quality.of(4))
    decoded = codec.decode([payload], (128, 160), Quality.of(4)).levels[0]
    jpeg = usable("jpeg")
    (larger,) = jpeg.encode(x, Quality.of(5))
    theirs = jpeg.decode([larger], (128, 160), Quality.of(5)).levels[0]
    assert len(payload) < len(larger)
    assert float((decoded - x).square().mean()) < float((theirs - x).square().mean())
