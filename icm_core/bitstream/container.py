"""The ``.icm`` file: a header and one or two layers, big-endian; ``docs/file-format.md`` has the same as a table.

A CRC-32 covers everything a layer's meaning depends on, so that each flipped bit of a file is noticed. A file
that was cut after its whole base layer still reads, as base-only.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from icm_core.errors import BitstreamError, InputError
from icm_core.quality import STEPS_PER_UNIT, Quality

MAGIC = b"ICM"
PART_MAGIC = b"ICE"
"""What an enhancement part begins with (`icm_core.bitstream.split`)."""
VERSION = 1
MAX_SIDE = 0xFFFF
MAX_PIXELS = 100_000_000
FINGERPRINT_BYTES = 4
CONTROL_BYTES = 4

_HEADER = struct.Struct(">3sBHHB")  # magic, version, height, width, quality in sixteenths
_LAYER = struct.Struct(">B4sII")  # kind, fingerprint, payload length, CRC-32
_HAS_CONTROL = 0x80  # set in the kind of a layer whose payload stands behind a control hash
_HAS_QUALITY = 0x40  # set in the kind of an enhancement layer that names a quality of its own
_COVERED = struct.Struct(">B4sI")  # the part of the layer's header that its CRC covers

HEADER_BYTES = _HEADER.size
LAYER_HEADER_BYTES = _LAYER.size


class LayerKind(IntEnum):
    """What a layer holds; layers stand in a file in this order."""

    BASE = 1
    ENHANCEMENT = 2

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Layer:
    """One layer of a file.

    Attributes:
        kind: base or enhancement.
        fingerprint: 4 bytes that name the coding tables which wrote the payload.
        payload: the coded symbols.
        control: 4 bytes of the hash of what the payload decodes to, or none.
        quality: what an enhancement layer was coded with, where it is not the quality in the file's header.
    """

    kind: LayerKind
    fingerprint: bytes
    payload: bytes
    control: bytes = b""
    quality: Quality | None = None

    @property
    def overhead(self) -> int:
        """Bytes of the written layer that are not payload."""
        return LAYER_HEADER_BYTES + (self.quality is not None) + len(self.control)


@dataclass(frozen=True)
class Container:
    """What a file says before any layer is decoded.

    Attributes:
        height: rows of the picture.
        width: columns of the picture.
        quality: the quality that the base layer was coded with, and the enhancement layer unless that says another.
        layers: the base layer, and the enhancement layer if there is one.
        truncated: if True, the file was cut inside its enhancement layer, which was dropped.
    """

    height: int
    width: int
    quality: Quality
    layers: tuple[Layer, ...]
    truncated: bool = False

    @property
    def base(self) -> Layer:
        """The base layer."""
        return self.layers[0]

    @property
    def enhancement(self) -> Layer | None:
        """The enhancement layer, None in a base-only file."""
        return self.layers[1] if len(self.layers) > 1 else None

    @property
    def enhancement_quality(self) -> Quality | None:
        """The quality that the enhancement layer was coded with, None in a base-only file."""
        return None if self.enhancement is None else self.enhancement.quality or self.quality

    @property
    def base_bytes(self) -> int:
        """Bytes of the written file up to the end of its base layer: what every task needs."""
        return HEADER_BYTES + self.base.overhead + len(self.base.payload)

    @property
    def overhead(self) -> int:
        """Bytes of the written file that are not payload.

        22, 35 with both layers, 1 more for an enhancement of another quality and 4 for each control hash.
        """
        return HEADER_BYTES + sum(layer.overhead for layer in self.layers)


def check_size(height: int, width: int) -> None:
    """Raise `InputError` unless a file can hold a picture of this size."""
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise InputError(f"a picture of {width}x{height} pixels does not fit an .icm file: sides are 1 to {MAX_SIDE}")
    if height * width > MAX_PIXELS:
        raise InputError(f"a picture of {width}x{height} pixels is too large: the limit is {MAX_PIXELS} pixels")


def write(container: Container) -> bytes:
    """The bytes of a file.

    Raises:
        InputError: a side of the picture is 0 or above 65535.
        ValueError: the layers are not a base layer with at most one enhancement layer behind it, or a
            fingerprint or a control hash is not 4 bytes long, or a base layer has a quality of its own.
    """
    check_size(container.height, container.width)
    kinds = tuple(layer.kind for layer in container.layers)
    if kinds not in ((LayerKind.BASE,), (LayerKind.BASE, LayerKind.ENHANCEMENT)):
        raise ValueError(f"layers {kinds} are not (BASE,) or (BASE, ENHANCEMENT)")
    header = _HEADER.pack(MAGIC, VERSION, container.height, container.width, container.quality.step)
    parts = [header]
    for layer in container.layers:
        if len(layer.fingerprint) != FINGERPRINT_BYTES:
            raise ValueError(f"a fingerprint has {FINGERPRINT_BYTES} bytes, not {len(layer.fingerprint)}")
        if len(layer.control) not in (0, CONTROL_BYTES):
            raise ValueError(f"a control hash has {CONTROL_BYTES} bytes, not {len(layer.control)}")
        if layer.quality is not None and layer.kind is LayerKind.BASE:
            raise ValueError("the base layer's quality stands in the file's header")
        parts.append(_layer_bytes(header, layer))
    return b"".join(parts)


def _layer_bytes(header: bytes, layer: Layer) -> bytes:
    kind = layer.kind | (_HAS_CONTROL if layer.control else 0) | (0 if layer.quality is None else _HAS_QUALITY)
    own = b"" if layer.quality is None else bytes([layer.quality.step])
    size, body = len(layer.payload), own + layer.control + layer.payload
    return _LAYER.pack(kind, layer.fingerprint, size, _crc(header, kind, layer.fingerprint, size, body)) + body


def read(blob: bytes, *, max_pixels: int = MAX_PIXELS) -> Container:
    """Read a file; nothing larger than the file itself is allocated.

    Args:
        blob: the whole file.
        max_pixels: a header that claims a larger picture is refused.

    Raises:
        BitstreamError: not an ``.icm`` file, of another version, damaged, cut before the base layer's end, or
            with more or other layers than the format has.
    """
    if blob[: len(PART_MAGIC)] == PART_MAGIC:
        raise BitstreamError("the file is an enhancement part; it is read together with its base file")
    if len(blob) < HEADER_BYTES:
        what = "cut inside its header" if blob and blob[:3] == MAGIC[: len(blob[:3])] else "not an .icm file"
        raise BitstreamError(f"the file is {what}: it has {len(blob)} bytes and the header alone is {HEADER_BYTES}")
    magic, version, height, width, step = _HEADER.unpack_from(blob)
    if magic != MAGIC:
        raise BitstreamError("the file is not an .icm file: it does not start with 'ICM'")
    if version != VERSION:
        raise BitstreamError(f"the file has format version {version}; this program reads version {VERSION}")
    if not height or not width or height * width > max_pixels:
        raise BitstreamError(
            f"the file claims a picture of {width}x{height} pixels; 1 to {max_pixels} pixels are accepted"
        )
    if step < STEPS_PER_UNIT:
        raise BitstreamError(f"the file claims quality {step / STEPS_PER_UNIT:g}; the lowest is 1")
    layers, truncated = _read_layers(blob)
    return Container(height, width, Quality(step), layers, truncated)


def base_length(blob: bytes) -> int:
    """Bytes up to the end of a file's base layer, as its header has them; the file need not be so long.

    Raises:
        BitstreamError: it ends inside its headers.
    """
    if len(blob) < HEADER_BYTES + LAYER_HEADER_BYTES:
        raise BitstreamError(f"the file is cut: it ends after {len(blob)} bytes, inside its base layer")
    number, _, size, _ = _LAYER.unpack_from(blob, HEADER_BYTES)
    return HEADER_BYTES + LAYER_HEADER_BYTES + _extra(number) + int(size)


def _read_layers(blob: bytes) -> tuple[tuple[Layer, ...], bool]:
    """All whole layers behind the header, and whether an enhancement layer was cut off."""
    layers: list[Layer] = []
    at = HEADER_BYTES
    while len(layers) < len(LayerKind):
        expected = LayerKind(len(layers) + 1)
        if at < len(blob):
            _check_kind(blob[at], expected)
        layer = _read_layer(blob, at, expected)
        if layer is None:
            if not layers:
                raise BitstreamError(f"the file is cut: it ends after {len(blob)} bytes, inside its base layer")
            return tuple(layers), at < len(blob)
        layers.append(layer)
        at += layer.overhead + len(layer.payload)
    if at < len(blob):
        raise BitstreamError(f"the file has {len(blob) - at} more bytes after its last layer")
    return tuple(layers), False


def _check_kind(found: int, expected: LayerKind) -> None:
    found &= ~_flags(expected)
    if found == expected:
        return
    if found not in tuple(LayerKind):
        raise BitstreamError(f"the file has a layer of unknown kind {found} where its {expected} layer should be")
    if expected is LayerKind.BASE:
        raise BitstreamError("the file has no base layer: its first layer is the enhancement layer")
    raise BitstreamError("the file has two base layers; it may have one")


def _flags(kind: LayerKind) -> int:
    """The bits that may be set besides a layer's kind."""
    return _HAS_CONTROL if kind is LayerKind.BASE else _HAS_CONTROL | _HAS_QUALITY


def _extra(number: int) -> int:
    """Bytes between a layer's header and its payload."""
    return (1 if number & _HAS_QUALITY else 0) + (CONTROL_BYTES if number & _HAS_CONTROL else 0)


def _read_layer(blob: bytes, at: int, kind: LayerKind) -> Layer | None:
    """The layer that starts at a position, None if the file ends inside it."""
    start = at + LAYER_HEADER_BYTES
    if start > len(blob):
        return None
    number, fingerprint, size, crc = _LAYER.unpack_from(blob, at)
    header, extra = blob[:HEADER_BYTES], _extra(number)
    body = blob[start : start + extra + size]
    if len(body) == extra + size:
        if _crc(header, number, fingerprint, size, body) != crc:
            raise _damaged(kind)
        first = 1 if number & _HAS_QUALITY else 0
        quality = _own_quality(body[0]) if first else None
        return Layer(kind, fingerprint, body[extra:], body[first:extra], quality)
    # In a cut layer the CRC cannot fit. Where it does fit the bytes that are there, whatever stands before the payload,
    # nothing was cut: the length or the kind was damaged, and reading on as base-only would hide that.
    for flags in (0, _HAS_CONTROL, _HAS_QUALITY, _HAS_CONTROL | _HAS_QUALITY):
        whole = len(body) - _extra(flags)
        if whole >= 0 and _crc(header, kind | flags, fingerprint, whole, body) == crc:
            raise _damaged(kind)
    return None


def _own_quality(step: int) -> Quality:
    if step < STEPS_PER_UNIT:
        raise BitstreamError(f"the file claims quality {step / STEPS_PER_UNIT:g} of its enhancement; the lowest is 1")
    return Quality(step)


def _damaged(kind: LayerKind) -> BitstreamError:
    return BitstreamError(f"the file is damaged: the checksum of its {kind} layer does not match")


def _crc(header: bytes, kind: int, fingerprint: bytes, size: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(header + _COVERED.pack(kind, fingerprint, size)))
