"""External codecs as they are installed; what is missing is skipped, saying so."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from icm_baselines import EXTERNAL
from icm_baselines.external import ExternalCodec
from icm_core.errors import InputError
from icm_core.quality import Quality

NAMES = [codec.name.partition(".")[2] for codec in EXTERNAL]


@pytest.fixture(scope="session")
def usable() -> Callable[[str], ExternalCodec]:
    """A codec at its defaults by name; skips where this machine cannot run it."""
    tried: dict[str, str | None] = {}

    def get(name: str) -> ExternalCodec:
        cls = EXTERNAL[NAMES.index(name)]
        codec = cls(cls.Params())
        assert isinstance(codec, ExternalCodec)
        if name not in tried:
            try:
                quality = Quality.of(1)
                codec.decode(codec.encode(torch.zeros(1, 3, 64, 64), quality), (64, 64), quality)
                tried[name] = None
            except InputError as error:
                # Only what says how to get it is a reason to skip; anything else is a failure.
                assert "needs" in str(error), str(error)
                tried[name] = str(error)
        if (why := tried[name]) is not None:
            pytest.skip(why)
        return codec

    return get


@pytest.fixture(params=NAMES)
def codec(request: pytest.FixtureRequest, usable: Callable[[str], ExternalCodec]) -> ExternalCodec:
    """Each external codec in turn."""
    return usable(request.param)


@pytest.fixture
def picture() -> Callable[..., Tensor]:
    """Smooth pictures of a size, (B, 3, H, W) in [0, 1], each of a batch another one."""

    def make(height: int, width: int, batch: int = 1) -> Tensor:
        rows, columns = torch.arange(height)[:, None] / 17, torch.arange(width)[None, :] / 23
        waves = [
            torch.sin(rows * (1 + b) + c / 3) * torch.cos(columns * (2 - b / 8) - rows / 5)
            for b in range(batch)
            for c in range(3)
        ]
        return (torch.stack(waves) / 2 + 0.5).reshape(batch, 3, height, width)

    return make
