"""The transforms of SICMH (Figs. 5 and 6), by the paper's block names.

N is the width; y has N channels at 1/16, h1 and h2 have ``h1`` and ``h2`` channels at 1/32 and 1/64. Sizes
that the paper gives only in figures follow the coarse-to-fine codec (Hu et al., AAAI 2020); see
``docs/method.md``.
"""

from __future__ import annotations

from torch import nn

from icm_sicmh.layers import GDN, LastUp, conv, started, tconv


def encoder(n: int, y: int | None = None) -> nn.Sequential:
    """Encoder and Encoder_r (Fig. 5a): picture (B, 3, H, W) -> (B, y, H/16, W/16); y is N unless given."""
    last = conv(n, y or n, 5, 2)
    return started(nn.Sequential(conv(3, n, 5, 2), GDN(n), conv(n, n, 5, 2), GDN(n), conv(n, n, 5, 2), GDN(n), last))


def encoder_h1(n: int, h1: int) -> nn.Sequential:
    """Encoder_h1 (Fig. 5b): y (B, N, h, w) -> (B, h1, h/2, w/2)."""
    return started(
        nn.Sequential(
            conv(n, 2 * n, 3),
            nn.PixelUnshuffle(2),
            conv(8 * n, 4 * n, 1),
            nn.ReLU(),
            conv(4 * n, 4 * n, 1),
            nn.ReLU(),
            conv(4 * n, h1, 1),
        )
    )


def encoder_h2(h1: int, h2: int) -> nn.Sequential:
    """Encoder_h2 (Fig. 5c): h1 (B, h1, h, w) -> (B, h2, h/2, w/2)."""
    return started(
        nn.Sequential(
            conv(h1, h1, 3),
            nn.PixelUnshuffle(2),
            conv(4 * h1, h2, 1),
            nn.ReLU(),
            conv(h2, h2, 1),
            nn.ReLU(),
            conv(h2, h2, 1),
        )
    )


def decoder_h2(h2: int, h1: int) -> nn.Sequential:
    """Decoder_h2, Decoder_h2c and Decoder_h2side (Fig. 6a): (B, h2, h, w) -> (B, h1, 2h, 2w)."""
    return started(
        nn.Sequential(
            tconv(h2, h1, 1),
            tconv(h1, h1, 1),
            nn.ReLU(),
            tconv(h1, h1, 1),
            nn.ReLU(),
            nn.PixelShuffle(2),
            tconv(h1 // 4, h1, 3),
        )
    )


def decoder_h1(h1: int, n: int) -> nn.Sequential:
    """Decoder_h1, Decoder_h1r, Decoder_side1 and Decoder_side3 (Fig. 6b): (B, h1, h, w) -> (B, N, 2h, 2w)."""
    return started(
        nn.Sequential(
            tconv(h1, 4 * n, 1),
            tconv(4 * n, 4 * n, 1),
            nn.ReLU(),
            tconv(4 * n, 4 * n, 1),
            nn.ReLU(),
            nn.PixelShuffle(2),
            tconv(n, n, 3),
        )
    )


def decoder(n: int, y: int | None = None) -> nn.Sequential:
    """Decoder, Decoder_r, Decoder_side2 and Decoder_side4 (Fig. 6c): (B, y, h, w) -> (B, 3, 16h, 16w); y as above."""
    return started(
        nn.Sequential(
            tconv(y or n, n, 5, 2),
            GDN(n, inverse=True),
            tconv(n, n, 5, 2),
            GDN(n, inverse=True),
            tconv(n, n, 5, 2),
            GDN(n, inverse=True),
            LastUp(n, 3),
        ),
        last=0.1,
    )


def fuse_concat_up(inputs: int, n: int) -> nn.Sequential:
    """The TConvs of FuseConcat (Fig. 10): (B, inputs, h, w) -> (B, N/4, 16h, 16w)."""
    return started(
        nn.Sequential(
            tconv(inputs, n, 5, 2),
            nn.ReLU(),
            tconv(n, n // 2, 5, 2),
            nn.ReLU(),
            tconv(n // 2, n // 4, 5, 2),
            nn.ReLU(),
            tconv(n // 4, n // 4, 5, 2),
            nn.ReLU(),
        )
    )


def fuse_concat_mix(n: int) -> nn.Sequential:
    """The last convs of FuseConcat (Fig. 10): (B, N/4 + 3, H, W) -> (B, 3, H, W)."""
    return started(nn.Sequential(conv(n // 4 + 3, n // 4, 3), nn.ReLU(), conv(n // 4, 3, 3)), last=0.1)
