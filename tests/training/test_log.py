"""The log of a stage, in CSV and TensorBoard."""

from __future__ import annotations

import csv
import io
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from icm_core import InputError
from icm_training.log import Log
from icm_training.timing import Timing

Open = Callable[..., Log]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    def new(first: int = 0, *, active: bool = True) -> Log:
        return Log(tmp_path, "stage", 10, first, active=active, console=Console(file=io.StringIO()))

    return new


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "stage" / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_figures_of_training_and_validation_share_a_table(tmp_path: Path, opened: Open) -> None:
    log = opened()
    log.row(2, {"loss": 1.5, "lr": 1e-5})
    log.row(2, {"val bpp q1": 0.25})
    log.picture("picture", torch.rand(3, 8, 8), 2)
    log.close()
    assert rows(tmp_path) == [
        {"step": "2", "loss": "1.5", "lr": "1e-05", "val bpp q1": ""},
        {"step": "2", "loss": "", "lr": "", "val bpp q1": "0.25"},
    ]
    events = EventAccumulator(str(tmp_path / "tensorboard" / "stage")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(2, 1.5)]
    assert [event.step for event in events.Images("picture")] == [2]


def test_rows_behind_the_checkpoint_are_written_again(tmp_path: Path, opened: Open) -> None:
    log = opened()
    for step in (2, 4, 6):
        log.row(step, {"loss": float(step)})
    log.close()
    log = opened(4)
    log.row(6, {"loss": 60.0})
    log.close()
    assert [(row["step"], row["loss"]) for row in rows(tmp_path)] == [("2", "2"), ("4", "4"), ("6", "60")]
    events = EventAccumulator(str(tmp_path / "tensorboard" / "stage")).Reload().Scalars("loss")
    assert [(event.step, event.value) for event in events] == [(2, 2.0), (4, 4.0), (6, 60.0)]


def test_terms_of_a_feed_stand_together_in_tensorboard(tmp_path: Path, opened: Open) -> None:
    log = opened()
    log.row(2, {"road: mse": 1.5})
    log.close()
    assert EventAccumulator(str(tmp_path / "tensorboard" / "stage")).Reload().Tags()["scalars"] == ["road/mse"]
    assert rows(tmp_path)[0]["road: mse"] == "1.5"


def test_colours_beyond_white_and_black_are_white_and_black(tmp_path: Path, opened: Open) -> None:
    log = opened()
    log.picture("odd", torch.tensor([-0.5, 1.25, 0.6]).view(3, 1, 1).expand(3, 8, 8), 2)
    log.close()
    (event,) = EventAccumulator(str(tmp_path / "tensorboard" / "stage")).Reload().Images("odd")
    with Image.open(io.BytesIO(event.encoded_image_string)) as shown:
        assert shown.getpixel((3, 3)) == (0, 255, 153)


def test_the_bar_of_a_stage_that_goes_on_begins_where_it_was(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    log = Log(tmp_path, "stage", 10, 4, active=True, console=console)
    log.advance()
    log.close()
    assert isinstance(console.file, io.StringIO) and "5/10" in console.file.getvalue()


def test_other_devices_write_nothing(tmp_path: Path, opened: Open) -> None:
    log = opened(active=False)
    log.advance()
    log.row(1, {"loss": 1.0})
    log.picture("picture", torch.rand(3, 8, 8), 1)
    log.note("nothing")
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_figures_have_six_digits_in_the_table(tmp_path: Path, opened: Open) -> None:
    log = opened()
    log.row(4, {"loss": 1234.5678, "lr": 1.23456789e-5})
    log.close()
    assert rows(tmp_path) == [{"step": "4", "loss": "1234.57", "lr": "1.23457e-05"}]


def test_where_there_is_no_terminal_every_row_is_a_line(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=20)
    log = Log(tmp_path, "stage", 10, 0, active=True, console=console)
    log.advance()
    log.row(4, {"loss": 1.234567, "a [b]": 2.0})
    log.close()
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "stage 4 loss 1.235 a [b] 2\n"


def test_a_label_in_brackets_stands_beside_the_bar_as_it_is(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    log = Log(tmp_path, "stage", 10, 0, active=True, console=console)
    log.row(4, {"a [/b]": 2.0})
    log.close()
    assert isinstance(console.file, io.StringIO) and "a [/b] 2" in console.file.getvalue()


def test_a_note_is_said_once_as_it_stands(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=20)
    log = Log(tmp_path, "stage", 10, 0, active=True, console=console)
    for text in ("[0] is no [bold]class[/bold]", "another", "[0] is no [bold]class[/bold]"):
        log.note(text)
    log.close()
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "stage: [0] is no [bold]class[/bold]\nstage: another\n"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_full_disk_is_said_of_tensorboard_too(tmp_path: Path, opened: Open) -> None:
    log = opened()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(InputError, match=r"cannot write into .*tensorboard: File too large"):
            for step in range(10):
                log.picture("noise", torch.rand(3, 64, 64), step)
                log.row(step, {"loss": 1.0})
        log.close()
        # TensorBoard's thread ends with the error that was said; here, and not in whichever test comes next.
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and "tensorboard" in type(thread).__module__:
                thread.join(10)
                assert not thread.is_alive()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [row["loss"] for row in rows(tmp_path)][:1] == ["1"]


def test_times_of_the_parts_add_up_over_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([50.0, 51.0, 53.0, 57.0, 100.0, 102.0, 103.0, 104.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    timing = Timing(torch.device("cpu"))
    for step in range(2):
        if step:
            timing.restart()  # what came between belongs to no part
        timing.mark("data")
        timing.mark("forward")
        timing.mark("backward", 5)
    assert timing.seconds == {"data": 3.0, "forward": 3.0, "backward": 5.0}
    assert timing.pictures_a_second == pytest.approx(10 / 11)
    assert timing.shares == {
        "data share": pytest.approx(3 / 11), "forward share": pytest.approx(3 / 11),
        "backward share": pytest.approx(5 / 11),
    }  # fmt: skip
