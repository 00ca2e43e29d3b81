"""Checks of a component's state: copied, stored, pickled."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path

import safetensors.torch
import torch

from icm_core.interfaces import Codec, Enhancement
from icm_core.pipeline.weights import load_weights, stored_state
from icm_core.testing.cases.base import ComponentCase
from icm_core.testing.failing import expecting, require


def check_state_dict(case: ComponentCase) -> None:
    """Another instance that loads the state computes the same, so the state holds everything that was trained."""
    component, other = case.build(0), case.build(1)
    example = case.example(component, case.sizes[0])
    with expecting(f"loading the state of {case.name}", "Two instances with the same Params have the same keys."):
        other.load_state_dict(component.state_dict())
    with torch.no_grad():
        expected, found = case.run(component, example), case.run(other, example)
    wrong = [name for name, value in expected.items() if not torch.equal(value, found[name])]
    require(
        not wrong,
        f"{case.name}: after load_state_dict a second instance gives another {', '.join(wrong)}",
        "Keep all that is random or trained in parameters and buffers, and drop what was derived from older weights.",
    )


def check_stored_weights(case: ComponentCase) -> None:
    """The state goes through a safetensors file, parameters in float16, and comes back as it was stored."""
    component, other = case.build(0), case.build(1)
    advice = "Parameters have to be finite in float16, and no two keys may share memory."
    with tempfile.TemporaryDirectory() as folder, expecting(f"storing the weights of {case.name}", advice):
        path = Path(folder) / "weights.safetensors"
        stored = stored_state(component)
        if not stored:
            return
        path.write_bytes(safetensors.torch.save(stored))
        load_weights(other, [path])
    component.load_state_dict(stored)
    lost = [key for key, value in component.state_dict().items() if not torch.equal(value, other.state_dict()[key])]
    require(not lost, f"{case.name}: {', '.join(lost[:5])} came back changed", "Leave state_dict to torch.")
    if isinstance(component, (Codec, Enhancement)):
        require(
            component.coding_state() == other.coding_state(),
            f"{case.name}: its coding_state is another after its weights were stored and loaded",
            "Derive it from parameters and buffers alone, and drop what was cached when weights are loaded.",
        )


def check_pickling(case: ComponentCase) -> None:
    """It goes through pickle, as it must to reach other processes, and computes the same afterwards."""
    component = case.build()
    advice = "Keep no lambdas, open files or local classes as attributes."
    with expecting(f"pickling {case.name}", advice):
        other = pickle.loads(pickle.dumps(component))
    example = case.example(component, case.sizes[0])
    with torch.no_grad():
        expected, found = case.run(component, example), case.run(other, example)
    wrong = [name for name, value in expected.items() if not torch.equal(value, found[name])]
    require(not wrong, f"{case.name}: after pickling it gives another {', '.join(wrong)}", advice)
