"""CompressAI's ``cheng2020-attn``."""

from __future__ import annotations

from typing import ClassVar, cast

from pydantic import Field
from torch import Tensor, nn

from icm_baselines.learned import ContextCodec, LearnedParams


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
    """

    name: ClassVar[str] = "baselines.cheng2020_attn"

    class Params(LearnedParams):
        """The one width, with CompressAI's name."""

        n: int = Field(
            192,
            ge=8,
            le=512,
            description="N, channels of networks and latents (CompressAI: 128 or 192); to train on a CPU at least 24",
        )

    def models(self) -> list[nn.Module]:
        """CompressAI's model."""
        from compressai.models import Cheng2020Attention

        model = Cheng2020Attention(cast(Cheng2020AttentionCodec.Params, self.params).n)
        for module in model.modules():
            if type(module).__qualname__ == "AttentionBlock.__init__.<locals>.ResidualUnit":
                module.__class__ = _ResidualUnit
        return [model]
