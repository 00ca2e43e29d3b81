"""How nests are compared: a picture of a batch with the picture alone, and values that differ in their last bits."""

from __future__ import annotations

import math

import pytest
import torch

from icm_core.testing.failing import ConformanceError, expecting, require
from icm_core.testing.nests import differing, differing_nests, row_of

A, B, C = (torch.full((2,), float(number)) for number in range(3))


def test_a_list_with_an_entry_for_each_picture_gives_the_pictures_own() -> None:
    (found,) = row_of([A, B, C], [A], 2)
    assert found is C
    assert row_of([A, B], [A], 2) == []


def test_of_a_list_that_is_as_long_for_one_picture_each_tensor_gives_its_row() -> None:
    first, second = torch.arange(6.0).reshape(3, 2), torch.arange(6.0, 9.0)
    found = row_of([first, {"scores": second}], [first[:1], {"scores": second[:1]}], 1)
    assert found[0].tolist() == [[2.0, 3.0]]
    assert found[1]["scores"].tolist() == [7.0]


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        ([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 5.0], 0.25),
        ([0.0, 3e-6], [1e-6, 0.0], 0.0),  # far below 1, a difference says nothing
        ([0.0, 1000.0], [0.9, 1000.0], 0.0),  # the tolerance is relative to the largest value
        ([0.0, 1000.0], [1.1, 1000.0], 0.5),
        ([math.nan, 1.0], [math.nan, 1.0], 0.5),
        ([math.nan, 1.0], [0.0, 1.0], 0.5),
        ([1.0, 2.0], [1.0], 1.0),
        ([], [], 0.0),
    ],
)
def test_the_share_of_values_that_differ(one: list[float], other: list[float], share: float) -> None:
    assert differing(torch.tensor(one), torch.tensor(other)) == share


def test_what_is_in_one_of_two_nests_alone_differs_whichever_it_is() -> None:
    assert differing_nests({"boxes": A}, {"boxes": A, "scores": B}) == {"boxes": 0.0, "scores": 1.0}
    assert differing_nests({"boxes": A, "scores": B}, {"boxes": A}) == {"boxes": 0.0, "scores": 1.0}


def test_things_may_stand_in_another_order_and_a_few_more_count_as_so_many_that_differ() -> None:
    things = [{"scores": torch.tensor([0.9, 0.5, 0.7, 0.6])}]
    turned, fewer = [{"scores": torch.tensor([0.7, 0.9, 0.6, 0.5])}], [{"scores": torch.tensor([0.9, 0.5, 0.7])}]
    assert differing_nests(things, turned) == {"[0].scores": 1.0}
    assert differing_nests(things, turned, unordered=True) == {"[].scores": 0.0}
    assert differing_nests(things, fewer, unordered=True) == {"[].scores": 0.25}
    assert differing_nests(fewer, things, unordered=True) == {"[].scores": 0.25}


def test_things_with_numbers_of_two_digits_may_stand_in_another_order_too() -> None:
    things = [{"scores": torch.tensor([float(number)])} for number in range(13)]
    assert differing_nests(things, things[::-1], unordered=True) == {"[].scores": 0.0}
    others = [*things[:12], {"scores": torch.tensor([12.5])}]
    assert differing_nests(things, others, unordered=True) == {"[].scores": pytest.approx(1 / 13)}


def test_of_things_in_any_order_the_values_count_and_not_their_places() -> None:
    one, other = ({"boxes": torch.tensor(values)} for values in ([3.0, 1.0, 2.0], [6.0, 2.0, 4.0]))
    assert differing_nests(one, other, unordered=True) == {"boxes": 1.0}
    assert differing_nests(one, {"boxes": torch.tensor([1.0, 2.0, 3.0])}, unordered=True) == {"boxes": 0.0}


def test_tensors_of_other_shapes_differ_however_many_values_they_have() -> None:
    assert differing(torch.zeros(2, 3), torch.zeros(3, 2)) == differing(torch.zeros(6), torch.zeros(1, 6)) == 1.0


def test_what_a_component_raises_is_told_in_a_line() -> None:
    with pytest.raises(ConformanceError) as caught, expecting("trying", "Do it."):
        raise ValueError("one\n  two" + " three" * 100)
    message = str(caught.value)
    assert message.startswith("trying raised ValueError: one two three three") and message.endswith(". Do it.")
    assert len(message) == len("trying raised ValueError: ") + 300 + len(". Do it.")
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(ConformanceError, match=r"^as it was$"), expecting("trying", "Do it."):
        raise ConformanceError("as it was")
    with pytest.raises(KeyboardInterrupt), expecting("trying", "Do it."):
        raise KeyboardInterrupt
    require(True, "seen", "advice")
    with pytest.raises(ConformanceError, match=r"^seen\. advice$"):
        require(False, "seen", "advice")


@pytest.mark.parametrize("error", [AssertionError("x"), OSError("x"), AttributeError("x"), StopIteration("x")])
def test_any_error_of_a_component_is_one_of_its_contract(error: Exception) -> None:
    with (
        pytest.raises(ConformanceError, match=rf"^building it raised {type(error).__name__}: x\. Do better\.$"),
        expecting("building it", "Do better."),
    ):
        raise error


def test_values_of_another_sign_are_other_values_in_whatever_order() -> None:
    one, other = [{"boxes": torch.tensor([4.0, -1.0])}], [{"boxes": torch.tensor([1.0, 4.0])}]
    assert differing_nests(one, other, unordered=True) == {"[].boxes": 0.5}
