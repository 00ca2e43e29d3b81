"""Specs and weights that somebody else wrote: nothing large is built for them, and what does not fit is named."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import icm_core
from icm_core import BitstreamError, SpecError, build, build_registry, load, parse_spec
from icm_core.pipeline.build import MAX_BYTES
from icm_core.plugins.registry import Registry

GOLDEN = Path(__file__).parents[1] / "golden"
WIDEST = {"width": 512, "h1_channels": 1024, "h2_channels": 512, "groups": 32, "context_channels": 512}
SHIPPED = ("sicmh.", "tasks.")


@pytest.fixture(scope="module")
def registry() -> Registry:
    return build_registry()


def spec(tasks: int, **codec: int) -> dict[str, Any]:
    task = {"adapter": {"use": "sicmh.multi_scale"}, "head": {"use": "sicmh.coarse"}}
    return {
        "icm": 1,
        "name": "bomb",
        "codec": {"use": "sicmh.hyperprior", "params": codec},
        "tasks": {f"t{i}": task for i in range(tasks)},
    }


def test_every_number_in_shipped_params_is_bounded(registry: Registry) -> None:
    unbounded = []
    for catalogue in (registry.codecs, registry.adapters, registry.heads, registry.enhancements):
        for name in filter(lambda name: name.startswith(SHIPPED), catalogue.names):
            for field, about in catalogue.get(name).Params.model_json_schema().get("properties", {}).items():
                choices = about.get("anyOf", [about])
                lists = [one for one in choices if one.get("type") == "array"]
                inside = [item for one in lists for item in one.get("prefixItems", [one.get("items", {})])]
                if not all("maxItems" in one for one in lists if one.get("items", {}).get("type") != "string"):
                    unbounded.append(f"{name}.{field}")
                numbers = [one for one in [*choices, *inside] if one.get("type") in ("integer", "number")]
                if not all(one.keys() & {"maximum", "exclusiveMaximum"} for one in numbers):
                    unbounded.append(f"{name}.{field}")
    assert unbounded == []


def test_a_spec_of_too_many_parameters_is_refused_before_they_are_allocated(registry: Registry) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with pytest.raises(SpecError, match=r"would take \d+ MB of memory .* limit is 4000 MB; choose smaller widths"):
        build(parse_spec(spec(12, **WIDEST)), registry)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MAX_BYTES / 10
    assert time.process_time() - start < 30


def test_the_number_of_tasks_is_bounded(registry: Registry) -> None:
    with pytest.raises(SpecError, match="tasks"):
        parse_spec(spec(65))
    parse_spec(spec(64))


@pytest.mark.parametrize("preset", ["sicmh-small", "sicmh-paper"])
def test_the_presets_are_far_below_the_limit(preset: str, registry: Registry) -> None:
    with torch.device("meta"):
        pipeline = build(icm_core.read_spec(registry.specs.get(preset)), registry)
    assert sum(t.nbytes for t in (*pipeline.parameters(), *pipeline.buffers())) < MAX_BYTES / 3


def test_looking_at_the_size_leaves_the_random_numbers_alone(registry: Registry) -> None:
    small = spec(1, width=8, h1_channels=8, h2_channels=4, groups=2, context_channels=8)
    drawn = []
    for probe in (True, False):
        torch.manual_seed(3)
        if probe:
            with torch.random.fork_rng(devices=[]), torch.device("meta"):
                build(parse_spec(small), registry)
        drawn.append(build(parse_spec(small), registry).state_dict())
    assert all(torch.equal(drawn[0][key], drawn[1][key]) for key in drawn[0])


def test_a_file_of_another_pipeline_is_refused_with_both_fingerprints(registry: Registry) -> None:
    one = load(GOLDEN / "golden.json", device="cpu", registry=registry)
    other = load(GOLDEN / "presets" / "presets.json", device="cpu", registry=registry)
    blob = (GOLDEN / "base.icm").read_bytes()
    with pytest.raises(BitstreamError) as caught:
        other.decode(blob)
    assert one.base_fingerprint.hex() in str(caught.value) and other.base_fingerprint.hex() in str(caught.value)


@pytest.mark.parametrize("weights", ["../golden.safetensors", "/etc/x.safetensors", "a/../../x.safetensors", "link"])
def test_weights_stay_inside_the_specs_folder(tmp_path: Path, weights: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "golden.safetensors").write_bytes((GOLDEN / "golden.safetensors").read_bytes())
    if weights == "link":
        weights = "link.safetensors"
        (home / weights).symlink_to(tmp_path / "golden.safetensors")
    data = json.loads((GOLDEN / "golden.json").read_text())
    (home / "golden.json").write_text(json.dumps({**data, "weights": weights}))
    with pytest.raises(SpecError, match="folder"):
        load(home / "golden.json", device="cpu")


@pytest.mark.parametrize(
    ("text", "says"),
    [("[" * 100_000, "nested deeper"), ('{"a":' * 40 + "1" + "}" * 40, "nested deeper"), (" " * 1_000_001, "larger")],
    ids=["100,000 brackets", "40 objects", "1 MB of blanks"],
)
def test_deep_and_huge_specs_are_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(SpecError, match=says):
        load(path, device="cpu")


@pytest.mark.parametrize("use", ["os.system", "builtins.eval", "__import__", "sicmh.hyperprior; import os"])
def test_a_spec_names_registered_components_and_nothing_else(use: str, registry: Registry) -> None:
    data = spec(1)
    data["codec"]["use"] = use
    with pytest.raises(SpecError, match=r"codec\.use"):
        build(parse_spec(data), registry)
