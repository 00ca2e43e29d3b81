"""The proof over SICMH's whole coding path, and tables that no training writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from icm_core import Pipeline, WeightsError, build, build_registry, parse_spec
from icm_core.cli import app
from icm_core.coding import LIMIT
from icm_core.coding.rans import MAX_SYMBOL
from icm_core.pipeline.weights import load_weights, save

SPEC = {
    "icm": 1,
    "name": "toy",
    "codec": {
        "use": "sicmh.hyperprior",
        "params": {"width": 8, "h1_channels": 8, "h2_channels": 4, "groups": 2, "context_channels": 8, "qualities": 2},
    },
    "tasks": {"coarse": {"adapter": {"use": "sicmh.one_scale"}, "head": {"use": "sicmh.coarse"}}},
    "enhancement": {"use": "sicmh.residual", "over": "coarse", "params": {"qualities": 2}},
}


@pytest.fixture(scope="module")
def settled() -> Pipeline:
    torch.manual_seed(0)
    pipeline = build(parse_spec(SPEC), build_registry()).requires_grad_(False)
    pipeline.codec.freeze_tables()
    assert pipeline.enhancement is not None
    pipeline.enhancement.freeze_tables()
    return pipeline


@pytest.fixture
def stored(settled: Pipeline, tmp_path: Path) -> Path:
    path = tmp_path / "toy.safetensors"
    save(settled, {path: [""]})
    return path


def test_every_sum_and_every_gain_of_the_coding_path_is_in_the_proof(settled: Pipeline) -> None:
    assert settled.enhancement is not None
    path = [
        f"{place}.{name}"
        for place, module, parts in (
            ("codec", settled.codec, ("decoder_h2", "prediction", "cahcm")),
            ("enhancement", settled.enhancement, ("decoder_h1r", "prediction")),
        )
        for part in parts
        for name, layer in module.named_modules()
        if name.startswith(part) and isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
    ]
    bounds = settled.prove()
    assert sorted(b.layer for b in bounds if b.arithmetic == "float64 sum") == sorted(path)
    products = [b.layer for b in bounds if b.arithmetic == "int64 product"]
    assert products == ["codec.gain_h1", "codec.gain_h2", "enhancement.gain"]
    assert all(b.margin_bits > 0 for b in bounds)


def test_each_gain_is_in_the_proof_with_its_own_largest_product(settled: Pipeline) -> None:
    pipeline = build(parse_spec(SPEC), build_registry()).requires_grad_(False)
    log2 = {"codec.gain_h1": 3, "codec.gain_h2": 7, "enhancement.gain": -2}
    for unit, value in log2.items():
        pipeline.get_parameter(f"{unit}.log2_gain").fill_(value)
    pipeline.codec.freeze_tables()
    assert pipeline.enhancement is not None
    pipeline.enhancement.freeze_tables()
    expected = {}
    for unit, value in log2.items():
        gain, inverse = 2 ** (12 + value), 2 ** (20 - value)
        expected[unit] = max(2 * LIMIT * gain, ((MAX_SYMBOL << 12) + 2 * LIMIT * gain // 2**12 + 1) * inverse)
    assert {b.layer: b.largest for b in pipeline.prove() if b.layer in expected} == expected
    assert len(set(expected.values())) == 3


def overflowing(weight: Tensor, bias: Tensor) -> None:
    weight.fill_(1e-5)  # a fine scale, which a large offset does not fit
    bias.fill_(60_000.0)


@pytest.mark.parametrize(
    "layer",
    ["codec.decoder_h2.3", "codec.prediction.7", "codec.cahcm.networks.1.2", "enhancement.decoder_h1r.6"],
)
def test_weights_that_could_overflow_are_not_exported(settled: Pipeline, tmp_path: Path, layer: str) -> None:
    pipeline = build(parse_spec(SPEC), build_registry()).requires_grad_(False)
    pipeline.load_state_dict(settled.state_dict())
    module = pipeline.get_submodule(layer)
    overflowing(module.get_parameter("weight"), module.get_parameter("bias"))
    with pytest.raises(WeightsError, match=f"layer '{layer}' of the coding path can"):
        save(pipeline, {tmp_path / "x.safetensors": [""]})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("unit", ["codec.gain_h1", "codec.gain_h2", "enhancement.gain"])
def test_gains_that_could_overflow_are_refused(settled: Pipeline, unit: str) -> None:
    pipeline = build(parse_spec(SPEC), build_registry())
    pipeline.load_state_dict(settled.state_dict())
    pipeline.get_buffer(f"{unit}.table")[0, :2, 1] = 2**30  # a gain and its inverse, far above what freezing writes
    # A mean of 2**24, gained by 2**30 / 2**12, times the inverse, 2**30.
    with pytest.raises(WeightsError, match=rf"layer '{unit}' of the coding path can reach 2\^72\.0 in a int64 product"):
        pipeline.prove()


def set_to(value: int, row: int) -> Callable[[Tensor], None]:
    def change(table: Tensor) -> None:
        table[3, row, 1] = value

    return change


INSANE: list[tuple[str, Callable[[Tensor], None], str]] = [
    ("codec.gain_h1.table", set_to(2**31 - 1, 0), "has gains from"),
    ("codec.gain_h1.table", set_to(0, 0), "has gains from 0"),
    ("codec.gain_h2.table", set_to(-5, 0), "has gains from -5"),
    ("enhancement.gain.table", set_to(2**31 - 1, 1), "has inverse gains that do not belong"),
    ("enhancement.gain.table", set_to(-(2**31), 2), "has logarithms that do not belong"),
    ("codec.h2_cdf", lambda cdf: cdf[3, 1, 5:7].fill_(9), "has a row that does not rise from 0 to 65536"),
    ("codec.h2_cdf", lambda cdf: cdf[3, 1, 6:7].copy_(cdf[3, 1, 5:6]), "has a row that does not rise"),
    ("codec.h2_cdf", lambda cdf: cdf[3, 1, -1:].fill_(70_000), "has a row that does not rise from 0 to 65536"),
    ("codec.h2_first", lambda first: first[3].fill_(2**31 - 1), "has a first symbol beyond"),
    ("codec.h2_first", lambda first: first[3, :1].fill_(-(2**24) - 1), "has a first symbol beyond +-16777216"),
]


@pytest.mark.parametrize(("key", "change", "says"), INSANE, ids=[f"{k} {s}" for k, _, s in INSANE])
def test_an_insane_table_is_refused_by_its_key(
    stored: Path, key: str, change: Callable[[Tensor], None], says: str
) -> None:
    tensors = safetensors.torch.load_file(stored)
    change(tensors[key])
    safetensors.torch.save_file(tensors, stored)
    fresh = build(parse_spec(SPEC), build_registry())
    before = {name: value.clone() for name, value in fresh.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_weights(fresh, [stored])
    assert str(caught.value).startswith(f"{stored}: '{key}' {says}")
    assert all(torch.equal(value, before[name]) for name, value in fresh.state_dict().items())


def test_an_insane_table_is_not_exported_either(settled: Pipeline, tmp_path: Path) -> None:
    pipeline = build(parse_spec(SPEC), build_registry())
    pipeline.load_state_dict(settled.state_dict())
    pipeline.codec.get_buffer("gain_h1.table")[0, 0, 0] = 7
    with pytest.raises(WeightsError, match=r"'codec\.gain_h1\.table' has gains from 7"):
        save(pipeline, {tmp_path / "x.safetensors": [""]})


def test_tables_that_were_never_frozen_can_be_stored(tmp_path: Path) -> None:
    pipeline = build(parse_spec(SPEC), build_registry())
    save(pipeline, {tmp_path / "x.safetensors": [""]})
    load_weights(build(parse_spec(SPEC), build_registry()), [tmp_path / "x.safetensors"])


def test_gains_at_both_ends_of_their_range_are_sane_and_exact(settled: Pipeline) -> None:
    pipeline = build(parse_spec(SPEC), build_registry()).requires_grad_(False)
    pipeline.codec.get_parameter("gain_h1.log2_gain").copy_(torch.tensor([-50.0, 50.0] * 4))
    pipeline.codec.freeze_tables()
    unit = pipeline.codec.get_submodule("gain_h1")
    assert unit.problem({"table": unit.table}) is None
    assert all(bound.margin_bits > 0 for bound in pipeline.codec.prove())


def test_check_exact_prints_layer_bound_and_margin(settled: Pipeline, stored: Path) -> None:
    spec = stored.with_suffix(".json")
    spec.write_text(json.dumps({**SPEC, "weights": stored.name}))
    table = CliRunner().invoke(app, ["check", str(spec), "--exact"])
    assert table.exit_code == 0 and "codec.cahcm.networks.1.4" in table.stdout and "margin" in table.stdout
    found = json.loads(CliRunner().invoke(app, ["check", str(spec), "--exact", "--json"]).stdout)
    assert [row["layer"] for row in found["layers"]] == [bound.layer for bound in settled.prove()]
    assert all(row["largest"] < row["limit"] and row["margin_bits"] > 0 for row in found["layers"])
