"""A pipeline at work: one codec, several tasks behind it, and an enhancement over one of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar, cast

import torch
from PIL import Image
from torch import Tensor, nn
from typing_extensions import Self

from icm_core.bitstream.container import MAX_PIXELS, Container, Layer, LayerKind, read, write
from icm_core.bitstream.control_hash import check_control, control_hash
from icm_core.bitstream.fingerprint import base_fingerprint, enhancement_fingerprint
from icm_core.bitstream.split import join
from icm_core.coding.bounds import Bound
from icm_core.coding.weight_cache import Memo
from icm_core.errors import BitstreamError, InputError
from icm_core.interfaces import Codec, Enhancement, SideInfoAdapter, TaskHead, TaskKind
from icm_core.nests import Nest, floats
from icm_core.pictures import as_batch, to_picture
from icm_core.pipeline.answers import Answers, Refine
from icm_core.pipeline.decoded import Decoded
from icm_core.pipeline.search import Objective, searched_tasks
from icm_core.quality import Quality
from icm_core.spec.model import FINE, PipelineSpec
from icm_core.types import Features, Prediction, SideInfo
from icm_registry import unknown

Same = TypeVar("Same")

PRECISIONS = ("fp32", "bf16")
"""Arithmetic of the float networks. The coding path is exact in either, so files can be exchanged."""


class Task(nn.Module):
    """One task: its own adapter, its head, and the kind of its answers."""

    def __init__(self, adapter: SideInfoAdapter, head: TaskHead, kind: TaskKind) -> None:
        super().__init__()
        self.adapter = adapter
        self.head = head
        self.kind = kind

    def forward(self, side: SideInfo) -> Nest:
        """The head's output for side information; differentiable."""
        return self.head(self.adapter(side))

    def predict(self, side: SideInfo) -> Prediction:
        """The head's prediction, as it gave it but for real numbers, which are float32."""
        return self.answer(self.adapter(side))

    def answer(self, features: Features) -> Prediction:
        """The same for features; those of a clean picture are the map ``image``."""
        found = self.head.predict(features)
        return replace(found, output=floats(found.output))

    @property
    def compares(self) -> bool:
        """Whether its outputs can be compared."""
        return type(self.head).divergence is not TaskHead.divergence or self.kind.compares

    def divergence(self, output: Nest, reference: Nest) -> Tensor:
        """How far an output is from that of the clean picture, (B,): the head says it, or else its kind."""
        if type(self.head).divergence is not TaskHead.divergence:
            return self.head.divergence(output, reference)
        return self.kind.divergence(output, reference)


class Pipeline(nn.Module):
    """Pictures to files and files to predictions. Get one from `icm_core.load` or `icm_core.build`.

    ::

        x -> codec -> [base bytes] -> codec -> side -> task.adapter -> task.head -> prediction
                                                 `-> tasks[over] -> x_c -> enhancement(x, x_c) -> [enhancement bytes]

    State-dict keys: ``codec.*``, ``tasks.<task>.adapter.*``, ``tasks.<task>.head.*``, ``enhancement.*``.

    Args:
        spec: what it was built from.
        codec: the codec, shared by all tasks.
        tasks: the tasks by name.
        enhancement: refines the picture of the task that ``spec.enhancement.over`` names.
    """

    codec: Codec
    enhancement: Enhancement | None

    def __init__(
        self, spec: PipelineSpec, codec: Codec, tasks: dict[str, Task], enhancement: Enhancement | None = None
    ) -> None:
        super().__init__()
        self.spec = spec
        self.codec = codec
        self.tasks = nn.ModuleDict(tasks)
        self.enhancement = enhancement
        self._precision = "fp32"
        self._base: Memo[bytes] = Memo()
        self._fine: Memo[bytes] = Memo()

    @property
    def name(self) -> str:
        """The spec's name."""
        return self.spec.name

    @property
    def over(self) -> str | None:
        """Name of the task whose picture the enhancement refines, None without enhancement."""
        return self.spec.enhancement.over if self.spec.enhancement else None

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        first = next(itertools.chain(self.parameters(), self.buffers()), None)
        return first.device if first is not None else torch.device("cpu")

    @property
    def precision(self) -> str:
        """``"fp32"`` or ``"bf16"``: the latter runs the float networks under bfloat16 autocast."""
        return self._precision

    @precision.setter
    def precision(self, value: str) -> None:
        if value not in PRECISIONS:
            raise InputError(f"precision {value!r} is unknown; it is one of {', '.join(PRECISIONS)}")
        self._precision = value

    @property
    def base_fingerprint(self) -> bytes:
        """Fingerprint that base layers of this pipeline carry."""
        with self._inference(exact=True):
            return self._base.get([self.codec], lambda: base_fingerprint(self.codec))

    @property
    def enhancement_fingerprint(self) -> bytes | None:
        """Fingerprint that enhancement layers of this pipeline carry, None if it writes none."""
        enhancement, over = self.enhancement, self.over
        if enhancement is None or over is None:
            return None
        with self._inference(exact=True):
            return self._fine.get(
                [self.codec, self.tasks[over], enhancement],
                lambda: enhancement_fingerprint(self.codec, self.tasks[over], enhancement),
            )

    def prove(self) -> list[Bound]:
        """A bound of every sum on the coding path, from weights and clamps.

        Raises:
            WeightsError: a layer could leave the range in which its arithmetic is exact; it is named.
        """
        with self._inference(exact=True):
            return [*self.codec.prove(), *(self.enhancement.prove() if self.enhancement is not None else ())]

    def task(self, name: str) -> Task:
        """A task by name; `InputError` with the nearest match if there is none."""
        if name not in self.tasks:
            raise InputError(unknown("task", name, self.tasks))
        return cast(Task, self.tasks[name])

    def kind(self, name: str) -> TaskKind:
        """The kind of a task's answers; of ``"fine"`` that of the picture that it refines."""
        return self.task(self.over if name == FINE and self.over is not None else name).kind

    @property
    def picture_task(self) -> str | None:
        """The task that shows a picture: the one that the enhancement refines, else the first there is, else None."""
        shown = (name for name in self.tasks if self.task(name).kind.is_picture and not self.task(name).adapter.needs)
        return self.over or next(shown, None)

    def reads_fine(self, name: str) -> bool:
        """Whether an output takes the enhancement layer: ``"fine"`` itself, and tasks that read the refined picture."""
        return name == FINE or any(map(self.reads_fine, self.task(name).adapter.needs))

    def side_for(self, name: str, side: SideInfo) -> SideInfo:
        """Side information with the pictures that a task's adapter reads; differentiable.

        Raises:
            InputError: the task reads the refined picture, which side information alone does not give.
        """
        if self.reads_fine(name):
            raise InputError(f"task {name!r} reads the {FINE!r} picture, which the base layer alone does not give")
        return Answers(self, side).side(name)

    def search_ends(self, name: str) -> tuple[float, float] | None:
        """What a unit of a task's divergence is worth in a search, at the lowest and the highest quality."""
        return self.spec.tasks[name].search

    def analyse(self, image: Image.Image | Tensor, quality: float = 3.0) -> SideInfo:
        """The side information that a decoder would have of a picture, without making a file.

        Raises:
            InputError: as in `encode`.
        """
        step = self._quality(quality)
        with self._inference():
            x = as_batch(image).to(self.device)
            return self.codec.encode_with_side(x, step)[1]

    def encode(
        self,
        image: Image.Image | Tensor,
        quality: float = 3.0,
        *,
        enhancement: bool = True,
        enhancement_quality: float | None = None,
        control: bool = False,
        effort: int = 0,
        search_for: Sequence[str] | None = None,
    ) -> bytes:
        """A picture as the content of an ``.icm`` file.

        Args:
            image: a PIL picture, or a tensor (3, H, W) or (1, 3, H, W), uint8 or floats in [0, 1].
            quality: from 1 (fewest bits) to the codec's highest, in steps of 1/16.
            enhancement: if False, or if the pipeline has no enhancement, the file has a base layer only.
            enhancement_quality: of the enhancement layer alone, so that the base layer's bytes and answers stay while
                the fine picture changes; None: ``quality``. Where it is another, the file is one byte longer.
            control: if True, each layer carries 4 bytes of a hash of what it decodes to, for `decode(verify=True)`.
                It says what the encoder coded.
            effort: steps of encoder-side search (`icm_core.pipeline.search`); 0 for none.
            search_for: names of the tasks that are searched for; by default all whose spec has a ``search``.

        Raises:
            InputError: the picture, a quality, the effort or a task cannot be used.
        """
        (blob,) = self.encode_batch(
            [image],
            quality,
            enhancement=enhancement,
            enhancement_quality=enhancement_quality,
            control=control,
            effort=effort,
            search_for=search_for,
        )
        return blob

    def encode_batch(
        self,
        images: Sequence[Image.Image | Tensor],
        quality: float = 3.0,
        *,
        enhancement: bool = True,
        enhancement_quality: float | None = None,
        control: bool = False,
        effort: int = 0,
        search_for: Sequence[str] | None = None,
    ) -> list[bytes]:
        """Pictures of one size as the contents of ``.icm`` files, computed together; arguments as in `encode`.

        What float networks compute may differ in the last bits from what they compute of a picture alone, so a file
        need not be the same byte for byte. Each decodes by itself.

        Raises:
            InputError: as in `encode`, or the pictures have different sizes.
        """
        step = self._quality(quality)
        finer = self.enhancement_step(step, enhancement_quality, enhancement=enhancement)
        searched = searched_tasks(self, effort, search_for)
        with self._inference():
            pictures = [as_batch(image) for image in images]
            height, width = _one([_size(picture) for picture in pictures], "pictures of one size")
            x = torch.cat(pictures).to(self.device) if len(pictures) > 1 else pictures[0].to(self.device)
            fingerprint = self.enhancement_fingerprint if enhancement else None
            side: SideInfo | None = None
            if searched:
                payloads = self._searched(x, step, effort, searched)
                # What comes behind is made from the decoded side information, as a decoder has it.
                side = self.codec.decode(payloads, (height, width), step) if fingerprint or control else None
            elif fingerprint or control:
                payloads, side = self.codec.encode_with_side(x, step)
            else:
                payloads = self.codec.encode(x, step)
            layers = [
                [Layer(LayerKind.BASE, self.base_fingerprint, payload, hashed)]
                for payload, hashed in zip(payloads, _hashes(side if control else None, len(payloads)), strict=True)
            ]
            if fingerprint and side is not None and self.enhancement is not None and self.over is not None:
                coarse = Answers(self, side).of(self.over).output
                payloads = self.enhancement.encode(x, coarse, side, finer or step)
                latent = self.enhancement.latent(payloads, side, finer or step) if control else None
                for number, payload in enumerate(payloads):
                    hashed = b"" if latent is None else control_hash([latent[number : number + 1]])
                    layers[number].append(Layer(LayerKind.ENHANCEMENT, fingerprint, payload, hashed, finer))
        return [write(Container(height, width, step, tuple(one), truncated=False)) for one in layers]

    def decode(
        self,
        blob: bytes | Container,
        tasks: Sequence[str] | None = None,
        *,
        enhancement: bytes | None = None,
        verify: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> Decoded:
        """Predictions from the content of an ``.icm`` file; only what is asked for is computed.

        Args:
            blob: the whole file, or a file cut after its base layer; also as `icm_core.bitstream.container.read` gives
                it, so that it is not parsed twice.
            tasks: names of tasks, and ``"fine"`` for the refined picture. By default all tasks, and ``"fine"`` if
                file and pipeline have an enhancement.
            enhancement: the enhancement part of `icm_core.bitstream.split`, where it came apart from its base file.
            verify: if True, what each decoded layer gives is compared with the control hash that it carries.
            max_pixels: a file that claims a larger picture is refused before anything is allocated.

        Raises:
            BitstreamError: the file is damaged, was written by another pipeline, lacks the layer that
                ``"fine"`` needs, claims too large a picture, does not belong to the enhancement, or fails to verify.
            InputError: a task is unknown.
        """
        asked = self._asked([tasks] if isinstance(tasks, str) else tasks)
        if enhancement is not None:
            if isinstance(blob, Container):
                raise InputError("an enhancement that came apart joins the bytes of its base file, not a parsed file")
            blob = join(blob, enhancement, max_pixels=max_pixels)
        file = blob if isinstance(blob, Container) else read(blob, max_pixels=max_pixels)
        return self.decode_batch([file], asked, verify=verify)[0]

    def decode_batch(
        self, files: Sequence[Container], tasks: Sequence[str] | None = None, *, verify: bool = False
    ) -> list[Decoded]:
        """Predictions from several files, computed together; arguments as in `decode`.

        What float networks compute may differ in the last bits from what they compute of a file alone. Decoded symbols
        are the same.

        Raises:
            BitstreamError: as in `decode`, for any of the files.
            InputError: a task is unknown, or the files differ in size or quality.
        """
        asked = self._asked(tasks)
        size, quality = _one(
            [((file.height, file.width), file.quality) for file in files], "files of one size and quality"
        )
        if asked is None:
            refined = all(file.enhancement is not None for file in files)
            asked = [name for name in self._outputs if refined or not self.reads_fine(name)]
        for file in files:
            self._check_base(file)
        fine, finer = list[Layer](), quality
        if any(map(self.reads_fine, asked)):
            fine = [self._enhancement_layer(file) for file in files]
            finer = _one([layer.quality or quality for layer in fine], "enhancements of one quality")
        verified: list[LayerKind] = []
        with self._inference():
            side = self.codec.decode([file.base.payload for file in files], size, quality)
            if verify:
                for file, found in zip(files, _hashes(side, len(files)), strict=True):
                    check_control(file.base, found)
                verified.append(LayerKind.BASE)
            if verify and fine and self.enhancement is not None:
                latent = self.enhancement.latent([layer.payload for layer in fine], side, finer)
                if latent is not None:
                    for number, layer in enumerate(fine):
                        check_control(layer, control_hash([latent[number : number + 1]]))
                    verified.append(LayerKind.ENHANCEMENT)
            answers = Answers(self, side, self._refining(fine, finer) if fine else None)
            together = {name: answers.of(name) for name in asked}
            sides = _rows(side, len(files))
            each = [together] if len(files) == 1 else self._apart(together, sides, fine, finer)
        return [
            Decoded(found, size, quality, not file.truncated, its, tuple(verified), file.enhancement_quality)
            for file, found, its in zip(files, each, sides, strict=True)
        ]

    @property
    def _outputs(self) -> list[str]:
        return [*self.tasks, *([FINE] if self.enhancement is not None else [])]

    def _asked(self, tasks: Sequence[str] | None) -> Sequence[str] | None:
        for name in tasks or ():
            if name not in self._outputs:
                raise InputError(unknown("task", name, self._outputs))
        return tasks

    def _apart(
        self, together: dict[str, Prediction], sides: Sequence[SideInfo], fine: Sequence[Layer], finer: Quality
    ) -> list[dict[str, Prediction]]:
        """The predictions of each picture of a batch. What a head tells in fields of its own is asked for anew."""
        each: list[dict[str, Prediction]] = []
        for number, side in enumerate(sides):
            alone = Answers(self, side, self._refining(fine[number : number + 1], finer) if fine else None)
            each.append(
                {
                    name: replace(found, output=self.kind(name).select(found.output, [number]))
                    if type(found) is Prediction
                    else alone.of(name)
                    for name, found in together.items()
                }
            )
        return each

    def canvas(self, decoded: Decoded) -> Image.Image:
        """What answers are drawn on: the best picture among them, else one decoded for it, else plain grey."""
        shown = [name for name in decoded if self.kind(name).is_picture]
        if shown:
            return to_picture(decoded[FINE if FINE in shown else shown[0]].output)
        if (name := self.picture_task) is None:
            height, width = decoded.size
            return Image.new("RGB", (width, height), (128, 128, 128))
        with self._inference():
            return to_picture(self.task(name).predict(decoded.side).output)

    def train(self, mode: bool = True) -> Self:
        """Training changes weights, so the fingerprints are forgotten."""
        self._base.clear()
        self._fine.clear()
        return super().train(mode)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As in `torch.nn.Module`; the fingerprints are forgotten."""
        self._base.clear()
        self._fine.clear()
        return super().load_state_dict(*args, **kwargs)

    def _searched(self, x: Tensor, quality: Quality, effort: int, tasks: Sequence[str]) -> list[bytes]:
        # Outside of inference mode, whose tensors have no gradients; its kept casts of weights have none either.
        enabled = torch.is_autocast_enabled(self.device.type)
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=enabled, cache_enabled=False),
        ):
            x = x.clone(memory_format=torch.channels_last)
            return self.codec.search(x, quality, Objective(self, x, quality, tasks), effort)

    def _refining(self, layers: Sequence[Layer], quality: Quality) -> Refine:
        enhancement = self.enhancement
        assert enhancement is not None  # it wrote the layers
        payloads = [layer.payload for layer in layers]
        return lambda coarse, side: enhancement.decode(payloads, coarse, side, quality)

    def enhancement_step(self, base: Quality, value: float | None, *, enhancement: bool = True) -> Quality | None:
        """The quality that an enhancement layer has to name: None where it has the base layer's, or no value is given.

        Args:
            base: quality of the base layer.
            value: quality of the enhancement layer, or None.
            enhancement: whether there is to be an enhancement layer.

        Raises:
            InputError: the quality is out of range, or there is no enhancement layer that could have it.
        """
        if value is None:
            return None
        if self.enhancement is None:
            raise InputError(f"pipeline {self.name!r} has no enhancement layer that could have a quality of its own")
        if not enhancement:
            raise InputError("a file without its enhancement layer has no quality of the enhancement")
        step = self._quality(value)
        return None if step == base else step

    def _quality(self, value: float) -> Quality:
        low, high = self.codec.quality_range
        quality = Quality.of(value)
        if not low <= quality.value <= high:
            raise InputError(f"quality {value:g} is out of range; pipeline {self.name!r} has {low:g} to {high:g}")
        return quality

    def _check_base(self, file: Container) -> None:
        self._check(file.base, self.base_fingerprint)
        low, high = self.codec.quality_range
        if not low <= file.quality.value <= high:
            raise BitstreamError(
                f"the file claims quality {file.quality.value:g}; pipeline {self.name!r} has {low:g} to {high:g}"
            )

    def _enhancement_layer(self, file: Container) -> Layer:
        if file.enhancement is None:
            why = "was cut inside its enhancement layer" if file.truncated else "has no enhancement layer"
            there = [name for name in self.tasks if not self.reads_fine(name)]
            raise BitstreamError(f"the file {why}, so it has no {FINE!r} picture; its tasks are {', '.join(there)}")
        self._check(file.enhancement, self.enhancement_fingerprint or b"")
        low, high = self.codec.quality_range
        if file.enhancement.quality is not None and not low <= file.enhancement.quality.value <= high:
            raise BitstreamError(
                f"the file claims quality {file.enhancement.quality.value:g} of its enhancement; pipeline "
                f"{self.name!r} has {low:g} to {high:g}"
            )
        return file.enhancement

    def _check(self, layer: Layer, own: bytes) -> None:
        if layer.fingerprint != own:
            raise BitstreamError(
                f"the file's {layer.kind} layer was written by another pipeline: it carries the fingerprint "
                f"{layer.fingerprint.hex()}, and pipeline {self.name!r} has {own.hex()}"
            )

    @contextmanager
    def _inference(self, *, exact: bool = False) -> Iterator[None]:
        """No gradients, the chosen precision (none if exact), all in eval mode; modes are put back afterwards."""
        reduced = self._precision == "bf16" and not exact
        training = [module for module in self.modules() if module.training]
        resting = [module for module in self.modules() if not module.training] if training else []
        if training:
            self.eval()
        try:
            with (
                torch.inference_mode(),
                torch.autocast(self.device.type, torch.bfloat16, enabled=reduced),
            ):
                yield
        finally:
            if training:
                # train() rather than the flags alone: components drop what they derived from their weights in it.
                self.train()
                for module in resting:
                    module.training = False


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[-2], x.shape[-1]


def _one(values: Sequence[Same], what: str) -> Same:
    """The value that all have."""
    if not values or any(value != values[0] for value in values):
        raise InputError(f"a batch has {what}, and this one has {len(set(values))} in {len(values)}")
    return values[0]


def _rows(side: SideInfo, count: int) -> list[SideInfo]:
    """Side information of each picture of a batch."""
    if count == 1:
        return [side]
    return [
        SideInfo(
            tuple(level[number : number + 1] for level in side.levels),
            side.size,
            {name: picture[number : number + 1] for name, picture in side.pictures.items()},
        )
        for number in range(count)
    ]


def _hashes(side: SideInfo | None, count: int) -> list[bytes]:
    """Control hash of each picture's side information; empty where there is to be none."""
    return [b""] * count if side is None else [control_hash(one.levels) for one in _rows(side, count)]
