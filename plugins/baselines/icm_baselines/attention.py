"""CompressAI's ``cheng2020-attn``."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from icm_baselines.learned import ContextCodec, LearnedParams
from icm_core.types import CodecOutput


class _ResidualUnit(nn.Module):
    """CompressAI's, whose class is made anew in each block and so cannot go to another process."""

    conv: nn.Module
    relu: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.conv(x) + x)
        return out


class Cheng2020AttentionCodec(ContextCodec):
    """`Cheng2020AnchorCodec` with attention in its transforms (Cheng et al., CVPR 2020).

    CompressAI's model has one Gaussian a symbol; the paper's has a mixture of three.

    Weights and pictures keep PyTorch's usual memory layout, also in a pipeline that has ``channels_last``: in that one
    PyTorch 2.15 writes past its memory in the gradients of these transforms on a CPU.
    """

    name: ClassVar[str] = "baselines.cheng2020_attn"

    class Params(LearnedParams):
        """The one width, with CompressAI's name."""

        n: int = Field(
            192,
            ge=8,
            le=512,
            description="N, channels of networks and latents (CompressAI: 128 or 192)",
        )

    def forward(self, x: Tensor, quality: Tensor) -> CodecOutput:
        """See `Codec.forward`."""
        return super().forward(x.clone(memory_format=torch.contiguous_format), quality)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Cheng2020AttentionCodec:
        """What every ``to`` goes through, that of the pipeline too."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for tensor in chain(self.parameters(), self.buffers()):
            # Not contiguous(): weights of 1x1 are contiguous in both layouts, and keep the strides of the other one.
            tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
        return self

    def models(self) -> list[nn.Module]:
        """CompressAI's model."""
        from compressai.models import Cheng2020Attention

        model = Cheng2020Attention(cast(Cheng2020AttentionCodec.Params, self.params).n)
        for module in model.modules():
            if type(module).__qualname__ == "AttentionBlock.__init__.<locals>.ResidualUnit":
                module.__class__ = _ResidualUnit
        return [model]
