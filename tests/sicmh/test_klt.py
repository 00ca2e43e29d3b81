"""Networks that begin as a block transform: module A, B and D see and show pictures before any training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from icm_core import SpecError
from icm_core.types import SideInfo
from icm_sicmh import Coarse, Hyperprior, MultiScale, OneScale, Residual, TwoScale
from icm_sicmh.klt import hush, pyramid
from icm_sicmh.networks import fuse_concat_up
from icm_sicmh.prediction import predict

WIDTHS = {"width": 24, "h1_channels": 40, "h2_channels": 16, "groups": 4, "context_channels": 8}
KLT = "klt"


@pytest.fixture(scope="module")
def begun() -> Hyperprior:
    torch.manual_seed(0)
    codec = Hyperprior(Hyperprior.Params.model_validate(WIDTHS)).eval().requires_grad_(False)
    codec.start_from(KLT)
    return codec


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * (a - b).square().mean().log10())


def test_each_stage_is_orthonormal_and_sorted() -> None:
    for level in pyramid((24, 24, 48)):
        rows = level.matrix.flatten(1)
        torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows)), atol=1e-5, rtol=0)
        assert bool((level.std.diff() <= 0).all())


def test_components_of_the_modelled_field_are_uncorrelated_and_of_the_standard_deviation_that_is_said() -> None:
    """The field: colours of these variances, rows 0.98 alike and columns 0.982, pixel by pixel."""
    colours = np.array([[1, 1, 1] / np.sqrt(3), [1, 0, -1] / np.sqrt(2), [1, -2, 1] / np.sqrt(6)])
    of_colours = colours.T @ np.diag([0.2, 0.008, 0.005]) @ colours
    basis = np.eye(3).reshape(3, 3, 1, 1)  # component, colour, row, column
    for stage, level in enumerate(pyramid((12, 20, 8)), 1):
        side = 2**stage
        placed = np.zeros((len(basis), 2, 2, 3, side, side))
        for row, column in np.ndindex(2, 2):
            half = side // 2
            inside = slice(row * half, (row + 1) * half), slice(column * half, (column + 1) * half)
            placed[:, row, column, :, inside[0], inside[1]] = basis
        basis = np.einsum("kcyx,cyxdrs->kdrs", level.matrix.double().numpy(), placed)
        apart = np.abs(np.subtract.outer(np.arange(side), np.arange(side)))
        flat = basis.reshape(len(basis), -1)
        found = flat @ np.kron(of_colours, np.kron(0.98**apart, 0.982**apart)) @ flat.T
        # Values are averages: half as large at each stage as sums of pixels would be.
        said = np.diag((level.std.double().numpy() * side) ** 2)
        np.testing.assert_allclose(found, said, atol=1e-5 * said.max())


def test_a_stage_keeps_no_more_than_there_is() -> None:
    assert [len(level.matrix) for level in pyramid((24, 24, 24))] == [12, 24, 24]


@pytest.mark.parametrize("cls", [OneScale, TwoScale, MultiScale])
def test_the_semantic_image_is_the_picture(begun, picture, cls) -> None:
    torch.manual_seed(1)
    adapter = cls(cls.Params(), begun.layout).eval().requires_grad_(False)
    x = picture(128, 192)
    side = SideInfo(begun.latents(x), (128, 192))
    before = psnr(adapter(side).cropped("image"), x)
    adapter.start_from(KLT)
    assert psnr(adapter(side).cropped("image"), x) > max(20.0, before + 10)


@pytest.mark.parametrize("h1_channels", [24, 40, 160])
def test_h1_may_have_more_channels_than_the_transform_fills(picture, h1_channels) -> None:
    """Of 8 channels of y there are 32 components, of which 16 pairs pass the 32 channels inside Encoder_h1."""
    torch.manual_seed(0)
    params = Hyperprior.Params.model_validate({**WIDTHS, "width": 8, "h1_channels": h1_channels, "h2_channels": 128})
    codec = Hyperprior(params).eval().requires_grad_(False)
    adapter = OneScale(OneScale.Params(), codec.layout).eval().requires_grad_(False)
    codec.start_from(KLT)
    adapter.start_from(KLT)
    x = picture(128, 192)
    assert psnr(adapter(SideInfo(codec.latents(x), (128, 192))).cropped("image"), x) > 17
    *_, last = pyramid((8, 8, 8, 8, h1_channels))
    scales = codec.prediction[-1].bias[h1_channels:]
    told = min(h1_channels, 32)
    count = min(h1_channels // 4, told)  # those that h2 predicts
    torch.testing.assert_close(scales[count:told], (16 * last.std).log2()[count:told])
    torch.testing.assert_close(scales[told:], torch.zeros(h1_channels - told))


def test_the_enhancement_may_have_more_channels_than_the_transform_fills(begun, picture) -> None:
    torch.manual_seed(0)
    residual = Residual(Residual.Params(latent_channels=104), begun.layout).eval().requires_grad_(False)
    residual.start_from(KLT)
    x = picture(128, 128)
    fine, _ = residual(x, torch.full_like(x, 0.5), SideInfo(begun.latents(x), (128, 128)), torch.tensor([4.0]))
    assert psnr(fine, x) > psnr(torch.full_like(x, 0.5), x) + 10
    assert residual.prediction[-1].bias[104 + 96 :].tolist() == [0] * 8


def test_values_pass_the_last_relu_raised_by_three_standard_deviations_and_a_little(begun) -> None:
    adapter = OneScale(OneScale.Params(), begun.layout).eval().requires_grad_(False)
    adapter.start_from(KLT)
    raised = 3 * pyramid((24, 24, 24, 24))[-1].std + 0.05
    *_, before, last = (layer for layer in adapter.decoder_side1 if hasattr(layer, "bias"))
    torch.testing.assert_close(before.bias, raised.repeat_interleave(4))
    torch.testing.assert_close(last.bias, -raised)


def test_higher_qualities_cost_more_and_show_more(begun, picture) -> None:
    adapter = MultiScale(MultiScale.Params(), begun.layout).eval().requires_grad_(False)
    adapter.start_from(KLT)
    x = picture(128, 192)
    bits, found = [], []
    for quality in (1.0, 4.0):
        out = begun(x, torch.tensor([quality]))
        bits.append(float(out.total_bits))
        found.append(psnr(adapter(out.side).cropped("image"), x))
    assert bits == sorted(bits) and found == sorted(found)


def test_h2_begins_coarser_than_h1_by_1_5_bits(begun) -> None:
    """Gains of 2 to 8; h2 only predicts."""
    for unit, ends in ((begun.gain_h1, [1.0, 3.0]), (begun.gain_h2, [-0.5, 1.5])):
        assert unit.log2_gain[[0, -1], 0].tolist() == pytest.approx(ends)


def test_what_h2_predicts_is_expected_half_a_bit_nearer(begun) -> None:
    """Before training, of all positions alike."""
    count = 8  # half of Encoder_h2's inner channels, which are fewer than a quarter of h1's
    expected = (16 * pyramid((24, 24, 24, 24, 40))[-1].std).log2()
    expected[:count] -= 0.5
    torch.testing.assert_close(begun.prediction[-1].bias[40:], expected, atol=1e-4, rtol=0)


def test_h2_says_something_of_h1(begun, picture) -> None:
    smooth = torch.nn.functional.interpolate(picture(64, 64), scale_factor=8.0, mode="bilinear")
    h1, h2 = begun.latents(smooth)
    mean, _ = predict(begun.prediction, begun.decoder_h2(h2)).chunk(2, 1)
    assert float((h1 - mean).square().mean()) < float(h1.square().mean()) / 2


@pytest.mark.parametrize("latent_channels", [None, 72])
def test_the_enhancement_shows_what_the_coarse_picture_lacks(begun, picture, latent_channels) -> None:
    torch.manual_seed(2)
    residual = Residual(Residual.Params(latent_channels=latent_channels), begun.layout).eval().requires_grad_(False)
    residual.start_from(KLT)
    x = picture(128, 128)
    coarse = torch.full_like(x, 0.5)
    side = SideInfo(begun.latents(x), (128, 128))
    fine, bits = residual(x, coarse, side, torch.tensor([4.0]))
    assert psnr(fine, x) > psnr(coarse, x) + 10
    assert float(bits) > 0


def test_the_enhancement_begins_by_expecting_what_its_transform_says(begun, picture) -> None:
    torch.manual_seed(3)
    residual = Residual(Residual.Params(), begun.layout).eval().requires_grad_(False)
    residual.start_from(KLT)
    h1, _ = begun.latents(picture(128, 192))
    mean, log2_sigma = predict(residual.prediction, residual.decoder_h1r(h1)).chunk(2, 1)
    expected = (16 * pyramid((24, 24, 24, 24))[-1].std).log2()
    assert float(expected.abs().min()) < 0.5 < 1 < float(expected.abs().max())
    torch.testing.assert_close(log2_sigma, expected[None, :, None, None].expand_as(log2_sigma), atol=0.1, rtol=0)
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=0.1, rtol=0)


@pytest.mark.parametrize(("share", "told"), [(0.002, ()), (0.25, (0.25,))])
def test_what_is_hushed_is_the_last_layer_alone(share, told) -> None:
    network = fuse_concat_up(6, 8).requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    hush(network, *told)
    for name, value in network.state_dict().items():
        expected = before[name] * share if name == "6.weight" else before[name]
        torch.testing.assert_close(value, expected)


def test_the_coarse_picture_begins_as_the_semantic_image(begun, picture) -> None:
    adapter = MultiScale(MultiScale.Params(), begun.layout).eval().requires_grad_(False)
    head = Coarse(Coarse.Params(), adapter.features).eval().requires_grad_(False)
    adapter.start_from(KLT)
    head.start_from(KLT)
    x = picture(64, 128)
    features = adapter(SideInfo(begun.latents(x), (64, 128)))
    torch.testing.assert_close(head(features), features.cropped("image"), atol=0.02, rtol=0)


@pytest.mark.parametrize("component", ["codec", "adapter", "head", "enhancement"])
def test_another_source_is_refused(begun, component) -> None:
    made = {
        "codec": begun,
        "adapter": OneScale(OneScale.Params(), begun.layout),
        "head": Coarse(Coarse.Params(), MultiScale(MultiScale.Params(), begun.layout).features),
        "enhancement": Residual(Residual.Params(), begun.layout),
    }[component]
    with pytest.raises(SpecError, match="knows no pretrained weights 'imagenet'"):
        made.start_from("imagenet")
