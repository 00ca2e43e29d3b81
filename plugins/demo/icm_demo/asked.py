"""Which tasks are asked of a picture: those that learned from pictures of what it shows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from icm_core.errors import InputError
from icm_core.pipeline.pipeline import Pipeline
from icm_core.spec.model import FINE, TrainedOn
from icm_registry import unknown


@dataclass(frozen=True)
class Asked:
    """What is asked of a picture.

    Attributes:
        tasks: names; with ``fine`` where the pipeline has an enhancement.
        left: the tasks that are not asked, and what they were trained on.
    """

    tasks: Sequence[str]
    left: dict[str, TrainedOn]


def asked_of(pipe: Pipeline, shows: Collection[str]) -> Asked:
    """The tasks for a picture.

    Args:
        pipe: the pipeline, whose spec says what its tasks were trained on.
        shows: what the picture shows; tasks whose training data showed other things alone are left out.
    """
    left = {}
    for name in pipe.tasks:
        learned = pipe.trained_on(name)
        if learned is not None and learned.pictures and learned.pictures not in shows:
            left[name] = learned
    every = [*pipe.tasks, *([FINE] if pipe.enhancement is not None else [])]
    return Asked([name for name in every if name not in left], left)


def parse_shows(pipe: Pipeline, text: str) -> frozenset[str]:
    """Words with commas between; `InputError` if no task of the pipeline was trained on such pictures."""
    known = sorted({learned.pictures for name in pipe.tasks if (learned := pipe.trained_on(name)) and learned.pictures})
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if not known:
            raise InputError(f"--shows is {text!r}; pipeline {pipe.name!r} does not say what it was trained on")
        if word not in known:
            raise InputError(f"--shows: {unknown('kind of picture', word, known)}")
    return frozenset(words)
