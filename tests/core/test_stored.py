"""What files of weights hold and refuse: shared parameters, values that no table can have, parts that begin alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from icm_core import Pipeline, Registry, WeightsError, build, parse_spec
from icm_core.pipeline import weights as w
from icm_core.spec.extends import Inherited


class Table(nn.Module):
    """A table of whole numbers whose sum is at most 5, beside a limit of its own."""

    table: Tensor
    limit: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.zeros(2, dtype=torch.int32))
        self.register_buffer("limit", torch.tensor(5))

    def problem(self, values: Mapping[str, Tensor]) -> tuple[str, str] | None:
        wrong = int(values["table"].sum()) > int(values["limit"])
        return ("table", f"sums up to {int(values['table'].sum())}") if wrong else None


def ints(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int32)


def test_a_parameter_of_two_names_is_a_parameter_under_both(pipeline: Pipeline) -> None:
    pipeline.task("classes").adapter.color = pipeline.task("labels").adapter.color
    found = w.stored_state(pipeline)
    for task in ("labels", "classes", "coarse"):
        assert found[f"tasks.{task}.adapter.color.weight"].dtype == torch.float16
    assert found["tasks.classes.head.norm.running_mean"].dtype == torch.float32


def test_a_value_that_no_table_can_have_is_refused_with_its_file(tmp_path: Path) -> None:
    above, own = tmp_path / "above.safetensors", tmp_path / "own.safetensors"
    codec = Table()
    module = nn.ModuleDict({"codec": codec})
    save_file({"codec.table": ints(2, 3), "codec.limit": torch.tensor(5)}, above)
    inherited = [Inherited(above, frozenset({"codec"}))]
    w.load_weights(module, [], inherited=inherited)
    assert codec.table.tolist() == [2, 3]
    save_file({"codec.table": ints(2, 4)}, own)
    with pytest.raises(WeightsError, match=rf"^{own}: 'codec\.table' sums up to 6$"):
        w.load_weights(module, [own], inherited=inherited)
    with pytest.raises(WeightsError, match=r"sums up to 6$"):
        w.load_weights(module, [own], partly=True)  # the limit is the module's own then
    assert codec.table.tolist() == [2, 3]
    save_file({"codec.table": ints(9, 0), "codec.limit": torch.tensor(5)}, above)
    with pytest.raises(WeightsError, match=rf"^{above}: 'codec\.table' sums up to 9$"):
        w.load_weights(module, [], inherited=inherited)


def test_what_could_not_be_loaded_is_not_saved(pipeline: Pipeline, tmp_path: Path) -> None:
    more = Table()
    pipeline.task("labels").head.more = more
    w.save(pipeline, {tmp_path / "all.safetensors": [""]})
    more.table += 3
    with pytest.raises(WeightsError, match=r"^'tasks\.labels\.head\.more\.table' sums up to 6$"):
        w.save(pipeline, {tmp_path / "wrong.safetensors": [""]})
    assert [path.name for path in tmp_path.iterdir()] == ["all.safetensors"]


def test_parts_that_were_exchanged_are_left_out_and_no_others(tmp_path: Path) -> None:
    module = nn.ModuleDict({"codec": nn.ModuleDict({"net": nn.Linear(1, 1), "net2": nn.Linear(1, 1)})})
    before = {key: value.clone() for key, value in module.state_dict().items()}
    save_file({key: value + 1 for key, value in before.items()}, tmp_path / "above.safetensors")
    source = Inherited(tmp_path / "above.safetensors", frozenset({"codec"}), frozenset({"codec.net"}))
    w.load_weights(module, [], inherited=[source], partly=True)
    changed = {key for key, value in module.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"codec.net2.weight", "codec.net2.bias"}


@pytest.mark.parametrize(("left", "more"), [(0, " and 2 more"), (1, " and 1 more"), (2, "")])
def test_how_many_keys_a_file_lacks_is_said(tmp_path: Path, left: int, more: str) -> None:
    module = nn.ModuleDict({"codec": nn.Linear(4, 2), "enhancement": nn.Linear(4, 2, bias=False)})
    keys = list(module.state_dict())
    file = tmp_path / "some.safetensors"
    save_file({key: module.state_dict()[key].clone() for key in keys[3 - left :]}, file)
    with pytest.raises(WeightsError) as caught:
        w.load_weights(module, [file])
    assert str(caught.value) == f"{file}: lacks 'codec.weight' of shape (2, 4){more}, which this pipeline needs"


def test_of_two_files_the_second_may_not_be_too_large_either(pipeline: Pipeline, tmp_path: Path) -> None:
    small, large = tmp_path / "small.safetensors", tmp_path / "large.safetensors"
    files = {small: ["codec.", "enhancement.", "tasks.coarse."], large: ["tasks.labels.", "tasks.classes."]}
    w.save(pipeline, files)
    sizes = [path.stat().st_size for path in files]
    assert sizes[0] < sizes[1]
    for path in files:
        path.unlink()
    with pytest.raises(WeightsError, match=f"{large}: {sizes[1]} bytes, above the limit of {sizes[1] - 1}"):
        w.save(pipeline, files, max_bytes=sizes[1] - 1)
    assert not list(tmp_path.iterdir())


def test_metadata_stands_in_one_order(pipeline: Pipeline, tmp_path: Path) -> None:
    """The library alone writes it in another one from process to process, and from map to map."""
    file = tmp_path / "all.safetensors"
    for _ in range(5):
        w.save(pipeline, {file: [""]})
        blob = file.read_bytes()
        start = blob.index(b'"__metadata__"')
        places = [blob.index(f'"{key}"'.encode(), start) for key in ("format", w.BASE, w.ENHANCEMENT, w.NAME)]
        assert places == sorted(places)
    assert load_file(file).keys() == pipeline.state_dict().keys()


def test_tables_of_another_part_whose_name_begins_alike_are_not_looked_at(tmp_path: Path) -> None:
    module = nn.ModuleDict({"a": Table(), "ab": Table()})
    module.get_buffer("a.table").fill_(9)  # what it has now is nobody's business while nothing is loaded into it
    save_file({"ab.table": ints(1, 4), "ab.limit": torch.tensor(5)}, tmp_path / "x.safetensors")
    w.load_weights(module, [tmp_path / "x.safetensors"], partly=True)
    assert module.get_buffer("ab.table").tolist() == [1, 4]
    save_file({"ab.table": ints(2, 4)}, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match=r"x\.safetensors: 'ab\.table' sums up to 6$"):
        w.load_weights(module, [tmp_path / "x.safetensors"], partly=True)


@pytest.mark.parametrize("length", range(1, 9))
def test_headers_are_filled_up_to_eight_bytes_and_no_further(
    registry: Registry, data: dict[str, Any], tmp_path: Path, length: int
) -> None:
    pipe = build(parse_spec({**data, "name": "n" * length}), registry)
    w.save(pipe, {tmp_path / "x.safetensors": [""]})
    blob = (tmp_path / "x.safetensors").read_bytes()
    size = int.from_bytes(blob[:8], "little")
    header = blob[8 : 8 + size]
    assert size % 8 == 0 and len(header) - len(header.rstrip(b" ")) < 8 and header.endswith((b"}", b" "))
    assert w.metadata(tmp_path / "x.safetensors") == json.loads(header)["__metadata__"]
    assert [*json.loads(header)["__metadata__"]] == sorted(w.metadata(tmp_path / "x.safetensors"))
    assert w.metadata(tmp_path / "x.safetensors")["icm.name"] == "n" * length
    for key, value in load_file(tmp_path / "x.safetensors").items():
        assert torch.equal(value, w.stored_state(pipe)[key])


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a disk fails."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("input/output error")

    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors")
    monkeypatch.setattr(w, "safe_open", refuse)
    for read in (w.metadata, w.read_tensors):
        with pytest.raises(WeightsError, match=r"x\.safetensors: not a readable safetensors file: input/output error"):
            read(tmp_path / "x.safetensors")


def test_tensors_are_read_as_they_are_and_all_metadata(tmp_path: Path) -> None:
    tensors = {"half": torch.ones(2).half(), "whole": ints(3, 2**30 + 1), "double": torch.full((1,), 0.1).double()}
    save_file(tensors, tmp_path / "x.safetensors", {"theirs": "yes", "icm.name": "lab"})
    found = w.read_tensors(tmp_path / "x.safetensors")
    assert found.keys() == tensors.keys()
    assert all(found[key].dtype == value.dtype and torch.equal(found[key], value) for key, value in tensors.items())
    assert w.metadata(tmp_path / "x.safetensors") == {"theirs": "yes", "icm.name": "lab"}
    save_file(tensors, tmp_path / "x.safetensors")
    assert w.metadata(tmp_path / "x.safetensors") == {}


@pytest.mark.parametrize(
    ("held", "own", "fits"),
    [
        (torch.float16, torch.float32, True),
        (torch.float64, torch.float16, True),
        (torch.int32, torch.int32, True),
        (torch.int64, torch.int32, False),
        (torch.int32, torch.float32, False),
        (torch.float32, torch.int32, False),
        (torch.bool, torch.uint8, False),
    ],
)
def test_real_numbers_take_the_modules_type_and_whole_ones_must_have_it(
    tmp_path: Path, held: torch.dtype, own: torch.dtype, fits: bool
) -> None:
    module = nn.Module()
    module.register_buffer("table", torch.zeros(3, dtype=own))
    save_file({"table": torch.ones(3, dtype=held)}, tmp_path / "x.safetensors")
    if fits:
        w.load_weights(module, [tmp_path / "x.safetensors"])
        assert module.get_buffer("table").dtype == own and module.get_buffer("table").tolist() == [1, 1, 1]
    else:
        with pytest.raises(WeightsError, match=f"'table' is of {held}, and the pipeline needs {own}"):
            w.load_weights(module, [tmp_path / "x.safetensors"])


def test_what_is_missing_is_missing_whether_or_not_something_is_inherited(tmp_path: Path) -> None:
    module = nn.ModuleDict({"codec": nn.Linear(2, 2), "enhancement": nn.Linear(2, 1)})
    save_file({"codec.weight": torch.ones(2, 2), "codec.bias": torch.ones(2)}, tmp_path / "base.safetensors")
    inherited = [Inherited(tmp_path / "base.safetensors", frozenset({"codec"}))]
    with pytest.raises(WeightsError, match=r"lacks 'enhancement\.weight' .* and 1 more, .*\(of enhancement; "):
        w.load_weights(module, [], inherited=inherited)
    w.load_weights(module, [], inherited=inherited, partly=True)
    assert module.get_parameter("codec.bias").tolist() == [1, 1]


def test_each_of_several_inherited_files_gives_what_it_has(tmp_path: Path) -> None:
    module = nn.ModuleDict({"codec": nn.Linear(2, 2), "enhancement": nn.Linear(2, 1)})
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    save_file({"codec.weight": torch.ones(2, 2), "codec.bias": torch.ones(2)}, first)
    save_file({"enhancement.weight": torch.ones(1, 2) * 2, "enhancement.bias": torch.ones(1) * 2}, second)
    inherited = [Inherited(first, frozenset({"codec"})), Inherited(second, frozenset({"enhancement"}))]
    w.load_weights(module, [], inherited=inherited)
    assert module.get_parameter("codec.bias").tolist() == [1, 1]
    assert module.get_parameter("enhancement.weight").tolist() == [[2, 2]]
