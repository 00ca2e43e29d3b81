"""What a pipeline costs: parameters and multiply-accumulates per pixel, module by module, without weights.

Everything runs on the ``meta`` device: shapes only, no memory; but for heads that need values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch
from pydantic import BaseModel, ConfigDict

from icm_core.bitstream.container import check_size
from icm_core.inspection.flops import Cost, measure
from icm_core.interfaces import Component, TaskHead
from icm_core.nests import Nest, paths
from icm_core.pipeline.build import build
from icm_core.pipeline.pipeline import Pipeline
from icm_core.plugins.registry import Registry
from icm_core.spec.model import PipelineSpec
from icm_core.spec.places import CODEC, ENHANCEMENT, adapter_of, head_of
from icm_core.types import Features, SideInfo

__all__ = ["Account", "Cost", "ModuleCost", "Sharing", "account"]

T = TypeVar("T")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModuleCost(_Model):
    """One row of the table.

    Attributes:
        path: where the module is, as in the state dict: ``"tasks.segmentation.head"``.
        use: registered name of the component; empty for a component's children.
        cost: what it costs with everything in it.
        outputs: shapes of what a component returns, by name; empty for children, and where they depend on the picture.
    """

    path: str
    use: str
    cost: Cost
    outputs: dict[str, tuple[int, ...]]


class Sharing(_Model):
    """What sharing modules between tasks saves, for n tasks and the refined picture.

    All tasks share the codec, each has its own adapter, and the refined picture adds only the enhancement. As separate
    systems, each of the n tasks and the refined picture would bring a codec and an adapter of its own, and the refined
    picture the head that decodes its base picture, too. The task networks are the same in both and are left out.

    Attributes:
        tasks: n.
        codec: the codec.
        adapter: the mean of the adapters.
        picture: the head of the task that the enhancement refines.
        enhancement: the enhancement.
        shared: this pipeline.
        separate: the same as separate systems.
        shared_formula: e.g. ``"codec + 3 adapter + picture + enhancement"``.
        separate_formula: e.g. ``"4 codec + 4 adapter + 2 picture + enhancement"``.
    """

    tasks: int
    codec: Cost
    adapter: Cost
    picture: Cost
    enhancement: Cost
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
        sharing: what sharing modules saves.
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
    are per pixel of the picture as it is, though the networks compute the padded one. Heads whose work depends on what
    they see, such as detectors that look at proposals, have random weights and see maps of zeros.

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
        self.x = torch.empty(1, 3, *self.padded)
        self.rows: list[ModuleCost] = []
        self.costs: dict[str, Cost] = {}

    def account(self) -> Account:
        pipeline, codec, enhancement = self.pipeline, self.pipeline.codec, self.pipeline.enhancement
        x = self.x
        quality = torch.full((1,), codec.quality_range[0])
        side: SideInfo = self._run(CODEC, codec, lambda: codec(x, quality).side)
        coarse = x
        for name in pipeline.tasks:
            output = self._run_task(name, side)
            coarse = output if name == pipeline.over else coarse
        if enhancement is not None:
            self._run(ENHANCEMENT, enhancement, lambda: enhancement(x, coarse, side, quality)[0])
        return Account(
            name=pipeline.name,
            height=self.size[0],
            width=self.size[1],
            padded=self.padded,
            modules=self.rows,
            total=sum(self.costs.values(), start=Cost()),
            sharing=self._sharing(),
        )

    def _run_task(self, name: str, side: SideInfo) -> Nest:
        task = self.pipeline.task(name)
        # Pictures that an adapter reads have the picture's size, whoever decodes them.
        read = replace(side, pictures=dict.fromkeys(task.adapter.needs, self.x))
        features: Features = self._run(adapter_of(name), task.adapter, lambda: task.adapter(read))
        head = task.head
        try:
            return self._run(head_of(name), head, lambda: head(features))
        except Exception:
            if type(head).losses is TaskHead.losses:
                raise
        # What makes its loss in its own pass may thin out its answers by their scores, and there are none on meta.
        with torch.device("cpu"), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            real = type(head)(head.params, head.features).eval()
            grey = Features({key: torch.zeros(one.shape) for key, one in features.maps.items()}, features.size)
            return self._run(head_of(name), real, lambda: real(grey), shapes=False)

    def _run(self, path: str, component: Component, call: Callable[[], T], *, shapes: bool = True) -> T:
        result, cost, parts = measure(component, self.size[0] * self.size[1], call)
        self.costs[path] = cost
        outputs = _shapes(result) if shapes else {}
        self.rows.append(ModuleCost(path=path, use=component.name, cost=cost, outputs=outputs))
        for name, part in parts.items():
            self.rows.append(ModuleCost(path=f"{path}.{name}", use="", cost=part, outputs={}))
        return result

    def _sharing(self) -> Sharing:
        n, over = len(self.pipeline.tasks), self.pipeline.over
        codec = self.costs[CODEC]
        adapters = sum((self.costs[adapter_of(name)] for name in self.pipeline.tasks), start=Cost())
        adapter, picture, enhancement = adapters.times(1 / n), Cost(), Cost()
        shared = codec + adapters
        systems, tail, separate_tail = n, "", ""
        if over is not None:
            picture, enhancement = self.costs[head_of(over)], self.costs[ENHANCEMENT]
            shared = shared + picture + enhancement
            systems, tail, separate_tail = n + 1, " + picture + enhancement", " + 2 picture + enhancement"
        return Sharing(
            tasks=n,
            codec=codec,
            adapter=adapter,
            picture=picture,
            enhancement=enhancement,
            shared=shared,
            separate=codec.times(systems) + adapter.times(systems) + picture.times(2) + enhancement,
            shared_formula=f"codec + {_times(n, 'adapter')}{tail}",
            separate_formula=f"{_times(systems, 'codec')} + {_times(systems, 'adapter')}{separate_tail}",
        )


def _times(count: int, what: str) -> str:
    return what if count == 1 else f"{count} {what}"


def _shapes(result: SideInfo | Features | Nest) -> dict[str, tuple[int, ...]]:
    if isinstance(result, SideInfo):
        return {f"levels[{index}]": tuple(level.shape) for index, level in enumerate(result.levels)}
    if isinstance(result, Features):
        return {name: tuple(value.shape) for name, value in result.maps.items()}
    return {where or "output": tuple(tensor.shape) for where, tensor in paths(result).items()}
