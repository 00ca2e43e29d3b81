"""Cases of what writes payloads: codecs and enhancements."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from icm_core.testing.cases.components import ComponentCase
from icm_core.testing.cases.examples import Example, Parts


@dataclass(frozen=True)
class CodingCase(ComponentCase):
    """A component that makes bytes of pictures, and something of bytes."""

    @abstractmethod
    def encode(self, component: Any, example: Example) -> list[bytes]:
        """One payload a picture."""

    @abstractmethod
    def decode(self, component: Any, payloads: Sequence[bytes], example: Example) -> Parts:
        """What payloads hold, tensor by tensor, by name."""

    @abstractmethod
    def reference(self, component: Any, example: Example) -> tuple[Parts, Tensor]:
        """What decoding should be near to, and the estimated bits (B,), from the training pass in eval mode."""
