"""What of a model no file could tell, so that it is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from icm_core import Quality
from icm_core.wrap.codec import ModelCodec


class Bright(nn.Module):
    """A model whose shape says whether a picture is bright."""

    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"x_hat": x, "likelihoods": {"y": torch.ones_like(x)}}

    def compress(self, x: Tensor) -> dict[str, Any]:
        return {"strings": [[b"."]], "shape": [int(x.mean() > 0.5)]}

    def decompress(self, strings: Any, shape: Any) -> dict[str, Any]:
        return {"x_hat": torch.full((1, 3, 8, 8), float(shape[0]))}


class Told(ModelCodec):
    """It would have to be told in a file."""

    name = "tests.told"
    stride = 8

    def models(self) -> Sequence[nn.Module]:
        return [Bright()]


def test_a_shape_that_does_not_follow_from_the_pictures_size_is_refused() -> None:
    codec = Told(Told.Params())
    step = Quality.of(1)
    dark = codec.encode(torch.zeros(1, 3, 8, 8), step)
    assert float(codec.decode(dark, (8, 8), step).levels[0].amax()) == 0
    with pytest.raises(TypeError, match=r"compress gives 1 strings and the shape \[1\]"):
        codec.encode(torch.ones(1, 3, 8, 8), step)
