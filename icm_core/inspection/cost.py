"""What a pipeline costs: parameters and multiply-accumulates per pixel, module by module, without weights.

Everything runs on the ``meta`` device: shapes only, no memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from icm_core.bitstream.container import check_size
from icm_core.inspection.flops import Cost, measure
from icm_core.interfaces import Component
from icm_core.pipeline.build import build
from icm_core.pipeline.pipeline import Pipeline
from icm_core.plugins.registry import Registry
from icm_core.spec.model import PipelineSpec
from icm_core.types import Features, SideInfo

__all__ = ["Account", "Cost", "ModuleCost", "Sharing", "account"]

T = TypeVar("T", SideInfo, Features, Tensor)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModuleCost(_Model):
    """One row of the table.

    Attributes:
        path: where the module is, as in the state dict: ``"tasks.segmentation.head"``.
        use: registered name of the component; empty for a component's children.
        cost: what it costs with everything in it.
        outputs: shapes of what a component returns, by name; empty for children.
    """

    path: str
    use: str
    cost: Cost
    outputs: dict[str, tuple[int, ...]]


class Sharing(_Model):
    """The account of shared modules (SICMH, Sec. 6.2), for n tasks and the refined picture.

    All tasks share the codec, each has its own adapter, and the refined picture adds only the enhancement:
    a + n b + c + d. As separate systems, each of the n tasks and the refined picture would bring codec and adapter
    of its own, and the refined picture its reconstruction too: (n + 1) a + (n + 1) b + 2 c + d. The task networks
    are the same in both and are left out. Without enhancement it is a + n b against n a + n b.

    Attributes:
        tasks: n.
        a: A, the codec.
        b: B, the mean of the adapters.
        c: C, the head of the task that the enhancement refines.
        d: D, the enhancement.
        shared: this pipeline.
        separate: the same as separate systems.
        shared_formula: e.g. ``"a + 3b + c + d"``.
        separate_formula: e.g. ``"4a + 4b + 2c + d"``.
    """

    tasks: int
    a: Cost
    b: Cost
    c: Cost
    d: Cost
    shared: Cost
    separate: Cost
    shared_formula: str
    separate_formula: str


class Account(_Model):
    """A pipeline's resolved graph with its costs.

    Attributes:
        name: the pipeline's name.
        height: rows of the picture.
        width: columns of the picture.
        padded: (height, width) that the networks compute, multiples of the codec's alignment.
        modules: components, each followed by its direct children.
        total: the whole pipeline, each module once.
        sharing: the account of shared modules.
    """

    name: str
    height: int
    width: int
    padded: tuple[int, int]
    modules: list[ModuleCost]
    total: Cost
    sharing: Sharing


def account(spec: PipelineSpec, registry: Registry, *, height: int = 512, width: int = 1024) -> Account:
    """Build a spec on the ``meta`` device and measure it.

    Costs are those of one forward pass as in training, which runs every network of encoder and decoder once. They
    are per pixel of the picture as it is, though the networks compute the padded one.

    Args:
        spec: the pipeline.
        registry: what is installed.
        height: rows of the picture.
        width: columns of the picture.

    Raises:
        SpecError: the spec cannot be built.
        InputError: no file holds a picture of this size.
    """
    check_size(height, width)
    with torch.device("meta"), torch.no_grad():
        return _Walk(build(spec, registry), height, width).account()


class _Walk:
    """Runs the components of a pipeline one by one and writes down what each costs."""

    def __init__(self, pipeline: Pipeline, height: int, width: int) -> None:
        self.pipeline = pipeline
        self.size = (height, width)
        step = pipeline.codec.layout.alignment
        self.padded = (-(-height // step) * step, -(-width // step) * step)
        self.rows: list[ModuleCost] = []
        self.costs: dict[str, Cost] = {}

    def account(self) -> Account:
        pipeline, codec, enhancement = self.pipeline, self.pipeline.codec, self.pipeline.enhancement
        x = torch.empty(1, 3, *self.padded)
        quality = torch.full((1,), codec.quality_range[0])
        side: SideInfo = self._run("codec", codec, lambda: codec(x, quality).side)
        coarse = x
        for name in pipeline.tasks:
            output = self._run_task(name, side)
            coarse = output if name == pipeline.over else coarse
        if enhancement is not None:
            self._run("enhancement", enhancement, lambda: enhancement(x, coarse, side, quality)[0])
        return Account(
            name=pipeline.name,
            height=self.size[0],
            width=self.size[1],
            padded=self.padded,
            modules=self.rows,
            total=sum(self.costs.values(), start=Cost()),
            sharing=self._sharing(),
        )

    def _run_task(self, name: str, side: SideInfo) -> Tensor:
        task = self.pipeline.task(name)
        features: Features = self._run(f"tasks.{name}.adapter", task.adapter, lambda: task.adapter(side))
        output: Tensor = self._run(f"tasks.{name}.head", task.head, lambda: task.head(features))
        return output

    def _run(self, path: str, component: Component, call: Callable[[], T]) -> T:
        result, cost, parts = measure(component, self.size[0] * self.size[1], call)
        self.costs[path] = cost
        self.rows.append(ModuleCost(path=path, use=component.name, cost=cost, outputs=_shapes(result)))
        for name, part in parts.items():
            self.rows.append(ModuleCost(path=f"{path}.{name}", use="", cost=part, outputs={}))
        return result

    def _sharing(self) -> Sharing:
        n, over = len(self.pipeline.tasks), self.pipeline.over
        a = self.costs["codec"]
        adapters = sum((self.costs[f"tasks.{name}.adapter"] for name in self.pipeline.tasks), start=Cost())
        b, c, d = adapters.times(1 / n), Cost(), Cost()
        shared = a + adapters
        systems, tail, separate_tail = n, "", ""
        if over is not None:
            c, d = self.costs[f"tasks.{over}.head"], self.costs["enhancement"]
            shared = shared + c + d
            systems, tail, separate_tail = n + 1, " + c + d", " + 2c + d"
        separate = a.times(systems) + b.times(systems) + c.times(2) + d
        return Sharing(
            tasks=n,
            a=a,
            b=b,
            c=c,
            d=d,
            shared=shared,
            separate=separate,
            shared_formula=f"a + {_times(n, 'b')}{tail}",
            separate_formula=f"{_times(systems, 'a')} + {_times(systems, 'b')}{separate_tail}",
        )


def _times(count: int, symbol: str) -> str:
    return symbol if count == 1 else f"{count}{symbol}"


def _shapes(result: SideInfo | Features | Tensor) -> dict[str, tuple[int, ...]]:
    if isinstance(result, SideInfo):
        return {f"levels[{index}]": tuple(level.shape) for index, level in enumerate(result.levels)}
    if isinstance(result, Features):
        return {name: tuple(value.shape) for name, value in result.maps.items()}
    return {"output": tuple(result.shape)}
