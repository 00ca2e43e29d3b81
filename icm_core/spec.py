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

A spec can name registered components only; what their ``params`` may be is theirs to say (`icm_core.resolve`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError, field_validator
from pydantic.json_schema import WithJsonSchema
from torch import nn

from icm_core.errors import SpecError
from icm_core.explain import explain
from icm_core.strict_json import read_json

FINE = "fine"
"""Name of the enhancement's output among the predictions, so no task may have it."""

WEIGHTS_SUFFIX = ".safetensors"
COMPONENT_NAME = r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$"
TASK_NAME = r"^[a-z][a-z0-9_]{0,63}$"
PIPELINE_NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"
PART = r"^(codec|enhancement|tasks\.[a-z][a-z0-9_]{0,63}(\.(adapter|head))?)$"

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


class TaskSpec(_Model):
    """One task: its own adapter instance and its head."""

    adapter: ComponentSpec = Field(description="side information -> features")
    head: ComponentSpec = Field(description="features -> prediction")


def _as_list(value: object) -> object:
    return [] if value is None else [value] if isinstance(value, str) else value


_WEIGHTS_SCHEMA = {"type": "string", "pattern": r"\.safetensors$"}

WeightsFiles = Annotated[
    tuple[str, ...],
    BeforeValidator(_as_list),
    WithJsonSchema({"anyOf": [_WEIGHTS_SCHEMA, {"type": "array", "items": _WEIGHTS_SCHEMA}, {"type": "null"}]}),
]


class PipelineSpec(_Model):
    """A whole pipeline. Get one with `read_spec` or `parse_spec`, whose errors are one sentence each."""

    icm: Literal[1] = Field(description="version of this format")
    name: str = Field(pattern=PIPELINE_NAME, description="name of the pipeline")
    description: str = Field(default="", description="what it is for, in a sentence")
    codec: ComponentSpec = Field(description="picture -> bytes -> side information, shared by all tasks")
    tasks: dict[str, TaskSpec] = Field(min_length=1, description="tasks by name")
    enhancement: EnhancementSpec | None = Field(default=None, description="refines the picture of one task")
    weights: WeightsFiles = Field(
        default=(), description="safetensors file or files with disjoint keys, relative to the spec's folder"
    )
    weights_from: dict[Annotated[str, Field(pattern=PART)], Annotated[str, Field(pattern=PIPELINE_NAME)]] = Field(
        default_factory=dict,
        description="parts, such as 'tasks.segmentation.head', whose weights are those of the same part of a shipped "
        "pipeline, which is named; the files in 'weights' have the others",
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
            windows, posix = PureWindowsPath(file), PurePosixPath(file)
            if not file.endswith(WEIGHTS_SUFFIX):
                raise ValueError(f"weights are {WEIGHTS_SUFFIX} files, not {file!r}")
            if windows.drive or windows.root or posix.is_absolute() or ".." in windows.parts or "\0" in file:
                raise ValueError(f"weights are given relative to the spec's folder and inside it, not as {file!r}")
        if len(set(files)) < len(files):
            raise ValueError("a file of weights stands twice in the list")
        return files

    def part(self, name: str) -> tuple[ComponentSpec, ...]:
        """The components of a part (``"codec"``, ``"tasks.<task>"``, ``"tasks.<task>.head"``), none if it is not there."""
        first, _, rest = name.partition(".")
        if first != "tasks":
            only = self.codec if first == "codec" else self.enhancement
            return () if only is None else (only,)
        task, _, which = rest.partition(".")
        if task not in self.tasks:
            return ()
        both = {"adapter": self.tasks[task].adapter, "head": self.tasks[task].head}
        return (both[which],) if which else tuple(both.values())

    def to_json(self) -> dict[str, Any]:
        """The spec as JSON data, without what is at its default; `parse_spec` gives it back."""
        return {"icm": self.icm, **self.model_dump(mode="json", exclude_defaults=True)}


def parse_spec(data: Mapping[str, object] | object) -> PipelineSpec:
    """A spec from JSON data.

    An editor's ``"$schema"`` key is allowed and ignored.

    Raises:
        SpecError: it does not validate; the message names the field, the value and what would be right.
    """
    if not isinstance(data, Mapping):
        raise SpecError(f"a pipeline spec is a JSON object, not {type(data).__name__}")
    data = {key: value for key, value in data.items() if key != "$schema"}
    try:
        spec = PipelineSpec.model_validate(data)
    except ValidationError as error:
        raise SpecError(explain(error, PipelineSpec, data)) from error
    if spec.enhancement is not None and spec.enhancement.over not in spec.tasks:
        raise SpecError(
            f"enhancement.over is {spec.enhancement.over!r}; it should be one of the tasks: {', '.join(spec.tasks)}"
        )
    for name in spec.weights_from:
        if not spec.part(name):
            raise SpecError(f"weights_from has {name!r}, and this spec has no such part")
        if name.removesuffix(".adapter").removesuffix(".head") in spec.weights_from.keys() - {name}:
            raise SpecError(f"weights_from has {name!r} and the whole task as well; one of them is enough")
    return spec


def read_spec(path: Path) -> PipelineSpec:
    """A spec from its JSON file; `SpecError` names the file and what is wrong in it."""
    data = read_json(path)
    try:
        return parse_spec(data)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error


def weights_files(spec: PipelineSpec, path: Path) -> tuple[Path, ...]:
    """The spec's weights as paths.

    Args:
        spec: a validated spec.
        path: the file that it was read from.

    Raises:
        SpecError: a link leads out of the spec's folder.
    """
    # Installers may link each file of a package into a cache: then spec and weights lead to one other folder.
    homes = {path.parent.resolve(), path.resolve().parent}
    files = tuple(path.parent / file for file in spec.weights)
    for name, file in zip(spec.weights, files, strict=True):
        resolved = file.resolve()
        if not any(resolved.is_relative_to(home) for home in homes):
            raise SpecError(f"{path}: weights {name!r} leads out of the spec's folder to {resolved}")
    return files
