"""What kinds have in common whose answers are things: each with a box, a class and a score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from pydantic import JsonValue
from torch import Generator, Tensor

from icm_core.interfaces import Drawn, Figure, Tally, TaskKind, Weights
from icm_core.kinds import check_classes, match_labels, renumbered
from icm_core.nests import Nest, shown
from icm_core.types import Legend, Prediction
from icm_tasks.kinds import coco
from icm_tasks.kinds.checks import check_answer, check_things
from icm_tasks.kinds.moving import made_up_boxes, unwrap_things, wrap_things

LISTED = 100
"""Things that an answer lists and a drawing shows, those of the highest scores."""

SURE = 0.5
"""Score from which a thing is described and drawn."""

UNSURE = 3
"""Things that are drawn where no score reaches `SURE`, with their scores."""

_EXAMPLES = 3


class Things(TaskKind):
    """A target is a dict of tensors, a batch a tuple of them, an output a list of one dict a picture.

    ========  ============  ===================================================================================
    target    output        what it is
    ========  ============  ===================================================================================
    boxes     boxes         (N, 4) float32: left, top, right, bottom in pixels, as torchvision's "XYXY"
    labels    labels        (N,) int64: numbers of classes from 0, in the order of the legend. There is none for
                            the background: a head around one of torchvision's detectors, where it is 0, adds one
                            to targets and takes one off answers.
    --        scores        (N,) in [0, 1]
    iscrowd   --            optional, (N,) bool or int64: 1 where a box stands for a crowd, as in COCO. An answer
                            inside counts neither as found nor as wrong.
    area      --            optional, (N,) float32: square pixels of the thing, by default those of its box;
                            distances of keypoints are measured by it
    ========  ============  ===================================================================================

    N differs from picture to picture and may be 0. Figures are COCO's average precision, by pycocotools: over IoU (or
    OKS) 0.5 to 0.95, at 0.5 and at 0.75, the mean over the classes that occur in the truth. Classes that a data set
    does not name never occur, so that what a head says of them counts nowhere.
    """

    ragged: ClassVar[bool] = True

    measure: ClassVar[coco.Measure]
    """What makes an answer a match."""

    title: ClassVar[str]
    """What is matched, for titles of figures."""

    listed: ClassVar[str]
    """Field of the JSON answer that lists the things."""

    more: ClassVar[tuple[str, ...]] = ()
    """What targets and outputs have beside boxes and classes."""

    def classes(self, legend: Legend) -> tuple[str, ...]:
        """Names of the classes; empty where they are not known."""
        return legend.labels

    # --- targets -----------------------------------------------------------------------------------------------------

    def check_target(self, target: Nest, size: tuple[int, int], legend: Legend) -> None:
        """A dict with what the table says; boxes inside of the picture but for a pixel, and not empty."""
        check_things(target, size, len(self.classes(legend)), self.more)

    def example_target(self, size: tuple[int, int], legend: Legend, generator: Generator) -> dict[str, Tensor]:
        """Three boxes of any class."""
        boxes = made_up_boxes(size, _EXAMPLES, generator)
        classes = max(1, len(self.classes(legend)))
        return {"boxes": boxes, "labels": torch.randint(classes, (_EXAMPLES,), generator=generator)}

    def wrap(self, target: Nest, size: tuple[int, int]) -> Nest:
        """Boxes and masks move with the picture."""
        return wrap_things(target, size)

    def unwrap(self, target: Nest, size: tuple[int, int], legend: Legend) -> Nest:
        """What is left of the things; those without a side of a pixel are gone, and all that belongs to them."""
        del legend
        return unwrap_things(target, size)

    # --- answers -----------------------------------------------------------------------------------------------------

    def check_prediction(self, prediction: Prediction, size: tuple[int, int], count: int) -> None:
        """A list of one dict a picture, with what the table says."""
        output = prediction.output
        _check_output(output)
        if len(output) != count:
            raise ValueError(f"has {len(output)} dicts for {count} pictures; it should have one for each")
        for answer in output:
            self.check_answer(answer, prediction.legend, size)

    def check_answer(self, answer: Nest, legend: Legend, size: tuple[int, int] | None = None) -> None:
        """Raise `ValueError` with a clause where what a head says of one picture is not of the kind's form.

        Args:
            answer: one of the output's dicts.
            legend: the head's.
            size: height and width of the picture, where they are known.
        """
        del size
        check_answer(answer, len(self.classes(legend)), self.more)

    # --- showing -----------------------------------------------------------------------------------------------------

    def things(self, prediction: Prediction) -> dict[str, Tensor]:
        """The things of the batch's first picture, the highest score first, on the CPU.

        Raises:
            ValueError: what the head says is not of the kind's form; a clause.
        """
        output = prediction.output
        try:
            _check_output(output)
            self.check_answer(output[0], prediction.legend)
        except ValueError as error:
            raise ValueError(f"has no answer to compare it with: the head's answer {error}") from error
        found = {name: output[0][name].detach().cpu() for name in ("boxes", "labels", "scores", *self.more)}
        order = found["scores"].argsort(descending=True, stable=True)
        return {name: value[order] for name, value in found.items()}

    def answer(self, prediction: Prediction) -> dict[str, JsonValue]:
        """``boxes``: label, index, score and box (left, top, right, bottom) of each thing, the highest score first, at
        most a hundred; how many were ``left_out``."""
        found = self.things(prediction)
        count = min(LISTED, len(found["scores"]))
        return {
            self.listed: [self.entry(found, row, prediction.legend) for row in range(count)],
            "left_out": len(found["scores"]) - count,
        }

    def entry(self, found: dict[str, Tensor], row: int, legend: Legend) -> JsonValue:
        """One thing for `answer`: label, index of the class, score, box."""
        index = int(found["labels"][row])
        return {
            **({"label": self.classes(legend)[index]} if 0 <= index < len(self.classes(legend)) else {}),
            "index": index,
            "score": round(float(found["scores"][row]), 6),
            "box": [round(value, 2) for value in found["boxes"][row].tolist()],
        }

    def describe(self, prediction: Prediction) -> str:
        """How many things of each class have a score of 50 % or more."""
        found = self.things(prediction)
        names = [self.class_name(index, prediction.legend) for index in found["labels"].tolist()]
        scores = found["scores"].tolist()
        sure = Counter(name for name, score in zip(names, scores, strict=True) if score >= SURE)
        if sure:
            return ", ".join(f"{count} x {name}" for name, count in sure.most_common())
        return f"nothing that is sure; the best is {names[0]} {scores[0]:.0%}" if names else "nothing"

    def class_name(self, index: int, legend: Legend) -> str:
        """A class in words."""
        names = self.classes(legend)
        return names[index] if 0 <= index < len(names) else f"class {index}"

    def drawn_things(self, prediction: Prediction) -> dict[str, Tensor]:
        """The things that `draw` shows: those that are sure, at most a hundred; if none is, the three best."""
        found = self.things(prediction)
        sure = int((found["scores"] >= SURE).sum())
        return {name: value[: min(LISTED, sure) if sure else UNSURE] for name, value in found.items()}

    def captions(self, found: dict[str, Tensor], legend: Legend) -> list[str]:
        """Class and score of each thing; the class alone where all scores are 1, as in the truth."""
        certain = bool((found["scores"] == 1).all())
        return [
            self.class_name(index, legend) + ("" if certain else f" {score:.0%}")
            for index, score in zip(found["labels"].tolist(), found["scores"].tolist(), strict=True)
        ]

    def truth(self, target: Nest, legend: Legend) -> Prediction | None:
        """The things with a score of 1, without crowds."""
        single = ~_crowds(target)
        found = {name: target[name][single] for name in ("boxes", "labels", *self.more)}
        found["scores"] = torch.ones(len(found["labels"]))
        return Prediction(self.name, [found], legend.labels, legend.colours)

    # --- measuring ---------------------------------------------------------------------------------------------------

    def match(self, data: Legend, head: Legend) -> tuple[int, ...] | str:
        """By names; the data set may name some of the head's classes only."""
        return match_labels(data, head)

    def renumber(self, target: Nest, numbers: tuple[int, ...], legend: Legend) -> Nest:
        """The target with classes in the head's numbers."""
        del legend
        return {**target, "labels": renumbered(target["labels"], numbers, None, -1)}

    def tally(self, prediction: Prediction, target: Nest) -> Tally:
        """``found`` and ``truth``: boxes, labels and what else the kind has, as columns; scores, crowds and areas.

        Of each class those answers that COCO counts are kept, 100 in a picture (of keypoints 20).
        """
        found = self.things(prediction)
        if self.classes(prediction.legend):
            check_classes(target["labels"], len(self.classes(prediction.legend)))
        kept = _best_of_each_class(found["labels"], coco.MOST[self.measure])
        found = {name: value[kept] for name, value in found.items()}
        truth: dict[str, JsonValue] = {
            "labels": target["labels"].tolist(),
            "boxes": target["boxes"].tolist(),
            "iscrowd": _crowds(target).int().tolist(),
            **({"area": target["area"].tolist()} if "area" in target else {}),
        }
        answers: dict[str, JsonValue] = {name: found[name].tolist() for name in ("labels", "boxes", "scores")}
        return {**self.compared(found, target, answers, truth), "found": answers, "truth": truth}

    def compared(
        self, found: dict[str, Tensor], target: Nest, answers: dict[str, JsonValue], truth: dict[str, JsonValue]
    ) -> Tally:
        """Put into a tally's ``found`` and ``truth`` what the kind compares beside boxes; what else the tally needs."""
        del found, target, answers, truth
        return {}

    def figures(self, tallies: Sequence[Tally], legend: Legend) -> dict[str, Figure]:
        """COCO's ``ap``, ``ap50`` and ``ap75`` in percent; None where there is nothing to find. Of answers with equal
        scores those of earlier pictures come first, as in COCO."""
        sigmas, title = self.sigmas(tallies, legend)
        return coco.figures(coco.match(tallies, self.measure, sigmas), len(tallies), title)

    def resampled(self, tallies: Sequence[Tally], legend: Legend, weights: Weights) -> Drawn:
        """As `figures`; pictures are matched once, and only the precision is drawn again."""
        return coco.average_precision(coco.match(tallies, self.measure, self.sigmas(tallies, legend)[0]), weights)

    def sigmas(self, tallies: Sequence[Tally], legend: Legend) -> tuple[Sequence[float], str]:
        """Sigmas of keypoints, where there are some, and what titles of figures say was matched."""
        del tallies, legend
        return (), self.title


def _check_output(output: Nest) -> None:
    if not (isinstance(output, (list, tuple)) and output):
        raise ValueError(f"is {shown(output)}; it should be a list with a dict for each picture")


def _crowds(target: dict[str, Any]) -> Tensor:
    """Which things are crowds, (N,) bool."""
    return target["iscrowd"].bool() if "iscrowd" in target else torch.zeros(len(target["labels"]), dtype=torch.bool)


def _best_of_each_class(labels: Tensor, most: int) -> Tensor:
    """Which of things in the order of their scores are among the first ones of their class, (N,) bool."""
    kept = torch.zeros(len(labels), dtype=torch.bool)
    for label in set(labels.tolist()):
        kept[(labels == label).nonzero().flatten()[:most]] = True
    return kept
