"""Specs: what validates, what does not, and the sentence that says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from icm_core import Pipeline, PipelineSpec, Registry, SpecError, build, parse_spec, read_spec
from icm_core.spec.files import copy_files
from icm_core.spec.model import weights_files
from icm_core.spec.overrides import with_changes
from icm_core.spec.resolve import resolve


def error(data: object) -> str:
    with pytest.raises(SpecError) as caught:
        parse_spec(data)
    message = str(caught.value)
    assert "\n" not in message
    return message


def build_error(data: dict[str, Any], registry: Registry) -> str:
    with pytest.raises(SpecError) as caught:
        build(parse_spec(data), registry)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_defaults(data: dict[str, Any]) -> None:
    del data["enhancement"]
    spec = parse_spec({**data, "$schema": "pipeline.schema.json"})
    assert spec.enhancement is None and spec.weights == () and spec.description == ""
    assert spec.codec.params == {}


def test_a_spec_is_frozen(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse_spec(data).name = "other"


@pytest.mark.parametrize("weights", [None, "a.safetensors", ["a.safetensors", "sub/b.safetensors"]])
def test_weights_are_none_one_or_several(data: dict[str, Any], weights: Any) -> None:
    spec = parse_spec({**data, "weights": weights})
    assert list(spec.weights) == ([] if weights is None else [weights] if isinstance(weights, str) else weights)
    assert parse_spec(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (["icm"], 2, "icm is 2; it should be 1"),
        (["name"], "Big Name", "name is 'Big Name'; "),
        (["nmae"], "x", "unknown field 'nmae'; did you mean 'name'? known: "),
        (["codec"], "sicmh.hyperprior", "codec is 'sicmh.hyperprior'; it should be"),
        (["codec", "usee"], "x", "unknown field 'usee' in codec; did you mean 'use'? known: params, use"),
        (["codec", "use"], "os.system('x')", "codec.use is \"os.system('x')\"; "),
        (["codec", "use"], 3, "codec.use is 3; it should be a valid string"),
        (["codec", "params"], [1], "codec.params is [1]; it should be"),
        (["codec", "use"], "x" * 500, "codec.use is 'xxx"),
        (["tasks"], {}, "tasks is {}; "),
        (["tasks", "labels", "heads"], {}, "unknown field 'heads' in tasks.labels; did you mean 'head'?"),
        (["tasks", "labels", "head"], {}, "the field tasks.labels.head.use is missing"),
        (["tasks", "Upper"], {"adapter": {"use": "a.b"}, "head": {"use": "a.b"}}, "not 'Upper'"),
        (["tasks", "fine"], {"adapter": {"use": "a.b"}, "head": {"use": "a.b"}}, "task name 'fine' is reserved"),
        (["tasks", "keys"], {"adapter": {"use": "a.b"}, "head": {"use": "a.b"}}, "task name 'keys' is reserved"),
        (["tasks", "training"], {"adapter": {"use": "a.b"}, "head": {"use": "a.b"}}, "'training' is reserved"),
        (["enhancement", "over"], "corse", "enhancement.over is 'corse'; it should be one of the tasks: labels"),
        (["enhancement"], {"use": "tiny.residual"}, "the field enhancement.over is missing"),
        (["enhancement", "ovr"], "x", "unknown field 'ovr' in enhancement; did you mean 'over'?"),
        (["weights"], 3, "weights is 3; it should be"),
        (["weights"], [3], "weights[0] is 3; it should be"),
        (["weights"], "w.pt", "weights are .safetensors files, not 'w.pt'"),
        (["weights"], "../w.safetensors", "inside it, not as '../w.safetensors'"),
        (["weights"], "a/../../w.safetensors", "inside it"),
        (["weights"], "..\\w.safetensors", "inside it"),
        (["weights"], "/etc/w.safetensors", "inside it"),
        (["weights"], "C:w.safetensors", "inside it"),
        (["weights"], ["w.safetensors", "w.safetensors"], "stands twice"),
    ],
)
def test_one_sentence_names_field_value_and_rule(
    data: dict[str, Any], path: list[str], value: object, says: str
) -> None:
    place = data
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    message = error(data)
    assert says in message
    assert len(message) < 300


def test_missing_fields_are_counted() -> None:
    assert error({"icm": 1}) == "the field name is missing (and 2 more)"
    assert error([1]) == "a pipeline spec is a JSON object, not list"


def test_components_are_looked_up(data: dict[str, Any], registry: Registry) -> None:
    data["tasks"]["labels"]["adapter"]["use"] = "tiny.enlrage"
    assert build_error(data, registry) == (
        "tasks.labels.adapter.use: unknown adapter 'tiny.enlrage'; did you mean 'tiny.enlarge'? "
        "known: core.decoded_picture, tiny.enlarge"
    )


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({}, "the field tasks.classes.head.params.classes is missing"),
        ({"classes": 1}, "tasks.classes.head.params.classes is 1; it should be greater than or equal to 2"),
        ({"classes": "many"}, "tasks.classes.head.params.classes is 'many'; it should be a valid integer"),
        ({"classes": 5, "clases": 2}, "unknown field 'clases' in tasks.classes.head.params; did you mean 'classes'?"),
    ],
)
def test_parameters_are_validated_by_their_component(
    data: dict[str, Any], registry: Registry, params: dict[str, Any], says: str
) -> None:
    data["tasks"]["classes"]["head"]["params"] = params
    assert says in build_error(data, registry)


def test_a_head_needs_its_features(data: dict[str, Any], registry: Registry) -> None:
    data["tasks"]["labels"]["adapter"]["params"] = {"offers": "latent"}
    assert build_error(data, registry) == (
        "tasks.labels.head: tiny.labels needs the feature 'image', and adapter tiny.enlarge provides 'latent'"
    )


def test_the_enhancement_refines_a_picture(data: dict[str, Any], registry: Registry) -> None:
    data["enhancement"]["over"] = "labels"
    assert build_error(data, registry) == (
        "enhancement.over is 'labels', a task of kind segmentation; it should be one of kind reconstruction: coarse"
    )
    del data["tasks"]["coarse"]
    assert "reconstruction: this spec has none" in build_error(data, registry)


def test_memory_is_that_of_parameters_and_tables(
    pipeline: Pipeline, data: dict[str, Any], registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters, tables = (sum(t.nbytes for t in found) for found in (pipeline.parameters(), pipeline.buffers()))
    assert parameters and tables
    monkeypatch.setattr("icm_core.pipeline.build.MAX_BYTES", parameters + tables)
    build(parse_spec(data), registry)
    monkeypatch.setattr("icm_core.pipeline.build.MAX_BYTES", parameters + tables - 1)
    with pytest.raises(SpecError, match=r"would take .* MB of memory for its parameters, and the limit is"):
        build(parse_spec(data), registry)


def test_resolving_builds_nothing(data: dict[str, Any], registry: Registry) -> None:
    found = resolve(parse_spec(data), registry)
    assert found.codec.cls is registry.codecs.get("tiny.thumbnail")
    assert found.heads["classes"].params.model_dump() == {"classes": 3}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not valid JSON: Expecting value (line 1, column 1)"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not UTF-8 text (byte 0)"),
        (b'{"icm": 1, "icm": 1}', "the key 'icm' stands twice in one object"),
        (b'{"icm": NaN}', "NaN is not a JSON number"),
        (b'{"icm": -Infinity}', "-Infinity is not a JSON number"),
        (b"[" * 33 + b"]" * 33, "nested deeper than 32 levels"),
        (b"[" * 400_000, "nested deeper than 32 levels"),
        (b'{"a":' * 100_000, "nested deeper than 32 levels"),
        (b'{"icm": ' + b"1" * 10_000 + b"}", "not valid JSON"),
        (b" " * 1_000_001, "larger than 1000000 bytes"),
        (b'{"icm": "\\ud800"}', "icm is '\\ud800'"),
    ],
)
def test_files_that_are_no_spec(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        read_spec(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and says in message and "\n" not in message


def test_brackets_in_strings_do_not_nest(tmp_path: Path, data: dict[str, Any]) -> None:
    path = tmp_path / "x.json"
    path.write_text("\ufeff" + json.dumps({**data, "description": '[{"\\' * 100}), encoding="utf-8")
    assert read_spec(path).description == '[{"\\' * 100


@pytest.mark.parametrize("name", ["missing.json", ".", "nul\0.json"])
def test_unreadable_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError):
        read_spec(tmp_path / name)


def test_weights_lie_beside_the_spec(tmp_path: Path, data: dict[str, Any]) -> None:
    spec = parse_spec({**data, "weights": ["a.safetensors", "sub/b.safetensors"]})
    assert weights_files(spec, tmp_path / "x.json") == (tmp_path / "a.safetensors", tmp_path / "sub/b.safetensors")


def test_a_folder_that_a_parameter_names_is_copied_to_its_bottom(tmp_path: Path, data: dict[str, Any]) -> None:
    data["tasks"]["classes"]["head"]["params"] = {"folder": "net"}
    for name in ("config.json", "parts/1.bin", "parts/deeper/2.bin"):
        (tmp_path / "net" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "net" / name).write_text(name)
    spec = parse_spec(data).with_files({"tasks.classes.head.params.folder": tmp_path / "net"})
    copied = copy_files(spec, tmp_path / "other")
    assert {str(path.relative_to(tmp_path / "other/net")): path.read_text() for path in copied} == {
        name: name for name in ("config.json", "parts/1.bin", "parts/deeper/2.bin")
    }


def test_a_link_must_not_lead_out(tmp_path: Path, data: dict[str, Any]) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    home.mkdir()
    other.mkdir()
    (other / "secret.safetensors").write_bytes(b"")
    (home / "w.safetensors").symlink_to(other / "secret.safetensors")
    (home / "x.json").write_text("{}")
    spec = parse_spec({**data, "weights": "w.safetensors"})
    with pytest.raises(SpecError, match="leads out of the spec's folder"):
        weights_files(spec, home / "x.json")
    # An installer that links both into one cache folder is no escape.
    (other / "x.json").write_text("{}")
    (home / "linked.json").symlink_to(other / "x.json")
    assert weights_files(spec, home / "linked.json") == (home / "w.safetensors",)


_names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
_components = st.fixed_dictionaries(
    {"use": st.builds(lambda a, b: f"{a}.{b}", _names, _names)},
    optional={
        "params": st.dictionaries(
            _names,
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers(-(2**60), 2**60)
                | st.floats(allow_nan=False, allow_infinity=False)
                | st.text(max_size=8),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
                max_leaves=5,
            ),
            max_size=3,
        )
    },
)
_tasks = st.dictionaries(
    _names.map(lambda name: f"task_{name}"),
    st.fixed_dictionaries({"adapter": _components, "head": _components}),
    min_size=1,
    max_size=3,
)
_weights = _names.map(lambda name: f"{name}.safetensors")


@given(
    st.builds(
        lambda base, tasks, enhancement: {
            **base,
            "tasks": tasks,
            **({"enhancement": {**enhancement, "over": next(iter(tasks))}} if enhancement else {}),
        },
        st.fixed_dictionaries(
            {"icm": st.just(1), "name": _names, "codec": _components},
            optional={
                "description": st.text(max_size=20),
                "weights": st.none() | _weights | st.lists(_weights, max_size=3, unique=True),
            },
        ),
        _tasks,
        st.none() | _components,
    )
)
def test_round_trip(data: dict[str, Any]) -> None:
    spec = parse_spec(data)
    text = json.dumps(spec.to_json())
    again = parse_spec(json.loads(text))
    assert again == spec
    assert json.dumps(again.to_json()) == text
    for key in ("name", "codec", "tasks"):
        assert PipelineSpec.model_validate(data).model_dump()[key] == again.model_dump()[key]


@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda x: st.dictionaries(st.text(max_size=5), x)))
def test_any_json_is_a_spec_or_one_sentence(data: object) -> None:
    message = error(data)
    assert message


def test_what_is_said_as_it_would_be_anyway_is_not_written(data: dict[str, Any]) -> None:
    said = {**data, "description": "", "weights": []}
    said["codec"] = {"use": "tiny.thumbnail", "params": {}}
    said["tasks"]["labels"]["search"] = None
    said["tasks"]["classes"]["trained_on"] = {"data": "ten pictures", "pictures": ""}
    written = parse_spec(said).to_json()
    assert "description" not in written and "weights" not in written
    assert written["codec"] == {"use": "tiny.thumbnail"} and "search" not in written["tasks"]["labels"]
    assert written["tasks"]["classes"]["trained_on"] == {"data": "ten pictures"}
    assert parse_spec(written) == parse_spec(said)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("true", True),
        ("null", None),
        ('"3"', "3"),
        ("[1, 2]", [1, 2]),
        ('{"a": 1}', {"a": 1}),
        ("a word", "a word"),
        ("1=2", "1=2"),
        ("", ""),
        ("[" * 100_000, "[" * 100_000),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_a_change_is_json_or_else_text(text: str, value: object) -> None:
    before: JsonValue = {"a": {"b": [1, 2]}}
    assert with_changes(before, [f"a.b={text}"]) == {"a": {"b": value}}
    assert before == {"a": {"b": [1, 2]}}


def test_a_name_of_two_items_says_not_which() -> None:
    items: JsonValue = [{"name": "a", "x": 1}, {"name": "b"}, {"name": "a"}]
    assert with_changes(items, ["b.x=3"]) == [{"name": "a", "x": 1}, {"name": "b", "x": 3}, {"name": "a"}]
    assert with_changes(items, ["2.x=3"]) == [{"name": "a", "x": 1}, {"name": "b"}, {"name": "a", "x": 3}]
    for change in ("a.x=3", "3.x=3", "c=1"):
        with pytest.raises(SpecError, match="in it: unknown item"):
            with_changes(items, [change])
