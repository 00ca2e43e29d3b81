"""A codec from a model in the manner of CompressAI: `forward`, `compress`, `decompress`, `update`."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icm_core.coding import serialize
from icm_core.coding.weight_cache import Memo
from icm_core.errors import BitstreamError, WeightsError
from icm_core.interfaces import Codec, ComponentParams
from icm_core.quality import Quality
from icm_core.types import CodecOutput, Level, SideInfo, SideInfoLayout
from icm_core.wrap.strings import leaves, pack, refilled, scaled, unpack


@dataclass(frozen=True)
class _Coder:
    """A model with its tables, and what is known of its strings beforehand.

    Attributes:
        net: the model, of the same weights.
        pattern: strings of one block, for their number and how they lie in lists.
        one: shape of one block.
        six: shape of two by three blocks.
        symbols: symbols of one block; 0 where the model has no entropy models of CompressAI's.
    """

    net: Any
    pattern: object
    one: object
    six: object
    symbols: int


class ModelCodec(Codec):
    """A codec from a model with CompressAI's methods; its side information is the decoded picture, (B, 3, H, W).

    A subclass has a `name`, ``Params`` and `models`. A model's methods are given pictures whose sides are multiples of
    `stride`:

    - ``forward(x)``, pictures (B, 3, H, W) in [0, 1], returns ``{"x_hat": pictures, "likelihoods": {name: (B, ...)}}``:
      probabilities of symbols, with noise or straight gradients in training.
    - ``compress(x)``, one picture (1, 3, H, W), returns ``{"strings": [[bytes], ...], "shape": ...}``: always as many
      strings, and a shape: whole numbers, in tuples, lists or dicts, that grow with the picture's sides or not at all.
    - ``decompress(strings, shape)`` returns ``{"x_hat": picture}``, and refuses what `compress` cannot have written by
      any exception.
    - ``update(force=True)``, where there is one, makes tables of the weights.

    Payload: the lengths of all strings but the last, and the strings. The shape follows from the picture's size and is
    not written. CompressAI's entropy models code with the streams of `icm_core.coding`, which are read to their end and
    no further. Tables are made when they are needed, anew where weights have changed, and are in no state.

    Probabilities come from float networks: a file decodes where the same library runs on the same kind of machine with
    as many threads, and nothing is promised beyond that.
    """

    stride: ClassVar[int] = 64
    """Pictures are padded to multiples of this many pixels; 64 suits every model of CompressAI."""

    net: nn.Module

    def __init__(self, params: ComponentParams) -> None:
        super().__init__(params)
        from icm_core.wrap import entropy

        # Some of CompressAI's layers mix devices while they are built, if the default one is not the CPU.
        place = torch.get_default_device()
        with torch.device("cpu"):
            made = list(self.models())
        for model in made:
            entropy.adopt(model)
        self.net = made[0] if len(made) == 1 else nn.ModuleList(made)
        self.net.to(place)
        self._count = len(made)
        self._coders: list[Memo[_Coder]] = [Memo() for _ in made]

    @abstractmethod
    def models(self) -> Sequence[nn.Module]:
        """The model, or one for each whole quality from 1, the one with the fewest bits first; untrained.

        All return likelihoods of the same names. A quality between two is coded with the nearer one.
        """

    @property
    def layout(self) -> SideInfoLayout:
        """The decoded picture: 3 channels at full size."""
        return SideInfoLayout((Level(3, 1),), 3)

    @property
    def quality_range(self) -> tuple[float, float]:
        """1 to the number of models."""
        return 1.0, float(self._count)

    def padded(self, x: Tensor) -> Tensor:
        """Pictures continued to the right and below by their edge, to multiples of `stride`."""
        height, width = x.shape[-2:]
        return F.pad(x, (0, -width % self.stride, 0, -height % self.stride), mode="replicate")

    def forward(self, x: Tensor, quality: Tensor) -> CodecOutput:
        """See `Codec.forward`; pictures may have any size. In training, the decoded ones are not clamped to [0, 1]."""
        height, width = x.shape[-2:]
        padded = self.padded(x)
        if self._count == 1 or x.is_meta:
            picture, bits = self._passed(self._models()[0], padded)
        else:
            rows = torch.tensor([self._number(value) for value in quality.tolist()], device=x.device)
            groups = [(number, (rows == number).nonzero()[:, 0]) for number in sorted(set(rows.tolist()))]
            parts = [self._passed(self._models()[number], padded[its]) for number, its in groups]
            back = torch.cat([its for _, its in groups]).argsort()
            picture = torch.cat([part for part, _ in parts])[back]
            bits = {name: torch.cat([found[name] for _, found in parts])[back] for name in parts[0][1]}
        picture = picture.float()[..., :height, :width]
        return CodecOutput(SideInfo((picture if self.training else picture.clamp(0, 1),), (height, width)), bits)

    def _passed(self, model: nn.Module, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        from icm_core.wrap import entropy

        if x.is_meta:
            with entropy.shapes_alone(model):
                found = model(x)
        else:
            found = model(x)
        self._check(found, "forward", "x_hat", "likelihoods")
        bits = {name: -mass.float().log2().flatten(1).sum(1) for name, mass in found["likelihoods"].items()}
        return found["x_hat"], bits

    @torch.no_grad()
    def freeze_tables(self) -> None:
        """Find the ends and medians of CompressAI's densities, which a rate and a distance do not train."""
        from icm_core.wrap import entropy

        entropy.find_quantiles(self.net)

    def load_trained(self, state: Mapping[str, Tensor], quality: int = 1) -> None:
        """Fill the model of a quality from a state dict of its own library's; tables in it are left out.

        Args:
            state: names in the model, such as ``"g_a.0.weight"``, and their values.
            quality: which model, counted from 1.

        Raises:
            WeightsError: names or shapes are not the model's.
        """
        from icm_core.wrap import entropy

        model = self._models()[self._number(quality)]
        try:
            nn.Module.load_state_dict(model, entropy.without_tables(model, state))
        except RuntimeError as error:
            raise WeightsError(f"{self.name} cannot take these weights: {' '.join(str(error).split())}") from error

    def make_tables(self, model: nn.Module) -> None:
        """Make a model ready to code: by default ``model.update(force=True)``, where it has that.

        Args:
            model: a copy that shares the weights, which stay as they are.
        """
        if hasattr(model, "update"):
            cast(Any, model).update(force=True)

    def structure(self) -> str:
        """What of the parameters decoding depends on, for the fingerprint: by default all."""
        return self.params.model_dump_json()

    def coding_state(self) -> bytes:
        """Digest of all weights: the decoded picture depends on every one of the decoder's."""
        parts: list[bytes | str] = [f"{self.name}/1", self.structure()]
        for name, tensor in sorted(self.net.state_dict().items()):
            parts += [name, tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()]
        return serialize(*parts)

    def encode(self, x: Tensor, quality: Quality) -> list[bytes]:
        """One payload a picture; see `Codec.encode`."""
        with self._coding(x.device):
            coder = self._coder(quality)
            return [self._compressed(coder, picture[None]) for picture in self.padded(x.float())]

    def decode(self, payloads: Sequence[bytes], size: tuple[int, int], quality: Quality) -> SideInfo:
        """The decoded pictures, in [0, 1]; see `Codec.decode`."""
        with self._coding(self.place):
            coder = self._coder(quality)
            pictures = [self._decompressed(coder, payload, size) for payload in payloads]
        return SideInfo((torch.cat(pictures),), size)

    @property
    def place(self) -> torch.device:
        """Where the weights are."""
        found = next(itertools.chain(self.net.parameters(), self.net.buffers()), None)
        return torch.device("cpu") if found is None else found.device

    @contextmanager
    def _coding(self, place: torch.device) -> Iterator[None]:
        with torch.no_grad(), torch.autocast(place.type, enabled=False):
            yield

    def _compressed(self, coder: _Coder, x: Tensor) -> bytes:
        found = self._compress(coder.net, x)
        shape = self._shape(coder, x.shape[-2], x.shape[-1])
        strings = leaves(found["strings"])
        if _plain(found["shape"]) != _plain(shape) or len(strings) != len(leaves(coder.pattern)):
            raise TypeError(
                f"{self.name}: compress gives {len(strings)} strings and the shape {found['shape']} for this picture, "
                f"and {len(leaves(coder.pattern))} and {shape} for an empty one of its size; a decoder cannot know that"
            )
        return pack(strings)

    def _decompressed(self, coder: _Coder, payload: bytes, size: tuple[int, int]) -> Tensor:
        height, width = (-(-side // self.stride) * self.stride for side in size)
        strings = unpack(payload, len(leaves(coder.pattern)))
        if coder.symbols:
            from icm_core.wrap.entropy import Followed

            blocks = height * width // self.stride**2
            strings = [Followed.by_zeros(string, coder.symbols * blocks) for string in strings]
        try:
            found = coder.net.decompress(refilled(coder.pattern, iter(strings)), self._shape(coder, height, width))
        except (BitstreamError, MemoryError, torch.cuda.OutOfMemoryError):
            raise
        except Exception as error:
            raise BitstreamError(
                f"{self.name} cannot read a payload of {len(payload)} bytes: {type(error).__name__}: {error}"
            ) from error
        self._check(found, "decompress", "x_hat")
        picture: Tensor = found["x_hat"]
        if (given := tuple(picture.shape)) != (1, 3, height, width):
            raise TypeError(f"{self.name}: decompress gives a picture of shape {given}, not {(1, 3, height, width)}")
        if not bool(picture.isfinite().all()):
            raise BitstreamError(f"{self.name}: a damaged payload decodes to values that are no numbers")
        return picture.float().clamp(0, 1)[..., : size[0], : size[1]].contiguous()

    def _models(self) -> list[nn.Module]:
        return [self.net] if self._count == 1 else list(self.net.children())

    def _number(self, quality: float) -> int:
        return min(max(int(quality + 0.5), 1), self._count) - 1

    def _coder(self, quality: Quality) -> _Coder:
        number = self._number(quality.value)
        model = self._models()[number]
        return self._coders[number].get([model], lambda: self._make_coder(model))

    def _make_coder(self, model: nn.Module) -> _Coder:
        from icm_core.wrap import entropy

        net = entropy.twin(model)
        self.make_tables(net)
        strict = entropy.read_strictly(net)
        side = self.stride
        block = torch.zeros(1, 3, side, side, device=self.place)
        one, six = (self._compress(net, block.repeat(1, 1, *times)) for times in ((1, 1), (2, 3)))
        symbols = 0
        if strict:
            found = net(block)
            self._check(found, "forward", "x_hat", "likelihoods")
            symbols = sum(mass.numel() for mass in found["likelihoods"].values())
        return _Coder(net, one["strings"], one["shape"], six["shape"], symbols)

    def _compress(self, net: Any, x: Tensor) -> Mapping[str, Any]:
        found: Mapping[str, Any] = net.compress(x)
        self._check(found, "compress", "strings", "shape")
        return found

    def _shape(self, coder: _Coder, height: int, width: int) -> Any:
        try:
            return scaled(coder.one, coder.six, height // self.stride, width // self.stride)
        except TypeError as error:
            raise TypeError(
                f"{self.name}: the shape that compress gives is no multiple of its picture's sides: {error}; set "
                f"stride, now {self.stride}, to what the model's pictures have to be multiples of"
            ) from error

    def _check(self, found: object, method: str, *keys: str) -> None:
        if not isinstance(found, Mapping) or any(key not in found for key in keys):
            given = sorted(found) if isinstance(found, Mapping) else type(found).__name__
            raise TypeError(f"{self.name}: the model's {method} gives {given}, not a dict with {' and '.join(keys)}")


def _plain(shape: Any) -> Any:
    """A shape for comparing: lists and tuples are the same."""
    if isinstance(shape, Mapping):
        return {key: _plain(value) for key, value in shape.items()}
    return [_plain(value) for value in shape] if isinstance(shape, (list, tuple)) else shape
