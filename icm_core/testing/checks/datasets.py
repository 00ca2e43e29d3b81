"""Checks of data sets."""

from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch

from icm_core.errors import InputError
from icm_core.interfaces import Sample
from icm_core.interfaces.dataset import PICTURES
from icm_core.nests import same
from icm_core.testing.cases.datasets import DataSetCase
from icm_core.testing.failing import ConformanceError, expecting, require


def _numbers(case: DataSetCase, data: Any) -> list[int]:
    """Some numbers, the first and the last among them."""
    count = len(data)
    if count <= case.most:
        return list(range(count))
    return sorted({round(index * (count - 1) / max(1, case.most - 1)) for index in range(case.most)})


def _built(case: DataSetCase) -> Any:
    with expecting(f"opening {case.name} at {case.root}", "Give the case a folder that it can read."):
        return case.build()


def check_length(case: DataSetCase) -> None:
    """The length is a number of pictures that stays, and every picture up to it can be had."""
    data = _built(case)
    count = len(data)
    require(count > 0, f"{case.name} is empty", "Give the case a folder with a picture in it.")
    with expecting(f"reading picture {count - 1} of {count} of {case.name}", "Every number below len() has a picture."):
        data[0], data[count - 1]
    require(len(data) == count, f"the length of {case.name} changed after reading", "Find it out once, when built.")


def check_order(case: DataSetCase) -> None:
    """A number gives the same picture at every call, in another instance, and after pickling."""
    data = _built(case)
    with expecting(f"pickling {case.name}", "Keep no open files or lambdas: loaders send data sets to processes."):
        copied = pickle.loads(pickle.dumps(data))
    for number in _numbers(case, data)[:3]:
        one = data[number]
        for other, who in ((data, "at a second call"), (_built(case), "in another instance"), (copied, "when pickled")):
            again = other[number]
            require(
                one.key == again.key and torch.equal(one.picture, again.picture) and same(one.target, again.target),
                f"{case.name}: number {number} is {one.key!r}, and {again.key!r} or other pixels {who}",
                "Sort file names, and leave random crops and flips to training.",
            )


def check_keys(case: DataSetCase) -> None:
    """Keys are different, and the same on every machine."""
    data = _built(case)
    keys = [data[number].key for number in _numbers(case, data)]
    for before, after in pairwise(sorted(keys)):
        require(before != after, f"{case.name}: two pictures have the key {before!r}", "Name each picture by its own.")
    root = str(case.root)
    odd = [key for key in keys if not isinstance(key, str) or not key or root in key or "\\" in key]
    require(
        not odd,
        f"{case.name}: the key {odd[0] if odd else ''!r} depends on where the folder lies",
        "Use the path inside the folder, with '/' and without suffix.",
    )


def check_samples(case: DataSetCase) -> None:
    """Pictures are (3, H, W) uint8, targets what the kind says."""
    data = _built(case)
    kind = case.asking(data.kind)
    for number in _numbers(case, data):
        sample = data[number]
        require(isinstance(sample, Sample), f"{case.name}[{number}] is a {type(sample).__name__}", "Return a Sample.")
        picture, target = sample.picture, sample.target
        require(
            picture.dtype == torch.uint8 and picture.dim() == 3 and picture.shape[0] == 3,
            f"{case.name}: the picture {sample.key!r} is {picture.dtype} of shape {tuple(picture.shape)}",
            "Make it (3, H, W) uint8, RGB.",
        )
        if kind is None:
            require(
                target is None,
                f"{case.name} of kind {PICTURES} has a target for {sample.key!r}",
                "Make it None, or give the data set the kind of its targets.",
            )
            continue
        try:
            kind.check_target(target, (picture.shape[-2], picture.shape[-1]), data.legend)
        except ValueError as error:
            raise ConformanceError(
                f"{case.name}: the target of {sample.key!r} {error}. Make it what the kind {kind.name} takes; classes "
                "count from 0, in the order of labels, and what counts nowhere is ignore_index."
            ) from error


def check_labels(case: DataSetCase) -> None:
    """There are labels where the kind needs them, and the numbers that explain targets are of the right types."""
    data = _built(case)
    kind, labels = case.asking(data.kind), data.labels
    require(
        isinstance(labels, tuple) and all(isinstance(label, str) and label for label in labels),
        f"{case.name}.labels is {labels!r:.200}",
        "Make it a tuple of names.",
    )
    require(
        kind is None or not kind.needs_labels or bool(labels),
        f"{case.name} of kind {data.kind} has no labels",
        "Name the classes or values, in order.",
    )
    require(
        kind is not None or not labels,
        f"{case.name} of kind {PICTURES} has {len(labels)} labels",
        "Plain pictures have none.",
    )
    ignore = data.ignore_index
    require(
        ignore is None or (isinstance(ignore, (int, float)) and not isinstance(ignore, bool)),
        f"{case.name}.ignore_index is {ignore!r}",
        "Make it the number in targets that counts nowhere, or None.",
    )
    require(isinstance(data.unit, str), f"{case.name}.unit is {data.unit!r}", "Make it such as 'm', or empty.")


def check_missing_folder(case: DataSetCase) -> None:
    """A folder or a split that is not there is an `InputError` that names it."""
    absent = case.root / "no-such-folder"
    for broken, name in ((replace(case, root=absent), absent.name), (replace(case, split="no-such-split"), "no-such")):
        try:
            broken.build()
        except InputError as error:
            require(name in str(error), f"{case.name} says of a missing folder: {error}", "Name the folder.")
        except Exception as error:
            raise ConformanceError(
                f"{case.name} met a missing folder and raised {type(error).__name__}: {error}. "
                "Raise icm_core.InputError that says what was expected and found."
            ) from error
        else:
            raise ConformanceError(
                f"{case.name} opens a folder or split {name!r} that is not there. "
                "Look at the folder when built, and raise icm_core.InputError."
            )
