"""Devices and processes, through Lightning Fabric."""

from __future__ import annotations

import os
from typing import Literal, cast

from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from icm_core.pipeline.devices import pick_device


def make_fabric(device: str, precision: str) -> Fabric:
    """Fabric for one device, or for the processes that ``torchrun`` has started."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    place = pick_device(device)
    devices: int | list[int] = local
    if world == 1 and place.type == "cuda":
        devices = [place.index or 0]
    # Not every parameter has a part in every loss, and what is frozen has none at all.
    strategy = DDPStrategy(find_unused_parameters=True) if world > 1 else "auto"
    fabric = Fabric(
        accelerator=place.type,
        devices=devices,
        num_nodes=max(1, world // local),
        strategy=strategy,
        precision=cast(Literal["32-true", "bf16-mixed"], precision),
    )
    fabric.launch()
    return fabric
