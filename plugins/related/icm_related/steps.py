"""Quantisers of `related.label_features`: adapters that make steps of quantisation of a label map."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from icm_core.errors import SpecError
from icm_core.interfaces import ComponentParams, SideInfoAdapter
from icm_core.types import FeatureLayout, Features, Level, SideInfo, SideInfoLayout

STRIDE = 16
"""Of the features that are quantised."""

UNSENT = 14.0
"""log2 of a step that is too large for any feature: nothing but zeros is sent."""


def classes_of(level: Tensor) -> Tensor:
    """Class of most pixels of each block of 16 by 16, (B, h, w) int64, from a map (B, K, ...) of any stride up to 16.

    Counts are exact, and of two classes with as many pixels the first is taken, on every machine.
    """
    if level.is_meta:
        height, width = level.shape[-2:]
        return torch.empty(len(level), height // STRIDE, width // STRIDE, dtype=torch.int64, device=level.device)
    side = STRIDE
    return F.avg_pool2d((level.detach() > 0.5).float(), side, divisor_override=1).argmax(1)


class _Steps(SideInfoAdapter):
    """Base of the two: log2 steps of classes, learned, looked up by the class of each block."""

    def __init__(self, params: ComponentParams, layout: SideInfoLayout) -> None:
        super().__init__(params, layout)
        if layout.levels[0].stride != 1:
            raise SpecError(
                f"'{self.name}' reads a label map of full size, and this one has stride {layout.levels[0].stride}; "
                "map_stride should be 1"
            )

    @property
    def features(self) -> FeatureLayout:
        """steps: log2 of the step of each position, one channel at 1/16."""
        return {"steps": Level(1, STRIDE)}


class ClassSteps(_Steps):
    """A step for each class, learned with rate and task as everything else; RL-ASC has a policy choose among a few.

    Classes in ``unsent`` have no features at all: a decoder makes them up from the map (selective compression of
    Agustsson et al., ICCV 2019).
    """

    name: ClassVar[str] = "related.class_steps"

    class Params(ComponentParams):
        """Where steps begin, and what is not sent."""

        start: float = Field(3.0, ge=-8, le=12, description="log2 of every step before training")
        unsent: tuple[Annotated[int, Field(ge=0, le=254)], ...] = Field(
            (), description="numbers of the classes of which no features are sent"
        )

    params: Params

    def __init__(self, params: Params, layout: SideInfoLayout) -> None:
        super().__init__(params, layout)
        count = layout.levels[0].channels
        if wrong := [number for number in params.unsent if number >= count]:
            raise SpecError(f"unsent names class {wrong[0]}, and the map has the classes 0 to {count - 1}")
        self.log2_step = nn.Parameter(torch.full((count,), params.start))

    def forward(self, side: SideInfo) -> Features:
        """The step of each position's class."""
        level = side.levels[0]
        steps: Tensor = self.log2_step
        if self.params.unsent:
            numbers = torch.arange(len(steps), device=steps.device)
            wanted = [(numbers == number) for number in self.params.unsent]
            steps = steps.masked_fill(torch.stack(wanted).any(0), UNSENT)
        return Features({"steps": steps[classes_of(level)][:, None]}, side.size)


class OneStep(_Steps):
    """One learned step for all classes: what is simplified in the simplified RL-ASC."""

    name: ClassVar[str] = "related.one_step"

    class Params(ComponentParams):
        """Where the step begins."""

        start: float = Field(3.0, ge=-8, le=12, description="log2 of the step before training")

    params: Params

    def __init__(self, params: Params, layout: SideInfoLayout) -> None:
        super().__init__(params, layout)
        self.log2_step = nn.Parameter(torch.tensor([params.start]))

    def forward(self, side: SideInfo) -> Features:
        """The step, everywhere."""
        level = side.levels[0]
        shape = (len(level), 1, level.shape[-2] // STRIDE, level.shape[-1] // STRIDE)
        return Features({"steps": self.log2_step[:, None, None].expand(shape)}, side.size)
