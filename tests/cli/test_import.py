"""``icm import``: weights from elsewhere become a pipeline's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from icm_core import Pipeline, load

Run = Callable[..., str]


@pytest.fixture
def more(tmp_path: Path) -> Path:
    """A spec that adds a task to the shipped pipeline; its weights are not there yet."""
    path = tmp_path / "more.json"
    task = {"adapter": {"use": "tiny.enlarge"}, "head": {"use": "tiny.classes", "params": {"classes": 2}}}
    weights = "more.safetensors"
    path.write_text(
        json.dumps({"icm": 1, "name": "more", "extends": "tiny-model", "tasks": {"two": task}, "weights": weights})
    )
    return path


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Weights of somebody's network, under its own names."""
    path = tmp_path / "network.safetensors"
    generator = torch.Generator().manual_seed(1)
    state: dict[str, torch.Tensor] = {
        "linear.weight": torch.randn(2, 3, generator=generator).half().float(),
        "linear.bias": torch.randn(2, generator=generator).half().float(),
        "norm.weight": torch.ones(2),
        "norm.bias": torch.zeros(2),
        "norm.running_mean": torch.zeros(2),
        "norm.running_var": torch.ones(2),
        "norm.num_batches_tracked": torch.tensor(0),
    }
    save_file(state, path)
    return path


def _part(pipe: Pipeline, path: str) -> dict[str, Any]:
    return {k.removeprefix(f"{path}."): v for k, v in pipe.state_dict().items() if k.startswith(f"{path}.")}


def test_a_networks_file_and_a_copied_adapter_become_the_pipelines_weights(run: Run, more: Path, network: Path) -> None:
    run("import", more, "--head", f"two={network}", "--adapter", "two=copy:coarse")
    assert {key.rsplit(".", 2)[0] for key in load_file(more.with_suffix(".safetensors"))} <= {
        "tasks.two.head",
        "tasks.two.adapter",
        "tasks.two.head.linear",
    }
    pipe = load(more, device="cpu")
    for key, value in load_file(network).items():
        assert torch.equal(_part(pipe, "tasks.two.head")[key], value)
    copied, source = _part(pipe, "tasks.two.adapter"), _part(pipe, "tasks.coarse.adapter")
    assert copied.keys() == source.keys() and all(torch.equal(copied[key], source[key]) for key in copied)


def test_what_is_copied_may_be_inherited(run: Run, more: Path) -> None:
    data = json.loads(more.read_text())
    data["tasks"]["two"]["head"]["params"]["classes"] = 7
    more.write_text(json.dumps(data))
    run("import", more, "--head", "two=copy:classification", "--adapter", "two=copy:coarse")
    copied, source = (_part(load(name, device="cpu"), path) for name, path in (
        (more, "tasks.two.head"), ("tiny-model", "tasks.classification.head")))  # fmt: skip
    assert copied.keys() == source.keys() and all(torch.equal(copied[key], source[key]) for key in copied)


def test_what_has_no_weights_yet_is_named_and_comes_later(run: Run, more: Path, network: Path) -> None:
    first = json.loads(run("import", more, "--head", f"two={network}", "--json"))
    assert first["missing"] == ["tasks.two.adapter"]
    second = json.loads(run("import", more, "--adapter", "two=copy:coarse", "--json"))
    assert second["parts"] == ["tasks.two.adapter", "tasks.two.head"] and second["missing"] == []
    assert torch.equal(
        _part(load(more, device="cpu"), "tasks.two.head")["linear.bias"], load_file(network)["linear.bias"]
    )


def test_a_file_under_the_pipelines_own_names_will_do(run: Run, more: Path, network: Path, tmp_path: Path) -> None:
    prefixed = tmp_path / "prefixed.safetensors"
    save_file({f"tasks.two.head.{key}": value for key, value in load_file(network).items()}, prefixed)
    run("import", more, "--head", f"two={prefixed}", "--adapter", "two=copy:coarse")
    assert torch.equal(
        _part(load(more, device="cpu"), "tasks.two.head")["linear.bias"], load_file(network)["linear.bias"]
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--head", "tow={network}"], "did you mean 'tasks.two.head'?"),
        (["--adapter", "two=copy:caorse"], "did you mean 'tasks.coarse.adapter'?"),
        (["--head", "two"], "--head is given as TASK=SOURCE"),
        (["--head", "two=gone.safetensors"], "there is no such file"),
        (["--head", "two=start:imagenet"], "tasks.two.head: 'tiny.classes' knows no pretrained weights 'imagenet'"),
        (["--head", "two=copy:classification"], "has the shape (7, 3), and the component needs (2, 3)"),
        ([], "nothing to import"),
    ],
)
def test_what_cannot_be_imported(fail: Run, more: Path, network: Path, arguments: list[str], says: str) -> None:
    given = [argument.replace("{network}", str(network)) for argument in arguments]
    assert says in fail("import", more, *given)
    assert not more.with_suffix(".safetensors").exists()


def test_a_network_of_other_names_is_refused_with_what_it_has(fail: Run, more: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"linear.wieght": torch.zeros(2, 3)}, other)
    assert "lacks 'linear.weight'; did you mean its 'linear.wieght'?" in fail("import", more, "--head", f"two={other}")
    save_file({name: torch.zeros(1) for name in "wxyz"}, other)
    assert "lacks 'linear.weight'; it has w, x, y, ...\n" in fail("import", more, "--head", f"two={other}")


@pytest.mark.parametrize(("weights", "says"), [(None, "names no weights"), (["a", "b"], "names 2 weights")])
def test_which_file_is_written_has_to_be_clear(
    fail: Run, more: Path, network: Path, weights: list[str] | None, says: str
) -> None:
    files = {} if weights is None else {"weights": [f"{name}.safetensors" for name in weights]}
    data = {key: value for key, value in json.loads(more.read_text()).items() if key != "weights"}
    more.write_text(json.dumps(data | files))
    message = fail("import", more, "--head", f"two={network}")
    assert f"{says} of its own, so say with -o which file to write" in message


def test_a_shipped_pipeline_needs_a_file_to_write_to(fail: Run, run: Run, tmp_path: Path) -> None:
    assert "say with -o which file to write" not in run(
        "import", "tiny-model", "--adapter", "classification=copy:coarse", "-o", tmp_path / "new.safetensors"
    )
    assert {key.split(".")[1] for key in load_file(tmp_path / "new.safetensors")} == {"classification"}
