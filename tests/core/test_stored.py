"""What files of weights hold and refuse: shared parameters, values that no table can have, parts that begin alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from icm_core import Pipeline, WeightsError
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
