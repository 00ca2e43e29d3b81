"""Models as codecs: CompressAI's, a ladder of them, and one that has nothing to do with CompressAI."""

from __future__ import annotations

import copy
import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from compressai.models import (
    FactorizedPrior,
    JointAutoregressiveHierarchicalPriors,
    ScaleHyperprior,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from icm_core import BitstreamError, ComponentParams, Quality, WeightsError
from icm_core.testing import CodecCase, parametrize_with_checks
from icm_core.wrap import ModelCodec
from icm_core.wrap.strings import pack, scaled, unpack

ONE, TWO = Quality.of(1), Quality.of(2)
IN_FLOAT = {"check_decoding_is_exact": "its networks compute in floating point"}


class Factorized(ModelCodec):
    """One model with one stream."""

    name = "tests.factorized"
    stride = 16

    def models(self):
        return [FactorizedPrior(8, 12)]


class Ladder(ModelCodec):
    """A model for each quality, with two streams."""

    name = "tests.ladder"

    def models(self):
        return [ScaleHyperprior(8, 12), ScaleHyperprior(8, 16)]


class Context(ModelCodec):
    """A model that reads one of its two streams with CompressAI's coder itself."""

    name = "tests.context"

    def models(self):
        return [JointAutoregressiveHierarchicalPriors(12, 12)]


class MeanColours(nn.Module):
    """The mean colour of each 8x8 pixels, a byte a channel; nothing in it is CompressAI's."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(3, 1, 1))

    def forward(self, x: Tensor) -> dict[str, object]:
        exact = F.avg_pool2d(x, 8) * self.gain * 255
        rounded = exact + (exact.round().clamp(0, 255) - exact).detach()
        return {"x_hat": self.picture(rounded), "likelihoods": {"y": torch.full_like(exact, 1 / 256)}}

    def compress(self, x: Tensor) -> dict[str, object]:
        symbols = (F.avg_pool2d(x, 8) * self.gain * 255).round().clamp(0, 255).byte()
        return {"strings": [[symbols.cpu().numpy().tobytes()]], "shape": {"y": list(symbols.shape[-2:]), "channels": 3}}

    def decompress(self, strings, shape) -> dict[str, object]:
        symbols = torch.frombuffer(bytearray(strings[0][0]), dtype=torch.uint8).to(self.gain.device)
        return {"x_hat": self.picture(symbols.reshape(1, shape["channels"], *shape["y"]).float())}

    def picture(self, symbols: Tensor) -> Tensor:
        return F.interpolate(symbols / 255 / self.gain, scale_factor=8)


class Own(ModelCodec):
    """A model of somebody's own."""

    name = "tests.own"
    stride = 8

    def models(self):
        return [MeanColours()]


def spread(codec: ModelCodec) -> None:
    """Symbols that are not all zero, as random weights have them, and pictures around mid grey.

    CompressAI's context model rounds latents in forward, and their distances from the means in compress; where both are
    near zero, that is a large share of them.
    """
    with torch.no_grad():
        for name, parameter in codec.named_parameters():
            if name.endswith(("g_a.6.weight", "h_a.4.weight")):
                parameter.mul_(8)
            elif name.endswith("g_s.6.bias"):
                parameter.add_(0.5)


CASES = [
    CodecCase(Factorized, unpromised=IN_FLOAT),
    CodecCase(Ladder, sizes=((64, 64), (50, 70)), unpromised=IN_FLOAT),
    CodecCase(Context, sizes=((64, 64), (50, 70)), unpromised=IN_FLOAT, prepare=spread),
    CodecCase(Own),
]


@parametrize_with_checks(CASES)
def test_conformance(case, check) -> None:
    check(case)


def make(cls: type[ModelCodec]) -> ModelCodec:
    """A codec whose symbols are not all zero, as random weights would have them."""
    torch.manual_seed(0)
    codec = cls(ComponentParams()).eval().requires_grad_(False)
    spread(codec)
    codec.freeze_tables()
    return codec


@pytest.fixture
def x() -> Tensor:
    rows, columns = torch.arange(70)[:, None] / 17, torch.arange(100)[None, :] / 23
    waves = [torch.sin(rows * (1 + c / 3)) * torch.cos(columns * 2 - rows * c / 5) for c in range(3)]
    return torch.stack(waves)[None] / 2 + 0.5


def test_the_decoded_picture_is_what_the_model_itself_decodes(x) -> None:
    codec = make(Factorized)
    model = FactorizedPrior(8, 12).eval()
    nn.Module.load_state_dict(model, codec.net.state_dict(), strict=False)  # tables are missing
    model.update(force=True)
    with torch.no_grad():
        padded = F.pad(x, (0, 12, 0, 10), mode="replicate")
        found = model.compress(padded)
        expected = model.decompress(**found)["x_hat"][..., :70, :100]
    (payload,) = codec.encode(x, ONE)
    assert payload == found["strings"][0][0]  # nothing is added to a single string
    assert torch.equal(codec.decode([payload], (70, 100), ONE).levels[0], expected)


def test_two_streams_take_a_length_between_them(x) -> None:
    codec = make(Ladder)
    model = ScaleHyperprior(8, 12).eval()
    nn.Module.load_state_dict(model, codec.net[0].state_dict(), strict=False)
    model.update(force=True)
    with torch.no_grad():
        (y,), (z,) = model.compress(codec.padded(x))["strings"]
    (payload,) = codec.encode(x, ONE)
    assert payload[-len(z) :] == z and len(payload) == len(y) + len(z) + (1 if len(y) < 128 else 2)


def test_a_quality_is_coded_with_the_nearest_model(x) -> None:
    codec = make(Ladder)
    assert codec.quality_range == (1.0, 2.0)
    by = {value: codec.encode(x, Quality.of(value)) for value in (1, 1.4375, 1.5, 2)}
    assert by[1] == by[1.4375] != by[1.5] == by[2]
    with torch.no_grad():
        # Sorted by their models the third comes first: no order that is its own inverse.
        both = codec(x.repeat(3, 1, 1, 1), torch.tensor([2.0, 2.0, 1.2]))
        each = [codec(x, torch.tensor([value])) for value in (2.0, 1.2)]
    assert torch.allclose(both.total_bits, torch.cat([each[0].total_bits, each[0].total_bits, each[1].total_bits]))
    for row, one in ((0, each[0]), (1, each[0]), (2, each[1])):
        assert torch.allclose(both.side.levels[0][row], one.side.levels[0][0], atol=1e-6)


def test_tables_follow_the_weights_and_are_in_no_state(x) -> None:
    codec = make(Ladder)
    before, state = codec.encode(x, ONE), codec.coding_state()
    assert not [key for key in codec.state_dict() if "cdf" in key or "offset" in key or "scale_table" in key]
    codec.net[1].g_a[6].weight.mul_(0.5)
    assert codec.encode(x, ONE) == before and codec.coding_state() != state
    codec.net[0].entropy_bottleneck.matrices[0].mul_(1.5)
    after = codec.encode(x, ONE)
    assert after != before
    assert codec.decode(after, (70, 100), ONE).levels[0].shape == (1, 3, 70, 100)


def test_coding_leaves_model_and_state_as_they_are(x) -> None:
    for cls in (Factorized, Context):
        codec = make(cls)
        before, state = copy.deepcopy(codec.state_dict()), codec.coding_state()
        codec.decode(codec.encode(x, ONE), (70, 100), ONE)
        codec(x, torch.ones(1))
        assert codec.coding_state() == state
        assert all(torch.equal(value, codec.state_dict()[key]) for key, value in before.items())


@pytest.mark.parametrize("cls", [Factorized, Ladder, Context])
def test_every_flipped_bit_is_refused_or_gives_a_picture(cls, x) -> None:
    codec = make(cls)
    (payload,) = codec.encode(x[..., :64, :64], ONE)
    refused = 0
    for place in range(0, 8 * len(payload), max(1, len(payload) // 12)):
        changed = bytearray(payload)
        changed[place // 8] ^= 1 << place % 8
        try:
            picture = codec.decode([bytes(changed)], (64, 64), ONE).levels[0]
        except BitstreamError:
            refused += 1
        else:
            assert picture.shape == (1, 3, 64, 64) and bool(picture.isfinite().all())
    assert refused >= 8


def test_damaged_payloads_of_one_stream_are_always_refused(x) -> None:
    codec = make(Factorized)
    (good,) = codec.encode(x, ONE)
    for bad in (b"", good[:4], good[:-4], good + bytes(4), good + good, bytes(len(good)), good[::-1]):
        with pytest.raises(BitstreamError):
            codec.decode([bad], (70, 100), ONE)
    with pytest.raises(BitstreamError):
        codec.decode([good], (70, 400), ONE)  # what a header says of the size is not believed against the stream


def test_what_a_model_raises_of_a_payload_is_told_as_damage(x) -> None:
    codec = make(Own)
    (good,) = codec.encode(x, ONE)
    with pytest.raises(BitstreamError, match=r"tests.own cannot read a payload of 350 bytes: RuntimeError: shape"):
        codec.decode([good[:-1]], (70, 100), ONE)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"compress": lambda self, x: {"strings": [["text"]], "shape": 1}},
            "and one of them is of type str",
        ),
        ({"compress": lambda self, x: [b""]}, "the model's compress gives list, not a dict with strings and shape"),
        ({"compress": lambda self, x: {"strings": [[b""]], "shape": x.shape[-1] + 1}}, "set stride, now 8"),
        ({"compress": lambda self, x: {"strings": [[b""]] * x.shape[-1], "shape": 1}}, "a decoder cannot know that"),
        ({"decompress": lambda self, strings, shape: {"x_hat": torch.zeros(1)}}, r"not \(1, 3, 72, 104\)"),
    ],
    ids=["text", "list", "shape", "strings", "picture"],
)
def test_what_is_wrong_with_a_model_is_said(change, says, x) -> None:
    class Wrong(Own):
        """Wrong."""

        def models(self):
            return [type("Wrong", (MeanColours,), change)()]

    codec = make(Wrong)
    with pytest.raises(TypeError, match=says):
        codec.decode(codec.encode(x, ONE), (70, 100), ONE)


def test_weights_of_the_library_are_taken_without_their_tables(x) -> None:
    torch.manual_seed(1)
    trained = FactorizedPrior(8, 12)
    trained.update()
    state = trained.state_dict()
    assert state["entropy_bottleneck._quantized_cdf"].numel() > 0
    codec = make(Factorized)
    codec.load_trained(state)
    assert torch.equal(codec.net.g_s[0].weight, trained.g_s[0].weight)
    ladder = make(Ladder)
    with pytest.raises(WeightsError, match=r"tests.ladder cannot take these weights: .*h_a"):
        ladder.load_trained(state, quality=2)


def test_weights_go_into_the_model_of_their_quality() -> None:
    torch.manual_seed(1)
    trained, codec = ScaleHyperprior(8, 16), make(Ladder)
    first = codec.net[0].g_s[0].weight.clone()
    codec.load_trained(trained.state_dict(), quality=2)
    assert torch.equal(codec.net[1].g_s[0].weight, trained.g_s[0].weight)
    assert torch.equal(codec.net[0].g_s[0].weight, first)


def test_decoded_pictures_are_held_within_0_and_1_but_in_training(x) -> None:
    codec = make(Own)
    codec.net.picture = lambda symbols: F.interpolate(symbols / 100 - 0.5, scale_factor=8)
    trained, coded = (codec.train(mode)(x, torch.ones(1)).side.levels[0] for mode in (True, False))
    assert float(trained.min()) < -0.1 and float(trained.max()) > 1.1
    assert torch.equal(coded, trained.clamp(0, 1))
    decoded = codec.decode(codec.encode(x, ONE), (70, 100), ONE).levels[0]
    torch.testing.assert_close(decoded, coded)


def test_parameters_are_in_the_fingerprint_where_weights_are_the_same() -> None:
    class Scaled(Own):
        """A model with a number that is no weight."""

        class Params(ComponentParams):
            """One."""

            steps: int = 255

    codecs = [Scaled(Scaled.Params(steps=steps)) for steps in (255, 127, 255)]
    states = [codec.coding_state() for codec in codecs]
    assert states[0] == states[2] != states[1]


@given(st.lists(st.integers(0, 300), min_size=1, max_size=5), st.integers(0, 2**32))
@settings(deadline=None)
def test_strings_come_back_from_a_payload(lengths, seed) -> None:
    strings = [bytes([(seed + n) % 256]) * length for n, length in enumerate(lengths)]
    assert unpack(pack(strings), len(strings)) == strings


@given(st.binary(max_size=40), st.integers(1, 4))
def test_a_payload_is_read_in_one_way_or_refused(payload, count) -> None:
    try:
        strings = unpack(payload, count)
    except BitstreamError:
        return
    assert pack(strings) == payload


def test_lengths_that_no_encoder_writes() -> None:
    for payload in (b"", b"\x80\x00", b"\xff\xff\xff\xff\xff\x01", b"\x05abc"):
        with pytest.raises(BitstreamError):
            unpack(payload, 2)


def test_shapes_grow_with_their_sides() -> None:
    for rows, columns in itertools.product((1, 2, 5), (1, 3, 7)):
        given_one = {"y": torch.Size([4, 6]), "n": [24, 3], "none": None, "name": "a"}
        given_six = {"y": torch.Size([8, 18]), "n": [144, 3], "none": None, "name": "a"}
        expected = {"y": (4 * rows, 6 * columns), "n": [24 * rows * columns, 3], "none": None, "name": "a"}
        assert scaled(given_one, given_six, rows, columns) == expected
    for one, six in ((5, 11), ((1, 2), (2,)), ({"a": 1}, {"b": 1}), (1.5, 3.0)):
        with pytest.raises(TypeError):
            scaled(one, six, 2, 2)


PAGE = Path(__file__).parents[2] / "docs/own-codec.md"


def test_the_page_makes_a_model_of_compressai_a_component_in_15_lines(tmp_path) -> None:
    blocks = dict(re.findall(r'```python title="(.+?)"\n(.*?)```', PAGE.read_text("utf-8"), re.DOTALL))
    assert len([line for line in blocks["mylab_factorized.py"].splitlines() if line.strip()]) <= 15
    for name in ("mylab_factorized.py", "test_factorized.py"):
        (tmp_path / name).write_text(blocks[name])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_factorized.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert re.search(r"\d\d passed", done.stdout) and "failed" not in done.stdout
