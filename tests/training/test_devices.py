"""What Fabric is asked for: one device, or the processes that torchrun has started."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning_fabric.strategies.ddp import DDPStrategy

from icm_training.devices import make_fabric


class Asked:
    """Stands for Fabric where the devices are not there."""

    def __init__(self, **given: Any) -> None:
        self.given = given
        self.launched = 0

    def launch(self) -> None:
        self.launched += 1


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Any:
    def ask(device: str, precision: str = "32-true", **environment: str) -> dict[str, Any]:
        monkeypatch.setattr("icm_training.devices.Fabric", Asked)
        monkeypatch.setattr("icm_training.devices.pick_device", torch.device)
        for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        found: Any = make_fabric(device, precision)
        assert found.launched == 1
        return {**found.given}

    return ask


def test_one_process_has_the_device_that_is_named(asked: Any) -> None:
    assert asked("cuda:2", "bf16-mixed") == {
        "accelerator": "cuda", "devices": [2], "num_nodes": 1, "strategy": "auto", "precision": "bf16-mixed",
    }  # fmt: skip
    assert asked("cuda")["devices"] == [0]
    assert (asked("cpu")["accelerator"], asked("cpu")["devices"]) == ("cpu", 1)


def test_processes_of_several_machines_share_the_work(asked: Any) -> None:
    found = asked("cuda", WORLD_SIZE="12", LOCAL_WORLD_SIZE="4")
    assert (found["devices"], found["num_nodes"]) == (4, 3)
    assert isinstance(found["strategy"], DDPStrategy)
    # What is frozen has no gradient, and not every parameter a part in every loss.
    assert found["strategy"]._ddp_kwargs == {"find_unused_parameters": True}
