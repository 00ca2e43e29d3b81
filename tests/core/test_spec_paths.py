"""Parameters that name files beside a spec, or components: what they are by themselves, and where files are found."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import jsonschema
import pytest
from pydantic import BaseModel, Field, ValidationError

from icm_core import Codec, Registry, SpecError, TaskHead, build_registry, hookimpl, json_schema, parse_spec
from icm_core.interfaces import ComponentParams, Nested, SideInfoAdapter, SpecPath
from icm_core.interfaces.nested import nested_fields
from icm_core.interfaces.spec_path import path_fields
from icm_core.plugins.lookup import Around, look_up
from icm_core.spec.extends import compose
from icm_core.spec.files import copy_files
from icm_core.spec.resolve import resolve
from icm_core.types import Level, SideInfoLayout


class Files(ComponentParams):
    """Two files and a number."""

    first: SpecPath = Field(description="a file")
    second: SpecPath | None = Field(None, description="another file")
    number: int = Field(3, description="no file")


def registry_with(tiny: ModuleType, *specs: Path) -> Registry:
    """The tiny plugin, a codec that needs files, a head with a codec inside, and some specs that ship."""

    class Kept(tiny.Thumbnail):  # type: ignore[misc, name-defined]
        """A codec with files."""

        name: ClassVar[str] = "lab.kept"

        class Params(Files):
            """Files, and what the codec has."""

            steps: int = Field(8, ge=1, le=16, description="as the tiny codec has it")

    class Reads(tiny.Picture):  # type: ignore[misc, name-defined]
        """A head with a codec inside."""

        name: ClassVar[str] = "lab.reads"

        class Params(ComponentParams):
            """What is inside."""

            codec: Nested[Codec] | None = Field(None, description="a codec")
            other: Nested[SideInfoAdapter] | None = Field(None, description="an adapter")

    class Plugin:
        """All of them."""

        @staticmethod
        @hookimpl
        def icm_codecs() -> list[type[Codec]]:
            return [Kept]

        @staticmethod
        @hookimpl
        def icm_heads() -> list[type[TaskHead]]:
            return [Reads]

        @staticmethod
        @hookimpl
        def icm_specs() -> list[Path]:
            return list(specs)

    return build_registry(path=[], extra={"tiny": tiny, "lab": Plugin})


@pytest.fixture(scope="module")
def registry(tiny: ModuleType) -> Registry:
    return registry_with(tiny)


def around(**files: Path) -> Around:
    return Around("codec", files, None)


# --- files -----------------------------------------------------------------------------------------------------------


def test_each_parameter_knows_where_its_own_file_is() -> None:
    where = around(second=Path("/lab/b.bin"), first=Path("/lab/a.bin"))
    found = Files.model_validate({"first": "a.bin", "second": "b.bin"}, context=where)
    assert found.second is not None
    assert (found.first.path, found.second.path) == (Path("/lab/a.bin"), Path("/lab/b.bin"))
    assert (found.first, found.model_dump(mode="json")["second"]) == ("a.bin", "b.bin")


def test_a_name_without_its_place_finds_it_and_one_with_a_place_keeps_it() -> None:
    where = around(first=Path("/lab/a.bin"))
    assert Files.model_validate({"first": SpecPath("a.bin")}, context=where).first.path == Path("/lab/a.bin")
    known = SpecPath("a.bin", Path("/else/a.bin"))
    assert Files.model_validate({"first": known}, context=where).first.path == Path("/else/a.bin")


def test_a_place_goes_along_where_parameters_are_pickled() -> None:
    found = Files.model_validate({"first": SpecPath("a.bin", Path("/lab/a.bin"))})
    again = pickle.loads(pickle.dumps(found))
    assert again == found and again.first.path == Path("/lab/a.bin")


def test_without_a_specs_file_nothing_is_found() -> None:
    with pytest.raises(SpecError, match=r"'a\.bin' is found from the folder of a spec's file, and this spec"):
        _ = Files.model_validate({"first": "a.bin"}).first.path


@pytest.mark.parametrize("name", ["", "n" * 1001, 3, None, "../a.bin", "a/../../b.bin", "/a.bin", "C:a.bin", "a\0b"])
def test_what_names_no_file_inside_the_specs_folder(name: object) -> None:
    with pytest.raises(ValidationError):
        Files.model_validate({"first": name})


def test_long_names_are_names() -> None:
    assert len(Files.model_validate({"first": "n" * 1000}).first) == 1000


def test_fields_are_known_by_their_types() -> None:
    assert path_fields(Files) == ("first", "second")
    assert path_fields(ComponentParams) == ()


# --- components ------------------------------------------------------------------------------------------------------


def test_components_are_alike_if_their_parameters_are(tiny: ModuleType) -> None:
    four, five = (Nested.of(tiny.Thumbnail, steps=steps) for steps in (4, 5))
    assert four == Nested.of(tiny.Thumbnail, steps=4) and hash(four) == hash(Nested.of(tiny.Thumbnail, steps=4))
    assert four != five and four != Nested.of(tiny.Enlarge)


def test_a_component_is_built_with_its_parameters_and_what_its_contract_takes(tiny: ModuleType) -> None:
    layout = SideInfoLayout((Level(3, 8),), 3)
    assert dict(Nested.of(tiny.Enlarge, offers="wide").build(layout).features) == {"wide": Level(3, 1)}
    with pytest.raises(ValidationError, match="less than or equal to 16"):
        Nested.of(tiny.Thumbnail, steps=17)


def test_all_parameters_of_a_component_are_told(tiny: ModuleType) -> None:
    assert Nested.of(tiny.Thumbnail).to_json() == {"use": "tiny.thumbnail", "params": {"steps": 8}}


def test_fields_that_are_components_are_known_with_their_contracts() -> None:
    class Several(BaseModel):
        one: Nested[Codec]
        perhaps: Nested[SideInfoAdapter] | None = None
        number: int = 3

    assert nested_fields(Several) == {"one": Codec, "perhaps": SideInfoAdapter}


def test_files_inside_of_a_component_are_those_of_its_own_field(registry: Registry) -> None:
    inner = {"use": "lab.kept", "params": {"first": "a.bin"}}
    files = {
        "codec.params.first": Path("/lab/a.bin"),
        "codec.first": Path("/lab/wrong.bin"),
        "my.codec.params.first": Path("/lab/other.bin"),
    }
    found = look_up("lab.reads", {"codec": inner}, registry.heads, "tasks.a.head", files, registry).params
    codec = found.codec  # type: ignore[attr-defined]
    assert codec.params.first.path == Path("/lab/a.bin")


def test_what_is_wrong_inside_is_said_with_all_fields_on_the_way(registry: Registry) -> None:
    def said(params: Mapping[str, Any], use: str = "lab.reads", known: Registry | None = registry) -> str:
        with pytest.raises(SpecError) as caught:
            look_up(use, params, registry.heads, "tasks.a.head", None, known)
        return str(caught.value)

    assert said({}, "lab.read").startswith("tasks.a.head.use: unknown head 'lab.read'; did you mean 'lab.reads'?")
    assert said({"kodec": 1}).startswith("unknown field 'kodec' in tasks.a.head.params; did you mean 'codec'?")
    inside = said({"codec": {"use": "lab.kept", "params": {}}})
    assert inside == "the field tasks.a.head.params.codec.params.first is missing"
    assert said({"other": {"use": "lab.kept"}}).startswith("tasks.a.head.params.other.use: unknown adapter 'lab.kept'")
    assert said({"codec": {"use": "lab.kept"}}, known=None) == (
        "tasks.a.head.params.codec: components inside of this one cannot be looked up here"
    )


def test_the_schema_offers_what_is_installed_of_the_fields_contract_and_says_what_it_is_for(
    tiny: ModuleType, data: dict[str, Any]
) -> None:
    class Several(tiny.Picture):  # type: ignore[misc, name-defined]
        """A head with an adapter and a head inside."""

        name: ClassVar[str] = "lab.several"

        class Params(ComponentParams):
            """What is inside."""

            adapter: Nested[SideInfoAdapter] = Field(description="what comes first")
            heads: list[Nested[TaskHead]] = Field(default=[], description="what follows")

    module = ModuleType("lab")
    setattr(module, "icm_heads", hookimpl(lambda: [Several], specname="icm_heads"))  # noqa: B010
    schema = json_schema(build_registry(path=[], extra={"tiny": tiny, "lab": module}))
    fields = schema["$defs"]["head.lab.several"]["properties"]["params"]["properties"]
    assert fields["adapter"]["description"] == "what comes first" and fields["adapter"]["$ref"] == "#/$defs/adapter"
    valid = jsonschema.Draft202012Validator(schema).is_valid

    def fits(**params: Any) -> bool:
        data["tasks"]["labels"]["head"] = {"use": "lab.several", "params": params}
        return bool(valid(data))

    first, follows = {"use": "tiny.enlarge"}, {"use": "tiny.classes", "params": {"classes": 3}}
    assert fits(adapter=first) and fits(adapter=first, heads=[follows, follows])
    assert not fits() and not fits(adapter=follows) and not fits(adapter={"use": "tiny.thumbnail"})
    assert not fits(adapter=first, heads=[first]) and not fits(adapter=first, heads=[{"use": "tiny.classes"}])


# --- files of specs --------------------------------------------------------------------------------------------------


def write(path: Path, data: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"icm": 1, "name": path.stem, **data}))
    return path


def put(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def spec_with_files(data: dict[str, Any]) -> dict[str, Any]:
    """A codec with a file in a sub-folder, and a codec inside of a head with one of its own."""
    data["codec"] = {"use": "lab.kept", "params": {"first": "sub/a.bin"}}
    inner = {"use": "lab.kept", "params": {"first": "b.bin"}}
    data["tasks"]["coarse"]["head"] = {"use": "lab.reads", "params": {"codec": inner}}
    return data


def test_a_file_is_found_from_the_folder_of_the_spec_that_names_it(
    tiny: ModuleType, data: dict[str, Any], tmp_path: Path
) -> None:
    base = write(tmp_path / "shipped/base.json", spec_with_files(data))
    own = write(tmp_path / "mine/own.json", {"extends": "base", "codec": {"params": {"second": "c.bin"}}})
    assert compose(own, registry_with(tiny, base)).spec.files == {
        "codec.params.first": tmp_path / "shipped/sub/a.bin",
        "codec.params.second": tmp_path / "mine/c.bin",
        "tasks.coarse.head.params.codec.params.first": tmp_path / "shipped/b.bin",
    }


def test_each_component_gets_its_own_files(registry: Registry, data: dict[str, Any], tmp_path: Path) -> None:
    """The codec inside of the head has a parameter of the name that the pipeline's codec has."""
    path = write(tmp_path / "base.json", spec_with_files(data))
    spec = compose(path, registry).spec
    for files in (spec.files, dict(reversed(list(spec.files.items())))):
        found = resolve(spec.with_files(files), registry)
        assert found.codec.params.first.path == tmp_path / "sub/a.bin"  # type: ignore[attr-defined]
        inner = found.heads["coarse"].params.codec  # type: ignore[attr-defined]
        assert inner.params.first.path == tmp_path / "b.bin"


def test_copies_lie_where_the_same_spec_finds_them(registry: Registry, data: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "one/base.json", spec_with_files(data))
    put(tmp_path / "one/sub/a.bin", "of the codec")
    put(tmp_path / "one/b.bin", "of the head")
    stale = put(tmp_path / "two/b.bin", "of another time")
    copied = copy_files(compose(path, registry).spec, tmp_path / "two")
    assert set(copied) == {tmp_path / "two/sub/a.bin", stale}
    assert [copy.read_text() for copy in (tmp_path / "two/sub/a.bin", stale)] == ["of the codec", "of the head"]


def test_a_folder_is_copied_to_its_bottom(data: dict[str, Any], tmp_path: Path) -> None:
    data["tasks"]["classes"]["head"]["params"] = {"file": "net"}
    for name in ("config.json", "parts/1.bin", "parts/deeper/1.bin"):
        put(tmp_path / "one/net" / name, name)
    spec = parse_spec(data).with_files({"tasks.classes.head.params.file": tmp_path / "one/net"})
    copied = copy_files(spec, tmp_path / "two")
    assert {str(copy.relative_to(tmp_path / "two/net")): copy.read_text() for copy in copied} == {
        name: name for name in ("config.json", "parts/1.bin", "parts/deeper/1.bin")
    }


def test_a_copy_onto_itself_leaves_the_file_alone(registry: Registry, data: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "base.json", spec_with_files(data))
    files = [put(tmp_path / "sub/a.bin", "of the codec"), put(tmp_path / "b.bin", "of the head")]
    before = [file.stat().st_ino for file in files]
    copy_files(compose(path, registry).spec, tmp_path)
    assert [file.stat().st_ino for file in files] == before  # a file that is written anew is another one


def test_two_files_of_one_name_are_not_mixed_up(data: dict[str, Any], tmp_path: Path) -> None:
    places = ("tasks.classes.head.params.file", "tasks.labels.head.params.file")
    for task in ("classes", "labels"):
        data["tasks"][task]["head"]["params"] = {"file": "net.bin"}
    one, other = put(tmp_path / "one/net.bin", "1"), put(tmp_path / "other/net.bin", "2")
    with pytest.raises(SpecError, match=rf"{places[1]} is {other}, and another parameter's file has its name, {one}"):
        copy_files(parse_spec(data).with_files(dict(zip(places, (one, other), strict=True))), tmp_path / "copies")
    (tmp_path / "link").symlink_to(tmp_path / "one")
    same = dict(zip(places, (one, tmp_path / "link/net.bin"), strict=True))  # one file by two ways
    copied = copy_files(parse_spec(data).with_files(same), tmp_path / "copies")
    assert copied == (tmp_path / "copies/net.bin",) and copied[0].read_text() == "1"


def test_files_are_of_the_spec_that_was_given_them(data: dict[str, Any], tmp_path: Path) -> None:
    spec = parse_spec(data)
    assert spec.with_files({"codec.params.file": tmp_path}).files == {"codec.params.file": tmp_path}
    assert spec.files == {}
