"""Contract `SideInfoAdapter`: side information -> what a task network reads."""

from __future__ import annotations

from abc import abstractmethod

from icm_core.interfaces.component import Component, ComponentParams
from icm_core.types import FeatureLayout, Features, SideInfo, SideInfoLayout


class SideInfoAdapter(Component):
    """Turns `SideInfo` into `Features`; each task owns one trained instance.

    Args:
        params: the validated ``Params`` of the subclass.
        layout: the side information that the pipeline's codec delivers.
    """

    def __init__(self, params: ComponentParams, layout: SideInfoLayout) -> None:
        super().__init__()
        self.params = params
        self.layout = layout

    @property
    @abstractmethod
    def features(self) -> FeatureLayout:
        """Name, channels and stride of each map that `forward` returns."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the decoded pictures that it reads in `SideInfo.pictures`: tasks that show a picture, or ``"fine"``.

        By default none: side information is all that it reads.
        """
        return ()

    @abstractmethod
    def forward(self, side: SideInfo) -> Features:
        """Features of a batch; every map covers the padded picture."""
