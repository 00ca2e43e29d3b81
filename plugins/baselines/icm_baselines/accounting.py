"""What a codec's own bytes are, without the framework's file around them."""

from __future__ import annotations

from icm_core.bitstream.container import read


def payload_bytes(blob: bytes) -> int:
    """Bytes of the codec's own file or stream inside an ``.icm`` file's base layer.

    An external codec's file says its size and format itself, and is what the codec would be judged by alone; the
    ``.icm`` file around it adds 22 bytes.

    Raises:
        BitstreamError: it is no ``.icm`` file.
    """
    return len(read(blob).base.payload)
