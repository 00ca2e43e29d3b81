"""Checks of what is said of predictions and how they are measured; heads and kinds pass them alike."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from PIL import Image

from icm_core.interfaces import Figure, Tally
from icm_core.nests import Nest
from icm_core.testing.cases.answers import Answers
from icm_core.testing.cases.heads import HeadCase
from icm_core.testing.cases.kinds import KindCase
from icm_core.testing.failing import ConformanceError, expecting, require
from icm_core.types import Prediction

MOST_SIDES = 2
MARGIN = 100
"""A drawing has room for so many of the picture's sides, and so many pixels for words."""

NEAR = 1e-6
"""Figures may differ by this share from one order of the pictures or one way of summing to another: float32."""


def check_showing(case: HeadCase | KindCase) -> None:
    """An answer is JSON, a line of text, and a picture where it can be one, whatever it says."""
    answers = case.predicted(case.sizes[-1])
    for prediction, picture in zip(answers.predictions, answers.pictures, strict=True):
        _check_words(case, answers, prediction)
        _check_pictures(case, answers, prediction, picture)


def check_measuring(case: HeadCase | KindCase) -> None:
    """A prediction and its target give a tally that is JSON, and tallies in any order the same figures."""
    answers = case.predicted(case.sizes[0])
    tallies = tallied(case, answers)
    again = tallied(case, answers)
    require(
        tallies == again,
        f"tallies of {case.name} change from call to call",
        "Use no random numbers and keep nothing between calls of tally.",
    )
    figures = measured(case, answers, tallies)
    measured(case, answers, tallies[:1])
    stored = [json.loads(json.dumps(tally)) for tally in tallies]
    _same_figures(
        case,
        figures,
        measured(case, answers, stored),
        "from tallies that went through a JSON file",
        "A tally holds what JSON keeps: str, numbers, bool, None, list, dict with str as keys.",
    )
    if isinstance(case, HeadCase) and answers.kind.ragged:
        # Where scores are the same, and a head that is not trained has many of those, curves of precision depend on
        # the order of the pictures. That is between the kind and its own case.
        return
    _same_figures(
        case,
        figures,
        measured(case, answers, tallies[::-1]),
        "in another order of the pictures",
        "Pictures are measured in any order, by several processes: sum with math.fsum, sort where order counts; where "
        "it does for equal scores, give the case predictions whose scores differ (predict=).",
    )


def tallied(case: HeadCase | KindCase, answers: Answers, targets: Sequence[Nest] | None = None) -> list[Tally]:
    """The tally of each prediction, by its own target or by others."""
    kind, legend = answers.kind, answers.legend
    found = []
    numbers = kind.match(legend, legend)
    if isinstance(numbers, str):
        raise ConformanceError(
            f"{case.name} does not match a data set of its own legend: {numbers}. "
            "match gives the head's number of each of the data set's labels, or a clause that says why it cannot."
        )
    for prediction, target in zip(answers.predictions, targets or answers.targets, strict=True):
        with expecting(
            f"measuring an answer of {case.name}",
            "tally takes one picture's prediction (B = 1) and its target, renumbered.",
        ):
            asked = target if kind.is_picture else kind.renumber(target, numbers, legend)
            tally = kind.tally(prediction, asked)
        _check_json(case, tally, "tally")
        found.append(tally)
    return found


def measured(case: HeadCase | KindCase, answers: Answers, tallies: Sequence[Tally]) -> Mapping[str, Figure]:
    """The figures of tallies, looked at one by one."""
    with expecting(f"figures of {case.name} over {len(tallies)} pictures", "figures takes tallies, at least one."):
        found = answers.kind.figures(tallies, answers.legend)
    good = isinstance(found, dict) and bool(found) and all(isinstance(value, Figure) for value in found.values())
    require(
        good, f"{case.name} has the figures {found!r}", "Return {name: Figure(value, unit, title)}, the main first."
    )
    for name, figure in found.items():
        value = figure.value
        require(
            value is None or (isinstance(value, (int, float)) and math.isfinite(value)),
            f"{case.name}: the figure {name!r} is {value!r}",
            "Make it a finite number, or None where it cannot be said.",
        )
        require(
            isinstance(name, str) and bool(name) and bool(figure.title.strip()) and "\n" not in figure.title,
            f"{case.name}: the figure {name!r} has the title {figure.title!r}",
            "Give it a title of some words; plots and tables show it.",
        )
    return found


def _same_figures(
    case: HeadCase | KindCase, one: Mapping[str, Figure], other: Mapping[str, Figure], when: str, advice: str
) -> None:
    require(
        list(one) == list(other),
        f"{case.name} has the figures {', '.join(one)}, and {', '.join(other)} {when}",
        advice,
    )
    for name, figure in one.items():
        require(
            close(figure.value, other[name].value),
            f"{case.name}: {name} is {figure.value}, and {other[name].value} {when}",
            advice,
        )


def close(one: float | None, other: float | None) -> bool:
    """Whether two values of figures are the same but for rounding."""
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=NEAR, abs_tol=NEAR)


def _check_json(case: HeadCase | KindCase, found: object, what: str) -> None:
    advice = "Return a dict of str, numbers, bool, None and lists and dicts of them; None in place of NaN."
    try:
        again = json.loads(json.dumps(found, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ConformanceError(f"the {what} of {case.name} is no JSON: {error}. {advice}") from error
    require(isinstance(found, dict) and again == found, f"the {what} of {case.name} is {found!r:.200}", advice)


def _check_words(case: HeadCase | KindCase, answers: Answers, prediction: Prediction) -> None:
    kind = answers.kind
    with expecting(f"the answer of {case.name}", "answer takes a prediction and speaks of the batch's first picture."):
        answer = kind.answer(prediction)
    _check_json(case, answer, "answer")
    clash = sorted({"kind", "text", "picture", "drawing"} & answer.keys())
    require(
        not clash,
        f"the answer of {case.name} has the key {clash[:1]}, which icm decode uses itself",
        "Call it something else.",
    )
    with expecting(f"describing an answer of {case.name}", "describe says it in a line for a person."):
        text = kind.describe(prediction)
    require(
        isinstance(text, str) and len(text.splitlines()) <= 1,
        f"{case.name} describes its answer as {text!r:.200}",
        "Return one line; empty where a picture says it all.",
    )


def _check_pictures(case: HeadCase | KindCase, answers: Answers, prediction: Prediction, picture: Image.Image) -> None:
    kind, (height, width) = answers.kind, answers.size
    with expecting(f"the raster of {case.name}", "raster gives the answer as a picture, or None."):
        raster = kind.raster(prediction)
    if raster is not None:
        require(
            isinstance(raster, Image.Image) and raster.size == (width, height),
            f"the raster of {case.name} is {_size(raster)} for a picture of {width}x{height}",
            "Return a PIL image of the picture's own size, without the padding, or None.",
        )
    before = picture.tobytes()
    with expecting(f"drawing an answer of {case.name}", "draw takes a prediction and an RGB picture."):
        drawn = kind.draw(prediction, picture)
    require(
        picture.tobytes() == before,
        f"{case.name} draws on the very picture that it is given",
        "Draw on picture.copy(): the next answer is drawn on the same picture.",
    )
    if drawn is None:
        return
    good = isinstance(drawn, Image.Image) and all(
        side <= made <= MOST_SIDES * side + MARGIN for side, made in zip((width, height), drawn.size, strict=True)
    )
    require(
        good,
        f"{case.name} draws {_size(drawn)} for a picture of {width}x{height}",
        "Return the picture with the answer on it, as a PIL image of its size, with some room around it at most; or "
        "None where a picture makes no sense.",
    )


def _size(found: object) -> str:
    return f"{found.width}x{found.height}" if isinstance(found, Image.Image) else f"a {type(found).__name__}"
