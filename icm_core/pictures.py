"""Pictures in and out: any file that Pillow reads, except EPS -> RGB -> tensor -> RGB.

What is coded is always 8-bit RGB, upright:

* grey, 1 bit, palette, CMYK, YCbCr, HSV: converted to RGB; colour profiles are not applied;
* transparency: laid over white, as a page would show it;
* 16-bit grey: scaled to 8 bits (65535 -> 255), not clipped; 16-bit colour is reduced by Pillow while reading;
* floating-point grey (TIFF): 0...1 is scaled to 0...255;
* an EXIF orientation is applied; of an animation or a multi-page file, the first picture is taken.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from icm_core.bitstream.container import MAX_PIXELS, MAX_SIDE, check_size
from icm_core.errors import InputError

__all__ = [
    "as_batch",
    "as_bytes",
    "open_picture",
    "png_bytes",
    "read_class_map",
    "read_grey_map",
    "read_picture",
    "to_picture",
    "to_rgb",
    "to_tensor",
]

_ROWS_AT_ONCE = 256

_PROGRAMS = frozenset({"EPS"})
"""Formats whose files are programs: Pillow would hand them to Ghostscript, and pictures may come from anybody."""


def open_picture(path: Path | str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """An upright RGB picture from a file.

    Args:
        path: a file of any format that Pillow reads.
        max_pixels: larger pictures are refused before they are decoded.

    Raises:
        InputError: the file is missing, empty, no picture, cut, damaged, or too large.
    """
    path = Path(path)
    with _named(str(path), max_pixels):
        if path.stat().st_size == 0 and path.is_file():
            raise InputError(f"{path} is empty")
        with Image.open(path) as image:
            return to_rgb(_loaded(image, str(path), max_pixels))


def read_picture(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """An upright RGB picture from the content of a file, as `open_picture` makes it of the file itself.

    Args:
        data: the whole content.
        name: what messages call it.
        max_pixels: larger pictures are refused before they are decoded.

    Raises:
        InputError: it is empty, no picture, cut, damaged, or too large.
    """
    with _named(name, max_pixels):
        if not data:
            raise InputError(f"{name} is empty")
        with Image.open(io.BytesIO(data)) as image:
            return to_rgb(_loaded(image, name, max_pixels))


def read_class_map(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Tensor:
    """A class map (H, W) uint8 from the content of a file with one byte a pixel, grey or palette; never converted.

    Args:
        data: the whole content, of a lossless format such as PNG.
        name: what messages call it.
        max_pixels: larger ones are refused before they are decoded.

    Raises:
        InputError: it is empty, no picture, cut, damaged, too large, lossy, or has another mode.
    """
    with _named(name, max_pixels):
        if not data:
            raise InputError(f"{name} is empty")
        with Image.open(io.BytesIO(data)) as image:
            if image.mode not in ("L", "P") or image.format == "JPEG":
                raise InputError(
                    f"{name} is a {image.format} picture of mode {image.mode}; "
                    "a class map is a PNG with one byte a pixel, grey or palette"
                )
            return torch.from_numpy(np.array(_loaded(image, name, max_pixels), dtype=np.uint8))


def read_grey_map(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Tensor:
    """The grey values (H, W) int32 from the content of a file with 8 or 16 bits a pixel, 0 to 65535; never converted.

    Args:
        data: the whole content, of a lossless format such as PNG.
        name: what messages call it.
        max_pixels: larger ones are refused before they are decoded.

    Raises:
        InputError: it is empty, no picture, cut, damaged, too large, lossy, or has another mode.
    """
    with _named(name, max_pixels):
        if not data:
            raise InputError(f"{name} is empty")
        with Image.open(io.BytesIO(data)) as image:
            # Pillow hands some 16-bit files out as 32-bit integers ("I").
            if not (image.mode in ("L", "I") or image.mode.startswith("I;16")) or image.format == "JPEG":
                raise InputError(
                    f"{name} is a {image.format} picture of mode {image.mode}; "
                    "a map of whole numbers is a PNG with one grey value of 8 or 16 bits a pixel"
                )
            values = np.array(_loaded(image, name, max_pixels)).astype(np.int64)
            if values.size and not 0 <= int(values.min()) <= int(values.max()) <= 65535:
                raise InputError(
                    f"{name} holds values from {values.min()} to {values.max()}; they should be 0 to 65535"
                )
            return torch.from_numpy(values.astype(np.int32))


def to_rgb(image: Image.Image) -> Image.Image:
    """An upright 8-bit RGB copy of a picture in any of Pillow's modes; see the module's first lines.

    Raises:
        InputError: grey values that are neither 8 nor 16 bit nor floats in 0...1, or a mode without conversion.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode == "I" or image.mode.startswith("I;16") or image.mode == "F":
        image = _wide_grey(image)
    try:
        if image.mode == "La" or image.mode == "RGBa":
            image = image.convert(image.mode.upper())
        if image.has_transparency_data:
            page = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(page, image.convert("RGBA"))
        return image.convert("RGB")
    except ValueError as error:
        raise InputError(f"a picture of mode {image.mode} cannot be converted to RGB") from error


def to_tensor(image: Image.Image) -> Tensor:
    """A picture as (1, 3, H, W) float32 in [0, 1], by way of `to_rgb`."""
    pixels = np.array(to_rgb(image), dtype=np.uint8)
    return torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0).float().div(255).contiguous()


def as_bytes(image: Image.Image | Tensor) -> Tensor | None:
    """A picture as (1, 3, H, W) uint8; None of a tensor of floats, or of what is no picture (`as_batch` says why)."""
    if isinstance(image, Image.Image):
        check_size(image.height, image.width)
        try:
            return torch.from_numpy(np.array(to_rgb(image), dtype=np.uint8)).permute(2, 0, 1).unsqueeze(0)
        except OSError as error:  # Pillow reads the pixels only now
            raise InputError(f"the picture is cut or damaged: {error}") from error
    if isinstance(image, Tensor) and image.dtype == torch.uint8 and image.shape[:-2] in ((3,), (1, 3)):
        check_size(image.shape[-2], image.shape[-1])
        return image if image.dim() == 4 else image.unsqueeze(0)
    return None


def as_batch(image: Image.Image | Tensor) -> Tensor:
    """A picture as (1, 3, H, W) float32 in [0, 1], on the device it is on.

    Args:
        image: a PIL picture of any mode, or a tensor (3, H, W) or (1, 3, H, W), either uint8 or floats in [0, 1].

    Raises:
        InputError: it is something else, has a side that a file cannot hold, or values outside [0, 1].
    """
    if isinstance(image, Image.Image):
        height, width = image.height, image.width
    elif isinstance(image, Tensor):
        if image.dim() not in (3, 4) or image.shape[:-2] not in ((3,), (1, 3)):
            raise InputError(f"a picture's tensor has the shape (3, H, W) or (1, 3, H, W), not {tuple(image.shape)}")
        height, width = image.shape[-2:]
    else:
        raise InputError(f"a picture is a PIL image or a tensor, not {type(image).__name__}")
    check_size(height, width)
    if isinstance(image, Image.Image):
        try:
            return to_tensor(image)
        except OSError as error:  # Pillow reads the pixels only now
            raise InputError(f"the picture is cut or damaged: {error}") from error
    if image.dim() == 3:
        image = image.unsqueeze(0)
    if image.dtype == torch.uint8:
        return image.float() / 255
    if not image.is_floating_point():
        raise InputError(f"a picture's tensor is of uint8 or of floats in [0, 1], not of {image.dtype}")
    image = image.detach().float()
    low, high = (float(value) for value in image.aminmax())
    if not (low >= 0 and high <= 1):  # false for NaN as well
        raise InputError(f"a picture's floats lie in [0, 1]; this one's go from {low:g} to {high:g}")
    return image


def to_picture(tensor: Tensor) -> Image.Image:
    """The first picture of (B, 3, H, W), or the picture (3, H, W), clamped to [0, 1] and rounded to 8 bits."""
    picture = (tensor[0] if tensor.dim() == 4 else tensor).detach()
    shown = Image.new("RGB", (picture.shape[2], picture.shape[1]))
    # Strip by strip: what is between would take several times the picture's memory.
    for top in range(0, picture.shape[1], _ROWS_AT_ONCE):
        strip = picture[:, top : top + _ROWS_AT_ONCE].float().clamp(0, 1).mul(255).round()
        shown.paste(Image.fromarray(strip.permute(1, 2, 0).to("cpu", torch.uint8).contiguous().numpy()), (0, top))
    return shown


def png_bytes(image: Image.Image) -> bytes:
    """The picture as the content of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@contextmanager
def _named(name: str, max_pixels: int) -> Iterator[None]:
    """Turns whatever goes wrong while a picture is read into an `InputError` that names it."""
    try:
        with warnings.catch_warnings():
            # Pillow warns from 89 million pixels on; the limit here is ours.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    except InputError as error:
        if str(error).startswith(name):
            raise
        raise InputError(f"{name}: {error}") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{name} is too large: more than {max_pixels} pixels") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{name} is not a picture that Pillow can read") from error
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise InputError(f"cannot read {name}: {error.strerror}") from error
    except Exception as error:  # on a damaged file, Pillow's decoders raise whatever they happen to meet
        raise InputError(f"{name} is cut or damaged: {str(error) or type(error).__name__}") from error


def _loaded(image: Image.Image, name: str, max_pixels: int) -> Image.Image:
    """The picture with its pixels read, after its format and size were checked."""
    if image.format in _PROGRAMS:
        raise InputError(f"{name} is an {image.format} file, a program that draws; make a PNG of it first")
    width, height = image.size
    if width * height > max_pixels:
        raise InputError(f"{name} is too large: {width}x{height} is more than {max_pixels} pixels")
    if max(width, height) > MAX_SIDE:
        raise InputError(f"{name} is too large: {width}x{height} has a side of more than {MAX_SIDE} pixels")
    image.load()
    return image


def _wide_grey(image: Image.Image) -> Image.Image:
    """8-bit grey from 16-bit or floating-point grey, by scaling."""
    values = np.asarray(image)
    if image.mode == "F":
        low, high, top = 0.0, 1.0, 1.0
    else:
        # Pillow hands some 16-bit files out as 32-bit integers ("I"), so the mode alone does not tell the depth.
        low, high, top = 0.0, 65535.0, 65535.0
    if not bool(((values >= low) & (values <= high)).all()):
        raise InputError(f"grey values of mode {image.mode} reach beyond {low:g} to {high:g}")
    return Image.fromarray(np.round(values.astype(np.float64) * (255.0 / top)).astype(np.uint8))
