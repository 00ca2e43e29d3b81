"""Which parameters of a pipeline a stage trains: paths of modules, and the paper's letters for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from icm_core.errors import SpecError
from icm_core.pipeline.pipeline import Pipeline
from icm_core.spec.places import CODEC, ENHANCEMENT, adapter_of, head_of, modules
from icm_registry import nearest, unknown
from icm_training.recipe import TrainSpec


@dataclass
class Group:
    """Parameters that train at one learning rate.

    Attributes:
        spec: what the recipe says of them.
        names: their paths in the pipeline.
        parameters: the parameters.
    """

    spec: TrainSpec
    names: list[str] = field(default_factory=list)
    parameters: list[nn.Parameter] = field(default_factory=list)


def paths_of(pipe: Pipeline, module: str) -> list[str]:
    """Paths of what a recipe calls a module.

    ``A`` is the codec, ``B`` every task's adapter, ``B.<task>`` one of them, ``C`` the head of the task that the
    enhancement refines, ``D`` the enhancement (Sec. 6.2); everything else is a path already.

    Raises:
        SpecError: the pipeline has no such part.
    """
    letter, _, task = module.partition(".")
    if letter == "B" and task:
        if task not in pipe.tasks:
            raise SpecError(unknown("task", task, pipe.tasks))
        return [adapter_of(task)]
    if module == "B":
        return [adapter_of(name) for name in pipe.tasks]
    if module in ("C", "D") and pipe.over is None:
        raise SpecError(f"module {module} belongs to the enhancement, and pipeline {pipe.name!r} has none")
    path = {"A": CODEC, "C": head_of(pipe.over or ""), "D": ENHANCEMENT}.get(module, module)
    check_module(pipe, path)
    return [path]


def check_module(pipe: Pipeline, path: str) -> None:
    """Raise `SpecError` if no module and no parameter of a pipeline has this path."""
    known = {name for name, _ in (*pipe.named_modules(), *pipe.named_parameters()) if name}
    if path not in known:
        guess = nearest(path, known)
        hint = f"did you mean {guess!r}? " if guess else ""
        raise SpecError(f"unknown module {path!r}; {hint}the components are {', '.join(modules(pipe))}")


def groups_of(pipe: Pipeline, train: Sequence[TrainSpec], where: str = "") -> list[Group]:
    """The parameters of each group; one that two groups name belongs to the longer path.

    Args:
        pipe: the pipeline.
        train: the groups.
        where: path of the stage in the recipe, such as ``"stages[2]"``; messages begin with it.

    Raises:
        SpecError: a path leads nowhere, two groups name it, or a group is left with no parameter.
    """
    owners: dict[str, Group] = {}
    groups = [Group(spec) for spec in train]
    places = [f"{where}.train[{number}]".lstrip(".") for number in range(len(train))]
    for group, place in zip(groups, places, strict=True):
        for number, module in enumerate(group.spec.modules):
            try:
                paths = paths_of(pipe, module)
            except SpecError as error:
                raise SpecError(f"{place}.modules[{number}]: {error}") from error
            for path in paths:
                if path in owners:
                    raise SpecError(f"{place}.modules[{number}]: the module {path!r} is named twice")
                owners[path] = group
    for name, parameter in pipe.named_parameters():
        owner = _owner(name, owners)
        if owner is not None:
            owner.names.append(name)
            owner.parameters.append(parameter)
    for group, place in zip(groups, places, strict=True):
        if not group.parameters:
            raise SpecError(f"{place}: {', '.join(group.spec.modules)} has no parameter of its own")
    return groups


def prepare(pipe: Pipeline, groups: Sequence[Group]) -> None:
    """Freeze everything, statistics included, and thaw what the groups hold."""
    pipe.requires_grad_(False)
    pipe.eval()
    owners = {path: group for group in groups for module in group.spec.modules for path in paths_of(pipe, module)}
    for group in groups:
        for parameter in group.parameters:
            parameter.requires_grad_(True)
    for name, module in pipe.named_modules():
        owner = _owner(name, owners)
        if owner is not None:
            module.training = not (isinstance(module, _BatchNorm) and owner.spec.norm == "frozen")


def _owner(name: str, owners: dict[str, Group]) -> Group | None:
    fitting = [path for path in owners if name == path or name.startswith(f"{path}.")]
    return owners[max(fitting, key=len)] if fitting else None
