"""What components are, do and refuse without saying so themselves, and how parameters look in JSON and its schema."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
import torch
from pydantic import BaseModel, Field
from torch import Tensor

from icm_core import Codec, SpecError
from icm_core.interfaces import ComponentParams, Nested, SideInfoAdapter, SpecPath, TaskHead
from icm_core.interfaces import dataset as dataset_module
from icm_core.interfaces.nested import nested_fields
from icm_core.interfaces.spec_path import path_fields
from icm_core.nests import Nest
from icm_core.quality import Quality
from icm_core.types import Features, Level, SideInfo, SideInfoLayout

LAYOUT = SideInfoLayout((Level(3, 8), Level(5, 16)), 7)


# --- components ------------------------------------------------------------------------------------------------------


def test_a_component_keeps_what_it_was_built_with(tiny: ModuleType) -> None:
    params = tiny.Enlarge.Params(offers="wide")
    adapter = tiny.Enlarge(params, LAYOUT)
    assert adapter.params is params and adapter.layout is LAYOUT
    none = tiny.Residual.Params()
    enhancement = tiny.Residual(none, LAYOUT)
    assert enhancement.params is none and enhancement.layout is LAYOUT
    features = {"image": Level(3, 1), "gist": Level(8, 0)}
    classes = tiny.Classes.Params(classes=7)
    head = tiny.Classes(classes, features)
    assert head.params is classes and head.features is features
    steps = tiny.Thumbnail.Params(steps=5)
    assert tiny.Thumbnail(steps).params is steps


def test_a_component_that_knows_no_weights_says_so_for_the_user(tiny: ModuleType) -> None:
    codec = tiny.Thumbnail(tiny.Thumbnail.Params())
    before = {name: value.clone() for name, value in codec.state_dict().items()}
    with pytest.raises(SpecError, match=r"^'tiny\.thumbnail' knows no pretrained weights 'imagenet'$"):
        codec.start_from("imagenet")
    assert all(torch.equal(value, before[name]) for name, value in codec.state_dict().items())


def test_weights_from_outside_are_taken_under_their_own_names(tiny: ModuleType) -> None:
    given = {"mix.weight": torch.zeros(1)}
    assert tiny.Thumbnail(tiny.Thumbnail.Params()).adopt(given) is given


def test_a_codec_without_a_search_has_none(tiny: ModuleType) -> None:
    codec = tiny.Thumbnail(tiny.Thumbnail.Params())
    assert not codec.searches and codec.encoders == () and codec.prove() == ()

    def bits(side: SideInfo, rate: Tensor) -> Tensor:
        del side
        return rate

    with pytest.raises(NotImplementedError, match="Thumbnail has no search"):
        codec.search(torch.zeros(1, 3, 16, 16), Quality.of(2), bits, 3)


def test_an_adapter_reads_no_picture_and_an_enhancement_hides_its_latent(tiny: ModuleType) -> None:
    assert tiny.Enlarge(tiny.Enlarge.Params(), LAYOUT).needs == ()
    enhancement = tiny.Residual(tiny.Residual.Params(), LAYOUT)
    assert enhancement.quality_range is None and enhancement.prove() == ()
    side = SideInfo((torch.zeros(1, 3, 2, 2),), (16, 16))
    assert enhancement.latent([b""], side, Quality.of(2)) is None


# --- heads -----------------------------------------------------------------------------------------------------------


def test_the_kind_of_a_head_is_known_before_it_is_built(tiny: ModuleType) -> None:
    for cls, kind in (
        (tiny.Labels, "segmentation"),
        (tiny.Classes, "classification"),
        (tiny.Picture, "reconstruction"),
    ):
        assert cls.kind_of(ComponentParams()) == kind


def test_a_head_says_nothing_about_its_numbers(tiny: ModuleType) -> None:
    head = tiny.Labels(tiny.Labels.Params(), {"image": Level(3, 1)})
    assert (head.labels, head.aliases, head.colours, head.unit, head.most_pixels) == ((), (), (), "", None)


class Brighter(TaskHead):
    """Its picture is made from what it gives in training."""

    name: ClassVar[str] = "tests.brighter"
    kind = "reconstruction"

    def forward(self, features: Features) -> Tensor:
        return features.maps["image"]

    def predict(self, features: Features) -> Any:
        found = super().predict(features)
        return type(found)(found.kind, (found.output + 0.25).clamp(0, 1))

    def loss(self, output: Nest, target: Nest) -> Tensor:
        del target
        found: Tensor = output.flatten(1).sum(1)
        return found


def test_the_picture_of_a_head_is_what_it_predicts() -> None:
    head = Brighter(Brighter.Params(), {"image": Level(3, 1)})
    seen = Features({"image": torch.full((1, 3, 2, 4), 0.5)}, (2, 4))
    found = head.picture(seen)
    assert isinstance(found, Tensor) and torch.equal(found, torch.full((1, 3, 2, 4), 0.75))


def test_a_head_leaves_the_comparison_to_its_kind() -> None:
    head = Brighter(Brighter.Params(), {"image": Level(3, 1)})
    with pytest.raises(NotImplementedError, match=r"tests\.brighter leaves the comparison of outputs to its kind"):
        head.divergence(torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2))


# --- names that are gone ---------------------------------------------------------------------------------------------


def test_a_name_of_the_first_interface_is_told_and_any_other_is_not_there() -> None:
    with pytest.raises(ImportError, match="a kind is a string that names a registered kind now"):
        dataset_module.DataKind  # noqa: B018
    assert not hasattr(dataset_module, "DataKinds")
    with pytest.raises(AttributeError, match=r"module 'icm_core\.interfaces\.dataset' has no attribute 'DataKinds'"):
        dataset_module.DataKinds  # noqa: B018


# --- parameters that are components ----------------------------------------------------------------------------------


@pytest.fixture
def inside() -> Any:
    """Parameters that are components: one that must be there, one that may be, and several."""

    class Inside(ComponentParams):
        codec: Nested[Codec] = Field(description="what codes")
        perhaps: Nested[SideInfoAdapter] | None = Field(None, description="an adapter")
        several: tuple[Nested[TaskHead], ...] = Field((), description="heads")

    return Inside


def test_a_component_inside_keeps_the_name_it_was_found_by(tiny: ModuleType) -> None:
    made: Nested[Any] = Nested("lab.thumbnail", tiny.Thumbnail, tiny.Thumbnail.Params(steps=5))
    assert made.to_json() == {"use": "lab.thumbnail", "params": {"steps": 5}}
    assert made.cls is tiny.Thumbnail and made.params == tiny.Thumbnail.Params(steps=5)
    assert repr(made) == "Nested('lab.thumbnail', Params(steps=5))"


def test_components_inside_are_written_out_in_any_form(tiny: ModuleType, inside: Any) -> None:
    params = inside(codec=Nested.of(tiny.Thumbnail, steps=5), several=(Nested.of(tiny.Picture),))
    for written in (params.model_dump(), params.model_dump(mode="json")):
        assert written["codec"] == {"use": "tiny.thumbnail", "params": {"steps": 5}}
        assert written["perhaps"] is None
        assert list(written["several"]) == [{"use": "tiny.picture", "params": {}}]


def test_the_schema_of_a_component_inside_asks_for_its_name_alone(inside: Any) -> None:
    schema = inside.model_json_schema()
    found = schema["properties"]["codec"]
    assert found["required"] == ["use"] and found["additionalProperties"] is False
    assert found["properties"] == {"use": {"type": "string"}, "params": {"type": "object"}}
    assert found["x-icm-contract"] == "Codec"
    assert schema["properties"]["perhaps"]["anyOf"][0]["x-icm-contract"] == "SideInfoAdapter"


def test_components_inside_are_known_whether_or_not_they_have_a_default(inside: Any) -> None:
    assert nested_fields(inside) == {"codec": Codec, "perhaps": SideInfoAdapter, "several": TaskHead}
    assert nested_fields(ComponentParams) == {}


@pytest.mark.parametrize("wrong", [Nested[int], Nested, Nested[str]])  # type: ignore[type-var]
def test_a_field_of_no_contract_is_refused_where_it_is_written(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"names no contract; a field's type is like Nested\[Codec\]"):
        type("Wrong", (ComponentParams,), {"__annotations__": {"part": wrong}})


# --- parameters that are files ---------------------------------------------------------------------------------------


@pytest.fixture
def files() -> Any:
    """Parameters that are files, and one that is none."""

    class Files(ComponentParams):
        first: SpecPath = Field(description="a file")
        second: SpecPath | None = Field(None, description="another")
        more: tuple[SpecPath, ...] = Field((), description="further ones")
        word: str = Field("", description="no file")

    return Files


def test_a_path_is_the_place_that_was_given_whatever_is_there(tmp_path: Path) -> None:
    (tmp_path / "real.bin").write_bytes(b"1")
    link = tmp_path / "link.bin"
    link.symlink_to("real.bin")
    assert SpecPath("link.bin", link).path == link
    nothing = tmp_path / "nothing.bin"
    assert SpecPath("nothing.bin", nothing).path == nothing  # who reads it says that it is missing


def test_a_path_is_its_name_in_any_form(files: Any, tmp_path: Path) -> None:
    params = files(first=SpecPath("a/b.bin", tmp_path / "a" / "b.bin"))
    for written in (params.model_dump(), params.model_dump(mode="json")):
        assert written["first"] == "a/b.bin" and type(written["first"]) is str
    assert str(params.first) == "a/b.bin"


def test_the_schema_of_a_path_is_that_of_a_name(files: Any) -> None:
    properties = files.model_json_schema()["properties"]
    assert properties["first"] == {
        "description": "a file",
        "maxLength": 1000,
        "minLength": 1,
        "title": "First",
        "type": "string",
    }
    assert properties["second"]["anyOf"][0] == {"maxLength": 1000, "minLength": 1, "type": "string"}


def test_every_field_that_names_files_is_known(files: Any) -> None:
    class Named(SpecPath):
        """A path of its own type."""

    class More(BaseModel):
        own: Named

    assert path_fields(files) == ("first", "second", "more")
    assert path_fields(More) == ("own",)
