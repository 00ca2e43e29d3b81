"""Integer networks: near the float network, and the same everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from icm_core import WeightsError
from icm_core.coding import FRACTION_BITS, LIMIT, IntegerNetwork, to_fixed, to_float
from icm_core.coding.integer import _Conv

STEP = 2.0**-FRACTION_BITS

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "conv k3": lambda: nn.Conv2d(4, 6, 3, padding=1),
    "conv k3 s2": lambda: nn.Conv2d(4, 6, 3, 2, 1),
    "conv without bias": lambda: nn.Conv2d(4, 6, 1, bias=False),
    "tconv k1": lambda: nn.ConvTranspose2d(4, 6, 1),
    "tconv k3": lambda: nn.ConvTranspose2d(4, 6, 3, padding=1),
    "tconv k5 without padding": lambda: nn.ConvTranspose2d(4, 6, 5),
    "relu": nn.ReLU,
    "leaky relu": lambda: nn.LeakyReLU(0.2),
    "leaky relu in place": lambda: nn.LeakyReLU(0.01, inplace=True),
    "depth to space": lambda: nn.PixelShuffle(2),
    "space to depth": lambda: nn.PixelUnshuffle(2),
    "flatten and linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(4 * 6 * 8, 5)),
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU()), nn.Conv2d(4, 2, 1)),
}


def network() -> nn.Sequential:
    """All kinds of layers in a row, (B, 4, 6, 8) -> (B, 10, 1, 1)."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.ConvTranspose2d(4, 16, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.PixelShuffle(2),
        nn.Conv2d(4, 8, 5, 2, 2),
        nn.ReLU(),
        nn.PixelUnshuffle(2),
        nn.Conv2d(32, 8, 1),
        nn.Flatten(),
        nn.Linear(8 * 3 * 4, 10),
    )


def example(batch: int = 1, seed: int = 0) -> Tensor:
    """Fixed-point values of about +-100, int64."""
    return to_fixed(torch.randn(batch, 4, 6, 8, generator=torch.Generator().manual_seed(seed)) * 40)


def flat(module: nn.Module) -> list[nn.Module]:
    return [leaf for leaf in module.modules() if not isinstance(leaf, nn.Sequential)]


def error_bound(module: nn.Module, x: Tensor) -> float:
    """Largest distance of the integer network's output, carried from layer to layer.

    A sum's own error is half a step for its rounding, half a weight's step times each input, and the error that
    its inputs came with times its weights.
    """
    error = 0.0
    x = x.double()
    for layer in flat(module.double()):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            weight = layer.weight.detach().abs()
            outputs = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
            rows = weight.transpose(0, outputs).flatten(1)
            weight_step = 2.0 ** (math.frexp(float(weight.max()))[1] - 15)
            own = (float(x.abs().max()) + error) * rows.shape[1] * weight_step / 2
            bias_step = STEP * weight_step / 2
            error = error * float(rows.sum(1).max()) + own + bias_step + STEP / 2
        elif isinstance(layer, nn.LeakyReLU):
            error += STEP + float(x.abs().max()) * 2.0**-17
        x = layer(x).detach()
    return error


@pytest.mark.parametrize("make", LAYERS.values(), ids=list(LAYERS))
def test_each_layer_is_near_its_float_form(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    layer = make().double()
    n = example(2)
    expected = layer((n.double() * STEP).clone()).detach()
    found = IntegerNetwork("net", layer)(n.double()) * STEP
    assert found.flatten(1).shape == expected.flatten(1).shape
    distance = float((found.reshape(expected.shape) - expected).abs().max())
    assert distance <= error_bound(layer, n * STEP) + 1e-9


def test_a_whole_network_is_near_its_float_form() -> None:
    float_network, n = network(), example(4) // 40  # about +-3, as latents are
    exact = IntegerNetwork("net", float_network)(n.double())
    expected = float_network.double()(n.double() * STEP).detach()
    bound = error_bound(float_network, n * STEP)
    assert bound < 0.1
    assert float((exact.flatten(1) * STEP - expected).abs().max()) <= bound


def test_outputs_are_whole_numbers_within_the_limit() -> None:
    layer = nn.Conv2d(4, 4, 3)
    nn.init.constant_(layer.weight, 30.0)
    found = IntegerNetwork("net", layer)(torch.full((1, 4, 6, 8), float(LIMIT), dtype=torch.float64))
    assert torch.equal(found, torch.full_like(found, LIMIT))
    assert found.dtype == torch.float64


def test_sums_are_rounded_halves_upwards() -> None:
    layer = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(layer.weight, 0.5)
    n = torch.tensor([-3.0, -2, -1, 0, 1, 2, 3], dtype=torch.float64).view(1, 1, 1, 7)
    assert IntegerNetwork("net", layer)(n).flatten().tolist() == [-1, -1, 0, 0, 1, 1, 2]


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.1, 0.2, 0.3, 0.5, 1.0])
def test_leaky_slopes_are_16_bit_numbers_rounded_to_the_nearest_and_products_down(slope: float) -> None:
    n = torch.tensor([-LIMIT, -4096, -5, -1, 0, 1, LIMIT])
    found = IntegerNetwork("net", nn.LeakyReLU(slope))(n.double().view(1, -1, 1, 1)).long().flatten().tolist()
    assert found == [v if v >= 0 else v * round(slope * 2**16) >> 16 for v in n.tolist()]


def test_transposed_convolution_equals_a_loop_over_its_weights() -> None:
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(2, 3, 3, padding=1, bias=False)
    nn.init.uniform_(layer.weight, -1, 1)
    with torch.no_grad():
        layer.weight.copy_((layer.weight * 2**14).round() * 2.0**-14)  # its integers are exact
    n = torch.randint(-1000, 1000, (1, 2, 4, 5), generator=torch.Generator().manual_seed(0))
    integers = (layer.weight.detach().double() * 2**15).long()
    total = torch.zeros(1, 3, 6, 7, dtype=torch.int64)
    for i in range(3):
        for j in range(3):
            total[:, :, i : i + 4, j : j + 5] += torch.einsum("bihw,io->bohw", n, integers[:, :, i, j])
    expected = (total[:, :, 1:-1, 1:-1] + 2**14) >> 15
    assert torch.equal(IntegerNetwork("net", layer)(n.double()).long(), expected)


@pytest.fixture(scope="module")
def exact() -> IntegerNetwork:
    return IntegerNetwork("net", network())


@pytest.fixture(scope="module")
def reference(exact: IntegerNetwork) -> Tensor:
    return exact(example(8).double())


@pytest.mark.parametrize("count", [1, 2])
def test_any_number_of_threads_gives_the_same(exact, reference, threads, count: int) -> None:
    with threads(count):
        assert torch.equal(exact(example(8).double()), reference)


def test_any_batch_size_gives_the_same(exact, reference) -> None:
    alone = [exact(one[None].double()) for one in example(8)]
    assert torch.equal(torch.cat(alone), reference)


def test_channels_last_gives_the_same(exact, reference) -> None:
    assert torch.equal(exact(example(8).double().contiguous(memory_format=torch.channels_last)), reference)


def test_weights_in_channels_last_give_the_same(reference) -> None:
    other = network().to(memory_format=torch.channels_last)
    assert torch.equal(IntegerNetwork("net", other)(example(8).double()), reference)


def test_autocast_gives_the_same(reference) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        exact = IntegerNetwork("net", network())
        assert torch.equal(exact(example(8).double()), reference)


def test_without_mkldnn_it_is_the_same(exact, reference) -> None:
    with torch.backends.mkldnn.flags(enabled=False):
        assert torch.equal(exact(example(8).double()), reference)


def test_inference_mode_gives_the_same(reference) -> None:
    with torch.inference_mode():
        exact = IntegerNetwork("net", network())
    assert torch.equal(exact(example(8).double()), reference)


def test_weights_are_read_once() -> None:
    layer = nn.Conv2d(4, 2, 1)
    exact = IntegerNetwork("net", layer)
    before, state = exact(example().double()), exact.state()
    nn.init.zeros_(layer.weight)
    assert torch.equal(exact(example().double()), before) and exact.state() == state


@pytest.mark.parametrize(
    "layer",
    [
        nn.Sigmoid(),
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 4, 3, dilation=2),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(4, 4, (1, 3)),
        nn.Conv2d(4, 4, 3, (1, 2)),
        nn.Conv2d(4, 4, 3, padding=(0, 1)),
        nn.ConvTranspose2d(4, 4, 3, 2),
        nn.ConvTranspose2d(4, 4, 3, groups=2),
        nn.ConvTranspose2d(4, 4, 3, dilation=2),
        nn.LeakyReLU(1.5),
        nn.LeakyReLU(-0.1),
    ],
    ids=str,
)
def test_a_layer_without_exact_form_is_refused_by_name(layer: nn.Module) -> None:
    with pytest.raises(TypeError, match=rf"layer 'net\.1' \({type(layer).__name__}\) has no exact integer form"):
        IntegerNetwork("net", nn.Sequential(nn.ReLU(), layer))


def test_a_sum_that_could_leave_the_exact_range_is_refused_by_name() -> None:
    wide = nn.Linear(20_000, 1)
    nn.init.ones_(wide.weight)
    with pytest.raises(WeightsError, match=r"layer 'net\.1' .* can sum up to 2\^51\.3; .* less than 2\^51"):
        IntegerNetwork("net", nn.Sequential(nn.Flatten(), wide))


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_huge_numbers_are_refused_by_name(part: str) -> None:
    layer = nn.Conv2d(1, 1, 1)
    nn.init.constant_(getattr(layer, part), 1e9)
    with pytest.raises(WeightsError, match=r"layer 'net\.0' of the coding path can sum up to 2\^"):
        IntegerNetwork("net", nn.Sequential(layer))


def test_the_widest_sum_that_is_allowed_is_exact() -> None:
    wide = nn.Linear(8000, 1, bias=False)
    nn.init.constant_(wide.weight, 2.0 - 2.0**-14)  # 32767 at the finest step
    n = torch.full((1, 8000, 1, 1), float(LIMIT), dtype=torch.float64)
    n[0, ::2] = -LIMIT
    n[0, 1] = 7 - LIMIT
    (found,) = IntegerNetwork("net", nn.Sequential(wide))(n).flatten().tolist()
    total = 32767 * (7 - 2 * LIMIT)
    assert found == max(-LIMIT, (total + 2**13) >> 14)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("part", ["weight", "bias"])
def test_numbers_that_are_not_finite_are_refused_by_name(part: str, value: float) -> None:
    layer = nn.Conv2d(1, 2, 1)
    with torch.no_grad():
        getattr(layer, part)[1] = value
    with pytest.raises(WeightsError, match=r"layer 'net\.0' of the coding path has weights that are not finite"):
        IntegerNetwork("net", nn.Sequential(layer))


def test_all_zero_weights_work() -> None:
    layer = nn.Conv2d(4, 2, 1)
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, 0.25)
    found = IntegerNetwork("net", layer)(example().double())
    assert torch.equal(to_float(found), torch.full((1, 2, 6, 8), 0.25))


@pytest.mark.parametrize(
    ("weight", "expected"), [(2.0**-24, 0), (3 * 2.0**-24, 1), (5 * 2.0**-24, 1), (-5 * 2.0**-24, -1)]
)
def test_tiny_weights_keep_their_digits(weight: float, expected: int) -> None:
    layer = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(layer.weight, weight)
    n = torch.full((1, 1, 1, 1), 2.0**22, dtype=torch.float64)
    assert IntegerNetwork("net", layer)(n).item() == expected


@pytest.mark.parametrize("size", [3, 4, 5])
@pytest.mark.parametrize("shape", [(5, 5), (5, 9), (8, 6)])
def test_on_patches_gives_what_each_patch_alone_gives(size: int, shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    exact = IntegerNetwork("net", nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(4, 2, 3)))
    n = to_fixed(torch.randn(2, 3, *shape) * 40).double()
    patches = n.unfold(2, size, 1).unfold(3, size, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, size, size)
    assert torch.equal(exact.on_patches(n, size), exact(patches))


@pytest.mark.parametrize(
    "first",
    [
        nn.Conv2d(4, 1, 1),
        nn.Conv2d(4, 1, 1, padding=1),
        nn.Conv2d(4, 1, 3),
        nn.Conv2d(4, 1, 3, 2, 1),
        nn.Conv2d(4, 1, 3, padding=2),
        nn.Conv2d(4, 1, 5, padding=1),
        nn.ReLU(),
    ],
    ids=str,
)
def test_patches_need_a_first_layer_that_can_share(first: nn.Module) -> None:
    with pytest.raises(TypeError, match="patches need a first layer with a kernel of 3, stride 1 and padding 1"):
        IntegerNetwork("net", nn.Sequential(first)).on_patches(example().double(), 3)


@pytest.mark.parametrize("most", [1, 200, 2000])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_large_product_of_matrices_is_formed_row_by_row(
    most: int, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    exact = IntegerNetwork("net", nn.Conv2d(4, 3, 3, stride, 1))
    n = to_fixed(torch.randn(2, 4, 11, 6) * 40).double()
    whole = exact(n)
    monkeypatch.setattr("icm_core.coding.integer._NUMBERS_AT_ONCE", most)
    assert torch.equal(exact(n), whole)


def test_no_product_of_matrices_is_larger_than_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a batch as of a single picture: a row is the least that is formed at once."""
    exact = IntegerNetwork("net", nn.Conv2d(4, 3, 3, padding=1))
    usual, columns = _Conv._requantized, list[int]()

    def watched(self: _Conv, total: Tensor) -> Tensor:
        columns.append(total.shape[1])
        return usual(self, total)

    monkeypatch.setattr(_Conv, "_requantized", watched)
    for most, expected in ((36 * 6 * 5 * 4 + 35, [120, 120, 90]), (36 * 6 * 5 - 1, [30] * 11), (10**6, [330])):
        monkeypatch.setattr("icm_core.coding.integer._NUMBERS_AT_ONCE", most)
        exact(torch.zeros(5, 4, 11, 6, dtype=torch.float64))
        assert columns == expected
        del columns[:]


def test_beside_tiny_weights_a_bias_may_be_large() -> None:
    layer = nn.Conv2d(1, 1, 1)
    assert layer.bias is not None
    nn.init.constant_(layer.weight, 2.0**-24)
    nn.init.constant_(layer.bias, 100)
    n = torch.full((1, 1, 1, 1), 2.0**22, dtype=torch.float64)
    assert IntegerNetwork("net", layer)(n).item() == 100 * 4096


def test_large_weights_keep_their_digits() -> None:
    layer = nn.Conv2d(1, 1, 1)
    assert layer.bias is not None
    nn.init.constant_(layer.weight, 70_001)
    nn.init.constant_(layer.bias, 1 + STEP)
    n = torch.tensor([3.0, -2.0], dtype=torch.float64).view(1, 1, 1, 2)
    assert IntegerNetwork("net", layer)(n).flatten().tolist() == [3 * 70_001 + 4097, -2 * 70_001 + 4097]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_type_are_read_as_what_they_are(dtype: torch.dtype) -> None:
    layer = nn.Conv2d(1, 2, 1)
    assert layer.bias is not None
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.75, -40.0]).view(2, 1, 1, 1))
        layer.bias.copy_(torch.tensor([0.5, 100.0]))
    n = torch.tensor([4096.0, -6.0], dtype=torch.float64).view(1, 1, 1, 2)
    expected = [[3072 + 2048, round(-4.5 + 0.01) + 2048], [-163_840 + 409_600, 240 + 409_600]]
    assert IntegerNetwork("net", layer.to(dtype))(n).flatten(2)[0].tolist() == expected
