"""Checks of what a head says about its predictions."""

from __future__ import annotations

import torch
import torchmetrics
from PIL import Image
from torch import Tensor

from icm_core.errors import SpecError
from icm_core.testing.cases.heads import HeadCase
from icm_core.testing.failing import ConformanceError, expecting, require
from icm_core.types import Prediction


def check_prediction(case: HeadCase) -> None:
    """`predict` gives the head's kind and one label a class; pictures lie in [0, 1]."""
    component = case.build()
    example = case.example(component, case.sizes[-1])
    with torch.no_grad(), expecting(f"{case.name}.predict", "It takes what forward takes."):
        found = component.predict(example.features)
    require(
        isinstance(found, Prediction) and found.kind == case.cls.kind,
        f"{case.name}.predict gives {type(found).__name__} of kind {getattr(found, 'kind', None)!r}",
        f"Return Prediction({case.cls.kind!r}, output, labels).",
    )
    if found.kind == "reconstruction":
        low, high = (float(value) for value in found.output.aminmax())
        require(low >= 0 and high <= 1, f"{case.name} predicts {low:g} to {high:g}", "Clamp pictures to [0, 1].")
        return
    count = found.output.shape[1]
    require(
        len(found.labels) in (0, count) and all(isinstance(label, str) and label for label in found.labels),
        f"{case.name} has {len(found.labels)} labels for {count} outputs",
        "Name each class, in order, or none.",
    )


def check_metric(case: HeadCase) -> None:
    """Each metric is a fresh one; it takes what the loss takes, gives a finite number, and forgets when reset."""
    component = case.build()
    example = case.example(component, case.sizes[0])
    assert example.target is not None
    other = example.target.flip(0)
    with torch.no_grad():
        output = case.run(component, example)["output"]
    with expecting(f"the metric of {case.name}", "update(output, target) takes what loss(output, target) takes."):
        metric, untouched = component.metric(), component.metric()
        require(
            isinstance(metric, torchmetrics.Metric) and metric is not untouched,
            f"{case.name}.metric() gives {'the same object twice' if metric is untouched else type(metric).__name__}",
            "Make a new torchmetrics.Metric at every call; two evaluations must not share counts.",
        )
        metric.update(output, example.target)
        first = _value(case, metric.compute())
        metric.update(output, other)
        metric.reset()
        metric.update(output, example.target)
        again = _value(case, metric.compute())
    require(
        first == again,
        f"the metric of {case.name} gives {first:g}, and {again:g} for the same after reset()",
        "Keep counts with add_state, which reset() puts back.",
    )


def _value(case: HeadCase, found: object) -> float:
    if not (isinstance(found, Tensor) and found.numel() == 1 and bool(found.isfinite())):
        raise ConformanceError(f"the metric of {case.name} gives {found!r}. compute() has to return one finite number.")
    return float(found)


def check_drawing(case: HeadCase) -> None:
    """`draw` gives a picture of the right size, or None."""
    component = case.build()
    example = case.example(component, case.sizes[-1])
    with torch.no_grad(), expecting(f"{case.name}.draw", "It takes what predict returns."):
        drawn = component.draw(component.predict(example.features))
    if drawn is None:
        return
    require(
        isinstance(drawn, Image.Image),
        f"{case.name}.draw gives {type(drawn).__name__}",
        "Return a PIL image, or None where a picture makes no sense.",
    )
    if case.cls.kind in ("segmentation", "reconstruction"):
        height, width = example.size
        require(
            drawn.size == (width, height),
            f"{case.name}.draw gives {drawn.width}x{drawn.height} for a picture of {width}x{height}",
            "Draw at the picture's own size, without the padding.",
        )


def check_missing_features(case: HeadCase) -> None:
    """Without a feature that it needs, the head is refused with a `SpecError`, when built or by its ``requires``."""
    for name in case.cls.requires:
        rest = {key: level for key, level in case.layout.items() if key != name}
        try:
            case.cls(case.settings(), rest)
        except SpecError as error:
            require(
                name in str(error),
                f"{case.name} without {name!r} says: {error}",
                "Name the feature that is missing.",
            )
        except Exception as error:
            raise ConformanceError(
                f"building {case.name} without the feature {name!r} raised {type(error).__name__}: {error}. "
                "Raise icm_core.SpecError that names the feature, before it is used."
            ) from error
