"""Data sets in another size: pictures and all that has a place in them, resized alike."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tvf

from icm_core.bitstream.container import MAX_SIDE
from icm_core.errors import InputError
from icm_core.interfaces import DataSet, DataSetParams, Sample, TaskKind
from icm_core.interfaces.dataset import PICTURES
from icm_core.nests import Nest, map_tensors, paths
from icm_core.types import Legend

Pixels = tuple[int, int]
"""Height and width."""


class Resized(DataSet):
    """A data set whose pictures and targets are resized; all else is as in the data set itself.

    Pictures are resized bilinearly with antialiasing, as training's ``augment.resize`` does it. Of masks and maps, the
    pixel nearest to the centre of each new one is taken, so that classes and distances are not mixed. Boxes and points
    are scaled; things whose box is left with a side below a pixel, or whose mask without a pixel, are gone.

    Args:
        data: the data set.
        params: the parameters that it was asked for with; their ``size`` is not None.
        kind: of its targets, None where it has none.
    """

    name: ClassVar[str] = "core.resized"

    def __init__(self, data: DataSet, params: DataSetParams, kind: TaskKind | None) -> None:
        super().__init__(params.model_copy(update={"size": None}), data.root, data.split)
        assert params.size is not None
        self.name = data.name  # type: ignore[misc]  # messages and results name the data set itself
        self.params, self.data = params, data
        self._size, self._kind = params.size, kind

    @property
    def kind(self) -> str:  # type: ignore[override]
        """The data set's."""
        return PICTURES if self._kind is None else self._kind.name

    @property
    def labels(self) -> tuple[str, ...]:
        """The data set's."""
        return self.data.labels

    @property
    def ignore_index(self) -> float | None:
        """The data set's."""
        return self.data.ignore_index

    @property
    def unit(self) -> str:
        """The data set's."""
        return self.data.unit

    @property
    def legend(self) -> Legend:
        """The data set's."""
        return self.data.legend

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, number: int) -> Sample:
        sample = self.data[number]
        old = sample.picture.shape[-2], sample.picture.shape[-1]
        new = new_size(old, self._size)
        if new == old:
            return sample
        if max(new) > MAX_SIDE:
            raise InputError(
                f"{sample.key} has {old[1]}x{old[0]} pixels, and {new[1]}x{new[0]} with the size {self._size}; "
                f"a side has at most {MAX_SIDE}"
            )
        picture = tvf.resize(sample.picture, [*new], InterpolationMode.BILINEAR, antialias=True)
        if self._kind is None:
            return Sample(sample.key, picture, sample.target)
        try:
            return Sample(sample.key, picture, _resized(sample.target, self._kind, old, new, self.legend))
        except ValueError as error:
            raise InputError(f"the target of {sample.key} cannot be resized: {error}") from error


def new_size(old: Pixels, wanted: int | Pixels) -> Pixels:
    """Height and width of a picture that is resized.

    Args:
        old: what it has.
        wanted: of the shorter side, the other one follows; or of both.

    >>> new_size((480, 640), 240), new_size((640, 480), 240), new_size((480, 640), (100, 100))
    ((240, 320), (320, 240), (100, 100))
    """
    if isinstance(wanted, tuple):
        return wanted
    short = min(old)
    height, width = (max(1, (2 * side * wanted + short) // (2 * short)) for side in old)
    return height, width


def _resized(target: Nest, kind: TaskKind, old: Pixels, new: Pixels, legend: Legend) -> Nest:
    moved = kind.unwrap(map_tensors(lambda tensor: _moved(tensor, new), kind.wrap(target, old)), new, legend)
    # Kinds unwrap to what losses take: class maps come back in int64, and data sets have them in uint8.
    types = {where: tensor.dtype for where, tensor in paths(target).items()}
    wanted = {id(tensor): types.get(where, tensor.dtype) for where, tensor in paths(moved).items()}
    return map_tensors(lambda tensor: tensor.to(wanted[id(tensor)]), moved)


def _moved(tensor: Tensor, size: Pixels) -> Tensor:
    """What a kind has wrapped, in a picture of another size; other tensors have no place in it."""
    if isinstance(tensor, tv_tensors.Mask):
        # torchvision's NEAREST takes the upper left pixel of each block, half a new pixel off the picture, and before
        # 0.29 masks have no other.
        flat = tensor.as_subclass(Tensor).reshape(-1, *tensor.shape[-2:])
        resized = tvf.resize_image(flat, [*size], InterpolationMode.NEAREST_EXACT)
        found: Tensor = tv_tensors.wrap(resized.reshape(*tensor.shape[:-2], *size), like=tensor)
        return found
    if isinstance(tensor, tv_tensors.TVTensor):
        moved: Tensor = tvf.resize(tensor, [*size], antialias=True)
        return moved
    return tensor
