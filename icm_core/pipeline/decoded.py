"""What decoding a file gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from icm_core.bitstream.container import LayerKind
from icm_core.quality import Quality
from icm_core.types import Prediction, SideInfo


@dataclass(frozen=True, eq=False)
class Decoded(Mapping[str, Prediction]):
    """Predictions by task name, ``"fine"`` among them if the enhancement layer was decoded.

    Attributes:
        predictions: the predictions, in the order in which they were asked for; each holds one picture (B = 1).
        size: (height, width) of the coded picture.
        quality: the quality that its base layer was coded with.
        complete: if False, the file was cut inside its enhancement layer, and only the base layer was decoded.
        side: the decoded side information.
        verified: the layers whose control hash was compared with what they decode to; empty where none was asked for.
        enhancement_quality: the quality that its enhancement layer was coded with; None where it has none.
    """

    predictions: Mapping[str, Prediction]
    size: tuple[int, int]
    quality: Quality
    complete: bool
    side: SideInfo
    verified: tuple[LayerKind, ...] = ()
    enhancement_quality: Quality | None = None

    def __getitem__(self, task: str) -> Prediction:
        """The prediction of a task."""
        return self.predictions[task]

    def __iter__(self) -> Iterator[str]:
        """The names of the tasks."""
        return iter(self.predictions)

    def __len__(self) -> int:
        """Number of predictions."""
        return len(self.predictions)
