"""CompressAI's entropy models inside of a codec, part by part."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from compressai.entropy_models import EntropyBottleneck
from compressai.layers import CheckerboardMaskedConv2d, MaskedConv2d
from compressai.models import FactorizedPrior
from torch import Tensor, nn
from torch.nn import functional as F

from icm_core import Quality
from icm_core.coding import MAX_SYMBOL
from icm_core.wrap import entropy
from icm_core.wrap.codec import ModelCodec

OLD = {"matrices": "matrix", "biases": "bias", "factors": "factor"}


class Ladder(ModelCodec):
    """Two models with one stream each."""

    name = "tests.two"
    stride = 16

    def models(self) -> Sequence[nn.Module]:
        return [FactorizedPrior(4, 6), FactorizedPrior(4, 6)]


@pytest.fixture
def codec() -> Ladder:
    torch.manual_seed(0)
    return Ladder(Ladder.Params())


def bottlenecks(codec: ModelCodec) -> list[EntropyBottleneck]:
    return [module for module in codec.modules() if isinstance(module, EntropyBottleneck)]


@pytest.mark.parametrize("layer", [MaskedConv2d, CheckerboardMaskedConv2d])
def test_masked_convolutions_see_what_their_mask_lets_through_and_keep_their_weights(layer: type[nn.Conv2d]) -> None:
    torch.manual_seed(0)
    convolution, x = layer(2, 3, 5, padding=2), torch.randn(1, 2, 6, 7)
    weight = convolution.weight.detach().clone()
    assert isinstance(convolution.mask, Tensor) and 0 < float(convolution.mask.mean()) < 1
    entropy.adopt(convolution)
    found = convolution(x)
    torch.testing.assert_close(found, F.conv2d(x, weight * convolution.mask, convolution.bias, padding=2))
    assert torch.equal(convolution.weight, weight)


def test_the_ends_of_all_models_densities_are_found(codec: Ladder) -> None:
    with torch.no_grad():
        for part, factor in zip(bottlenecks(codec), (2.0, 5.0), strict=True):
            part.quantiles.mul_(factor)
    before = [part.quantiles.clone() for part in bottlenecks(codec)]
    codec.freeze_tables()
    assert not any(torch.equal(part.quantiles, was) for part, was in zip(bottlenecks(codec), before, strict=True))


def test_after_a_run_for_shapes_a_model_computes_again(codec: Ladder) -> None:
    model, x = codec._models()[0].eval(), torch.rand(1, 3, 32, 32)
    expected = model(x)["likelihoods"]["y"]
    with entropy.shapes_alone(model):
        assert model(x)["likelihoods"]["y"].shape == expected.shape
    assert torch.equal(model(x)["likelihoods"]["y"], expected)


def test_weights_under_the_librarys_older_names_are_taken(codec: Ladder) -> None:
    torch.manual_seed(1)
    other = FactorizedPrior(4, 6)
    old = {
        re.sub(r"\.(matrices|biases|factors)\.(\d)$", lambda found: f"._{OLD[found[1]]}{found[2]}", key): value
        for key, value in other.state_dict().items()
    }
    assert old.keys() != other.state_dict().keys()
    codec.load_trained(old, 2)
    first, second = (part.biases[0] for part in bottlenecks(codec))
    assert torch.equal(second, other.entropy_bottleneck.biases[0])
    assert not torch.equal(first, other.entropy_bottleneck.biases[0])


def test_symbols_that_no_stream_holds_are_the_nearest_that_one_does(codec: Ladder) -> None:
    net = entropy.twin(codec._models()[0])
    net.update(force=True)  # type: ignore[operator]
    assert entropy.read_strictly(net)
    coder: Any = net.get_submodule("entropy_bottleneck").entropy_coder
    tables = [getattr(net.entropy_bottleneck, name).tolist() for name in ("_quantized_cdf", "_cdf_length", "_offset")]
    string = coder.encode_with_indexes([3, 10**12, -(10**12), -2], [0, 1, 2, 3], *tables)
    assert coder.decode_with_indexes(string, [0, 1, 2, 3], *tables) == [3, MAX_SYMBOL, -MAX_SYMBOL, -2]


def test_a_coder_goes_by_the_tables_that_it_is_given_each_time(codec: Ladder) -> None:
    entropy.read_strictly(codec)
    coder = bottlenecks(codec)[0].entropy_coder
    even, odd = [[0, 21845, 43690, 65535, 65536]], [[0, 60000, 65000, 65535, 65536]]
    symbols, where = [0, 1, 2, 0, 0, 0, 1, 0] * 20, [0] * 160
    strings = [coder.encode_with_indexes(symbols, where, table, [5], [0]) for table in (even, odd, even)]
    assert strings[0] == strings[2] != strings[1]
    for string, table in zip(strings, (even, odd, even), strict=True):
        assert coder.decode_with_indexes(string, where, table, [5], [0]) == symbols


def test_a_payload_of_a_large_picture_is_read_to_its_end(codec: Ladder) -> None:
    """As many zeros follow a string as symbols could be read from it."""
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(2))
    codec.freeze_tables()
    (payload,) = codec.encode(x, Quality.of(2))
    found = codec.decode([payload], (64, 96), Quality.of(2)).levels[0]
    with torch.no_grad():
        expected = codec._models()[1].eval()(x)["x_hat"].clamp(0, 1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_twin_shares_weights_and_buffers_and_nothing_else(codec: Ladder) -> None:
    model = codec._models()[0].train()
    twin = entropy.twin(model)
    assert {id(tensor) for tensor in twin.parameters()} == {id(tensor) for tensor in model.parameters()}
    assert {id(tensor) for tensor in twin.buffers()} == {id(tensor) for tensor in model.buffers()}
    assert model.training and not twin.training
    part: Any = model.get_submodule("entropy_bottleneck")
    coder = part.entropy_coder
    entropy.read_strictly(twin)
    twin.update(force=True)  # type: ignore[operator]
    assert part.entropy_coder is coder and part._quantized_cdf.numel() == 0


def test_a_models_state_is_all_that_was_trained(codec: Ladder) -> None:
    names = {name.rpartition(".")[2] for name in codec.net.state_dict() if "entropy_bottleneck" in name}
    assert "quantiles" in names and names.isdisjoint({"_offset", "_quantized_cdf", "_cdf_length"})
    assert not any(name.endswith("quantiles") for name, _ in codec.named_parameters())


def test_the_ends_and_the_median_leave_so_much_on_either_side(codec: Ladder) -> None:
    codec.freeze_tables()
    for part in bottlenecks(codec):
        found = part._logits_cumulative(part.quantiles, stop_gradient=True)[:, 0].sigmoid()
        tail = torch.full_like(found[:, 0], part.tail_mass / 2)
        torch.testing.assert_close(found[:, 1], torch.full_like(tail, 0.5), atol=1e-3, rtol=0)
        torch.testing.assert_close(found[:, 0], tail, atol=0, rtol=0.05)
        # What is left above is a difference of numbers near 1.
        torch.testing.assert_close(1 - found[:, 2], tail, atol=1e-7, rtol=0.05)


def test_what_has_no_entropy_models_is_read_as_it_is() -> None:
    assert not entropy.read_strictly(nn.Conv2d(3, 3, 1))
    followed = entropy.Followed.by_zeros(b"abc", 10)
    assert followed.string == b"abc" and followed[:3] == b"abc" and not any(followed[3:])
    # A word of four bytes for each symbol, and 16 bytes of an escape for each byte of the string.
    assert len(followed) - 3 >= 4 * 10 + 16 * 3


def test_shapes_are_found_though_a_model_fails_and_values_are_again_afterwards(codec: Ladder) -> None:
    model = codec._models()[0]
    (part,) = (module for module in model.modules() if isinstance(module, EntropyBottleneck))
    with pytest.raises(KeyError), entropy.shapes_alone(model):
        assert part(torch.zeros(1, 4, 2, 2, device="meta"))[1].shape == (1, 4, 2, 2)
        raise KeyError
    assert "forward" not in vars(part)
