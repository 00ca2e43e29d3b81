"""Nests: what is done to tensors in dicts, lists and tuples."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from icm_core.nests import Column, floats, map_tensors, paths, rows, same, shown, stack, tensors

THING: dict[str, Any] = {
    "boxes": torch.arange(8.0).reshape(2, 4),
    "numbers": [torch.tensor([3, 4]), "name"],
    "none": None,
}


def test_tensors_come_in_order_and_by_their_paths() -> None:
    nest = [{"b": torch.ones(1), "a": (torch.zeros(2), 7)}, torch.ones(3)]
    assert {where: tuple(tensor.shape) for where, tensor in paths(nest).items()} == {
        "[0].b": (1,),
        "[0].a[0]": (2,),
        "[1]": (3,),
    }
    assert len(tensors(nest)) == 3 and list(paths(torch.ones(1))) == [""]


def test_what_is_no_tensor_stays_as_it_is() -> None:
    doubled = map_tensors(lambda tensor: tensor * 2, THING)
    assert doubled["numbers"][0].tolist() == [6, 8]
    assert (doubled["numbers"][1], doubled["none"]) == ("name", None)
    assert THING["boxes"][1, 3] == 7


def test_real_numbers_become_float32_and_whole_ones_stay() -> None:
    nest = floats({"half": torch.ones(2).half(), "double": torch.ones(2).double(), "classes": torch.tensor([300])})
    assert {name: tensor.dtype for name, tensor in nest.items()} == {
        "half": torch.float32,
        "double": torch.float32,
        "classes": torch.int64,
    }
    assert floats(torch.tensor([True])).dtype == torch.bool


def test_stacked_nests_have_one_dimension_more_and_rows_take_them_apart() -> None:
    singles = [
        {"box": torch.full((4,), float(n)), "of": f"picture {n}", "size": (n, torch.tensor(n))} for n in range(4)
    ]
    batch = stack(singles)
    assert batch["box"].shape == (4, 4) and batch["size"][1].tolist() == [0, 1, 2, 3]
    assert isinstance(batch["of"], Column) and batch["of"] == [f"picture {n}" for n in range(4)]
    some = rows(batch, [2, 0])
    assert some["box"][:, 0].tolist() == [2, 0] and some["size"][1].tolist() == [2, 0]
    assert isinstance(some["of"], Column) and some["of"] == ["picture 2", "picture 0"]
    assert isinstance(some["size"][0], Column) and some["size"][0] == [2, 0]


def test_one_nest_is_a_batch_too() -> None:
    batch = stack([{"box": torch.ones(4), "of": "a"}])
    assert batch["box"].shape == (1, 4) and batch["of"] == ["a"] and isinstance(batch["of"], Column)


def test_rows_leave_what_belongs_to_no_picture() -> None:
    found = rows({"boxes": torch.arange(3), "unit": "m"}, [1])
    assert found["boxes"].tolist() == [1] and found["unit"] == "m"


@pytest.mark.parametrize(
    ("nests", "says"),
    [
        ([{"a": torch.ones(1)}, {"b": torch.ones(1)}], "they are built differently"),
        ([[torch.ones(1)], [torch.ones(1), torch.ones(1)]], "they are built differently"),
        ([{"a": torch.ones(1)}, {"a": 1}], "they are built differently"),
        ([{"a": 1}, {"a": torch.ones(1)}], "they are built differently"),
        ([torch.ones(2), torch.ones(3)], r"their shapes differ: \(2,\), \(3,\)"),
    ],
)
def test_what_cannot_be_stacked_is_said(nests: list[object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        stack(nests)


def test_nests_are_the_same_when_structure_values_types_and_shapes_are() -> None:
    nan = torch.tensor([1.0, torch.nan])
    assert same({"a": nan, "b": [1, "x"]}, {"a": nan.clone(), "b": [1, "x"]})
    assert same(torch.zeros(0, 4), torch.zeros(0, 4))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.tensor([1.0, torch.nan]), torch.tensor([1.0, 2.0])),
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, torch.nan])),
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0])),
        (torch.tensor([1.0]), torch.tensor([1.0], dtype=torch.float64)),
        (torch.zeros(2, 3), torch.zeros(3, 2)),
        (torch.zeros(1, 3), torch.zeros(3)),
        ({"a": torch.zeros(1)}, {"b": torch.zeros(1)}),
        ([torch.zeros(1)], (torch.zeros(1),)),
        ([torch.zeros(1), 1], [torch.zeros(1), 2]),
        (torch.tensor(1), 1),
        (1, torch.tensor(1)),
    ],
)
def test_nests_that_differ_in_anything_are_not_the_same(one: object, other: object) -> None:
    assert not same(one, other)


def test_messages_say_type_and_shape() -> None:
    assert shown(torch.zeros(2, 3, dtype=torch.uint8)) == "torch.uint8 of shape (2, 3)"
    assert shown({"a": 1}) == "dict"


def test_empty_tensors_are_tensors_too() -> None:
    nest = ({"none": torch.zeros(0, 4), "one": torch.ones(1)}, [torch.tensor(7), "word", 3])
    assert [tuple(tensor.shape) for tensor in tensors(nest)] == [(0, 4), (1,), ()]
    assert list(paths(nest)) == ["[0].none", "[0].one", "[1][0]"]
    assert tensors("word") == [] and paths(None) == {}


def test_a_path_leads_through_lists_in_lists_and_dicts_in_dicts() -> None:
    nest = {"rows": [[torch.zeros(1)], (torch.zeros(2), torch.zeros(3))], 7: {"x": {"y": torch.zeros(4)}}}
    assert {where: len(tensor) for where, tensor in paths(nest).items()} == {
        "rows[0][0]": 1,
        "rows[1][0]": 2,
        "rows[1][1]": 3,
        "7.x.y": 4,
    }
    assert list(paths((torch.zeros(1), [torch.zeros(1)]))) == ["[0]", "[1][0]"]


def test_stacking_loses_no_value() -> None:
    found = stack([{"n": torch.tensor(1)}, {"n": torch.tensor(2.5)}, {"n": torch.tensor(300)}])
    assert found["n"].tolist() == [1.0, 2.5, 300.0]
    three = stack([torch.full((2,), float(n)) for n in range(3)])
    assert three.tolist() == [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]


def test_the_last_of_many_nests_is_looked_at_too() -> None:
    for odd, says in ((torch.zeros(3), "their shapes differ"), ([torch.zeros(2)], "they are built differently")):
        for place in range(4):
            nests: list[object] = [torch.zeros(2)] * 3
            nests.insert(place, odd)
            with pytest.raises(ValueError, match=says):
                stack(nests)


def test_a_change_is_made_to_tensors_alone_and_in_place_of_nothing() -> None:
    nest = {"a": torch.tensor([1.0]), "b": [None, "x", 3, (torch.tensor([2.0]),)]}
    found = map_tensors(lambda tensor: int(tensor) + 10, nest)
    assert found == {"a": 11, "b": [None, "x", 3, (12,)]}


def test_a_shape_is_shown_with_all_its_sides() -> None:
    assert shown(torch.zeros(7)) == "torch.float32 of shape (7,)"
    assert shown(torch.tensor(True)) == "torch.bool of shape ()"
