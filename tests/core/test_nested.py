"""Components inside of components: looked up, built, exchanged from JSON alone, with files and weights of their own."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import jsonschema
import pytest
import torch
from pydantic import Field, ValidationError
from torch import Tensor, nn

from icm_core import Registry, SpecError, WeightsError, build, build_registry, hookimpl, parse_spec
from icm_core.interfaces import Codec, ComponentParams, Nested, SpecPath, TaskHead
from icm_core.pipeline.weights import load_weights, save
from icm_core.quality import Quality
from icm_core.spec.extends import compose
from icm_core.spec.files import copy_files
from icm_core.spec.origins import sources
from icm_core.spec.schema import json_schema
from icm_core.types import CodecOutput, SideInfo, SideInfoLayout


class Around(Codec):
    """Mixes colours before another codec."""

    name: ClassVar[str] = "outer.around"

    class Params(ComponentParams):
        """What is inside."""

        codec: Nested[Codec] = Field(description="what codes")

    params: Params

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.codec = params.codec.build()
        self.colour = nn.Conv2d(3, 3, 1)

    @property
    def layout(self) -> SideInfoLayout:
        return self.codec.layout

    @property
    def quality_range(self) -> tuple[float, float]:
        return self.codec.quality_range

    def forward(self, x: Tensor, quality: Tensor) -> CodecOutput:
        found: CodecOutput = self.codec(self.colour(x), quality)
        return found

    def encode(self, x: Tensor, quality: Quality) -> list[bytes]:
        return self.codec.encode(self.colour(x).clamp(0, 1), quality)

    def decode(self, payloads: Sequence[bytes], size: tuple[int, int], quality: Quality) -> SideInfo:
        return self.codec.decode(payloads, size, quality)

    def coding_state(self) -> bytes:
        return self.codec.coding_state()


class Beside(Around):
    """Has a layer whose name begins as that of the codec inside."""

    name: ClassVar[str] = "outer.beside"

    def __init__(self, params: Around.Params) -> None:
        super().__init__(params)
        self.codec_colour = nn.Conv2d(3, 3, 1)


@pytest.fixture(scope="session")
def registry(tiny: ModuleType) -> Registry:
    """The tiny plugin, the codec around another, and a second codec that needs a file."""

    class Other(tiny.Thumbnail):
        """Another class with the same networks."""

        name: ClassVar[str] = "outer.other"

        class Params(tiny.Thumbnail.Params):
            """With a file."""

            file: SpecPath | None = Field(None, description="a file")

    class Plugin:
        @staticmethod
        @hookimpl
        def icm_codecs() -> list[type[Codec]]:
            return [Around, Beside, Other]

    return build_registry(path=[], extra={"tiny": tiny, "outer": Plugin})


@pytest.fixture
def around(data: dict[str, Any]) -> dict[str, Any]:
    """The tiny pipeline with its codec inside of another, twice."""
    inner = {"use": "tiny.thumbnail", "params": {"steps": 4}}
    data["codec"] = {"use": "outer.around", "params": {"codec": {"use": "outer.around", "params": {"codec": inner}}}}
    return data


def write(folder: Path, name: str, data: dict[str, Any]) -> Path:
    path = folder / f"{name}.json"
    path.write_text(json.dumps({**data, "icm": 1, "name": name}))
    return path


def test_it_is_built_under_its_fields_name_and_codes(registry, around, picture) -> None:
    pipe = build(parse_spec(around), registry)
    assert pipe.codec.codec.codec.params.steps == 4
    assert {"codec.colour.weight", "codec.codec.colour.weight", "codec.codec.codec.mix.weight"} <= set(
        pipe.state_dict()
    )
    assert set(pipe.decode(pipe.encode(picture, 2))) == {"labels", "classes", "coarse", "fine"}


def test_parameters_tell_what_is_inside_and_can_be_pickled(registry, around) -> None:
    params = build(parse_spec(around), registry).codec.params
    assert pickle.loads(pickle.dumps(params)) == params
    assert params.model_dump(mode="json") == around["codec"]["params"]


@pytest.mark.parametrize(
    ("inner", "says"),
    [
        ({"use": "tiny.thumb"}, r"codec.params.codec.params.codec.use: unknown codec 'tiny.thumb'; did you mean"),
        (
            {"use": "tiny.thumbnail", "params": {"steps": 99}},
            r"^codec.params.codec.params.codec.params.steps is 99; it should be less than or equal to 16",
        ),
        ({"use": "tiny.thumbnail", "stops": 4}, r"a component has the fields use and params, and no stops"),
        ("tiny.thumbnail", "it should be a component, such as"),
        ({"params": {}}, "it should be a component, such as"),
        ({"use": "tiny.enlarge"}, "unknown codec 'tiny.enlarge'"),
    ],
)
def test_what_is_wrong_inside_is_said_with_its_whole_path(registry, around, inner, says) -> None:
    around["codec"]["params"]["codec"]["params"]["codec"] = inner
    with pytest.raises(SpecError, match=says):
        build(parse_spec(around), registry)


def test_without_a_spec_a_class_is_given(tiny) -> None:
    with pytest.raises(ValidationError, match="give Nested"):
        Around.Params.model_validate({"codec": {"use": "tiny.thumbnail"}})
    params = Around.Params(codec=Nested.of(tiny.Thumbnail, steps=3))
    assert Around(params).codec.params.steps == 3
    with pytest.raises(ValidationError, match="it should be a Codec"):
        Around.Params(codec=Nested.of(tiny.Enlarge))


def test_a_field_that_names_no_contract_is_a_programmers_mistake() -> None:
    with pytest.raises(TypeError, match="names no contract"):

        class Wrong(ComponentParams):
            head: Nested[TaskHead]
            part: Nested[int]  # type: ignore[type-var]


def test_the_schema_offers_the_installed_ones(registry, around) -> None:
    schema = json_schema(registry)
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    assert check.is_valid(around)
    around["codec"]["params"]["codec"]["params"]["codec"] = {"use": "tiny.unheard"}
    assert not check.is_valid(around)


def test_the_schema_says_which_one_is_there_if_none_is_named(tiny) -> None:
    class Usual(Around):
        """Has a codec in it, whether or not one is named."""

        name: ClassVar[str] = "outer.usual"

        class Params(ComponentParams):
            """What is inside."""

            codec: Nested[Codec] = Field({"use": "tiny.thumbnail"}, validate_default=True, description="what codes")

    plugin = type("Plugin", (), {"icm_codecs": staticmethod(hookimpl(lambda: [Usual], specname="icm_codecs"))})
    schema = json_schema(build_registry(path=[], extra={"tiny": tiny, "outer": plugin}))
    inside = schema["$defs"]["codec.outer.usual"]["properties"]["params"]["properties"]["codec"]
    assert inside["default"] == {"use": "tiny.thumbnail"}
    assert (inside["description"], inside["$ref"]) == ("what codes", "#/$defs/codec")


def test_exchanged_from_json_alone(registry, around, tmp_path) -> None:
    """The other codec has no parameters and no weights of the first, what is around it keeps its own."""
    base = write(tmp_path, "base", {**around, "weights": "base.safetensors"})
    torch.manual_seed(1)
    original = build(parse_spec(around), registry)
    save(original, {tmp_path / "base.safetensors": [""]})
    other = {"params": {"codec": {"params": {"codec": {"use": "outer.other"}}}}}
    composed = compose(write(tmp_path, "own", {"extends": base.name, "codec": other}), registry)
    torch.manual_seed(2)
    pipe = build(composed.spec, registry)
    assert pipe.codec.codec.codec.params.steps == 8
    with pytest.raises(WeightsError, match=r"'codec.codec.codec.(mix|table)"):
        load_weights(pipe, [], inherited=composed.inherited)
    before = pipe.codec.codec.codec.mix.weight.clone()
    load_weights(pipe, [], inherited=composed.inherited, partly=True)
    assert torch.equal(pipe.codec.codec.codec.mix.weight, before)
    assert torch.equal(pipe.codec.codec.colour.weight, original.codec.codec.colour.weight.half().float())


def test_what_is_called_like_the_beginning_of_another_is_another(registry, data, tmp_path) -> None:
    """A codec inside was exchanged; the weights of a layer beside it, `codec_colour`, stay."""
    inner = {"use": "tiny.thumbnail"}
    base = write(tmp_path, "base", {**data, "codec": {"use": "outer.beside", "params": {"codec": inner}}})
    original = build(compose(base, registry).spec, registry)
    weights = tmp_path / "base.safetensors"
    save(original, {weights: [""]})
    base.write_text(json.dumps({**json.loads(base.read_text()), "weights": weights.name}))
    other = {"params": {"codec": {"use": "outer.other"}}}
    composed = compose(write(tmp_path, "own", {"extends": base.name, "codec": other}), registry)
    pipe = build(composed.spec, registry)
    load_weights(pipe, [], inherited=composed.inherited, partly=True)
    kept = pipe.state_dict()["codec.codec_colour.weight"]
    assert torch.equal(kept, original.state_dict()["codec.codec_colour.weight"].half().float())


def test_changed_parameters_keep_the_weights(registry, around, tmp_path) -> None:
    base = write(tmp_path, "base", {**around, "weights": "base.safetensors"})
    original = build(parse_spec(around), registry)
    save(original, {tmp_path / "base.safetensors": [""]})
    finer = {"params": {"codec": {"params": {"codec": {"params": {"steps": 16}}}}}}
    composed = compose(write(tmp_path, "own", {"extends": base.name, "codec": finer}), registry)
    pipe = build(composed.spec, registry)
    load_weights(pipe, [], inherited=composed.inherited)
    assert pipe.codec.codec.codec.params.steps == 16
    assert torch.equal(pipe.codec.codec.codec.mix.weight, original.codec.codec.codec.mix.weight.half().float())
    told = {source.field: source.origin for source in sources(composed, registry)}
    assert str(base) in told["codec.params.codec"] and str(composed.path) in told["codec.params.codec"]


def test_files_of_what_is_inside_are_found_and_taken_along(registry, around, tmp_path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/table.bin").write_bytes(b"abc")
    around["codec"]["params"]["codec"]["params"]["codec"] = {"use": "outer.other", "params": {"file": "table.bin"}}
    composed = compose(write(tmp_path / "a", "base", around), registry)
    pipe = build(composed.spec, registry)
    assert pipe.codec.codec.codec.params.file.path.read_bytes() == b"abc"
    (tmp_path / "b").mkdir()
    assert copy_files(composed.spec, tmp_path / "b") == (tmp_path / "b/table.bin",)


def test_a_component_inside_comes_from_every_file_that_says_something_of_it(registry, around, tmp_path) -> None:
    base = write(tmp_path, "base", around)
    inner = {"params": {"codec": {"params": {"codec": {"params": {"steps": 7}}}}}}
    mine = write(tmp_path, "mine", {"extends": "base.json", "codec": inner})
    told = {one.field: one for one in sources(compose(mine, registry), registry)}
    assert told["codec.params.codec"].origin.split(", ") == [str(base), str(mine)]
    assert told["codec.params.codec"].value["params"]["codec"]["params"] == {"steps": 7}
    assert told["codec.use"].origin == str(base)
