"""Detectors whose background is not torchvision's one class, and that learn while they are asked."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign

from icm_core import SpecError
from icm_core.types import Features, Level
from icm_core.wrap import DetectorHead


class Two(nn.Module):
    """A detector whose first two classes stand for no thing."""

    def forward(self, pictures: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        if self.training:
            assert targets is not None
            return {"labels": targets[0]["labels"].sum() * 1.0}
        labels = torch.tensor([0, 3, 1, 2])
        return [{"labels": labels, "scores": labels / 10, "boxes": labels[:, None].expand(4, 4)} for _ in pictures]


class Behind(DetectorHead):
    """Somebody's detector."""

    name = "test.behind"
    kind = "detection"
    labels = ("car", "bus")
    background = 2

    def network(self) -> nn.Module:
        return Two()


def features() -> Features:
    return Features({"image": torch.zeros(2, 3, 16, 16)}, (16, 16))


def head() -> Behind:
    return Behind(Behind.Params(), {"image": Level(3, 1)})


def test_classes_begin_behind_the_background_however_many_it_has() -> None:
    for things in head().eval().predict(features()).output:
        assert things["labels"].tolist() == [1, 0]
        assert things["scores"].tolist() == pytest.approx([0.3, 0.2])
        assert things["boxes"].tolist() == [[3] * 4, [2] * 4]
    targets = tuple({"labels": torch.tensor(own), "boxes": torch.zeros(len(own), 4)} for own in ([0, 1], [1]))
    assert head().losses(features(), targets).tolist() == [2 + 3, 3]


@pytest.mark.parametrize("training", [True, False])
def test_a_network_is_left_in_its_mode(training: bool) -> None:
    own = head().train(training)
    own.predict(features())
    assert own.net.training == training
    own.losses(features(), ({"labels": torch.tensor([0]), "boxes": torch.zeros(1, 4)},) * 2)
    assert own.net.training == training


def test_the_divergence_is_the_mean_over_maps_of_squared_errors_as_a_share() -> None:
    clean = {"fine": torch.tensor([[1.0, 3.0], [2.0, 2.0]]), "rough": torch.tensor([[2.0], [4.0]])}
    coded = {"fine": torch.tensor([[1.0, 1.0], [2.0, 2.0]]), "rough": torch.tensor([[2.0], [3.0]])}
    found = head().divergence({"maps": coded}, {"maps": clean})
    # Of the first picture (4 / 2) of (10 / 2) and nothing of 4, of the second nothing of 4 and 1 of 16.
    assert found.tolist() == pytest.approx([(4 / 10 + 0) / 2, (0 + 1 / 16) / 2])


class Backbone(nn.Module):
    """Maps by name, or one."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.names = names
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Any:
        if not self.names:
            return self.conv(x)
        return {name: (place + 1) * self.conv(x) for place, name in enumerate(self.names)}


class WithMaps(Two):
    """A detector with a backbone."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.backbone = Backbone(names)

    def forward(self, pictures: list[Tensor], targets: Any = None) -> Any:
        self.backbone(torch.stack(pictures))
        return super().forward(pictures, targets)


@pytest.mark.parametrize("names", [("fine", "rough", "pool"), ()])
def test_an_output_holds_all_maps_of_the_backbone(names: tuple[str, ...]) -> None:
    class Mapped(Behind):
        """With maps."""

        colours = ((0, 0, 255), (255, 128, 0))
        unit = "px"

        def network(self) -> nn.Module:
            return WithMaps(names)

    own = Mapped(Mapped.Params(), {"image": Level(3, 1)}).eval()
    seen = Features({"image": torch.rand(2, 3, 16, 32)}, (9, 21))
    output = own(seen)
    first = own.net.backbone.conv(seen.cropped("image"))  # type: ignore[operator, union-attr]
    assert list(output["maps"]) == list(names or ("0",))
    for place, maps in enumerate(output["maps"].values()):
        torch.testing.assert_close(maps, (place + 1) * first)
    assert [things["labels"].tolist() for things in output["things"]] == [[1, 0]] * 2
    assert not own.net.backbone._forward_hooks  # type: ignore[union-attr]
    found = own.predict(seen)
    assert (found.kind, found.labels, found.colours, found.unit) == ("detection", ("car", "bus"), own.colours, "px")


def test_a_layer_that_was_set_to_rest_in_training_stays_at_rest() -> None:
    class Resting(Two):
        """With a layer inside."""

        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

    class Rests(Behind):
        """One of these."""

        def network(self) -> nn.Module:
            return Resting()

    own = Rests(Rests.Params(), {"image": Level(3, 1)}).train()
    norm: Any = own.net.norm
    norm.eval()
    things = ({"labels": torch.tensor([0]), "boxes": torch.zeros(1, 4)},) * 2
    own.predict(features())
    own.losses(features(), things)
    assert own.net.training and not norm.training
    own.eval()
    norm.train()
    own.losses(features(), things)
    own.predict(features())
    assert not own.net.training and norm.training


class OneStage(nn.Module):
    """What torchvision's detectors of one stage have: a method that makes the losses of the batch, which is a mean."""

    def compute_loss(
        self, targets: list[dict[str, Tensor]], outputs: dict[str, Tensor], anchors: list[Tensor], *more: Any
    ) -> dict[str, Tensor]:
        each = [
            own["labels"].sum() * scores.sum() + anchor.sum() + more[0][row].sum() + more[1][0]
            for row, (own, scores, anchor) in enumerate(zip(targets, outputs["scores"], anchors, strict=True))
        ]
        return {"sum": torch.stack(each).mean(), "count": torch.tensor(1000.0 * len(outputs["boxes"]))}

    def forward(self, pictures: list[Tensor], targets: Any = None) -> Any:
        assert targets is not None and self.training
        means = torch.stack([picture.mean() for picture in pictures])
        anchors = [10 * mean[None] for mean in means]
        matched = [100 * mean for mean in means]
        return self.compute_loss(targets, {"scores": means[:, None], "boxes": means}, anchors, matched, [7, 8])


def test_a_detector_of_one_stage_is_asked_for_the_loss_of_each_picture() -> None:
    class Staged(DetectorHead):
        """One of these."""

        name = "test.staged"
        kind = "detection"
        labels = ("car", "bus")

        def network(self) -> nn.Module:
            return OneStage()

    own = Staged(Staged.Params(), {"image": Level(3, 1)}).eval()
    seen = Features({"image": torch.tensor([1.0, 2.0, 4.0]).view(3, 1, 1, 1).expand(3, 3, 8, 8)}, (8, 8))
    targets = tuple({"labels": torch.tensor(labels), "boxes": torch.zeros(2, 4)} for labels in ([0, 0], [0, 1], [1, 1]))
    # Labels count from 1 in the network; of a picture of mean m: labels * m + 10 m + 100 m + 7, and 1000 for its count.
    expected = [2 * 1 + 110 + 1007, 3 * 2 + 220 + 1007, 4 * 4 + 440 + 1007]
    for _ in range(2):  # the network's own method comes back
        assert own.losses(seen, targets).tolist() == pytest.approx(expected)
    assert "compute_loss" not in vars(own.net)

    def failing(*_: Any) -> Any:
        raise RuntimeError("inside")

    own.net.register_forward_pre_hook(failing)
    with pytest.raises(RuntimeError, match="inside"):
        own.losses(seen, targets)
    assert "compute_loss" not in vars(own.net) and not own.net.training


class Body(nn.Sequential):
    """What torchvision calls a backbone: one map at an eighth of the size."""

    out_channels = 8

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 8, 8, 8), nn.ReLU())


class TwoStaged(DetectorHead):
    """Faster R-CNN, tiny; pictures are brought to one of two sizes in training."""

    name = "test.two_staged"
    kind = "detection"
    labels = ("car", "bus")

    def network(self) -> nn.Module:
        net: nn.Module = FasterRCNN(
            Body(),
            min_size=(32, 64),
            max_size=96,
            rpn_anchor_generator=AnchorGenerator(((16,),), ((1.0,),)),
            box_roi_pool=MultiScaleRoIAlign(["0"], 3, 2),
            box_head=TwoMLPHead(8 * 9, 8),
            box_predictor=FastRCNNPredictor(8, 3),
        )
        return net


@pytest.mark.parametrize("training", [True, False])
def test_each_picture_of_a_detector_of_two_stages_has_its_own_size_and_all_four_terms(training: bool) -> None:
    torch.manual_seed(3)
    own = TwoStaged(TwoStaged.Params(), {"image": Level(3, 1)}).train(training)
    sizes: list[Any] = []
    net: Any = own.net
    net.rpn.register_forward_pre_hook(lambda _, given: sizes.append(given[0].image_sizes))
    of_regions, of_things = [], []
    net.rpn.register_forward_hook(lambda *given: of_regions.append(sum(given[2][1].values())))
    net.roi_heads.register_forward_hook(lambda *given: of_things.append(sum(given[2][1].values())))
    seen = Features({"image": torch.rand(4, 3, 32, 48)}, (32, 48))
    one = {"labels": torch.tensor([1]), "boxes": torch.tensor([[3.0, 4, 20, 28]])}
    found = own.losses(seen, (one,) * 4)
    small, large = [(32, 48)], [(64, 96)]
    assert len(sizes) == 4 and small in sizes and large in sizes and all(size in (small, large) for size in sizes)
    expected = [first + second for first, second in zip(of_regions, of_things, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected))
    assert all(float(term.detach()) > 0 for term in (*of_regions, *of_things))
    assert {module.training for module in net.modules()} == {training}
    with torch.no_grad():
        things = own.predict(seen).output
    assert [set(each) for each in things] == [{"boxes", "labels", "scores"}] * 4
    assert {module.training for module in net.modules()} == {training}


@pytest.mark.parametrize("part", ["transform", "rpn", "roi_heads"])
def test_a_stage_that_is_in_another_mode_than_its_detector_stays_in_it(part: str) -> None:
    own = TwoStaged(TwoStaged.Params(), {"image": Level(3, 1)}).train()
    own.net.get_submodule(part).eval()
    before = {name: module.training for name, module in own.named_modules()}
    assert set(before.values()) == {True, False}
    seen = Features({"image": torch.rand(1, 3, 32, 48)}, (32, 48))
    own.losses(seen, ({"labels": torch.tensor([1]), "boxes": torch.tensor([[3.0, 4, 20, 28]])},))
    own.predict(seen)
    assert {name: module.training for name, module in own.named_modules()} == before


def test_terms_of_all_that_a_target_has_and_nothing_of_crowds() -> None:
    given: list[Any] = []

    class Watching(nn.Module):
        """Says what it was given."""

        def forward(self, pictures: list[Tensor], targets: Any) -> dict[str, Tensor]:
            given.append((len(pictures), targets))
            return {"a": pictures[0].sum().half(), "b": torch.tensor(0.5)}

    class Watched(Behind):
        """One of these."""

        background = 1

        def network(self) -> nn.Module:
            return Watching()

    own = Watched(Watched.Params(), {"image": Level(3, 1)})
    things = {
        "labels": torch.tensor([0, 1, 1]),
        "boxes": torch.arange(12.0).view(3, 4),
        "masks": torch.arange(3).view(3, 1, 1).expand(3, 16, 16),
        "keypoints": torch.arange(18.0).view(3, 2, 3),
        "area": torch.tensor([1.0, 2.0, 3.0]),
        "iscrowd": torch.tensor([0, 1, 0]),
    }
    found = own.losses(features(), (things, {"labels": torch.tensor([1]), "boxes": torch.ones(1, 4)}))
    assert found.tolist() == [0.5, 0.5] and found.dtype == torch.float32
    (count, (first,)), (_, (second,)) = given
    assert count == 1 and list(first) == ["boxes", "labels", "masks", "keypoints"]
    assert first["labels"].tolist() == [1, 2] and second["labels"].tolist() == [2]
    assert first["boxes"].tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]
    assert first["masks"][:, 0, 0].tolist() == [0, 2] and first["keypoints"][:, 0, 0].tolist() == [0, 12]
    assert things["labels"].tolist() == [0, 1, 1]  # the target is left as it was
    with pytest.raises(SpecError, match="makes its loss from features and targets"):
        own.loss(None, None)


def test_small_maps_count_as_much_as_large_ones() -> None:
    clean, coded = torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4, 5)
    expected = head().divergence({"maps": {"0": coded}}, {"maps": {"0": clean}})
    for scale in (1e-6, 1e6):
        found = head().divergence({"maps": {"0": scale * coded}}, {"maps": {"0": scale * clean}})
        torch.testing.assert_close(found, expected)


def test_maps_of_nothing_are_compared_with_something() -> None:
    """A clean map of zeros is no division by zero."""
    none, some = torch.zeros(1, 2, 2, 2), torch.ones(1, 2, 2, 2)
    assert bool(head().divergence({"maps": {"0": some}}, {"maps": {"0": none}}).isfinite().all())
    assert head().divergence({"maps": {"0": none}}, {"maps": {"0": none}}).tolist() == [0]
    with pytest.raises(SpecError, match="has no maps of a backbone"):
        head().divergence({"maps": {}}, {"maps": {}})
