"""What a run shows: a progress bar, a CSV file a stage, TensorBoard, and other loggers where they are wanted."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from icm_core.errors import InputError
from icm_core.files import make_folder, write_atomically
from icm_training.loggers import close, logger_of

if TYPE_CHECKING:
    from lightning_fabric.loggers.logger import Logger
    from torch.utils.tensorboard.writer import SummaryWriter


class Log:
    """The log of one stage; does nothing on devices other than the first.

    Args:
        folder: the run's folder.
        stage: name of the stage.
        steps: its length.
        first: steps that are done already.
        active: whether this process is the one that writes.
        console: where progress is shown.
        loggers: others that get the figures; see `icm_training.loggers`.
    """

    def __init__(
        self,
        folder: Path,
        stage: str,
        steps: int,
        first: int,
        *,
        active: bool,
        console: Console | None = None,
        loggers: Sequence[str] = (),
    ) -> None:
        self.stage, self.active = stage, active
        self.path = folder / stage / "log.csv"
        self._rows: list[dict[str, str]] = []
        self._writer: SummaryWriter | None = None
        self._progress: Progress | None = None
        self._noted: set[str] = set()
        self._loggers: list[Logger] = []
        if not active:
            return
        make_folder(self.path.parent)
        if self.path.exists():
            with self.path.open(newline="") as file:
                # Rows behind the checkpoint that the run goes on from are done again.
                self._rows = [row for row in csv.DictReader(file) if int(row["step"]) <= first]
        from torch.utils.tensorboard.writer import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard" / stage), purge_step=first + 1 if first else None)
        self._loggers = [logger_of(name, folder, stage) for name in loggers]
        console = console or Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            console=console,
            disable=not console.is_terminal,
        )
        self._console = console
        self._task = self._progress.add_task(stage, total=steps, completed=first, figures="")
        self._progress.start()

    def advance(self) -> None:
        """One step is done."""
        if self._progress is not None:
            self._progress.advance(self._task)

    def row(self, step: int, figures: Mapping[str, float]) -> None:
        """Figures of the steps since the last row, or of a validation."""
        if not self.active:
            return
        self._rows.append({"step": str(step), **{key: f"{value:.6g}" for key, value in figures.items()}})
        self._write()
        text = " ".join(f"{key} {value:.4g}" for key, value in figures.items())
        if self._writer is not None:
            with self._writing():
                for key, value in figures.items():
                    self._writer.add_scalar(key.replace(": ", "/"), value, step)
                self._writer.flush()
        for logger in self._loggers:
            logger.log_metrics({key.replace(": ", "/"): value for key, value in figures.items()}, step)
        if self._progress is not None:
            self._progress.update(self._task, figures=text)
            if self._progress.disable:
                self._console.print(f"{self.stage} {step} {text}", highlight=False, markup=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """A sentence for whoever looks on; the same one once."""
        if self._progress is not None and text not in self._noted:
            self._noted.add(text)
            self._console.print(f"{self.stage}: {text}", highlight=False, markup=False, soft_wrap=True)

    def picture(self, name: str, picture: Tensor, step: int) -> None:
        """A sample picture (3, H, W) in [0, 1]."""
        if self._writer is not None:
            with self._writing():
                self._writer.add_image(name, picture.detach().float().clamp(0, 1).cpu().to(torch.float32), step)

    def close(self, *, good: bool = True) -> None:
        """Put away the progress bar and close the files.

        Args:
            good: whether the stage has come to its end.
        """
        for logger in self._loggers:
            close(logger, good)
        if self._progress is not None:
            self._progress.stop()
        if self._writer is not None:
            # What could not be written was said by then, and by an error that this one would hide.
            with contextlib.suppress(OSError):
                self._writer.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """TensorBoard writes in a thread of its own, whose error comes up at a later call."""
        try:
            yield
        except OSError as error:
            folder = self.path.parents[1] / "tensorboard"
            raise InputError(f"cannot write into {folder}: {error.strerror or error}") from error

    def _write(self) -> None:
        fields: dict[str, None] = {}
        for row in self._rows:
            fields.update(dict.fromkeys(row))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(fields), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        write_atomically(self.path, text.getvalue().encode())
