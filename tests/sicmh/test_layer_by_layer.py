"""Each network is the layers that the paper's tables name, one after the other, written out with the weights it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icm_sicmh import networks as net
from icm_sicmh.prediction import CAHCM, prediction_layers

N, H1, H2 = 8, 12, 6

# k5 s2 is a convolution 5x5 with stride 2, t5 s2 a transposed one; down and up are Space2Depth and Depth2Space by 2.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "Encoder": (lambda: net.encoder(N), (3, 32, 48), "k5s2 gdn k5s2 gdn k5s2 gdn k5s2"),
    "Encoder_r with its own y": (lambda: net.encoder(N, 20), (3, 32, 48), "k5s2 gdn k5s2 gdn k5s2 gdn k5s2"),
    "Encoder_h1": (lambda: net.encoder_h1(N, H1), (N, 4, 6), "k3s1 down k1s1 relu k1s1 relu k1s1"),
    "Encoder_h2": (lambda: net.encoder_h2(H1, H2), (H1, 4, 6), "k3s1 down k1s1 relu k1s1 relu k1s1"),
    "Decoder_h2": (lambda: net.decoder_h2(H2, H1), (H2, 2, 3), "t1s1 t1s1 relu t1s1 relu up t3s1"),
    "Decoder_h1": (lambda: net.decoder_h1(H1, N), (H1, 2, 3), "t1s1 t1s1 relu t1s1 relu up t3s1"),
    "Decoder": (lambda: net.decoder(N), (N, 2, 3), "t5s2 igdn t5s2 igdn t5s2 igdn t5s2"),
    "Decoder_r with its own y": (lambda: net.decoder(N, 20), (20, 2, 3), "t5s2 igdn t5s2 igdn t5s2 igdn t5s2"),
    "FuseConcat, TConvs": (lambda: net.fuse_concat_up(10, N), (10, 2, 3), "t5s2 relu t5s2 relu t5s2 relu t5s2 relu"),
    "FuseConcat, convs": (lambda: net.fuse_concat_mix(N), (N // 4 + 3, 8, 9), "k3s1 relu k3s1"),
    "Prediction Model": (
        lambda: prediction_layers(5, 7), (5, 5, 5), "k3s1 leaky k3s2 leaky k3s1 leaky linear"
    ),
    "a group of CAHCM": (lambda: CAHCM(6, 3, 5).networks[1], (14, 4, 6), "k3s1 leaky k3s1 leaky k1s1"),
}  # fmt: skip


def applied(layer: str, x: Tensor, weights: Iterator[Tensor]) -> Tensor:
    """One layer of a table, with the weights that come next."""
    if layer in ("relu", "leaky"):
        return torch.where(x > 0, x, (0.2 if layer == "leaky" else 0) * x)
    if layer == "down":
        return F.pixel_unshuffle(x, 2)
    if layer == "up":
        return F.pixel_shuffle(x, 2)
    if layer == "linear":
        return x.flatten(1) @ next(weights).T + next(weights)
    if layer in ("gdn", "igdn"):
        beta, gamma = next(weights) ** 2 + 1e-6, next(weights) ** 2
        norm = (beta[:, None, None] + torch.einsum("ij,bjhw->bihw", gamma, x**2)).sqrt()
        return x * norm if layer == "igdn" else x / norm
    kernel, stride = int(layer[1]), int(layer[3])
    if layer[0] == "k":
        return F.conv2d(x, next(weights), next(weights), stride, kernel // 2)
    return F.conv_transpose2d(x, next(weights), next(weights), stride, kernel // 2, output_padding=stride - 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_its_row_of_the_table(name: str) -> None:
    make, shape, row = NETWORKS[name]
    torch.manual_seed(0)
    network = make().double().requires_grad_(False)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, *shape, dtype=torch.float64)
    found, expected, weights = network(x), x, iter(network.parameters())
    for layer in row.split():
        expected = applied(layer, expected, weights)
    assert next(weights, None) is None and float(expected.std()) > 0.1
    torch.testing.assert_close(found, expected)
