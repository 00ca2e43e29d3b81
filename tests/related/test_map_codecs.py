"""Codecs that send a label map: what they refuse, what the map is made of, and what other codecs are given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from icm_baselines.still import JPEG, WebP
from icm_core import BitstreamError, InputError, Quality, SpecError
from icm_core.coding.rans import MAX_SYMBOL
from icm_core.interfaces import ComponentParams, Nested, SideInfoAdapter, TaskHead
from icm_core.types import FeatureLayout, Features, Level, SideInfo, SideInfoLayout
from icm_core.wrap.strings import unpack
from icm_related.label_features import LabelFeatures
from icm_related.label_map import LabelMap
from icm_related.lossless import Lossless
from icm_related.steps import ClassSteps, OneStep
from icm_related.travelling import WithAnswer
from icm_sicmh.codec import Hyperprior

CLASSES = 4
ONE = Quality.of(1)
TOY = {"width": 8, "h1_channels": 8, "h2_channels": 4, "groups": 2, "context_channels": 8, "qualities": 4}


def made(cls: Any, *more: Any, **params: Any) -> Any:
    return cls(cls.Params(**params), *more)


class Blocks(TaskHead):
    """A segmentation network that looks around: bands of the mean red of blocks of 8 by 8."""

    name = "tests.blocks"
    kind = "segmentation"
    labels = tuple("abcd")

    def forward(self, features: Features) -> Tensor:
        red = features.cropped("image")[:, :1]
        mean = F.avg_pool2d(red, 8, ceil_mode=True, count_include_pad=False)
        wide = mean.repeat_interleave(8, 2).repeat_interleave(8, 3)[..., : red.shape[-2], : red.shape[-1]]
        return -(wide - torch.linspace(0.3, 0.7, CLASSES)[:, None, None]).abs()

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target, reduction="none").flatten(1).mean(1)


class Brightest(TaskHead):
    """A classifier: which colour a picture has most of."""

    name = "tests.brightest"
    kind = "classification"
    labels = ("red", "green", "blue")

    def forward(self, features: Features) -> Tensor:
        return features.cropped("image").mean((2, 3))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target, reduction="none")


class Grey(TaskHead):
    """A number for a picture: how bright it is."""

    name = "tests.grey"
    kind = "regression"
    labels = ("brightness",)

    def forward(self, features: Features) -> Tensor:
        return features.cropped("image").mean((2, 3))[:, :1]

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).square().mean(1)


class ThreeSteps(SideInfoAdapter):
    """Steps for three channels, which is neither one nor all."""

    name = "tests.three_steps"

    class Params(ComponentParams):
        """None."""

    @property
    def features(self) -> FeatureLayout:
        return {"steps": Level(3, 16)}

    def forward(self, side: SideInfo) -> Features:
        raise NotImplementedError


SEGMENTER: Any = Nested.of(Blocks)


@pytest.fixture
def x() -> Tensor:
    """Two smooth pictures of 8 bits, with another height than width and neither a multiple of 16."""
    generator = torch.Generator().manual_seed(3)
    smooth = F.interpolate(torch.rand(2, 3, 5, 6, generator=generator), (70, 90), mode="bilinear")
    return (smooth * 255).round().clamp(0, 255) / 255


def label_map(**params: Any) -> Any:
    return made(LabelMap, segmenter=SEGMENTER, **params).eval()


def label_features(**params: Any) -> Any:
    torch.manual_seed(0)
    return made(LabelFeatures, segmenter=SEGMENTER, width=8, channels=8, **params).eval()


# --- the map ---------------------------------------------------------------------------------------------------------


def test_a_coarser_map_is_what_the_network_says_of_the_whole_picture(x: Tensor) -> None:
    codec = label_map(map_stride=2)
    expected = codec.segmenter(Features({"image": x}, (70, 90))).argmax(1)[:, ::2, ::2]
    level = codec.decode(codec.encode(x, ONE), (70, 90), ONE).levels[0]
    assert len(expected.unique()) > 2 and torch.equal(level.argmax(1), expected)


def test_a_map_with_a_class_too_many_is_no_map() -> None:
    grey = torch.zeros(1, 3, 70, 90)
    grey[..., 5, 7] = CLASSES / 255
    with pytest.raises(BitstreamError, match="names a class that is none of 4"):
        label_map().decode(made(Lossless).encode(grey, ONE), (70, 90), ONE)


def test_a_codec_that_changes_labels_is_refused_before_it_writes_any(x: Tensor) -> None:
    with pytest.raises(InputError, match=r"baselines\.jpeg, gives other labels than it got"):
        label_map(map=Nested.of(JPEG, settings=(5,))).encode(x, ONE)


def test_a_maps_codec_gives_a_picture_and_nothing_else() -> None:
    more = Nested.of(WithAnswer, codec=Nested.of(Lossless), head=Nested.of(Brightest))
    with pytest.raises(SpecError, match="gives more or less than a picture"):
        label_map(map=more)


def test_only_a_segmentation_network_labels() -> None:
    with pytest.raises(SpecError, match=r"tests\.grey is a head of kind regression; it should be one of segmentation"):
        made(LabelMap, segmenter=Nested.of(Grey))


# --- the reduced picture ---------------------------------------------------------------------------------------------


def test_what_a_reduced_pictures_codec_hands_on_is_coarser_by_the_reduction() -> None:
    codec = label_map(reduction=2, picture=Nested.of(Hyperprior, **TOY))
    assert codec.layout == SideInfoLayout((Level(CLASSES, 1), Level(8, 64), Level(4, 128)), 8)


def test_a_reduced_picture_is_coded_at_the_quality_that_is_asked_for(x: Tensor) -> None:
    codec = label_map(reduction=2, picture=Nested.of(JPEG, settings=(10, 90)))
    small = F.avg_pool2d(x, 2)
    for number, setting in ((1, 10), (2, 90)):
        payloads = codec.encode(x, Quality.of(number))
        assert [unpack(one, 2)[1] for one in payloads] == made(JPEG, settings=(setting,)).encode(small, ONE)


def test_the_bits_are_those_of_the_map_and_of_the_picture(x: Tensor) -> None:
    codec = label_map(reduction=2, picture=Nested.of(JPEG, settings=(50,)))
    bits = codec(x, torch.ones(2)).bits
    expected = [[8 * len(part) for part in unpack(one, 2)] for one in codec.encode(x, ONE)]
    assert set(bits) == {"map", "picture"}
    assert torch.stack([bits["map"], bits["picture"]], 1).tolist() == expected


def test_a_reduced_picture_goes_on_as_at_its_edge() -> None:
    x = torch.randint(256, (2, 3, 70, 90), generator=torch.Generator().manual_seed(2)) / 255
    codec = label_map(reduction=4, picture=Nested.of(Lossless))
    level = codec.decode(codec.encode(x, ONE), (70, 90), ONE).levels[1]
    rows, columns = torch.arange(72).clamp(max=69), torch.arange(92).clamp(max=89)
    means = x[:, :, rows][..., columns].reshape(2, 3, 18, 4, 23, 4).double().mean((3, 5)) * 255
    torch.testing.assert_close(level.double() * 255, means, rtol=0, atol=0.501)  # of 8 bits


def test_the_reduced_pictures_codec_is_frozen_and_proven_with_the_rest() -> None:
    codec = label_map(reduction=2, picture=Nested.of(Hyperprior, **TOY)).requires_grad_(False)
    assert isinstance(codec.picture, Hyperprior) and not codec.picture.gain_h1.table.any()
    codec.freeze_tables()
    assert bool(codec.picture.gain_h1.table.all())
    assert list(codec.prove()) == codec.picture.prove() != []


def test_qualities_are_given_by_one_of_the_two_alone() -> None:
    for qualities in (2, 4, 6):
        with pytest.raises(SpecError, match="has qualities of its own, 1 to 4; give one of the two"):
            label_map(picture=Nested.of(Hyperprior, **TOY), qualities=qualities)


@pytest.mark.parametrize("red", [0.3, 0.45, 0.7])
def test_a_map_has_a_channel_for_every_class_whatever_is_in_it(red: float) -> None:
    codec, x = label_map(), torch.full((1, 3, 20, 30), red)
    number = round((red - 0.3) / 0.4 * 3)  # bands of tests.blocks
    for side in (codec(x, torch.ones(1)).side, codec.decode(codec.encode(x, ONE), (20, 30), ONE)):
        assert side.levels[0].shape == (1, CLASSES, 20, 30)
        assert side.levels[0].mean((0, 2, 3)).tolist() == [float(k == number) for k in range(CLASSES)]


@pytest.mark.parametrize("field", ["reduction", "map_stride"])
def test_steps_are_powers_of_two(field: str) -> None:
    for value in (1, 2, 4, 8, 16):
        assert getattr(LabelMap.Params(segmenter=SEGMENTER, **{field: value}), field) == value
    for value in (3, 6, 10, 12):
        with pytest.raises(ValueError, match=f"{value} is no power of two"):
            LabelMap.Params(segmenter=SEGMENTER, **{field: value})


def test_a_map_may_be_coarser_than_the_reduced_picture(x: Tensor) -> None:
    codec = label_map(reduction=2, map_stride=8, picture=Nested.of(Lossless))
    side = codec.decode(codec.encode(x, ONE), (70, 90), ONE)
    assert side.size == (70, 90)
    assert [tuple(level.shape) for level in side.levels] == [(2, CLASSES, 9, 12), (2, 3, 36, 48)]
    assert {level.dtype for level in side.levels} == {torch.float32}
    padded = F.pad(x, (0, 96 - 90, 0, 72 - 70), mode="replicate")
    torch.testing.assert_close(side.levels[1], F.avg_pool2d(padded, 2), rtol=0, atol=0.51 / 255)


class Asked(Lossless):
    """Notes the qualities that it is asked for."""

    name = "tests.asked"
    qualities: list[float]

    def encode(self, x: Tensor, quality: Quality) -> list[bytes]:
        self.qualities = [*getattr(self, "qualities", []), quality.value]
        return super().encode(x, quality)

    def decode(self, payloads: Sequence[bytes], size: tuple[int, int], quality: Quality) -> SideInfo:
        self.qualities = [*getattr(self, "qualities", []), quality.value]
        return super().decode(payloads, size, quality)


def test_a_reduced_pictures_codec_of_one_quality_is_asked_for_no_other(x: Tensor) -> None:
    codec = label_map(reduction=2, picture=Nested.of(Asked), qualities=4)
    side = codec.decode(codec.encode(x, Quality.of(3)), (70, 90), Quality.of(3))
    assert codec.picture.qualities == [1.0, 1.0] and side.size == (70, 90)
    codec.picture.register_forward_pre_hook(lambda _, given: asked.append(given[1].tolist()))
    asked: list[list[float]] = []
    codec(x, torch.tensor([3.0, 1.0]))
    assert asked == [[1.0, 1.0]]


# --- features --------------------------------------------------------------------------------------------------------


def test_features_are_handed_on_with_their_width_and_qualities() -> None:
    codec = label_features(qualities=7)
    assert codec.quality_range == (1, 7)
    wider = made(LabelFeatures, segmenter=SEGMENTER, width=12, channels=8)
    assert wider.layout == SideInfoLayout((Level(CLASSES, 1), Level(8, 16)), 12)


def test_features_far_out_are_held_within_what_a_stream_can_hold(x: Tensor) -> None:
    codec = label_features(quantiser=Nested.of(OneStep, start=-5.0))
    codec.freeze_tables()
    with torch.no_grad():
        codec.encoder[-1].bias.copy_(torch.tensor([2000.0, -2000.0] * 4))
    found = codec.decode(codec.encode(x, ONE), (70, 90), ONE).levels[1]
    assert found[:, 0].unique().tolist() == [MAX_SYMBOL / 32]
    assert found[:, 1].unique().tolist() == [-MAX_SYMBOL / 32]


def test_scales_are_held_within_what_training_holds_them_in() -> None:
    codec = label_features()
    with torch.no_grad():
        codec.log2_sigma.copy_(torch.tensor([30.0, -30.0, 19.5, 0.25] * 2).expand(CLASSES, 8))
    codec.freeze_tables()
    assert (codec.table[1, 2] / 4096).tolist() == [20, -20, 19.5, 0.25] * 2


def test_something_behind_the_symbols_of_features_is_refused(x: Tensor) -> None:
    codec = label_features()
    codec.freeze_tables()
    payloads = codec.encode(x, ONE)
    with pytest.raises(BitstreamError):
        codec.decode([payloads[0] + bytes(4), payloads[1]], (70, 90), ONE)


def test_another_codec_of_the_map_is_another_format() -> None:
    one, other = label_features(), label_features(map=Nested.of(WebP))
    other.load_state_dict(one.state_dict())
    assert one.coding_state() != other.coding_state()


def test_a_quantiser_has_a_step_for_all_channels_or_for_each() -> None:
    with pytest.raises(SpecError, match=r"it should give 'steps' with 1 or 8 channels at stride 16"):
        label_features(quantiser=Nested.of(ThreeSteps))


def test_in_training_the_rate_of_features_has_noise_and_what_is_decoded_has_none(x: Tensor) -> None:
    codec = label_features().train()
    x = x[..., :64, :80]
    one, two = (codec(x, torch.ones(2)) for _ in range(2))
    assert bool((one.bits["features"] != two.bits["features"]).all())
    assert torch.equal(one.side.levels[1], two.side.levels[1])


def test_a_step_learns_from_what_rounding_leaves(x: Tensor) -> None:
    """Of round((y - m) / 2^s) 2^s + m, with rounding passed straight through, d / ds is log 2 times (decoded - y)."""
    codec = label_features(quantiser=Nested.of(OneStep, start=-1.0))
    x = x[..., :64, :80]
    decoded = codec(x, torch.ones(2)).side.levels[1]
    weights = torch.rand(decoded.shape, generator=torch.Generator().manual_seed(1))
    (found,) = torch.autograd.grad((weights * decoded).sum(), codec.quantiser.log2_step)
    expected = math.log(2) * (weights * (decoded - codec.encoder(x))).sum()
    torch.testing.assert_close(found[0], expected.detach(), rtol=1e-3, atol=1e-4)


class Wide(OneStep):
    """Keeps what it is built for."""

    name = "tests.wide"

    def __init__(self, params: Any, layout: SideInfoLayout) -> None:
        super().__init__(params, layout)
        self.given = layout


def test_features_begin_with_mean_0_and_a_scale_of_16_and_their_quantiser_sees_the_map() -> None:
    codec = made(LabelFeatures, segmenter=SEGMENTER, width=12, channels=8, quantiser=Nested.of(Wide))
    assert codec.log2_sigma.shape == codec.mean.shape == (CLASSES, 8)
    assert codec.log2_sigma.unique().tolist() == [4.0] and codec.mean.unique().tolist() == [0.0]
    assert codec.quantiser.given == SideInfoLayout((Level(CLASSES, 1),), 12)


# --- steps -----------------------------------------------------------------------------------------------------------


def test_of_a_class_that_is_not_sent_features_are_the_mean_however_large(x: Tensor) -> None:
    codec = label_features(quantiser=Nested.of(ClassSteps, unsent=tuple(range(CLASSES))))
    with torch.no_grad():
        codec.encoder[-1].bias.fill_(2000.0)
        codec.mean.fill_(1.5)
    found = codec(x[..., :64, :80], torch.ones(2)).side.levels[1]
    torch.testing.assert_close(found, torch.full_like(found, 1.5))


def test_a_class_that_is_not_there_cannot_be_left_out() -> None:
    layout = SideInfoLayout((Level(CLASSES, 1),), 8)
    made(ClassSteps, layout, unsent=(3,))
    with pytest.raises(SpecError, match="unsent names class 4, and the map has the classes 0 to 3"):
        made(ClassSteps, layout, unsent=(4,))


@pytest.mark.parametrize("cls", [ClassSteps, OneStep])
def test_steps_are_made_of_a_map_of_full_size(cls: Any) -> None:
    with pytest.raises(SpecError, match="reads a label map of full size, and this one has stride 2"):
        made(cls, SideInfoLayout((Level(CLASSES, 2),), 8))


def test_of_two_classes_with_as_many_pixels_the_first_is_taken_in_training_too() -> None:
    """There a map is zeros and ones up to the last digits: its gradient is that of probabilities."""
    level = torch.zeros(1, CLASSES, 16, 16)
    level[:, 1, :8], level[:, 2, 8:] = 1 - 2**-20, 1 + 2**-20
    steps = made(ClassSteps, SideInfoLayout((Level(CLASSES, 1),), 8))
    with torch.no_grad():
        steps.log2_step.copy_(torch.arange(4.0))
        assert steps(SideInfo((level,), (16, 16))).maps["steps"].item() == 1
