"""What evaluation asks kinds for: who is asked, with what, and what becomes of an answer that is none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import numpy as np
import pytest
import torch
from PIL import Image

from icm_core import build_registry
from icm_core.errors import InputError, SpecError
from icm_core.interfaces import Figure, Sample, Tally, TaskKind
from icm_core.kinds import Reconstruction, Segmentation
from icm_core.types import Legend, Prediction
from icm_evaluation.figure_info import CLEAN, DROP, FigureInfo
from icm_evaluation.gallery import truth
from icm_evaluation.kinds import Kinds, figures, infos, kept, match, said, target_of, told, value_of


class Given(Kinds):
    """Some kinds besides those of the core."""

    def __init__(self, *kinds: TaskKind) -> None:
        super().__init__()
        self.more = {kind.name: kind for kind in kinds}

    def get(self, name: str, where: str = "") -> TaskKind:
        return self.more[name] if name in self.more else super().get(name, where)


class Strict(Segmentation):
    """Class maps that heads of plain segmentation can be measured on; it says the size that it was asked with."""

    name: ClassVar[str] = "strict.maps"
    also: ClassVar[tuple[str, ...]] = ("segmentation",)

    def check_target(self, target: Any, size: tuple[int, int], legend: Legend) -> None:
        raise ValueError(f"is of {size} and labels {legend.labels}")


def test_the_registry_that_is_given_is_asked_and_a_message_begins_with_the_place() -> None:
    registry = build_registry()
    assert Kinds(registry).registry is registry
    assert isinstance(Kinds().get("segmentation"), Segmentation)
    with pytest.raises(SpecError, match=r"^tasks\.it: .*unknown kind 'segmentatio'"):
        Kinds(registry).get("segmentatio", "tasks.it")


def data_of(kind: str, *labels: str, **more: Any) -> Any:
    return SimpleNamespace(kind=kind, name="d", legend=Legend(labels, **more))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (data_of("pictures"), "the data set has no targets, the head is of kind segmentation"),
        (data_of("depth"), "the data set has targets of kind depth, the head is of kind segmentation"),
        (data_of("segmentation", "road", "sky"), (1, 0)),
        (data_of("strict.maps", "road"), (1,)),
        (data_of("segmentation", "sea"), "the head has 2 classes, and they are not the data set's 1"),
    ],
)
def test_a_data_set_is_matched_by_kind_and_names(data: Any, found: object) -> None:
    assert match(Segmentation(), Legend(("sky", "road")), data, Given(Strict())) == found


def test_a_kind_that_heads_of_another_take_is_not_the_other_way_round() -> None:
    said = match(Strict(), Legend(("sky",)), data_of("segmentation", "sky"), Given(Strict()))
    assert said == "the data set has targets of kind segmentation, the head is of kind strict.maps"


def test_a_head_keeps_its_aliases_and_colours_and_nothing_is_ignored() -> None:
    head = Legend((), (("a",),), ((1, 2, 3),), "", 5)
    assert told(head, Legend(("b",), (("c",),), ((4, 5, 6),), "m", 7)) == Legend(
        ("b",), (("a",),), ((1, 2, 3),), "m", None
    )
    assert told(Legend(("c",), unit="ft"), Legend(("b",), unit="m")) == Legend(("c",), unit="ft")


def test_a_target_is_checked_at_its_pictures_height_and_width_by_the_kind_of_the_data() -> None:
    sample = Sample("a", torch.zeros(3, 2, 5, dtype=torch.uint8), torch.tensor([[0, 1, 0, 1, 7]] * 2).byte())
    legend = Legend(("road", "sky"), ignore=7)
    found = target_of(sample, Segmentation(), Segmentation(), (1, 0), legend)
    assert cast(torch.Tensor, found)[0].tolist() == [1, 0, 1, 0, -1]
    with pytest.raises(InputError, match=r"^the target of a is of \(2, 5\) and labels \('road', 'sky'\)$"):
        target_of(sample, Strict(), Segmentation(), (1, 0), legend)
    with pytest.raises(InputError, match=r"^the target of a holds the class 1; classes are 0 to 0$"):
        target_of(sample, Segmentation(), Segmentation(), (0,), Legend(ignore=7))
    with pytest.raises(InputError, match=r"^a has no target, though its data set has some$"):
        target_of(Sample("a", sample.picture, None), Segmentation(), Segmentation(), (1, 0), legend)


def test_a_clause_becomes_a_sentence_and_what_is_no_clause_stays_what_it_is() -> None:
    def ask(error: Exception) -> None:
        raise error

    assert said("it", max, 3, 4) == 4
    with pytest.raises(InputError, match=r"^it is too long$"):
        said("it", ask, ValueError("is too long"))
    with pytest.raises(TypeError, match=r"^a bug$"):
        said("it", ask, TypeError("a bug"))


def test_a_tally_is_kept_as_its_file_gives_it_back() -> None:
    assert kept(Segmentation(), {"a": cast(Any, (1, 2.5, None))}) == {"a": [1, 2.5, None]}
    for wrong in (math.nan, math.inf, torch.zeros(1)):
        with pytest.raises(InputError, match=r"^a tally of kind 'segmentation' cannot be kept as JSON: "):
            kept(Segmentation(), {"a": cast(Any, wrong)})


class Says(Reconstruction):
    """A kind whose figures a test chooses."""

    name: ClassVar[str] = "says.it"

    def __init__(self, *names: str) -> None:
        self.names = names

    def figures(self, tallies: Sequence[Tally], legend: Legend) -> dict[str, Figure]:
        if not self.names:
            raise ValueError("they are odd")
        return {name: Figure(1.5, "px", f"a {name}", False, 1) for name in self.names}


def test_figures_stay_in_order_and_names_that_results_have_for_another_are_refused() -> None:
    found = figures(Says("z", "a"), [], Legend())
    assert [*found] == ["z", "a"]
    about = {name: FigureInfo(title=f"a {name}", unit="px", higher_is_better=False, digits=1) for name in "za"}
    assert infos(found) == about
    assert [*infos(found)] == ["z", "a"]  # the main one first
    for name in (CLEAN, DROP):
        with pytest.raises(InputError, match=f"^kind 'says.it' has a figure '{name}', a name that results have for"):
            figures(Says("a", name), [], Legend())
    with pytest.raises(InputError, match=r"^the figures of kind 'says\.it' cannot be made of these tallies: they are"):
        figures(Says(), [], Legend())


@pytest.mark.parametrize(
    ("value", "found"),
    [(None, None), (math.nan, None), (math.inf, None), (-math.inf, None), (0, 0.0), (np.float32(0.5), 0.5)],
)
def test_a_value_is_a_finite_number_or_unknown(value: Any, found: float | None) -> None:
    seen = value_of(Figure(value))
    assert seen == found and (seen is None or type(seen) is float)


class Noted(Segmentation):
    """Notes what it draws, and draws the picture."""

    def __init__(self) -> None:
        self.drawn: list[tuple[tuple[str, ...], Any]] = []

    def draw(self, prediction: Prediction, picture: Image.Image) -> Image.Image:
        self.drawn.append((prediction.labels, cast(torch.Tensor, prediction.output)[0].argmax(0).tolist()))
        return picture


def pipe_of(kind: TaskKind, *labels: str) -> Any:
    head = SimpleNamespace(legend=Legend(labels))
    return SimpleNamespace(tasks={"it": None}, kind=lambda name: kind, task=lambda name: SimpleNamespace(head=head))


MAP = Sample("a", torch.zeros(3, 1, 3, dtype=torch.uint8), torch.tensor([[0, 1, 1]]).byte())


@pytest.mark.parametrize(
    ("head", "labels", "classes"),
    [((), ("sky", "road"), [[0, 1, 1]]), (("road", "sky"), ("road", "sky"), [[1, 0, 0]])],
)
def test_an_annotation_has_the_heads_names_and_the_data_sets_where_the_head_has_none(
    head: tuple[str, ...], labels: tuple[str, ...], classes: list[list[int]]
) -> None:
    noted, original = Noted(), Image.new("RGB", (3, 1))
    pipes = [pipe_of(Reconstruction()), pipe_of(noted, "sea"), pipe_of(noted, *head)]
    assert truth(pipes, data_of("segmentation", "sky", "road"), MAP, original, Kinds()) is original
    assert noted.drawn == [(labels, classes)]


def test_without_a_head_that_knows_what_it_is_about_there_is_no_annotation() -> None:
    original = Image.new("RGB", (3, 1))
    data = data_of("segmentation", "sky", "road")
    assert truth([pipe_of(Reconstruction()), pipe_of(Noted(), "sea")], data, MAP, original, Kinds()) is None
    unknown = Sample("a", MAP.picture, None)
    assert truth([pipe_of(Noted(), "sky", "road")], data, unknown, original, Kinds()) is None


def test_an_annotation_is_checked_by_the_kind_of_the_data() -> None:
    pipes, data = [pipe_of(Noted(), "sky", "road")], data_of("strict.maps", "sky", "road")
    with pytest.raises(InputError, match=r"^the target of a is of \(1, 3\) and labels \('sky', 'road'\)$"):
        truth(pipes, data, MAP, Image.new("RGB", (3, 1)), Given(Strict()))
