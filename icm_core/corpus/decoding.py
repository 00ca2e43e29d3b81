"""The job of decoding files."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pydantic import JsonValue
from typing_extensions import NotRequired, TypedDict

from icm_core import __version__
from icm_core.bitstream.about import About, about
from icm_core.bitstream.container import Container, read
from icm_core.bitstream.split import join
from icm_core.corpus.engine import device_at
from icm_core.corpus.work import Job, Place, attempt
from icm_core.errors import IcmError, out_of_memory
from icm_core.files import make_folder, read_file, write_atomically

if TYPE_CHECKING:
    from icm_core.corpus.pipelines import Pipelines
    from icm_core.pipeline.decoded import Decoded as Predictions
    from icm_core.pipeline.pipeline import Pipeline

TaskRow = dict[str, JsonValue]
"""What one task gave: its ``kind``, a written ``picture`` and ``drawing`` where there is one, and what the kind answers
with, such as ``top`` (classes) or ``boxes``."""


class Decoded(About):
    """The JSON row of one file; ``seconds`` is the decoding alone, without writing pictures, shared evenly among files
    that are decoded together.

    ``verified`` stands where --verify was given: the layers whose control hash was compared. ``kept`` stands where an
    earlier run decoded the file.
    """

    file: str
    tasks: dict[str, TaskRow]
    seconds: float
    verified: NotRequired[list[str]]
    kept: NotRequired[bool]


class Marked(TypedDict):
    """A row, and a digest of everything that it depends on; empty where nobody asks for one."""

    mark: str
    row: Decoded


@dataclass(frozen=True)
class Coded:
    """A file, and where its answers go.

    Attributes:
        source: the file.
        stem: what stands before ``.TASK.png``.
        earlier: what an earlier run found.
    """

    source: Path
    stem: Path
    earlier: Marked | None = None

    def __hash__(self) -> int:
        return hash(self.source)

    def __str__(self) -> str:
        return str(self.source)


@dataclass(frozen=True)
class Decoding(Job[Coded, Marked]):
    """How files are decoded; see `Pipeline.decode`.

    Attributes:
        model: a pipeline for all files; None to look each file's up.
        device, precision: as in `icm_core.load`.
        tasks: None for all that the file has.
        enhancement: the enhancement part of a single file.
        draw: if True, every answer is drawn on the decoded picture.
        resume: if True, rows are marked, and a file whose mark is the one of before is kept.
    """

    model: str | None
    device: str
    precision: str
    max_pixels: int
    tasks: tuple[str, ...] | None = None
    enhancement: Path | None = None
    verify: bool = False
    draw: bool = False
    resume: bool = False

    def open(self, place: Place) -> _Lane:
        """Load the pipeline, if one is named."""
        from icm_core.corpus.pipelines import Pipelines

        return _Lane(self, Pipelines(self.model, device_at(self.device, place.number), self.precision))

    def key(self, file: Coded) -> Hashable:
        """What files have in common that are decoded together; None of one that cannot be read."""
        from icm_core.pipeline.decoder import alike_if

        try:
            return alike_if(read(read_file(file.source), max_pixels=self.max_pixels))
        except IcmError:
            return None


class _Lane:
    def __init__(self, job: Decoding, pipelines: Pipelines) -> None:
        self._job, self._pipelines = job, pipelines
        self._digests: dict[str, str] = {}

    def __call__(self, files: Sequence[Coded]) -> list[Marked | IcmError]:
        """A row for each file, whose pictures are written."""
        together = self._together(files) if len(files) > 1 else {}
        return [together[one] if one in together else attempt(self._alone, one) for one in files]

    def _alone(self, file: Coded) -> Marked:
        read_one = self._read(file)
        if (kept := read_one.kept(file)) is not None:
            return kept
        start = time.perf_counter()
        decoded = read_one.pipe.decode(read_one.container, tasks=self._job.tasks, verify=self._job.verify)
        return self._written(file, read_one, decoded, time.perf_counter() - start)

    def _together(self, files: Sequence[Coded]) -> dict[Coded, Marked | IcmError]:
        """The rows of those that can be decoded together; what is left out goes alone, and says what is wrong."""
        rows: dict[Coded, Marked | IcmError] = {}
        several: dict[Coded, _Read] = {}
        for one in files:
            found = attempt(self._read, one)
            if isinstance(found, IcmError):
                rows[one] = found
            elif (kept := found.kept(one)) is not None:
                rows[one] = kept
            else:
                several[one] = found
        if len(several) < 2:
            return rows
        pipe = next(iter(several.values())).pipe  # like files have one pipeline
        start = time.perf_counter()
        try:
            decoded = pipe.decode_batch(
                [one.container for one in several.values()], self._job.tasks, verify=self._job.verify
            )
        except IcmError:
            return rows
        except (MemoryError, RuntimeError) as error:
            if out_of_memory(error):
                return rows
            raise
        seconds = (time.perf_counter() - start) / len(several)
        for (one, its), answers in zip(several.items(), decoded, strict=True):
            write = partial(self._written, its=its, decoded=answers, seconds=seconds)
            rows[one] = attempt(write, one)
        return rows

    def _read(self, file: Coded) -> _Read:
        job = self._job
        blob = read_file(file.source)
        if job.enhancement is not None:
            blob = join(blob, read_file(job.enhancement), max_pixels=job.max_pixels)
        container = read(blob, max_pixels=job.max_pixels)
        pipe = self._pipelines.of(container)
        return _Read(pipe, container, len(blob), self._mark(pipe, blob, file) if job.resume else "")

    def _mark(self, pipe: Pipeline, blob: bytes, file: Coded) -> str:
        """Digest of all that a row and its pictures depend on."""
        from icm_core.pipeline.identify import weights_digest

        if pipe.name not in self._digests:
            self._digests[pipe.name] = weights_digest(pipe)
        job = self._job
        how = [__version__, self._digests[pipe.name], job.precision, job.tasks, job.verify, job.draw, str(file.stem)]
        return hashlib.sha256(json.dumps(how).encode() + blob).hexdigest()[:32]

    def _written(self, file: Coded, its: _Read, decoded: Predictions, seconds: float) -> Marked:
        tasks = _write(its.pipe, decoded, file.stem, self._job.draw)
        said = about(its.container, its.size, its.pipe.name)
        row = cast(Decoded, {"file": str(file.source), **said, "tasks": tasks, "seconds": round(seconds, 4)})
        if self._job.verify:
            row["verified"] = [str(kind) for kind in decoded.verified]
        return Marked(mark=its.mark, row=row)


@dataclass(frozen=True)
class _Read:
    """A file that was read, and its pipeline."""

    pipe: Pipeline
    container: Container
    size: int
    mark: str

    def kept(self, file: Coded) -> Marked | None:
        """What an earlier run found, if it would be found again and its pictures are there."""
        if not self.mark or file.earlier is None or file.earlier["mark"] != self.mark:
            return None
        row = file.earlier["row"]
        pictures = [task.get(key) for task in row["tasks"].values() for key in ("picture", "drawing")]
        if not all(Path(str(picture)).is_file() for picture in pictures if picture is not None):
            return None
        return Marked(mark=self.mark, row={**row, "file": str(file.source), "kept": True})


def _write(pipe: Pipeline, decoded: Predictions, stem: Path, draw: bool) -> dict[str, TaskRow]:
    """Write what can be looked at, all of it drawn before the first file is written."""
    from icm_core.pictures import png_bytes
    from icm_core.pipeline.told import telling

    rows: dict[str, TaskRow] = {}
    written: dict[Path, bytes] = {}
    for name, one in telling(pipe, decoded, draw=draw):
        row = rows[name] = dict(one.row)
        for key, picture, ending in (("picture", one.picture, ".png"), ("drawing", one.drawing, ".drawn.png")):
            if picture is not None:
                path = stem.with_name(f"{stem.name}.{name}{ending}")
                written[path] = png_bytes(picture)
                row[key] = str(path)
        del one, picture  # of a large file they take as much as the next ones
    if written:
        make_folder(stem.parent)
    for path, content in written.items():
        write_atomically(path, content)
    return rows
