"""What a base picture lacks, through any codec of pictures: which codecs, and what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import torch

from icm_baselines.learned import ScaleHyperpriorCodec
from icm_baselines.residual import CodecResidual
from icm_baselines.still import JPEG
from icm_core import Quality, SpecError
from icm_core.coding.bounds import Bound
from icm_core.interfaces import Nested
from icm_core.types import Level, SideInfo, SideInfoLayout

PICTURE = SideInfoLayout((Level(3, 1),), 3)
BEST = Quality.of(6)


def behind(codec: Any, gain: float = 1.0) -> CodecResidual:
    return CodecResidual(CodecResidual.Params(codec=codec, gain=gain), PICTURE)


def test_a_decoded_picture_is_within_0_and_1_and_that_of_training_is_not(picture: Any) -> None:
    residual = behind(Nested.of(JPEG, settings=[1, 2, 3, 4, 5, 6]))  # so coarse that residues overshoot
    x = (picture(40, 56) > 0.5).float()
    coarse = x.roll(3, 3)
    side = SideInfo((coarse,), (40, 56))
    found = residual.decode(residual.encode(x, coarse, side, BEST), coarse, side, BEST)
    trained, bits = residual(x, coarse, side, torch.tensor([6.0]))
    assert float(trained.min()) < 0 and float(trained.max()) > 1
    torch.testing.assert_close(found, trained.clamp(0, 1))
    assert bits.tolist() == [8 * len(residual.encode(x, coarse, side, BEST)[0])]


class Proved(JPEG):
    """A codec with a layer that has a bound."""

    name: ClassVar[str] = "tests.proved"

    def prove(self) -> Sequence[Bound]:
        return [Bound("layer", "float64 sum", 7, 9)]


def test_the_proof_is_the_codecs() -> None:
    assert behind(Nested.of(Proved)).prove() == [Bound("layer", "float64 sum", 7, 9)]


def test_the_codec_gives_the_picture_first_whatever_comes_behind(picture: Any) -> None:
    own = {"n": 12, "m": 18}
    both = behind(Nested.of(ScaleHyperpriorCodec, side="both", **own))
    assert [level.stride for level in both.codec.layout.levels] == [1, 16]
    x = picture(40, 56)
    assert both(x, x, SideInfo((x,), (40, 56)), torch.ones(1))[0].shape == x.shape
    with pytest.raises(SpecError, match=r"baselines\.bmshj2018_hyperprior gives Level\(channels=18, stride=16\) first"):
        behind(Nested.of(ScaleHyperpriorCodec, side="latent", **own))
