"""The training recipe: which stages, what each trains, on which pictures, with which loss. Data, never code.

.. code-block:: json

    { "icm": 1, "recipe": "mine", "pipeline": "sicmh-small",
      "data": { "road": {"use": "datasets.camvid", "root": "camvid"} },
      "stages": [
        { "name": "head", "train": [{"modules": ["tasks.segmentation.head"], "lr": 1e-4}],
          "feeds": [{ "data": ["road"], "batch": 8, "augment": {"crop": [256, 256], "flip": true},
                      "losses": [{"use": "training.cross_entropy", "task": "segmentation"}] }],
          "schedule": {"steps": 1000} } ] }

Names of data sets and losses are looked up, and their ``params`` validated, when the recipe is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from icm_core.errors import SpecError
from icm_core.spec.model import PIPELINE_NAME, ComponentSpec, PipelineSpec
from icm_core.validation.messages import explain
from icm_core.validation.strict_json import read_json

STAGE_NAME = r"^[a-z][a-z0-9_-]{0,63}$"
Precision = Literal["32-true", "bf16-mixed"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Ends = Annotated[tuple[float, float], Field(description="value at the lowest and at the highest quality")]


class Ramp(_Model):
    """A weight that moves in a straight line while a stage runs, and then stays."""

    start: float = Field(ge=0, description="weight at the stage's first step")
    end: float = Field(ge=0, description="weight from ``over`` on")
    over: float = Field(1.0, gt=0, le=1, description="share of the stage after which ``end`` is reached")

    def at(self, done: float) -> float:
        """The weight when this share of the stage is done."""
        return self.start + (self.end - self.start) * min(1.0, done / self.over)


class DataSpec(ComponentSpec):
    """A registered data set, in a folder."""

    root: str = Field("", description="its folder, absolute or relative to the folder given by --data")
    split: str = Field("train", description="which part of it")


class SourceSpec(_Model):
    """One data set of a feed."""

    name: str = Field(description="name under the recipe's ``data``")
    times: int = Field(1, ge=1, le=1000, description="how often an epoch holds each of its pictures")


class AugmentSpec(_Model):
    """What happens to a picture, and to what its target has in it, before it is used; in the order of the fields."""

    resize: tuple[int, int] | None = Field(None, description="height and width in pixels that every picture gets")
    scale: tuple[float, float] | None = Field(None, description="range of a random factor of the picture's size")
    crop: tuple[int, int] | None = Field(
        None, description="height and width in pixels of a random crop; smaller pictures are continued"
    )
    flip: bool = Field(False, description="if true, half of the pictures are mirrored")
    colour: tuple[float, float, float, float] | None = Field(
        None, description="largest random change of brightness, contrast, saturation (of 1) and hue (of a turn)"
    )


class LossSpec(ComponentSpec):
    """A registered loss as one term of the objective."""

    task: str | None = Field(None, description="name of the task that it is about")
    label: str = Field("", description="its name in logs; empty: the loss's and the task's")
    weight: float | Ramp = Field(1.0, description="factor of the term, constant or moving")
    by_quality: Ends | None = Field(None, description="a further factor for each picture, geometric between the ends")
    input: Literal["coded", "clean"] = Field(
        "coded", description="what the task reads: side information, or the clean picture in place of the features"
    )
    share: float = Field(1.0, gt=0, le=1, description="share of the pictures that it is computed for")


class FeedSpec(_Model):
    """Pictures that a step takes together, and what is minimised for them."""

    data: tuple[str | SourceSpec, ...] = Field(min_length=1, description="names of data sets, mixed by their sizes")
    batch: int = Field(ge=1, le=65536, description="pictures a step, over all devices together")
    augment: AugmentSpec = Field(
        default_factory=lambda: AugmentSpec.model_validate({}), description="what happens to a picture first"
    )
    losses: tuple[LossSpec, ...] = Field(min_length=1, description="terms of the objective")
    views: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="number of fixed augmentations of each picture; what frozen modules make of one is then computed "
        "once and kept. None: a new augmentation each time",
    )


class TrainSpec(_Model):
    """Modules that train at one learning rate. Where a module stands in two groups, the longer path counts."""

    modules: tuple[str, ...] = Field(
        min_length=1, description="paths such as tasks.segmentation.head, or the letters A, B, B.<task>, C, D"
    )
    lr: float = Field(gt=0, le=1, description="highest learning rate")
    weight_decay: float | None = Field(None, ge=0, le=1, description="None: the optimizer's")
    norm: Literal["trained", "frozen"] = Field("trained", description="whether batch statistics are updated")


class OptimizerSpec(_Model):
    """The optimizer, one of PyTorch's."""

    use: Literal["adamw", "adam", "sgd"] = Field("adamw", description="PyTorch's optimizer of that name")
    betas: tuple[float, float] = Field((0.9, 0.99), description="decay of the moments; of sgd the first is momentum")
    weight_decay: float = Field(1e-4, ge=0, le=1, description="weight decay of groups that name none")


class PhaseSpec(_Model):
    """A piece of a stage with one learning rate, as papers state schedules."""

    steps: int | None = Field(None, ge=1, description="its length in steps")
    epochs: float | None = Field(None, gt=0, description="its length in epochs of the first feed")
    factor: float = Field(1.0, gt=0, le=1, description="factor of every group's learning rate")

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give steps or epochs, one of them")
        return self


class ScheduleSpec(_Model):
    """Length and pace of a stage."""

    steps: int | None = Field(None, ge=1, description="its length in steps")
    epochs: float | None = Field(None, gt=0, description="its length in epochs of the first feed")
    phases: tuple[PhaseSpec, ...] = Field((), description="pieces one after the other, in place of steps and epochs")
    warmup: int = Field(0, ge=0, description="steps of linear rise of the learning rate at the start")
    shape: Literal["constant", "cosine"] = Field("cosine", description="pace after the warm-up; of phases: constant")
    floor: float = Field(0.01, ge=0, le=1, description="share of the learning rate that a cosine ends at")

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is not None) + (self.epochs is not None) + bool(self.phases) != 1:
            raise ValueError("give steps, epochs or phases, one of them")
        return self


class QualitySpec(_Model):
    """How the quality of each picture is drawn."""

    range: tuple[float, float] | None = Field(None, description="lowest and highest; None: the codec's")
    trained: float = Field(0.5, ge=0, le=1, description="share drawn among whole numbers, the rest anywhere between")
    base: tuple[float, float] | None = Field(
        None,
        description="lowest and highest quality of the base layer where it is drawn apart, anywhere between; the other "
        "is the enhancement's then, and what by_quality is about. None: one quality for both layers",
    )


class ValidationSpec(_Model):
    """Figures on pictures that are not trained on, and sample pictures, while a stage runs. Rates are estimates.

    Figures are those of ``icm evaluate``, shares between 0 and 1 in place of percent.
    """

    data: str = Field(description="name under the recipe's ``data``")
    every: int = Field(500, ge=1, description="steps between two; the last step has one always")
    limit: int = Field(16, ge=1, description="number of pictures, evenly spread over the data set")
    qualities: tuple[float, ...] = Field((1.0, 3.0), min_length=1, description="qualities that are looked at")


class StartSpec(_Model):
    """One thing that fills weights before a stage; later ones overwrite what earlier ones filled."""

    stage: str | None = Field(None, description="the result of an earlier stage of the run")
    weights: str | None = Field(
        None,
        description="a shipped pipeline's name, hf://owner/name, or a safetensors file relative to the recipe, or "
        "to the working directory",
    )
    pretrained: str | None = Field(None, description="source that the component at ``module`` knows, such as imagenet")
    copy_of: str | None = Field(None, description="path of a module whose weights ``module`` takes over")
    module: str = Field("", description="path of the module that is filled; empty: the whole pipeline")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("stage", "weights", "pretrained", "copy_of") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give one of stage, weights, pretrained and copy_of")
        if given[0] in ("pretrained", "copy_of") and not self.module:
            raise ValueError(f"{given[0]} needs the module that it fills")
        return self


class StageSpec(_Model):
    """One stage: what trains, on what, how long. Everything that it does not name is frozen, statistics included."""

    name: str = Field(pattern=STAGE_NAME, description="name of the stage")
    description: str = Field("", description="what it is for, in a sentence")
    start: tuple[StartSpec, ...] | None = Field(
        None, description="where its weights come from; None: the stage before, or the recipe's start"
    )
    train: tuple[TrainSpec, ...] = Field(min_length=1, description="what trains")
    feeds: tuple[FeedSpec, ...] = Field(min_length=1, description="what each step takes")
    schedule: ScheduleSpec = Field(description="length and pace")
    optimizer: OptimizerSpec = Field(
        default_factory=lambda: OptimizerSpec.model_validate({}), description="the optimizer"
    )
    quality: QualitySpec = Field(
        default_factory=lambda: QualitySpec.model_validate({}), description="how qualities are drawn"
    )
    encoders: tuple[str, ...] = Field(
        (), description="encoders of the codec, one of which each batch draws; none: the usual one"
    )
    clip: float | None = Field(1.0, gt=0, description="largest norm of the gradient; None: not clipped")
    ema: float | None = Field(None, gt=0, lt=1, description="decay of a running mean of the weights, which is kept")
    precision: Precision | None = Field(None, description="None: the recipe's")
    validate_on: ValidationSpec | None = Field(None, description="figures on other pictures while it runs")


class PartSpec(_Model):
    """What one file of exported weights holds."""

    prefixes: tuple[str, ...] = Field(min_length=1, description="beginnings of the parameters' paths")


class RecipeSpec(_Model):
    """A whole recipe. Get one with `read_recipe` or `parse_recipe`, whose errors are one sentence each."""

    icm: Literal[1] = Field(description="version of this format")
    recipe: str = Field(pattern=PIPELINE_NAME, description="name of the recipe")
    description: str = Field("", description="what it is for, in a sentence")
    pipeline: str | PipelineSpec = Field(
        description="the pipeline that trains: a shipped one's name, a spec file relative to the recipe, or a spec"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="of weights, order, augmentation, qualities and noise")
    precision: Precision = Field("32-true", description="arithmetic of the networks")
    start: str | None = Field(None, description="weights that the first stage starts from; see ``weights`` of a start")
    data: dict[str, DataSpec] = Field(min_length=1, description="data sets by name")
    stages: tuple[StageSpec, ...] = Field(min_length=1, description="the stages, in order")
    keep: int = Field(2, ge=1, le=1000, description="number of checkpoints of a stage that are kept")
    checkpoint_every: int = Field(200, ge=1, description="steps between two checkpoints")
    log_every: int = Field(50, ge=1, description="steps between two rows of the log")
    files: dict[str, PartSpec] = Field(
        default_factory=dict, description="files of exported weights by name; none: one file with everything"
    )


def parse_recipe(data: object) -> RecipeSpec:
    """A recipe from JSON data; an editor's ``"$schema"`` key is allowed and ignored.

    Raises:
        SpecError: it does not validate; the message names the field, the value and what would be right.
    """
    if not isinstance(data, Mapping):
        raise SpecError(f"a recipe is a JSON object, not {type(data).__name__}")
    data = {key: value for key, value in data.items() if key != "$schema"}
    try:
        recipe = RecipeSpec.model_validate(data)
    except ValidationError as error:
        raise SpecError(explain(error, RecipeSpec, data)) from error
    _check_names(recipe)
    return recipe


def read_recipe(path: Path) -> RecipeSpec:
    """A recipe from its JSON file; `SpecError` names the file and what is wrong in it."""
    data = read_json(path)
    try:
        return parse_recipe(data)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error


def _check_names(recipe: RecipeSpec) -> None:
    names = [stage.name for stage in recipe.stages]
    if recipe.start is not None and recipe.stages[0].start is not None:
        raise SpecError(
            f"start is {recipe.start!r}, but nothing would start from it: stages[0].start names sources of its own; "
            f'put {{"weights": "{recipe.start}"}} first there, and leave start out'
        )
    for index, stage in enumerate(recipe.stages):
        where = f"stages[{index}]"
        if names.index(stage.name) < index:
            raise SpecError(f"{where}.name is {stage.name!r}, as of an earlier stage; names of stages are unique")
        for start in stage.start or ():
            if start.stage is not None and start.stage not in names[:index]:
                earlier = ", ".join(names[:index]) or "there is none"
                raise SpecError(f"{where}.start: {start.stage!r} is no earlier stage; earlier: {earlier}")
        used = [source if isinstance(source, str) else source.name for feed in stage.feeds for source in feed.data]
        if stage.validate_on is not None:
            used.append(stage.validate_on.data)
        for name in used:
            if name not in recipe.data:
                raise SpecError(f"{where}: the data set {name!r} is not in data; known: {', '.join(recipe.data)}")
