"""What a codec does with a model, and what of a model no file could tell, so that it is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from compressai.entropy_models import EntropyBottleneck
from compressai.models import FactorizedPrior
from torch import Tensor, nn
from torch.nn import functional as F

import icm_core.wrap
from icm_core import BitstreamError, Quality, WeightsError
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


# --- what a codec does with a model ----------------------------------------------------------------------------------


class Grey(nn.Module):
    """The mean of each 8x8 pixels, a byte a value; `gain` is all that it has."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def values(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 8) * 200 * self.gain

    def forward(self, x: Tensor) -> dict[str, Any]:
        values = self.values(x)
        return {
            "x_hat": F.interpolate(values / 200, scale_factor=8),
            "likelihoods": {"y": torch.full_like(values, 0.25)},
        }

    def compress(self, x: Tensor) -> dict[str, Any]:
        values = self.values(x).round().byte()
        return {"strings": [[values.numpy().tobytes()]], "shape": tuple(values.shape[-2:])}

    def decompress(self, strings: Any, shape: Any) -> dict[str, Any]:
        values = torch.tensor(list(strings[0][0])).view(1, 3, *shape) / 200
        return {"x_hat": F.interpolate(values, scale_factor=8)}


class One(ModelCodec):
    """One model."""

    name = "tests.grey"
    stride = 8

    def models(self) -> Sequence[nn.Module]:
        return [Grey()]


class Two(One):
    """A model for each of two qualities; tables are counted."""

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.made: list[float] = []

    def models(self) -> Sequence[nn.Module]:
        return [Grey(0.5), Grey()]

    def make_tables(self, model: nn.Module) -> None:
        self.made.append(float(model.gain))  # type: ignore[arg-type]


FIRST, SECOND = Quality.of(1), Quality.of(2)
WIDE = torch.rand(2, 3, 11, 29, generator=torch.Generator().manual_seed(0))
"""Pictures whose sides are multiples of nothing."""


def codec_of(changes: Mapping[str, Any]) -> ModelCodec:
    """A codec whose model has other methods."""

    class Changed(One):
        """Changed."""

        def models(self) -> Sequence[nn.Module]:
            return [type("Changed", (Grey,), dict(changes))()]

    return Changed(Changed.Params())


def test_what_is_decoded_has_the_pictures_size() -> None:
    codec = One(One.Params()).eval()
    payloads = codec.encode(WIDE, FIRST)
    side = codec.decode(payloads, (11, 29), FIRST)
    assert side.size == codec(WIDE, torch.ones(2)).side.size == (11, 29)
    assert side.levels[0].shape == (2, 3, 11, 29) and side.levels[0].is_contiguous()
    means = F.avg_pool2d(codec.padded(WIDE), 8)
    assert [list(payload) for payload in payloads] == (means * 200).round().flatten(1).int().tolist()
    # The first 8x8 pixels are decoded as their mean, and the last three columns and rows as that of what is padded.
    torch.testing.assert_close(side.levels[0][:, :, ::10, ::28], means[:, :, :, [0, 3]], rtol=0, atol=1 / 400)


def test_pictures_are_coded_in_full_precision() -> None:
    codec = One(One.Params())
    just_above = torch.full((1, 3, 8, 8), 100.51 / 200)
    for x in (just_above, just_above.double()):
        assert codec.encode(x, FIRST) == [bytes([101] * 3)]
    assert codec.encode(torch.full((1, 3, 8, 8), 100.49 / 200), FIRST) == [bytes([100] * 3)]


def test_bits_are_logarithms_to_base_2_of_each_picture_by_name() -> None:
    bits = One(One.Params())(WIDE, torch.ones(2)).bits
    assert {name: each.tolist() for name, each in bits.items()} == {"y": [2 * 3 * 2 * 4] * 2}


def test_pictures_are_continued_by_their_edge() -> None:
    padded = One(One.Params()).padded(WIDE)
    assert padded.shape == (2, 3, 16, 32)
    assert torch.equal(padded[..., :11, :29], WIDE)
    assert torch.equal(padded[..., 11:, :29], WIDE[..., 10:, :].expand(2, 3, 5, 29))
    assert torch.equal(padded[..., 29:], padded[..., 28:29].expand(2, 3, 16, 3))


def test_tables_of_each_model_are_made_once_until_its_weights_change() -> None:
    codec = Two(Two.Params()).eval()
    for quality in (FIRST, SECOND, FIRST, SECOND):
        codec.decode(codec.encode(WIDE, quality), (11, 29), quality)
    assert codec.made == [0.5, 1.0]
    with torch.no_grad():
        codec._models()[0].gain.mul_(0.5)  # type: ignore[operator]
    for quality in (SECOND, FIRST):
        codec.encode(WIDE, quality)
    assert codec.made == [0.5, 1.0, 0.25]


def test_a_model_that_comes_with_tables_gets_those_of_its_weights() -> None:
    class Ready(ModelCodec):
        """A model of CompressAI's that was made ready to code."""

        name = "tests.ready"
        stride = 16

        def models(self) -> Sequence[nn.Module]:
            torch.manual_seed(0)
            model = FactorizedPrior(4, 6)
            model.update(force=True)
            return [model]

    class Bare(Ready):
        """One without tables."""

        def models(self) -> Sequence[nn.Module]:
            torch.manual_seed(0)
            return [FactorizedPrior(4, 6)]

    payloads = []
    for cls in (Ready, Bare):
        codec = cls(cls.Params()).eval()
        with torch.no_grad():
            codec.get_submodule("net.entropy_bottleneck").matrices[0].mul_(3)  # type: ignore[index]
            codec.get_submodule("net.g_a.6").weight.mul_(9)  # type: ignore[operator]
        codec.freeze_tables()
        payloads.append(codec.encode(WIDE, FIRST))
    assert payloads[0] == payloads[1]


def test_coding_is_in_float32_although_a_cast_is_asked_for_around_it() -> None:
    class Mixing(Grey):
        """Channels are mixed, which autocast does in bfloat16."""

        def values(self, x: Tensor) -> Tensor:
            mixed = F.conv2d(x, torch.full((3, 3, 1, 1), 1 / 3))
            return super().values(mixed)

        def decompress(self, strings: Any, shape: Any) -> dict[str, Any]:
            found = super().decompress(strings, shape)["x_hat"]
            return {"x_hat": F.conv2d(found, torch.full((3, 3, 1, 1), 1 / 3))}

    class Mixed(One):
        """Mixed."""

        def models(self) -> Sequence[nn.Module]:
            return [Mixing()]

    codec = Mixed(Mixed.Params()).eval()
    payloads = codec.encode(WIDE, FIRST)
    decoded = codec.decode(payloads, (11, 29), FIRST).levels[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert codec.encode(WIDE, FIRST) == payloads
        assert torch.equal(codec.decode(payloads, (11, 29), FIRST).levels[0], decoded)
    assert not decoded.requires_grad


def test_a_codec_is_where_its_weights_or_at_least_its_buffers_are() -> None:
    class Still(One):
        """Without a weight."""

        def models(self) -> Sequence[nn.Module]:
            model = nn.Module()
            model.register_buffer("table", torch.zeros(2))
            return [model]

    class Empty(One):
        """Without anything."""

        def models(self) -> Sequence[nn.Module]:
            return [nn.Module()]

    assert One(One.Params()).to("meta").place.type == "meta"
    with torch.device("meta"):
        assert One(One.Params()).place.type == Two(Two.Params()).place.type == "meta"
    assert Still(Still.Params()).to("meta").place.type == "meta"
    assert Still(Still.Params()).place.type == "cpu"
    assert Empty(Empty.Params()).place.type == "cpu"


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_no_picture_is_made_of_what_is_no_number(value: float) -> None:
    def decompress(self: Grey, strings: Any, shape: Any) -> dict[str, Any]:
        picture = torch.zeros(1, 3, 16, 32)
        picture[0, 2, 5, 7] = value
        return {"x_hat": picture}

    codec = codec_of({"decompress": decompress})
    with pytest.raises(BitstreamError, match="decodes to values that are no numbers"):
        codec.decode([b"."], (11, 29), FIRST)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"compress": lambda _, x: {"strings": [[b""]]}},
            r"compress gives \['strings'\], not a dict with strings and",
        ),
        ({"compress": lambda _, x: {"shape": 1}}, r"compress gives \['shape'\], not a dict with strings and shape"),
        ({"decompress": lambda _, strings, shape: {"x": 1}}, r"decompress gives \['x'\], not a dict with x_hat"),
        ({"forward": lambda _, x: {"x_hat": x}}, r"forward gives \['x_hat'\], not a dict with x_hat and likelihoods"),
        ({"forward": lambda _, x: {"likelihoods": {}}}, r"forward gives \['likelihoods'\], not a dict with x_hat and"),
    ],
)
def test_what_a_model_leaves_out_is_said(changes: Mapping[str, Any], says: str) -> None:
    codec = codec_of(changes).eval()
    with pytest.raises(TypeError, match=f"tests.grey: the model's {says}"):
        codec.decode(codec.encode(WIDE, FIRST), (11, 29), FIRST)
        codec(WIDE, torch.ones(2))


@pytest.mark.parametrize(
    "shown",
    [
        lambda rows, columns: {"y": [rows, columns] if columns > 1 else (rows, columns)},
        lambda rows, columns: ([rows], columns) if columns > 1 else [(rows,), columns],
        lambda rows, columns: torch.Size([rows, columns]),
    ],
)
def test_lists_and_tuples_are_the_same_in_a_shape(shown: Any) -> None:
    def compress(self: Grey, x: Tensor) -> dict[str, Any]:
        found = Grey.compress(self, x)
        return {**found, "shape": shown(*found["shape"])}

    assert codec_of({"compress": compress}).encode(WIDE, FIRST) == One(One.Params()).encode(WIDE, FIRST)


def test_as_many_zeros_follow_a_string_as_all_symbols_of_all_blocks_can_take() -> None:
    seen: list[Any] = []

    class Own(nn.Module):
        """Reads its string itself, and has two maps of 8 symbols for each block."""

        def __init__(self) -> None:
            super().__init__()
            self.bottleneck = EntropyBottleneck(2)

        def forward(self, x: Tensor) -> dict[str, Any]:
            maps = torch.ones(1, 2, x.shape[2] // 4, x.shape[3] // 4)
            return {"x_hat": x, "likelihoods": {"y": maps, "z": maps}}

        def compress(self, x: Tensor) -> dict[str, Any]:
            return {"strings": [[b"a"], [b"bc"]], "shape": (x.shape[2] // 8, x.shape[3] // 8)}

        def decompress(self, strings: Any, shape: Any) -> dict[str, Any]:
            seen.extend(part for parts in strings for part in parts)
            return {"x_hat": torch.zeros(1, 3, 8 * shape[0], 8 * shape[1])}

    class Read(One):
        """One of these."""

        def models(self) -> Sequence[nn.Module]:
            return [Own()]

    codec = Read(Read.Params()).eval()
    codec.decode(codec.encode(WIDE[:1], FIRST), (11, 29), FIRST)
    for string, began in zip(seen, (b"a", b"bc"), strict=True):
        assert string.startswith(began) and not any(string[len(began) :]) and string.string == began
        # 2 x 4 blocks of 8 + 8 symbols, of four bytes each, and an escape of so many words as the string has nibbles.
        assert len(string) - len(began) >= 2 * 4 * 16 * 4 + 2 * 4 * len(began)


def test_a_module_has_no_names_but_its_own() -> None:
    assert icm_core.wrap.ModelCodec is ModelCodec
    assert not hasattr(icm_core.wrap, "ModelCodecs")


class Three(One):
    """Three qualities; where models were made is kept."""

    def models(self) -> Sequence[nn.Module]:
        self.made_on = torch.get_default_device().type
        return [Grey(0.5), Grey(0.75), Grey()]


@pytest.mark.parametrize(("quality", "gain"), [(1, 0.5), (1.25, 0.5), (1.5, 0.75), (2.25, 0.75), (2.5, 1.0), (3, 1.0)])
def test_half_way_between_two_qualities_the_next_is_nearer(quality: float, gain: float) -> None:
    codec = Three(Three.Params()).eval()
    assert codec.quality_range == (1.0, 3.0) and One(One.Params()).quality_range == (1.0, 1.0)
    white = torch.ones(1, 3, 8, 8)
    assert codec.encode(white, Quality.of(quality)) == [bytes([round(200 * gain)] * 3)]
    found = codec(white, torch.tensor([quality])).side.levels[0]
    torch.testing.assert_close(found, torch.full((1, 3, 8, 8), gain))


def test_models_are_made_on_the_cpu_and_run_for_shapes_alone_whatever_the_qualities() -> None:
    with torch.device("meta"):
        codec = Three(Three.Params()).eval()
        out = codec(torch.empty(2, 3, 11, 29), torch.empty(2))
    assert codec.made_on == "cpu" and codec.place.type == "meta"
    assert out.side.levels[0].shape == (2, 3, 11, 29) and out.total_bits.shape == (2,)


def test_pictures_and_bits_are_float32_whatever_a_model_computes_in() -> None:
    class Doubled(Grey):
        """In double precision."""

        def forward(self, x: Tensor) -> dict[str, Any]:
            found = super().forward(x)
            return {"x_hat": found["x_hat"].double(), "likelihoods": {"y": found["likelihoods"]["y"].bfloat16()}}

        def decompress(self, strings: Any, shape: Any) -> dict[str, Any]:
            return {"x_hat": super().decompress(strings, shape)["x_hat"].double()}

    class Long(One):
        """One of these."""

        def models(self) -> Sequence[nn.Module]:
            return [Doubled()]

    codec = Long(Long.Params()).eval()
    out = codec(WIDE, torch.ones(2))
    decoded = codec.decode(codec.encode(WIDE, FIRST), (11, 29), FIRST).levels[0]
    assert out.side.levels[0].dtype == out.bits["y"].dtype == decoded.dtype == torch.float32


@pytest.mark.parametrize("error", [MemoryError("too much"), BitstreamError("of its own")])
def test_what_is_no_damage_and_what_says_so_itself_is_passed_on(error: Exception) -> None:
    def decompress(self: Grey, strings: Any, shape: Any) -> dict[str, Any]:
        raise error

    with pytest.raises(type(error)) as caught:
        codec_of({"decompress": decompress}).decode([b"."], (11, 29), FIRST)
    assert caught.value is error


def test_buffers_are_part_of_the_coding_state() -> None:
    class Kept(One):
        """With a number in a buffer, and one that is in no state."""

        def models(self) -> Sequence[nn.Module]:
            model = Grey()
            model.register_buffer("offset", torch.zeros(2))
            model.register_buffer("table", torch.zeros(2), persistent=False)
            return [model]

    codec = Kept(Kept.Params())
    before = codec.coding_state()
    codec.get_buffer("net.table").add_(1)
    assert codec.coding_state() == before
    codec.get_buffer("net.offset")[1] = 1
    after = codec.coding_state()
    codec.get_buffer("net.offset").copy_(torch.tensor([1.0, 0.0]))
    assert len({before, after, codec.coding_state()}) == 3


def test_a_state_that_lacks_something_is_refused() -> None:
    codec = One(One.Params())
    with pytest.raises(WeightsError, match=r"tests.grey cannot take these weights: .*Missing key.* \"gain\""):
        codec.load_trained({})
    with pytest.raises(WeightsError, match=r"Unexpected key.* \"loss\""):
        codec.load_trained({"gain": torch.tensor(2.0), "loss": torch.tensor(1.0)})
    codec.load_trained({"gain": torch.tensor(2.0)})
    assert float(codec.get_parameter("net.gain").detach()) == 2
