"""Nests: tensors in dicts, lists and tuples, in any depth. What heads answer and data sets ask is one.

The only module that knows PyTorch's own walk through such values, which is not part of its public interface.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils import _pytree

__all__ = ["Column", "Nest", "floats", "leaves", "map_tensors", "paths", "rows", "same", "shown", "stack", "tensors"]

Nest: TypeAlias = Any
"""A tensor, or a dict, list or tuple of nests; numbers, strings and None may stand among the tensors."""


class Column(list[Any]):
    """What stands beside tensors in a nest, of several pictures: one value each. It is a leaf, and no list of nests."""


def leaves(nest: Nest) -> list[Any]:
    """Everything in a nest that is no container, in order.

    >>> leaves({"a": torch.ones(2), "b": [torch.zeros(1), None]})
    [tensor([1., 1.]), tensor([0.]), None]
    """
    return list(_pytree.tree_leaves(nest))


def tensors(nest: Nest) -> list[Tensor]:
    """The tensors of a nest, in order."""
    return [leaf for leaf in leaves(nest) if isinstance(leaf, Tensor)]


def map_tensors(change: Callable[[Tensor], Any], nest: Nest) -> Nest:
    """The nest with every tensor changed, and everything else as it is."""
    return _pytree.tree_map(lambda leaf: change(leaf) if isinstance(leaf, Tensor) else leaf, nest)


def floats(nest: Nest) -> Nest:
    """The nest with every tensor of real numbers in float32."""
    return map_tensors(lambda tensor: tensor.float() if tensor.is_floating_point() else tensor, nest)


def paths(nest: Nest) -> dict[str, Tensor]:
    """The tensors of a nest by where they are, such as ``"boxes"`` or ``"[0].boxes"``; of a lone tensor ``""``.

    >>> sorted(paths([{"boxes": torch.ones(1)}, torch.zeros(1)]))
    ['[0].boxes', '[1]']
    """
    found: dict[str, Tensor] = {}

    def walk(value: Nest, where: str) -> None:
        if isinstance(value, Tensor):
            found[where] = value
        elif isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, f"{where}.{key}" if where else str(key))
        elif isinstance(value, (list, tuple)):
            for number, inner in enumerate(value):
                walk(inner, f"{where}[{number}]")

    walk(nest, "")
    return found


def stack(nests: Sequence[Nest]) -> Nest:
    """Nests of one structure as one, whose tensors have a first dimension more; what else they hold are columns.

    >>> stack([{"box": torch.zeros(4), "of": "a"}, {"box": torch.ones(4), "of": "b"}])["of"]
    ['a', 'b']

    Raises:
        ValueError: they are built differently, or shapes differ; a clause.
    """
    first, *rest = nests
    flat, structure = _pytree.tree_flatten(first)
    columns = [flat]
    for other in rest:
        found, its = _pytree.tree_flatten(other)
        if its != structure:
            raise ValueError("they are built differently")
        columns.append(found)
    merged: list[Any] = []
    for column in zip(*columns, strict=True):
        kinds = {isinstance(leaf, Tensor) for leaf in column}
        if kinds == {False}:
            merged.append(Column(column))
            continue
        if len(kinds) > 1:
            raise ValueError("they are built differently")
        shapes = {tuple(tensor.shape) for tensor in column}
        if len(shapes) > 1:
            raise ValueError(f"their shapes differ: {', '.join(map(str, sorted(shapes)))}")
        merged.append(torch.stack(list(column)))
    return _pytree.tree_unflatten(merged, structure)


def rows(nest: Nest, numbers: Sequence[int]) -> Nest:
    """Some rows of every tensor's first dimension, and of every column."""

    def chosen(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return leaf[list(numbers)]
        return Column(leaf[number] for number in numbers) if isinstance(leaf, Column) else leaf

    return _pytree.tree_map(chosen, nest)


def same(one: Nest, other: Nest) -> bool:
    """Whether two nests are built alike and hold equal tensors of equal types, and equal values beside them.

    NaN, which stands for what is not known, is equal to itself.

    >>> same({"a": torch.tensor(torch.nan)}, {"a": torch.tensor(torch.nan)})
    True
    """
    first, structure = _pytree.tree_flatten(one)
    second, its = _pytree.tree_flatten(other)
    return structure == its and all(_same(a, b) for a, b in zip(first, second, strict=True))


def _same(a: Any, b: Any) -> bool:
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        return not (isinstance(a, Tensor) or isinstance(b, Tensor)) and bool(a == b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return bool(((a == b) | ((a != a) & (b != b))).all())


def shown(value: Nest) -> str:
    """A value in a few words, for messages.

    >>> shown(torch.zeros(2, 3)), shown([1])
    ('torch.float32 of shape (2, 3)', 'list')
    """
    return f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
