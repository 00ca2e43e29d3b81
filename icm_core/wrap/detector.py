"""`DetectorHead`: networks that are used as torchvision's detectors are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from icm_core.errors import SpecError
from icm_core.nests import Nest
from icm_core.types import Features, Prediction
from icm_core.wrap.head import ModuleHead

_TERMS = dict[str, Tensor]


class DetectorHead(ModuleHead):
    """A head around a detector of torchvision, or a network that is called as those are::

        class Boxes(DetectorHead):
            \"""RetinaNet for what moves in streets.\"""

            name = "mylab.boxes"
            kind = "detection"
            labels = ("car", "pedestrian", "bicyclist")

            def network(self):
                return retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=1 + len(self.labels))

    In inference the network takes a list of pictures (3, H, W) in [0, 1], which it resizes and normalises itself, and
    gives a list of dicts as the kinds ``detection``, ``instances`` and ``keypoints`` have them; in training it takes
    targets beside and gives a dict of losses, means over the pictures. Crowds are left out of targets.

    Outputs are compared, for distillation and search, by the maps of the network's ``backbone``.
    """

    background: int = 1
    """Classes of the network before those of targets: of torchvision's, class 0 is the background."""

    def forward(self, features: Features) -> dict[str, Nest]:
        """``things``, a list of a dict for each picture, as the kind has it, and ``maps`` of the backbone by name."""
        maps: dict[str, Tensor] = {}

        def keep(_: nn.Module, __: object, found: Tensor | Mapping[str, Tensor]) -> None:
            maps.update({"0": found} if isinstance(found, Tensor) else found)

        backbone = getattr(self.net, "backbone", None)
        handle = backbone.register_forward_hook(keep) if isinstance(backbone, nn.Module) else None
        try:
            return {"things": self._things(features), "maps": maps}
        finally:
            if handle is not None:
                handle.remove()

    def predict(self, features: Features) -> Prediction:
        """The things in each picture."""
        return Prediction(self.kind, self._things(features), self.labels, self.colours, self.unit)

    def losses(self, features: Features, target: Nest) -> Tensor:
        """The sum of the network's own losses for each picture, (B,).

        Of torchvision's networks, layers that see all pictures at once, such as batch normalisation, see the batch;
        others are given one picture after the other.
        """
        pictures, things = list(features.cropped("image")), [self._as_torchvision(one) for one in target]
        with self._pass(training=True):
            terms = self._terms(pictures, things)
        return torch.stack([torch.stack([term.float() for term in each.values()]).sum() for each in terms])

    def loss(self, output: Nest, target: Nest) -> Tensor:
        """Not asked: the network makes its loss with the picture."""
        del output, target
        raise SpecError(f"head {self.name!r} makes its loss from features and targets, by losses()")

    def divergence(self, output: Nest, reference: Nest) -> Tensor:
        """Squared error of the backbone's maps as a share of the clean picture's, the mean over maps, (B,).

        Raises:
            SpecError: the network has no ``backbone``, or one that gives no maps.
        """
        if not reference["maps"]:
            raise SpecError(f"answers of head {self.name!r} cannot be compared: its network has no maps of a backbone")
        shares = []
        for name, clean in reference["maps"].items():
            error = (output["maps"][name] - clean).float().square().flatten(1).mean(1)
            power = clean.float().square().flatten(1).mean(1).clamp_min(torch.finfo(torch.float32).tiny)
            shares.append(error / power)
        return torch.stack(shares).mean(0)

    def _things(self, features: Features) -> list[dict[str, Tensor]]:
        with self._pass(training=False):
            found = self.net(list(features.cropped("image")))
        # RetinaNet and FCOS have scores for class 0 as for any other.
        kept = [(things, things["labels"] >= self.background) for things in found]
        return [
            {name: value[rows] - (self.background if name == "labels" else 0) for name, value in things.items()}
            for things, rows in kept
        ]

    def _as_torchvision(self, things: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A target as the network takes it."""
        single = torch.ones_like(things["labels"], dtype=torch.bool)
        if "iscrowd" in things:
            single = ~things["iscrowd"].bool()
        kept = {name: things[name][single] for name in ("boxes", "labels", "masks", "keypoints") if name in things}
        return {**kept, "labels": kept["labels"] + self.background}

    def _terms(self, pictures: list[Tensor], things: list[dict[str, Tensor]]) -> list[_TERMS]:
        from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN  # slow to import

        if isinstance(self.net, GeneralizedRCNN):
            return _two_stages(self.net, pictures, things)
        if hasattr(self.net, "compute_loss"):
            return _one_stage(self.net, pictures, things)
        return [self.net([picture], [own]) for picture, own in zip(pictures, things, strict=True)]

    @contextmanager
    def _pass(self, training: bool) -> Iterator[None]:
        """Which of its two passes the network makes; layers inside stay in the mode that they are in."""
        parts = [self.net, *(getattr(self.net, name, None) for name in ("transform", "rpn", "roi_heads"))]
        deciding = [part for part in parts if isinstance(part, nn.Module)]
        before = [part.training for part in deciding]
        for part in deciding:
            part.training = training
        try:
            yield
        finally:
            for part, mode in zip(deciding, before, strict=True):
                part.training = mode


def _one_stage(net: Any, pictures: list[Tensor], things: list[dict[str, Tensor]]) -> list[_TERMS]:
    """The terms of each picture's loss: the network asks its own compute_loss once, and we ask it for each."""
    of_batch = net.compute_loss
    found: list[_TERMS] = []

    def of_each(targets: Any, outputs: Any, anchors: Any, *more: Any) -> _TERMS:
        for row in range(len(targets)):
            own = {name: value[row : row + 1] for name, value in outputs.items()}
            # SSD adds a tensor for each picture, FCOS numbers that are the same for all.
            rest = [[part[row]] if isinstance(part[0], Tensor) else part for part in more]
            found.append(of_batch([targets[row]], own, [anchors[row]], *rest))
        return {}

    net.compute_loss = of_each
    try:
        net(pictures, things)
    finally:
        del net.compute_loss
    return found


def _two_stages(net: Any, pictures: list[Tensor], things: list[dict[str, Tensor]]) -> list[_TERMS]:
    """The terms of each picture's loss, by the steps of torchvision's `GeneralizedRCNN.forward`; maps are made of all
    pictures together, and what follows samples regions of each."""
    from torchvision.models.detection.image_list import ImageList  # slow to import

    images, targets = net.transform(pictures, things)
    maps = net.backbone(images.tensors)
    if isinstance(maps, Tensor):
        maps = {"0": maps}
    found = []
    for row, target in enumerate(targets):
        one = ImageList(images.tensors[row : row + 1], images.image_sizes[row : row + 1])
        own = {name: value[row : row + 1] for name, value in maps.items()}
        regions, of_regions = net.rpn(one, own, [target])
        _, of_things = net.roi_heads(own, regions, one.image_sizes, [target])
        found.append({**of_regions, **of_things})
    return found
