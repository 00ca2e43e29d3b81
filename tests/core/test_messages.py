"""What is wrong with input, in a sentence: the field, what was found, and what would be right."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError, field_validator

from icm_core.errors import SpecError
from icm_core.validation.messages import explain
from icm_core.validation.strict_json import parse_json, read_json


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Wheel(Strict):
    spokes: int = 20
    tyre: Literal["thick", "thin"] = "thin"


class Rail(Strict):
    gauge: int
    rack: bool = False


class Cart(Strict):
    name: str = "cart"
    load: float | int = 0.0
    wheels: dict[str, Annotated[Wheel, Field(description="one")]] = {}
    ways: list[Wheel | Rail] = []
    the_schema: str | None = Field(None, alias="$schema")
    owner: Wheel | None = None

    @field_validator("name")
    @classmethod
    def _short(cls, name: str) -> str:
        if len(name) > 8:
            raise ValueError("It should be short")
        return name


def said(data: Any, where: str = "") -> str:
    with pytest.raises(ValidationError) as caught:
        Cart.model_validate(data)
    return explain(caught.value, Cart, data, where)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"name": 3}, "name is 3; it should be a valid string"),
        ({"name": "wheelbarrow"}, "name is 'wheelbarrow'; it should be short"),
        ({"load": "much"}, "load is 'much'; it should be a valid number, unable to parse string as a number"),
        ({"wheels": {"front": {"spokes": "x"}}}, "wheels.front.spokes is 'x'; it should be a valid integer, unable to"),
        (
            {"wheels": {"front": {"spoke": 3}}},
            "unknown field 'spoke' in wheels.front; did you mean 'spokes'? known: spokes, tyre",
        ),
        (
            {"wheel": {}},
            "unknown field 'wheel'; did you mean 'wheels'? known: $schema, load, name, owner, ways, wheels",
        ),
        ({"ways": [{}, {"gauges": 3}]}, "unknown field 'gauges' in ways[1]; did you mean 'gauge'? known: gauge, rack,"),
        ({"owner": {"gauge": 3}}, "unknown field 'gauge' in owner; known: spokes, tyre"),
    ],
)
def test_the_field_what_was_found_and_what_would_be_right(data: Any, sentence: str) -> None:
    assert said(data).startswith(sentence)


def test_several_complaints_about_one_field_are_one() -> None:
    assert "more" not in said({"load": []})  # it is neither of two types
    assert said({"load": [], "name": 3, "wheels": 3}).endswith("(and 2 more)")


def test_a_part_is_named_by_where_it_stands_in_the_whole() -> None:
    assert said({"name": 3}, "carts[2]").startswith("carts[2].name is 3; ")
    assert said({"nome": 3}, "carts[2]").startswith("unknown field 'nome' in carts[2]; did you mean 'name'? known: ")
    assert said({"wheels": {"a": {"b": 1}}}, "carts").startswith("unknown field 'b' in carts.wheels.a; known: ")


def test_a_missing_field_is_named_although_nothing_stands_there() -> None:
    class Track(Strict):
        rails: list[Rail]

    data = {"rails": [{"rack": True}]}
    with pytest.raises(ValidationError) as caught:
        Track.model_validate(data)
    assert explain(caught.value, Track, data, "track") == "the field track.rails[0].gauge is missing"


@pytest.mark.parametrize(("length", "shown"), [(58, f"'{'x' * 58}'"), (59, f"'{'x' * 56}...")])
def test_long_values_are_shown_from_their_beginning(length: int, shown: str) -> None:
    assert said({"name": "x" * length}) == f"name is {shown}; it should be short"


def test_a_file_of_just_the_allowed_size_is_read(tmp_path: Any) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"[1, 22]")
    assert read_json(path, max_bytes=7) == [1, 22]
    with pytest.raises(SpecError, match=r"a\.json: larger than 6 bytes"):
        read_json(path, max_bytes=6)


def test_a_mark_of_byte_order_is_no_part_of_the_text(tmp_path: Any) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(path) == [1]


@pytest.mark.parametrize("string", ["[" * 40, r"\"" + "[" * 40, "]" * 40])
def test_brackets_in_strings_are_no_levels(string: str) -> None:
    inner = "[" * 31 + "]" * 31
    assert parse_json(f'["{string}", {inner}]')
    with pytest.raises(SpecError, match="nested deeper than 32 levels"):
        parse_json(f'["{string}", [{inner}]]')


def test_objects_are_levels_as_well() -> None:
    assert parse_json('{"a":' * 32 + "1" + "}" * 32)
    with pytest.raises(SpecError, match="nested deeper than 32 levels"):
        parse_json('{"a":' * 33 + "1" + "}" * 33)


def test_the_place_of_a_mistake_is_its_line_and_its_column() -> None:
    with pytest.raises(SpecError, match=r"\(line 3, column 11\)"):
        parse_json('{\n"a": 1,\n"b": 1000 22\n}')


def test_a_list_that_is_all_there_is_begins_with_its_number() -> None:
    wheels = RootModel[list[Wheel]]
    with pytest.raises(ValidationError) as caught:
        wheels.model_validate([{}, {"spokes": "x"}])
    assert explain(caught.value, wheels, [{}, {"spokes": "x"}]).startswith("[1].spokes is 'x'; ")
    assert explain(caught.value, wheels, [{}, {"spokes": "x"}], "cart").startswith("cart[1].spokes is 'x'; ")


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_in_json_is_refused_though_python_reads_it(name: str) -> None:
    with pytest.raises(SpecError, match=f"^{name} is not a JSON number"):
        parse_json(f'{{"a": [1, {name}]}}')


def test_keys_are_told_apart_to_the_letter() -> None:
    assert parse_json('{"a": 1, " a": 2, "A": 3}') == {"a": 1, " a": 2, "A": 3}
    with pytest.raises(SpecError, match=r"^the key 'b' stands twice in one object"):
        parse_json('[{"b": 0}, {"a": 1, "c": {"b": 1, "d": 2, "b": 1}}]')
    assert parse_json('[{"b": 1}, {"b": 2}, {}]') == [{"b": 1}, {"b": 2}, {}]


def test_a_number_of_thousands_of_digits_is_refused() -> None:
    with pytest.raises(SpecError, match=r"^not valid JSON: Exceeds the limit"):
        parse_json("1" * 5000)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"a": "\xff"}', r"a\.json: not UTF-8 text \(byte 7\)"),
        (b"[1,", r"a\.json: not valid JSON: Expecting value \(line 1, column 4\)"),
        (b"", r"a\.json: not valid JSON: Expecting value"),
        (b'{"a": 1, "a": 2}', r"a\.json: the key 'a' stands twice"),
    ],
)
def test_a_file_that_is_no_json_is_named(tmp_path: Any, content: bytes, says: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=says):
        read_json(path)


def test_what_cannot_be_read_is_named(tmp_path: Any) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(SpecError, match=re.escape(f"{path}: no such file")):
            read_json(path)
    with pytest.raises(SpecError, match="no such file"):
        read_json(tmp_path / "a\0b.json")
    with pytest.raises(SpecError, match=r"(no such file|cannot be read)"):
        read_json(tmp_path / ("a" * 5000))


def test_what_is_missing_in_one_of_several_forms_is_named_without_the_form() -> None:
    class Ticket(Strict):
        on: Rail | int

    data = {"on": {"rack": True}}
    with pytest.raises(ValidationError) as caught:
        Ticket.model_validate(data)
    assert explain(caught.value, Ticket, data).startswith("the field on.gauge is missing")
