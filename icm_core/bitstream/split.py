"""The layers of a file sent apart: a base file that stands alone, and the enhancement that belongs to it.

The enhancement part is big-endian as the file is; ``docs/file-format.md`` has it as a table. It names its base layer by
that layer's CRC-32, which covers the picture's size, quality, fingerprint and every coded byte.
"""

from __future__ import annotations

from icm_core.bitstream.container import (
    HEADER_BYTES,
    LAYER_HEADER_BYTES,
    MAGIC,
    MAX_PIXELS,
    PART_MAGIC,
    base_length,
    read,
)
from icm_core.errors import BitstreamError, InputError

CRC_BYTES = 4


def split(blob: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[bytes, bytes]:
    """A file as base file and enhancement part; `join` gives back the very same bytes.

    Raises:
        BitstreamError: the file is damaged, or has no whole enhancement layer.
    """
    file = read(blob, max_pixels=max_pixels)
    if file.enhancement is None:
        why = "was cut inside its enhancement layer" if file.truncated else "has no enhancement layer"
        raise BitstreamError(f"the file {why}, so there is nothing to split off")
    base = blob[: file.base_bytes]
    return base, PART_MAGIC + base[len(MAGIC) : HEADER_BYTES] + _base_crc(base) + blob[len(base) :]


def join(base: bytes, enhancement: bytes, *, max_pixels: int = MAX_PIXELS) -> bytes:
    """The whole file from its parts.

    Args:
        base: a base file, or a file that was cut inside its enhancement layer.
        enhancement: the enhancement part of `split`.
        max_pixels: as in `icm_core.bitstream.container.read`.

    Raises:
        BitstreamError: a part is damaged or cut, or the two do not belong together.
        InputError: the base file has its enhancement layer.
    """
    file = read(base, max_pixels=max_pixels)
    if file.enhancement is not None:
        raise InputError("the base file has an enhancement layer, so nothing can be joined to it")
    if not enhancement.startswith(PART_MAGIC):
        raise BitstreamError(f"the enhancement part does not start with {PART_MAGIC.decode()!r}; icm split makes them")
    start = HEADER_BYTES + CRC_BYTES
    if len(enhancement) < start + LAYER_HEADER_BYTES:
        raise BitstreamError(f"the enhancement part is cut: it ends after {len(enhancement)} bytes, inside its header")
    base = base[: file.base_bytes]
    own, theirs = _base_crc(base).hex(), enhancement[HEADER_BYTES:start].hex()
    if own != theirs or enhancement[len(PART_MAGIC) : HEADER_BYTES] != base[len(MAGIC) : HEADER_BYTES]:
        raise BitstreamError(
            f"the enhancement part belongs to another file: to a base layer with the checksum {theirs}, and this one "
            f"has {own}"
        )
    blob = base + enhancement[start:]
    if read(blob, max_pixels=max_pixels).truncated:
        raise BitstreamError(f"the enhancement part is cut: it ends after {len(enhancement)} bytes")
    return blob


def apart(both: bytes) -> tuple[bytes, bytes]:
    """A base file and the enhancement part that follows it, for `join`; neither is looked into.

    Raises:
        BitstreamError: the base file is cut inside its headers.
    """
    length = base_length(both)
    return both[:length], both[length:]


def _base_crc(base: bytes) -> bytes:
    end = HEADER_BYTES + LAYER_HEADER_BYTES
    return base[end - CRC_BYTES : end]
