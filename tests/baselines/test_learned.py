"""Learned codecs from CompressAI's classes at toy widths, and the import of its checkpoints."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from compressai.models import Cheng2020Anchor, JointAutoregressiveHierarchicalPriors, ScaleHyperprior
from compressai.zoo.image import cfgs

import icm_core
from icm_baselines import LEARNED, import_checkpoint
from icm_baselines.attention import Cheng2020AttentionCodec
from icm_baselines.latent import LatentAdapter
from icm_baselines.learned import LearnedCodec, ScaleHyperpriorCodec
from icm_core import BitstreamError, InputError, Quality, SpecError, WeightsError
from icm_core.coding.rans import MAX_SYMBOL, StreamDecoder
from icm_core.pipeline.weights import load_weights, metadata
from icm_core.types import Level, SideInfo, SideInfoLayout

ONE = Quality.of(1)


def make(cls: type[LearnedCodec]) -> LearnedCodec:
    torch.manual_seed(0)
    widths = {"n": 12, "m": 18} if "m" in cls.Params.model_fields else {"n": 12}
    codec = cls(cls.Params.model_validate(widths)).eval().requires_grad_(False)
    for name, parameter in codec.net.named_parameters():
        if name in ("g_a.6.weight", "h_a.4.weight", "h_a.8.weight"):
            parameter.mul_(8)  # untrained, they would give hardly anything but zeros
        if name == "h_s.4.bias":
            parameter.add_(1)  # and scales far below such latents, all of them escapes
    codec.freeze_tables()
    return codec


@pytest.fixture(params=LEARNED, ids=lambda cls: cls.name)
def codec(request: pytest.FixtureRequest) -> LearnedCodec:
    return make(request.param)


@pytest.fixture
def hyperprior() -> LearnedCodec:
    return make(ScaleHyperpriorCodec)


def test_cheng2020_attn_keeps_the_layout_that_pytorch_makes_its_gradients_in(picture) -> None:
    """Strides, for weights of 1x1 are contiguous in either layout. In the other one gradients damage the heap."""
    codec = make(Cheng2020AttentionCodec).to(memory_format=torch.channels_last)
    seen: list[torch.Tensor] = []
    codec.net.g_a.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    codec(picture(64, 64, 2).contiguous(memory_format=torch.channels_last), torch.ones(2))
    tensors = [*codec.parameters(), *codec.buffers(), *seen]
    assert any(tensor.ndim == 4 and tensor.shape[-2:] == (1, 1) for tensor in tensors) and seen
    assert all(tensor.stride() == torch.empty(tensor.shape).stride() for tensor in tensors)


def test_widths_are_those_that_compressai_has_weights_of() -> None:
    """Of its lower rates; of cheng2020 the higher ones."""
    name = {cls: cls.name.removeprefix("baselines.").replace("_", "-") for cls in LEARNED}
    for cls in LEARNED:
        params = cls.Params()
        own = (params.n, params.m) if hasattr(params, "m") else (params.n,)
        assert own in cfgs[name[cls]].values()
        assert own == cfgs[name[cls]][6 if name[cls].startswith("cheng") else 1]
        assert params.side == "picture"


@torch.no_grad()
@pytest.mark.parametrize("side", ["picture", "both"])
def test_pictures_are_within_0_and_1_but_in_training(picture, side) -> None:
    codec, x = with_side(side), picture(64, 72)
    codec.net.g_s.register_forward_hook(lambda *given: 1e6 * (given[-1] - given[-1].mean()))
    shown = {mode: codec.train(mode)(x, torch.ones(1)).side.levels[0] for mode in (False, True)}
    assert (float(shown[False].min()), float(shown[False].max())) == (0.0, 1.0)
    assert float(shown[True].min()) < 0 or float(shown[True].max()) > 1
    codec.eval()
    (decoded, *_) = codec.decode(codec.encode(x, ONE), (64, 72), ONE).levels
    assert (float(decoded.min()), float(decoded.max())) == (0.0, 1.0)


@pytest.mark.parametrize("size", [(1, 1), (70, 100)], ids=str)
def test_the_decoder_has_the_encoders_latent(codec, picture, size) -> None:
    x = picture(*size, 2)
    payloads = codec.encode(x, ONE)
    latents: list[torch.Tensor] = []
    codec.net.g_s.register_forward_pre_hook(lambda module, args: latents.append(args[0].clone()))
    side = codec.decode(payloads, size, ONE)
    assert side.levels[0].shape == (2, 3, *size)
    assert float(side.levels[0].min()) >= 0 and float(side.levels[0].max()) <= 1
    # The encoder's own symbols, from CompressAI's analysis, lie within half a step of what was decoded.
    padded = torch.nn.functional.pad(x, (0, -size[1] % 64, 0, -size[0] % 64), mode="replicate")
    for one, latent in enumerate(latents):
        assert float((codec.net.g_a(padded[one : one + 1]) - latent).abs().max()) <= 0.5001
    assert float(latents[0].abs().max()) > 0


def test_the_hyper_analysis_sees_in_coding_what_compressai_gives_it(codec, picture) -> None:
    x, seen = picture(64, 128), list[torch.Tensor]()
    codec.net.h_a.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    codec.net(x)
    codec.encode(x, ONE)
    assert len(seen) == 2 and float(codec.net.g_a(x).min()) < 0
    torch.testing.assert_close(seen[1], seen[0])


def test_the_hyperprior_decodes_what_compressai_would(hyperprior, picture) -> None:
    x = picture(64, 128)
    expected = hyperprior.net(x)["x_hat"].clamp(0, 1)
    found = hyperprior.decode(hyperprior.encode(x, ONE), (64, 128), ONE).levels[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_bytes_are_within_2_percent_and_16_bytes_of_the_estimate(hyperprior, picture) -> None:
    bits = float(hyperprior(picture(128, 128), torch.ones(1)).total_bits)
    (payload,) = hyperprior.encode(picture(128, 128), ONE)
    assert abs(8 * len(payload) - bits) <= 0.02 * bits + 128


def test_table_rows_are_compressais(hyperprior) -> None:
    from compressai.entropy_models import GaussianConditional
    from compressai.models import get_scale_table

    theirs = GaussianConditional(None)
    theirs.update_scale_table(get_scale_table())
    scales = torch.cat([get_scale_table(), get_scale_table() * 1.001, torch.tensor([-1.0, 0.0, 1e6])])
    assert torch.equal(hyperprior._rows(scales), theirs.build_indexes(scales).long())


@pytest.mark.parametrize("cls", LEARNED[1:], ids=lambda cls: cls.name)
def test_context_models_say_scales_first_and_then_means(cls, picture) -> None:
    """As CompressAI has it: symbols are whole numbers around the means."""
    codec = make(cls)
    last = [layer for layer in codec.net.entropy_parameters if isinstance(layer, torch.nn.Conv2d)][-1]
    last.weight.zero_()
    half = len(last.bias) // 2
    last.bias[:half], last.bias[half:] = 2.0, 0.25
    latents: list[torch.Tensor] = []
    codec.net.g_s.register_forward_pre_hook(lambda module, args: latents.append(args[0].clone()))
    codec.decode(codec.encode(picture(64, 64), ONE), (64, 64), ONE)
    symbols = latents[0] - 0.25
    assert bool(symbols.any()) and float((symbols - symbols.round()).abs().max()) < 1e-5


def test_what_autocast_and_the_pictures_numbers_are_changes_no_byte(codec, picture) -> None:
    x = picture(64, 64).bfloat16().float()
    payloads = codec.encode(x, ONE)
    decoded = codec.decode(payloads, (64, 64), ONE).levels[0]
    assert codec.encode(x.double(), ONE) == codec.encode(x.bfloat16(), ONE) == payloads
    with torch.autocast("cpu", torch.bfloat16):
        assert codec.encode(x, ONE) == payloads
        assert torch.equal(codec.decode(payloads, (64, 64), ONE).levels[0], decoded)


def test_another_process_can_be_given_a_codec(codec, picture) -> None:
    copy = pickle.loads(pickle.dumps(codec))
    assert copy.encode(picture(64, 64), ONE) == codec.encode(picture(64, 64), ONE)
    assert copy.coding_state() == codec.coding_state()


def test_values_beyond_what_the_coder_holds_are_the_nearest_that_it_does(hyperprior, picture) -> None:
    hyperprior.net.g_a[-1].bias[:2] = torch.tensor([1e7, -1e7])
    (latent,) = (
        with_weights_of(hyperprior, "latent").decode(hyperprior.encode(picture(64, 64), ONE), (64, 64), ONE).levels
    )
    assert latent[:, 0].unique().tolist() == [MAX_SYMBOL] and latent[:, 1].unique().tolist() == [-MAX_SYMBOL]


def test_damaged_payloads(codec, picture) -> None:
    (good,) = codec.encode(picture(64, 64), ONE)
    for bad in (b"", good[:4], good[:-4], good + bytes(4), bytes(len(good)), good[::-1]):
        with pytest.raises(BitstreamError):
            codec.decode([bad], (64, 64), ONE)


def test_gradients_reach_the_networks(codec, picture) -> None:
    codec.train().requires_grad_(True)
    x = picture(64, 64)
    found = codec(x, torch.ones(1))
    (found.total_bits.sum() + (found.side.levels[0] - x).square().sum()).backward()
    without = [name for name, parameter in codec.named_parameters() if parameter.grad is None]
    assert not without


def test_changed_weights_change_fingerprint_and_tables(hyperprior, picture) -> None:
    before = hyperprior.coding_state()
    (payload,) = hyperprior.encode(picture(64, 64), ONE)
    hyperprior.net.entropy_bottleneck.matrices[0].mul_(1.5)
    assert hyperprior.coding_state() != before
    assert hyperprior.encode(picture(64, 64), ONE) != [payload]


def test_coding_leaves_the_network_as_it_is(codec, picture) -> None:
    codec.net.entropy_bottleneck.quantiles.add_(0)  # a write, so that tables are made anew
    before = {name: (value, value.clone(), value._version) for name, value in codec.net.named_buffers()}
    codec.decode(codec.encode(picture(64, 64), ONE), (64, 64), ONE)
    after = dict(codec.net.named_buffers())
    assert after.keys() == before.keys() and any("cdf" in name for name in after)
    for name, (buffer, value, writes) in before.items():
        assert after[name] is buffer and torch.equal(buffer, value) and buffer._version == writes


def test_a_decoder_keeps_room_for_as_many_symbols_as_it_reads(codec, picture, monkeypatch) -> None:
    """With less a damaged stream would be read beyond its end."""
    capacities, read = [], []

    class Counted(StreamDecoder):
        def __init__(self, payload: bytes, capacity: int) -> None:
            super().__init__(payload, capacity)
            capacities.append(capacity)

        def pull(self, indexes, tables):
            read.append(indexes.numel())
            return super().pull(indexes, tables)

    payloads = codec.encode(picture(70, 60), ONE)
    monkeypatch.setattr("icm_baselines.learned.StreamDecoder", Counted)
    codec.decode(payloads, (70, 60), ONE)
    assert capacities == [sum(read)] == [2 * codec.net.N + 8 * 4 * codec.net.M]


def test_networks_are_as_wide_as_they_are_told(codec, picture) -> None:
    widths = codec.params.model_dump(include={"n", "m"})
    assert codec.net.N == widths["n"] == 12
    assert codec.net.g_a(picture(64, 64)).shape[1] == codec.net.M == widths.get("m", 12)


def test_a_forward_pass_leaves_the_fingerprint(codec, picture) -> None:
    before = codec.coding_state()
    codec(picture(64, 64), torch.ones(1))
    assert codec.coding_state() == before


def checkpoint(path: Path, model: torch.nn.Module, **around: object) -> Path:
    model.update()
    torch.save({**around, "state_dict": model.state_dict()} if around else model.state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("model", "use", "params"),
    [
        (lambda: ScaleHyperprior(12, 18), "baselines.bmshj2018_hyperprior", {"n": 12, "m": 18}),
        (lambda: JointAutoregressiveHierarchicalPriors(12, 18), "baselines.mbt2018", {"n": 12, "m": 18}),
        (lambda: Cheng2020Anchor(12), "baselines.cheng2020_anchor", {"n": 12}),
    ],
    ids=["bmshj2018-hyperprior", "mbt2018", "cheng2020-anchor"],
)
def test_import_of_a_checkpoint(tmp_path, picture, model, use, params) -> None:
    torch.manual_seed(0)
    original = model().eval()
    import_checkpoint(checkpoint(tmp_path / "c.pth.tar", original, epoch=3), tmp_path / "imported.json")
    pipe = icm_core.load(tmp_path / "imported.json", device="cpu")
    assert pipe.spec.codec.use == use and pipe.spec.codec.params == params
    assert torch.equal(pipe.codec.net.g_a[-1].weight, original.g_a[-1].weight.half().float())
    out = pipe.decode(pipe.encode(picture(64, 64)[0], quality=1))
    assert set(out) == {"segmentation", "classification", "picture"}
    name = use.removeprefix("baselines.").replace("_", "-")
    assert json.loads((tmp_path / "imported.json").read_text()) == {
        "icm": 1,
        "name": "imported",
        "description": f"CompressAI's {name}, and the task networks of sicmh-small on its decoded pictures",
        "extends": "jpeg-camvid",
        "codec": {"use": use, "params": params},
        "weights": "imported.codec.safetensors",
    }
    stored = metadata(tmp_path / "imported.codec.safetensors")
    assert stored["icm.fingerprint.base"] == pipe.base_fingerprint.hex() and stored["icm.name"] == "imported"


def test_checkpoints_that_cannot_be(tmp_path) -> None:
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    bomb, other, text = tmp_path / "bomb.pth", tmp_path / "other.pth", tmp_path / "text.pth"
    torch.save({"state_dict": Bomb()}, bomb)
    torch.save({"layer.weight": torch.zeros(1)}, other)
    mixed, wrapped, listed = tmp_path / "mixed.pth", tmp_path / "wrapped.pth", tmp_path / "listed.pth"
    torch.save({"layer.weight": torch.zeros(1), "epoch": 3}, mixed)
    torch.save({"state_dict": [torch.zeros(1)]}, wrapped)
    torch.save([torch.zeros(1)], listed)
    text.write_text("no checkpoint")
    for path, says in (
        (bomb, "not a checkpoint of tensors alone"),
        (text, "not a checkpoint of tensors alone"),
        (other, "it is none of bmshj2018-hyperprior, mbt2018 and cheng2020-anchor"),
        (mixed, "it holds no state dict"),
        (wrapped, "it holds no state dict"),
        (listed, "it holds no state dict"),
        (tmp_path / "missing.pth", "no such file"),
    ):
        with pytest.raises(WeightsError, match=says):
            import_checkpoint(path, tmp_path / "x.json")
    good = checkpoint(tmp_path / "good.pth", ScaleHyperprior(12, 18))
    with pytest.raises(InputError, match="file ends with"):
        import_checkpoint(good, tmp_path / "x.txt")
    with pytest.raises(SpecError, match="name"):
        import_checkpoint(good, tmp_path / "Upper Case.json")
    assert not (tmp_path / "executed").exists() and not list(tmp_path.glob("*.safetensors"))


def test_weights_are_parameters_without_tables(hyperprior, tmp_path) -> None:
    from safetensors.torch import save_file

    fresh = make(ScaleHyperpriorCodec)
    save_file({key: value.contiguous() for key, value in hyperprior.state_dict().items()}, tmp_path / "w.safetensors")
    load_weights(fresh, [tmp_path / "w.safetensors"])
    assert fresh.coding_state() == hyperprior.coding_state()
    assert not [key for key in fresh.state_dict() if "cdf" in key or "offset" in key]


def with_side(side: str) -> LearnedCodec:
    """The hyperprior's weights with other side information."""
    return with_weights_of(make(ScaleHyperpriorCodec), side)


def with_weights_of(other: LearnedCodec, side: str) -> LearnedCodec:
    codec = ScaleHyperpriorCodec(ScaleHyperpriorCodec.Params(n=12, m=18, side=side)).eval().requires_grad_(False)
    codec.load_trained(other.net.state_dict())
    return codec


@pytest.mark.parametrize(
    ("side", "levels", "width"),
    [
        ("picture", (Level(3, 1),), 3),
        ("latent", (Level(18, 16),), 12),
        ("both", (Level(3, 1), Level(18, 16)), 12),
    ],
)
def test_the_layout_says_what_is_handed_on_and_how_wide_the_codec_is(side, levels, width) -> None:
    assert with_side(side).layout == SideInfoLayout(levels, width)


@pytest.mark.parametrize(("side", "shapes"), [("latent", [(2, 18, 5, 7)]), ("both", [(2, 3, 80, 112), (2, 18, 5, 7)])])
def test_a_forward_pass_leaves_nothing_at_the_network(picture, side, shapes) -> None:
    codec = with_side(side)
    found = codec(picture(70, 100, 2), torch.ones(2))
    assert [tuple(level.shape) for level in found.side.levels] == shapes and found.side.size == (70, 100)
    assert not codec.net.g_s._forward_pre_hooks


@pytest.mark.parametrize(("side", "shapes"), [("latent", [(2, 18, 5, 7)]), ("both", [(2, 3, 80, 112), (2, 18, 5, 7)])])
def test_the_latent_of_one_stream(hyperprior, picture, side, shapes) -> None:
    """What is handed on changes no byte; the picture is the synthesis of the latent."""
    codec = with_side(side)
    payloads = codec.encode(picture(70, 100, 2), ONE)
    assert payloads == hyperprior.encode(picture(70, 100, 2), ONE)
    found = codec.decode(payloads, (70, 100), ONE)
    assert [tuple(level.shape) for level in found.levels] == shapes and found.size == (70, 100)
    latents: list[torch.Tensor] = []
    hyperprior.net.g_s.register_forward_pre_hook(lambda module, args: latents.append(args[0].clone()))
    reference = hyperprior.decode(payloads, (70, 100), ONE).levels[0]
    assert torch.equal(found.levels[-1], torch.cat(latents)[..., :5, :7])
    if side == "both":
        torch.testing.assert_close(found.levels[0][..., :70, :100], reference, rtol=0, atol=1e-5)


def test_without_a_picture_there_is_no_synthesis(hyperprior) -> None:
    names = {name for name, _ in with_side("latent").net.named_parameters()}
    assert names == {name for name, _ in hyperprior.net.named_parameters() if not name.startswith("g_s.")}
    assert with_side("both").coding_state() == hyperprior.coding_state()


def test_the_latent_adapter_takes_what_is_no_picture() -> None:
    params = LatentAdapter.Params()
    both = SideInfoLayout((Level(3, 1), Level(18, 16)), 12)
    side = SideInfo((torch.zeros(1, 3, 64, 64), torch.ones(1, 18, 4, 4)), (60, 60))
    found = LatentAdapter(params, both)(side)
    assert torch.equal(found.maps["latent"], side.levels[1]) and found.size == (60, 60)
    assert LatentAdapter(params, both).features == {"latent": Level(18, 16)}
    two = SideInfoLayout((Level(16, 32), Level(8, 64)), 12)  # of two latents, as SICMH has them, the finer one
    assert LatentAdapter(params, two).features == {"latent": Level(16, 32)}
    narrow = SideInfoLayout((Level(16, 1), Level(3, 8)), 12)  # however many channels it has
    assert LatentAdapter(params, narrow).features == {"latent": Level(3, 8)}
    fine = SideInfoLayout((Level(3, 1), Level(6, 2), Level(8, 4)), 12)
    assert LatentAdapter(params, fine).features == {"latent": Level(6, 2)}
    with pytest.raises(SpecError, match='"side": "latent"'):
        LatentAdapter(params, SideInfoLayout((Level(3, 1),), 3))
