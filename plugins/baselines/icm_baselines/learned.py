"""Learned codecs from CompressAI's model classes, coded to real bytes with CompressAI's coder.

CompressAI takes longer to import than PyTorch, so it is imported where a model is made.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from icm_core.coding import CdfTables, StreamDecoder, StreamEncoder
from icm_core.coding.rans import MAX_SYMBOL
from icm_core.coding.weight_cache import Memo
from icm_core.interfaces import ComponentParams
from icm_core.quality import Quality
from icm_core.types import CodecOutput, Level, SideInfo, SideInfoLayout
from icm_core.wrap import ModelCodec

_CONTEXT = 5  # side of the context model's window
_LATENT = 16  # stride of y
_PICTURE = Level(3, 1)

Side = Literal["picture", "latent", "both"]


class LearnedParams(ComponentParams):
    """What is handed on of what a file holds."""

    side: Side = Field(
        "picture",
        description="the side information: the decoded picture; the decoded latent y, for tasks that are done without "
        "a picture, and no synthesis network is built; or both",
    )


class HyperpriorParams(LearnedParams):
    """Widths, with CompressAI's names."""

    n: int = Field(128, ge=8, le=512, description="N, channels inside the networks and of z (CompressAI: 128 or 192)")
    m: int = Field(192, ge=8, le=512, description="M, channels of the latent y (CompressAI: 192 or 320)")


@dataclass(frozen=True)
class _Tables:
    z: CdfTables
    y: CdfTables
    scales: Tensor


class LearnedCodec(ModelCodec):
    """A model of CompressAI with one rate, so that 1 is its only quality.

    Its side information is the decoded picture, (B, 3, H, W), or the decoded latent y, (B, M, H / 16, W / 16), or the
    two in this order, as ``side`` says. With the latent, height and width are rounded up to multiples of 16.

    Probabilities come from float networks: a file decodes where the same library runs on the same kind of machine with
    as many threads, and nothing is promised beyond that. (SICMH's own codecs compute them in integers.) Cumulative
    tables are made from the weights when first needed, and are in no state.

    Bytes: one stream of CompressAI's range coder, the symbols of z and then those of y. (What CompressAI's
    `compress` gives has a stream for each, and `ModelCodec` would write them behind a length.)
    """

    params: LearnedParams

    def __init__(self, params: LearnedParams) -> None:
        super().__init__(params)
        if params.side == "latent":
            cast(Any, self.net).g_s = nn.Identity()  # then what CompressAI calls the picture is the latent
        self._memo: Memo[_Tables] = Memo()

    @property
    def layout(self) -> SideInfoLayout:
        """The decoded picture, 3 channels at full size; the latent, M channels at 1/16; as ``side`` says."""
        net = cast(Any, self.net)
        picture = () if self.params.side == "latent" else (_PICTURE,)
        if self.params.side == "picture":
            return SideInfoLayout(picture, 3)
        return SideInfoLayout((*picture, Level(int(net.M), _LATENT)), int(net.N))

    def forward(self, x: Tensor, quality: Tensor) -> CodecOutput:
        """See `Codec.forward`; pictures may have any size. In training, the decoded ones are not clamped to [0, 1]."""
        if self.params.side == "picture":
            return super().forward(x, quality)
        latents: list[Tensor] = []
        # What the synthesis gets is the latent, in every model of CompressAI's, and none of them returns it.
        hook = cast(Any, self.net).g_s.register_forward_pre_hook(lambda _, given: latents.append(given[0]))
        try:
            picture, bits = self._passed(self.net, self.padded(x))
        finally:
            hook.remove()
        picture = picture.float() if self.training else picture.float().clamp(0, 1)
        return CodecOutput(self._side(latents[0].float(), picture, (x.shape[-2], x.shape[-1])), bits)

    def _side(self, latent: Tensor, picture: Tensor, size: tuple[int, int]) -> SideInfo:
        """What `side` asks for, cut to the size that the layout says."""
        step = self.layout.alignment
        levels = []
        for level in self.layout.levels:
            height, width = (-(-side // step) * step // level.stride for side in size)
            whole = picture if level == _PICTURE else latent
            levels.append(whole[..., :height, :width].contiguous())
        return SideInfo(tuple(levels), size)

    def structure(self) -> str:
        """The widths; what is handed on changes no stream."""
        return self.params.model_dump_json(exclude={"side"})

    def load_trained(self, state: Mapping[str, Tensor], quality: int = 1) -> None:
        """As in `ModelCodec`; without a picture the weights of the synthesis are left out."""
        if self.params.side == "latent":
            state = {name: value for name, value in state.items() if not name.startswith("g_s.")}
        super().load_trained(state, quality)

    def encode(self, x: Tensor, quality: Quality) -> list[bytes]:  # noqa: ARG002
        """One stream a picture."""
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            return [self._encode(picture[None]) for picture in x.float()]

    def decode(self, payloads: Sequence[bytes], size: tuple[int, int], quality: Quality) -> SideInfo:  # noqa: ARG002
        """The decoded pictures, in [0, 1], the latents or both; see `Codec.decode`."""
        with torch.no_grad(), torch.autocast(self.place.type, enabled=False):
            pairs = [self._decode(payload, size, self.place) for payload in payloads]
        latents, pictures = zip(*pairs, strict=True)
        return self._side(torch.cat(latents), torch.cat(pictures), size)

    def _tables(self) -> _Tables:
        return self._memo.get([self.net], self._build_tables)

    def _build_tables(self) -> _Tables:
        from compressai.models import get_scale_table

        net = cast(Any, self.net)
        # Copies: what is written into the model itself would count as a change of its weights.
        bottleneck, gaussian = (
            copy.deepcopy(part).cpu() for part in (net.entropy_bottleneck, net.gaussian_conditional)
        )
        bottleneck.update(force=True)
        gaussian.update_scale_table(get_scale_table(), force=True)
        z, y = (
            CdfTables.from_tensor(part.quantized_cdf, part.cdf_length, part.offset) for part in (bottleneck, gaussian)
        )
        return _Tables(z, y, gaussian.scale_table)

    def _rows(self, scales: Tensor) -> Tensor:
        """Row of the Gaussians' table for each scale, int64: the smallest in the table that is not below it."""
        return torch.bucketize(scales.contiguous(), self._tables().scales[:-1].to(scales.device))

    def _channels(self, like: Tensor) -> Tensor:
        return torch.arange(like.shape[1], device=like.device)[None, :, None, None].expand_as(like)

    def _encode(self, x: Tensor) -> bytes:
        net, stream = cast(Any, self.net), StreamEncoder()
        y = net.g_a(self.padded(x))
        medians = net.entropy_bottleneck.quantiles[:, 0, 1][None, :, None, None]
        symbols = _symbols(net.h_a(self._hyper_input(y)) - medians)
        stream.push(symbols, self._channels(symbols), self._tables().z)
        self._encode_latent(stream, y, net.h_s(symbols + medians))
        return stream.finish()

    def _decode(self, payload: bytes, size: tuple[int, int], place: torch.device) -> tuple[Tensor, Tensor]:
        """The latent and the picture of a payload."""
        net = cast(Any, self.net)
        height, width = (-(-side // self.stride) for side in size)
        stream = StreamDecoder(payload, height * width * (net.N + 16 * net.M))
        rows = self._channels(torch.empty(1, net.N, height, width, device=place))
        medians = net.entropy_bottleneck.quantiles[:, 0, 1][None, :, None, None]
        z = stream.pull(rows, self._tables().z) + medians
        y = self._decode_latent(stream, net.h_s(z))
        stream.finish()
        return y, net.g_s(y).clamp(0, 1)

    def _hyper_input(self, y: Tensor) -> Tensor:
        return y

    @abstractmethod
    def _encode_latent(self, stream: StreamEncoder, y: Tensor, hyper: Tensor) -> None: ...

    @abstractmethod
    def _decode_latent(self, stream: StreamDecoder, hyper: Tensor) -> Tensor: ...


class ScaleHyperpriorCodec(LearnedCodec):
    """Scale hyperprior (Ballé, Minnen, Singh, Hwang, Johnston, ICLR 2018), CompressAI's ``bmshj2018-hyperprior``."""

    name: ClassVar[str] = "baselines.bmshj2018_hyperprior"

    class Params(HyperpriorParams):
        """See `HyperpriorParams`."""

    params: HyperpriorParams

    def models(self) -> list[nn.Module]:
        """CompressAI's model."""
        from compressai.models import ScaleHyperprior

        return [ScaleHyperprior(self.params.n, self.params.m)]

    def _hyper_input(self, y: Tensor) -> Tensor:
        return y.abs()

    def _encode_latent(self, stream: StreamEncoder, y: Tensor, hyper: Tensor) -> None:
        stream.push(_symbols(y), self._rows(hyper), self._tables().y)

    def _decode_latent(self, stream: StreamDecoder, hyper: Tensor) -> Tensor:
        return stream.pull(self._rows(hyper), self._tables().y).float()


class ContextCodec(LearnedCodec):
    """Joint autoregressive and hierarchical priors (Minnen, Ballé, Toderici, 2018), CompressAI's ``mbt2018``.

    Position after position is coded with the distribution that its decoded neighbours give, in both directions one by
    one: seconds a picture.
    """

    name: ClassVar[str] = "baselines.mbt2018"

    class Params(HyperpriorParams):
        """See `HyperpriorParams`."""

        n: int = Field(192, ge=8, le=512, description="N, channels inside the networks and of z (CompressAI: 192)")

    def models(self) -> list[nn.Module]:
        """CompressAI's model."""
        params = cast(HyperpriorParams, self.params)
        from compressai.models import JointAutoregressiveHierarchicalPriors

        return [JointAutoregressiveHierarchicalPriors(params.n, params.m)]

    def _encode_latent(self, stream: StreamEncoder, y: Tensor, hyper: Tensor) -> None:
        symbols, rows = [], []

        def code(i: int, j: int, means: Tensor, its_rows: Tensor) -> Tensor:
            symbols.append(_symbols(y[:, :, i, j] - means))
            rows.append(its_rows)
            return symbols[-1]

        self._positions(hyper, code)
        stream.push(torch.cat(symbols), torch.cat(rows), self._tables().y)

    def _decode_latent(self, stream: StreamDecoder, hyper: Tensor) -> Tensor:
        tables = self._tables().y
        return self._positions(hyper, lambda i, j, means, rows: stream.pull(rows, tables))  # noqa: ARG005

    def _positions(self, hyper: Tensor, code: Callable[[int, int, Tensor, Tensor], Tensor]) -> Tensor:
        """The decoded latent (1, M, h, w).

        Args:
            hyper: what z says of it, (1, 2M, h, w).
            code: gives the symbols (1, M) of a position from its row, column, means and table rows, both (1, M).
        """
        net = cast(Any, self.net)
        height, width = hyper.shape[-2:]
        margin = _CONTEXT // 2
        y = hyper.new_zeros(1, net.M, height + 2 * margin, width + 2 * margin)
        weight, bias = net.context_prediction.weight * net.context_prediction.mask, net.context_prediction.bias
        for i in range(height):
            for j in range(width):
                context = F.conv2d(y[:, :, i : i + _CONTEXT, j : j + _CONTEXT], weight, bias)
                both = net.entropy_parameters(torch.cat([hyper[:, :, i : i + 1, j : j + 1], context], 1))
                scales, means = both[:, :, 0, 0].chunk(2, 1)
                y[:, :, i + margin, j + margin] = code(i, j, means, self._rows(scales)) + means
        return y[:, :, margin : margin + height, margin : margin + width]


class Cheng2020AnchorCodec(ContextCodec):
    """Residual blocks and sub-pixel convolutions (Cheng et al., CVPR 2020), CompressAI's ``cheng2020-anchor``."""

    name: ClassVar[str] = "baselines.cheng2020_anchor"

    class Params(LearnedParams):
        """The one width, with CompressAI's name."""

        n: int = Field(192, ge=8, le=512, description="N, channels of networks and latents (CompressAI: 128 or 192)")

    def models(self) -> list[nn.Module]:
        """CompressAI's model."""
        from compressai.models import Cheng2020Anchor

        return [Cheng2020Anchor(cast(Cheng2020AnchorCodec.Params, self.params).n)]


def _symbols(value: Tensor) -> Tensor:
    return value.round().clamp(-MAX_SYMBOL, MAX_SYMBOL).long()
