"""Checks of kinds: targets made, refused, batched and moved, answers compared and measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from icm_core.interfaces import TaskKind
from icm_core.interfaces.dataset import PICTURES
from icm_core.nests import Nest, leaves, map_tensors, paths, same, tensors
from icm_core.testing.cases.answers import Answers
from icm_core.testing.cases.examples import BATCH, pictures
from icm_core.testing.cases.kinds import COUNT, KindCase, as_trained, example_targets, find_kind
from icm_core.testing.checks.answers import close, measured, tallied
from icm_core.testing.failing import ConformanceError, expecting, require

MOVED = 1e-3
"""Places may be off by so many pixels after two flips, which undo one another."""

NO_TARGETS: tuple[Nest, ...] = (None, "a word", torch.full((2,) * 7, torch.nan))
"""What no kind takes for a target."""


def check_flags(case: KindCase) -> None:
    """A kind is built from nothing, and says of itself what it is as its contract has it."""
    cls, name = case.cls, case.name
    require(name != PICTURES, f"the name {name!r} is that of data sets without targets", "Choose another.")
    with expecting(f"building {name}", "A kind has no state and no parameters: leave out __init__."):
        kind = case.build()
    for flag in ("is_picture", "in_words", "ragged", "needs_labels", "compares"):
        value = getattr(kind, flag)
        require(isinstance(value, bool), f"{name}.{flag} is {value!r}", "Make it True or False, or leave it out.")
    has = cls.divergence is not TaskKind.divergence
    require(
        kind.compares == has,
        f"{name}.compares is {kind.compares}, and it has {'a' if has else 'no'} divergence",
        "Say compares = True where there is a divergence, and only there.",
    )
    good = isinstance(kind.also, tuple) and all(isinstance(other, str) and other != name for other in kind.also)
    require(good, f"{name}.also is {kind.also!r}", "Make it a tuple of names of other kinds.")
    for other in kind.also:
        find_kind(other, None, f"what {name} also is: {name}")


def check_example_targets(case: KindCase) -> None:
    """Made-up targets are of the kind, and depend on the generator alone."""
    kind = case.build()
    for size in case.sizes:
        with expecting(f"example_target of {case.name} for {_text(size)}", "It takes pictures of any size."):
            targets, again = case.targets(size), case.targets(size)
        for target, twin in zip(targets, again, strict=True):
            require(
                same(target, twin),
                f"{case.name} makes two example targets of one generator",
                "Draw from the generator that example_target is given, and from nothing else.",
            )
            _fits(case, kind, target, size, "an example target")


def check_wrong_targets(case: KindCase) -> None:
    """What is no target is refused with a `ValueError` that says why, as a clause."""
    kind, size = case.build(), case.sizes[0]
    for wrong in (*NO_TARGETS, *case.wrong):
        what = "None" if wrong is None else f"{type(wrong).__name__} {wrong!r:.60}".replace("\n", " ")
        try:
            kind.check_target(wrong, size, case.words)
        except ValueError as error:
            require(
                bool(str(error).strip()),
                f"{case.name} refuses a target without a word",
                "Say what is wrong with it, as a clause: 'has 3 values for 2 labels'.",
            )
        except Exception as error:
            raise ConformanceError(
                f"{case.name} met a target that is none ({what}) and raised {type(error).__name__}: {error}. "
                "Look at types and shapes first, and raise ValueError with a clause that says what is wrong."
            ) from error
        else:
            raise ConformanceError(
                f"{case.name} takes {what} for a target. check_target has to refuse what the kind's losses and "
                "figures cannot take."
            )


def check_batches(case: KindCase) -> None:
    """What was batched can be taken out again, one picture or some, in any order."""
    kind, size = case.build(), case.sizes[0]
    targets = [as_trained(kind, target, size, case.words) for target in case.targets(size)]
    advice = "collate stacks, or of a ragged kind makes a tuple; select gives the batch of some of its pictures."
    with expecting(f"batching targets of {case.name}", advice):
        batch = kind.collate(targets)
        for numbers in ([0], [1], [2, 0], list(range(COUNT))):
            require(
                same(kind.select(batch, numbers), kind.collate([targets[number] for number in numbers])),
                f"pictures {numbers} of a batch of {case.name} are not those that were put in",
                advice,
            )


def check_wrapping(case: KindCase) -> None:
    """What is not augmented comes back from `unwrap` as it went into `wrap`; types of numbers may be wider."""
    kind = case.build()
    for size in case.sizes:
        for target in case.targets(size):
            with expecting(f"wrapping a target of {case.name}", "unwrap takes what wrap gives."):
                found = as_trained(kind, target, size, case.words)
            advice = "wrap makes tv_tensors of what has a place in the picture, and unwrap plain tensors of them."
            require(_equal(case, target, found), f"{case.name}: a target is another after wrap and unwrap", advice)
            odd = [type(tensor).__name__ for tensor in tensors(found) if type(tensor) is not Tensor]
            require(not odd, f"{case.name}: unwrap gives {', '.join(odd[:3])}", advice)


def check_moving(case: KindCase) -> None:
    """Cropped, flipped and scaled with its picture, a target is still one; two flips undo one another."""
    kind, legend, size = case.build(), case.words, case.sizes[0]
    fill = {tv_tensors.Image: 0, tv_tensors.Mask: kind.fill(legend), "others": 0}
    height, width = size
    steps: dict[str, Callable[[Any], Any]] = {
        "flipped": v2.RandomHorizontalFlip(1.0),
        "cropped": v2.RandomCrop((height // 2, width // 2 + 1), pad_if_needed=True, fill=fill),
        "padded": v2.RandomCrop((2 * height, width + 3), pad_if_needed=True, fill=fill),
        "scaled": v2.ScaleJitter((height, width), (0.5, 2.0), antialias=True),
        "resized": v2.Resize((height // 2, width), antialias=True),
    }
    picture = tv_tensors.Image((255 * pictures(size, 1)[0]).to(torch.uint8))
    _check_flips(case, kind, picture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        for target in case.targets(size):
            for done, step in steps.items():
                with expecting(f"a target of {case.name} that is {done}", "Wrap what has a place as tv_tensors."):
                    moved, wrapped = step((picture, kind.wrap(target, size)))
                    now = (moved.shape[-2], moved.shape[-1])
                    found = kind.unwrap(wrapped, now, legend)
                _fits(case, kind, _typed(found, target), now, f"a target that was {done}")


def check_truth(case: KindCase) -> None:
    """The prediction that is right for a target has the best figures that there are."""
    kind, size, legend = case.build(), case.sizes[0], case.words
    targets = case.targets(size)
    with expecting(f"the truth of {case.name}", "truth makes a prediction of a target."):
        right = [case.right(target, size) for target in targets]
    for prediction in right:
        require(
            prediction.kind == kind.name,
            f"the truth of {case.name} has the kind {prediction.kind!r}",
            "Return Prediction(self.name, ...).",
        )
    best = measured(case, answers := Answers(kind, legend, size, right, targets), tallied(case, answers))
    others = Answers(kind, legend, size, [*right[1:], right[0]], targets)
    worse = measured(case, others, tallied(case, others))
    for name, figure in best.items():
        value, other = figure.value, worse[name].value if name in worse else None
        if value is None:
            continue
        top = 100.0 if figure.higher_is_better else 0.0
        known = figure.unit == "%" or not figure.higher_is_better
        require(
            not known or abs(value - top) <= MOVED,
            f"{case.name}: {name} of right answers is {value:g} {figure.unit}".rstrip(),
            f"It should be {top:g}: look at tally, figures and truth, and at higher_is_better.",
        )
        no_better = other is None or (other <= value + MOVED if figure.higher_is_better else other >= value - MOVED)
        require(
            no_better,
            f"{case.name}: {name} is {value:g} of right answers, and {other} of those for other pictures",
            "Right answers have the best figure; look at tally, and at higher_is_better.",
        )


def check_resampling(case: KindCase) -> None:
    """Drawing every picture once gives the figures; any draws give as many values of each."""
    answers = case.predicted(case.sizes[0])
    tallies = tallied(case, answers)
    figures = measured(case, answers, tallies)
    draws = np.array([[1, 1, 1], [2, 0, 1], [0, 3, 0], [3, 3, 3]], dtype=np.float64)
    with expecting(f"resampling {case.name}", "weights is (D, P): how often each picture is in each draw."):
        found = answers.kind.resampled(tallies, answers.legend, draws)
    require(
        sorted(found) == sorted(figures),
        f"{case.name} has the figures {sorted(figures)}, and {sorted(found)} of draws",
        "resampled gives the same names as figures.",
    )
    for name, values in found.items():
        require(
            isinstance(values, np.ndarray) and values.shape == (len(draws),) and not np.isinf(values).any(),
            f"{case.name}: {name} of {len(draws)} draws is {values!r:.200}",
            "resampled gives the figure of each draw, (D,), NaN where there is none.",
        )
        value = None if np.isnan(values[0]) else float(values[0])
        require(
            close(value, figures[name].value),
            f"{case.name}: {name} is {value} where every picture is drawn once, and {figures[name].value} by figures",
            "resampled and figures measure the same.",
        )


def check_comparing(case: KindCase) -> None:
    """A kind that compares gives each picture a number, smallest for equal outputs, and a gradient."""
    kind, size = case.build(), case.sizes[0]
    if not kind.compares:
        return
    answers = case.predicted(size)
    one, other = (_joined([answers.predictions[i].output for i in order[:BATCH]]) for order in ((0, 1), (1, 2)))
    # What is not known of a target is not known of its truth either, but heads say something of everything.
    one, other = (map_tensors(lambda part: part.nan_to_num(1.0), side) for side in (one, other))
    near = map_tensors(lambda part: part.clone().requires_grad_() if part.is_floating_point() else part, one)
    with torch.enable_grad(), expecting(f"the divergence of {case.name}", "It takes two outputs, batches of the same."):
        found, least = kind.divergence(near, other), kind.divergence(one, one)
        good = isinstance(found, Tensor) and found.shape == (BATCH,) and bool(found.isfinite().all())
        require(good, f"the divergence of {case.name} is {found!r:.200}", f"Return a finite value each, ({BATCH},).")
        if found.requires_grad:
            found.sum().backward()  # type: ignore[no-untyped-call]
    require(
        bool((least <= found.detach() + MOVED).all()),
        f"the divergence of {case.name} is {least.tolist()} for equal outputs and {found.tolist()} for others",
        "It is a distance: smallest, at best 0, where output and reference are the same.",
    )
    gradients = [part.grad for part in tensors(near) if part.grad is not None]
    require(
        bool(gradients) and all(bool(gradient.isfinite().all()) for gradient in gradients),
        f"the divergence of {case.name} has no gradient, or one that is not finite",
        "Compute it with differentiable operations: no argmax, no .detach(), and bound what is divided by.",
    )


def check_also(case: KindCase) -> None:
    """Targets of the kind serve the kinds that it says it also is: they are moved, made truth of, and measured."""
    kind, size, legend = case.build(), case.sizes[0], case.words
    for name in kind.also:
        other = find_kind(name, None, case.name)
        targets = example_targets(kind, size, legend, COUNT)
        what = f"a target of {case.name} as one of {name}"
        with expecting(what, f"A kind that is also {name} has everything in its targets that {name} has."):
            other.collate([as_trained(other, target, size, legend) for target in targets])
            right = [other.truth(target, legend) for target in targets]
        predictions = [prediction for prediction in right if prediction is not None]
        if len(predictions) == len(targets):
            answers = Answers(other, legend, size, predictions, targets)
            measured(case, answers, tallied(case, answers))


def _check_flips(case: KindCase, kind: TaskKind, picture: Tensor) -> None:
    size, flip = case.sizes[0], v2.RandomHorizontalFlip(1.0)
    turned, placed = False, False
    for target in case.targets(size):
        with expecting(f"a target of {case.name} that is flipped", "Wrap what has a place as tv_tensors."):
            once = flip((picture, kind.wrap(target, size)))
            placed = placed or any(isinstance(leaf, tv_tensors.TVTensor) for leaf in leaves(once[1]))
            turned = turned or not _equal(case, target, kind.unwrap(once[1], size, case.words))
            back = kind.unwrap(flip(once)[1], size, case.words)
        require(
            _equal(case, target, back, MOVED),
            f"{case.name}: a target is another after two flips, which undo one another",
            "Give unwrap's answer from the moved tensors alone, and drop only what left the picture.",
        )
    require(
        turned or not placed,
        f"{case.name}: a target stays as it is when its picture is flipped, though it was wrapped",
        "unwrap has to read what was moved; keep no copy beside it.",
    )


def _fits(case: KindCase, kind: TaskKind, target: Nest, size: tuple[int, int], what: str) -> None:
    try:
        kind.check_target(target, size, case.words)
    except ValueError as error:
        raise ConformanceError(
            f"{case.name}: {what}, of a picture of {_text(size)}, {error}. "
            "Make check_target, example_target and unwrap say the same of targets."
        ) from error


def _equal(case: KindCase, one: Nest, other: Nest, most: float = 0.0) -> bool:
    """Whether nests hold the same values, whatever the types of their numbers; NaN may stand for what is ignored."""
    first, second = (_known(case, nest) for nest in (one, other))
    return first.keys() == second.keys() and all(
        first[where].shape == second[where].shape
        and torch.allclose(first[where], second[where], rtol=0, atol=most, equal_nan=True)
        for where in first
    )


def _known(case: KindCase, nest: Nest) -> dict[str, Tensor]:
    """The tensors of a nest, real numbers with NaN in place of the ignored value."""
    found, ignore = {}, case.words.ignore
    for where, tensor in paths(nest).items():
        real = tensor.double()
        if ignore is not None and tensor.is_floating_point():
            real = torch.where(tensor == ignore, torch.nan, real)
        found[where] = real
    return found


def _typed(found: Nest, target: Nest) -> Nest:
    """A nest with its numbers in the types that a target as its data set has it has at the same places."""
    types = {where: tensor.dtype for where, tensor in paths(target).items()}
    now = {id(tensor): types.get(where) for where, tensor in paths(found).items()}
    return map_tensors(lambda tensor: tensor.to(now.get(id(tensor)) or tensor.dtype), found)


def _joined(outputs: list[Nest]) -> Nest:
    """Outputs of single pictures as one of a batch."""
    first = outputs[0]
    if isinstance(first, Tensor):
        return torch.cat(outputs)
    if isinstance(first, dict):
        return {key: _joined([output[key] for output in outputs]) for key in first}
    return [entry for output in outputs for entry in output]


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]} (height x width)"
