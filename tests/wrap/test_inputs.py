"""What a head around a network takes and gives back: constants, refused inputs, masks of any type."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from icm_core import SpecError
from icm_core.types import Features, Level
from icm_core.wrap import IMAGENET_MEAN, IMAGENET_STD, Input, ModuleHead


def test_means_and_deviations_of_imagenet_are_those_of_timm() -> None:
    assert (IMAGENET_MEAN, IMAGENET_STD) == (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)


@pytest.mark.parametrize("wrong", [{"std": (1.0,)}, {"std": (0.5, 0.5, 0.5, 0.5)}, {"mean": (0.5, 0.5)}])
def test_means_and_deviations_are_of_three_channels(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="both have three values"):
        Input(**wrong)


class Masks(ModuleHead):
    """The bright half of a picture twice as wide as high, as one thing."""

    name = "test.masks"
    kind = "instances"
    labels = ("bright",)
    wants = Input(size=(20, 20))

    def network(self) -> nn.Module:
        return nn.Identity()

    def read(self, answer: Tensor, fitted: object) -> list[dict[str, Tensor]]:
        return [{"masks": (one.mean(0) > 0.5)[None]} for one in answer]


def test_masks_of_truth_values_in_three_dimensions_are_moved_too() -> None:
    picture = torch.zeros(1, 3, 20, 40)
    picture[..., 16:] = 1
    head = Masks(Masks.Params(), {"image": Level(3, 1)})
    (found,) = head(Features({"image": picture}, (20, 40)))
    expected = (torch.arange(40) >= 16).float().expand(1, 1, 20, 40)
    assert found["masks"].shape == (1, 1, 20, 40)
    assert torch.equal((found["masks"] > 0.5).float(), expected)


class Colours(ModuleHead):
    """A network with weights."""

    name = "test.colours"
    kind = "segmentation"
    labels = ("dark", "bright")

    def network(self) -> nn.Module:
        return nn.Conv2d(3, 2, 1)


def test_weights_under_the_heads_names_are_taken_although_others_beside_them_have_the_networks() -> None:
    head = Colours(Colours.Params(), {"image": Level(3, 1)})
    own = head.net.state_dict()
    assert set(head.adopt(own)) == {"net.weight", "net.bias"}
    both = {**own, **head.state_dict()}
    assert head.adopt(both) is both


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"size": (4, 0)}, r"size is \(4, 0\)"),
        ({"size": (0, 4)}, r"size is \(0, 4\)"),
        ({"size": 0}, "size is 0 and multiple 1"),
        ({"multiple": 0}, "size is None and multiple 0"),
        ({"std": (0.5, 0.5, -0.1)}, "those of std above 0"),
        ({"std": (0.0, 0.5, 0.5)}, "those of std above 0"),
        ({"order": "RGB"}, "order is 'RGB'"),
    ],
)
def test_an_input_of_nothing_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Input(**wrong)


def test_the_smallest_inputs_are_inputs() -> None:
    assert Input(size=(1, 1)).size == (1, 1) and Input(size=1, multiple=1).size == 1 and Input().size is None


class Said(ModuleHead):
    """A head whose network says what it is told to."""

    name = "test.said"
    kind = "segmentation"
    labels: ClassVar[tuple[str, ...]] = ("dark", "bright")
    answer: Any = None

    def network(self) -> nn.Module:
        return Telling(self)


class Telling(nn.Module):
    """What the head has in `answer`."""

    def __init__(self, head: Said) -> None:
        super().__init__()
        object.__setattr__(self, "head", head)

    def forward(self, x: Tensor) -> Any:
        return self.head.answer  # type: ignore[union-attr]


class Far(Said):
    """Distances."""

    kind = "depth"
    labels = ()


class Sorted(Said):
    """Classes."""

    kind = "classification"


class Free(Said):
    """Of a kind whose outputs are anything."""

    kind = "embedding"
    labels = ()


def said(cls: type[Said], answer: Any) -> Any:
    head = cls(cls.Params(), {"image": Level(3, 1)})
    head.answer = answer
    return head(Features({"image": torch.zeros(1, 3, 16, 32)}, (9, 21)))


@pytest.mark.parametrize(
    ("cls", "shape", "says"),
    [
        (Said, (1, 2), "it should have 4 dimensions"),
        (Said, (1, 2, 9), "it should have 4 dimensions"),
        (Said, (1, 2, 1, 9, 21), "it should have 4 dimensions"),
        (Said, (1, 1, 9, 21), "gives 1 values, and the head has 2 labels"),
        (Said, (1, 3, 9, 21), "gives 3 values, and the head has 2 labels"),
        (Sorted, (1, 2, 1, 1), "it should have 2 dimensions"),
        (Sorted, (2,), "it should have 2 dimensions"),
        (Sorted, (1, 3), "gives 3 values, and the head has 2 labels"),
        (Far, (9, 21), "it should have 4 dimensions"),
        (Far, (1, 1, 1, 9, 21), "it should have 4 dimensions"),
    ],
)
def test_numbers_of_a_wrong_shape_do_not_pass_for_right_ones(cls: type[Said], shape: Any, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        said(cls, torch.zeros(shape))


@pytest.mark.parametrize(
    ("cls", "shape", "found"),
    [
        (Said, (1, 2, 9, 21), (1, 2, 9, 21)),
        (Said, (1, 2, 3, 7), (1, 2, 9, 21)),  # at a stride
        (Sorted, (1, 2), (1, 2)),
        (Far, (1, 9, 21), (1, 1, 9, 21)),
        (Far, (1, 3, 7), (1, 1, 9, 21)),
        (Far, (1, 1, 9, 21), (1, 1, 9, 21)),
        (Free, (1, 5), (1, 5)),
        (Free, (1, 5, 3), (1, 5, 3)),  # maps have four dimensions but for distances
    ],
)
def test_maps_are_brought_to_the_pictures_size_and_nothing_else(cls: type[Said], shape: Any, found: Any) -> None:
    answer = torch.rand(shape)
    output = said(cls, answer)
    assert output.shape == found
    if shape[-2:] == found[-2:]:
        assert torch.equal(output, answer.view(found))


def test_what_a_network_says_is_the_output_as_it_is() -> None:
    said_of_it = {"out": torch.zeros(1, 4), "aux": torch.ones(1, 4)}
    assert said(Free, said_of_it) is said_of_it
    with pytest.raises(SpecError, match=r"gives dict with 'out', 'aux' and not a tensor; override read\(\)"):
        said(Said, said_of_it)
    with pytest.raises(SpecError, match="not a tensor"):
        said(Said, [torch.zeros(1, 2, 9, 21)])


def test_things_keep_what_has_no_place_and_lists_of_other_things_stay() -> None:
    class Sized(Free):
        """With an input of another size."""

        wants = Input(size=(18, 21))  # twice as high

    scores, mixed = torch.rand(2), [torch.zeros(1, 2, 3, 4)]
    things = {"boxes": torch.tensor([[3.0, 4, 6, 8]] * 2), "scores": scores, "masks": torch.ones(2, 18, 21)}
    (found,) = said(Sized, [things])
    assert found["scores"] is scores and found["boxes"].tolist() == [[3, 2, 6, 4]] * 2
    assert found["masks"].shape == (2, 1, 9, 21) and things["masks"].shape == (2, 18, 21)
    assert said(Sized, mixed) is mixed
    half = [things, torch.zeros(1, 2, 3, 4)]
    assert said(Sized, half) is half


def test_boxes_that_a_network_sees_beyond_the_picture_are_cut_to_it() -> None:
    things = {"boxes": torch.tensor([[-3.0, -2, 25, 12], [4, 5, 6, 7]])}
    assert said(Free, [things])[0]["boxes"].tolist() == [[0, 0, 21, 9], [4, 5, 6, 7]]


@pytest.mark.parametrize("level", [Level(1, 1), Level(3, 2), Level(4, 1)])
def test_only_pictures_of_three_channels_at_full_size_are_taken(level: Level) -> None:
    with pytest.raises(SpecError, match=rf"delivers Level\(channels={level.channels}, stride={level.stride}\)"):
        Free(Free.Params(), {"image": level})


def test_a_part_of_the_networks_weights_is_the_heads_too() -> None:
    head = Colours(Colours.Params(), {"image": Level(3, 1)})
    assert list(head.adopt({"weight": torch.zeros(2, 3, 1, 1)})) == ["net.weight"]
    assert list(head.adopt({"bias": torch.zeros(2), "other": torch.zeros(1)})) == ["net.bias", "net.other"]
    others = {"other": torch.zeros(1)}
    assert head.adopt(others) is others
