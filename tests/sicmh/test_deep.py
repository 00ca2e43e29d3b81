"""The deep encoder: other files of the same format, read by the same decoders."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from icm_core import build, build_registry, parse_spec
from icm_core.errors import InputError
from icm_core.quality import Quality
from icm_core.tiles import Bytes
from icm_sicmh import Hyperprior
from icm_sicmh.deep import Block, DeepCorrection

QUALITY = Quality.of(2.5)


@pytest.fixture(scope="module")
def settled(settled_codec: Hyperprior) -> Hyperprior:
    torch.manual_seed(4)
    codec = (
        Hyperprior(Hyperprior.Params.model_validate({**settled_codec.params.model_dump(), "deep": 16}))
        .eval()
        .requires_grad_(False)
    )
    codec.load_state_dict(settled_codec.state_dict(), strict=False)
    return codec


@pytest.fixture
def deep(settled: Hyperprior) -> Hyperprior:
    """A codec with a deep encoder that corrects something."""
    codec = copy.deepcopy(settled)
    torch.nn.init.normal_(codec.deep.last.weight, std=0.5)  # type: ignore[union-attr]
    return codec


@pytest.fixture
def picture() -> torch.Tensor:
    return torch.rand(1, 3, 96, 130, generator=torch.Generator().manual_seed(5))


def test_a_picture_is_analysed_as_it_is_encoded(deep: Hyperprior, picture: torch.Tensor) -> None:
    task = {"adapter": {"use": "sicmh.multi_scale"}, "head": {"use": "sicmh.coarse"}}
    codec = {"use": "sicmh.hyperprior", "params": deep.params.model_dump()}
    pipe = build(parse_spec({"icm": 1, "name": "deep", "codec": codec, "tasks": {"coarse": task}}), build_registry())
    pipe.codec.load_state_dict(deep.state_dict())
    sides = {
        encoder: pipe.decode(pipe.encode(picture, 2.5, encoder=encoder), []).side.levels for encoder in ("fast", "deep")
    }
    assert not torch.equal(sides["fast"][0], sides["deep"][0])
    for encoder, levels in sides.items():
        assert all(map(torch.equal, pipe.analyse(picture, 2.5, encoder=encoder).levels, levels))


@torch.no_grad()
def test_it_begins_as_the_fast_encoder(settled: Hyperprior, picture: torch.Tensor) -> None:
    assert settled.encoders == ("fast", "deep")
    assert settled.with_encoder("deep").encode(picture, QUALITY) == settled.encode(picture, QUALITY)


@torch.no_grad()
def test_its_files_are_others_and_decode_with_any_decoder(
    deep: Hyperprior, codec: Hyperprior, picture: torch.Tensor
) -> None:
    payloads, side = deep.with_encoder("deep").encode_with_side(picture, QUALITY)
    assert payloads != deep.encode(picture, QUALITY)
    decoded = codec.decode(payloads, (96, 130), QUALITY)
    for mine, theirs in zip(side.levels, decoded.levels, strict=True):
        assert torch.equal(mine, theirs)


def test_the_fingerprint_knows_nothing_of_it(deep: Hyperprior, codec: Hyperprior) -> None:
    assert deep.coding_state() == deep.with_encoder("deep").coding_state() == codec.coding_state()


def block(part: Block, x: torch.Tensor) -> torch.Tensor:
    seen = part.depthwise(x)
    seen = (seen - seen.mean((1, 2, 3), keepdim=True)) / (seen.var((1, 2, 3), False, keepdim=True) + 1e-5).sqrt()
    seen = part.widen(seen * part.norm.weight[:, None, None] + part.norm.bias[:, None, None])
    return x + part.narrow(seen * (1 + torch.erf(seen / math.sqrt(2))) / 2)


@torch.no_grad()
def test_it_is_its_layers_one_after_the_other() -> None:
    torch.manual_seed(7)
    net = DeepCorrection(6, 4, 8).eval()
    blocks = [*net.blocks_16, *net.blocks_32]
    assert (len(net.blocks_16), len(net.blocks_32)) == (2, 4)
    assert len({id(parameter) for part in blocks for parameter in part.parameters()}) == 6 * 8  # none is shared
    assert not any(part.narrow.weight.any() or part.narrow.bias.any() for part in blocks)
    for parameter in (net.last.weight, *(part.narrow.weight for part in blocks)):
        torch.nn.init.normal_(parameter, std=0.5)
    x, y = torch.rand(2, 3, 64, 96), torch.randn(2, 6, 4, 6)
    h1, gain = 3 * torch.randn(2, 4, 2, 3), torch.rand(2, 4, 1, 1) + 1
    h1[0, 0, 0, 0] = 500.0
    fine, coarse = net.trunk((255 * x - 127) / 128)  # as its weights were trained
    found = net.mix_16(torch.cat([coarse, net.from_8(fine).clamp_min(0), y], 1))
    for part in net.blocks_16:
        found = block(part, found)
    steps = h1 * gain
    seen = [net.down(found), steps.clamp(-32, 32), (2 * math.pi * steps).sin()]
    found = net.mix_32(torch.cat(seen, 1))
    for part in net.blocks_32:
        found = block(part, found)
    torch.testing.assert_close(net(x, y, h1, gain), h1 + net.last(found) / gain, rtol=1e-4, atol=1e-3)


@torch.no_grad()
def test_the_correction_is_in_quantisation_steps(deep: Hyperprior, picture: torch.Tensor) -> None:
    x = torch.nn.functional.pad(picture, (0, 62, 0, 32), mode="replicate")
    correction = deep.deep
    assert correction is not None
    torch.nn.init.zeros_(correction.last.weight)
    torch.nn.init.constant_(correction.last.bias, 3.0)
    moved = deep.with_encoder("deep")
    for quality in (1.0, 4.0):
        rows = torch.tensor([quality])
        plain, better = deep.latents(x)[0], moved.latents(x, rows)[0]
        steps = (better - plain) * deep.gain_h1.log2(rows).exp2()
        torch.testing.assert_close(steps, torch.full_like(steps, 3.0), atol=1e-3, rtol=0)


@torch.no_grad()
def test_h2_follows_from_the_corrected_h1(deep: Hyperprior, picture: torch.Tensor) -> None:
    x = torch.nn.functional.pad(picture, (0, 62, 0, 32), mode="replicate")
    h1, h2 = deep.with_encoder("deep").latents(x, torch.tensor([2.0]))
    torch.testing.assert_close(h2, deep.encoder_h2(h1))


def test_a_search_starts_from_it(deep: Hyperprior, picture: torch.Tensor) -> None:
    chosen = deep.with_encoder("deep")
    with torch.no_grad():
        plain = chosen.encode(picture, QUALITY)
    # Nothing that a search could do makes a constant smaller: what it writes is what it began with.
    found = chosen.search(picture, QUALITY, lambda side, bits: side.levels[0].flatten(1).sum(1) * 0 + 0 * bits, 1)
    assert found == plain


@torch.no_grad()
def test_large_pictures_are_read_whole(deep: Hyperprior) -> None:
    pixels = torch.randint(0, 256, (1, 3, 128, 192), dtype=torch.uint8, generator=torch.Generator().manual_seed(6))
    chosen = deep.with_encoder("deep")
    field = Bytes(pixels, torch.device("cpu"))
    assert chosen.encode(field, QUALITY) == chosen.encode(pixels.float() / 255, QUALITY)


def test_training_reaches_all_of_it(deep: Hyperprior, picture: torch.Tensor) -> None:
    codec = deep.with_encoder("deep").train()
    assert codec.deep is not None
    codec.deep.requires_grad_(True)
    torch.nn.init.normal_(codec.deep.blocks_32[0].narrow.weight, std=0.1)
    out = codec(picture, torch.tensor([2.0]))
    (out.total_bits.sum() + out.side.levels[0].square().sum()).backward()
    without = [name for name, p in codec.deep.named_parameters() if p.grad is None and not name.startswith("trunk")]
    assert without == []
    assert float(codec.deep.trunk.model.conv_stem.weight.grad.abs().sum()) > 0  # type: ignore[union-attr, operator]


def test_an_unknown_encoder_is_named(codec: Hyperprior) -> None:
    with pytest.raises(InputError, match=r"has no encoder 'deep'; known: fast"):
        codec.with_encoder("deep")
