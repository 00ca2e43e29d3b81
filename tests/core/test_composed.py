"""Specs from several files: whose weights they inherit, where values come from, what a spec may say at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from icm_core import Pipeline, Registry, SpecError, build, build_registry, hookimpl, json_schema, parse_spec, read_spec
from icm_core.spec.extends import MAX_BASES, Composed, compose
from icm_core.spec.model import TrainedOn
from icm_core.spec.origins import sources
from icm_core.spec.overrides import with_changes
from icm_core.spec.places import catalogue_of, component_of, components, is_component, modules
from icm_core.spec.resolve import resolve


def write(path: Path, data: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"icm": 1, "name": path.stem, **data}))
    return path


def shipping(tiny: ModuleType, *specs: Path) -> Registry:
    module = ModuleType("lab")
    setattr(module, "icm_specs", hookimpl(lambda: list(specs), specname="icm_specs"))  # noqa: B010
    return build_registry(path=[], extra={"tiny": tiny, "lab": module})


def names(composed: Composed) -> list[str]:
    return [source.file.name for source in composed.inherited]


# --- what extends what -----------------------------------------------------------------------------------------------


def test_inherited_weights_alone_are_weights(registry: Registry, data: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path / "base.json", {**data, "weights": "base.safetensors"})
    plain = write(tmp_path / "plain.json", data)
    own = compose(write(tmp_path / "own.json", {"extends": "base.json"}), registry)
    assert own.has_weights and own.weights == () and names(own) == ["base.safetensors"]
    assert compose(tmp_path / "base.json", registry).has_weights
    assert not compose(plain, registry).has_weights
    assert not compose(write(tmp_path / "none.json", {"extends": "base.json", "weights": None}), registry).has_weights


def test_own_weights_leave_what_is_inherited(registry: Registry, data: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path / "base.json", {**data, "weights": ["a.safetensors", "b.safetensors"]})
    own = compose(write(tmp_path / "own.json", {"extends": "base.json", "weights": "own.safetensors"}), registry)
    assert [file.name for file in own.weights] == ["own.safetensors"]
    assert names(own) == ["a.safetensors", "b.safetensors"]
    none = compose(write(tmp_path / "none.json", {"extends": "base.json", "weights": []}), registry)
    assert none.weights == () and names(none) == ["a.safetensors", "b.safetensors"]


def test_weights_of_a_base_are_for_what_the_base_has(registry: Registry, data: dict[str, Any], tmp_path: Path) -> None:
    """The last of three specs has a task that the second brought: the first one's weights are not for it."""
    first = {**data, "tasks": {"coarse": data["tasks"]["coarse"]}, "weights": "first.safetensors"}
    write(tmp_path / "first.json", first)
    second = {"extends": "first.json", "tasks": {"labels": data["tasks"]["labels"]}, "weights": "second.safetensors"}
    write(tmp_path / "second.json", second)
    last = compose(write(tmp_path / "last.json", {"extends": "second.json", "enhancement": None}), registry)
    parts = {source.file.name: source.parts for source in last.inherited}
    old = {"codec", "tasks.coarse.adapter", "tasks.coarse.head"}
    assert parts == {
        "first.safetensors": old,
        "second.safetensors": old | {"tasks.labels.adapter", "tasks.labels.head"},
    }


def nested(**inner: Any) -> dict[str, Any]:
    """A codec whose parameters have components, two levels deep; nobody has to know their classes to merge them."""
    return {"use": "lab.outer", "params": {"inner": {"use": "lab.inner", "params": inner}, "width": 3}}


@pytest.mark.parametrize(
    ("changes", "without"),
    [
        ({"params": {"width": 4}}, set()),
        ({"params": {"inner": {"params": {"deep": {"params": {"x": 2}}}}}}, set()),
        ({"params": {"inner": {"use": "lab.other"}}}, {"codec.inner"}),
        ({"params": {"inner": {"params": {"deep": {"use": "lab.other"}}}}}, {"codec.inner.deep"}),
        ({"params": {"inner": None}}, {"codec.inner"}),
        ({"params": {"inner": {"params": {"deep": 3}}}}, {"codec.inner.deep"}),
    ],
)
def test_weights_of_a_component_inside_go_with_its_class(
    registry: Registry, data: dict[str, Any], tmp_path: Path, changes: dict[str, Any], without: set[str]
) -> None:
    codec = nested(deep={"use": "lab.deep", "params": {"x": 1}}, plain={"x": 1})
    write(tmp_path / "base.json", {**data, "codec": codec, "weights": "base.safetensors"})
    middle = compose(write(tmp_path / "middle.json", {"extends": "base.json", "codec": changes}), registry)
    assert [source.without for source in middle.inherited] == [without]
    # What was exchanged stays exchanged, whatever a further spec changes.
    after = compose(write(tmp_path / "after.json", {"extends": "middle.json", "description": "later"}), registry)
    assert [source.without for source in after.inherited] == [without]


def test_a_chain_has_so_many_bases_and_no_more(registry: Registry, data: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path / "s0.json", data)
    for number in range(1, MAX_BASES + 2):
        write(tmp_path / f"s{number}.json", {"extends": f"s{number - 1}.json"})
    assert read_spec(tmp_path / f"s{MAX_BASES}.json", registry).name == f"s{MAX_BASES}"
    with pytest.raises(SpecError, match=f"a chain of specs has at most {MAX_BASES} bases"):
        read_spec(tmp_path / f"s{MAX_BASES + 1}.json", registry)


def test_a_circle_is_found_through_a_link(registry: Registry, tmp_path: Path) -> None:
    one = write(tmp_path / "one.json", {"extends": "link.json"})
    (tmp_path / "link.json").symlink_to(one)
    with pytest.raises(SpecError, match=r"extends is 'link\.json', which extends this spec in turn"):
        read_spec(one, registry)


@pytest.mark.parametrize("name", ["sub/base", "sub\\base"])
def test_what_looks_like_a_path_is_no_shipped_pipeline(registry: Registry, tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError, match=r"no such file|cannot read"):
        read_spec(write(tmp_path / "own.json", {"extends": name}), registry)


def test_values_keep_the_file_that_said_them_first(tiny: ModuleType, data: dict[str, Any], tmp_path: Path) -> None:
    base = write(tmp_path / "base.json", data)
    middle = write(tmp_path / "middle.json", {"extends": "base.json", "enhancement": None})
    last = compose(write(tmp_path / "last.json", {"extends": "middle.json"}), shipping(tiny))
    assert last.origins["codec", "use"] == base and last.origins["name",] == last.path
    assert set(last.origins.values()) == {base, last.path} and middle not in last.origins.values()


@pytest.mark.parametrize(
    ("content", "kind"), [('"extends"', "str"), ('["extends"]', "list"), ("3", "int"), ("null", "NoneType")]
)
def test_a_file_that_holds_no_object_is_no_spec(registry: Registry, tmp_path: Path, content: str, kind: str) -> None:
    (tmp_path / "own.json").write_text(content)
    with pytest.raises(SpecError, match=rf"own\.json: a pipeline spec is a JSON object, not {kind}$"):
        read_spec(tmp_path / "own.json", registry)


# --- where values come from ------------------------------------------------------------------------------------------


def test_a_value_that_counts_as_nothing_has_its_origin_too(
    registry: Registry, data: dict[str, Any], tmp_path: Path
) -> None:
    data["tasks"]["coarse"]["adapter"] = {"use": "tiny.enlarge", "params": {"offers": ""}}
    data["tasks"]["coarse"]["head"] = {"use": "tiny.classes", "params": {"classes": 2}}
    path = write(tmp_path / "own.json", {**data, "enhancement": None})
    # An empty name is a name. (That the head misses its map is seen where it is built.)
    found = {one.field: (one.value, one.origin) for one in sources(compose(path, registry), registry)}
    assert found["tasks.coarse.adapter.params.offers"] == ("", str(path))
    assert found["tasks.labels.adapter.params.offers"] == ("image", "default")


def test_weights_of_all_files_are_told(tiny: ModuleType, data: dict[str, Any], tmp_path: Path) -> None:
    base = write(tmp_path / "base.json", {**data, "weights": "base.safetensors"})
    registry = shipping(tiny, base)
    changes = {name: {"head": {"use": "tiny.picture", "params": {}}} for name in ("labels", "classes")}
    own = {"extends": "base", "tasks": changes, "weights": ["x.safetensors", "y.safetensors"]}
    path = write(tmp_path / "own.json", own)
    told = [one for one in sources(compose(path, registry), registry) if one.field == "weights"]
    parts = "codec, enhancement, tasks.classes.adapter, tasks.coarse.adapter, tasks.coarse.head, tasks.labels.adapter"
    assert [(str(one.value), one.origin) for one in told] == [
        (f"{tmp_path / 'base.safetensors'} (for {parts})", "inherited"),
        (str(tmp_path / "x.safetensors"), str(path)),
        (str(tmp_path / "y.safetensors"), str(path)),
    ]


def test_weights_of_which_nothing_is_left_are_for_nothing(
    tiny: ModuleType, data: dict[str, Any], tmp_path: Path
) -> None:
    class Other(tiny.Thumbnail):  # type: ignore[misc, name-defined]
        """Another codec."""

        name = "lab.thumbnail"

    module = ModuleType("lab")
    setattr(module, "icm_codecs", hookimpl(lambda: [Other], specname="icm_codecs"))  # noqa: B010
    registry = build_registry(path=[], extra={"tiny": tiny, "lab": module})
    one = {"codec": data["codec"], "tasks": {"coarse": data["tasks"]["coarse"]}, "weights": "base.safetensors"}
    write(tmp_path / "base.json", one)
    changes = {"codec": {"use": "lab.thumbnail"}, "tasks": {"coarse": None, "labels": data["tasks"]["labels"]}}
    path = write(tmp_path / "own.json", {"extends": "base.json", **changes})
    told = [str(one.value) for one in sources(compose(path, registry), registry) if one.field == "weights"]
    assert told == [f"{tmp_path / 'base.safetensors'} (for nothing)"]


def test_each_value_is_told_once_and_parameters_with_their_component(
    registry: Registry, data: dict[str, Any], tmp_path: Path
) -> None:
    data["tasks"] = {"coarse": data["tasks"]["coarse"]}
    data["codec"]["params"] = {"steps": 4}
    path = write(tmp_path / "own.json", data)
    told = [one.field for one in sources(compose(path, registry), registry)]
    assert (
        told
        == [
            "icm",
            "name",
            "codec.use",
            "codec.params.steps",
            "tasks.coarse.adapter.use",
            "tasks.coarse.adapter.params.offers",
            "tasks.coarse.head.use",
            "enhancement.use",
            "enhancement.over",
            "weights",
        ][: len(told)]
    )
    assert len(told) == 9


def test_a_spec_that_cannot_be_resolved_is_named_with_its_file(
    registry: Registry, data: dict[str, Any], tmp_path: Path
) -> None:
    data["codec"]["params"] = {"steps": 99}
    path = write(tmp_path / "own.json", data)
    with pytest.raises(SpecError) as caught:
        sources(compose(path, registry), registry)
    assert str(caught.value).startswith(f"{path}: codec.params.steps is 99; it should be less")


# --- what a spec may say ---------------------------------------------------------------------------------------------


def task(data: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = data["tasks"]["labels"]
    return found


def test_names_have_64_characters_at_most(data: dict[str, Any]) -> None:
    longest = "n" * 64
    assert parse_spec({**data, "name": longest}).name == longest
    assert longest in parse_spec({**data, "tasks": {**data["tasks"], longest: task(data)}}).tasks
    with pytest.raises(SpecError, match=r"^name is 'nnn"):
        parse_spec({**data, "name": longest + "n"})
    with pytest.raises(SpecError, match="at most 64 characters"):
        parse_spec({**data, "tasks": {**data["tasks"], longest + "n": task(data)}})


@pytest.mark.parametrize("name", ["a\n", "a-b", "", "_a", "1a"])
def test_a_tasks_name_is_an_identifier_to_its_last_character(data: dict[str, Any], name: str) -> None:
    with pytest.raises(SpecError, match="a task's name is a lower-case identifier"):
        parse_spec({**data, "tasks": {**data["tasks"], name: task(data)}})


def test_a_pipeline_has_64_tasks_at_most(data: dict[str, Any]) -> None:
    many = {f"t{number}": task(data) for number in range(63)}
    assert len(parse_spec({**data, "tasks": {**many, "coarse": task(data)}}).tasks) == 64
    with pytest.raises(SpecError, match=r"^tasks is "):
        parse_spec({**data, "tasks": {**many, "coarse": task(data), "more": task(data)}})


@pytest.mark.parametrize(
    ("ends", "fits"), [([1, 100], True), ([0.1, 0.1], True), ([0, 1], False), ([1, 0], False), ([1], False)]
)
def test_what_counts_in_a_search_is_above_0_at_both_ends(data: dict[str, Any], ends: list[float], fits: bool) -> None:
    task(data)["search"] = ends
    if fits:
        assert parse_spec(data).tasks["labels"].search == tuple(ends)
    else:
        with pytest.raises(SpecError, match=r"tasks\.labels\.search"):
            parse_spec(data)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_no_number_of_a_spec_is_endless(data: dict[str, Any], value: float) -> None:
    task(data)["search"] = [1.0, value]
    with pytest.raises(SpecError, match=r"tasks\.labels\.search"):
        parse_spec(data)


def test_no_part_of_a_spec_can_be_changed(data: dict[str, Any]) -> None:
    task(data)["trained_on"] = {"data": "roads"}
    spec = parse_spec(data)
    learned = spec.tasks["labels"].trained_on
    assert learned is not None
    for part, field in (
        (spec.codec, "use"),
        (spec.tasks["labels"], "head"),
        (spec.enhancement, "over"),
        (learned, "data"),
    ):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(part, field, "other")


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ("w.safetensors.pt", r"weights are \.safetensors files, not 'w\.safetensors\.pt'"),
        ("", r"weights are \.safetensors files, not ''"),
        (["a.safetensors", "b.safetensors", "a.safetensors"], "a file of weights stands twice"),
        ("../w.safetensors", r"weights are given relative to the spec's folder and inside it, not as"),
    ],
)
def test_what_no_weights_are(data: dict[str, Any], weights: object, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        parse_spec({**data, "weights": weights})


def test_what_a_task_learned_from_is_said_in_words() -> None:
    assert (
        str(TrainedOn(data="CamVid, 367 pictures", pictures="streets")) == "pictures of streets (CamVid, 367 pictures)"
    )
    assert str(TrainedOn(data="CamVid, 367 pictures")) == "CamVid, 367 pictures"
    assert TrainedOn(data="x", pictures="living rooms").pictures == "living rooms"
    for wrong in ("Streets", "three little words", "rooms ", "rooms2"):
        with pytest.raises(ValidationError, match="pictures"):
            TrainedOn(data="x", pictures=wrong)


def test_the_enhancement_refines_a_task_of_the_spec(data: dict[str, Any]) -> None:
    data["enhancement"]["over"] = "elsewhere"
    with pytest.raises(
        SpecError, match=r"over is 'elsewhere'; it should be one of the tasks: labels, classes, coarse$"
    ):
        parse_spec(data)


def test_extending_nothing_is_extending(data: dict[str, Any]) -> None:
    for name in ("base", "", None):
        with pytest.raises(SpecError, match="extends is for specs in files"):
            parse_spec({**data, "extends": name})


def test_what_is_for_editors_is_no_part_of_a_spec(registry: Registry, data: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path / "base.json", {"$schema": "../schema.json", **data})
    own = compose(write(tmp_path / "own.json", {"$schema": "../schema.json", "extends": "base.json"}), registry)
    assert ("$schema",) not in own.origins and "$schema" not in own.spec.to_json()
    assert own.spec.to_json()["icm"] == 1


# --- where components stand ------------------------------------------------------------------------------------------


def test_components_stand_in_a_spec_as_in_its_pipeline(pipeline: Pipeline, data: dict[str, Any]) -> None:
    tasks = [f"tasks.{name}.{part}" for name in ("labels", "classes", "coarse") for part in ("adapter", "head")]
    spec = parse_spec(data)
    assert list(components(spec)) == list(modules(pipeline)) == ["codec", *tasks, "enhancement"]
    assert {place: part.name for place, part in modules(pipeline).items()} == {
        place: part.use for place, part in components(spec).items()
    }
    assert {component_of(key) for key in pipeline.state_dict()} <= set(components(spec))


def test_a_component_is_known_by_its_place(registry: Registry) -> None:
    places = {("codec",): True, ("enhancement",): True, ("tasks", "a", "head"): True, ("tasks", "a", "adapter"): True}
    others = {("tasks",): False, ("tasks", "a"): False, ("codec", "params", "inner"): False, ("a", "b", "c"): False}
    for place, expected in {**places, **others}.items():
        assert is_component(place) is expected
    found = [catalogue_of(".".join(place), registry).kind for place in places]
    assert found == ["codec", "enhancement", "head", "adapter"]


# --- names looked up -------------------------------------------------------------------------------------------------


def test_all_that_was_looked_up_is_there_with_and_without_an_enhancement(
    registry: Registry, data: dict[str, Any]
) -> None:
    assert list(resolve(parse_spec(data), registry).parts) == list(components(parse_spec(data)))
    data["enhancement"] = None
    assert list(resolve(parse_spec(data), registry).parts) == list(components(parse_spec(data)))


def test_a_kind_that_shows_a_picture_can_be_refined_whatever_its_name(tiny: ModuleType, data: dict[str, Any]) -> None:
    from icm_core.kinds import Reconstruction

    sketch = type("Sketch", (Reconstruction,), {"name": "sketch"})
    head = type("Sketched", (tiny.Picture,), {"name": "lab.sketch", "kind": "sketch"})
    lost = type(
        "Lost", (tiny.Picture,), {"name": "lab.lost", "kind": property(), "kind_of": classmethod(lambda *_: "sketsch")}
    )
    module = ModuleType("lab")
    setattr(module, "icm_kinds", hookimpl(lambda: [sketch], specname="icm_kinds"))  # noqa: B010
    setattr(module, "icm_heads", hookimpl(lambda: [head, lost], specname="icm_heads"))  # noqa: B010
    registry = build_registry(path=[], extra={"tiny": tiny, "lab": module})
    data["tasks"]["coarse"]["head"] = {"use": "lab.sketch"}
    assert build(parse_spec(data), registry).over == "coarse"
    data["enhancement"]["over"] = "classes"
    with pytest.raises(SpecError, match=r"a task of kind classification; .* reconstruction: coarse$"):
        resolve(parse_spec(data), registry)
    data["tasks"]["coarse"]["head"] = {"use": "lab.lost"}
    with pytest.raises(SpecError, match=r"^tasks\.coarse\.head: unknown kind 'sketsch'; did you mean 'sketch'\?"):
        resolve(parse_spec(data), registry)


# --- the schema ------------------------------------------------------------------------------------------------------


def check(registry: Registry) -> Any:
    return jsonschema.Draft202012Validator(json_schema(registry)).is_valid


def test_params_may_be_left_out_where_none_is_required(registry: Registry, data: dict[str, Any]) -> None:
    valid = check(registry)
    assert valid({**data, "codec": {"use": "tiny.thumbnail"}})
    assert not valid({**data, "codec": {}}) and not valid({**data, "codec": {"params": {}}})
    task(data)["head"] = {"use": "tiny.classes", "params": {}}
    assert not valid(data)
    task(data)["head"] = {"use": "tiny.picture", "note": "unknown"}
    assert not valid(data)


def test_where_no_component_of_a_contract_is_installed_none_is_allowed(tiny: ModuleType, data: dict[str, Any]) -> None:
    """Of the tiny plugin's four hooks, one is missing in turn."""
    data = {**data, "tasks": {"coarse": data["tasks"]["coarse"]}}
    hooks = {name: getattr(tiny, name) for name in ("icm_codecs", "icm_adapters", "icm_heads", "icm_enhancements")}
    for absent in (None, *hooks):
        module = ModuleType("lab")
        for name, hook in hooks.items():
            if name != absent:
                setattr(module, name, hook)
        assert check(build_registry(path=[], extra={"lab": module}))(data) is (absent is None)


def test_an_extending_spec_says_what_is_different(registry: Registry) -> None:
    valid = check(registry)
    own: dict[str, Any] = {"icm": 1, "name": "mine", "extends": "base"}
    assert valid({**own, "weights": ["a.safetensors"], "description": "x", "$schema": "y", "enhancement": None})
    assert valid({**own, "tasks": {"a": {"adapter": None, "search": [1, 2], "trained_on": None}, "b": None}})
    differences: list[dict[str, Any]] = [
        {"name": None},
        {"extends": ""},
        {"weights": "a.pt"},
        {"tasks": {"fine": {}}},
        {"tasks": {"a": {"params": {}}}},
        {"codec": "tiny.thumbnail"},
    ]
    for wrong in differences:
        assert not valid({**own, **wrong})
    assert not valid({key: value for key, value in own.items() if key != "name"})


def test_a_whole_spec_that_says_extends_is_an_extending_one(registry: Registry, data: dict[str, Any]) -> None:
    valid = check(registry)
    assert valid(data) and valid({**data, "extends": "base"})
    data["codec"] = {"params": {"steps": 4}}  # what is different; of a whole spec it would be too little
    assert valid({**data, "extends": "base"}) and not valid(data)


# --- values changed from outside -------------------------------------------------------------------------------------


def test_changes_are_made_one_after_the_other() -> None:
    assert with_changes({}, ["b.c=1", "b=2", "a=x=y"]) == {"b": 2, "a": "x=y"}
    assert with_changes({}, ["b=2", "b=1"]) == {"b": 1}


def test_in_lists_a_number_counts_before_a_name() -> None:
    data: Any = {"items": [{"name": "1", "x": 0}, {"name": "b", "x": 0}]}
    assert with_changes(data, ["items.1.x=5"]) == {"items": [{"name": "1", "x": 0}, {"name": "b", "x": 5}]}
    assert with_changes(data, ["items.b=3"]) == {"items": [{"name": "1", "x": 0}, 3]}
    assert data == {"items": [{"name": "1", "x": 0}, {"name": "b", "x": 0}]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("items.3=1", "in items: unknown item '3'; known: 0, 1, 2"),
        ("a.b.c=1", "the change of 'a.b.c' leads into a.b, which is 3"),
        ("a.b.c.d=1", "the change of 'a.b.c.d' leads into a.b, which is 3"),
        ("=1", "the change '=1' is not of the form path=value"),
    ],
)
def test_a_change_that_leads_nowhere_says_where_it_ended(change: str, says: str) -> None:
    with pytest.raises(SpecError) as caught:
        with_changes({"a": {"b": 3}, "items": [{"x": 1}, {"x": 2}, {"x": 3}]}, [change])
    assert says in str(caught.value)
