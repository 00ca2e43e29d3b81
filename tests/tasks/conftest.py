"""Small heads, which build in well under a second."""

from __future__ import annotations

import pytest
import torch

from icm_core.types import Features, Level
from icm_tasks import ModifiedTrSeg, TrSeg

LAYOUT = {"image": Level(3, 1)}
SMALL = {
    "backbone": "tf_efficientnet_lite0",
    "classes": 11,
    "channels": 16,
    "bins": (1, 2),
    "layers": 1,
    "heads": 2,
    "feedforward": 16,
}


@pytest.fixture
def layout() -> dict[str, Level]:
    return dict(LAYOUT)


@pytest.fixture
def small() -> dict[str, object]:
    return dict(SMALL)


@pytest.fixture(scope="session")
def trseg() -> TrSeg:
    torch.manual_seed(0)
    return TrSeg(TrSeg.Params.model_validate(SMALL), LAYOUT).eval()


@pytest.fixture(scope="session")
def modified() -> ModifiedTrSeg:
    torch.manual_seed(0)
    return ModifiedTrSeg(ModifiedTrSeg.Params.model_validate(SMALL), LAYOUT).eval()


@pytest.fixture
def picture():
    """Features of pictures of a size, padded to a multiple of 64 as a codec does."""

    def make(height: int, width: int, batch: int = 1) -> Features:
        padded = (-(-height // 64) * 64, -(-width // 64) * 64)
        generator = torch.Generator().manual_seed(height * width)
        return Features({"image": torch.rand(batch, 3, *padded, generator=generator)}, (height, width))

    return make
