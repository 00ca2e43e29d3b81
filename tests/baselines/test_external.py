"""External codecs behind the codec contract: real bytes, real pictures, real errors."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from icm_baselines import EXTERNAL, LEARNED, payload_bytes
from icm_baselines.bpg import BPG, claimed
from icm_baselines.colour import to_planes
from icm_baselines.jpegxl import JPEGXL, quality_of
from icm_baselines.still import AVIF, JPEG, JPEG2000, WebP
from icm_baselines.video import HEVC, VVC
from icm_core import BitstreamError, InputError, Quality, build, build_registry, parse_spec
from icm_core.pictures import to_picture


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return -10 * float((a - b).square().mean().log10())


@pytest.mark.parametrize("size", [(1, 1), (37, 53)], ids=str)
def test_best_quality_is_near_the_picture_whatever_its_size(codec, picture, size) -> None:
    x = picture(*size)
    best = Quality.of(codec.quality_range[1])
    side = codec.decode(codec.encode(x, best), size, best)
    assert side.size == size and side.levels[0].shape == x.shape and side.levels[0].dtype == torch.float32
    assert psnr(side.levels[0], x) > 30


def test_more_quality_is_more_bytes_and_a_better_picture(codec, picture) -> None:
    x = picture(96, 128)
    low, high = (Quality.of(q) for q in codec.quality_range)
    (few,), (many,) = codec.encode(x, low), codec.encode(x, high)
    assert len(few) < len(many)
    assert psnr(codec.decode([few], (96, 128), low).levels[0], x) < psnr(
        codec.decode([many], (96, 128), high).levels[0], x
    )


def test_the_training_pass_has_the_real_bits_and_pictures(codec, picture) -> None:
    x, quality = picture(64, 72, 2).requires_grad_(), torch.tensor([1.0, 2.0])
    found = codec(x, quality)
    for one in range(2):
        step = Quality.of(float(quality[one]))
        payloads = codec.encode(x[one : one + 1], step)
        assert float(found.total_bits[one]) == 8 * len(payloads[0])
        assert torch.equal(found.side.levels[0][one], codec.decode(payloads, (64, 72), step).levels[0][0])
    assert not found.side.levels[0].requires_grad and not found.total_bits.requires_grad


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_training_pass_has_the_pictures_numbers(picture, dtype) -> None:
    codec, x = JPEG(JPEG.Params()), picture(40, 56).to(dtype)
    found = codec(x, torch.ones(1))
    assert (found.side.levels[0].dtype, found.total_bits.dtype) == (dtype, dtype)


def test_encoding_twice_gives_the_same_bytes(codec, picture) -> None:
    x = picture(64, 64)
    assert codec.encode(x, Quality.of(2)) == codec.encode(x, Quality.of(2))


@pytest.mark.parametrize("what", ["empty", "noise", "start", "other format"])
def test_payloads_that_the_codec_never_wrote(codec, picture, what) -> None:
    (good,) = codec.encode(picture(64, 64), Quality.of(3))
    other = io.BytesIO()
    Image.new("RGB", (64, 64)).save(other, "PNG")
    bad = {"empty": b"", "noise": bytes(range(256)), "start": good[:10], "other format": other.getvalue()}[what]
    with pytest.raises(BitstreamError, match=r"baselines\.") as caught:
        codec.decode([bad], (64, 64), Quality.of(3))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [(64, 128), (72, 64), (1000, 1000), (128, 64)], ids=str)
def test_a_picture_of_another_size_than_the_files(codec, picture, size) -> None:
    payloads = codec.encode(picture(64, 64) if size != (128, 64) else picture(64, 128), Quality.of(3))
    with pytest.raises(BitstreamError):
        codec.decode(payloads, size, Quality.of(3))


def test_a_large_picture_in_a_small_files_payload_is_not_decoded(codec, picture) -> None:
    payloads = codec.encode(picture(256, 256), Quality.of(1))
    with pytest.raises(BitstreamError):
        codec.decode(payloads, (8, 8), Quality.of(1))


def test_the_payload_is_the_codecs_own_file(usable, picture) -> None:
    jpeg = usable("jpeg")
    (payload,) = jpeg.encode(picture(40, 50), Quality.of(4))
    own = io.BytesIO()
    to_picture(picture(40, 50)).save(own, "JPEG", quality=20, subsampling="4:2:0", optimize=True, progressive=True)
    assert payload == own.getvalue()


def test_jpegs_colour_planes_are_whole_where_they_are_told_to_be(picture) -> None:
    own = io.BytesIO()
    to_picture(picture(40, 50)).save(own, "JPEG", quality=20, subsampling="4:4:4", optimize=True, progressive=True)
    assert JPEG(JPEG.Params(chroma="4:4:4")).encode(picture(40, 50), Quality.of(4)) == [own.getvalue()]


def test_the_size_in_a_webp_header_is_14_bits_and_those_above_say_how_to_enlarge(usable, picture) -> None:
    codec = usable("webp")
    (payload,) = codec.encode(picture(40, 300), Quality.of(1))
    assert codec.claimed(payload) == (40, 300)
    enlarged = payload[:27] + bytes([payload[27] | 0x40, payload[28], payload[29] | 0x80]) + payload[30:]
    assert codec.claimed(enlarged) == (40, 300)


@pytest.mark.parametrize("cls", [JPEG, JPEG2000, AVIF], ids=lambda cls: cls.name)
def test_an_empty_payload_is_a_picture_without_pixels(cls) -> None:
    with pytest.raises(BitstreamError, match="holds a picture of 0x0 pixels, and the file's is 9x8"):
        cls(cls.Params()).decode([b""], (8, 9), Quality.of(1))


def test_payload_bytes_leave_out_the_framework_alone(usable, picture) -> None:
    codec = usable("jpeg")
    data = {
        "icm": 1,
        "name": "x",
        "codec": {"use": "baselines.jpeg"},
        "tasks": {"picture": {"adapter": {"use": "baselines.pixels"}, "head": {"use": "baselines.picture"}}},
    }
    import icm_baselines

    pipeline = build(parse_spec(data), build_registry(path=[], extra={"baselines": icm_baselines}))
    blob = pipeline.encode(picture(40, 50)[0], quality=2)
    assert payload_bytes(blob) == len(codec.encode(picture(40, 50), Quality.of(2))[0]) == len(blob) - 22
    assert pipeline.decode(blob)["picture"].output.shape == (1, 3, 40, 50)


@pytest.mark.parametrize("cls", [*EXTERNAL, *LEARNED], ids=lambda cls: cls.name)
def test_construction_runs_and_imports_nothing(cls) -> None:
    with torch.device("meta"):
        codec = cls(cls.Params())
        found = codec(torch.empty(2, 3, 64, 128), torch.ones(2))
    assert found.side.levels[0].shape == (2, 3, 64, 128) and found.total_bits.shape == (2,)


def test_nothing_optional_is_imported_with_the_plugin() -> None:
    code = "import sys, icm_baselines; print([m for m in ('pillow_jxl', 'imageio_ffmpeg') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("cls", EXTERNAL, ids=lambda cls: cls.name)
def test_external_codecs_have_no_state_and_a_fingerprint_each(cls) -> None:
    assert cls(cls.Params()).state_dict() == {}
    assert cls(cls.Params()).coding_state() not in [o(o.Params()).coding_state() for o in EXTERNAL if o is not cls]


@pytest.mark.parametrize(
    ("cls", "module"), [(JPEGXL, "pillow_jxl"), (HEVC, "imageio_ffmpeg"), (VVC, "imageio_ffmpeg")], ids=str
)
def test_missing_packages_are_answered_with_the_way_out(cls, module, monkeypatch, picture) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    codec = cls(cls.Params())
    with pytest.raises(InputError, match=r"needs .*pip install 'icm-framework\[baselines\]'"):
        codec.encode(picture(64, 64), Quality.of(1))


def test_packages_that_are_there_and_do_not_work_are_answered_alike(monkeypatch, picture, tmp_path) -> None:
    """A plugin whose library is of another system, and an ffmpeg that the wheel did not bring."""
    (tmp_path / "pillow_jxl.py").write_text("raise ImportError('libjxl.so.0: cannot open shared object file')")
    (tmp_path / "imageio_ffmpeg.py").write_text("def get_ffmpeg_exe(): raise RuntimeError('No ffmpeg exe was found')")
    monkeypatch.syspath_prepend(tmp_path)
    for cls, module in ((JPEGXL, "pillow_jxl"), (HEVC, "imageio_ffmpeg")):
        monkeypatch.delitem(sys.modules, module, raising=False)
        with pytest.raises(InputError, match=r"needs the .*: pip install 'icm-framework\[baselines\]'"):
            cls(cls.Params()).encode(picture(64, 64), Quality.of(1))
        monkeypatch.delitem(sys.modules, module, raising=False)


@pytest.mark.parametrize("cls", [JPEG2000, WebP, AVIF], ids=lambda cls: cls.name)
def test_a_pillow_without_the_format(cls, monkeypatch, picture) -> None:
    monkeypatch.setattr("icm_baselines.still.features.check", lambda feature: False)
    with pytest.raises(InputError, match=r"needs Pillow with .*pip install"):
        cls(cls.Params()).encode(picture(8, 8), Quality.of(1))


def test_missing_programs_are_answered_with_where_they_are(monkeypatch, picture, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    codec = BPG(BPG.Params())
    with pytest.raises(InputError, match=r"needs the program bpgenc on the PATH; .*bellard\.org"):
        codec.encode(picture(8, 8), Quality.of(1))
    with pytest.raises(InputError, match="needs the program bpgdec"):
        codec.decode([b"BPG\xfb"], (8, 8), Quality.of(1))


@pytest.mark.parametrize(
    ("error", "says"), [(MemoryError(), "MemoryError"), (ValueError(" two\nlines\n"), "two lines")], ids=str
)
def test_what_pillow_raises_is_told_in_one_line(monkeypatch, picture, error, says) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    codec = JPEG(JPEG.Params())
    payloads = codec.encode(picture(8, 9), Quality.of(1))
    monkeypatch.setattr("icm_baselines.still.Image.open", fail)
    with pytest.raises(BitstreamError, match=rf"^the baselines\.jpeg stream is damaged: {says}$"):
        codec.decode(payloads, (8, 9), Quality.of(1))
    monkeypatch.setattr("icm_baselines.still.Image.Image.save", fail)
    with pytest.raises(InputError, match=rf"^baselines\.jpeg cannot code a picture of 9x8 pixels: {says}$"):
        codec.encode(picture(8, 9), Quality.of(1))


def test_decoded_pictures_lie_where_the_codec_was_put(picture) -> None:
    codec = JPEG(JPEG.Params())
    payloads = codec.encode(picture(8, 9), Quality.of(1))
    (found,) = codec.to("meta").decode(payloads, (8, 9), Quality.of(1)).levels
    assert found.device.type == "meta" and found.shape == (1, 3, 8, 9)


def test_a_picture_that_a_format_cannot_hold() -> None:
    with pytest.raises(InputError, match=r"baselines\.webp cannot code a picture of 16384x1 pixels"):
        WebP(WebP.Params()).encode(torch.zeros(1, 3, 1, 16384), Quality.of(1))


def test_jpeg_2000_comes_near_the_bits_per_pixel_that_it_is_told(usable, picture) -> None:
    usable("jpeg2000")
    codec = JPEG2000(JPEG2000.Params(settings=(0.5, 1.0)))
    x = picture(256, 320) + 0.2 * torch.randn(1, 3, 256, 320, generator=torch.Generator().manual_seed(0))
    for quality, bpp in ((1, 0.5), (1.5, 0.75), (2, 1.0)):
        (payload,) = codec.encode(x, Quality.of(quality))
        assert 8 * len(payload) / (256 * 320) == pytest.approx(bpp, rel=0.05)


@pytest.mark.parametrize("size", [(3, 200), (200, 3)], ids=str)
def test_jpeg_2000_codes_narrow_pictures_too(usable, picture, size) -> None:
    codec, x = usable("jpeg2000"), picture(*size)
    best = Quality.of(codec.quality_range[1])
    assert codec.decode(codec.encode(x, best), size, best).levels[0].shape == x.shape


def test_settings_between_qualities() -> None:
    jpeg = JPEG(JPEG.Params(settings=(10, 20, 40)))
    assert jpeg.quality_range == (1.0, 3.0)
    assert [jpeg.setting(Quality.of(q)) for q in (1, 1.5, 2, 2.25, 3)] == [10, 15, 20, 25, 40]
    assert HEVC(HEVC.Params()).setting(Quality.of(1.5)) == 48


@pytest.mark.parametrize(("quality", "setting"), [(1.25, 11), (1.4375, 11), (1.5, 12), (1.75, 12), (2, 13)])
def test_a_setting_for_whole_numbers_is_the_nearest_one(quality, setting, picture) -> None:
    between, alone = JPEG(JPEG.Params(settings=(10, 13))), JPEG(JPEG.Params(settings=(setting,)))
    x = picture(40, 56)
    assert between.encode(x, Quality.of(quality)) == alone.encode(x, Quality.of(1))


@pytest.mark.parametrize("settings", [(), (10, 10), (10, 20, 15), (0, 5), (90, 101), (1.5, 2), tuple(range(1, 17))])
def test_settings_that_cannot_be(settings) -> None:
    with pytest.raises(ValidationError):
        JPEG.Params(settings=settings)


def test_the_size_in_a_bpg_header() -> None:
    assert claimed(b"BPG\xfb\x20\x00" + bytes([0x83, 0x60, 0x82, 0x60]) + bytes(8)) == (352, 480)
    with pytest.raises(BitstreamError, match="does not start as a BPG file does"):
        claimed(b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize(
    ("sides", "size"),
    [
        (b"\x7f\x05", (5, 127)),
        (b"\x81\x80\x00\x81\x00", (128, 16384)),
        (b"\x90\x80\x80\x80\x00\x01", (1, 1 << 32)),
        (b"\x82", (0, 256)),  # cut
        (b"", (0, 0)),
    ],
)
def test_sides_in_a_bpg_header_are_of_one_to_five_bytes(sides: bytes, size: tuple[int, int]) -> None:
    assert claimed(b"BPG\xfb\x20\x00" + sides) == size


OPTIONS = {
    JPEG: {"quality": 20, "subsampling": "4:2:0", "optimize": True, "progressive": True},
    JPEG2000: {
        "quality_mode": "rates", "quality_layers": [24 / 20], "irreversible": True, "mct": 1, "num_resolutions": 5,
    },
    WebP: {"quality": 20, "method": 6},
    AVIF: {
        "quality": 20, "subsampling": "4:4:4", "codec": "aom", "speed": 4, "max_threads": 1,
        "advanced": {"tune": "psnr"},
    },
    JPEGXL: {"quality": pytest.approx(4.6850, abs=1e-4), "effort": 7, "num_threads": 1},
}  # fmt: skip


@pytest.mark.parametrize("cls", OPTIONS, ids=lambda cls: cls.name)
def test_pillow_is_told_all_that_the_bytes_depend_on(cls) -> None:
    """For setting 20 and a picture of 300x20 pixels; one thread, because several may give other bytes."""
    assert cls(cls.Params()).options(20, (20, 300)) == OPTIONS[cls]


def test_jpeg_xl_has_no_codestream_below_12_bytes() -> None:
    for payload in (b"\xff\x0a" + bytes(9), b"\xff\x0b" + bytes(10), b""):
        with pytest.raises(BitstreamError, match="it is no JPEG XL codestream"):
            JPEGXL(JPEGXL.Params()).claimed(payload)
    assert JPEGXL(JPEGXL.Params()).claimed(b"\xff\x0a" + bytes(10)) == (1, 1)


def test_the_size_in_a_jpeg_xl_header(usable, picture) -> None:
    codec = usable("jpegxl")
    ratios = ((120, 144), (300, 400), (200, 300), (90, 160), (80, 100), (64, 128))  # the header has numbers for them
    for size in ((8, 8), (256, 128), (353, 480), (9, 3000), (9000, 9), *ratios):
        (payload,) = codec.encode(torch.zeros(1, 3, *size), Quality.of(1))
        assert codec.claimed(payload) == size


def test_jpeg_xl_distances_survive_the_detour_over_qualities() -> None:
    def distance(quality: float) -> float:  # libjxl's JxlEncoderDistanceFromQuality
        return 0.1 + (100 - quality) * 0.09 if quality >= 30 else 53 / 3000 * quality**2 - 23 / 20 * quality + 25

    for wanted in (0.1, 1.8, 6.4, 6.5, 9, 15, 25):
        assert distance(quality_of(wanted)) == pytest.approx(wanted)


def test_video_encoders_are_set_up_as_documented(usable, picture, monkeypatch) -> None:
    """Slowest preset of x265, medium one of vvenc without perceptual adaptation; one intra picture at a constant QP."""
    seen: list[list[str]] = []

    def remember(codec: str, arguments: list[str], data: bytes, pixels: int) -> bytes:
        seen.append(arguments)
        return b"coded"

    monkeypatch.setattr("icm_baselines.video.run", remember)
    HEVC(HEVC.Params()).encode(picture(64, 72), Quality.of(2))
    VVC(VVC.Params()).encode(picture(64, 72), Quality.of(2.5))
    x265, vvenc = (" ".join(arguments) for arguments in seen)
    assert "-pix_fmt yuv444p10le -s 72x64" in x265 and "-pix_fmt yuv420p10le -s 72x64" in vvenc
    assert "-c:v libx265 -preset placebo -tune psnr -x265-params qp=45:keyint=1:info=0:" in x265
    assert "-c:v libvvenc -preset medium -qp 43 -qpa 0 -vvenc-params intraperiod=1:gopsize=1" in vvenc


@pytest.mark.parametrize("cls", [HEVC, VVC], ids=lambda cls: cls.name)
def test_pictures_of_other_sizes_are_continued_by_their_edge(cls, picture, monkeypatch) -> None:
    seen: list[tuple[str, bytes, int]] = []
    monkeypatch.setattr(
        "icm_baselines.video.run", lambda _, arguments, data, pixels: seen.append((arguments[5], data, pixels)) or b"x"
    )
    x, codec = picture(50, 83), cls(cls.Params())
    codec.encode(x, Quality.of(2))
    ((size, data, pixels),) = seen
    assert (size, pixels) == ("88x64", 88 * 64)
    whole = np.asarray(to_picture(x))
    assert data == to_planes(np.pad(whole, ((0, 14), (0, 5), (0, 0)), mode="edge"), codec.halved)


@pytest.mark.parametrize("cls", [JPEG, WebP], ids=lambda cls: cls.name)
def test_values_beyond_the_picture_are_the_nearest_that_eight_bits_have(cls, picture) -> None:
    codec, x = cls(cls.Params()), 2 * picture(40, 56) - 0.5
    assert float(x.min()) < 0 and float(x.max()) > 1
    assert codec.encode(x, Quality.of(3)) == codec.encode(x.clamp(0, 1), Quality.of(3))


@pytest.mark.parametrize("cls", EXTERNAL, ids=lambda cls: cls.name)
def test_the_page_tells_settings_and_chroma(cls) -> None:
    page = (Path(__file__).parents[2] / "docs/baselines.md").read_text()
    (row,) = (line for line in page.splitlines() if line.startswith(f"| `{cls.name}` |"))
    *_, settings, chroma = (cell.strip() for cell in row.strip("|").split("|"))
    params = cls.Params()
    assert [float(number) for number in re.findall(r"\d+(?:\.\d+)?", settings)] == list(params.settings)
    assert chroma.startswith(f"`{getattr(params, 'chroma', '4:2:0')}`") or not hasattr(params, "chroma")


def test_video_chroma(usable, picture) -> None:
    usable("hevc")
    x, best = picture(64, 64), Quality.of(6)
    full, half = (HEVC(HEVC.Params(chroma=chroma)) for chroma in ("4:4:4", "4:2:0"))
    (large,), (small,) = full.encode(x, best), half.encode(x, best)
    assert large != small
    # Either reads the other's stream: its chroma is in the stream, and both have one fingerprint.
    assert torch.equal(full.decode([small], (64, 64), best).levels[0], half.decode([small], (64, 64), best).levels[0])
    assert full.coding_state() == half.coding_state()
