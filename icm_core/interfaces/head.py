"""Contract `TaskHead`: features -> prediction, and what it is trained with."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from icm_core.interfaces.component import Component, ComponentParams
from icm_core.nests import Nest
from icm_core.tiles import Map
from icm_core.types import Colour, FeatureLayout, Features, Legend, Level, Prediction


class TaskHead(Component):
    """A task network behind an adapter.

    What its answers are, its `kind` says: any that is registered, from whichever package
    (`icm_core.interfaces.TaskKind`). The kind measures, draws and writes answers; a head that wants other figures
    registers a kind of its own.

    Args:
        params: the validated ``Params`` of the subclass.
        features: the maps that the task's adapter delivers. A head that misses one raises `SpecError`.
    """

    kind: ClassVar[str]
    """Name of a registered kind; where parameters choose it a property, with `kind_of`."""

    requires: ClassVar[tuple[str, ...]] = ("image",)

    most_pixels: ClassVar[int | None] = None
    """For a head that reads ``image`` alone and sees the whole of it: larger pictures are averaged in blocks of n x n
    pixels, n the smallest whole number with which no more than these are left, before `predict` sees them. Answers of
    its kind that have a size are brought back to the picture's (`TaskKind.enlarged`)."""

    def __init__(self, params: ComponentParams, features: FeatureLayout) -> None:
        super().__init__()
        self.params = params
        self.features = features

    @classmethod
    def kind_of(cls, params: ComponentParams) -> str:
        """The kind that an instance with these parameters has, known before it is built."""
        del params
        return cls.kind

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes or values, in order; empty where there are none."""
        return ()

    @property
    def aliases(self) -> tuple[tuple[str, ...], ...]:
        """Further lists of names of the same classes, by which a data set may know them."""
        return ()

    @property
    def colours(self) -> tuple[Colour, ...]:
        """A colour for each label; empty for colours that are made up."""
        return ()

    @property
    def unit(self) -> str:
        """Unit of values, such as ``"m"``; empty where they have none."""
        return ""

    @property
    def legend(self) -> Legend:
        """What the numbers in its answers mean."""
        return Legend(self.labels, self.aliases, self.colours, self.unit)

    @property
    def reads_pictures(self) -> bool:
        """Whether it can run on a clean picture: all that it reads is an RGB picture of full size."""
        return tuple(self.requires) == ("image",) and self.features["image"] == Level(3, 1)

    @abstractmethod
    def forward(self, features: Features) -> Nest:
        """The output for a batch, as training sees it: a tensor or a nest of tensors.

        By `kind`: (B, K) logits, (B, K, H, W) logits, (B, 3, H, W) pictures, (B, K) values, or what another kind says.
        H, W = ``features.size``.
        """

    def predict(self, features: Features) -> Prediction:
        """The answer in inference: `forward`'s output with kind, labels, colours and unit.

        A head whose answer is made from its output (boxes that are decoded and thinned out) overrides it.
        """
        return Prediction(self.kind, self(features), self.labels, self.colours, self.unit)

    def picture(self, features: Features) -> Map:
        """The picture of a head that shows one, (B, 3, H, W) in [0, 1]; of large pictures it may be a field.

        By default the output of `predict`.
        """
        found: Tensor = self.predict(features).output
        return found

    def outputs(self, features: Features) -> tuple[tuple[float, Nest], ...]:
        """Every output that training looks at, with its weight; the first is `forward`'s, of weight 1.

        A head with auxiliary outputs (deep supervision) gives them here.
        """
        return ((1.0, self(features)),)

    @abstractmethod
    def loss(self, output: Nest, target: Nest) -> Tensor:
        """Training loss of each picture, (B,).

        Args:
            output: one of `outputs`.
            target: a batch of targets as the kind's ``collate`` makes it: (B,) classes, (B, H, W) classes,
                (B, 3, H, W) pictures, (B, K) values, or what another kind says.
        """

    def losses(self, features: Features, target: Nest) -> Tensor:
        """Training loss of each picture, (B,), from the features: by default that of all `outputs`, weighted.

        A network that makes its loss in one pass over pictures and targets overrides it.
        """
        total: Tensor | float = 0.0
        for weight, output in self.outputs(features):
            total = total + weight * self.loss(output, target)
        assert isinstance(total, Tensor)
        return total

    def divergence(self, output: Nest, reference: Nest) -> Tensor:
        """How far an output is from that of the clean picture, (B,), differentiable; by default the kind says it.

        A head whose outputs are not its kind's answers (raw boxes and scores) can say it here.
        """
        raise NotImplementedError(f"{self.name} leaves the comparison of outputs to its kind")
