"""The ``.icm`` file: its bytes, its layers sent apart, fingerprints and control hashes."""

from icm_core.bitstream.container import MAX_PIXELS, Container, Layer, LayerKind, read, write
from icm_core.bitstream.split import apart, join, split

__all__ = ["MAX_PIXELS", "Container", "Layer", "LayerKind", "apart", "join", "read", "split", "write"]
