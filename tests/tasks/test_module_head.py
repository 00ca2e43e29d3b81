"""`ModuleHead`: networks that know nothing of icm as heads."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from icm_core import InputError, SpecError
from icm_core.interfaces import ComponentParams
from icm_core.testing import (
    ConformanceError,
    HeadCase,
    check_builds_on_meta,
    check_loss_is_finite,
    check_loss_per_picture,
    check_prediction,
    parametrize_with_checks,
)
from icm_core.types import Features, Level
from icm_core.wrap import IMAGENET_MEAN, IMAGENET_STD, DetectorHead, Input, ModuleHead

IMAGE = {"image": Level(3, 1)}


class Net(nn.Sequential):
    """Values (B, K), or maps at an eighth of the size."""

    def __init__(self, outputs: int, *, maps: bool = False) -> None:
        layers: list[nn.Module] = [nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.Conv2d(8, outputs, 3, 2, 1)]
        super().__init__(*layers, *([] if maps else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]))


class Places(ModuleHead):
    """Kinds of places."""

    name = "test.places"
    kind = "classification"
    labels = ("indoors", "street", "nature")
    wants = Input(size=(32, 48), mean=IMAGENET_MEAN, std=IMAGENET_STD)

    def network(self) -> nn.Module:
        return Net(len(self.labels))


class Streets(ModuleHead):
    """Classes of pixels, from a network that wants multiples of 32 and says more than it is asked."""

    name = "test.streets"
    kind = "segmentation"
    labels = ("road", "car", "sky")
    wants = Input(multiple=32, levels=255, order="bgr", fill=0.5)

    class Params(ComponentParams):
        """None."""

    def network(self) -> nn.Module:
        return Net(len(self.labels), maps=True)

    def read(self, answer: Tensor, fitted: object) -> Tensor:
        return {"out": answer}["out"]


class Counts(ModuleHead):
    """Values."""

    name = "test.counts"
    kind = "regression"
    labels = ("cars", "people")

    def network(self) -> nn.Module:
        return Net(2)


class Distances(ModuleHead):
    """Distances (B, h, w), as depth networks give them."""

    name = "test.distances"
    kind = "depth"
    unit = "m"
    wants = Input(size=48, multiple=16, longest=96)

    class Map(Net):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input)[:, 0].exp()

    def network(self) -> nn.Module:
        return self.Map(1, maps=True)


class Redrawn(ModuleHead):
    """Pictures."""

    name = "test.redrawn"
    kind = "reconstruction"

    def network(self) -> nn.Module:
        return nn.Sequential(Net(3, maps=True), nn.Sigmoid())


class Vectors(ModuleHead):
    """Embeddings, for which there is no usual loss."""

    name = "test.vectors"
    kind = "embedding"
    labels = ("a", "b", "c")

    def network(self) -> nn.Module:
        return Net(4)


@parametrize_with_checks([Places, Streets, Counts, Distances, Redrawn])
def test_conformance(case, check):
    check(case)


def built(cls: type[ModuleHead]) -> ModuleHead:
    torch.manual_seed(0)
    return cls(cls.Params(), IMAGE).eval()


def features(height: int, width: int, batch: int = 2) -> Features:
    padded = (batch, 3, -(-height // 64) * 64, -(-width // 64) * 64)
    return Features({"image": torch.rand(padded, generator=torch.Generator().manual_seed(height))}, (height, width))


# --- what the network is given ---------------------------------------------------------------------------------------


def test_a_network_gets_normalised_pictures_of_its_size():
    head = built(Places)
    given = []
    head.net.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    grey = Features({"image": torch.full((1, 3, 64, 64), 0.25)}, (40, 50))
    head(grey)
    (image,) = given
    assert image.shape == (1, 3, 32, 48)
    expected = [(0.25 - mean) / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    assert image.mean((0, 2, 3)).tolist() == pytest.approx(expected, abs=1e-5)


def test_levels_order_and_multiples_are_the_networks_own():
    head = built(Streets)
    given = []
    head.net.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    image = torch.stack([torch.full((64, 64), value) for value in (0.0, 0.2, 1.0)])[None]
    head(Features({"image": image}, (33, 40)))
    (image,) = given
    assert image.shape == (1, 3, 64, 64)
    assert image[0, :, :33, :40].amax((1, 2)).tolist() == pytest.approx([255, 51, 0])  # blue first
    assert image[0, :, 33:].unique().tolist() == [127.5] and image[0, :, :, 40:].unique().tolist() == [127.5]


def test_means_and_deviations_are_of_the_networks_own_channels_and_levels():
    wants = Input(levels=255, order="bgr", mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 5.0))
    red, green, blue = 0.2, 0.4, 1.0
    found = wants.normalised(torch.tensor([red, green, blue]).view(1, 3, 1, 1)).flatten().tolist()
    assert found == pytest.approx([(255 - 10) / 2, (102 - 20) / 4, (51 - 30) / 5])


# --- what comes of its answers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 64), (33, 129), (1, 1)])
def test_maps_have_the_pictures_size(size):
    assert built(Streets)(features(*size)).shape == (2, 3, *size)
    assert built(Distances)(features(*size)).shape == (2, 1, *size)


def test_maps_are_where_the_picture_is():
    """A network that says how bright its input is says it at the same place of the picture, whatever the fit."""

    class Bright(ModuleHead):
        """Brightness and darkness."""

        name = "test.bright"
        kind = "segmentation"
        labels = ("dark", "bright")

        def network(self) -> nn.Module:
            net = nn.Conv2d(3, 2, 1)
            with torch.no_grad():
                net.weight.copy_(torch.tensor([-1.0, 1.0])[:, None, None, None].expand(2, 3, 1, 1))
                net.bias.zero_()
            return net

    picture = torch.zeros(1, 3, 64, 128)
    picture[..., 20:40, 90:110] = 1
    wanted = picture[0, 0, :60, :120] == 1
    for wants in (
        Input(),
        Input(multiple=50),
        Input(size=60, fit="corner", multiple=16),
        Input(size=90),
        Input(size=(100, 100)),
        Input(size=(100, 100), fit="letterbox"),
        Input(size=(100, 100), fit="corner", fill=1.0),
    ):
        head = built(Bright)
        head.wants = wants
        found = head(Features({"image": picture}, (60, 120)))[0]
        agree = ((found[1] - found[0] > 3) == wanted).float().mean()
        assert agree > 0.98, wants


def test_what_was_cut_off_has_the_answer_of_its_neighbour():
    head = built(Streets)
    head.wants = Input(size=(32, 32), fit="cover")
    found = head(features(32, 64, 1))
    assert found.shape == (1, 3, 32, 64)
    assert torch.equal(found[..., :16], found[..., 16:17].expand(1, 3, 32, 16))


def test_things_are_moved_to_the_pictures_pixels():
    class Things(ModuleHead):
        """One thing in the middle of its input."""

        name = "test.things"
        kind = "instances"
        labels = ("thing",)
        wants = Input(size=(100, 100), fit="letterbox")
        fields: ClassVar[tuple[str, ...]] = ()

        def network(self) -> nn.Module:
            return nn.Identity()

        def read(self, answer, fitted):
            mask = torch.zeros(1, 1, 100, 100)
            mask[..., 40:60, 20:40] = 1
            one = {
                "boxes": torch.tensor([[20.0, 40, 40, 60]]),
                "keypoints": torch.tensor([[[20.0, 40, 2]]]),
                "masks": mask,
            }
            none = {"boxes": torch.zeros(0, 4), "masks": torch.zeros(0, 1, 100, 100)}
            return [one, none]

    # 50x200 becomes 25x100, which begins in row 37.
    found, nothing = built(Things)(features(50, 200))
    assert found["boxes"].tolist() == [[40, 6, 80, 46]]
    assert found["keypoints"].tolist() == [[[40, 6, 2]]]
    assert found["masks"].shape == (1, 1, 50, 200)
    assert found["masks"][0, 0, 8:44, 42:78].min() > 0.5 and found["masks"].mean() == pytest.approx(0.16, abs=0.02)
    assert nothing["boxes"].shape == (0, 4) and nothing["masks"].shape == (0, 1, 50, 200)


# --- losses ----------------------------------------------------------------------------------------------------------


def test_losses_are_the_usual_ones():
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    found = built(Places).loss(logits, torch.tensor([2, 0]))
    expected = [-logits[0].log_softmax(0)[2], -logits[1].log_softmax(0)[0]]
    torch.testing.assert_close(found, torch.stack(expected))
    values = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    assert built(Counts).loss(values, torch.tensor([[1.0, 4.0], [3.0, 1.0]])).tolist() == [2, 5]


def test_ignored_pixels_count_nowhere():
    head = built(Streets)
    output = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    target = torch.randint(3, (2, 4, 4), generator=torch.Generator().manual_seed(1))
    target[0, :2] = 255
    target[1] = 255
    found = head.loss(output, target)
    kept = torch.nn.functional.cross_entropy(output[:1, :, 2:], target[:1, 2:])
    torch.testing.assert_close(found, torch.stack([kept, torch.tensor(0.0)]))


def test_a_class_that_the_network_does_not_tell_is_an_error():
    head = built(Streets)
    with pytest.raises(InputError, match=r"the class 11, and the network tells 3, from 0; .* ignore_index"):
        head.loss(torch.zeros(1, 3, 2, 2), torch.full((1, 2, 2), 11))
    with pytest.raises(InputError, match="the class -1"):
        built(Places).loss(torch.zeros(1, 3), torch.tensor([-1]))


def test_depth_loss_does_not_mind_a_common_factor_by_half():
    head = built(Distances)
    target = 1 + torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(0))
    target[0, 0, :3] = torch.nan
    target[1] = torch.nan
    double = (2 * target).nan_to_num(7.0)[:, None]
    # All logarithms are off by log 2: the mean of squares, and half of it taken off.
    found = head.loss(double, target)
    assert found.tolist() == pytest.approx([0.5 * torch.tensor(2.0).log().square().item(), 0], abs=1e-6)


def test_depth_loss_is_eigens_with_logarithms_that_go_on_as_straight_lines():
    found = [[-1.0, 0.0, 0.005], [0.02, 3.0, 8.0]]
    true = [[2.0, 1.0, 4.0], [math.nan, 1.5, 6.5]]
    errors, known = [], [t for row in true for t in row if t == t]
    least = 0.01 * sum(known) / len(known)  # 0.03
    for d, t in ((d, t) for rows in zip(found, true, strict=True) for d, t in zip(*rows, strict=True) if t == t):
        errors.append((math.log(d) if d > least else math.log(least) + (d - least) / least) - math.log(t))
    mean, squares = sum(errors) / 5, sum(e * e for e in errors) / 5
    loss = built(Distances).loss(torch.tensor([[found]]), torch.tensor([true]))
    assert loss.tolist() == pytest.approx([squares - mean**2 / 2], rel=1e-5)


def test_depth_loss_leads_back_from_distances_that_are_none():
    head = built(Distances)
    output = torch.full((1, 1, 4, 4), -1.0)
    output[..., 2:, :] = 3.0
    output.requires_grad_()
    loss = head.loss(output, torch.full((1, 4, 4), 2.0))
    loss.sum().backward()
    assert loss.isfinite().all() and bool((output.grad[..., :2, :] < 0).all())


def test_a_kind_without_a_usual_loss_says_so():
    with pytest.raises(SpecError, match=r"no loss suits every network of kind 'embedding'; override loss, or losses"):
        built(Vectors).loss(torch.zeros(1, 4), torch.tensor([0]))
    with pytest.raises(ConformanceError, match="no loss suits every network of kind 'embedding'"):
        check_loss_is_finite(HeadCase(Vectors))


# --- mistakes --------------------------------------------------------------------------------------------------------


def other(base: type[ModuleHead], **changed: object) -> ModuleHead:
    return built(type("Other", (base,), {"__doc__": "Another.", **changed}))


@pytest.mark.parametrize(
    ("base", "changed", "message"),
    [
        (Places, {"labels": ("a",), "network": lambda _: Net(3)}, "gives 3 values, and the head has 1 labels"),
        (Places, {"read": lambda _, answer, __: {"out": answer}}, "gives dict with 'out' and not a tensor; override"),
        (Streets, {"network": lambda _: Net(3)}, r"gives torch.float32 of shape \(2, 3\); it should have 4 dim"),
        (Distances, {"network": lambda _: Net(1)}, r"gives torch.float32 of shape \(2, 1\); it should have 4 dim"),
        (Places, {"network": lambda _: lambda x: x}, r"network\(\) of head 'test.places' gives function"),
    ],
)
def test_what_is_wrong_with_a_network_is_said(base, changed, message):
    with pytest.raises(SpecError, match=message):
        other(base, **changed)(features(64, 64))


@pytest.mark.parametrize(
    ("delivered", "message"),
    [
        ({}, "delivers nothing"),
        ({"fused": Level(8, 16)}, "delivers only 'fused'"),
        ({"image": Level(3, 2)}, r"delivers Level\(channels=3, stride=2\)"),
    ],
)
def test_a_picture_is_needed(delivered, message):
    with pytest.raises(SpecError, match=f"'test.places' needs the map 'image' .*{message}"):
        Places(Places.Params(), delivered)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": (0, 4)}, r"size is \(0, 4\)"),
        ({"std": (1.0, 0.0, 1.0)}, r"std \(1.0, 0.0, 1.0\)"),
        ({"mean": (1.0,)}, r"mean is \(1.0,\)"),
        ({"order": "rbg"}, "order is 'rbg'"),
    ],
)
def test_an_input_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Input(**wrong)


# --- weights ---------------------------------------------------------------------------------------------------------


def test_weights_under_the_networks_own_names_fit():
    head = built(Places)
    assert set(head.adopt(head.net.state_dict())) == set(head.state_dict())
    for tensors in (head.state_dict(), {"unknown": torch.zeros(1)}):
        assert head.adopt(tensors) is tensors


# --- detectors -------------------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs/own-network.md").read_text("utf-8")


def page_blocks(title: str) -> str:
    (found,) = re.findall(rf'```python title="{title}"\n(.*?)```', PAGE, re.DOTALL)
    return found


def test_the_pages_detector_is_a_component_in_fifteen_lines() -> None:
    """The page's own test, which runs with the page, puts it through the whole kit without an exception."""
    text = page_blocks("mylab_boxes.py")
    assert len([line for line in text.splitlines() if line.strip()]) <= 15
    assert "exceptions" not in page_blocks("test_boxes.py") and "unpromised" not in page_blocks("test_boxes.py")
    names: dict[str, Any] = {"__name__": "mylab_boxes"}
    exec(compile(text, "mylab_boxes.py", "exec"), names)
    case = HeadCase(names["Boxes"], sizes=((64, 64), (50, 70)))
    for check in (check_builds_on_meta, check_loss_is_finite, check_loss_per_picture, check_prediction):
        check(case)


class Called(nn.Module):
    """A detector that is called as torchvision's are, and has nothing else of them."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, pictures: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        if self.training:
            assert targets is not None and len(pictures) == len(targets) == 1
            return {"boxes": targets[0]["boxes"].sum() * (1 + self.bias), "labels": targets[0]["labels"].sum() * 1.0}
        # Class 0 is the background, of which nothing is told.
        found = {"boxes": torch.tensor([[1.0, 2, 30, 40]] * 3), "labels": torch.tensor([0, 2, 1])}
        return [{**found, "scores": self.bias.sigmoid().expand(3)} for _ in pictures]


class Foreign(DetectorHead):
    """Somebody's detector."""

    name = "test.foreign"
    kind = "detection"
    labels = ("car", "bus")

    def network(self) -> nn.Module:
        return Called()


def test_a_detector_that_is_called_as_torchvisions_is_enough():
    head, seen = built(Foreign), features(64, 64)
    assert [things["labels"].tolist() for things in head.predict(seen).output] == [[1, 0], [1, 0]]
    one = {"boxes": torch.tensor([[0.0, 0, 3, 4]]), "labels": torch.tensor([1])}
    two = {"boxes": torch.tensor([[0.0, 0, 1, 1], [9.0, 9, 9, 9]]), "labels": torch.tensor([0, 1])}
    crowd = two | {"iscrowd": torch.tensor([False, True])}
    assert head.losses(seen, (one, crowd)).tolist() == [7 + 2, 2 + 1]
    with pytest.raises(SpecError, match="its network has no maps of a backbone"):
        head.divergence(head(seen), head(seen))
