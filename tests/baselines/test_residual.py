"""What a base picture lacks, through any codec of pictures: which codecs, and what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from icm_baselines.external import Pixels
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


class Kept(JPEG):
    """A codec that keeps every pixel, and what it was given."""

    name: ClassVar[str] = "tests.kept"
    given: ClassVar[list[list[float]]] = []

    def encode(self, x: torch.Tensor, quality: Quality) -> list[bytes]:
        self.given.append(x[0, 0, 0].tolist())
        return super().encode(x, quality)

    def compress(self, pixels: Pixels, setting: float) -> bytes:
        return pixels.tobytes()

    def decompress(self, payload: bytes, size: tuple[int, int]) -> Pixels:
        return np.frombuffer(payload, np.uint8).reshape(*size, 3)


@pytest.mark.parametrize(
    ("gain", "given", "refined"),
    [  # residues of 0, 20, -20, 127, -128 and 200 grey levels on 100
        (1.0, [128, 148, 108, 255, 0, 255], [100, 120, 80, 227, 0, 227]),
        (4.0, [128, 208, 48, 255, 0, 255], [100, 120, 80, 131.75, 68, 131.75]),
    ],
)
def test_a_residue_is_multiplied_around_mid_grey_and_cut_to_a_picture(
    gain: float, given: list[float], refined: list[float]
) -> None:
    residual, residues = behind(Nested.of(Kept), gain), [0, 20, -20, 127, -128, 200]
    coarse = torch.full((1, 3, 2, 6), 100 / 255)
    x = coarse + torch.tensor(residues) / 255
    side = SideInfo((coarse,), (2, 6))
    Kept.given.clear()
    payloads = residual.encode(x, coarse, side, BEST)
    trained, _ = residual(x, coarse, side, torch.tensor([6.0]))
    assert Kept.given == [pytest.approx([level / 255 for level in given], abs=1e-6)] * 2
    found = residual.decode(payloads, coarse, side, BEST)
    assert (255 * found[0, 2, 1]).tolist() == pytest.approx(refined, abs=1e-3)
    refined[4] = -28 if gain == 1 else refined[4]
    assert (255 * trained[0, 2, 1]).tolist() == pytest.approx(refined, abs=1e-3)


class Proved(JPEG):
    """A codec with a layer that has a bound."""

    name: ClassVar[str] = "tests.proved"

    def prove(self) -> Sequence[Bound]:
        return [Bound("layer", "float64 sum", 7, 9)]


def test_the_proof_is_the_codecs() -> None:
    assert behind(Nested.of(Proved)).prove() == [Bound("layer", "float64 sum", 7, 9)]


class Narrow(JPEG):
    """A codec with qualities of its own, whose tables can be fixed."""

    name: ClassVar[str] = "tests.narrow"
    frozen = False

    @property
    def quality_range(self) -> tuple[float, float]:
        return 2.0, 5.0

    def freeze_tables(self) -> None:
        self.frozen = True


def test_qualities_and_tables_are_the_codecs() -> None:
    residual = behind(Nested.of(Narrow))
    assert isinstance(residual.codec, Narrow) and not residual.codec.frozen
    assert residual.quality_range == (2.0, 5.0)
    residual.freeze_tables()
    assert residual.codec.frozen


def test_what_is_decoded_depends_on_the_gain_and_on_the_codec() -> None:
    others = [behind(Nested.of(Proved)), behind(Nested.of(ScaleHyperpriorCodec, n=12, m=18))]
    states = [one.coding_state() for one in (behind(Nested.of(JPEG)), behind(Nested.of(JPEG), 2.0), *others)]
    assert len({*states}) == 4
    assert behind(Nested.of(JPEG, settings=[3, 7]), 2.0).coding_state() == states[1]  # settings are the encoder's


def test_the_codec_gives_the_picture_first_whatever_comes_behind(picture: Any) -> None:
    own = {"n": 12, "m": 18}
    both = behind(Nested.of(ScaleHyperpriorCodec, side="both", **own))
    assert [level.stride for level in both.codec.layout.levels] == [1, 16]
    x = picture(40, 56)
    assert both(x, x, SideInfo((x,), (40, 56)), torch.ones(1))[0].shape == x.shape
    with pytest.raises(SpecError, match=r"baselines\.bmshj2018_hyperprior gives Level\(channels=18, stride=16\) first"):
        behind(Nested.of(ScaleHyperpriorCodec, side="latent", **own))
