"""The decoding side of a pipeline: files to predictions."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import cast

from PIL import Image
from torch import Tensor

from icm_core.bitstream.container import MAX_PIXELS, Container, Layer, LayerKind, read
from icm_core.bitstream.control_hash import check_control, control_hash
from icm_core.bitstream.split import join
from icm_core.errors import BitstreamError, InputError
from icm_core.pictures import to_picture
from icm_core.pipeline.answers import Answers, Refine
from icm_core.pipeline.decoded import Decoded
from icm_core.pipeline.many import many
from icm_core.pipeline.parts import Parts, hashes, one_value, rows
from icm_core.quality import Quality
from icm_core.spec.model import FINE
from icm_core.types import Prediction, SideInfo
from icm_registry import unknown


class Decoder(Parts):
    """The contents of ``.icm`` files to predictions."""

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
        size, quality = one_value(
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
            finer = one_value([layer.quality or quality for layer in fine], "enhancements of one quality")
        verified: list[LayerKind] = []
        with self._inference():
            side = self.codec.decode([file.base.payload for file in files], size, quality)
            if verify:
                for file, found in zip(files, hashes(side, len(files)), strict=True):
                    check_control(file.base, found)
                verified.append(LayerKind.BASE)
            if verify and fine and self.enhancement is not None:
                latent = self.enhancement.latent([layer.payload for layer in fine], side, finer)
                if latent is not None:
                    for number, layer in enumerate(fine):
                        check_control(layer, control_hash([latent[number : number + 1]]))
                    verified.append(LayerKind.ENHANCEMENT)
            answers = Answers(self, side, self._refining(fine, finer) if fine else None)
            # The base picture last: what heads and the enhancement need for a while then need not be there besides it.
            for name in sorted(asked, key=lambda name: (name == self.over, name == FINE)):
                answers.of(name)
            together = {name: answers.of(name) for name in asked}
            sides = rows(side, len(files))
            each = [together] if len(files) == 1 else self._apart(together, sides, fine, finer)
        return [
            Decoded(found, size, quality, not file.truncated, its, tuple(verified), file.enhancement_quality)
            for file, found, its in zip(files, each, sides, strict=True)
        ]

    def decode_many(
        self,
        blobs: Iterable[bytes | Container],
        tasks: Sequence[str] | None = None,
        *,
        verify: bool = False,
        max_pixels: int = MAX_PIXELS,
        batch: int = 1,
        lanes: int | None = None,
    ) -> Iterator[Decoded]:
        """Predictions from the contents of ``.icm`` files, in their order; see `encode_many`.

        Args:
            blobs: any iterable, read only a few files ahead.
            tasks: as in `decode`.
            verify: as in `decode`.
            max_pixels: as in `decode`.
            batch: the most files of one size, quality and pipeline that are computed together; what float networks
                compute may differ in the last bits then.
            lanes: as in `encode_many`.

        Raises:
            BitstreamError: as in `decode`, when the file's turn comes.
            InputError: a task is unknown, or `batch` or `lanes` is less than 1.
        """
        asked = self._asked(tasks)
        if batch > 1:
            blobs = (one if isinstance(one, Container) else read(one, max_pixels=max_pixels) for one in blobs)

        def work(files: Sequence[bytes | Container]) -> list[Decoded]:
            parsed = [one for one in files if isinstance(one, Container)]
            if len(files) == 1 or len(parsed) < len(files):
                return [self.decode(one, asked, verify=verify, max_pixels=max_pixels) for one in files]
            return self.decode_batch(parsed, asked, verify=verify)

        with self._resting():
            yield from many(blobs, work, alike_if, batch=batch, lanes=self._lanes(lanes))

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

    def _refining(self, layers: Sequence[Layer], quality: Quality) -> Refine:
        enhancement = self.enhancement
        assert enhancement is not None  # it wrote the layers
        payloads = [layer.payload for layer in layers]
        # A field only if it reads fields (`Answers`).
        return lambda coarse, side: enhancement.decode(payloads, cast(Tensor, coarse), side, quality)

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


def alike_if(file: bytes | Container) -> Hashable:
    """What files have in common that are decoded together; None of one that was not parsed, which goes alone."""
    if not isinstance(file, Container):
        return None
    layers = tuple((layer.kind, layer.fingerprint) for layer in file.layers)
    return file.height, file.width, file.quality, file.enhancement_quality, layers
