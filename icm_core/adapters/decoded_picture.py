"""Adapter `DecodedPicture`: a picture that another task or the enhancement decodes, as a task network's input."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from icm_core.errors import SpecError
from icm_core.interfaces import ComponentParams, SideInfoAdapter
from icm_core.types import FeatureLayout, Features, Level, SideInfo, SideInfoLayout


class DecodedPicture(SideInfoAdapter):
    """The map ``image`` is what people see: any network stands behind it, untouched::

        "boxes": {"adapter": {"use": "core.decoded_picture", "params": {"of": "fine"}}, "head": ...}

    With ``"fine"`` the task needs the whole file, else its base layer only.
    """

    name: ClassVar[str] = "core.decoded_picture"

    class Params(ComponentParams):
        """Which picture."""

        of: str = Field(min_length=1, description="name of a task that shows a picture, or fine for the refined one")

    params: Params

    def __init__(self, params: Params, layout: SideInfoLayout) -> None:
        super().__init__(params, layout)

    @property
    def needs(self) -> tuple[str, ...]:
        """The picture's name."""
        return (self.params.of,)

    @property
    def features(self) -> FeatureLayout:
        """image: the picture, 3 channels at full size, in [0, 1]."""
        return {"image": Level(3, 1)}

    def forward(self, side: SideInfo) -> Features:
        """The picture (B, 3, H, W) as it is."""
        if self.params.of not in side.pictures:
            raise SpecError(f"adapter '{self.name}' reads the picture {self.params.of!r}, which was not decoded for it")
        return Features({"image": side.pictures[self.params.of]}, side.size)
