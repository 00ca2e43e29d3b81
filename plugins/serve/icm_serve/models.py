"""What a service says of itself: its pipelines, their tasks, and its limits."""

from __future__ import annotations

from pydantic import BaseModel, Field

from icm_core.errors import InputError
from icm_core.pipeline.pipeline import Pipeline
from icm_core.pipeline.search import searched_tasks
from icm_core.spec.model import FINE, TrainedOn


class TaskInfo(BaseModel):
    """A task of a pipeline."""

    name: str
    kind: str = Field(description="kind of its answers")
    labels: list[str] = Field(description="names of classes or values, in order")
    unit: str = Field(description="of values; empty where they have none")
    is_picture: bool = Field(description="whether the answer is a decoded picture")
    in_words: bool = Field(description="whether the answer is words or numbers without a place in the picture")
    whole_file: bool = Field(description="whether it needs the enhancement layer; others need the base layer alone")
    trained_on: TrainedOn | None = Field(description="what it learned from; null where the spec does not say")


class ModelInfo(BaseModel):
    """A pipeline."""

    name: str
    description: str
    qualities: tuple[float, float] = Field(description="lowest and highest")
    fingerprint: str = Field(description="of its base layers, hexadecimal")
    enhancement: str | None = Field(description="fingerprint of its enhancement layers; null if it writes none")
    encoders: list[str] = Field(description="its encoders by name, the usual one first; may be empty if it has one")
    searches: bool = Field(description="whether it can search for a better file, with an effort")
    tasks: list[TaskInfo] = Field(description="its tasks; 'fine' is the picture that the enhancement refines")


class LimitsInfo(BaseModel):
    """How much the service takes on."""

    bytes: int = Field(description="of a body")
    pixels: int = Field(description="of a picture")
    effort: int = Field(description="steps of a search")
    seconds: float = Field(description="from a request to its answer")


class LayerInfo(BaseModel):
    """A layer of a file."""

    kind: str = Field(description="base or enhancement")
    quality: float
    bytes: int = Field(description="of its payload")
    control: str | None = Field(description="its control hash, hexadecimal")


class FileInfo(BaseModel):
    """What a file says of itself; overhead and layers add up to its bytes unless it was cut."""

    pipeline: str = Field(description="the served pipeline that reads it")
    height: int
    width: int
    quality: float
    bytes: int
    bpp: float = Field(description="bits per pixel")
    truncated: bool = Field(description="whether it was cut inside its enhancement layer")
    base_bytes: int = Field(description="up to the end of its base layer")
    overhead_bytes: int = Field(description="headers")
    layers: list[LayerInfo]


def model_info(pipe: Pipeline) -> ModelInfo:
    """What is said of a pipeline."""
    fine = pipe.enhancement_fingerprint
    return ModelInfo(
        name=pipe.name,
        description=pipe.spec.description,
        qualities=pipe.codec.quality_range,
        fingerprint=pipe.base_fingerprint.hex(),
        enhancement=None if fine is None else fine.hex(),
        encoders=list(pipe.codec.encoders),
        searches=_searches(pipe),
        tasks=[_task_info(pipe, name) for name in [*pipe.tasks, *([FINE] if fine is not None else [])]],
    )


def _task_info(pipe: Pipeline, name: str) -> TaskInfo:
    kind = pipe.kind(name)
    legend = pipe.task(name).head.legend if name != FINE else None
    return TaskInfo(
        name=name,
        kind=kind.name,
        labels=list(legend.labels) if legend else [],
        unit=legend.unit if legend else "",
        is_picture=kind.is_picture,
        in_words=kind.in_words,
        whole_file=pipe.reads_fine(name),
        trained_on=pipe.trained_on(name),
    )


def _searches(pipe: Pipeline) -> bool:
    try:
        return bool(searched_tasks(pipe, 1, None))
    except InputError:
        return False
