"""Adapter `latent`: what a codec sent, before any picture is made of it."""

from __future__ import annotations

from typing import ClassVar

from icm_core.errors import SpecError
from icm_core.interfaces import ComponentParams, SideInfoAdapter
from icm_core.types import FeatureLayout, Features, SideInfo, SideInfoLayout


class LatentAdapter(SideInfoAdapter):
    """The codec's decoded latent as the map ``latent``, for tasks that are done without a picture.

    Of several levels it is the finest that is no picture: y of CompressAI's models with ``"side": "latent"`` or
    ``"both"``, h1 of SICMH (Torfason et al., ICLR 2018, give the idea).
    """

    name: ClassVar[str] = "baselines.latent"

    class Params(ComponentParams):
        """No parameters."""

    def __init__(self, params: Params, layout: SideInfoLayout) -> None:
        super().__init__(params, layout)
        coarse = [number for number, level in enumerate(layout.levels) if level.stride > 1]
        if not coarse:
            raise SpecError(
                f"adapter '{self.name}' takes a codec whose side information has a latent, and this one gives "
                f"{[(level.channels, level.stride) for level in layout.levels]} (channels, stride); codecs of "
                'CompressAI give it with "side": "latent"'
            )
        self._number = coarse[0]

    @property
    def features(self) -> FeatureLayout:
        """latent: the level as the codec has it."""
        return {"latent": self.layout.levels[self._number]}

    def forward(self, side: SideInfo) -> Features:
        """The level as it is."""
        return Features({"latent": side.levels[self._number]}, side.size)
