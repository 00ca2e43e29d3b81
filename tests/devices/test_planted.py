"""Components that forget the device, each in another place: the kit finds them without a card."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from icm_core import Pipeline, SpecError, build, build_registry
from icm_core.interfaces import ComponentParams, TaskHead
from icm_core.kinds import Classification, Reconstruction, Segmentation
from icm_core.spec.model import PipelineSpec
from icm_core.testing import (
    Case,
    CodecCase,
    ConformanceError,
    Example,
    HeadCase,
    KindCase,
    LossCase,
    check_component_on_card,
    check_kind_on_card,
    check_loss_on_card,
)
from icm_core.training import Batch, Loss
from icm_core.types import CodecOutput, Features, Prediction, SideInfo
from icm_sicmh import Hyperprior
from icm_training.batch import CodedBatch, Kept
from icm_training.finding import find_recipe
from icm_training.shapes import Shapes

CODEC = {"width": 8, "h1_channels": 16, "h2_channels": 8, "groups": 4, "context_channels": 8, "qualities": 4}


class Good(TaskHead):
    """Three classes; nothing is forgotten."""

    name: ClassVar[str] = "test.good"
    kind = "classification"

    class Params(ComponentParams):
        """None."""

    def __init__(self, params: Any, features: Any) -> None:
        super().__init__(params, features)
        if "image" not in features:
            raise SpecError("needs the map 'image'")
        self.linear = nn.Linear(3, 3)

    def forward(self, features: Features) -> Tensor:
        found: Tensor = self.linear(features.cropped("image").mean((2, 3)))
        return found

    @property
    def labels(self) -> tuple[str, ...]:
        return ("one", "two", "three")

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target, reduction="none")


class InForward(Good):
    def forward(self, features: Features) -> Tensor:
        return super().forward(features) + torch.zeros(3)


class Trailing(Good):
    """Forgets all pictures of a batch but the first."""

    def forward(self, features: Features) -> Tensor:
        found = super().forward(features)
        return torch.cat([found[:1], found[1:] + torch.zeros(3)]) if len(found) > 1 else found


class InTraining(Good):
    def forward(self, features: Features) -> Tensor:
        found = super().forward(features)
        return found + 0.1 * torch.randn(found.shape) if self.training else found


class InLoss(Good):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target, torch.tensor([1.0, 2.0, 3.0]), reduction="none")


class InPredict(Good):
    def predict(self, features: Features) -> Prediction:
        found = super().predict(features)
        return Prediction(found.kind, torch.from_numpy(found.output.detach().cpu().numpy()), self.labels)


class AsAttribute(Good):
    def __init__(self, params: Any, features: Any) -> None:
        super().__init__(params, features)
        self.scale = torch.ones(3)

    def forward(self, features: Features) -> Tensor:
        return super().forward(features) * self.scale


class InNumpy(Good):
    def forward(self, features: Features) -> Tensor:
        found = super().forward(features)
        return found + float(found.detach().numpy().mean())


class NoiseOfTheCPU(Hyperprior):
    name = "test.noise"

    def forward(self, x: Tensor, quality: Tensor) -> CodecOutput:
        out = super().forward(x, quality)
        bits = {name: value + torch.zeros(len(x)) for name, value in out.bits.items()}
        return CodecOutput(out.side, bits)


class WhenCoding(Hyperprior):
    name = "test.coding"

    def encode(self, x: Tensor, quality: Any) -> list[bytes]:
        return super().encode(x - torch.full(x.shape, 0.0), quality)


class Telling(Classification):
    """Reads the answer as an array."""

    name = "test.telling"

    def describe(self, prediction: Prediction) -> str:
        return str(prediction.output.numpy().argmax())


class Drawing(Segmentation):
    """Draws with a table of the CPU's."""

    name = "test.drawing"

    def draw(self, prediction: Prediction, picture: Image.Image) -> Image.Image | None:
        assert prediction.output.argmax(1).eq(torch.zeros(1, 1, 1)).any() is not None
        return super().draw(prediction, picture)


class Weighted(Loss):
    """Weights of the CPU."""

    name = "test.weighted"

    class Params(ComponentParams):
        """None."""

    def forward(self, batch: Batch) -> Tensor:
        return batch.coded().total_bits * torch.ones(len(batch.pictures))


class InLossOfTheCPU(Good):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return super().loss(output, target).cpu()


class WhenDecoding(Hyperprior):
    name = "test.decoding"

    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        side = super().decode(payloads, size, quality)
        return SideInfo((side.levels[0].cpu(), *side.levels[1:]), side.size)


class Branching(Good):
    """One class of three is another there."""

    def forward(self, features: Features) -> Tensor:
        found = super().forward(features)
        return found + torch.tensor([found.is_cuda, 0.0, 0.0], device=found.device)


class Placing(Classification):
    """Says where the answer lies."""

    name = "test.placing"

    def describe(self, prediction: Prediction) -> str:
        return str(prediction.output.device)


class Measuring(Reconstruction):
    """Measures against a picture of the CPU's."""

    name = "test.measuring"

    def tally(self, prediction: Prediction, target: Any) -> Any:
        return {"error": float((255 * prediction.output[0] - torch.from_numpy(target.cpu().numpy())).square().mean())}


class Returning(Weighted):
    """Comes back."""

    def forward(self, batch: Batch) -> Tensor:
        return batch.coded().total_bits.cpu()


def pipeline() -> Pipeline:
    recipe = find_recipe("smoke", build_registry())[0]
    assert isinstance(recipe.pipeline, PipelineSpec)
    return build(recipe.pipeline, build_registry())


def coded(pipe: Pipeline, example: Example) -> CodedBatch:
    views = [-1] * len(example.pictures)
    return CodedBatch(pipe, example.pictures, example.target, example.qualities, 0.0, range(len(views)), views, Kept())


DATA = Shapes(Shapes.Params(count=6), Path(), "")
SMALL = {"sizes": ((64, 64),)}
RAISED = "a GPU raised RuntimeError: Expected all tensors to be on the same device, but found .* cuda:0 and cpu"
PLANTED: list[tuple[Case, Callable[[Any], None], str]] = [
    (HeadCase(Trailing, sizes=((64, 64),)), check_component_on_card, f"running test.good on {RAISED}"),
    (HeadCase(InForward, **SMALL), check_component_on_card, f"running test.good on {RAISED}"),
    (
        HeadCase(InTraining, **SMALL),
        check_component_on_card,
        f"a training step of test.good on {RAISED}",
    ),
    (HeadCase(InLoss, **SMALL), check_component_on_card, f"a training step of test.good on {RAISED}"),
    (
        HeadCase(InPredict, **SMALL),
        check_component_on_card,
        "prediction of test.good is on the CPU after a pass",
    ),
    (HeadCase(AsAttribute, **SMALL), check_component_on_card, f"running test.good on {RAISED}"),
    (HeadCase(InNumpy, **SMALL), check_component_on_card, "can't convert cuda:0 device type tensor to numpy"),
    (CodecCase(NoiseOfTheCPU, CODEC, **SMALL), check_component_on_card, f"running test.noise on {RAISED}"),
    (CodecCase(WhenCoding, CODEC, **SMALL), check_component_on_card, f"running test.coding on {RAISED}"),
    (HeadCase(InLossOfTheCPU, **SMALL), check_component_on_card, "^the objective is on the CPU after a pass on a GPU"),
    (
        CodecCase(WhenDecoding, CODEC, **SMALL),
        check_component_on_card,
        r"^decoded side.levels\[0\] of test.decoding is on the CPU after a pass",
    ),
    (KindCase(Measuring, **SMALL), check_kind_on_card, f"an answer of the kind test.measuring on {RAISED}"),
    (
        LossCase(Returning, pipeline=pipeline, batch=coded, data=DATA, reaches=()),
        check_loss_on_card,
        "^test.weighted is on the CPU after a pass",
    ),
    (KindCase(Telling, **SMALL), check_kind_on_card, "an answer of the kind test.telling on a GPU raised TypeError"),
    (KindCase(Drawing, **SMALL), check_kind_on_card, f"an answer of the kind test.drawing on {RAISED}"),
    (
        LossCase(Weighted, pipeline=pipeline, batch=coded, data=DATA, reaches=()),
        check_loss_on_card,
        f"a training step with test.weighted on {RAISED}",
    ),
]


@pytest.mark.parametrize(("case", "check", "says"), PLANTED, ids=lambda value: getattr(value, "cls", int).__name__)
def test_a_forgotten_device_is_found_without_a_card(case: Case, check: Callable[[Any], None], says: str) -> None:
    with pytest.raises(ConformanceError) as caught:
        check(case)
    assert re.search(says, str(caught.value)), caught.value
    assert "Make tensors where the inputs or a parameter are" in str(caught.value)


def test_what_is_another_on_a_card_is_found() -> None:
    with pytest.raises(ConformanceError, match=r"^test\.good: 33% of output is another on a GPU"):
        check_component_on_card(HeadCase(Branching, **SMALL))
    with pytest.raises(ConformanceError, match=r"test\.placing says something else of an answer that lies on a GPU"):
        check_kind_on_card(KindCase(Placing, **SMALL))


def test_nothing_is_found_where_nothing_is_forgotten() -> None:
    check_component_on_card(HeadCase(Good, **SMALL))


class Shared(Loss):
    """Weights that share one number in memory: no optimizer can change them."""

    name = "test.shared"

    class Params(ComponentParams):
        """None."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.weights = nn.Parameter(torch.ones(1).expand(2))

    def forward(self, batch: Batch) -> Tensor:
        return batch.coded().total_bits * self.weights.sum()


def test_a_step_is_made_with_the_losss_own_weights_too() -> None:
    case = LossCase(Shared, pipeline=pipeline, batch=coded, data=DATA, reaches=())
    with pytest.raises(ConformanceError, match=r"^a training step with test\.shared on a GPU raised RuntimeError: "):
        check_loss_on_card(case)


class AnsweringOnly(Classification):
    """Gives other words of an answer that lies on a GPU to programs alone."""

    name = "test.answering"

    def answer(self, prediction: Prediction) -> Any:
        return {"top": []} if prediction.output.is_cuda else super().answer(prediction)


class DescribingOnly(Classification):
    """Gives other words of an answer that lies on a GPU to persons alone."""

    name = "test.describing"

    def describe(self, prediction: Prediction) -> str:
        return "nothing" if prediction.output.is_cuda else super().describe(prediction)


@pytest.mark.parametrize("kind", [AnsweringOnly, DescribingOnly])
def test_an_answer_that_lies_on_a_card_says_the_same(kind: type[Classification]) -> None:
    with pytest.raises(ConformanceError, match=f"the kind {kind.name} says something else of an answer that lies on a"):
        check_kind_on_card(KindCase(kind, **SMALL))


class Detached(Good):
    """Learns nothing, which is not for the card to say."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return super().loss(output, target).detach()


def test_what_learns_nothing_forgets_no_device() -> None:
    check_component_on_card(HeadCase(Detached, **SMALL))
