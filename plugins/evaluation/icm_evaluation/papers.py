"""The paper's figures as data: what each shows, what it needs, and the points that the paper itself states."""

from __future__ import annotations

from importlib.resources import files
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from icm_core.errors import InputError
from icm_registry import unknown


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Stated(_Model):
    """A point of the paper."""

    label: str
    bpp: float = Field(gt=0)
    value: float
    relation: Literal["=", "~", ">"] = Field(default="=", description="exactly, about, more than")


class Wanted(_Model):
    """Which curves a figure shows."""

    data: str
    metric: str
    adapters: tuple[str, ...] = Field(default=(), description="if any, one line for each of these adapters")
    whole: bool = Field(
        default=False, description="if True, outputs of the whole file only, named by the rate of their base"
    )
    lines: int = Field(default=1, ge=1, description="with fewer lines of ours there is nothing to see")


class _Figure(_Model):
    title: str
    paper_data: str
    needs: str
    claims: str = ""


class Curves(_Figure):
    """Rate against a figure."""

    kind: Literal["curves"]
    of: Wanted
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


class AccountOf(_Figure):
    """Parameters and operations, shared and separate."""

    kind: Literal["account"]
    size: tuple[int, int] = Field(description="height and width")
    models: tuple[str, ...]


Figure = Annotated[Curves | Pictures | Clean | AccountOf, Field(discriminator="kind")]


class Paper(_Model):
    """All of them."""

    source: str
    figures: dict[str, Figure]


def paper() -> Paper:
    """The table that comes with this package."""
    return Paper.model_validate_json(files("icm_evaluation").joinpath("figures.json").read_text("utf-8"))


def find_figures(names: list[str], table: Paper) -> dict[str, Curves | Pictures | Clean | AccountOf]:
    """Figures by name, ``all`` for all; `InputError` with the nearest name where there is none."""
    for name in names:
        if name not in table.figures and name != "all":
            raise InputError(unknown("figure", name, [*table.figures, "all"]))
    return dict(table.figures) if "all" in names else {name: table.figures[name] for name in names}
