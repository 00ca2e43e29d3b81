"""HiFiC: a generator in place of the synthesis, a discriminator as a task, and their loss."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from icm_baselines.learned import HyperpriorParams, ScaleHyperpriorCodec
from icm_core.errors import SpecError
from icm_core.interfaces import ComponentParams, DataSet, PipelineView, TaskHead
from icm_core.training import Batch, Loss
from icm_core.types import FeatureLayout, Features, Level


class ChannelNorm(nn.Module):
    """Each position's channels brought to mean 0 and variance 1, then scaled and shifted by channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, (B, C, h, w)."""
        variance, mean = torch.var_mean(x, 1, correction=0, keepdim=True)
        return (x - mean) * torch.rsqrt(variance + 1e-3) * self.scale + self.shift


class Block(nn.Module):
    """A residual block of two convolutions with channel norms."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), ChannelNorm(channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1), ChannelNorm(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        changed: Tensor = x + self.layers(x)
        return changed


class Generator(nn.Sequential):
    """A latent (B, M, h, w) to a picture (B, 3, 16 h, 16 w).

    Args:
        latent: M.
        width: channels at the latent's scale; each of four doublings of the size halves them.
        blocks: residual blocks before these.
    """

    def __init__(self, latent: int, width: int, blocks: int) -> None:
        layers: list[nn.Module] = [ChannelNorm(latent), nn.Conv2d(latent, width, 3, padding=1), ChannelNorm(width)]
        layers += [Block(width) for _ in range(blocks)]
        for _ in range(4):
            layers += [nn.Conv2d(width, 2 * width, 3, padding=1), nn.PixelShuffle(2)]  # half the channels
            width //= 2
            layers += [ChannelNorm(width), nn.ReLU()]
        layers.append(nn.Conv2d(width, 3, 7, padding=3))
        super().__init__(*layers)


class HiFiC(ScaleHyperpriorCodec):
    """High-fidelity generative compression (Mentzer et al., NeurIPS 2020): its generator behind a scale hyperprior.

    The original has a mean and scale hyperprior and a wider analysis; here they are those of the scale hyperprior.
    Trained with `Adversarial` it makes up what bits do not say; with a rate and a squared error alone it is one more
    learned codec.
    """

    name: ClassVar[str] = "related.hific"

    class Params(HyperpriorParams):
        """The hyperprior's widths and the generator's."""

        width: int = Field(
            960, ge=32, le=2048, multiple_of=16, description="channels of the generator at 1/16 (the original: 960)"
        )
        blocks: int = Field(9, ge=0, le=32, description="its residual blocks (the original: 9)")

    def models(self) -> list[nn.Module]:
        """CompressAI's model with the generator."""
        params = cast(HiFiC.Params, self.params)
        (net,) = super().models()
        cast(Any, net).g_s = Generator(params.m, params.width, params.blocks)
        return [net]


class Discriminator(TaskHead):
    """How much patches of a picture look like those of photographs: a logit, (B, 1), the mean over patches.

    It is a task as any other, so that it trains, is saved and can be left out as one: a spec that extends says
    ``"tasks": {"realness": null}``. The original's also looks at the latent; this one does not.
    """

    name: ClassVar[str] = "related.discriminator"
    kind: ClassVar[str] = "regression"

    class Params(ComponentParams):
        """Sizes."""

        width: int = Field(
            64, ge=4, le=512, description="channels of the first layer; each of the next has twice as many"
        )
        layers: int = Field(4, ge=1, le=6, description="layers of stride 2")

    params: Params

    def __init__(self, params: Params, features: FeatureLayout) -> None:
        super().__init__(params, features)
        if features.get("image") != Level(3, 1):
            raise SpecError(f"head '{self.name}' needs 'image' of 3 channels at full size; it gets {dict(features)}")
        before, layers = 3, list[nn.Module]()
        for number in range(params.layers):
            after = params.width << number
            layers += [nn.Conv2d(before, after, 4, 2, 2), nn.LeakyReLU(0.2)]
            before = after
        self.layers = nn.Sequential(*layers, nn.Conv2d(before, 1, 1))

    @property
    def labels(self) -> tuple[str, ...]:
        """The one value."""
        return ("realness",)

    def forward(self, features: Features) -> Tensor:
        """Logits (B, 1), above 0 for what looks real."""
        logits: Tensor = self.layers(features.cropped("image") - 0.5)
        return logits.mean((2, 3))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Squared error of each picture, (B,); of values (B, 1)."""
        return (output - target).square().mean(1)


class Adversarial(Loss):
    """Non-saturating GAN loss (Goodfellow et al., 2014) of a task whose head is a discriminator, both sides in a step.

    ``-log sigmoid D(x) - log(1 - sigmoid D(x'))`` reaches the discriminator alone, and what made the picture x' alone
    ``-generator * log sigmoid D(x')``. A stage trains both: codec and the task's head stand in its ``train``, with a
    learning rate each.
    """

    name: ClassVar[str] = "related.adversarial"

    class Params(ComponentParams):
        """How much the generator's side counts."""

        generator: float = Field(0.15, ge=0, le=1000, description="weight of the generator's side (the original: 0.15)")

    params: Params

    def __init__(self, params: Params, pipe: PipelineView, task: str | None, data: DataSet) -> None:
        super().__init__(params, pipe, task, data)
        if task is None or not isinstance(pipe.task(task).head, Discriminator):
            raise SpecError(f"loss '{self.name}' is of a task whose head is '{Discriminator.name}'")

    def forward(self, batch: Batch) -> Tensor:
        """The loss of each picture, (B,), in nats."""
        assert self.task is not None
        judge = batch.pipe.task(self.task).head
        size = (batch.pictures.shape[-2], batch.pictures.shape[-1])
        made = batch.features(self.task).cropped("image").float()
        real = judge(Features({"image": batch.pictures}, size))
        false = judge(Features({"image": made.detach()}, size))
        held = {name: value.detach() for name, value in judge.named_parameters()}
        passed = torch.func.functional_call(judge, held, (Features({"image": made}, size),))
        each: Tensor = F.softplus(-real) + F.softplus(false) + self.params.generator * F.softplus(-passed)
        return each[:, 0]
