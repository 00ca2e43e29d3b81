"""Detectors whose background is not torchvision's one class, and that learn while they are asked."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

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
