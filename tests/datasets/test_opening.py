"""Data sets as they are asked for by name, folder and size."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
from pydantic import Field
from torchvision.transforms.v2 import functional as tvf

from icm_core import InputError, Registry, build_registry, hookimpl
from icm_core.interfaces import ComponentParams, DataSet, DataSetParams, Sample
from icm_core.interfaces.dataset import PICTURES
from icm_core.plugins.datasets import build_dataset, find_dataset, open_dataset
from icm_core.plugins.resized import Resized, new_size


class Made(DataSet):
    """Pictures of 6x9 with the place of each pixel as its class."""

    name = "lab.made"
    kind = "segmentation"
    labels = tuple(f"class {number}" for number in range(54))
    ignore_index = 255

    class Params(DataSetParams):
        """How many, and what they are called."""

        count: int = Field(1, description="how many")
        prefix: str = Field("a", description="what their names begin with")

    params: Params

    def __len__(self) -> int:
        return self.params.count

    def __getitem__(self, number: int) -> Sample:
        places = torch.arange(54, dtype=torch.uint8).view(6, 9)
        return Sample(f"{self.params.prefix}{number}", (places * 4).expand(3, 6, 9), places)


class Plain(Made):
    """The same without targets."""

    name = "lab.plain"
    kind = PICTURES


class Fixed(Made):
    """A data set whose parameters have no size."""

    name = "lab.fixed"

    class Params(ComponentParams):
        """How many."""

        count: int = Field(1, description="how many")
        prefix: str = Field("a", description="what their names begin with")


class Broken(Made):
    """A class that cannot be used."""

    name = "lab.broken"
    kind = "no kind"


class Homeless(Made):
    """Raises as `Path.home` does."""

    name = "lab.homeless"

    def __init__(self, params: ComponentParams, root: Path, split: str) -> None:
        super().__init__(params, root, split)
        raise RuntimeError("Could not determine home directory.")


@pytest.fixture(scope="module")
def registry() -> Registry:
    module = ModuleType("lab")
    found = [Made, Plain, Fixed, Broken, Homeless]
    setattr(module, "icm_datasets", hookimpl(lambda: found, specname="icm_datasets"))  # noqa: B010
    return build_registry(path=[], extra={"lab": module})


def test_a_folder_may_have_a_colon_in_its_name(registry: Registry) -> None:
    assert open_dataset("made:C:/data/a:b", "val", registry).root == Path("C:/data/a:b")


def test_parameters_and_split_reach_the_data_set_with_and_without_a_size(registry: Registry) -> None:
    for size in (None, 3, [4, 2], [6, 9]):
        data = open_dataset("made:any", "train", registry, {"count": 2, "prefix": "b", "size": size})
        assert (len(data), data.split, data.root, data[1].key) == (2, "train", Path("any"), "b1")
        assert isinstance(data, Resized) is (size is not None)
    fixed = open_dataset("fixed:any", "train", registry, {"count": 4})
    assert type(fixed) is Fixed and len(fixed) == 4


def test_a_resized_data_set_tells_with_which_parameters_it_was_asked_for(registry: Registry) -> None:
    data = open_dataset("made:any", "train", registry, {"count": 2, "size": [4, 2]})
    assert data.params.model_dump() == {"count": 2, "prefix": "a", "size": (4, 2)}
    assert (data.name, data.kind, data.ignore_index, len(data.labels)) == ("lab.made", "segmentation", 255, 54)


def test_without_targets_no_kind_is_looked_up(registry: Registry) -> None:
    def asked(name: str) -> None:
        raise AssertionError(name)

    data = build_dataset(Plain, Plain.Params(size=3), Path(), "", asked)  # type: ignore[arg-type, call-arg]
    assert data.kind == PICTURES and data[0].picture.shape == (3, 3, 5)


def test_what_is_installed_but_cannot_be_used_is_found_by_its_short_name(registry: Registry) -> None:
    with pytest.raises(InputError, match=r"data set 'lab\.broken' of this process .* cannot be used: its kind is"):
        find_dataset("broken", registry)
    assert find_dataset("made", registry) is Made
    with pytest.raises(InputError, match=r"unknown data set 'mad'; did you mean 'made'\?"):
        find_dataset("mad", registry)
    with pytest.raises(InputError, match=r"unknown data set 'lab'; .*known: broken, fixed, homeless, made, plain$"):
        find_dataset("lab", registry)


def test_whatever_a_data_set_raises_is_said_with_what_was_asked_for(registry: Registry) -> None:
    with pytest.raises(InputError, match=r"^homeless:any: Could not determine home directory\.$"):
        open_dataset("homeless:any", "val", registry)
    with pytest.raises(InputError, match=r"^made:~no-such-user-here/x: "):
        open_dataset("made:~no-such-user-here/x", "val", registry)


def test_a_reduced_picture_is_smoothed_and_its_classes_are_not(registry: Registry) -> None:
    whole = open_dataset("made:any", "val", registry)[0]
    small = open_dataset("made:any", "val", registry, {"size": [2, 3]})[0]
    assert isinstance(small.target, torch.Tensor) and isinstance(whole.target, torch.Tensor)
    assert small.target.tolist() == whole.target[1::3, 1::3].tolist()  # the centre of each 3x3 block
    assert torch.equal(small.picture, tvf.resize(whole.picture, [2, 3], antialias=True))
    assert not torch.equal(small.picture, tvf.resize(whole.picture, [2, 3], antialias=False))


@pytest.mark.parametrize("tall", [True, False])
def test_a_side_beyond_what_a_file_holds_is_refused_down_and_across(registry: Registry, tall: bool) -> None:
    data = open_dataset("plain:any", "val", registry, {"size": [32768, 1] if tall else [1, 32768]})
    assert max(data[0].picture.shape) == 32768
    wide = torch.zeros(3, 1, 300, dtype=torch.uint8)
    cls = type("Long", (Plain,), {"__getitem__": lambda self, number: Sample("long", wide.mT if tall else wide, None)})
    shown = "1x300 pixels, and 300x90000" if tall else "300x1 pixels, and 90000x300"
    with pytest.raises(InputError, match=f"long has {shown} with the size 300"):
        _ = build_dataset(cls, Plain.Params.model_validate({"size": 300}), Path(), "", registry.kind)[0]


@pytest.mark.parametrize(
    ("old", "wanted", "new"),
    [
        ((480, 640), 241, (241, 321)),  # 321.33
        ((480, 642), 240, (240, 321)),
        ((3, 5), 2, (2, 3)),  # 3.33
        ((4, 6), 3, (3, 5)),  # 4.5 is rounded up
        ((6, 4), 3, (5, 3)),
        ((1, 1000), 1, (1, 1000)),
        ((480, 640), (7, 9), (7, 9)),
    ],
)
def test_the_longer_side_is_rounded_to_the_nearest_pixel(
    old: tuple[int, int], wanted: int | tuple[int, int], new: tuple[int, int]
) -> None:
    assert new_size(old, wanted) == new
