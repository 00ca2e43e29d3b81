"""TrSeg and Modified TrSeg written out step by step, on maps that look different from every side."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from icm_tasks import TrSeg
from icm_tasks.transformer import Decoder, sine_encoding
from icm_tasks.trseg import full_size

HEADS = 2
"""Of every attention here: what the small networks are built with."""


def scattered(module: nn.Module, seed: int) -> nn.Module:
    """A copy in double precision, none of whose parameters and statistics is one at which terms cancel."""
    module = copy.deepcopy(module).double().eval()
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
            around = 1.0 if name.endswith("running_var") or (tensor.dim() == 1 and name.endswith("weight")) else 0.0
            spread = 0.1 if around else 1 / math.sqrt(max(1, tensor.numel() // max(1, tensor.shape[0])))
            tensor.copy_(around + spread * noise)
    return module


def feature_map(channels: int, height: int, width: int, batch: int = 2) -> torch.Tensor:
    """Features (B, C, h, w) without a symmetry, brighter towards the lower right corner."""
    generator = torch.Generator().manual_seed(channels)
    ramp = torch.arange(height)[:, None] * 0.3 + torch.arange(width)[None] * 0.1
    return torch.randn(batch, channels, height, width, generator=generator).double() + ramp.double()


# --- the parts, written out ------------------------------------------------------------------------------------------


def positions(height: int, width: int, channels: int) -> torch.Tensor:
    """Sines and cosines of row and column, as shares of the map times 2 pi: (h * w, C), rows first."""
    pairs = channels // 4
    rates = [10_000 ** (-index / pairs) for index in range(pairs)]

    def encoded(place: int, count: int) -> list[float]:
        angle = 2 * math.pi * (place + 1) / count
        return [math.sin(angle * rate) for rate in rates] + [math.cos(angle * rate) for rate in rates]

    return torch.tensor(
        [encoded(row, height) + encoded(column, width) for row in range(height) for column in range(width)],
        dtype=torch.float64,
    )


def attention(net: nn.MultiheadAttention, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor):
    """Scaled dot-product attention (Vaswani et al., 2017), head by head."""
    weights, biases = net.in_proj_weight.chunk(3), net.in_proj_bias.chunk(3)
    q, k, v = (x @ w.T + b for x, w, b in zip((query, keys, values), weights, biases, strict=True))
    size = q.shape[-1] // HEADS
    found = []
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        scores = (q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(size)).exp()
        found.append(scores / scores.sum(2, keepdim=True) @ v[..., part])
    return torch.cat(found, 2) @ net.out_proj.weight.T + net.out_proj.bias


def decoded(net: Decoder, tokens: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """Positions are added to queries and keys, never to values."""
    _, channels, height, width = features.shape
    values = torch.stack([features[:, :, row, column] for row in range(height) for column in range(width)], 1)
    keys = values + positions(height, width, channels)
    for layer in net.layers:
        tokens = layer.norms[0](tokens + attention(layer.own, tokens + net.query, tokens + net.query, tokens))
        tokens = layer.norms[1](tokens + attention(layer.cross, tokens + net.query, keys, values))
        hidden = (tokens @ layer.widen.weight.T + layer.widen.bias).clamp_min(0)
        tokens = layer.norms[2](tokens + hidden @ layer.narrow.weight.T + layer.narrow.bias)
    return net.norm(tokens)


def pooled(features: torch.Tensor, side: int) -> list[torch.Tensor]:
    """Means of side * side cells, (B, C) each, rows first."""
    height, width = features.shape[-2:]

    def cell(index: int, count: int) -> slice:
        return slice(index * count // side, -(-(index + 1) * count // side))

    return [
        features[:, :, cell(row, height), cell(column, width)].mean((2, 3))
        for row in range(side)
        for column in range(side)
    ]


def resized(grid: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Bilinear interpolation between pixel centres; beyond the outer centres the border goes on."""

    def weights(inputs: int, outputs: int) -> torch.Tensor:
        found = torch.zeros(outputs, inputs, dtype=torch.float64)
        for place in range(outputs):
            x = min(max((place + 0.5) * inputs / outputs - 0.5, 0.0), inputs - 1.0)
            low = min(math.floor(x), inputs - 1)
            found[place, low] += 1 - (x - low)
            found[place, min(low + 1, inputs - 1)] += x - low
        return found

    rows, columns = weights(grid.shape[-2], size[0]), weights(grid.shape[-1], size[1])
    return torch.einsum("yi,bcij,xj->bcyx", rows, grid, columns)


def segmented(net: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """TrSeg's operations: pool, decode, put back in place, resize, classify."""
    tokens = decoded(
        net.decoder, torch.stack([cell for side in net.bins for cell in pooled(features, side)], 1), features
    )
    maps, start = [features], 0
    for side in net.bins:
        grid = torch.zeros(*features.shape[:2], side, side, dtype=torch.float64)
        for row in range(side):
            for column in range(side):
                grid[:, :, row, column] = tokens[:, start + row * side + column]
        maps.append(resized(grid, features.shape[-2:]))
        start += side * side
    return net.classifier(torch.cat(maps, 1))


# --- and the network itself ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    torch.manual_seed(0)
    return scattered(Decoder(tokens=5, layers=2, channels=16, heads=2, feedforward=24, dropout=0.1), 1)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (4, 2)])
def test_positions_are_sines_and_cosines_of_row_and_column(height, width):
    found = sine_encoding(height, width, 16, torch.device("cpu"))[0]
    torch.testing.assert_close(found.double(), positions(height, width, 16), atol=1e-6, rtol=0)


def test_decoder_is_attention_with_positions_in_queries_and_keys_alone(decoder):
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randn(2, 5, 16, generator=generator).double()
    features = feature_map(16, 3, 5)
    with torch.no_grad():
        torch.testing.assert_close(decoder(tokens, features), decoded(decoder, tokens, features), atol=1e-5, rtol=1e-5)


def test_decoder_sees_where_in_the_map_something_is(decoder):
    tokens = torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(3)).double()
    features = feature_map(16, 3, 4, batch=1)
    with torch.no_grad():
        found = decoder(tokens, features)
        for moved in (features.flip(2), features.flip(3), features.roll(1, 3), features.transpose(2, 3)):
            assert (decoder(tokens, moved) - found).abs().max() > 1e-3


@pytest.mark.parametrize("size", [(5, 7), (8, 3), (2, 2)], ids=str)
@pytest.mark.parametrize("bins", [(1, 2), (3,), (1, 3, 4)], ids=str)
def test_operations_pool_decode_resize_and_classify(small, layout, size, bins):
    torch.manual_seed(0)
    head = TrSeg(TrSeg.Params.model_validate(small | {"bins": bins}), layout)
    net = scattered(head.operations, 4)
    features = feature_map(16, *size)
    with torch.no_grad():
        torch.testing.assert_close(net(features), segmented(net, features), atol=1e-5, rtol=1e-5)


def test_gradients_of_the_operations_are_those_of_what_is_written_out(small, layout):
    torch.manual_seed(0)
    net = scattered(TrSeg(TrSeg.Params.model_validate(small | {"bins": (1, 2)}), layout).operations, 4)
    found = []
    for operations in (net, lambda features: segmented(net, features)):
        features = feature_map(16, 3, 4).requires_grad_()
        logits = operations(features)
        (logits * torch.linspace(-1, 2, logits.numel()).view_as(logits)).sum().backward()
        found.append(features.grad)
    assert float(found[1].abs().max()) > 0.1
    torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=1e-4)


def test_mixed_features_are_normalised_and_cut_at_0_as_f3d_is(modified):
    net, features = scattered(modified, 7), feature_map(16, 3, 5)
    for last, given in ((net.mixed, features), (net.projection[1:], features)):
        norm = last[0]
        mean, var, weight, bias = (
            part.view(1, -1, 1, 1) for part in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        )
        expected = ((given - mean) / (var + 1e-5).sqrt() * weight + bias).clamp_min(0)
        with torch.no_grad():
            torch.testing.assert_close(last(given), expected)
        assert 0.1 < float((expected == 0).double().mean()) < 0.9


def test_the_rounds_have_weights_of_their_own(modified):
    first, second = (dict(part.named_parameters()) for part in (modified.operations, modified.second))
    assert first.keys() == second.keys() and not {id(one) for one in first.values()} & {
        id(one) for one in second.values()
    }


def test_logits_are_resized_between_pixel_centres():
    logits = feature_map(4, 3, 5)
    torch.testing.assert_close(full_size(logits, (11, 17)), resized(logits, (11, 17)))


def test_the_backbone_is_given_normalised_pictures(trseg, picture):
    features, seen = picture(40, 56), []
    hook = trseg.backbone.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        trseg(features)
    hook.remove()
    # As EfficientNet-Lite was trained: (x * 255 - 127) / 128.
    torch.testing.assert_close(seen[0], (features.maps["image"][..., :40, :56] * 255 - 127) / 128)


def test_trseg_is_its_operations_on_f3d_at_the_pictures_size(trseg, picture):
    net, features = scattered(trseg, 5), picture(37, 50, batch=2)
    features.maps["image"].data = features.maps["image"].double()
    with torch.no_grad():
        expected = resized(segmented(net.operations, net.f3d(features)), (37, 50))
        torch.testing.assert_close(net(features), expected, atol=1e-5, rtol=1e-5)


def test_modified_trseg_looks_again_at_each_class_share_of_f3d(modified, picture):
    net, features = scattered(modified, 6), picture(37, 50, batch=2)
    features.maps["image"].data = features.maps["image"].double()
    with torch.no_grad():
        f3d = net.f3d(features)
        first = segmented(net.operations, f3d)
        shares = first.exp() / first.exp().sum(1, keepdim=True)  # of the classes at each pixel
        classes, channels = first.shape[1], f3d.shape[1]
        blocks = torch.cat([shares[:, k : k + 1] * f3d for k in range(classes)], 1)  # class by class, (B, K * C, h, w)
        weight = net.mixing.weight.view(channels, classes * channels)
        second = segmented(net.second, net.mixed(torch.einsum("oi,bihw->bohw", weight, blocks)))
        found = net.rounds(features)
        torch.testing.assert_close(found[0], first, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found[1], second, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(net(features), resized(second, (37, 50)), atol=1e-5, rtol=1e-5)
