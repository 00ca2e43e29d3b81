"""Classes of a data set and of a head told to be the same by their names."""

from __future__ import annotations

import torch
from torch import Tensor

from icm_core.types import Legend

MOST_CLASSES = 256
"""Of a head and a data set that both do not name theirs; what a class map of 8 bits can hold."""


def match_labels(data: Legend, head: Legend, what: str = "classes") -> tuple[int, ...] | str:
    """The head's number of each label of a data set, by name where the names are known, else in order.

    Args:
        data: the data set's legend.
        head: the head's.
        what: what labels stand for, for the clause.

    Returns:
        The numbers, or a clause that says that the two do not speak of the same.
    """
    count = len(head.labels) or len(data.labels) or MOST_CLASSES
    if not data.labels:
        return tuple(range(count))
    if data.labels == head.labels:  # names may occur twice: ImageNet has two cranes
        return tuple(range(count))
    for names in (head.labels, *head.aliases):
        if all(names.count(label) == 1 for label in data.labels):
            return tuple(names.index(label) for label in data.labels)
    if len(data.labels) == count:
        return tuple(range(count))
    return f"the head has {len(head.labels)} {what}, and they are not the data set's {len(data.labels)}"


def renumbered(classes: Tensor, numbers: tuple[int, ...], ignore: float | None, instead: int) -> Tensor:
    """Classes of a data set as int64 in a head's numbers.

    Args:
        classes: any shape.
        numbers: what `match_labels` gave.
        ignore: value that counts nowhere.
        instead: what stands for it, which is no class.

    Raises:
        ValueError: there is a class beyond those that the data set names.
    """
    classes = classes.long()
    counted = classes != int(ignore) if ignore is not None else torch.ones_like(classes, dtype=torch.bool)
    wrong = classes[counted & ((classes < 0) | (classes >= len(numbers)))]
    if wrong.numel():
        raise ValueError(f"holds the class {int(wrong[0])}; classes are 0 to {len(numbers) - 1}")
    table = torch.tensor(numbers, device=classes.device)
    return torch.where(counted, table[classes.clamp(0, len(numbers) - 1)], instead)


def check_classes(classes: Tensor, count: int) -> None:
    """Raise `ValueError` with a clause where a class is not one of a head's."""
    if classes.numel() and not 0 <= int(classes.min()) <= int(classes.max()) < count:
        wrong = int(classes.min()) if int(classes.min()) < 0 else int(classes.max())
        raise ValueError(f"holds the class {wrong}; the head has the classes 0 to {count - 1}")
