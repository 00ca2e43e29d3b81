"""What cases feed components with, and what they make of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from pydantic import Field
from torch import Tensor, nn

from icm_baselines.pixels import Picture
from icm_core.interfaces import Codec, ComponentParams, Enhancement, Nested, SideInfoAdapter, TaskHead
from icm_core.kinds import Classification, Reconstruction
from icm_core.nests import paths, same
from icm_core.testing import AdapterCase, CodecCase, ConformanceError, EnhancementCase, HeadCase, KindCase
from icm_core.testing.cases.examples import Example, noise, pictures, qualities, side_information
from icm_core.testing.cases.kinds import as_trained, find_kind
from icm_core.types import CodecOutput, Features, Legend, Level, Prediction, SideInfo, SideInfoLayout
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


def test_the_pictures_that_answers_are_measured_by_are_those_that_a_head_should_decode() -> None:
    targets = HeadCase(Picture).predicted((20, 70)).targets
    expected = (255 * (0.9 * pictures((20, 70), 3) + 0.05)).round().to(torch.uint8)
    assert len(targets) == 3
    assert all(torch.equal(one, other) for one, other in zip(targets, expected, strict=True))


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


# --- what components are given ---------------------------------------------------------------------------------------


class Seeing(Codec):
    """Keeps what it is given; its side information is the picture at two strides."""

    name: ClassVar[str] = "test.seeing"

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.seen: list[Any] = []

    @property
    def layout(self) -> SideInfoLayout:
        return SideInfoLayout((Level(3, 16), Level(3, 32)), 4)

    @property
    def quality_range(self) -> tuple[float, float]:
        return 5.0, 7.0

    def side(self, x: Tensor, size: tuple[int, int]) -> SideInfo:
        return SideInfo((nn.functional.avg_pool2d(x, 16), nn.functional.avg_pool2d(x, 32)), size)

    def forward(self, x: Tensor, quality: Tensor) -> CodecOutput:
        self.seen.append((tuple(x.shape), quality.tolist()))
        one = torch.ones(len(x))
        return CodecOutput(self.side(x, (x.shape[-2], x.shape[-1])), {"large": 8 * one, "small": 2 * one})

    def encode(self, x: Tensor, quality: Any) -> list[bytes]:
        self.seen.append((tuple(x.shape), quality.value))
        return [b"."] * len(x)

    def decode(self, payloads: Any, size: tuple[int, int], quality: Any) -> SideInfo:
        self.seen.append((list(payloads), size, quality.value))
        return self.side(torch.zeros(len(payloads), 3, 32, 96), size)

    def coding_state(self) -> bytes:
        return b"seeing"


def test_a_codec_is_trained_at_whole_steps_and_codes_any_size() -> None:
    case = CodecCase(Seeing)
    codec = case.build()
    given = case.example(codec, (20, 70), 2)
    qualities_given = pytest.approx(given.qualities.tolist())
    assert given.quality.value == 6.0 and given.qualities.tolist() == pytest.approx([5.74, 6.48])
    found = case.run(codec, given)
    assert list(found) == ["side.levels[0]", "side.levels[1]", "bits['large']", "bits['small']"]
    assert codec.seen.pop() == ((2, 3, 32, 96), qualities_given)
    assert case.shapes(codec, given) == {
        "side.levels[0]": (2, 3, 2, 6),
        "side.levels[1]": (2, 3, 1, 3),
        "bits['large']": (2,),
        "bits['small']": (2,),
    }
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == case.shapes(codec, given)
    assert case.encode(codec, given) == [b".", b"."] and codec.seen.pop() == ((2, 3, 20, 70), 6.0)
    decoded = case.decode(codec, (b".", b"!"), given)
    assert list(decoded) == ["side.levels[0]", "side.levels[1]"]
    assert codec.seen.pop() == ([b".", b"!"], (20, 70), 6.0)
    reference, bits = case.reference(codec, given)
    assert list(reference) == list(decoded) and bits.tolist() == [10, 10]
    assert codec.seen.pop() == ((2, 3, 32, 96), [6.0, 6.0])
    assert list(case.answers(codec, given)) == list(found)
    larger = case.aligned(codec, given)
    assert larger.size == (32, 96) and larger.qualities is given.qualities
    assert torch.equal(larger.pictures[..., :20, :70], given.pictures)
    assert torch.equal(larger.pictures[..., 20:, 5], given.pictures[..., 19:, 5].expand(2, 3, 12))
    assert case.aligned(codec, larger) is larger


def test_an_adapter_is_given_a_picture_for_each_of_its_batch_and_all_of_its_maps_count() -> None:
    case = AdapterCase(Reading, layout=LAYOUT)
    adapter = case.build()
    given = case.example(adapter, (20, 70), 3)
    assert given.side is not None and torch.equal(given.side.pictures["coarse"], given.pictures)
    assert len(given.pictures) == 3
    found = case.run(adapter, given)
    assert list(found) == ["image", "fused"]
    weights = {name: noise(tuple(maps.shape[1:]), 3, 7) for name, maps in found.items()}
    expected = sum((weights[name].double() * maps.double()).sum() for name, maps in found.items())
    torch.testing.assert_close(case.objective(adapter, given).double(), expected, rtol=1e-4, atol=1e-3)


class Layered(Bright):
    """Keeps what it is given."""

    name: ClassVar[str] = "test.layered"

    def forward(self, x: Tensor, coarse: Tensor, side: SideInfo, quality: Tensor) -> tuple[Tensor, Tensor]:
        self.seen = (x, coarse, side, quality)
        return x - coarse, x.flatten(1).sum(1)

    def encode(self, x: Tensor, coarse: Tensor, side: SideInfo, quality: Any) -> list[bytes]:
        self.seen = (x, coarse, side, quality)
        return [b"", b"."]

    def decode(self, payloads: Any, coarse: Tensor, side: SideInfo, quality: Any) -> Tensor:
        self.seen = (payloads, coarse, side, quality)
        return coarse / 2


def test_an_enhancement_is_given_the_picture_its_base_and_side_information() -> None:
    case = EnhancementCase(Layered, layout=LAYOUT)
    enhancement = case.build()
    given = case.example(enhancement, (20, 70), 2)
    assert given.coarse is not None and given.side is not None
    expected = {"refined pictures": given.pictures - given.coarse, "bits": given.pictures.sum((1, 2, 3))}
    for name, tensor in case.run(enhancement, given).items():
        torch.testing.assert_close(tensor, expected.pop(name))
    assert not expected
    trained = (given.pictures, given.coarse, given.side, given.qualities)
    assert all(one is other for one, other in zip(enhancement.seen, trained, strict=True))
    assert case.shapes(enhancement, given) == {"refined pictures": (2, 3, 20, 70), "bits": (2,)}
    assert case.encode(enhancement, given) == [b"", b"."]
    coded = (given.pictures, given.coarse, given.side, given.quality)
    assert all(one is other for one, other in zip(enhancement.seen, coded, strict=True))
    decoded = case.decode(enhancement, (b"", b"."), given)
    assert torch.equal(decoded["refined pictures"], given.coarse / 2) and len(decoded) == 1
    payloads, *seen = enhancement.seen
    assert payloads == [b"", b"."] and all(one is other for one, other in zip(seen, coded[1:], strict=True))
    # The base is a blurred picture: the mean of 5x5 pixels, continued by its edge.
    mean = given.pictures[..., 5:10, 30:35].mean((-2, -1))
    torch.testing.assert_close(given.coarse[..., 7, 32], mean)
    corner = given.pictures[..., [0, 0, 0, 1, 2], :][..., [0, 0, 0, 1, 2]].mean((-2, -1))
    torch.testing.assert_close(given.coarse[..., 0, 0], corner)


def test_each_level_of_side_information_has_numbers_of_its_own() -> None:
    first, second = side_information(SideInfoLayout((Level(2, 16), Level(2, 16)), 4), (20, 70), 2).levels
    assert not torch.equal(first, second) and not torch.equal(first[0], first[1])


class Chosen(Watched):
    """Parameters choose the kind; the output is a nest."""

    name: ClassVar[str] = "test.chosen"
    requires = ("image", "fused")

    class Params(ComponentParams):
        """One."""

        values: bool = Field(False, description="values in place of classes")

    @classmethod
    def kind_of(cls, params: Any) -> str:
        return "regression" if params.values else "classification"

    def forward(self, features: Features) -> Any:
        found = super().forward(features)
        return {"scores": found, "parts": [{"boxes": found + 1}, {"boxes": found + 2}]}

    def losses(self, features: Features, target: Any) -> Tensor:
        return 2.0 * torch.arange(len(features.maps["image"]))


FUSED = {"image": Level(3, 1), "fused": Level(4, 8), "more": Level(4, 8)}


def test_a_head_is_given_the_maps_of_its_case_and_no_others() -> None:
    case = HeadCase(Chosen, features=FUSED, alignment=32)
    assert case.layout == FUSED
    assert HeadCase(Chosen, features={"fused": Level(4, 8)}).layout == {"fused": Level(4, 8)}
    assert HeadCase(Watched).layout == {"image": Level(3, 1)}
    assert HeadCase(Watched, features={}).layout == {}
    given = case.example(case.build(), (20, 70), 2)
    assert given.features is not None and given.features.size == (20, 70)
    maps = given.features.maps
    assert {name: tuple(one.shape) for name, one in maps.items()} == {
        "image": (2, 3, 32, 96),
        "fused": (2, 4, 4, 12),
        "more": (2, 4, 4, 12),
    }
    assert torch.equal(maps["image"], pictures((32, 96), 2)) and given.pictures.shape == (2, 3, 20, 70)
    assert not torch.equal(maps["fused"], maps["more"])


def test_the_kind_is_that_of_the_cases_parameters() -> None:
    kinds = [HeadCase(Chosen, {"values": values}, features=FUSED).answering.name for values in (True, False)]
    assert kinds == ["regression", "classification"]


def test_tensors_of_an_output_are_named_by_where_they_are() -> None:
    case = HeadCase(Chosen, features=FUSED)
    head = case.build()
    found = case.run(head, case.example(head, (20, 70), 2))
    assert list(found) == ["output.scores", "output.parts[0].boxes", "output.parts[1].boxes"]
    torch.testing.assert_close(found["output.parts[1].boxes"], found["output.scores"] + 2)
    plain = HeadCase(Watched)
    assert list(plain.run(plain.build(), plain.example(plain.build(), (20, 70), 2))) == ["output"]

    class Listed(Chosen):
        def forward(self, features: Features) -> Any:
            return super().forward(features)["parts"]

    listed = HeadCase(Listed, features=FUSED)
    assert list(listed.run(listed.build(), given := listed.example(listed.build(), (20, 70), 2))) == [
        "output[0].boxes",
        "output[1].boxes",
    ]
    assert list(listed.answers(listed.build(), given)) == ["output", "prediction"]


def test_a_head_is_trained_by_the_mean_of_its_own_losses() -> None:
    case = HeadCase(Chosen, features=FUSED)
    head = case.build()
    assert float(case.objective(head, case.example(head, (20, 70), 3))) == 2.0
    assert case.one_pass and not HeadCase(Watched).one_pass

    class Below(Chosen):
        """Has its losses from the class above."""

    assert HeadCase(Below).one_pass


def test_a_head_is_asked_with_the_legend_of_its_case_before_its_own() -> None:
    own, given = HeadCase(Watched), HeadCase(Watched, legend=Legend(("a", "b")))
    assert own.words(own.build()).labels == ("one", "two", "three")
    assert given.words(given.build()) == Legend(("a", "b"))


def test_pictures_of_answers_are_those_of_their_size() -> None:
    shown = HeadCase(Watched).predicted((20, 70)).pictures
    assert [one.size for one in shown] == [(70, 20)] * 3
    expected = (255 * pictures((20, 70), 3)).round().byte().permute(0, 2, 3, 1)
    for one, pixels in zip(shown, expected, strict=True):
        assert one.mode == "RGB" and torch.equal(torch.from_numpy(np.array(one)), pixels)


# --- what cases refuse -----------------------------------------------------------------------------------------------


def test_a_case_is_of_its_contract_alone() -> None:
    with pytest.raises(TypeError, match="Watched is not a Codec; use the case of its contract"):
        CodecCase(Watched)
    with pytest.raises(TypeError, match="Classification is not a TaskHead"):
        HeadCase(Classification)


def test_a_class_without_a_name_goes_by_that_of_the_class() -> None:
    class Nameless(TaskHead):
        """Whose name somebody forgot."""

    assert HeadCase(Nameless).name == "Nameless" and HeadCase(Watched).name == "test.watched"


@pytest.mark.parametrize("params", [{"values": "perhaps"}, {"value": True}])
def test_parameters_that_a_component_does_not_take_are_the_cases_mistake(params: dict[str, object]) -> None:
    with pytest.raises(ConformanceError, match=r"(?s)test.chosen.Params does not take .* Give the case parameters"):
        HeadCase(Chosen, params, features=FUSED).build()


class Bounded(Watched):
    """A bound that may be left out, and a number that may not."""

    class Params(ComponentParams):
        """Two."""

        most: int | None = Field(5, description="the bound, or none")
        steps: int = Field(3, description="the number")


def test_none_is_given_to_a_component_as_any_other_value() -> None:
    assert HeadCase(Bounded).settings().most == 5
    assert HeadCase(Bounded, {"most": None}).settings().most is None
    with pytest.raises(ConformanceError, match=r"(?s)test\.watched\.Params does not take \{'steps': None\}: "):
        HeadCase(Bounded, {"steps": None}).settings()


def test_components_inside_of_parameters_are_looked_up() -> None:
    class Outer(Seeing):
        """Has a codec in it."""

        class Params(ComponentParams):
            """One."""

            inner: Nested[Codec] = Field(description="the codec inside")

    case = CodecCase(Outer, {"inner": {"use": "baselines.jpeg"}})
    assert case.settings().inner.use == "baselines.jpeg"
    assert CodecCase(Outer).validated({"inner": {"use": "baselines.jpeg"}}).inner.use == "baselines.jpeg"
    with pytest.raises(ConformanceError, match=r"test.seeing.Params does not take .*baselines.jpg"):
        CodecCase(Outer, {"inner": {"use": "baselines.jpg"}}).settings()


# --- kinds -----------------------------------------------------------------------------------------------------------


class Ours(Classification):
    """A kind that is not installed."""

    name: ClassVar[str] = "test.ours"


def test_a_kind_is_the_cases_own_or_one_of_the_cores_or_an_installed_one() -> None:
    own = Ours()
    assert find_kind("test.ours", own, "x") is own and type(find_kind("test.ours", Ours, "x")) is Ours
    assert type(find_kind("classification", None, "x")) is Classification
    assert type(find_kind("detection", None, "x")) is Detection
    for given in (Ours, own):
        with pytest.raises(ConformanceError, match=r"x.kind is 'detection', and its case has the kind 'test.ours'"):
            find_kind("detection", given, "x")
    for name in ("test.ours", "mylab.classification", "mylab.detection", "", None):
        with pytest.raises(ConformanceError, match=r"x.kind is .* is installed \(.*detection.*\), or give the case"):
            find_kind(name, None, "x")


def test_example_targets_depend_on_their_number_alone() -> None:
    legend = Legend(("a", "b", "c"))
    case = KindCase(Detection, legend=legend)
    expected = [
        Detection().example_target((40, 50), legend, torch.Generator().manual_seed(seed)) for seed in (50, 51, 52)
    ]
    assert [same(found, one) for found, one in zip(case.targets((40, 50)), expected, strict=True)] == [True] * 3
    assert same(case.targets((40, 50), 2), expected[:2])
    assert type(case.build()) is Detection


def test_what_is_not_augmented_keeps_its_place() -> None:
    """A box in the lower right of a picture that is wider than high is wrapped and unwrapped with the same size."""
    target = {"boxes": torch.tensor([[60.0, 20, 69, 29]]), "labels": torch.tensor([1])}
    found = as_trained(Detection(), target, (30, 70), Legend(("a", "b")))
    assert found["boxes"].tolist() == [[60, 20, 69, 29]] and found["labels"].tolist() == [1]


def test_a_kind_without_truth_that_is_a_picture_is_right_with_the_picture() -> None:
    class Plain(Reconstruction):
        """Without truth."""

        name: ClassVar[str] = "test.plain"

        def truth(self, target: Any, legend: Legend) -> None:
            return None

    target = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1).expand(3, 4, 5)
    found = KindCase(Plain).right(target, (4, 5))
    assert found.kind == "test.plain" and found.output.shape == (1, 3, 4, 5)
    assert found.output[0, :, 2, 3].tolist() == pytest.approx([0, 0.2, 1])
    own = Prediction("mine", target)
    case = KindCase(Plain, predict=lambda *given: own if given == (target, (4, 5), Legend()) else found)
    assert case.right(target, (4, 5)) is own
