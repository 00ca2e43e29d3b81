"""Components with one mistake each: the check that is there for it finds it and says what to do."""

from __future__ import annotations

import struct
from typing import Any, ClassVar

import pytest
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from icm_core import BitstreamError, SpecError, testing
from icm_core.interfaces import ComponentParams, SideInfoAdapter, TaskHead
from icm_core.kinds import Regression
from icm_core.testing import AdapterCase, Case, CodecCase, HeadCase, KindCase
from icm_core.testing.cases.examples import BATCH
from icm_core.testing.checks.heads import _disturbed, _doc
from icm_core.types import CodecOutput, Features, Level, Prediction, SideInfo
from icm_sicmh import Coarse, Hyperprior
from icm_tasks.kinds import Embedding

CODEC = {"width": 8, "h1_channels": 16, "h2_channels": 8, "groups": 4, "context_channels": 8, "qualities": 4}
SIZES = ((64, 64), (20, 70))


class Good(TaskHead):
    """A head without mistakes."""

    name: ClassVar[str] = "test.good"
    kind = "classification"

    class Params(ComponentParams):
        """How many."""

        classes: int = Field(3, ge=2, description="number of classes")

    def __init__(self, params: Any, features: Any) -> None:
        super().__init__(params, features)
        if "image" not in features:
            raise SpecError("needs the map 'image'")
        self.conv = nn.Conv2d(3, 4, 3, 2)
        self.linear = nn.Linear(4, params.classes)

    def forward(self, features: Features) -> Tensor:
        return self.linear(self.conv(features.cropped("image")).relu().mean((2, 3)))

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(f"class {index}" for index in range(self.params.classes))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target, reduction="none")


class Shouting(Good):
    name = "Test.Good"


class Undescribed(Good):
    class Params(Good.Params):
        """One field says nothing."""

        depth: int = 3


class Counting(Good):
    def __init__(self, params: Any, features: Any) -> None:
        super().__init__(params, features)
        self.scale = float(self.conv.weight.abs().sum())


class Padded(Good):
    kind = "segmentation"

    def __init__(self, params: Any, features: Any) -> None:
        super().__init__(params, features)
        self.linear = nn.Conv2d(4, 3, 1)

    def forward(self, features: Features) -> Tensor:
        image = features.maps["image"]  # with the padding
        return F.interpolate(self.linear(self.conv(image)), size=image.shape[-2:])


class Mixing(Good):
    def forward(self, features: Features) -> Tensor:
        found = super().forward(features)
        return found - found.mean(0)


class Leaning(Good):
    def forward(self, features: Features) -> Tensor:
        found = super().forward(features)
        return found + (found - found[:1])  # the first picture stays as it is


class Remembering(Good):
    def __init__(self, params: Any, features: Any) -> None:
        super().__init__(params, features)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, features: Features) -> Tensor:
        self.seen += 1
        return super().forward(features)


class CountingCalls(Good):
    """As `Remembering`, in whole numbers."""

    def __init__(self, params: Any, features: Any) -> None:
        super().__init__(params, features)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, features: Features) -> Tensor:
        self.calls += 1
        return super().forward(features)


class HalfNamed(Good):
    """Needs a name and a number."""

    requires = ("image", 3)  # type: ignore[assignment]


class Rooted(Good):
    def __init__(self, params: Any, features: Any) -> None:
        super().__init__(params, features)
        self.extra = nn.Parameter(torch.zeros(1))

    def forward(self, features: Features) -> Tensor:
        return super().forward(features) + self.extra.abs().sqrt()


class Infinite(Good):
    def forward(self, features: Features) -> Tensor:
        found = super().forward(features)
        return found / 0


class Unitless(Good):
    unit = "m"

    def predict(self, features: Features) -> Prediction:
        return Prediction(self.kind, self(features), self.labels)


class Restless(Good):
    def forward(self, features: Features) -> Tensor:
        found = super().forward(features)
        return found + torch.rand_like(found)  # of few numbers a dropout may twice drop the same


class Unused(Good):
    def __init__(self, params: Any, features: Any) -> None:
        super().__init__(params, features)
        self.extra = nn.Linear(3, 3)


class Wandering(Good):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        found = super().loss(output, target)
        return found.detach() * 2 - found  # its gradient has the wrong sign


class Overflowing(Good):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(output.softmax(1).log(), target, reduction="none")


class Scalar(Good):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target)


class Columns(Good):
    """A column of losses, (B, 1), which would be broadcast against weights (B,) to (B, B)."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return super().loss(output, target)[:, None]


class Relative(Good):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        found = super().loss(output, target)
        return found / found.detach().mean()


class RelativePass(Good):
    def losses(self, features: Features, target: Tensor) -> Tensor:
        found = super().losses(features, target)
        return found / found.detach().mean()


class Unnamed(Good):
    def predict(self, features: Features) -> Prediction:
        return Prediction(self.kind, self(features))


class OfAnotherKind(Good):
    def predict(self, features: Features) -> Prediction:
        return Prediction("segmentation", self(features), self.labels)


class OneLabelShort(Good):
    @property
    def labels(self) -> tuple[str, ...]:
        return super().labels[1:]


class Unheard(Good):
    """Of a kind with a typing error."""

    kind = "detecton"


class Flat(Good):
    def divergence(self, output: Tensor, reference: Tensor) -> Tensor:
        return (output.argmax(1) != reference.argmax(1)).float()


class Attracted(Good):
    def divergence(self, output: Tensor, reference: Tensor) -> Tensor:
        return 1 / (1 + (output - reference).square().sum(1))


class Alternating(Good):
    def divergence(self, output: Tensor, reference: Tensor) -> Tensor:
        return (output - reference).square().sum(1) * torch.tensor([1.0, -1.0])


class Levelled(Good):
    """The same for all outputs, though with a gradient."""

    def divergence(self, output: Tensor, reference: Tensor) -> Tensor:
        found = (output - reference).square().sum(1)
        return 1 + (found - found.detach())


class Unpicklable(Good):
    def __init__(self, params: Any, features: Any) -> None:
        super().__init__(params, features)
        self.function = lambda value: value


class Forgetful(Good):
    def __init__(self, params: Any, features: Any) -> None:
        super().__init__(params, features)
        self.register_buffer("mask", torch.rand(params.classes), persistent=False)

    def forward(self, features: Features) -> Tensor:
        return super().forward(features) * self.mask


class Careless(Good):
    def __init__(self, params: Any, features: Any) -> None:
        features["image"]
        super().__init__(params, features)


class Staying(SideInfoAdapter):
    """An adapter that keeps a tensor where .to() does not see it."""

    name: ClassVar[str] = "test.staying"

    def __init__(self, params: Any, layout: Any) -> None:
        super().__init__(params, layout)
        self.conv = nn.Conv2d(layout.levels[0].channels, 4, 1)
        self.offset = torch.ones(1, 4, 1, 1)

    @property
    def features(self) -> dict[str, Level]:
        return {"fused": Level(4, self.layout.levels[0].stride)}

    def forward(self, side: SideInfo) -> Features:
        return Features({"fused": self.conv(side.levels[0]) + self.offset}, side.size)


class Boasting(Staying):
    def __init__(self, params: Any, layout: Any) -> None:
        super().__init__(params, layout)
        del self.offset
        self.register_buffer("offset", torch.ones(1, 4, 1, 1))

    @property
    def features(self) -> dict[str, Level]:
        return {"fused": Level(4, 1)}


class Lenient(Hyperprior):
    def encode(self, x: Any, quality: Any) -> list[bytes]:
        return [struct.pack(">I", len(payload)) + payload for payload in super().encode(x, quality)]

    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        return super().decode([p[4 : 4 + int.from_bytes(p[:4], "big")] for p in payloads], size, quality)


class Unguarded(Hyperprior):
    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        for payload in payloads:
            struct.unpack(">Q", payload[:8])
        return super().decode(payloads, size, quality)


class Hiding(Hyperprior):
    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        try:
            return super().decode(payloads, size, quality)
        except BitstreamError:
            height, width = (-(-side // 64) * 64 for side in size)
            shapes = [(len(payloads), level.channels, height // level.stride, width // level.stride)
                      for level in self.layout.levels]  # fmt: skip
            return SideInfo(tuple(torch.full(shape, torch.nan) for shape in shapes), size)


class Salting(Hyperprior):
    def encode(self, x: Any, quality: Any) -> list[bytes]:
        return super().encode(x + 0.3 * torch.rand_like(x), quality)


class Trusting(Hyperprior):
    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        try:
            return super().decode(payloads, size, quality)
        except Exception as error:
            raise AssertionError("a sound payload was expected") from error


class InBytes(Hyperprior):
    def forward(self, x: Any, quality: Any) -> CodecOutput:
        out = super().forward(x, quality)
        return CodecOutput(out.side, {name: bits / 8 for name, bits in out.bits.items()})


class Doubled(Hyperprior):
    def forward(self, x: Any, quality: Any) -> CodecOutput:
        out = super().forward(x, quality)
        return CodecOutput(out.side, {name: 2 * bits for name, bits in out.bits.items()})


class Averaging(Hyperprior):
    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        side = super().decode(payloads, size, quality)
        return SideInfo(tuple(level - level.mean() / 8 for level in side.levels), side.size)


class Louder(Hyperprior):
    def forward(self, x: Any, quality: Any) -> CodecOutput:
        out = super().forward(x, quality)
        return CodecOutput(SideInfo(tuple(level * 1.5 for level in out.side.levels), out.side.size), out.bits)


class Addressed(Hyperprior):
    def coding_state(self) -> bytes:
        return super().coding_state() + str(id(self)).encode()


class Disagreeing(Hyperprior):
    def encode_with_side(self, x: Any, quality: Any) -> tuple[list[bytes], SideInfo]:
        payloads, side = super().encode_with_side(x, quality)
        return payloads, SideInfo(tuple(level + 1 / 4096 for level in side.levels), side.size)


class Lost(Hyperprior):
    def search(self, x: Any, quality: Any, objective: Any, steps: int) -> list[bytes]:
        return super().search(20 * x, quality, objective, steps)


class Trailing(Good):
    name = "test.good head"


class Wordless(Good):
    """ """


class Silent(Good):
    class Params(Good.Params):
        """One field says nothing."""

        depth: int = Field(3, description="")


class Lax(Good):
    class Params(Good.Params, extra="ignore"):
        """Typing errors are not found."""


class Changeable(Good):
    class Params(Good.Params, frozen=False):
        """Anybody may change it."""


class Undecided(Good):
    """Says that it is of another kind than it is."""

    kind = "regression"  # type: ignore[assignment]

    @classmethod
    def kind_of(cls, params: Any) -> str:
        return "classification"


class Dividing(Good):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return super().loss(output, target) / output.abs().sum(1)


class Standing(Good):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return 0 * super().loss(output, target) + 1


class Dipping(Good):
    """A loss that is less once, and then what it was at first."""

    passes = 0

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        self.passes += 1
        return 0 * super().loss(output, target) + (0.5 if self.passes == 5 else 1)


class Squeezing(Good):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return super().loss(output, target).squeeze()


class Counted(Good):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output.argmax(1) != target).long()


class Mumbling(Good):
    def __init__(self, params: Any, features: Any) -> None:
        if "image" not in features:
            raise SpecError("a map is missing")
        super().__init__(params, features)


class Constant(Good):
    """Learns to say the same of every picture."""

    def losses(self, features: Features, target: Tensor) -> Tensor:
        found = super().losses(features, target)
        return found if len(found) == BATCH + 1 else found + 1


class Lone(Good):
    """Answers of the first picture alone."""

    def predict(self, features: Features) -> Prediction:
        found = super().predict(features)
        return Prediction(found.kind, found.output[:1], found.labels)


class Answering(Good):
    """Answers that depend on the batch, though the output does not."""

    def predict(self, features: Features) -> Prediction:
        found = super().predict(features)
        return Prediction(found.kind, found.output - found.output.mean(0), found.labels)


class Misnamed(Good):
    """Other names in its answers than in itself."""

    def predict(self, features: Features) -> Prediction:
        return Prediction(self.kind, self(features), tuple(name.upper() for name in self.labels))


class Needy(Good):
    """Says nothing of the second map that it needs."""

    requires = ("image", "fused")

    def __init__(self, params: Any, features: Any) -> None:
        super().__init__(params, features)
        features["fused"]


class Supervised(Good):
    """A second output inside of the network, without mistakes."""

    def outputs(self, features: Features) -> Any:
        output = self(features)
        return ((1.0, output), (0.5, {"inside": output.flip(1) * 3}))

    def loss(self, output: Any, target: Tensor) -> Tensor:
        return super().loss(output["inside"] if isinstance(output, dict) else output, target)


class Outer(Supervised):
    """Of its outputs the first has a loss that depends on the batch."""

    def loss(self, output: Any, target: Tensor) -> Tensor:
        found = super().loss(output, target)
        return found if isinstance(output, dict) else found / found.detach().mean()


class Inner(Supervised):
    """Of its outputs the second has a loss that depends on the batch."""

    def loss(self, output: Any, target: Tensor) -> Tensor:
        found = super().loss(output, target)
        return found / found.detach().mean() if isinstance(output, dict) else found


class Awake(Good):
    """A loss that depends on the batch in training alone."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        found = super().loss(output, target)
        return found / found.detach().mean() if self.training else found


class Forgetting(Good):
    """Leaves out what is beyond chance, without mistakes."""

    def __init__(self, params: Any, features: Any) -> None:
        super().__init__(params, features)
        self.drop, self.norm = nn.Dropout(0.5), nn.BatchNorm2d(3)

    def forward(self, features: Features) -> Tensor:
        image = self.drop(self.norm(features.cropped("image")))
        return super().forward(Features({"image": image}, features.size))


class ForgettingPass(Forgetting):
    """Makes its loss in its own pass, without mistakes."""

    def losses(self, features: Features, target: Tensor) -> Tensor:
        return super().losses(features, target)


class RelativeForgetting(ForgettingPass):
    """Against the mean of the batch, and with layers of chance."""

    def losses(self, features: Features, target: Tensor) -> Tensor:
        found = super().losses(features, target)
        return found / found.detach().mean()


class Still(Good):
    """A distance whose gradient is zero everywhere."""

    def divergence(self, output: Tensor, reference: Tensor) -> Tensor:
        found = (output - reference).square().sum(1)
        return found.detach() + 0 * found


HEADS = [
    (RelativeForgetting, testing.check_loss_per_picture, "losses of picture 0 is [1.0] alone and"),
    (Still, testing.check_divergence, "has no gradient, or one that is not finite. Compute it with differentiable"),
    (Lone, testing.check_shapes, "the prediction is torch.float32 of shape (1, 3); it should be logits, (2, 3)"),
    (Answering, testing.check_batch_independence, "of prediction of picture 0 is another alone than in a batch"),
    (Misnamed, testing.check_prediction, "predicts with 3 labels and the unit '', and itself has 3 labels and"),
    (Outer, testing.check_loss_per_picture, "loss of picture 0 is [1.0] alone and"),
    (Inner, testing.check_loss_per_picture, "loss of picture 0 is [1.0] alone and"),
    (Awake, testing.check_loss_per_picture, "loss of picture 0 is [1.0] alone and"),
    (Shouting, testing.check_declaration, "Set name: ClassVar[str] to 'plugin.component' in lower case"),
    (Undescribed, testing.check_parameters, "fields without description: depth. Write Field(default, description="),
    (Counting, testing.check_builds_on_meta, "shapes, not values"),
    (Padded, testing.check_shapes, "a head's output the picture itself"),
    (Mixing, testing.check_batch_independence, "nothing may be computed over the batch"),
    (Leaning, testing.check_batch_independence, "of picture 1 is another alone than in a batch"),
    (Remembering, testing.check_eval_is_deterministic, "changes seen. Update running statistics only where"),
    (CountingCalls, testing.check_eval_is_deterministic, "running it in eval mode changes calls"),
    (HalfNamed, testing.check_declaration, ".requires is ('image', 3). Make it a tuple of the features' names"),
    (Rooted, testing.check_gradients, "the gradient of extra is not finite. Bound what is divided by"),
    (Infinite, testing.check_shapes, "has values that are not finite for pictures of 64x64"),
    (
        Unitless,
        testing.check_prediction,
        "predicts with 3 labels and the unit '', and itself has 3 labels and",
    ),
    (Restless, testing.check_eval_is_deterministic, "only where self.training is True"),
    (Unused, testing.check_gradients, "no gradient reaches extra.weight, extra.bias. Remove parameters"),
    (Wandering, testing.check_loss_falls, "look at its sign"),
    (Overflowing, testing.check_loss_is_finite, "cross_entropy, not log of softmax"),
    (Scalar, testing.check_loss_is_finite, "gives a tensor of shape () for 1 pictures. Return one value for each"),
    (Columns, testing.check_loss_is_finite, "gives a tensor of shape (1, 1) for 1 pictures. Return one value for each"),
    (Relative, testing.check_loss_per_picture, "Take no mean over the batch"),
    (RelativePass, testing.check_loss_per_picture, "losses of picture 0 is [1.0] alone and"),
    (Unnamed, testing.check_prediction, "Return Prediction('classification', output, self.labels, self.colours"),
    (OfAnotherKind, testing.check_prediction, "gives Prediction of kind 'segmentation'. Return Prediction('classif"),
    (OneLabelShort, testing.check_prediction, "it should be logits, (2, 2). Outputs are logits (B, K), targets a"),
    (Unheard, testing.check_declaration, "kind is 'detecton'. Set kind: ClassVar[str] to the name of a kind that is"),
    (Flat, testing.check_divergence, "Compute it with differentiable operations: no argmax"),
    (Attracted, testing.check_divergence, "It is a distance: smallest, at best 0, where output and reference are"),
    (Alternating, testing.check_divergence, "It is a distance: smallest, at best 0, where output and reference are"),
    (Levelled, testing.check_divergence, "It is a distance: smallest, at best 0, where output and reference are"),
    (Unpicklable, testing.check_pickling, "Keep no lambdas"),
    (Forgetful, testing.check_state_dict, "parameters and buffers"),
    (Careless, testing.check_missing_features, "Raise icm_core.SpecError that names the feature"),
    (Trailing, testing.check_declaration, "name is 'test.good head'. Set name: ClassVar[str] to 'plugin.component'"),
    (Wordless, testing.check_declaration, "test.good has no docstring"),
    (Undecided, testing.check_declaration, "kind is 'regression' of an instance, and 'classification' by kind_of"),
    (Silent, testing.check_parameters, "fields without description: depth. Write Field(default, description="),
    (Lax, testing.check_parameters, "takes the unknown field 'no_such_field'. Leave extra='forbid'"),
    (Changeable, testing.check_parameters, "can be changed after it was made. Leave frozen=True"),
    (Dividing, testing.check_loss_is_finite, "for outputs multiplied by 0. Compute it from logits"),
    (Standing, testing.check_loss_falls, "took the loss from 1 to 1"),
    (Dipping, testing.check_loss_falls, "took the loss from 1 to 1"),
    (Squeezing, testing.check_loss_per_picture, "loss of picture 0 is "),
    (Squeezing, testing.check_loss_is_finite, "gives a tensor of shape () for 1 pictures"),
    (Counted, testing.check_loss_is_finite, "Return one value for each picture"),
    (Mumbling, testing.check_missing_features, "without 'image' says: a map is missing. Name the feature"),
    (Constant, testing.check_loss_per_picture, "losses of picture 0 is "),
]
ADAPTERS = [
    (Staying, testing.check_device_moves, "keeps tensors as plain attributes: offset. Make them parameters"),
    (Boasting, testing.check_shapes, "should have (2, 4, 64, 64)"),
]
CODECS = [
    (Lenient, testing.check_stream_is_exhausted, "check that the stream is exhausted"),
    (Unguarded, testing.check_truncated_input, "unpack requires a buffer of 8 bytes. Raise icm_core.BitstreamError"),
    (Trusting, testing.check_damaged_input, "a file may come from anybody"),
    (InBytes, testing.check_rate_estimate, "in bits per picture"),
    (Doubled, testing.check_rate_estimate, "in bits per picture"),
    (Averaging, testing.check_decoding_is_exact, "alone. Compute what decoding goes on from in integers"),
    (Louder, testing.check_round_trip, "Training has to see what decoding gives"),
    (Hiding, testing.check_damaged_input, "of a damaged payload is not finite. Bound decoded symbols"),
    (Salting, testing.check_decoding_is_exact, "encodes one picture to other bytes the second time. Use no random"),
    (Addressed, testing.check_stored_weights, "its coding_state is another after its weights were stored and loaded"),
    (Addressed, testing.check_coding_state, "no id(), no hash()"),
    (Disagreeing, testing.check_encode_with_side, "Give what decode gives of the payloads, or leave encode_with_side"),
    (Lost, testing.check_search, "Give the best payloads that were met, those of encode included"),
]
BROKEN: list[tuple[Case, Any, str]] = [
    *((HeadCase(cls, sizes=SIZES), check, advice) for cls, check, advice in HEADS),
    *((AdapterCase(cls, sizes=SIZES), check, advice) for cls, check, advice in ADAPTERS),
    *((CodecCase(cls, CODEC, sizes=SIZES), check, advice) for cls, check, advice in CODECS),
]


@pytest.mark.parametrize(("case", "check", "advice"), BROKEN, ids=lambda value: getattr(value, "__name__", None))
def test_a_mistake_is_found_and_the_message_says_what_to_do(case: Case, check: Any, advice: str) -> None:
    with pytest.raises(testing.ConformanceError) as caught:
        check(case)
    assert advice in str(caught.value)


def test_a_head_without_mistakes_passes() -> None:
    assert testing.run_checks(HeadCase(Good, sizes=SIZES)) == []
    assert isinstance(testing.case_of(Good), HeadCase)


@pytest.mark.parametrize("cls", [Supervised, Forgetting, ForgettingPass])
def test_losses_of_several_outputs_and_of_layers_of_chance_are_compared_picture_by_picture(cls: type[Good]) -> None:
    testing.check_loss_per_picture(HeadCase(cls, sizes=SIZES))
    testing.check_loss_is_finite(HeadCase(cls, sizes=SIZES))
    testing.check_batch_independence(HeadCase(cls, sizes=SIZES))


def test_every_feature_that_a_head_requires_is_left_out_once() -> None:
    case = HeadCase(Needy, features={"image": Level(3, 1), "fused": Level(4, 8)}, sizes=SIZES)
    with pytest.raises(testing.ConformanceError, match=r"without the feature 'fused' raised KeyError: 'fused'\."):
        testing.check_missing_features(case)


def test_noise_is_added_to_whatever_an_output_is_and_the_same_each_time() -> None:
    output = {"scores": torch.tensor([0.0, 0.0, 100.0] * 50), "labels": torch.tensor([1, 2, 3])}
    found, again = _disturbed(output), _disturbed(output)
    assert torch.equal(found["labels"], output["labels"]) and torch.equal(found["scores"], again["scores"])
    rows = (found["scores"] - output["scores"]).view(50, 3)
    assert bool((rows != 0).all()) and 0.5 < float(rows[:, :2].std()) < 2 < 50 < float(rows[:, 2].std()) < 200


def test_what_a_kind_says_of_itself_is_its_first_paragraph_in_one_line() -> None:
    class Said:
        """Outputs are one thing,
        targets another.

        And there is more.
        """

    assert _doc(Said()) == "Outputs are one thing, targets another."
    Said.__doc__ = None
    assert _doc(Said()) == ""


def test_losses_of_what_a_head_draws_at_random_are_not_compared() -> None:
    class Drawing(Good):
        def losses(self, features: Features, target: Tensor) -> Tensor:
            return super().losses(features, target) + torch.rand(len(target))

    testing.check_loss_per_picture(HeadCase(Drawing, sizes=SIZES))


def test_a_declared_exception_is_left_out_and_needs_a_reason() -> None:
    excused = {"check_loss_falls": "its loss is for show"}
    assert testing.run_checks(HeadCase(Wandering, sizes=SIZES, exceptions=excused)) == [
        ("check_declaration", "test.good has no docstring. Say in a line what it is; icm schema shows it in editors.")
    ]
    with pytest.raises(ValueError, match="excepted from check_shapes without a reason"):
        testing.checks_for(HeadCase(Good, exceptions={"check_shapes": " "}))
    with pytest.raises(ValueError, match="has no check 'check_shape' to be excepted from"):
        testing.checks_for(HeadCase(Good, exceptions={"check_shape": "why"}))


def test_an_exception_becomes_a_strict_expected_failure() -> None:
    case = HeadCase(Good, exceptions={"check_shapes": "why"})
    mark = testing.parametrize_with_checks([case]).mark
    marked = {
        param.id: [(m.name, m.kwargs["reason"], m.kwargs["strict"]) for m in param.marks] for param in mark.args[1]
    }
    assert marked["test.good-shapes"] == [("xfail", "why", True)]
    assert marked["test.good-pickling"] == []


def test_what_is_unpromised_may_pass_and_may_fail() -> None:
    case = HeadCase(Good, unpromised={"check_shapes": "why"})
    mark = testing.parametrize_with_checks([case]).mark
    marked = {param.id: [(m.kwargs["reason"], m.kwargs["strict"]) for m in param.marks] for param in mark.args[1]}
    assert marked["test.good-shapes"] == [("why", False)]
    failing = HeadCase(Wandering, sizes=SIZES, unpromised={"check_loss_falls": "why"})
    assert "check_loss_falls" not in dict(testing.run_checks(failing))
    with pytest.raises(ValueError, match="excepted from check_shapes without a reason"):
        testing.checks_for(HeadCase(Good, unpromised={"check_shapes": " "}))
    with pytest.raises(ValueError, match="has check_shapes among its exceptions and among what is unpromised"):
        testing.checks_for(HeadCase(Good, exceptions={"check_shapes": "a"}, unpromised={"check_shapes": "b"}))


def test_features_beside_the_image_are_given_to_the_case() -> None:
    with pytest.raises(
        testing.ConformanceError, match=r"requires the features \['fused', 'h1', 'h2'\], of which the kit"
    ):
        testing.check_shapes(HeadCase(Coarse))


def test_a_kind_that_is_not_installed_is_given_to_the_case() -> None:
    class Depths(Regression):
        """Values of another kind."""

        name: ClassVar[str] = "test.depths"

    class Deep(Good):
        """Of a kind of its own."""

        kind = "test.depths"

    with pytest.raises(testing.ConformanceError, match="or give the case your own, which need not be: kind=YourKind"):
        testing.check_declaration(HeadCase(Deep))
    testing.check_declaration(HeadCase(Deep, kind=Depths))
    testing.check_measuring(HeadCase(Deep, kind=Depths()))
    with pytest.raises(
        testing.ConformanceError, match=r"test\.good\.kind is 'classification', and its case has the kind"
    ):
        testing.check_declaration(HeadCase(Good, kind=Depths))


def test_a_kind_without_truth_is_given_predictions() -> None:
    with pytest.raises(testing.ConformanceError, match=r"has no truth, .* KindCase\(Embedding, predict="):
        testing.check_truth(KindCase(Embedding))
