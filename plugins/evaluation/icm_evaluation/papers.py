"""The paper's figures as data: what each shows, what it needs, and the points that the paper itself states."""

from __future__ import annotations

from importlib.resources import files
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from icm_core.errors import InputError
from icm_registry import unknown


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Differ = Literal["system", "adapter", "side rate"]
"""What tells the curves of a figure apart."""

Shared = Literal["codec", "head", "search", "data set", "picture size"]
"""What the curves of a figure have in common, so that nothing else makes the difference."""


class Stated(_Model):
    """A point of the paper."""

    label: str
    bpp: float = Field(gt=0)
    value: float
    relation: Literal["=", "~", ">"] = Field(default="=", description="exactly, about, more than")
    derived: str = Field(default="", description="how it follows from a share in the text; empty: it stands so there")


class Wanted(_Model):
    """Which curves a figure shows, and what makes them a right comparison."""

    data: str = Field(description="kind of the data set's targets")
    metric: str
    differ: Differ
    share: tuple[Shared, ...]
    adapters: tuple[str, ...] = Field(default=(), description="if any, one line for each of these adapters")
    whole: bool = Field(default=False, description="if True, outputs of the whole file only")
    lines: int = Field(default=1, ge=1, description="with fewer lines of ours there is nothing to see")


class _Figure(_Model):
    title: str
    paper_data: str
    needs: str
    claims: str = ""
    contradictions: tuple[str, ...] = Field(default=(), description="what the paper says otherwise in another place")


class Curves(_Figure):
    """Rate against a figure."""

    kind: Literal["curves"]
    of: Wanted
    size: tuple[int, int] | None = Field(default=None, description="the paper's pictures, height and width; None: any")
    points: tuple[Stated, ...] = ()


class Pictures(_Figure):
    """Pictures at equal rates."""

    kind: Literal["pictures"]
    limits: tuple[float, ...]
    picture: int = Field(ge=0, description="of the data set, evenly chosen ones: 0, 1, ...")
    tasks: str


class Clean(_Figure):
    """Heads on clean pictures."""

    kind: Literal["clean"]
    heads: dict[str, float] = Field(description="the paper's mIoU in percent, by registered name")


class Set(_Model):
    """One of the paper's sets: a share of the rate for the base layer, and what the tasks reach with it."""

    side: float = Field(gt=0, description="bits per pixel of the base layer")
    top1: float
    miou: float
    enhancement: dict[str, float] = Field(description="the enhancement layer's rate by the whole file's")


class Tradeoff(_Figure):
    """What tasks and fine picture get of the rate."""

    kind: Literal["tradeoff"]
    sets: tuple[Set, ...]


class AccountOf(_Figure):
    """Parameters and operations, shared and separate."""

    kind: Literal["account"]
    size: tuple[int, int] = Field(description="height and width")
    models: tuple[str, ...]


AnyFigure = Curves | Pictures | Clean | Tradeoff | AccountOf
Figure = Annotated[AnyFigure, Field(discriminator="kind")]


class Paper(_Model):
    """All of them."""

    source: str
    figures: dict[str, Figure]

    @property
    def sizes(self) -> dict[str, dict[tuple[int, int], str]]:
        """By metric: the figure that compares systems at each of the paper's picture sizes."""
        found: dict[str, dict[tuple[int, int], str]] = {}
        for name, figure in self.figures.items():
            if isinstance(figure, Curves) and figure.size is not None and figure.of.differ == "system":
                found.setdefault(figure.of.metric, {}).setdefault(figure.size, name)
        return found


def paper() -> Paper:
    """The table that comes with this package."""
    return Paper.model_validate_json(files("icm_evaluation").joinpath("figures.json").read_text("utf-8"))


def find_figures(names: list[str], table: Paper) -> dict[str, AnyFigure]:
    """Figures by name, ``all`` for all; `InputError` with the nearest name where there is none."""
    for name in names:
        if name not in table.figures and name != "all":
            raise InputError(unknown("figure", name, [*table.figures, "all"]))
    return dict(table.figures) if "all" in names else {name: table.figures[name] for name in names}
