"""Packages with boxes, with distances and with a kind of their own, from their wheels to the demo.

Each is trained for a few steps by the recipe that comes with it, on small drawn pictures. What it says afterwards is
hardly right, but it is an answer, and every figure of it is computed a second time here.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from icm_drawn import CAR, PEDESTRIAN, ROAD, SIZE
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import icm_core
from icm_core.kinds import colour_of
from icm_core.types import Legend, Prediction

Icm = Callable[..., str]
Found = dict[str, Any]
QUALITIES = (1.0, 4.0)


@dataclass(frozen=True)
class Package:
    """An example package.

    Attributes:
        name: of its distribution and its pipeline.
        recipe: the recipe that comes with it.
        task: the task that its pipeline adds.
        data: its data set.
        folder: fixture with a folder for it.
        sets: names of the recipe's data sets.
        loose: parameters of the head of a second system to compare with.
    """

    name: str
    recipe: str
    task: str
    data: str
    folder: str
    sets: tuple[str, ...]
    loose: dict[str, object] = field(default_factory=dict)


def alike(one: object, other: object) -> bool:
    """Whether two JSON values are the same: numbers of two runs may differ in the last digit that is written."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return one == pytest.approx(other, rel=1e-4, abs=0.011)
    return one == other


STREETS = ("road", "road_val")
BOXES = Package(
    "icm-boxes",
    "boxes-camvid",
    "objects",
    "boxes.parts",
    "streets",
    ("road", "road_val"),
    {"most": 10},
)
DEPTH = Package("icm-depth", "depth-nyu", "depth", "depth.maps", "rooms", ("rooms", "rooms_val"), {"farthest": 9.0})
LANES = Package("icm-lanes", "lanes-camvid", "lanes", "lanes.borders", "streets", STREETS, {"surely": 0.2})
ALL = (BOXES, DEPTH, LANES)


@dataclass
class Made:
    """What a package's chain of commands left behind.

    Attributes:
        package: the package.
        root: folder of the pictures.
        folder: everything that was written.
        spec: the trained pipeline.
        result: what was measured of it.
    """

    package: Package
    root: Path
    folder: Path
    spec: Path
    result: dict[str, Any]

    @cached_property
    def pipe(self) -> icm_core.Pipeline:
        """The trained pipeline."""
        return icm_core.load(self.spec, device="cpu")


@pytest.fixture(autouse=True)
def _installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(site)


@pytest.fixture(scope="session", params=ALL, ids=lambda package: package.name)
def made(request: pytest.FixtureRequest, icm: Icm, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A package trained, exported and measured."""
    package, folder = request.param, tmp_path_factory.mktemp(request.param.name)
    root = request.getfixturevalue(package.folder)
    changes: dict[str, object] = {f"data.{name}.root": "" for name in package.sets}
    for stage, rate in (("clean", 0.005), ("coded", 0.001)):
        changes |= {
            f"stages.{stage}.schedule": {"steps": 16, "shape": "constant"},
            f"stages.{stage}.train.0.lr": rate,
            f"stages.{stage}.feeds.0.batch": 2,
            f"stages.{stage}.feeds.0.augment": {"crop": [64, 64], "flip": True},
        }
    changes |= {"stages.coded.validate_on.every": 8, "stages.coded.validate_on.limit": 2, "log_every": 8}
    written = [part for key, value in changes.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    icm("train", package.recipe, "--data", root, "-o", folder / "run", "--device", "cpu", "--workers", 0, *written)
    icm("export", folder / "run", "-o", folder / "exported")
    spec = folder / "exported" / f"{package.name}.json"
    result = folder / f"{package.name}.json"
    measure(icm, package, spec, root, result, "--keep", folder / "coded")
    return Made(package, root, folder, spec, json.loads(result.read_text()))


def measure(icm: Icm, package: Package, spec: Path, root: Path, out: Path, *more: object) -> None:
    qualities = ",".join(f"{quality:g}" for quality in QUALITIES)
    icm(
        *("evaluate", spec, "--data", f"{package.data}:{root}", "--split", "val", "-q", qualities),
        *("--workers", 1, "--device", "cpu", "--json", out, *more),
    )


@pytest.fixture
def loose(made: Made, icm: Icm) -> tuple[Path, dict[str, Any]]:
    """Another system: the same weights, and other parameters of the head. Its spec and its result."""
    name, out = f"{made.package.name}-loose", made.folder / "loose.json"
    spec = made.spec.with_name("loose.json")
    if not out.exists():
        task = {made.package.task: {"head": {"params": made.package.loose}}}
        spec.write_text(json.dumps({"icm": 1, "name": name, "extends": made.spec.name, "tasks": task}))
        measure(icm, made.package, spec, made.root, out)
    return spec, json.loads(out.read_text())


def figures(result: dict[str, Any], task: str, quality: float) -> dict[str, float | None]:
    """A task's figures at a quality, as they were measured."""
    (point,) = [point for point in result["points"] if point["quality"] == quality]
    return {name: value for name, value in point["tasks"][task].items() if name not in ("clean", "drop")}


def answers(made: Made, pipe: icm_core.Pipeline, quality: float) -> Iterator[tuple[str, Any]]:
    """What a system says of the coded pictures, with each picture's name."""
    for path in sorted((made.folder / "coded").glob(f"*.q{quality:g}.icm")):
        found = pipe.decode(path.read_bytes(), tasks=[made.package.task])
        yield path.name.split(".")[1], found[made.package.task].output


def test_what_is_tried_comes_out_of_a_wheel(made: Made, site: Path) -> None:
    kind, head = made.pipe.kind(made.package.task), made.pipe.task(made.package.task).head
    modules = {made.package.name.replace("-", "_"), type(head).__module__.partition(".")[0]}
    if made.package is LANES:
        modules.add(type(kind).__module__.partition(".")[0])
    assert [Path(sys.modules[name].__file__).parents[1] for name in modules] == [site]


def read_log(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_it_was_trained_with_validation(made: Made) -> None:
    before, rows = (read_log(made.folder / "run" / stage / "log.csv") for stage in ("clean", "coded"))
    losses = [float(row["loss"]) for row in before]
    assert len(losses) == 2 and losses[1] < losses[0]
    task, main = made.package.task, next(iter(made.result["tasks"][made.package.task]["figures"]))
    shown = [float(row[f"val {task} q3"]) for row in rows if row[f"val {task} q3"]]
    assert len(shown) == 2 and all(0 <= value <= 1 for value in shown)
    assert figures(made.result, task, 4.0)[main] is not None
    assert set(made.result["skipped"]) == {"segmentation", "classification"}


def test_figures_are_those_of_somebody_else(made: Made, loose: tuple[Path, dict[str, Any]]) -> None:
    pipe, result = icm_core.load(loose[0], device="cpu"), loose[1]
    for quality in QUALITIES:
        expected = INDEPENDENT[made.package.name](made, list(answers(made, pipe, quality)))
        found = figures(result, made.package.task, quality)
        assert found == {name: pytest.approx(value, rel=1e-6) for name, value in expected.items()}
        assert min(found.values()) >= 0 < max(found.values())


def of_boxes(made: Made, found: list[tuple[str, Any]]) -> Found:
    """Average precision by pycocotools, from the class maps that were drawn."""
    truth, boxes, images = [], [], []
    for image, (name, (answer,)) in enumerate(found):
        classes = np.array(Image.open(made.root / "valannot" / f"{name}.png"))
        images.append({"id": image, "height": SIZE[0], "width": SIZE[1]})
        for category, value in enumerate((CAR, PEDESTRIAN)):
            for rows, columns in parts(classes == value):
                left, top, width, height = columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1
                one = {"bbox": [left, top, width, height], "area": width * height, "iscrowd": 0, "id": len(truth) + 1}
                truth.append({**one, "image_id": image, "category_id": category})
        for box, label, score in zip(*(answer[key].tolist() for key in ("boxes", "labels", "scores")), strict=True):
            size = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            boxes.append({"image_id": image, "category_id": label, "bbox": size, "score": score})
    coco = COCO()
    coco.dataset = {"info": {}, "images": images, "annotations": truth, "categories": [{"id": 0}, {"id": 1}]}
    coco.createIndex()
    evaluation = COCOeval(coco, coco.loadRes(boxes), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return {name: 100 * evaluation.stats[row] for row, name in enumerate(("ap", "ap50", "ap75"))}


def parts(mask: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows and columns of each part of a mask; parts touch in neither drawing."""
    from scipy import ndimage

    numbered, count = ndimage.label(mask, np.ones((3, 3)))
    for number in range(1, count + 1):
        yield np.nonzero(numbered == number)


def of_depth(made: Made, found: list[tuple[str, Any]]) -> Found:
    """Errors of distances by numpy, means over pictures."""
    each = []
    for name, output in found:
        true = np.array(Image.open(made.root / "val_depth" / f"{name}.png")).astype(np.float64) * 10 / 255
        known = true > 0
        said, true = output.double().numpy()[0, 0][known], true[known]
        near = np.maximum(said / true, true / said) < 1.25
        each.append((100 * np.mean(abs(said - true) / true), np.sqrt(np.mean((said - true) ** 2)), 100 * near.mean()))
    return dict(zip(("abs_rel", "rmse", "delta1"), np.mean(each, 0), strict=True))


def of_lanes(made: Made, found: list[tuple[str, Any]]) -> Found:
    """What is near what, and how far the rest, by numpy from the class maps that were drawn."""
    met, true_length, right, said_length, away = np.zeros(5)
    for name, (answer,) in found:
        true = edges(np.array(Image.open(made.root / "valannot" / f"{name}.png")))
        numbers = answer["lines"].numpy()
        said = [answer["points"].double().numpy()[numbers == number] for number in range(len(answer["labels"]))]
        for line in true:
            length, distance = places(line, said)
            met, true_length = met + length * np.mean(distance <= 8), true_length + length
            away += length * np.mean(np.minimum(distance, 50))
        for line in said:
            length, distance = places(line, true)
            right, said_length = right + length * np.mean(distance <= 8), said_length + length
    completeness, correctness = 100 * met / true_length, 100 * right / said_length
    f1 = 2 * completeness * correctness / (completeness + correctness)
    return {"f1": f1, "completeness": completeness, "correctness": correctness, "distance": away / true_length}


def edges(classes: np.ndarray) -> list[np.ndarray]:
    """The road's edges, every eighth row from the fourth from below, where no car and no border cuts them."""
    left, right = [[]], [[]]
    for y in range(SIZE[0] - 5, -1, -8):
        columns = np.flatnonzero(classes[y] == ROAD)
        for line, end, step in ((left, 0, -1), (right, -1, 1)):
            beside = columns[end] + step if len(columns) else -1
            seen = 0 <= beside < SIZE[1] and classes[y, beside] not in (CAR, PEDESTRIAN)
            point = (beside - step / 2, y) if seen else None
            if point is None or (line[-1] and abs(line[-1][-1][0] - point[0]) > 0.1 * SIZE[1]):
                line.append([])
            if point is not None:
                line[-1].append(point)
    return [np.array(line) for line in (*left, *right) if len(line) >= 3]


def places(line: np.ndarray, others: list[np.ndarray]) -> tuple[float, np.ndarray]:
    """Length of a line, and the distance of places along it, a pixel apart or closer, to the nearest of others."""
    sides = np.hypot(*np.diff(line, axis=0).T)
    count = max(1, int(np.ceil(sides.sum())))
    where = (np.arange(count) + 0.5) * sides.sum() / count
    reached = np.concatenate([[0], np.cumsum(sides)])
    points = np.stack([np.interp(where, reached, line[:, axis]) for axis in (0, 1)], 1)
    nearest = np.full(count, np.inf)
    for other in others:
        for start, end in pairwise(other):
            share = np.clip((points - start) @ (end - start) / ((end - start) @ (end - start)), 0, 1)
            nearest = np.minimum(nearest, np.hypot(*(points - start - share[:, None] * (end - start)).T))
    return sides.sum(), nearest


INDEPENDENT = {"icm-boxes": of_boxes, "icm-depth": of_depth, "icm-lanes": of_lanes}


def test_two_systems_are_compared(made: Made, loose: tuple[Path, dict[str, Any]], icm: Icm, tmp_path: Path) -> None:
    paths = (made.folder / f"{made.package.name}.json", made.folder / "loose.json")
    plot = tmp_path / "curves.svg"
    rows = json.loads(icm("compare", *paths, "--draws", 20, "--plot", plot, "--json"))
    about = made.result["tasks"][made.package.task]["figures"]
    found = {row["metric"]: row for row in rows if row["kind"] == made.result["tasks"][made.package.task]["kind"]}
    assert list(found) == list(about)
    for name, row in found.items():
        pairs = [[figures(one, made.package.task, q)[name] for one in (made.result, loose[1])] for q in QUALITIES]
        assert row["figure"] == about[name] and row["overlap"] is not None
        # Both systems have the same bits, and two points make a straight line over the logarithm of the rate.
        better = np.mean([after - before for before, after in pairs]) * (1 if about[name]["higher_is_better"] else -1)
        assert row["bd_value"] == pytest.approx(better, rel=1e-4, abs=1e-6)
    assert plot.read_text().count("<svg") == 1


@pytest.fixture
def decoded(made: Made, icm: Icm, tmp_path: Path) -> tuple[dict[str, Any], Image.Image, Image.Image]:
    """A coded picture decoded by the program: what it says, the drawing of it, and the decoded picture."""
    path = sorted((made.folder / "coded").glob("*.q4.icm"))[0]
    task = made.package.task
    said = icm("decode", path, "-m", made.spec, "-t", f"{task},fine", "-o", tmp_path, "--draw", "--json")
    (row,) = json.loads(said)
    drawing = Image.open(row["tasks"][task]["drawing"])
    return row["tasks"][task], drawing.convert("RGB"), Image.open(row["tasks"]["fine"]["picture"]).convert("RGB")


def test_decode_says_as_json_what_python_says(made: Made, decoded: tuple[dict[str, Any], Any, Any]) -> None:
    said, _, _ = decoded
    name, output = next(answers(made, made.pipe, 4.0))
    kind, head = made.pipe.kind(made.package.task), made.pipe.task(made.package.task).head
    prediction = Prediction(kind.name, output, head.labels, unit=head.unit)
    assert name == "0" and said["kind"] == kind.name == made.result["tasks"][made.package.task]["kind"]
    assert said["text"] == kind.describe(prediction) != ""
    for key, value in json.loads(json.dumps(kind.answer(prediction))).items():
        assert alike(said[key], value), key
    if made.package is LANES:
        corners = output[0]["points"][output[0]["lines"] == 0]
        assert len(said["lines"]) > 0 and said["lines"][0]["label"] == "road edge"
        assert np.allclose(said["lines"][0]["points"], corners.numpy(), atol=0.006)
    if made.package is DEPTH:
        steps = np.array(Image.open(said["picture"]))
        assert np.allclose(steps * said["step"], output[0, 0].numpy(), atol=said["step"] / 2 + 1e-6)


def test_the_answer_is_drawn_on_the_photograph(made: Made, decoded: tuple[dict[str, Any], Any, Any]) -> None:
    said, drawing, photograph = decoded
    before, after = np.array(photograph), np.array(drawing)
    colour = np.array(colour_of(0, Legend()))
    if made.package is DEPTH:
        after = after[: SIZE[0]]  # below is the scale
        near, far = after[22:48, 5:90], after[:16, 5:90]
        assert drawing.height > SIZE[0] and drawing.width == SIZE[1]
        assert np.abs(near.mean((0, 1)) - far.mean((0, 1))).max() > 20  # distances have colours
        return
    assert before.shape == after.shape
    changed = (before != after).any(2)
    assert 0.01 < changed.mean() < 0.75
    if made.package is LANES:
        points = [point for line in said["lines"] for point in line["points"]]
    else:
        left, top, right, bottom = said["boxes"][0]["box"]
        points = [(x, y) for x in (left, right) for y in np.linspace(top, bottom, 9)]
    hit = [any_near(after, colour, x, y) for x, y in points]
    assert np.mean(hit) > 0.5  # a label may lie over some of them


def any_near(pixels: np.ndarray, colour: np.ndarray, x: float, y: float) -> bool:
    """Whether a pixel within two of a place has a colour."""
    row, column = round(y), round(x)
    around = pixels[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3]
    return bool((around == colour).all(2).any())


def test_the_demo_shows_it(made: Made, icm: Icm, tmp_path: Path) -> None:
    photograph = tmp_path / "photo.png"
    Image.open(next((made.root / "val").iterdir())).save(photograph)
    said = json.loads(icm("demo", photograph, "-m", made.spec, "-o", tmp_path / "demo", "--json"))
    task, kind = made.package.task, made.result["tasks"][made.package.task]["kind"]
    assert [row["quality"] for row in said["rows"]] == [1, 2, 3, 4]
    assert {row["tasks"][task]["kind"] for row in said["rows"]} == {kind}
    page = Path(said["page"]).read_text()
    assert page.count(f'alt="{task} of photo at quality ') == 4
    assert all(row["tasks"][task]["text"] in page for row in said["rows"])
