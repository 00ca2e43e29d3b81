"""Specs laid over one another: where each value comes from, and which values there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_core.spec.merge import Layers, values


def laid(*layers: Mapping[str, Any]) -> Layers[int]:
    """Layers whose origins are their numbers."""
    found: Layers[int] = Layers()
    for number, layer in enumerate(layers):
        found.add(layer, number)
    return found


def dotted(found: Layers[int]) -> dict[str, int]:
    return {".".join(place): number for place, number in found.origins.items()}


@pytest.mark.parametrize(
    ("layers", "origins"),
    [
        ([{"a": 1, "b": [1, 2]}, {"b": [3], "c": 4}], {"a": 0, "b": 1, "c": 1}),
        ([{"a": {"b": 1, "c": {"d": 2}}}, {"a": {"c": {"d": 3, "e": 4}}}], {"a.b": 0, "a.c.d": 1, "a.c.e": 1}),
        ([{"a": {}}, {"a": {}}], {"a": 0}),
        ([{"a": {}}, {"a": {"b": 1}}], {"a.b": 1}),
        ([{"a": {"b": 1}}, {"a": {}}], {"a.b": 0}),
        ([{"a": 3}, {"a": {}}], {"a": 1}),
        ([{"a": {"b": 1, "c": 2}}, {"a": 3}], {"a": 1}),
        ([{"a": 3}, {"a": {"b": 1}}], {"a.b": 1}),
        ([{"a": {"b": {"c": 1}}}, {"a": {"b": None, "d": 2}}], {"a.d": 1}),
        ([{"ab": 1, "a": {"b": 2}}, {"a": None}], {"ab": 0}),
        ([{"params": {"x": 1}}, {"params": {"x": None}}], {"params.x": 1}),
        (
            [{"codec": {"use": "a", "params": {"x": 1, "y": {"z": 2}}}}, {"codec": {"use": "b", "params": {"x": 3}}}],
            {"codec.use": 1, "codec.params.x": 1},
        ),
        (
            [{"search": {"use": "a", "params": {"x": 1}}}, {"search": {"use": "b"}}],
            {"search.use": 1, "search.params.x": 0},
        ),
        (
            [{"codec": {"use": "a", "params": {"x": 1}}}, {"codec": {"use": "a", "params": {"y": 3}}}],
            {"codec.use": 1, "codec.params.x": 0, "codec.params.y": 1},
        ),
        (
            [{"tasks": {"t": {"head": {"use": "a"}, "trained_on": {"data": "x"}}}}, {"tasks": {"t": {"head": {}}}}],
            {"tasks.t.head.use": 0, "tasks.t.trained_on.data": 0},
        ),
        (
            [
                {"tasks": {"t": {"head": {"use": "a"}, "trained_on": {"data": "x"}}}},
                {"tasks": {"t": {"head": {"use": "a"}}}},
            ],
            {"tasks.t.head.use": 1, "tasks.t.trained_on.data": 0},
        ),
        (  # another head learned from other data, whatever they were
            [
                {"tasks": {"t": {"head": {"use": "a"}, "trained_on": {"data": "x", "pictures": "y"}}}},
                {"tasks": {"t": {"head": {"use": "b"}}}},
            ],
            {"tasks.t.head.use": 1},
        ),
        (
            [
                {"tasks": {"t": {"head": {"use": "a"}, "trained_on": {"data": "x", "pictures": "y"}}}},
                {"tasks": {"t": {"trained_on": {"data": "z"}, "head": {"use": "b"}}}},
            ],
            {"tasks.t.head.use": 1, "tasks.t.trained_on.data": 1},
        ),
    ],
)
def test_each_value_comes_from_the_last_that_says_it(layers: list[dict[str, Any]], origins: dict[str, int]) -> None:
    assert dotted(laid(*layers)) == origins


def test_values_are_everything_that_is_no_object_and_empty_objects() -> None:
    data = {"a": {"b": 1, "c": {}}, "d": [{"e": 1}], "f": {}, "g": None}
    assert list(values(data)) == [
        (("a", "b"), 1),
        (("a", "c"), {}),
        (("d",), [{"e": 1}]),
        (("f",), {}),
        (("g",), None),
    ]


def test_what_is_dropped_is_gone_with_everything_in_it() -> None:
    found = laid({"a": {"b": {"c": 1, "d": 2}, "e": 3}, "f": 4})
    for place in (("a", "b"), ("f", "g"), ("x",), ("x", "y")):
        found.drop(place)
    assert found.data == {"a": {"e": 3}, "f": 4}
    assert dotted(found) == {"a.e": 0, "f": 0}


keys = st.sampled_from(["a", "b", "use", "params", "codec"])
leaves = st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2)
objects = st.recursive(
    st.dictionaries(keys, leaves, max_size=3),
    lambda inner: st.dictionaries(keys, leaves | inner, max_size=3),
    max_leaves=8,
)


def at(data: object, place: tuple[str, ...]) -> object:
    for key in place:
        data = data[key] if isinstance(data, Mapping) and key in data else None
    return data


@given(st.lists(objects, min_size=1, max_size=4))
def test_every_value_has_an_origin_that_says_just_that(layers: list[dict[str, Any]]) -> None:
    found = laid(*layers)
    said = dict(values(found.data))
    assert found.origins.keys() == said.keys()
    assert {place: at(layers[number], place) for place, number in found.origins.items()} == said


@given(objects, objects)
def test_merging_twice_changes_nothing(below: dict[str, Any], above: dict[str, Any]) -> None:
    once, twice = laid(below, above), laid(below, above, above)
    assert twice.data == once.data
