"""Drawn pictures against the same drawing pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from icm_training.shapes import Shapes


def drawn(number: int, size: int) -> tuple[list[list[list[float]]], list[list[int]]]:
    """Colours and classes of every pixel, from the same random numbers."""
    generator = torch.Generator().manual_seed(number)

    def draw(count: int) -> list[float]:
        found: list[float] = torch.rand(count, generator=generator).tolist()
        return found

    slope = draw(6)
    things = []
    for _ in range(3):
        disc, middle, half = draw(1)[0] > 0.5, draw(2), draw(2)
        things.append((disc, middle, half, draw(3)))
    colours: list[list[list[float]]] = []
    classes: list[list[int]] = []
    for row in range(size):
        colours.append([])
        classes.append([])
        for column in range(size):
            down, across = row / (size - 1), column / (size - 1)
            colour = [0.5 + (slope[2 * c] - 0.5) * down + (slope[2 * c + 1] - 0.5) * across for c in range(3)]
            label = 0
            for disc, middle, half, its_own in things:
                x, y = (down - middle[0]) / (0.1 + 0.2 * half[0]), (across - middle[1]) / (0.1 + 0.2 * half[1])
                if x * x + y * y < 1 if disc else max(abs(x), abs(y)) < 1:
                    colour, label = its_own, 2 if disc else 1
            colours[-1].append(colour)
            classes[-1].append(label)
    return colours, classes


@pytest.mark.parametrize("number", [0, 4, 11])
def test_boxes_and_discs_are_where_and_what_they_say(number: int) -> None:
    data = Shapes(Shapes.Params(count=12, size=24), Path(), "")
    sample = data[number]
    colours, classes = drawn(number, 24)
    assert sample.target is not None and sample.target.tolist() == classes
    grey = (torch.tensor(colours).clamp(0, 1) * 255).permute(2, 0, 1)
    assert float((sample.picture - grey).abs().max()) <= 0.5 + 1e-3
    assert data.labels == ("ground", "box", "disc") and sample.key == f"shapes/{number:06d}"


def test_all_classes_are_drawn_and_white_is_white() -> None:
    data = Shapes(Shapes.Params(count=40, size=32), Path(), "")
    samples = [data[number] for number in range(40)]
    assert {value for sample in samples if sample.target is not None for value in sample.target.unique().tolist()} == {
        0,
        1,
        2,
    }
    assert len(data) == 40 and max(int(sample.picture.max()) for sample in samples) > 250
