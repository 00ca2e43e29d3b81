"""Checks of every component: where it lives, what it computes, what its state holds."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from icm_core.interfaces import Codec, Enhancement
from icm_core.pipeline.weights import load_weights, stored_state
from icm_core.testing.cases.codecs import CodecCase
from icm_core.testing.cases.components import ComponentCase
from icm_core.testing.cases.examples import BATCH, Example, Parts
from icm_core.testing.failing import expecting, require
from icm_core.testing.nests import differing_nests

_CAREFUL = ("torch", "torchvision")
"""Libraries whose modules move what they keep: anchors of detectors go where their pictures are."""

FIRST_STEPS = 4
"""Layers that start at zero let gradients through to those before them only when they have moved."""


def check_builds_on_meta(case: ComponentCase) -> None:
    """On the ``meta`` device it is built and run without allocating anything, as ``icm check`` does."""
    advice = (
        "Construction and forward may use shapes, not values: no .item(), no numpy, no table computed from "
        "parameters (that is what freeze_tables is for); icm check and icm graph build every spec on the meta device."
    )
    with torch.device("meta"), torch.no_grad(), expecting(f"building {case.name} on the meta device", advice):
        component = case.build(bare=True)
    elsewhere = [name for name, tensor in _state(component) if tensor.device.type != "meta"]
    require(
        not elsewhere,
        f"{case.name} built on the meta device holds memory in {', '.join(elsewhere[:5])}",
        "Make tensors with torch's own factories and no device=, so that the surrounding device counts.",
    )
    if case.needs_values():
        return
    example = case.example(case.build(), case.sizes[0], 1)
    expected = case.shapes(case.build(), example)
    with torch.no_grad(), expecting(f"running {case.name} on the meta device", advice):
        found = case.run(component, example.to("meta"))
    wrong = [
        name
        for name, tensor in found.items()
        if tensor.device.type != "meta" or (expected is not None and name not in expected)
    ]
    require(not wrong, f"{case.name} run on the meta device gave other outputs: {', '.join(wrong)}", advice)


def check_device_moves(case: ComponentCase) -> None:
    """``.to(device)`` takes everything along; where there is a GPU, it computes there what it does on the CPU."""
    component = case.build(bare=True)
    stray = [path for name, module in component.named_modules() for path in _stray(name, module)]
    require(
        not stray,
        f"{case.name} keeps tensors as plain attributes: {', '.join(stray[:5])}",
        "Make them parameters, or register_buffer(name, tensor, persistent=False) if they can be computed anew; "
        "plain attributes stay behind when a pipeline moves to a GPU.",
    )
    component = case.build()
    example = case.example(component, case.sizes[0], 1)
    advice = "Use the device of the inputs or of a parameter, none by name."
    if not case.needs_values():
        with torch.no_grad(), expecting(f"running {case.name} after .to('meta')", advice):
            found = case.run(case.build(bare=True).to("meta"), example.to("meta"))
        _on(case, found, "meta")
    if torch.cuda.is_available():
        _try_cuda(case, component, example)


def check_shapes(case: ComponentCase) -> None:
    """What comes out has the shape that contract and kind give it, at each of the case's sizes, and is finite."""
    component = case.build()
    for size in case.sizes:
        example = case.example(component, size)
        where = f"pictures of {size[0]}x{size[1]} (height x width)"
        with torch.no_grad(), expecting(f"running {case.name} on {where}", "Any size from 1x1 on has to work."):
            found, expected = case.run(component, example), case.shapes(component, example)
            complaint = case.complaint(component, example)
        require(bool(found), f"{case.name} gives no tensor", "forward has to return tensors, or a nest of them.")
        for name, tensor in found.items():
            require(
                bool(tensor.isfinite().all()),
                f"{case.name}: {name} has values that are not finite for {where}",
                "Look for a division by zero or a logarithm of zero.",
            )
        advice = (
            "Side information and features cover the padded picture, a head's output the picture itself "
            "(features.size, Features.cropped)."
        )
        require(complaint is None, f"{case.name}: {complaint}, for {where}", advice)
        require(
            expected is None or set(found) == set(expected),
            f"{case.name} gives {sorted(found)} where it announces {sorted(expected or ())}",
            "Deliver exactly what is announced.",
        )
        for name, shape in (expected or {}).items():
            have = tuple(found[name].shape)
            fits = len(have) == len(shape) and all(w in (None, h) for h, w in zip(have, shape, strict=True))
            asked = tuple("any" if side is None else side for side in shape)
            require(fits, f"{case.name}: {name} has the shape {have} for {where}, and should have {asked}", advice)


def check_batch_independence(case: ComponentCase) -> None:
    """A picture gives the same alone as in a batch."""
    component = case.build()
    example = case.example(component, case.sizes[-1], BATCH + 1)
    with torch.no_grad():
        together = case.answers(component, example)
        for index in range(BATCH + 1):
            for name, alone in case.answers(component, example.one(index)).items():
                with expecting(
                    f"taking picture {index} out of the {name} of {case.name}",
                    "What is given for a batch has a row for each picture, or is a list with an entry for each; of "
                    "predictions the kind's select takes some.",
                ):
                    of_batch = case.pick(name, together[name], alone, index)
                for where, share in differing_nests(alone, of_batch, unordered=case.unordered()).items():
                    require(
                        share <= 0.01,
                        f"{case.name}: {share:.0%} of {_at(name, where)} of picture {index} is another alone than in a "
                        "batch",
                        "In eval mode nothing may be computed over the batch: check normalisation layers and means "
                        "that run over dimension 0.",
                    )


def check_eval_is_deterministic(case: ComponentCase) -> None:
    """In eval mode, the same input gives the same output bit for bit, and the component stays as it is."""
    component = case.build()
    example = case.example(component, case.sizes[0])
    before = {key: value.clone() for key, value in component.state_dict().items()}
    with torch.no_grad():
        first, second = case.run(component, example), case.run(component, example)
    wrong = _other(first, second)
    require(
        not wrong,
        f"{case.name}: {', '.join(wrong[:5])} changes from run to run in eval mode",
        "Use dropout and noise only where self.training is True.",
    )
    after = component.state_dict()
    changed = [key for key, value in before.items() if not torch.equal(value, after[key])]
    require(
        not changed,
        f"{case.name}: running it in eval mode changes {', '.join(changed[:5])}",
        "Update running statistics only where self.training is True.",
    )


def check_gradients(case: ComponentCase) -> None:
    """In training mode, a gradient reaches every parameter within a few steps, and each is finite."""
    component = case.build().requires_grad_(True).train()
    example = case.example(component, case.sizes[0])
    waiting = dict(component.named_parameters())
    if not waiting:
        return
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(1)
        optimizer = torch.optim.Adam(component.parameters(), lr=1e-4)
        # Of a codec with several encoders each in its turn: a pass of one leaves the others alone.
        encoders = component.encoders if isinstance(component, Codec) else ()
        for number in range(FIRST_STEPS * max(1, len(encoders))):
            turn = component.with_encoder(encoders[number % len(encoders)]) if encoders else component
            with expecting(f"a training pass of {case.name}", "forward has to work in training mode."):
                step(case, turn, optimizer, example)
            odd = [name for name, value in component.named_parameters() if not _finite(value.grad)]
            require(
                not odd, f"{case.name}: the gradient of {', '.join(odd[:5])} is not finite", "Bound what is divided by."
            )
            waiting = {name: value for name, value in waiting.items() if value.grad is None or not value.grad.any()}
    without = list(waiting)
    require(
        not without,
        f"{case.name}: no gradient reaches {', '.join(without[:5])}"
        + (f" and {len(without) - 5} more" if len(without) > 5 else ""),
        "Remove parameters that nothing uses; look for .detach(), torch.no_grad(), and rounding without a "
        "straight-through gradient.",
    )


def step(case: ComponentCase, component: nn.Module, optimizer: torch.optim.Optimizer, example: Example) -> float:
    """One step of training; the objective before it."""
    optimizer.zero_grad()
    loss = case.objective(component, example)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return float(loss.detach())


def check_state_dict(case: ComponentCase) -> None:
    """Another instance that loads the state computes the same, so the state holds everything that was trained."""
    component, other = case.build(0), case.build(1)
    example = case.example(component, case.sizes[0])
    with expecting(f"loading the state of {case.name}", "Two instances with the same Params have the same keys."):
        other.load_state_dict(component.state_dict())
    with torch.no_grad():
        wrong = _other(case.run(component, example), case.run(other, example))
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
        wrong = _other(case.run(component, example), case.run(other, example))
    require(not wrong, f"{case.name}: after pickling it gives another {', '.join(wrong)}", advice)


def _try_cuda(case: ComponentCase, component: nn.Module, example: Example) -> None:
    with torch.no_grad():
        here = case.run(component, example)
        with expecting(f"running {case.name} on a GPU", "Use the device of the inputs, none by name."):
            there = case.run(component.to("cuda"), example.to("cuda"))
    _on(case, there, "cuda")
    # Rounding in a codec may fall to the other side where a GPU differs in the last bits.
    most = 0.05 if isinstance(case, CodecCase) else 0.01
    back = {name: tensor.cpu() for name, tensor in there.items()}
    for name, share in differing_nests(here, back, 1e-2, unordered=case.unordered()).items():
        require(share <= most, f"{case.name}: {share:.0%} of {name} differs on a GPU", "Look for uninitialised memory.")


def _on(case: ComponentCase, found: Parts, device: str) -> None:
    wrong = [name for name, tensor in found.items() if tensor.device.type != device]
    require(not wrong, f"{case.name} on {device} gives {', '.join(wrong)} elsewhere", "Make tensors like the inputs.")


def _state(component: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from component.named_parameters()
    yield from component.named_buffers()


def _stray(name: str, module: nn.Module) -> Iterator[str]:
    if type(module).__module__.partition(".")[0] in _CAREFUL:
        return
    for key, value in vars(module).items():
        if key not in ("_parameters", "_buffers", "_modules"):
            values = value.values() if isinstance(value, Mapping) else value
            many = values if isinstance(value, (Mapping, list, tuple)) else [value]
            if any(isinstance(item, Tensor) for item in many):
                yield f"{name}.{key}".lstrip(".")


def _other(expected: Parts, found: Parts) -> list[str]:
    """Names of tensors that are not the same."""
    return [
        name
        for name in {**expected, **found}
        if name not in expected or name not in found or not torch.equal(expected[name], found[name])
    ]


def _finite(gradient: Tensor | None) -> bool:
    return gradient is None or bool(gradient.isfinite().all())


def _at(name: str, where: str) -> str:
    return f"{name} ({where})" if where else name
