"""Cases of what pipelines are built of: codecs, adapters, heads, enhancements."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from icm_core.interfaces import Codec, Component, Enhancement
from icm_core.nests import Nest, rows
from icm_core.testing.cases.base import ParameterisedCase
from icm_core.testing.cases.examples import BATCH, SIZES, Example, Parts


@dataclass(frozen=True)
class ComponentCase(ParameterisedCase):
    """A component of a pipeline.

    Args:
        sizes: heights and widths of the pictures that it is tried with.
        prepare: called with each component after it is built, for instance to load weights; random weights are no
            more than a start, and a rate estimate can be better tried with real ones.
    """

    contract: ClassVar[type[Any]] = Component

    sizes: Sequence[tuple[int, int]] = field(default=SIZES, kw_only=True)
    prepare: Callable[[Any], None] | None = field(default=None, kw_only=True)

    def build(self, seed: int = 0, *, bare: bool = False) -> Any:
        """The component in eval mode, with weights from a seed; the global generator is left as it was.

        Args:
            seed: of the weights.
            bare: if True, only the constructor is called: nothing is prepared, no coding tables are made.
        """
        params = self.settings()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            component = self.construct(params)
            if self.prepare is not None and not bare:
                self.prepare(component)
        component.eval()
        if isinstance(component, (Codec, Enhancement)) and not bare:
            with torch.no_grad():
                component.freeze_tables()
        return component

    @abstractmethod
    def construct(self, params: Any) -> Any:
        """Call the constructor."""

    @abstractmethod
    def example(self, component: Any, size: tuple[int, int], batch: int = BATCH) -> Example:
        """Something to feed it with; picture b is the same in every batch that has one."""

    @abstractmethod
    def run(self, component: Any, example: Example) -> Parts:
        """What `forward` returns, tensor by tensor, by name."""

    @abstractmethod
    def shapes(self, component: Any, example: Example) -> dict[str, tuple[int | None, ...]] | None:
        """The shapes that `run` has to give; None in one is any number, None alone that nothing is said of them."""

    @abstractmethod
    def objective(self, component: Any, example: Example) -> Tensor:
        """A scalar that depends on everything that the component computes in training."""

    def complaint(self, component: Any, example: Example) -> str | None:  # noqa: ARG002
        """What is wrong with what comes out beside shapes, as a sentence without its full stop; None if nothing is."""
        return None

    def answers(self, component: Any, example: Example) -> dict[str, Nest]:
        """Everything that has to be the same for a picture alone as in a batch, by name."""
        return dict(self.run(component, example))

    def pick(self, name: str, together: Nest, alone: Nest, index: int) -> Nest:  # noqa: ARG002
        """What one of `answers` says of one picture of a batch, as a batch of one.

        Args:
            name: of the answer.
            together: the answer for the batch.
            alone: the answer for the picture alone; how it is built tells how `together` is to be read.
            index: number of the picture in the batch.
        """
        return rows(together, [index])

    def needs_values(self) -> bool:
        """Whether it cannot run on shapes alone, because what it gives depends on values."""
        return False

    def unordered(self) -> bool:
        """Whether answers hold things whose order and number may change with the last bits of a score."""
        return False
