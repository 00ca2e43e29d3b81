"""Checks of data sets."""

from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch

from icm_core.errors import InputError
from icm_core.interfaces import Sample
from icm_core.testing.cases.datasets import DataSetCase
from icm_core.testing.failing import ConformanceError, expecting, require


def _numbers(case: DataSetCase, data: Any) -> list[int]:
    """Some numbers, the first and the last among them."""
    count = len(data)
    if count <= case.most:
        return list(range(count))
    return sorted({round(index * (count - 1) / (case.most - 1)) for index in range(case.most)})


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
            same = one.key == again.key and torch.equal(one.picture, again.picture)
            if one.target is not None and again.target is not None:
                same = same and torch.equal(one.target, again.target)
            require(
                same,
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
    for number in _numbers(case, data):
        sample = data[number]
        require(isinstance(sample, Sample), f"{case.name}[{number}] is a {type(sample).__name__}", "Return a Sample.")
        picture, target = sample.picture, sample.target
        require(
            picture.dtype == torch.uint8 and picture.dim() == 3 and picture.shape[0] == 3,
            f"{case.name}: the picture {sample.key!r} is {picture.dtype} of shape {tuple(picture.shape)}",
            "Make it (3, H, W) uint8, RGB.",
        )
        found = "None" if target is None else f"{target.dtype} of shape {tuple(target.shape)}"
        kind = case.cls.kind
        good = {
            "pictures": target is None,
            "classification": target is not None and target.dtype == torch.int64 and target.dim() == 0,
            "segmentation": target is not None and target.dtype == torch.uint8 and target.shape == picture.shape[1:],
            "regression": target is not None and target.dtype == torch.float32 and target.dim() == 1,
        }[kind]
        asked = {
            "pictures": "None",
            "classification": "() int64",
            "segmentation": f"{tuple(picture.shape[1:])} uint8",
            "regression": "(K,) float32",
        }[kind]
        require(good, f"{case.name}: the target of {sample.key!r} is {found}", f"Make it {asked}.")


def check_labels(case: DataSetCase) -> None:
    """Every target is one of the labels, or what is ignored."""
    data = _built(case)
    labels, ignore, kind = data.labels, data.ignore_index, case.cls.kind
    require(
        isinstance(labels, tuple) and all(isinstance(label, str) and label for label in labels),
        f"{case.name}.labels is {labels!r}",
        "Make it a tuple of names.",
    )
    require(
        bool(labels) == (kind != "pictures"),
        f"{case.name} of kind {kind} has {len(labels)} labels",
        "Name the classes or values, in order; plain pictures have none.",
    )
    for number in _numbers(case, data):
        sample = data[number]
        if kind == "regression":
            require(
                len(sample.target) == len(labels) and bool(sample.target.isfinite().all()),
                f"{case.name}: {sample.key!r} has {len(sample.target)} values for {len(labels)} labels",
                "One finite value for each label.",
            )
        elif kind != "pictures":
            strange = [v for v in sample.target.unique().tolist() if v != ignore and not 0 <= v < len(labels)]
            require(
                not strange,
                f"{case.name}: {sample.key!r} has the class {strange[:1]}, and there are {len(labels)} labels",
                "Classes count from 0; give what does not count as ignore_index.",
            )


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
