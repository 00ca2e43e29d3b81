"""What all four contracts share: a name, validated parameters, and construction without side effects."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import ClassVar

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from icm_core.errors import SpecError


class ComponentParams(BaseModel):
    """Base of every component's ``Params``: frozen, unknown fields refused, every field described."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Component(nn.Module, ABC):
    """A registered building block of a pipeline.

    A subclass sets `name` (``"<plugin>.<component>"``, lower case) and may define a nested ``Params``.
    Construction never touches the network, the disk or a GPU, so that a pipeline can be built on the
    ``meta`` device and inspected.
    """

    name: ClassVar[str]

    class Params(ComponentParams):
        """No parameters."""

    def start_from(self, source: str) -> None:
        """Fill the component from a source of weights that a recipe names, such as ``"imagenet"``.

        Raises:
            SpecError: the component knows no such source, or cannot reach it; the message says what to do.
        """
        raise SpecError(f"'{self.name}' knows no pretrained weights {source!r}")

    def adopt(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Weights from outside of a pipeline under the component's own names; by default they have these already.

        A component around somebody's network gives names of its own to those that the network has alone.

        Args:
            tensors: what a file holds, by name.

        Raises:
            WeightsError: they are of another network; the message says of which.
        """
        return tensors
