"""What to measure, as a user says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from icm_core.corpus.engine import ENGINES
from icm_core.errors import InputError, SpecError
from icm_core.validation.strict_json import parse_json
from icm_registry import unknown


@dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        model: name of a shipped pipeline, or path of a spec.
        data: ``NAME:FOLDER``.
        params: its parameters, a JSON object; empty for its defaults.
        split: which part of it.
        qualities: None for all whole numbers that the pipeline has.
        enhancement: qualities of the enhancement layer, so that one of the two layers stays while the other changes;
            None for those of the base layer.
        tasks: the outputs that are measured; None for all that can be.
        limit: so many pictures, spread over the data set evenly; None for all.
        workers: processes; None for one a core, at most 8 and one for 4 pictures, and for one on a GPU.
        engine: who works, ``"local"`` or ``"ray"``.
        device, precision: as in `icm_core.load`.
        keep: folder for the coded files, None to keep none.
        encoder: name of the codec's encoder; None for the usual one.
        effort: steps of encoder-side search, 0 for none.
        search_for: tasks that are searched for; None for all that the pipeline names.

    Raises:
        InputError: a number is out of its range.
    """

    model: str
    data: str
    params: str = ""
    split: str = "val"
    qualities: tuple[float, ...] | None = None
    enhancement: tuple[float, ...] | None = None
    tasks: tuple[str, ...] | None = None
    limit: int | None = None
    workers: int | None = None
    engine: str = "local"
    device: str = "auto"
    precision: str = "fp32"
    keep: Path | None = None
    encoder: str | None = None
    effort: int = 0
    search_for: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise InputError(f"the limit is {self.limit}; it should be 1 picture or more")
        if self.workers is not None and self.workers < 1:
            raise InputError(f"there cannot be {self.workers} workers; it should be 1 or more")
        if self.engine not in ENGINES:
            raise InputError(unknown("engine", self.engine, ENGINES))

    @property
    def data_name(self) -> str:
        """The data set without its folder."""
        return self.data.partition(":")[0]

    def data_params(self) -> dict[str, JsonValue]:
        """The data set's parameters; `InputError` unless they are a JSON object."""
        try:
            found = parse_json(self.params or "{}")
        except SpecError as error:
            raise InputError(f"--data-params: {error}") from error
        if not isinstance(found, dict):
            raise InputError(
                f'--data-params is {self.params!r}; it should be a JSON object, like {{"classes": "imagenet"}}'
            )
        return found


def parse_numbers(text: str, option: str) -> tuple[float, ...]:
    """Numbers with commas between them; `InputError` names the option."""
    try:
        found = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        found = ()
    if not found:
        raise InputError(f"{option} is {text!r}; it should be numbers with commas between them, like 1,2.5,4")
    return found


def parse_whole(text: str, option: str) -> list[int]:
    """Whole numbers with commas between them; `InputError` names the option."""
    try:
        found = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        found = []
    if not found:
        raise InputError(f"{option} is {text!r}; it should be whole numbers with commas between them, like 0,1,2")
    return found


def spread(count: int, limit: int | None) -> list[int]:
    """Numbers of so many of `count` pictures, evenly: the first ones are often of one class or one scene."""
    if not count:
        raise InputError("the data set has no pictures")
    some = min(limit or count, count)
    return [index * count // some for index in range(some)]


def parse_models(models: Sequence[str]) -> list[str]:
    """Models given one by one or with commas between them, each once."""
    return list(dict.fromkeys(model for text in models for model in text.split(",") if model))
