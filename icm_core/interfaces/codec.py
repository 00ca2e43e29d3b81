"""Contract `Codec`: picture -> base-layer bytes -> side information."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

from torch import Tensor
from typing_extensions import Self

from icm_core.coding.bounds import Bound
from icm_core.errors import InputError
from icm_core.interfaces.component import Component, ComponentParams
from icm_core.quality import Quality
from icm_core.types import CodecOutput, SideInfo, SideInfoLayout


class Codec(Component):
    """Turns pictures into bytes and bytes into `SideInfo`.

    Two files make a codec plugin::

        # pyproject.toml                        # mylab_codec/__init__.py
        [project.entry-points."icm.plugins"]    from icm_core import hookimpl
        mylab = "mylab_codec"                   from mylab_codec.codec import MyCodec

                                                @hookimpl
                                                def icm_codecs():
                                                    return [MyCodec]

    Args:
        params: the validated ``Params`` of the subclass.
    """

    searches: ClassVar[bool] = False
    """Whether the codec has a `search`."""

    reads_fields: ClassVar[bool] = False
    """Whether `encode` and `encode_with_side` also take pictures that are read region by region, as an
    `icm_core.tiles.Field`: large pictures come as one then."""

    writes_own_files: ClassVar[bool] = False
    """Whether payloads are files of a format of their own, such as JPEG: rates then count the payload alone."""

    chosen_encoder: str = ""
    """Name of the encoder that works; see `with_encoder`."""

    def __init__(self, params: ComponentParams) -> None:
        super().__init__()
        self.params = params

    @property
    @abstractmethod
    def layout(self) -> SideInfoLayout:
        """Channels and strides of the side information."""

    @property
    @abstractmethod
    def quality_range(self) -> tuple[float, float]:
        """Lowest (fewest bits) and highest quality that `encode` accepts."""

    @property
    def encoders(self) -> tuple[str, ...]:
        """Names of the encoders among which a user may choose, the usual one first; none where there is no choice.

        Files of all of them decode alike, and `coding_state` does not depend on which there are.
        """
        return ()

    def with_encoder(self, name: str) -> Self:
        """This codec with another of its encoders at work; weights and everything else are shared.

        Raises:
            InputError: the codec has no such encoder.
        """
        if name not in self.encoders:
            known = ", ".join(self.encoders) or "it has one, without a name"
            raise InputError(f"codec {self.name!r} has no encoder {name!r}; known: {known}")
        other = copy.copy(self)
        other.chosen_encoder = name
        return other

    @abstractmethod
    def forward(self, x: Tensor, quality: Tensor) -> CodecOutput:
        """Training pass.

        Args:
            x: pictures (B, 3, H, W) in [0, 1], H and W multiples of `layout.alignment`.
            quality: one real quality per picture, (B,).
        """

    @abstractmethod
    def encode(self, x: Tensor, quality: Quality) -> list[bytes]:
        """Base-layer payload of each picture.

        Args:
            x: pictures (B, 3, H, W) in [0, 1] of any size; the codec pads.
            quality: one quality for the batch.
        """

    def encode_with_side(self, x: Tensor, quality: Quality) -> tuple[list[bytes], SideInfo]:
        """`encode`, and the side information that `decode` would give of the payloads, bit for bit.

        By default it decodes them; a codec that has it at hand says so here.
        """
        payloads = self.encode(x, quality)
        return payloads, self.decode(payloads, (x.shape[-2], x.shape[-1]), quality)

    def search(
        self, x: Tensor, quality: Quality, objective: Callable[[SideInfo, Tensor], Tensor], steps: int
    ) -> list[bytes]:
        """Like `encode`, but looks for side information that an objective likes better; decoding knows nothing of it.

        Codecs with ``searches = True`` implement it.

        Args:
            x: as in `encode`.
            quality: as in `encode`.
            objective: a value per picture, (B,), to be made small, for side information and the bits (B,) that it
                takes; differentiable in both.
            steps: number of steps, from 1.
        """
        raise NotImplementedError(f"{type(self).__name__} has no search")

    @abstractmethod
    def decode(self, payloads: Sequence[bytes], size: tuple[int, int], quality: Quality) -> SideInfo:
        """Side information of a batch of pictures of one size, bit for bit what the encoder had.

        Raises:
            BitstreamError: a payload cannot have been written by `encode`.
        """

    @abstractmethod
    def coding_state(self) -> bytes:
        """Everything that decoding a payload depends on, as bytes: integer weights, tables, structure.

        Its hash is the base layer's fingerprint.
        """

    def prove(self) -> Sequence[Bound]:
        """A bound of every sum between a decoded symbol and a probability, in the order of the coding path.

        By default none: nothing is promised.

        Raises:
            WeightsError: a layer could leave the range in which its arithmetic is exact; it is named.
        """
        return ()

    def freeze_tables(self) -> None:
        """Compute the integer coding tables from the trained parameters; called once, before export."""
