"""Which pictures an earlier run has already coded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from icm_core.bitstream.container import Container, read
from icm_core.errors import BitstreamError
from icm_core.quality import Quality

if TYPE_CHECKING:
    from icm_core.pipeline.pipeline import Pipeline


@dataclass(frozen=True)
class Order:
    """How pictures are to be coded.

    Attributes:
        quality: the quality.
        enhancement: fingerprint of the enhancement layer, None where there is to be none.
        base: fingerprint of the base layer.
        control: whether layers carry control hashes.
        finer: quality of the enhancement layer, where it is another.
    """

    quality: Quality
    base: bytes
    enhancement: bytes | None
    control: bool
    finer: Quality | None = None

    @classmethod
    def of(
        cls, pipe: Pipeline, quality: Quality, *, base_only: bool, control: bool, finer: Quality | None = None
    ) -> Order:
        """What a pipeline would write."""
        fine = None if base_only else pipe.enhancement_fingerprint
        return cls(quality, pipe.base_fingerprint, fine, control, finer)

    def finished(self, picture: Path, size: tuple[int, int], target: Path) -> bytes | None:
        """The file at `target` if this order would write one like it, None if it is missing or another.

        It has to be whole, of this pipeline, quality and size, with these layers, and not older than the picture.
        """
        try:
            if target.stat().st_mtime_ns < picture.stat().st_mtime_ns:
                return None
            blob = target.read_bytes()
            return blob if self._fits(read(blob), size) else None
        except (OSError, BitstreamError):
            return None

    def _fits(self, file: Container, size: tuple[int, int]) -> bool:
        fine = file.enhancement
        return (
            not file.truncated
            and (file.height, file.width) == size
            and file.quality == self.quality
            and file.base.fingerprint == self.base
            and (fine.fingerprint if fine else None) == self.enhancement
            and (fine.quality if fine else None) == self.finer
            and bool(file.base.control) == self.control
        )
