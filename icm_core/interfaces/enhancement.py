"""Contract `Enhancement`: base reconstruction + enhancement bytes -> refined picture."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from icm_core.coding.bounds import Bound
from icm_core.interfaces.component import Component, ComponentParams
from icm_core.quality import Quality
from icm_core.types import SideInfo, SideInfoLayout


class Enhancement(Component):
    """Codes what the base layer's picture lacks.

    Args:
        params: the validated ``Params`` of the subclass.
        layout: the side information that the pipeline's codec delivers.
    """

    reads_fields: ClassVar[bool] = False
    """Whether `encode` and `decode` also take pictures that are read region by region, as an
    `icm_core.tiles.Field`: large pictures, and their base reconstructions, come as one then."""

    def __init__(self, params: ComponentParams, layout: SideInfoLayout) -> None:
        super().__init__()
        self.params = params
        self.layout = layout

    @property
    def quality_range(self) -> tuple[float, float] | None:
        """Lowest and highest quality, which must be the codec's; None: whatever the codec has."""
        return None

    @abstractmethod
    def forward(self, x: Tensor, coarse: Tensor, side: SideInfo, quality: Tensor) -> tuple[Tensor, Tensor]:
        """Training pass.

        Args:
            x: pictures (B, 3, H, W) in [0, 1].
            coarse: base reconstruction x_c, same shape.
            side: side information of the same pictures.
            quality: one real quality per picture, (B,).

        Returns:
            The refined pictures x_f (B, 3, H, W) and the estimated bits of each, (B,).
        """

    @abstractmethod
    def encode(self, x: Tensor, coarse: Tensor, side: SideInfo, quality: Quality) -> list[bytes]:
        """Enhancement-layer payload of each picture."""

    @abstractmethod
    def decode(self, payloads: Sequence[bytes], coarse: Tensor, side: SideInfo, quality: Quality) -> Tensor:
        """Refined pictures (B, 3, H, W) in [0, 1].

        Raises:
            BitstreamError: a payload cannot have been written by `encode`.
        """

    @abstractmethod
    def coding_state(self) -> bytes:
        """Everything that decoding a payload depends on, as bytes (see `Codec.coding_state`)."""

    def latent(self, payloads: Sequence[bytes], side: SideInfo, quality: Quality) -> Tensor | None:  # noqa: ARG002
        """What the payloads hold, exactly as the encoder had it; control hashes are made of it.

        By default None: this enhancement's layers carry no control hash.
        """
        return None

    def prove(self) -> Sequence[Bound]:
        """A bound of every sum between a decoded symbol and a probability (see `Codec.prove`)."""
        return ()

    def freeze_tables(self) -> None:
        """Compute the integer coding tables from the trained parameters; called once, before export."""
