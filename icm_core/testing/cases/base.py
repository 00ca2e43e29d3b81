"""Cases: a component with what it takes to build it, to feed it and to know what has to come out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from icm_core.interfaces import Codec, Component, Enhancement
from icm_core.quality import Quality
from icm_core.testing.failing import ConformanceError
from icm_core.types import Features, Level, SideInfo, SideInfoLayout

LAYOUT = SideInfoLayout((Level(16, 32), Level(8, 64)), 8)
"""Side information that adapters and enhancements are tried with unless a case gives another."""

SIZES = ((64, 64), (50, 70), (33, 129))
"""Heights and widths of the pictures; two of three are multiples of nothing."""

BATCH = 2

Parts = dict[str, Tensor]


@dataclass(frozen=True)
class Example:
    """A batch of whatever a contract's methods take; what a contract does not need is None.

    Attributes:
        size: height and width in pixels before padding.
        quality: the quality that is coded with.
        qualities: one real quality per picture, (B,), for training passes.
        pictures: (B, 3, H, W) in [0, 1].
        coarse: base reconstructions, same shape.
        side: side information of the pictures.
        features: what an adapter would deliver.
        target: what the head's loss takes.
    """

    size: tuple[int, int]
    quality: Quality
    qualities: Tensor
    pictures: Tensor
    coarse: Tensor | None = None
    side: SideInfo | None = None
    features: Features | None = None
    target: Tensor | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> Example:
        """The example with every tensor changed."""
        side, features = self.side, self.features
        return replace(
            self,
            qualities=change(self.qualities),
            pictures=change(self.pictures),
            coarse=None if self.coarse is None else change(self.coarse),
            side=None if side is None else SideInfo(tuple(map(change, side.levels)), side.size),
            features=None
            if features is None
            else Features({name: change(value) for name, value in features.maps.items()}, features.size),
            target=None if self.target is None else change(self.target),
        )

    def one(self, index: int) -> Example:
        """The batch of a single picture."""
        return self.each(lambda tensor: tensor[index : index + 1])

    def to(self, device: str) -> Example:
        """The example on another device."""
        return self.each(lambda tensor: tensor.to(device))


@dataclass(frozen=True)
class Case(ABC):
    """Something to check.

    Args:
        cls: the class.
        params: its parameters, as they would stand in a spec.
        exceptions: checks that it is known to fail, by function name, each with the reason.
        unpromised: checks that it passes or fails depending on the machine or on a library's version, by function
            name, each with the reason.
    """

    contract: ClassVar[type[Any]]

    cls: type[Any]
    params: Mapping[str, object] = field(default_factory=dict)
    exceptions: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    unpromised: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        if not issubclass(self.cls, self.contract):
            raise TypeError(f"{self.cls.__name__} is not a {self.contract.__name__}; use the case of its contract")

    @property
    def name(self) -> str:
        """The registered name, or the class's where there is none."""
        return str(getattr(self.cls, "name", self.cls.__name__))

    def settings(self) -> Any:
        """The validated parameters."""
        try:
            return self.cls.Params.model_validate(dict(self.params))
        except ValueError as error:
            raise ConformanceError(
                f"{self.name}.Params does not take {dict(self.params)}: {error}. "
                "Give the case parameters that the component accepts."
            ) from error


@dataclass(frozen=True)
class ComponentCase(Case):
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
        """What `forward` returns, by name; everything has one row per picture."""

    @abstractmethod
    def shapes(self, component: Any, example: Example) -> dict[str, tuple[int | None, ...]]:
        """The shapes that `run` has to give; None is any number."""

    @abstractmethod
    def objective(self, component: Any, example: Example) -> Tensor:
        """A scalar that depends on everything that the component computes in training."""


def pictures(size: tuple[int, int], batch: int) -> Tensor:
    """Pictures (B, 3, H, W) in [0, 1], soft shapes with some grain; the b-th depends on b and the size alone."""
    made = []
    for index in range(batch):
        generator = torch.Generator().manual_seed(1000 * size[0] + size[1] + 7 * index)
        soft = torch.rand(1, 3, 5, 5, generator=generator)
        large = torch.nn.functional.interpolate(soft, size=size, mode="bicubic", align_corners=False)
        grain = torch.randn(1, 3, *size, generator=generator) * 0.03
        made.append((large + grain).clamp(0, 1))
    return torch.cat(made)


def noise(shape: tuple[int, ...], batch: int, seed: int) -> Tensor:
    """Normal values (B, *shape); the b-th row depends on b, shape and seed alone."""
    rows = [torch.randn(shape, generator=torch.Generator().manual_seed(seed + index)) for index in range(batch)]
    return torch.stack(rows)


def qualities(low: float, high: float, batch: int) -> tuple[Quality, Tensor]:
    """A quality in the middle of a range, and one per picture inside of it."""
    rows = torch.tensor([low + (high - low) * ((index + 1) * 0.37 % 1.0) for index in range(batch)])
    return Quality.of((low + high) / 2), rows


def side_information(layout: SideInfoLayout, size: tuple[int, int], batch: int) -> SideInfo:
    """Random side information of pictures of a size."""
    step = layout.alignment
    height, width = (-(-side // step) * step for side in size)
    levels = tuple(
        noise((level.channels, height // level.stride, width // level.stride), batch, 100 + index)
        for index, level in enumerate(layout.levels)
    )
    return SideInfo(levels, size)
