"""Predictions as what a person or a program reads: named classes, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from icm_core.types import Prediction


class TopClass(TypedDict):
    """One class of a classification."""

    label: str
    index: int
    probability: float


def top_classes(prediction: Prediction, count: int = 5) -> list[TopClass]:
    """The most probable classes of the batch's first picture, best first.

    Args:
        prediction: logits (B, K) with K labels; a class without a label is called by its index.
        count: how many, at most K.
    """
    probabilities = prediction.output[0].detach().float().softmax(0)
    best = probabilities.topk(min(count, probabilities.numel()))
    labels = prediction.labels
    return [
        TopClass(label=labels[index] if index < len(labels) else str(index), index=index, probability=round(value, 6))
        for value, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]


class NamedValue(TypedDict):
    """One value of a regression."""

    label: str
    value: float


def named_values(prediction: Prediction) -> list[NamedValue]:
    """The values of the batch's first picture, in order; a value without a label is called by its index."""
    labels = prediction.labels
    return [
        NamedValue(label=labels[index] if index < len(labels) else str(index), value=round(value, 6))
        for index, value in enumerate(prediction.output[0].detach().float().tolist())
    ]


def describe_values(values: Sequence[NamedValue]) -> str:
    """Values in a line for a person."""
    return ", ".join(f"{found['label']} {found['value']:.3g}" for found in values)


def describe(classes: Sequence[TopClass]) -> str:
    """Classes in a line for a person: first synonym of each, with its probability in percent."""
    return ", ".join(f"{top['label'].split(',')[0]} {top['probability']:.0%}" for top in classes)
