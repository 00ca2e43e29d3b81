"""The pipeline spec: which codec, which tasks, which enhancement, with which weights. Data, never code.

.. code-block:: json

    { "icm": 1, "name": "sicmh-camvid",
      "codec": {"use": "sicmh.hyperprior", "params": {"width": 192}},
      "tasks": {
        "segmentation": {"adapter": {"use": "sicmh.multi_scale"},
                         "head": {"use": "tasks.trseg", "params": {"classes": 11}}},
        "coarse": {"adapter": {"use": "sicmh.multi_scale"}, "head": {"use": "sicmh.coarse"}} },
      "enhancement": {"use": "sicmh.residual", "over": "coarse"},
      "weights": "sicmh-camvid.safetensors" }

A spec can name registered components only; what their ``params`` may be is theirs to say (`icm_core.spec.resolve`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PrivateAttr,
    ValidationError,
    field_validator,
)
from pydantic.json_schema import WithJsonSchema
from torch import nn

from icm_core.errors import SpecError
from icm_core.files import beside, check_inside
from icm_core.validation.messages import explain

FINE = "fine"
"""Name of the enhancement's output among the predictions, so no task may have it."""

WEIGHTS_SUFFIX = ".safetensors"
COMPONENT_NAME = r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$"
TASK_NAME = r"^[a-z][a-z0-9_]{0,63}$"
PIPELINE_NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"

# nn.ModuleDict refuses these as keys; found out here, the sentence can name the field.
_RESERVED = frozenset(name for name in dir(nn.ModuleDict()) if re.match(TASK_NAME, name)) | {FINE}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ComponentSpec(_Model):
    """A registered component with its parameters."""

    use: str = Field(pattern=COMPONENT_NAME, description="registered name of the component, 'plugin.component'")
    params: dict[str, JsonValue] = Field(default_factory=dict, description="the component's parameters")


class EnhancementSpec(ComponentSpec):
    """An enhancement and the task whose picture it refines."""

    over: str = Field(description="name of the task of kind reconstruction whose picture is refined")


SearchEnds = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]


class TrainedOn(_Model):
    """What a task learned from. Nothing is computed with it; it is shown, and decides what a demonstration asks."""

    data: str = Field(min_length=1, description="the data in words, such as 'CamVid train, 367 pictures'")
    pictures: str = Field(
        default="",
        pattern=r"^([a-z]+( [a-z]+)?)?$",
        description="what all of its pictures show, in a word or two: 'streets', 'rooms', or 'objects' for things "
        "that fill the picture; empty where they show anything",
    )

    def __str__(self) -> str:
        return f"pictures of {self.pictures} ({self.data})" if self.pictures else self.data


class TaskSpec(_Model):
    """One task: its own adapter instance and its head."""

    adapter: ComponentSpec = Field(description="side information -> features")
    head: ComponentSpec = Field(description="features -> prediction")
    search: SearchEnds | None = Field(
        default=None,
        description="what counts in encoder-side search: bits per pixel that a unit of the head's divergence is worth, "
        "at the lowest and at the highest quality",
    )
    trained_on: TrainedOn | None = Field(
        default=None, description="what it learned from; what it says of other pictures means little"
    )


def _as_list(value: object) -> object:
    return [] if value is None else [value] if isinstance(value, str) else value


_WEIGHTS_SCHEMA = {"type": "string", "pattern": r"\.safetensors$"}

WeightsFiles = Annotated[
    tuple[str, ...],
    BeforeValidator(_as_list),
    WithJsonSchema({"anyOf": [_WEIGHTS_SCHEMA, {"type": "array", "items": _WEIGHTS_SCHEMA}, {"type": "null"}]}),
]


class PipelineSpec(_Model):
    """A whole pipeline. Get one with `icm_core.read_spec` or `parse_spec`, whose errors are one sentence each."""

    icm: Literal[1] = Field(description="version of this format")
    name: str = Field(pattern=PIPELINE_NAME, description="name of the pipeline")
    description: str = Field(default="", description="what it is for, in a sentence")
    codec: ComponentSpec = Field(description="picture -> bytes -> side information, shared by all tasks")
    tasks: dict[str, TaskSpec] = Field(min_length=1, max_length=64, description="tasks by name, at most 64")
    enhancement: EnhancementSpec | None = Field(default=None, description="refines the picture of one task")
    weights: WeightsFiles = Field(
        default=(), description="safetensors file or files with disjoint keys, relative to the spec's folder"
    )

    @field_validator("tasks")
    @classmethod
    def _task_names(cls, tasks: dict[str, TaskSpec]) -> dict[str, TaskSpec]:
        for name in tasks:
            if not re.fullmatch(TASK_NAME, name):
                raise ValueError(f"a task's name is a lower-case identifier of at most 64 characters, not {name!r}")
            if name in _RESERVED:
                raise ValueError(f"the task name {name!r} is reserved, choose another")
        return tasks

    @field_validator("weights")
    @classmethod
    def _weights_paths(cls, files: tuple[str, ...]) -> tuple[str, ...]:
        for file in files:
            if not file.endswith(WEIGHTS_SUFFIX):
                raise ValueError(f"weights are {WEIGHTS_SUFFIX} files, not {file!r}")
            check_inside(file, "weights")
        if len(set(files)) < len(files):
            raise ValueError("a file of weights stands twice in the list")
        return files

    _files: dict[str, Path] = PrivateAttr(default_factory=dict)

    @property
    def files(self) -> Mapping[str, Path]:
        """Where what its parameters name is (`icm_core.interfaces.SpecPath`), by the parameters' places, such as
        ``"tasks.boxes.head.params.file"``; empty for a spec that was not read from a file."""
        return self._files

    def with_files(self, files: Mapping[str, Path]) -> PipelineSpec:
        """The spec with `files`."""
        made = self.model_copy()
        made._files = dict(files)
        return made

    def to_json(self) -> dict[str, Any]:
        """The spec as JSON data, without what is at its default; `parse_spec` gives it back."""
        return self.model_dump(mode="json", exclude_defaults=True)


def spec_fields(data: Mapping[str, object]) -> dict[str, object]:
    """What a spec's file says, without what is for editors."""
    return {key: value for key, value in data.items() if key != "$schema"}


def parse_spec(data: Mapping[str, object] | object) -> PipelineSpec:
    """A spec from JSON data.

    An editor's ``"$schema"`` key is allowed and ignored.

    Raises:
        SpecError: it does not validate; the message names the field, the value and what would be right.
    """
    if not isinstance(data, Mapping):
        raise SpecError(f"a pipeline spec is a JSON object, not {type(data).__name__}")
    data = spec_fields(data)
    if "extends" in data:
        raise SpecError("extends is for specs in files, where what it names can be found; read it with read_spec")
    try:
        spec = PipelineSpec.model_validate(data)
    except ValidationError as error:
        raise SpecError(explain(error, PipelineSpec, data)) from error
    if spec.enhancement is not None and spec.enhancement.over not in spec.tasks:
        raise SpecError(
            f"enhancement.over is {spec.enhancement.over!r}; it should be one of the tasks: {', '.join(spec.tasks)}"
        )
    return spec


def weights_files(spec: PipelineSpec, path: Path) -> tuple[Path, ...]:
    """The spec's weights as paths.

    Args:
        spec: a validated spec.
        path: the file that it was read from.

    Raises:
        SpecError: a link leads out of the spec's folder.
    """
    return tuple(beside(path, name, "weights") for name in spec.weights)
