"""Checks of what would go wrong on a GPU alone, on machines that have none: see `icm_core.testing.card`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from icm_core.nests import Nest, map_tensors, paths
from icm_core.testing.card import CARD, card, off_card, on_card, to_card
from icm_core.testing.cases.coding import CodingCase
from icm_core.testing.cases.components import ComponentCase
from icm_core.testing.cases.examples import Example
from icm_core.testing.cases.kinds import KindCase
from icm_core.testing.cases.losses import LossCase
from icm_core.testing.failing import ConformanceError, expecting, require
from icm_core.testing.nests import differing_nests

_ADVICE = (
    "Make tensors where the inputs or a parameter are: torch.zeros(..., device=x.device), x.new_zeros(...), "
    "torch.zeros_like(x); keep constants as buffers; call .cpu() before .numpy()."
)


def check_component_on_card(case: ComponentCase) -> None:
    """On a GPU it computes, codes and trains there alone, and gives what it gives on the CPU."""
    with torch.no_grad():
        component = case.build()
        example = case.example(component, case.sizes[0])
        here = _answers(case, component, example)
        there = to_card(case.build())
        moved = example.each(on_card)
        with card(), expecting(f"running {case.name} on a GPU", _ADVICE):
            found = _answers(case, there, moved)
    for name, answer in found.items():
        _require_there(f"{name} of {case.name}", answer)
    # Tensors of a class of one's own take other ways through PyTorch's fused layers, which round otherwise.
    back = map_tensors(off_card, found)
    for name, share in differing_nests(here, back, unordered=case.unordered()).items():
        require(
            share <= 0.01, f"{case.name}: {share:.0%} of {name} is another on a GPU", "Look for branches on devices."
        )
    there = to_card(case.build()).requires_grad_(True).train()
    if not any(True for _ in there.parameters()):
        return  # there is nothing to train
    with card(), torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(1)
        with expecting(f"a training step of {case.name} on a GPU", _ADVICE):
            _step(case.objective(there, moved), there.parameters())


def check_loss_on_card(case: LossCase) -> None:
    """On a GPU it is computed there alone, and a training step with it."""
    pipe = case.seeded().requires_grad_(True)
    loss = case.build(pipe)
    example = case.example(pipe).each(on_card)
    to_card(pipe)
    to_card(loss)
    with card(), torch.enable_grad(), expecting(f"a training step with {case.name} on a GPU", _ADVICE):
        found = loss(case.batch(pipe, example))
        _require_there(case.name, found)
        _step(found.mean(), [*pipe.parameters(), *loss.parameters()])


def check_kind_on_card(case: KindCase) -> None:
    """Answers that lie on a GPU are told, drawn and compared as others are; pictures are measured there as well."""
    kind = case.build()
    answers = case.predicted(case.sizes[0])
    for prediction, target, picture in zip(answers.predictions, answers.targets, answers.pictures, strict=True):
        there = replace(prediction, output=map_tensors(on_card, prediction.output))
        with card(), expecting(f"an answer of the kind {case.name} on a GPU", _ADVICE):
            told = kind.answer(there), kind.describe(there)
            kind.raster(there)
            kind.draw(there, picture)
            if kind.is_picture:
                kind.tally(there, on_card(target))
            if kind.compares and not kind.in_words:
                _require_there(f"the divergence of {case.name}", kind.divergence(there.output, there.output))
        require(
            told == (kind.answer(prediction), kind.describe(prediction)),
            f"the kind {case.name} says something else of an answer that lies on a GPU",
            "Say it of what prediction.output holds, wherever that is.",
        )


def _answers(case: ComponentCase, component: nn.Module, example: Example) -> dict[str, Nest]:
    """All that comes out: of a pass, of a head the answer, of what writes payloads what is decoded from them."""
    found: dict[str, Nest] = dict(case.answers(component, example))
    if isinstance(case, CodingCase):
        payloads = case.encode(component, example)
        found |= {f"decoded {name}": value for name, value in case.decode(component, payloads, example).items()}
    return found


def _require_there(what: str, nest: Nest) -> None:
    elsewhere = [where for where, tensor in paths(nest).items() if tensor.device != CARD]
    where = ", ".join(filter(None, elsewhere))
    require(not elsewhere, f"{what}{f' ({where})' if where else ''} is on the CPU after a pass on a GPU", _ADVICE)


def _step(objective: Tensor, parameters: Iterable[nn.Parameter]) -> None:
    """A step of an optimizer."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not trained or not objective.requires_grad:
        return
    if objective.device != CARD:
        raise ConformanceError(f"the objective is on the CPU after a pass on a GPU. {_ADVICE}")
    optimizer = torch.optim.SGD(trained, lr=1e-4)
    objective.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
