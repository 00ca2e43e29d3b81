"""Learned codecs from CompressAI's model classes, coded to real bytes with CompressAI's coder.

CompressAI takes longer to import than PyTorch, so it is imported where a model is made.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from icm_core.coding import CdfTables, StreamDecoder, StreamEncoder
from icm_core.coding.rans import MAX_SYMBOL
from icm_core.coding.weight_cache import Memo
from icm_core.interfaces import ComponentParams
from icm_core.quality import Quality
from icm_core.types import SideInfo
from icm_core.wrap import ModelCodec

_CONTEXT = 5  # side of the context model's window


class HyperpriorParams(ComponentParams):
    """Widths, with CompressAI's names."""

    n: int = Field(128, ge=8, le=512, description="N, channels inside the networks and of z (CompressAI: 128 or 192)")
    m: int = Field(192, ge=8, le=512, description="M, channels of the latent y (CompressAI: 192 or 320)")


@dataclass(frozen=True)
class _Tables:
    z: CdfTables
    y: CdfTables
    scales: Tensor


class LearnedCodec(ModelCodec):
    """A model of CompressAI with one rate, so that 1 is its only quality; its side information is the picture.

    Probabilities come from float networks: a file decodes where the same library runs on the same kind of machine with
    as many threads, and nothing is promised beyond that. (SICMH's own codecs compute them in integers.) Cumulative
    tables are made from the weights when first needed, and are in no state.

    Bytes: one stream of CompressAI's range coder, the symbols of z and then those of y. (What CompressAI's
    `compress` gives has a stream for each, and `ModelCodec` would write them behind a length.)
    """

    def __init__(self, params: ComponentParams) -> None:
        super().__init__(params)
        self._memo: Memo[_Tables] = Memo()

    def encode(self, x: Tensor, quality: Quality) -> list[bytes]:  # noqa: ARG002
        """One stream a picture."""
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            return [self._encode(picture[None]) for picture in x.float()]

    def decode(self, payloads: Sequence[bytes], size: tuple[int, int], quality: Quality) -> SideInfo:  # noqa: ARG002
        """The decoded pictures, in [0, 1]; see `Codec.decode`."""
        with torch.no_grad(), torch.autocast(self.place.type, enabled=False):
            pictures = [self._decode(payload, size, self.place) for payload in payloads]
        return SideInfo((torch.cat(pictures)[..., : size[0], : size[1]].contiguous(),), size)

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

    def _decode(self, payload: bytes, size: tuple[int, int], place: torch.device) -> Tensor:
        net = cast(Any, self.net)
        height, width = (-(-side // self.stride) for side in size)
        stream = StreamDecoder(payload, height * width * (net.N + 16 * net.M))
        rows = self._channels(torch.empty(1, net.N, height, width, device=place))
        medians = net.entropy_bottleneck.quantiles[:, 0, 1][None, :, None, None]
        z = stream.pull(rows, self._tables().z) + medians
        y = self._decode_latent(stream, net.h_s(z))
        stream.finish()
        picture: Tensor = net.g_s(y)
        return picture.clamp(0, 1)

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

    params: ComponentParams

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

    class Params(ComponentParams):
        """The one width, with CompressAI's name."""

        n: int = Field(192, ge=8, le=512, description="N, channels of networks and latents (CompressAI: 128 or 192)")

    def models(self) -> list[nn.Module]:
        """CompressAI's model."""
        from compressai.models import Cheng2020Anchor

        return [Cheng2020Anchor(cast(Cheng2020AnchorCodec.Params, self.params).n)]


def _symbols(value: Tensor) -> Tensor:
    return value.round().clamp(-MAX_SYMBOL, MAX_SYMBOL).long()
