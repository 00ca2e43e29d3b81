"""An answer that is found at the encoder and travels in the file: codec, adapter and head."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from icm_core.coding import serialize
from icm_core.coding.bounds import Bound
from icm_core.errors import BitstreamError, SpecError
from icm_core.interfaces import Codec, ComponentParams, Nested, SideInfoAdapter, TaskHead
from icm_core.quality import Quality
from icm_core.types import CodecOutput, FeatureLayout, Features, Level, SideInfo, SideInfoLayout
from icm_related.latent import ClassesParams


class WithAnswer(Codec):
    """A codec, and what a classifier at the encoder says, in one file (Pre-SA of DeepSIC, Luo et al., ICONIP 2018).

    The classifier sees the clean picture, or through an adapter the codec's own side information. The file has its best
    classes, the best first: a whole number to the base K, in as many bytes as all possible answers need, and then the
    codec's payload. The side information is the codec's, and behind it a level of K values for the whole picture: in
    training the classifier's logits, else the number of places left behind a class that was sent, 0 for the others.
    """

    name: ClassVar[str] = "related.with_answer"

    class Params(ComponentParams):
        """The codec, and who answers."""

        codec: Nested[Codec] = Field(description="the codec of the rest of the file")
        head: Nested[TaskHead] = Field(description="the classifier at the encoder")
        adapter: Nested[SideInfoAdapter] | None = Field(
            None, description="makes its features of the codec's side information; none: it reads the clean picture"
        )
        top: int = Field(5, ge=1, le=100, description="number of classes that are sent, at most all")

    params: Params

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        if (kind := params.head.cls.kind_of(params.head.params)) != "classification":
            raise SpecError(f"head: {params.head.use} is of kind {kind}; an answer that travels is a classification")
        self.codec = params.codec.build()
        self.adapter = None if params.adapter is None else params.adapter.build(self.codec.layout)
        features: Mapping[str, Level] = {"image": Level(3, 1)} if self.adapter is None else self.adapter.features
        if missing := [name for name in params.head.cls.requires if name not in features]:
            raise SpecError(f"head: {params.head.use} needs {', '.join(missing)}, and it gets {', '.join(features)}")
        self.head = params.head.build(features)
        self.classes = len(self.head.labels)
        self.top = min(params.top, self.classes)
        self.length = math.ceil(math.log2(self.classes**self.top) / 8)

    @property
    def layout(self) -> SideInfoLayout:
        """The codec's levels, and one of K values for the whole picture."""
        inner = self.codec.layout
        return SideInfoLayout((*inner.levels, Level(self.classes, 0)), inner.width)

    @property
    def quality_range(self) -> tuple[float, float]:
        """The codec's."""
        return self.codec.quality_range

    def forward(self, x: Tensor, quality: Tensor) -> CodecOutput:
        """See `Codec.forward`."""
        coded: CodecOutput = self.codec(x, quality)
        logits = self._logits(x, coded.side)
        answer = logits if self.training else self._scores(logits.topk(self.top).indices)
        bits = logits.new_full((len(x),), 8.0 * self.length)
        return CodecOutput(self._together(coded.side, answer), {**coded.bits, "answer": bits})

    def encode(self, x: Tensor, quality: Quality) -> list[bytes]:
        """The answer of each picture, and the codec's payload."""
        return self.encode_with_side(x, quality)[0]

    def encode_with_side(self, x: Tensor, quality: Quality) -> tuple[list[bytes], SideInfo]:
        """As `encode`, with what `decode` gives."""
        payloads, side = self.codec.encode_with_side(x, quality)
        best = self._logits(x, side).topk(self.top).indices
        answers = [self._written(row) for row in best.tolist()]
        joined = [answer + payload for answer, payload in zip(answers, payloads, strict=True)]
        return joined, self._together(side, self._scores(best))

    def decode(self, payloads: Sequence[bytes], size: tuple[int, int], quality: Quality) -> SideInfo:
        """See `Codec.decode`."""
        best = [self._read(payload) for payload in payloads]
        side = self.codec.decode([payload[self.length :] for payload in payloads], size, quality)
        return self._together(side, self._scores(torch.tensor(best, device=side.levels[0].device)))

    def coding_state(self) -> bytes:
        """The codec's, and how answers are written; which network found them does not matter."""
        return serialize(f"{self.name}/1", f"{self.classes} {self.top}", self.codec.coding_state())

    def prove(self) -> Sequence[Bound]:
        """What the codec proves."""
        return self.codec.prove()

    def freeze_tables(self) -> None:
        """The codec's."""
        self.codec.freeze_tables()

    def _logits(self, x: Tensor, side: SideInfo) -> Tensor:
        size = (x.shape[-2], x.shape[-1])
        features = Features({"image": x}, size) if self.adapter is None else self.adapter(side)
        logits: Tensor = self.head(features)
        return logits.float()

    def _scores(self, best: Tensor) -> Tensor:
        """Scores (B, K) of the classes that were sent, (B, top) with the best first."""
        places = torch.arange(self.top, 0, -1, device=best.device, dtype=torch.float32)
        return torch.zeros(len(best), self.classes, device=best.device).scatter(1, best, places.expand_as(best))

    def _together(self, side: SideInfo, answer: Tensor) -> SideInfo:
        return SideInfo((*side.levels, answer[:, :, None, None]), side.size)

    def _written(self, best: Sequence[int]) -> bytes:
        number = 0
        for one in best:
            number = number * self.classes + one
        return number.to_bytes(self.length, "big")

    def _read(self, payload: bytes) -> list[int]:
        if len(payload) < self.length:
            raise BitstreamError(f"a payload of {len(payload)} bytes is cut: its answer alone has {self.length}")
        number, best = int.from_bytes(payload[: self.length], "big"), []
        for _ in range(self.top):
            number, one = divmod(number, self.classes)
            best.append(one)
        if number or len({*best}) < self.top:
            raise BitstreamError("a payload's answer is none that an encoder writes")
        return best[::-1]


class AnswerAdapter(SideInfoAdapter):
    """The values that a file has for the whole picture, as the map ``answer``."""

    name: ClassVar[str] = "related.answer"

    class Params(ComponentParams):
        """No parameters."""

    def __init__(self, params: Params, layout: SideInfoLayout) -> None:
        super().__init__(params, layout)
        found = [number for number, level in enumerate(layout.levels) if level.stride == 0]
        if not found:
            raise SpecError(f"adapter '{self.name}' takes a codec that sends an answer, such as '{WithAnswer.name}'")
        self._number = found[0]

    @property
    def features(self) -> FeatureLayout:
        """answer: K values for the whole picture."""
        return {"answer": self.layout.levels[self._number]}

    def forward(self, side: SideInfo) -> Features:
        """The level as it is."""
        return Features({"answer": side.levels[self._number]}, side.size)


class Told(TaskHead):
    """Classification as a file tells it: its scores are an order, and no probabilities."""

    name: ClassVar[str] = "related.told"
    kind: ClassVar[str] = "classification"
    requires: ClassVar[tuple[str, ...]] = ("answer",)

    class Params(ClassesParams):
        """The classes of the network at the encoder."""

    params: Params

    def __init__(self, params: Params, features: FeatureLayout) -> None:
        super().__init__(params, features)
        if "answer" not in features:
            raise SpecError(
                f"head '{self.name}' needs 'answer', and its adapter gives {', '.join(features) or 'nothing'}"
            )
        if features.get("answer") != Level(params.classes, 0):
            raise SpecError(
                f"head '{self.name}' is told {params.classes} classes, and its adapter gives {dict(features)}; classes "
                "should be as many as the network at the encoder has"
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the K classes, in order."""
        return self.params.labels

    def forward(self, features: Features) -> Tensor:
        """Scores (B, K)."""
        return features.maps["answer"].flatten(1)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of each picture in nats, (B,), which trains the network at the encoder; of classes (B,)."""
        return F.cross_entropy(output, target, reduction="none")
