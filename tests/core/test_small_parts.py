"""Values that are kept while weights stay, pictures as features, the package's own names, the coder's modules."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

import icm_core
from icm_core import SideInfo, SideInfoLayout, SpecError
from icm_core.adapters import DecodedPicture
from icm_core.coding import coder
from icm_core.coding.coder import extension
from icm_core.coding.weight_cache import Memo
from icm_core.types import Level

# --- values kept -----------------------------------------------------------------------------------------------------


class Counted:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> int:
        self.times += 1
        return self.times


def layer() -> nn.BatchNorm1d:
    """A layer with parameters and buffers."""
    return nn.BatchNorm1d(3)


def add_to_a_parameter(made: nn.BatchNorm1d) -> None:
    with torch.no_grad():
        made.weight.add_(1)


def add_to_a_buffer(made: nn.BatchNorm1d) -> None:
    assert made.running_mean is not None
    made.running_mean.add_(1)


def replace_a_buffer(made: nn.BatchNorm1d) -> None:
    made.running_mean = torch.zeros(3)


def replace_a_parameter(made: nn.BatchNorm1d) -> None:
    made.weight = nn.Parameter(torch.ones(3))


def load_a_state(made: nn.BatchNorm1d) -> None:
    made.load_state_dict(layer().state_dict())


def remove_a_buffer(made: nn.BatchNorm1d) -> None:
    made.running_var = None


CHANGES = [
    add_to_a_parameter,
    add_to_a_buffer,
    replace_a_buffer,
    replace_a_parameter,
    load_a_state,
    remove_a_buffer,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_value_is_computed_again_once_after_each_change(change: Callable[[nn.BatchNorm1d], None]) -> None:
    made, compute, memo = layer(), Counted(), Memo[int]()
    assert [memo.get([made], compute) for _ in range(3)] == [1, 1, 1]
    change(made)
    assert [memo.get([made], compute) for _ in range(3)] == [2, 2, 2]


def test_a_value_belongs_to_all_of_its_modules_in_their_order() -> None:
    one, other, compute, memo = layer(), layer(), Counted(), Memo[int]()
    assert [memo.get(modules, compute) for modules in ([one, other], [one, other], [other, one], [one])] == [1, 1, 2, 3]
    assert [memo.get(modules, compute) for modules in ([one, other], [one], [], [one])] == [4, 5, 6, 7]


def test_other_numbers_in_the_same_memory_are_other_weights() -> None:
    made, compute, memo = nn.Linear(3, 3, bias=False), Counted(), Memo[int]()
    assert memo.get([made], compute) == 1
    made.weight = nn.Parameter(made.weight.detach().t())  # at the same address, and nobody has written to it
    assert [memo.get([made], compute) for _ in range(2)] == [2, 2]


def test_a_value_is_forgotten_on_request_and_is_not_copied() -> None:
    made, compute, memo = layer(), Counted(), Memo[int]()
    memo.get([made], compute)
    for other in (copy.deepcopy(memo), pickle.loads(pickle.dumps(memo))):
        assert other is not memo and other.get([made], Counted()) == 1
        other.clear()
    assert memo.get([made], compute) == 1  # what was done to copies is nothing to it
    memo.clear()
    assert memo.get([made], compute) == 2


def test_weights_made_in_inference_mode_are_kept_for_too() -> None:
    """PyTorch does not count what is written to them."""
    with torch.inference_mode():
        made = layer()
    compute, memo = Counted(), Memo[int]()
    assert [memo.get([made], compute) for _ in range(2)] == [1, 1]


# --- a picture as features -------------------------------------------------------------------------------------------


def adapter(of: str) -> DecodedPicture:
    return DecodedPicture(DecodedPicture.Params(of=of), SideInfoLayout((Level(4, 16),), 4))


def test_of_several_pictures_the_named_one_is_read() -> None:
    pictures = {name: torch.full((1, 3, 2, 4), value) for name, value in (("coarse", 0.25), ("fine", 0.75))}
    side = SideInfo((torch.zeros(1, 4, 1, 1),), (2, 3), pictures)
    for name, value in (("coarse", 0.25), ("fine", 0.75)):
        made = adapter(name)
        found = made(side)
        assert made.needs == (name,) and dict(made.features) == {"image": Level(3, 1)}
        assert found.size == (2, 3) and found.maps["image"].unique().tolist() == [value]


def test_a_picture_that_was_not_decoded_is_named() -> None:
    side = SideInfo((torch.zeros(1, 4, 1, 1),), (2, 3), {"coarse": torch.zeros(1, 3, 2, 4)})
    with pytest.raises(SpecError, match=r"'core\.decoded_picture' reads the picture 'fine', which was not decoded"):
        adapter("fine")(side)


def test_which_picture_has_to_be_said() -> None:
    for params in ({}, {"of": ""}):
        with pytest.raises(ValidationError):
            DecodedPicture.Params.model_validate(params)


# --- names of the package --------------------------------------------------------------------------------------------


def test_every_public_name_is_there_and_is_looked_up_once() -> None:
    for name in icm_core.__all__:
        found = getattr(icm_core, name)
        assert vars(icm_core)[name] is found
    assert {*icm_core.__all__, "errors"} <= set(dir(icm_core)) and dir(icm_core) == sorted(dir(icm_core))
    with pytest.raises(AttributeError, match="module 'icm_core' has no attribute 'Nothing'"):
        icm_core.Nothing  # noqa: B018


def test_names_are_listed_before_they_are_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(vars(icm_core), "json_schema", raising=False)
    assert "json_schema" in dir(icm_core)
    assert icm_core.json_schema is importlib.import_module("icm_core.spec.schema").json_schema


# --- the coder's modules ---------------------------------------------------------------------------------------------


def test_the_coders_module_is_the_one_that_its_package_has() -> None:
    assert extension("ans") is extension("ans") is sys.modules["compressai.ans"]
    assert extension("ans") is importlib.import_module("compressai.ans")


@pytest.fixture
def another_coder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with a compiled module, in the coder's place; gives its folder."""
    compiled = importlib.util.find_spec("_bisect")
    if compiled is None or compiled.origin is None or not Path(compiled.origin).is_file():
        pytest.skip("this Python has its own modules built in, so there is no compiled one to copy")
    folder = tmp_path / "lab_coder"
    folder.mkdir()
    shutil.copy(compiled.origin, folder)
    (folder / "__init__.py").write_text("")
    (folder / "plain.py").write_text("is_plain = True")
    monkeypatch.setattr(coder, "_PACKAGE", folder.name)
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == folder.name]:
        del sys.modules[name]


def test_a_compiled_module_is_loaded_once_and_without_its_package(another_coder: Path) -> None:
    (another_coder / "__init__.py").write_text("raise ImportError('the whole package')")
    found = extension("_bisect")
    assert found.bisect_left([10, 20, 30], 20) == 1
    assert "lab_coder" not in sys.modules
    assert extension("_bisect") is found is sys.modules["lab_coder._bisect"]


def test_behind_its_package_a_compiled_module_is_imported_as_ever(another_coder: Path) -> None:
    package = importlib.import_module(another_coder.name)
    assert extension("_bisect") is package._bisect


def test_a_module_that_is_not_compiled_is_imported_as_ever(another_coder: Path) -> None:
    assert extension("plain").is_plain and another_coder.name in sys.modules


def test_without_the_package_its_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "compressai"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    with pytest.raises(ModuleNotFoundError, match="No module named 'compressai'") as caught:
        extension("ans")
    assert caught.value.name == "compressai"


def test_tensors_are_features_of_the_whole_picture() -> None:
    picture: Tensor = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    side = SideInfo((torch.zeros(2, 4, 1, 1),), (5, 7), {"coarse": picture})
    assert adapter("coarse")(side).maps["image"] is picture
