"""What cases feed components with, and what they make of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from icm_baselines.pixels import Picture
from icm_core.interfaces import Enhancement, SideInfoAdapter, TaskHead
from icm_core.kinds import Classification, Reconstruction
from icm_core.nests import paths
from icm_core.testing import AdapterCase, CodecCase, EnhancementCase, HeadCase, KindCase
from icm_core.testing.cases.examples import Example, noise, pictures, qualities, side_information
from icm_core.types import Features, Legend, Level, SideInfo, SideInfoLayout
from icm_sicmh.codec import Hyperprior
from icm_tasks.kinds import Detection

CODEC = {"width": 8, "h1_channels": 16, "h2_channels": 8, "groups": 4, "context_channels": 8, "qualities": 4}
LAYOUT = SideInfoLayout((Level(3, 8), Level(2, 16)), 4)


class Watched(TaskHead):
    """A head that says what became of it."""

    name: ClassVar[str] = "test.watched"
    kind = "classification"

    def __init__(self, params: Any, features: Any) -> None:
        super().__init__(params, features)
        self.linear = nn.Linear(3, 3)
        self.prepared = False

    def forward(self, features: Features) -> Tensor:
        found: Tensor = self.linear(features.cropped("image").mean((2, 3)))
        return found

    @property
    def labels(self) -> tuple[str, ...]:
        return ("one", "two", "three")

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output, target, reduction="none")


class Bright(Enhancement):
    """Refines everything to twice what there was, at 7 bits a picture."""

    name: ClassVar[str] = "test.bright"
    frozen = False
    seen: Any = None

    @property
    def quality_range(self) -> tuple[float, float]:
        return 8.0, 9.0

    def forward(self, x: Tensor, coarse: Tensor, side: SideInfo, quality: Tensor) -> tuple[Tensor, Tensor]:
        self.seen = quality
        return 2 * x - 0.5, torch.full((len(x),), 7.0)

    def encode(self, x: Tensor, coarse: Tensor, side: SideInfo, quality: Any) -> list[bytes]:
        return [b""] * len(x)

    def decode(self, payloads: Any, coarse: Tensor, side: SideInfo, quality: Any) -> Tensor:
        return coarse

    def freeze_tables(self) -> None:
        self.frozen = True

    def coding_state(self) -> bytes:
        return b"bright"


class Reading(SideInfoAdapter):
    """Reads a decoded picture."""

    name: ClassVar[str] = "test.reading"

    @property
    def needs(self) -> tuple[str, ...]:
        return ("coarse",)

    @property
    def features(self) -> dict[str, Level]:
        return {"image": Level(3, 1), "fused": Level(3, 8)}

    def forward(self, side: SideInfo) -> Features:
        return Features({"image": side.pictures["coarse"], "fused": side.levels[0]}, side.size)


def prepared(component: Any) -> None:
    component.prepared = True


def test_a_component_is_built_in_eval_mode_with_weights_from_a_seed_and_prepared() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    case = HeadCase(Watched, prepare=prepared)
    zero, again, one = (case.build(seed).linear.weight for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)  # nobody else's numbers are used up
    assert torch.equal(zero, again)
    assert not torch.equal(zero, one)
    assert not case.build().training
    assert case.build().prepared
    assert not case.build(bare=True).prepared


def test_coding_tables_are_made_but_for_a_bare_component() -> None:
    case = EnhancementCase(Bright)
    assert case.build().frozen
    assert not case.build(bare=True).frozen


def test_every_picture_is_another_and_the_same_in_every_batch() -> None:
    three = pictures((20, 70), 3)
    assert three.shape == (3, 3, 20, 70)
    assert 0 <= three.min() < 0.2 < 0.8 < three.max() <= 1
    assert torch.equal(three[:2], pictures((20, 70), 2))
    assert not torch.equal(three[0], three[1])
    assert not torch.equal(three[:1, :, :20, :20], pictures((20, 20), 1))
    values = noise((4, 5), 3, 9)
    assert torch.equal(values[:2], noise((4, 5), 2, 9))
    assert not torch.equal(values[0], values[1])
    assert not torch.equal(values[0], noise((4, 5), 1, 10)[0]) or torch.equal(noise((4, 5), 1, 10)[0], values[1])


def test_qualities_are_inside_of_the_range_and_differ() -> None:
    middle, each = qualities(2.0, 6.0, 4)
    assert middle.value == 4.0
    assert each.tolist() == pytest.approx([3.48, 4.96, 2.44, 3.92])


def test_side_information_is_that_of_the_padded_picture() -> None:
    side = side_information(LAYOUT, (20, 70), 2)
    assert [tuple(level.shape) for level in side.levels] == [(2, 3, 4, 10), (2, 2, 2, 5)]
    assert side.size == (20, 70)


def example() -> Example:
    case = AdapterCase(Reading, layout=LAYOUT)
    found = case.example(case.build(), (20, 70), 3)
    maps = Features({"image": pictures((32, 80), 3)}, (20, 70))
    return replace(found, features=maps, coarse=0.5 * found.pictures, target=torch.tensor([4, 5, 6]))


def tensors(one: Example) -> dict[str, Tensor]:
    assert one.side is not None
    assert one.features is not None
    parts = {"levels": list(one.side.levels), "beside": one.side.pictures, "maps": one.features.maps}
    return paths({"x": one.pictures, "q": one.qualities, "coarse": one.coarse, "target": one.target, **parts})


def test_one_picture_of_an_example_has_all_that_is_its_own() -> None:
    whole = example()
    before, after = tensors(whole), tensors(whole.one(2))
    assert before.keys() == after.keys()
    assert {"beside.coarse", "levels[1]", "maps.image", "coarse", "target", "q", "x"} <= before.keys()
    assert all(torch.equal(after[where], before[where][2:]) for where in before)


def test_an_example_moves_as_a_whole() -> None:
    assert {tensor.device.type for tensor in tensors(example().to("meta")).values()} == {"meta"}


def test_a_codec_is_trained_by_its_bits_and_by_its_side_information() -> None:
    case = CodecCase(Hyperprior, CODEC)
    codec = case.build()
    given = case.example(codec, (64, 128), 2)
    with torch.no_grad():
        out = codec(given.pictures, given.qualities)
        energy = sum((level**2).sum() for level in out.side.levels)
        bits = sum(bits.sum() for bits in out.bits.values())
        assert float(energy) > 0
        torch.testing.assert_close(case.objective(codec, given), bits + energy)


def test_a_codecs_reference_has_the_one_quality_that_is_coded_with() -> None:
    case = CodecCase(Hyperprior, CODEC)
    codec = case.build()
    given = case.example(codec, (64, 64), 2)
    assert given.quality.value not in given.qualities.tolist()
    with torch.no_grad():
        _, bits = case.reference(codec, given)
        expected = codec(given.pictures, torch.full((2,), given.quality.value)).total_bits
    assert torch.equal(bits, expected)


def test_an_enhancement_is_given_qualities_of_its_own_range() -> None:
    case = EnhancementCase(Bright)
    enhancement = case.build()
    given = case.example(enhancement, (20, 70), 2)
    assert given.quality.value == 8.5
    assert all(8 < value < 9 for value in given.qualities.tolist())
    refined, bits = case.reference(enhancement, given)
    assert enhancement.seen.tolist() == [8.5, 8.5]
    assert torch.equal(refined["refined pictures"], (2 * given.pictures - 0.5).clip(0, 1))
    assert bits.tolist() == [7.0, 7.0]


def test_an_enhancement_is_trained_by_its_error_and_by_its_bits() -> None:
    case = EnhancementCase(Bright)
    enhancement = case.build()
    given = case.example(enhancement, (20, 70), 2)
    error = ((given.pictures - 0.5) ** 2).sum()
    torch.testing.assert_close(case.objective(enhancement, given), error + 14)


def test_only_maps_that_are_decoded_pictures_may_be_without_the_padding() -> None:
    case = AdapterCase(Reading, layout=LAYOUT)
    adapter = case.build()
    given = case.example(adapter, (20, 70), 2)
    assert case.shapes(adapter, given) == {"image": (2, 3, None, None), "fused": (2, 3, 4, 10)}


def test_a_head_is_asked_about_each_picture_by_itself() -> None:
    case = HeadCase(Watched)
    head = case.build()
    answers = case.predicted((20, 70))
    with torch.no_grad():
        together = head(case.example(head, (20, 70), 3).features)
    assert len(answers.predictions) == 3
    for one, row in zip(answers.predictions, together, strict=True):
        torch.testing.assert_close(one.output, row[None])
    assert not torch.equal(together[0], together[1])


def test_the_picture_that_a_head_should_decode_is_not_the_one_that_it_is_given() -> None:
    case = HeadCase(Picture)
    given = case.example(case.build(), (20, 70), 2)
    torch.testing.assert_close(given.target, 0.9 * given.pictures + 0.05)


def test_what_finds_things_may_answer_in_another_order() -> None:
    assert HeadCase(Watched).unordered() is False
    assert HeadCase(Boxes).unordered() is True


class Boxes(Watched):
    kind = "detection"


def test_a_kind_is_tried_with_labels_only_where_it_needs_them() -> None:
    assert KindCase(Reconstruction).words == Legend()
    assert KindCase(Classification).words == Legend(("first", "second", "third"))
    assert KindCase(Classification, legend=Legend(("a", "b"))).words == Legend(("a", "b"))


def test_example_targets_differ_and_predictions_are_those_of_the_next_picture() -> None:
    case = KindCase(Reconstruction)
    answers = case.predicted((20, 33))
    one, two, three = answers.targets
    assert not torch.equal(one, two)
    assert not torch.equal(two, three)
    for prediction, target in zip(answers.predictions, (two, three, one), strict=True):
        torch.testing.assert_close(prediction.output, target[None] / 255)
    assert KindCase(Detection).build().ragged
