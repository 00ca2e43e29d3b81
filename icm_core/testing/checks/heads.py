"""Checks of heads: what they are trained with, what they predict, what they are built on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from icm_core.errors import SpecError
from icm_core.interfaces import TaskHead
from icm_core.nests import Nest, map_tensors
from icm_core.testing.cases.examples import BATCH, Example
from icm_core.testing.cases.heads import HeadCase
from icm_core.testing.checks.components import step
from icm_core.testing.failing import ConformanceError, expecting, require
from icm_core.testing.nests import row_of
from icm_core.types import Features, Prediction

STEPS = 15
RATE = 3e-3

NEAR = 1e-4
"""A picture's loss alone may differ from that in a batch by this share: sums in floating point."""


def check_loss_is_finite(case: HeadCase) -> None:
    """The loss is a finite number for each picture, also for outputs far from the target."""
    component = _steady(case)
    for count in (1, BATCH + 1):
        example = case.example(component, case.sizes[0], count)
        assert example.features is not None
        with torch.no_grad(), expecting(f"{case.name}.losses", "It takes features and a batch of targets."):
            _each(case, component.losses(example.features, example.target), count, "losses", "")
        if case.one_pass:
            continue
        with torch.no_grad():
            outputs = component.outputs(example.features)
            for factor in (1.0, 1000.0, 0.0):
                for _, output in outputs:
                    with expecting(f"{case.name}.loss", "It takes an output and the targets that its kind collates."):
                        loss = component.loss(_scaled(output, factor), example.target)
                    _each(case, loss, count, "loss", f" for outputs multiplied by {factor:g}")


def check_loss_falls(case: HeadCase) -> None:
    """A few steps of Adam on one batch make the loss smaller."""
    component = case.build().requires_grad_(True).train()
    example = case.example(component, case.sizes[0])
    if not any(True for _ in component.parameters()):
        return
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(1)
        optimizer = torch.optim.Adam(component.parameters(), lr=RATE)
        losses = [step(case, component, optimizer, example) for _ in range(STEPS)]
    first, last = losses[0], sum(losses[-3:]) / 3
    require(
        last < first,
        f"{case.name}: {STEPS} steps on one batch took the loss from {first:.4g} to {last:.4g}",
        "The loss has to depend on the output and get smaller as it comes near the target; look at its sign.",
    )


def check_loss_per_picture(case: HeadCase) -> None:
    """A picture has the loss in a batch that it has alone."""
    component = _steady(case)
    example = case.example(component, case.sizes[0], BATCH + 1)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        if case.one_pass:
            _check_pass_alone(case, component, example)
        else:
            _check_loss_alone(case, component, example)


def check_prediction(case: HeadCase) -> None:
    """`predict` gives a prediction of the head's kind, with the head's labels and unit."""
    component = case.build()
    example = case.example(component, case.sizes[-1])
    kind = case.answering
    with torch.no_grad(), expecting(f"{case.name}.predict", "It takes what forward takes."):
        found = component.predict(example.features)
    require(
        isinstance(found, Prediction) and found.kind == kind.name,
        f"{case.name}.predict gives {type(found).__name__} of kind {getattr(found, 'kind', None)!r}",
        f"Return Prediction({kind.name!r}, output, labels), or an object of a subclass.",
    )
    require(
        isinstance(component.labels, tuple) and all(isinstance(label, str) and label for label in component.labels),
        f"{case.name}.labels is {component.labels!r:.200}",
        "Name each class or value, in order, in a tuple; or leave it empty.",
    )
    require(
        found.labels == component.labels and found.unit == component.unit,
        f"{case.name} predicts with {len(found.labels)} labels and the unit {found.unit!r}, and itself has "
        f"{len(component.labels)} labels and the unit {component.unit!r}",
        f"Return Prediction({kind.name!r}, output, self.labels, self.colours, self.unit).",
    )
    try:
        kind.check_prediction(found, example.size, len(example.pictures))
    except ValueError as error:
        raise ConformanceError(f"{case.name}: the prediction {error}. {_doc(kind)}") from error


def check_divergence(case: HeadCase) -> None:
    """Where outputs can be compared, equal ones are nearest, and a gradient shows how to come nearer."""
    component = case.build()
    task = case.task(component)
    if not task.compares:
        return
    example = case.example(component, case.sizes[0], BATCH)
    assert example.features is not None
    maps = {name: value.clone().requires_grad_() for name, value in example.features.maps.items()}
    near, far = Features(maps, example.size), Features({n: v.flip(0) for n, v in maps.items()}, example.size)
    with torch.enable_grad(), expecting(f"the divergence of {case.name}", "It takes two outputs of forward."):
        output = component(near)
        with torch.no_grad():
            same, other = component(near), component(far)
            least, more = task.divergence(same, same), task.divergence(_disturbed(same), same)
        found = task.divergence(output, other)
        for divergence, when in ((found, ""), (least, " for equal outputs"), (more, " for outputs with noise")):
            _each(case, divergence, BATCH, "divergence", when)
        if found.requires_grad:
            found.sum().backward()  # type: ignore[no-untyped-call]
    require(
        bool((least < more).all()),
        f"the divergence of {case.name} is {least.tolist()} for equal outputs and {more.tolist()} for others",
        "It is a distance: smallest, at best 0, where output and reference are the same.",
    )
    gradients = [value.grad for value in maps.values() if value.grad is not None]
    require(
        any(bool(gradient.any()) for gradient in gradients)
        and all(bool(gradient.isfinite().all()) for gradient in gradients),
        f"the divergence of {case.name} has no gradient, or one that is not finite",
        "Compute it with differentiable operations: no argmax, no .detach(), and bound what is divided by.",
    )


def check_missing_features(case: HeadCase) -> None:
    """Without a feature that it needs, the head is refused with a `SpecError`, when built or by its ``requires``."""
    for name in case.cls.requires:
        rest = {key: level for key, level in case.layout.items() if key != name}
        try:
            case.cls(case.settings(), rest)
        except SpecError as error:
            require(
                name in str(error),
                f"{case.name} without {name!r} says: {error}",
                "Name the feature that is missing.",
            )
        except Exception as error:
            raise ConformanceError(
                f"building {case.name} without the feature {name!r} raised {type(error).__name__}: {error}. "
                "Raise icm_core.SpecError that names the feature, before it is used."
            ) from error


def _check_loss_alone(case: HeadCase, component: TaskHead, example: Example) -> None:
    """The loss of outputs that were computed together."""
    assert example.features is not None
    together = component.outputs(example.features)
    with expecting(f"{case.name}.loss", "It takes an output and the targets that its kind collates."):
        losses = [component.loss(output, example.target) for _, output in together]
    for index in range(BATCH + 1):
        one = example.one(index)
        assert one.features is not None
        apart = component.outputs(one.features)  # for how outputs of one picture are built
        for (_, output), (_, built), loss in zip(together, apart, losses, strict=True):
            with expecting(f"{case.name}.loss of picture {index} alone", "It takes outputs of any number of pictures."):
                alone = component.loss(row_of(output, built, index), one.target)
            _same(case, "loss", index, alone, loss)


def _check_pass_alone(case: HeadCase, component: TaskHead, example: Example) -> None:
    """The loss that a head makes in its own pass."""

    assert example.features is not None

    def losses(features: Features, target: Nest, seed: int) -> Tensor:
        torch.manual_seed(seed)
        found: Tensor = component.losses(features, target)
        return found

    together = losses(example.features, example.target, 0)
    if not torch.allclose(together, losses(example.features, example.target, 1), rtol=NEAR, atol=NEAR):
        return  # it samples what it looks at, so that nothing can be said of single values
    for index in range(BATCH + 1):
        one = example.one(index)
        assert one.features is not None
        with expecting(f"{case.name}.losses of picture {index} alone", "It takes any number of pictures."):
            alone = losses(one.features, one.target, 0)
        _same(case, "losses", index, alone, together)


def _disturbed(output: Nest) -> Nest:
    """An output with noise as large as itself, and larger."""
    generator = torch.Generator().manual_seed(3)

    def disturb(part: Tensor) -> Tensor:
        if not part.is_floating_point():
            return part
        noise = torch.randn(part.shape, generator=generator).to(part)
        return part + noise * (1 + part.abs())

    return map_tensors(disturb, output)


def _same(case: HeadCase, what: str, index: int, alone: Tensor, together: Tensor) -> None:
    require(
        alone.shape == (1,) and torch.allclose(alone, together[index : index + 1], rtol=NEAR, atol=NEAR),
        f"{case.name}.{what} of picture {index} is {alone.tolist()} alone and {together[index].tolist()} in a batch",
        "Take no mean over the batch and divide by nothing that is counted over it: how pictures are spread over "
        "batches and machines must not matter.",
    )


def _steady(case: HeadCase) -> TaskHead:
    """The head in training mode, but for layers whose training mode looks at the batch or at chance."""
    component: TaskHead = case.build().train()
    for module in component.modules():
        if isinstance(module, (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)):
            module.eval()
    return component


def _each(case: HeadCase, found: object, count: int, what: str, when: str) -> None:
    shape = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
    if not (isinstance(found, Tensor) and found.shape == (count,) and found.is_floating_point()):
        raise ConformanceError(
            f"{case.name}.{what} gives {shape} for {count} pictures. Return one value for each picture, ({count},): "
            "reduction='none', and the mean over everything but dimension 0."
        )
    require(
        bool(found.isfinite().all()),
        f"{case.name}.{what} is {found.tolist()}{when}",
        "Compute it from logits (cross_entropy, not log of softmax), and bound what is divided by.",
    )


def _scaled(output: Nest, factor: float) -> Nest:
    return map_tensors(lambda part: part * factor if part.is_floating_point() else part, output)


def _doc(kind: object) -> str:
    """What a kind says of itself, in a line."""
    return " ".join((type(kind).__doc__ or "").strip().split("\n\n")[0].split())
