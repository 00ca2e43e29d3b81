"""Small heads, which build in well under a second; pictures with things in them, and what a head might say of them."""

from __future__ import annotations

import pytest
import torch
from torchvision import tv_tensors

from icm_core.interfaces import TaskKind
from icm_core.nests import map_tensors
from icm_core.plugins.registry import build_registry
from icm_core.types import Features, Level
from icm_tasks import ModifiedTrSeg, TrSeg

LAYOUT = {"image": Level(3, 1)}
SMALL = {
    "backbone": "tf_efficientnet_lite0",
    "classes": 11,
    "channels": 16,
    "bins": (1, 2),
    "layers": 1,
    "heads": 2,
    "feedforward": 16,
}


@pytest.fixture
def layout() -> dict[str, Level]:
    return dict(LAYOUT)


@pytest.fixture
def small() -> dict[str, object]:
    return dict(SMALL)


@pytest.fixture(scope="session")
def trseg() -> TrSeg:
    torch.manual_seed(0)
    return TrSeg(TrSeg.Params.model_validate(SMALL), LAYOUT).eval()


@pytest.fixture(scope="session")
def modified() -> ModifiedTrSeg:
    torch.manual_seed(0)
    return ModifiedTrSeg(ModifiedTrSeg.Params.model_validate(SMALL), LAYOUT).eval()


@pytest.fixture
def picture():
    """Features of pictures of a size, padded to a multiple of 64 as a codec does."""

    def make(height: int, width: int, batch: int = 1) -> Features:
        padded = (-(-height // 64) * 64, -(-width // 64) * 64)
        generator = torch.Generator().manual_seed(height * width)
        return Features({"image": torch.rand(batch, 3, *padded, generator=generator)}, (height, width))

    return make


@pytest.fixture(scope="session")
def kind_of():
    """A kind of answers by its registered name."""
    registry = build_registry()

    def get(name: str) -> TaskKind:
        return registry.kind(name)

    return get


@pytest.fixture(scope="session")
def scene():
    """A target with things and what a middling head says of it: some missed, some moved, some made up.

    Scores are all different, so that no order among equals is asked for.
    """

    def make(number: int, classes: int = 3, size: tuple[int, int] = (60, 80), crowds: bool = True):
        generator = torch.Generator().manual_seed(number)
        height, width = size

        def boxes(count: int) -> torch.Tensor:
            extent = 6 + 0.4 * min(size) * torch.rand(count, 2, generator=generator)
            corner = (torch.tensor([width, height]) - extent) * torch.rand(count, 2, generator=generator)
            return torch.cat((corner, corner + extent), 1)

        things = int(torch.randint(6, (), generator=generator))
        target = {
            "boxes": boxes(things),
            "labels": torch.randint(classes, (things,), generator=generator),
            "iscrowd": (torch.rand(things, generator=generator) < (0.2 if crowds else 0)).long(),
        }
        found = torch.rand(things, generator=generator) < 0.8
        moved = target["boxes"][found] + 2 * torch.randn(int(found.sum()), 4, generator=generator)
        more = boxes(int(torch.randint(4, (), generator=generator)))
        labels = torch.cat((target["labels"][found], torch.randint(classes, (len(more),), generator=generator)))
        answer = {"boxes": torch.cat((moved, more)), "labels": labels}
        answer["boxes"][:, 2:] = torch.maximum(answer["boxes"][:, 2:], answer["boxes"][:, :2] + 1)
        answer["scores"] = torch.rand(len(labels), generator=generator)
        return target, answer

    return make


@pytest.fixture(scope="session")
def moved():
    """A target after augmentations of its picture, and the picture's size then.

    Each step is a torchvision function with its arguments, which all that has a place goes through, or a transform.
    """

    def move(kind, target, size, legend, *steps):
        picture = tv_tensors.Image(torch.zeros(3, *size, dtype=torch.uint8))
        both = (picture, kind.wrap(target, size))
        for function, *arguments in steps:
            if isinstance(function, torch.nn.Module):
                both = function(*both)
                continue

            def placed(leaf, function=function, arguments=arguments):
                return function(leaf, *arguments) if isinstance(leaf, tv_tensors.TVTensor) else leaf

            both = map_tensors(placed, both)
        after = tuple(both[0].shape[-2:])
        return kind.unwrap(both[1], after, legend), after

    return move
