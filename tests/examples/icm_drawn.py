"""Small folders of drawn pictures: streets with class maps, rooms with distances."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (64, 96)
"""Height and width of the pictures."""

SKY, ROAD, CAR, PEDESTRIAN = 0, 3, 8, 9
COLOURS = {SKY: (120, 160, 230), ROAD: (90, 90, 95), CAR: (200, 30, 30), PEDESTRIAN: (240, 220, 40)}


def draw_streets(root: Path) -> None:
    """Streets as CamVid has them: ``train``, ``trainannot``, ``val``, ``valannot``."""
    generator = np.random.default_rng(1)
    for split, count in (("train", 6), ("val", 3)):
        (root / split).mkdir()
        (root / f"{split}annot").mkdir()
        for number in range(count):
            classes = street(generator, cars=1 + number % 2)
            pixels = np.zeros((*SIZE, 3), dtype=np.uint8)
            for value, colour in COLOURS.items():
                pixels[classes == value] = colour
            noisy = (pixels + generator.integers(0, 12, pixels.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(root / split / f"{number}.png")
            Image.fromarray(classes).save(root / f"{split}annot" / f"{number}.png")


def street(generator: np.random.Generator, cars: int) -> np.ndarray:
    """A class map: a road that narrows towards the horizon, cars on it, somebody on the pavement."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    classes = np.full(SIZE, SKY, dtype=np.uint8)
    middle = int(generator.integers(40, 56))
    classes[(rows >= 20) & (abs(columns + 0.5 - middle) < 6 + 0.7 * (rows - 20))] = ROAD
    for place in range(cars):
        left, top = middle - 16 + 22 * place, int(generator.integers(34, 40))
        classes[top : top + 14, left : left + 18] = CAR
    classes[22:40, 4:9] = PEDESTRIAN
    return classes


def draw_rooms(root: Path) -> None:
    """Rooms as NYU Depth v2 has them here: ``train``, ``train_depth``, ``val``, ``val_depth``; 0 is no distance."""
    generator = np.random.default_rng(2)
    for split, count in (("train", 6), ("val", 3)):
        (root / split).mkdir()
        (root / f"{split}_depth").mkdir()
        for _ in range(count):
            name = f"{len(list((root / split).iterdir()))}.png"
            rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
            steps = 200 - 2 * rows + generator.integers(0, 40)  # the floor comes nearer
            left = int(generator.integers(10, 60))
            steps[20:50, left : left + 25] = 50  # something stands in front
            shade = np.stack([255 - steps, 230 - steps, columns + 60], 2) + generator.integers(0, 10, (*SIZE, 1))
            steps[:, :3] = 0
            Image.fromarray(shade.clip(0, 255).astype(np.uint8)).save(root / split / name)
            Image.fromarray(steps.astype(np.uint8)).save(root / f"{split}_depth" / name)
