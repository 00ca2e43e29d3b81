"""Pictures at equal bytes: what each system makes of a picture within the bytes that the first one needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from icm_core.bitstream.container import read
from icm_core.interfaces import DataSet, Nest, Sample, TaskKind
from icm_core.jpeg import jpeg_within, psnr
from icm_core.pictures import to_picture
from icm_core.pipeline.pipeline import Pipeline
from icm_core.quality import STEPS_PER_UNIT, Quality
from icm_core.types import Legend, Prediction
from icm_evaluation.kinds import Kinds, match, target_of, told
from icm_evaluation.work import whole_qualities

_JPEG = "baselines.jpeg"
_PICTURE = "reconstruction"


@dataclass(frozen=True)
class Cell:
    """One answer with what stands under it.

    Attributes:
        title: system and output.
        kind: of the answer; empty where a system cannot be so small.
        picture: None where a system cannot be so small, or where an answer cannot be drawn.
        caption: quality and bytes, PSNR of pictures, or the answer in words; or why there is none.
    """

    title: str
    kind: str
    picture: Image.Image | None
    caption: str


@dataclass(frozen=True)
class Step:
    """All systems within a number of bytes.

    Attributes:
        title: where the bytes are from.
        bytes: the limit.
        bpp: the same in bits per pixel.
        cells: the pictures.
    """

    title: str
    bytes: int
    bpp: float
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Shot:
    """One picture of the data set with its steps, by rising bytes."""

    key: str
    original: Image.Image
    truth: Image.Image | None
    steps: Sequence[Step]


class _Coder:
    """One system on one picture: files by quality, each made once."""

    def __init__(self, pipe: Pipeline, sample: Sample, original: Image.Image, base_only: bool) -> None:
        self.pipe = pipe
        self.base_only = base_only
        self.sample = sample
        self.original = original
        self.own = pipe.codec.writes_own_files
        self._files: dict[int, bytes] = {}

    def file(self, step: int) -> bytes:
        if step not in self._files:
            self._files[step] = self.pipe.encode(
                self.sample.picture, quality=Quality(step).value, enhancement=not self.base_only
            )
        return self._files[step]

    def bytes(self, step: int) -> int:
        blob = self.file(step)
        return len(read(blob).base.payload) if self.own else len(blob)

    def within(self, limit: int) -> int | None:
        """The highest quality whose file is not larger, in steps; None if there is none."""
        low, high = (Quality.of(value).step for value in self.pipe.codec.quality_range)
        best = None
        while low <= high:
            middle = (low + high) // 2
            if self.bytes(middle) <= limit:
                best, low = middle, middle + 1
            else:
                high = middle - 1
        return best

    def cells(self, step: int | None) -> list[Cell]:
        if step is None:
            return [Cell(self.pipe.name, "", None, "cannot be so small")]
        blob = self.file(step)
        found = []
        for task, prediction in self.pipe.decode(blob).items():
            needed = self.bytes(step) if self.own or self.pipe.reads_fine(task) else read(blob).base_bytes
            caption = f"quality {step / STEPS_PER_UNIT:g}, {needed:,} bytes"
            found.append(self._cell(task, self.pipe.kind(task), prediction, caption))
        return found

    def _cell(self, task: str, kind: TaskKind, prediction: Prediction, caption: str) -> Cell:
        title = f"{self.pipe.name}: {task}"
        if kind.is_picture:
            picture = to_picture(prediction.output)
            return Cell(title, kind.name, picture, f"{caption}, {psnr(self.original, picture):.2f} dB")
        drawn = kind.draw(prediction, self.original)
        said = kind.describe(prediction) if drawn is None or kind.in_words else ""
        return Cell(title, kind.name, drawn, f"{caption}: {said}" if said else caption)


def shoot(
    pipes: Sequence[Pipeline],
    data: DataSet,
    number: int,
    limits: Sequence[float] = (),
    *,
    kinds: Kinds | None = None,
    base_only: bool = False,
) -> Shot:
    """One picture through all systems.

    Args:
        pipes: the systems. The first one's files at its whole qualities are the limits, unless there are others.
        data: the data set.
        number: which picture.
        limits: bits per pixel to hold all systems to, instead.
        kinds: where the kind of the data set's targets is looked up.
        base_only: if True, files have a base layer only: all that the networks need.

    Raises:
        InputError: the picture's target is not one of its kind.
    """
    sample = data[number]
    original = Image.fromarray(sample.picture.permute(1, 2, 0).contiguous().numpy())
    coders = [_Coder(pipe, sample, original, base_only) for pipe in pipes]
    pixels = original.width * original.height
    if limits:
        budgets = [(f"at most {limit:g} bpp", int(limit * pixels / 8)) for limit in sorted(limits)]
    else:
        first = coders[0]
        budgets = [
            (f"{first.pipe.name} at quality {quality:g}", first.bytes(Quality.of(quality).step))
            for quality in whole_qualities(first.pipe)
        ]
    steps = [Step(title, budget, 8 * budget / pixels, _cells(coders, original, budget)) for title, budget in budgets]
    return Shot(sample.key, original, truth(pipes, data, sample, original, kinds or Kinds()), steps)


def _cells(coders: Sequence[_Coder], original: Image.Image, limit: int) -> list[Cell]:
    cells = [cell for coder in coders for cell in coder.cells(coder.within(limit))]
    if all(coder.pipe.codec.name != _JPEG for coder in coders):
        jpeg = jpeg_within(original, limit)
        if jpeg is None:
            cells.append(Cell("JPEG", "", None, "cannot be so small"))
        else:
            caption = f"quality {jpeg.quality}, {jpeg.bytes:,} bytes, {jpeg.psnr:.2f} dB"
            cells.append(Cell("JPEG", _PICTURE, jpeg.picture, caption))
    return cells


def truth(
    pipes: Sequence[Pipeline], data: DataSet, sample: Sample, original: Image.Image, kinds: Kinds
) -> Image.Image | None:
    """The data set's target as a head's answer would be drawn, None where no head knows what it is about.

    Pixels of a map that count nowhere show the picture.

    Raises:
        InputError: the target is not one of its kind.
    """
    if sample.target is None:
        return None
    for pipe in pipes:
        for name in pipe.tasks:
            kind, head = pipe.kind(name), pipe.task(name).head.legend
            numbers = "" if kind.is_picture else match(kind, head, data, kinds)
            if isinstance(numbers, str):
                continue
            target = target_of(sample, kinds.get(data.kind), kind, numbers, data.legend)
            right = kind.truth(target, told(head, data.legend))
            drawn = None if right is None else kind.draw(right, original)
            if drawn is not None:
                return _uncovered(drawn, original, sample.target, data.legend)
    return None


def _uncovered(drawn: Image.Image, original: Image.Image, target: Nest, legend: Legend) -> Image.Image:
    """A drawn map with the picture where the map counts nowhere; what is no map of the picture stays as it is."""
    size = (original.height, original.width)
    if legend.ignore is None or not isinstance(target, Tensor) or target.shape != size:
        return drawn
    ignored = target.isnan() if legend.ignore != legend.ignore else target == legend.ignore
    if not bool(ignored.any()):
        return drawn
    # What stands below the picture goes: a legend would count pixels that count nowhere.
    shown = drawn.convert("RGB").crop((0, 0, original.width, original.height))
    shown.paste(original, (0, 0), Image.fromarray(ignored.cpu().byte().mul(255).numpy()))
    return shown
