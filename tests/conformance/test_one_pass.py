"""Networks that make their loss in their own pass keep the contract: detectors of torchvision."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign

from icm_core import SpecError, build_registry, hookimpl, parse_spec, testing
from icm_core.inspection.cost import account
from icm_core.interfaces import TaskHead
from icm_core.testing import HeadCase
from icm_core.types import Features, Level, Prediction

CLASSES = ("car", "pedestrian", "bicyclist")
SIZES = ((64, 64), (50, 70))


class Body(nn.Sequential):
    """What torchvision calls a backbone: one map at an eighth of the size."""

    out_channels = 16

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 8), (8, 16), (16, 16)):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.GroupNorm(4, outputs), nn.ReLU()]
        super().__init__(*layers)


class OnePass(TaskHead):
    """One of torchvision's detectors as a head."""

    name: ClassVar[str] = "test.one_pass"
    kind: ClassVar[str] = "detection"
    background: ClassVar[int] = 0
    """Classes before those of the targets."""

    net: nn.Module

    def __init__(self, params: Any, features: Any) -> None:
        super().__init__(params, features)
        if "image" not in features:
            raise SpecError("needs the map 'image'")

    @property
    def labels(self) -> tuple[str, ...]:
        return CLASSES

    def run(self, pictures: Tensor, targets: Any = None) -> Any:
        before, self.net.training = self.net.training, targets is not None
        try:
            return self.net(list(pictures), targets)
        finally:
            self.net.training = before

    def forward(self, features: Features) -> list[dict[str, Tensor]]:
        return self.run(features.cropped("image"))

    def predict(self, features: Features) -> Prediction:
        found = [{**things, "labels": things["labels"] - self.background} for things in self(features)]
        return Prediction(self.kind, found, self.labels)

    def losses(self, features: Features, target: Any) -> Tensor:
        found = []
        for picture, things in zip(features.cropped("image"), target, strict=True):
            own = {"boxes": things["boxes"], "labels": things["labels"] + self.background}
            found.append(sum(self.run(picture[None], [own]).values()))
        return torch.stack(found)

    def loss(self, output: Any, target: Any) -> Tensor:
        raise NotImplementedError("this head makes its loss in losses()")


def anchors(*sizes: int) -> AnchorGenerator:
    return AnchorGenerator((sizes,), ((1.0,),))


class OneStage(OnePass):
    """RetinaNet (Lin et al., ICCV 2017), tiny."""

    def __init__(self, params: Any, features: Any) -> None:
        super().__init__(params, features)
        self.net = RetinaNet(
            *(Body(), len(CLASSES)), min_size=64, max_size=96, anchor_generator=anchors(16, 24), score_thresh=0.005
        )


class TwoStages(OnePass):
    """Faster R-CNN (Ren et al., NIPS 2015), tiny; it learns from anchors and proposals that it draws at random."""

    background = 1

    def __init__(self, params: Any, features: Any) -> None:
        super().__init__(params, features)
        self.net = FasterRCNN(
            Body(),
            min_size=64,
            max_size=96,
            rpn_anchor_generator=anchors(16, 24),
            box_roi_pool=MultiScaleRoIAlign(["0"], 3, 2),
            box_head=TwoMLPHead(16 * 9, 16),
            box_predictor=FastRCNNPredictor(16, 1 + len(CLASSES)),
        )


class Mean(OneStage):
    """The loss of the whole batch for each of its pictures."""

    def losses(self, features: Features, target: Any) -> Tensor:
        found = super().losses(features, target)
        return found.mean().expand(len(found))


class Whole(OneStage):
    """One number."""

    def losses(self, features: Features, target: Any) -> Tensor:
        return super().losses(features, target).mean()


class Shifted(TwoStages):
    """Counts the background the wrong way."""

    def predict(self, features: Features) -> Prediction:
        found = [{**things, "labels": things["labels"] + self.background} for things in self(features)]
        return Prediction(self.kind, found, self.labels)


@pytest.mark.parametrize("cls", [OneStage, TwoStages])
def test_a_detector_of_torchvision_keeps_the_contract(cls: type[OnePass]) -> None:
    # Of boxes that overlap, suppression keeps one or the other by the last bits of untrained, nearly equal scores.
    tied = {"check_batch_independence": "which of two nearly equal boxes is kept depends on the machine's threads"}
    assert testing.run_checks(HeadCase(cls, sizes=SIZES, unpromised=tied)) == []


@pytest.mark.parametrize("cls", [OneStage, TwoStages])
def test_it_says_something(cls: type[OnePass]) -> None:
    predicted = HeadCase(cls, sizes=SIZES).predicted(SIZES[0])
    assert all(len(prediction.output[0]["scores"]) for prediction in predicted.predictions)


@pytest.mark.parametrize(
    ("cls", "check", "advice"),
    [
        (Mean, testing.check_loss_per_picture, "Take no mean over the batch"),
        (Whole, testing.check_loss_is_finite, "losses gives a tensor of shape () for 1 pictures. Return one value for"),
        (Shifted, testing.check_prediction, "; classes are 0 to 2; the background has no number"),
    ],
)
def test_mistakes_of_such_heads_are_found(cls: type[OnePass], check: Any, advice: str) -> None:
    with pytest.raises(testing.ConformanceError) as caught:
        check(HeadCase(cls, sizes=SIZES))
    assert advice in str(caught.value)


class Plugin:
    @hookimpl
    def icm_heads(self) -> list[type[TaskHead]]:
        return [TwoStages]


def test_its_cost_is_counted_though_it_needs_values() -> None:
    registry = build_registry(extra={"one_pass": Plugin()})
    task = {"adapter": {"use": "sicmh.multi_scale"}, "head": {"use": "test.one_pass"}}
    spec = {"icm": 1, "name": "found", "codec": {"use": "sicmh.hyperprior"}, "tasks": {"boxes": task}}
    counted = {module.path: module for module in account(parse_spec(spec), registry, height=64, width=96).modules}
    head = counted["tasks.boxes.head"]
    net = TwoStages(TwoStages.Params(), {"image": Level(3, 1)})
    assert head.cost.parameters == sum(parameter.numel() for parameter in net.parameters())
    # The first layer alone: 3 to 8 channels, 3x3, at a quarter of the network's pixels, which are 64x96 too.
    assert head.cost.kmac_per_pixel > 3 * 8 * 9 / 4 / 1000
    assert head.outputs == {} and counted["codec"].outputs
