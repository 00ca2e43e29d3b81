"""What the contracts do by themselves, for all who implement them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import Field, JsonValue, ValidationError
from torch import Generator, Tensor
from torchvision import tv_tensors

from icm_core import InputError
from icm_core.interfaces import (
    ComponentParams,
    DataSet,
    DataSetParams,
    Figure,
    Nest,
    Sample,
    Tally,
    TaskHead,
    TaskKind,
)
from icm_core.quality import Quality
from icm_core.types import Colour, FeatureLayout, Features, Legend, Level, Prediction

# --- parameters ------------------------------------------------------------------------------------------------------


class Scale(ComponentParams):
    """Parameters of nothing."""

    factor: float = Field(1.0, description="a factor")


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_no_parameter_is_endless_or_not_a_number(value: float) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        Scale(factor=value)


def test_parameters_cannot_be_changed_or_made_up() -> None:
    params = Scale(factor=2.5)
    with pytest.raises(ValidationError, match="frozen"):
        params.factor = 3.0
    with pytest.raises(ValidationError, match="not permitted"):
        Scale.model_validate({"factor": 1, "faktor": 2})
    assert params.factor == 2.5


# --- codecs ----------------------------------------------------------------------------------------------------------


def with_encoders(tiny: ModuleType) -> Any:
    """The tiny codec as if it had two encoders."""
    cls = type("Two", (tiny.Thumbnail,), {"encoders": ("fast", "deep")})
    return cls(tiny.Thumbnail.Params(steps=5))


def test_a_codec_with_another_encoder_shares_its_weights_and_is_another_object(tiny: ModuleType) -> None:
    codec = with_encoders(tiny)
    deep = codec.with_encoder("deep")
    assert (codec.chosen_encoder, deep.chosen_encoder) == ("", "deep")
    assert deep.mix is codec.mix and deep.table is codec.table and deep.params is codec.params
    assert (deep.with_encoder("fast").chosen_encoder, deep.chosen_encoder) == ("fast", "deep")


def test_an_encoder_that_a_codec_does_not_have_is_refused(tiny: ModuleType) -> None:
    with pytest.raises(InputError, match=r"codec 'tiny\.thumbnail' has no encoder 'slow'; known: fast, deep$"):
        with_encoders(tiny).with_encoder("slow")
    with pytest.raises(InputError, match=r"has no encoder 'deep'; known: it has one, without a name$"):
        tiny.Thumbnail(tiny.Thumbnail.Params()).with_encoder("deep")


def test_side_information_comes_with_the_bytes_as_they_decode(tiny: ModuleType) -> None:
    codec = tiny.Thumbnail(tiny.Thumbnail.Params())
    x = torch.rand(2, 3, 20, 50, generator=torch.Generator().manual_seed(0))
    payloads, side = codec.encode_with_side(x, Quality.of(2))
    assert payloads == codec.encode(x, Quality.of(2))
    assert side.size == (20, 50) and [tuple(level.shape) for level in side.levels] == [(2, 3, 4, 8), (2, 3, 2, 4)]


# --- data sets -------------------------------------------------------------------------------------------------------


class Distances(DataSet):
    """Made-up distances."""

    name: ClassVar[str] = "tests.distances"
    kind = "depth"
    unit = "m"
    labels = ("far",)
    ignore_index = 0.0

    def __len__(self) -> int:
        return 0

    def __getitem__(self, number: int) -> Sample:
        raise IndexError(number)


def test_a_data_set_tells_what_its_targets_mean_and_where_it_is(tmp_path: Path) -> None:
    data = Distances(Distances.Params(size=None), tmp_path / "lab", "val")
    assert data.legend == Legend(("far",), (), (), "m", 0.0)
    assert (data.root, data.split) == (tmp_path / "lab", "val")


@pytest.mark.parametrize(
    ("given", "expected"),
    [(65535, 65535), ([3, 65535], (3, 65535)), ((7, 5), (7, 5)), ("12x34", (12, 34)), (1, 1), (None, None)],
)
def test_a_size_is_one_side_or_height_before_width(given: object, expected: object) -> None:
    found = DataSetParams.model_validate({"size": given}).size
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize("size", ["012x34", "12x034", "12x34x", " 12x34", "+12x34", 65536, [65536, 1], True])
def test_what_only_looks_like_a_size_is_refused(size: object) -> None:
    with pytest.raises(ValidationError, match="shorter side"):
        DataSetParams.model_validate({"size": size})


# --- heads -----------------------------------------------------------------------------------------------------------


class Told(TaskHead):
    """Answers with two sums of its map; training looks at a second output."""

    name: ClassVar[str] = "tests.told"
    kind = "regression"
    labels = ("left", "right")
    aliases = (("links", "rechts"),)
    colours: tuple[Colour, ...] = ((1, 2, 3), (4, 5, 6))
    unit = "m"

    def forward(self, features: Features) -> Tensor:
        return features.maps["image"].flatten(1)[:, :2]

    def loss(self, output: Nest, target: Nest) -> Tensor:
        found: Tensor = (output - target).abs().sum(1)
        return found


class Deep(Told):
    """Has an auxiliary output that counts less."""

    def outputs(self, features: Features) -> tuple[tuple[float, Nest], ...]:
        found = self(features)
        return (1.0, found), (0.25, found + 8)


def head(cls: type[TaskHead], **layout: Level) -> TaskHead:
    return cls(cls.Params(), layout or {"image": Level(3, 1)})


FEATURES = Features({"image": torch.tensor([[[[1.0, 2.0]]] * 3, [[[3.0, 5.0]]] * 3])}, (1, 2))
TARGET = torch.tensor([[1.0, 0.0], [0.0, 5.0]])


def test_a_heads_answer_carries_its_legend() -> None:
    told = head(Told)
    assert told.legend == Legend(("left", "right"), (("links", "rechts"),), ((1, 2, 3), (4, 5, 6)), "m")
    found = told.predict(FEATURES)
    assert (found.kind, found.labels, found.colours, found.unit) == ("regression", told.labels, told.colours, "m")
    assert found.output.tolist() == [[1.0, 2.0], [3.0, 5.0]]
    shown = told.picture(FEATURES)
    assert isinstance(shown, Tensor) and torch.equal(shown, found.output)


def test_the_loss_of_a_picture_is_that_of_its_one_output_or_of_all_by_weight() -> None:
    plain = head(Told)
    assert [weight for weight, _ in plain.outputs(FEATURES)] == [1.0]
    assert plain.losses(FEATURES, TARGET).tolist() == [2.0, 3.0]
    # |1 + 8 - 1| + |2 + 8 - 0| = 18 and |3 + 8 - 0| + |5 + 8 - 5| = 19, a quarter of each.
    assert head(Deep).losses(FEATURES, TARGET).tolist() == [2.0 + 4.5, 3.0 + 4.75]


@pytest.mark.parametrize(
    ("requires", "layout", "expected"),
    [
        (("image",), {"image": Level(3, 1)}, True),
        (("image",), {"image": Level(3, 1), "latent": Level(8, 16)}, True),
        (("image", "latent"), {"image": Level(3, 1), "latent": Level(8, 16)}, False),
        (("image",), {"image": Level(3, 2)}, False),
        (("image",), {"image": Level(1, 1)}, False),
    ],
)
def test_a_head_reads_pictures_if_one_in_full_size_is_all_that_it_needs(
    requires: tuple[str, ...], layout: FeatureLayout, expected: bool
) -> None:
    cls = type("Some", (Told,), {"requires": requires})
    assert head(cls, **layout).reads_pictures is expected


# --- kinds -----------------------------------------------------------------------------------------------------------


class Sums(TaskKind):
    """Numbers; its figures are sums of what was counted, and some pictures have no count."""

    name: ClassVar[str] = "sums"

    def check_target(self, target: Nest, size: tuple[int, int], legend: Legend) -> None:
        raise NotImplementedError

    def example_target(self, size: tuple[int, int], legend: Legend, generator: Generator) -> Nest:
        raise NotImplementedError

    def answer(self, prediction: Prediction) -> dict[str, JsonValue]:
        raise NotImplementedError

    def describe(self, prediction: Prediction) -> str:
        raise NotImplementedError

    def draw(self, prediction: Prediction, picture: Image.Image) -> Image.Image | None:
        raise NotImplementedError

    def tally(self, prediction: Prediction, target: Nest) -> Tally:
        raise NotImplementedError

    def figures(self, tallies: Sequence[Tally], legend: Legend) -> dict[str, Figure]:
        counts = [float(str(one["count"])) for one in tallies if one["count"] is not None]
        found = {"sum": Figure(sum(counts) if counts else None)}
        return {**found, "rare": Figure(7.0)} if 100.0 in counts else found


class Things(Sums):
    """The same of things whose number differs."""

    ragged: ClassVar[bool] = True


def test_figures_of_drawn_pictures_count_each_as_often_as_it_was_drawn() -> None:
    tallies: list[Tally] = [{"count": 0}, {"count": 10}, {"count": None}, {"count": 100}]
    drawn = np.array([[1, 3, 0, 0], [2, 0, 0, 0], [0, 0, 2, 0], [0, 1, 0, 2]], dtype=np.float64)
    found = Sums().resampled(tallies, Legend(), drawn)
    np.testing.assert_array_equal(found["sum"], [30.0, 0.0, np.nan, 210.0])
    np.testing.assert_array_equal(found["rare"], [np.nan, np.nan, np.nan, 7.0])


def test_targets_are_stacked_unless_the_number_of_things_differs() -> None:
    one, other = torch.ones(2), torch.zeros(2)
    assert Sums().collate([one, other]).tolist() == [[1.0, 1.0], [0.0, 0.0]]
    found = Things().collate([torch.ones(1), torch.zeros(3)])
    assert isinstance(found, tuple) and [len(target) for target in found] == [1, 3]


def test_some_pictures_of_a_batch_are_chosen_in_the_order_asked_for() -> None:
    pair = (torch.tensor([1, 2, 3]), torch.tensor([[4], [5], [6]]))  # two tensors of three pictures each
    first, second = Sums().select(pair, [2, 0])
    assert (first.tolist(), second.tolist()) == ([3, 1], [[6], [4]])
    of_three = [torch.ones(1), torch.ones(2), torch.ones(3)]  # three pictures with one tensor each
    for batch in (of_three, tuple(of_three)):
        chosen = Things().select(batch, [2, 0])
        assert type(chosen) is type(batch) and [len(target) for target in chosen] == [3, 1]


def test_what_an_augmentation_moved_is_a_plain_tensor_again() -> None:
    mask = tv_tensors.Mask(torch.eye(2))
    assert type(Sums().unwrap({"mask": mask}, (2, 2), Legend())["mask"]) is Tensor


@pytest.mark.parametrize(
    ("data", "own", "expected"),
    [("m", "m", ()), ("", "m", ()), ("m", "", ()), ("m", "s", "the data set's values are in m, the head's in s")],
)
def test_values_in_different_units_do_not_go_together(data: str, own: str, expected: object) -> None:
    assert Sums().match(Legend(unit=data), Legend(unit=own)) == expected


def test_a_kind_without_a_comparison_says_its_name() -> None:
    with pytest.raises(NotImplementedError, match="answers of kind 'sums' are not compared"):
        Sums().divergence(torch.ones(1), torch.ones(1))
