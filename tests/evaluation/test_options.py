"""What users say, as the program takes it."""

from __future__ import annotations

import pytest

from icm_core.errors import InputError
from icm_evaluation.options import Options, parse_models, parse_numbers, spread


def test_models_are_given_one_by_one_or_with_commas_each_once() -> None:
    assert parse_models(["b,a", "c", "a,", "b"]) == ["b", "a", "c"]
    assert parse_models([]) == []


def test_numbers_stand_between_commas() -> None:
    assert parse_numbers("3,1.5, 2,", "-q") == (3.0, 1.5, 2.0)
    for text in ("", ",", "1;2", "x"):
        with pytest.raises(InputError, match=r"-q is .*; it should be numbers with commas between them"):
            parse_numbers(text, "-q")


def test_pictures_are_spread_to_the_end_of_the_data_set() -> None:
    assert spread(10, 4) == [0, 2, 5, 7]
    assert spread(3, None) == [0, 1, 2] and spread(3, 9) == [0, 1, 2]
    with pytest.raises(InputError, match="the data set has no pictures"):
        spread(0, 3)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"limit": 0}, "the limit is 0; it should be 1 picture or more"),
        ({"workers": 0}, "there cannot be 0 workers; it should be 1 or more"),
    ],
)
def test_numbers_out_of_range_are_told(more: dict[str, int], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Options("m", "d:f", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("params", ["[1]", "3", "{", "null"])
def test_parameters_of_data_are_a_json_object(params: str) -> None:
    assert Options("m", "d:f").data_params() == {}
    assert Options("m", "d:f:g", '{"size": 3}').data_params() == {"size": 3}
    assert Options("m", "d:f:g").data_name == "d"
    with pytest.raises(InputError, match="--data-params"):
        Options("m", "d:f", params).data_params()
