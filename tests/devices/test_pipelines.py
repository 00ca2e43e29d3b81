"""Every pipeline that ships codes, answers and trains on a card that is not there, as it does on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import chain

import pytest
import torch
from PIL import Image

import icm_core
from icm_core import InputError, Pipeline, Registry, build_registry
from icm_core.bitstream.container import LayerKind, read
from icm_core.nests import map_tensors, tensors
from icm_core.pictures import to_picture
from icm_core.testing.card import CARD, card, off_card, on_card, to_card
from icm_core.testing.cases.examples import pictures
from icm_core.testing.cases.kinds import as_trained, example_targets
from icm_core.testing.nests import differing_nests
from icm_training.batch import CodedBatch, Kept

SIZE = (72, 64)


@cache
def registry() -> Registry:
    return build_registry()


SHIPPED = registry().specs.names
WITH_WEIGHTS = [name for name in SHIPPED if name != "sicmh-paper"]  # whose tables take half a minute, of no more parts


def loaded(name: str) -> Pipeline:
    """The pipeline with its weights, or with others where it has none yet."""
    torch.manual_seed(0)
    return icm_core.load(name, device="cpu", registry=registry(), weights="available")


@contextmanager
def skipping_what_needs_a_program() -> Iterator[None]:
    """Skip where a codec needs a program that this machine lacks; its message says how to get it."""
    try:
        yield
    except InputError as error:
        if " needs the program " in str(error):
            pytest.skip(str(error))
        raise


def photograph() -> Image.Image:
    return to_picture(pictures(SIZE, 1)[0])


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_files_and_answers_are_those_of_the_cpu(name: str) -> None:
    here = loaded(name)
    for part in (here.codec, here.enhancement):
        if part is not None and not any(bool(table.any()) for table in part.buffers()):
            part.freeze_tables()  # it has no weights yet
    low, high = here.codec.quality_range
    with skipping_what_needs_a_program():
        blob = here.encode(photograph(), (low + high) / 2, control=True)
    answers = here.decode(blob)
    there = to_card(here)
    with card():
        assert there.device == CARD
        again = there.encode(photograph(), (low + high) / 2, control=True)
        found = there.decode(again, verify=True)
        assert all(tensor.device == CARD for task in found for tensor in tensors(found[task].output))
        for task, prediction in found.items():
            kind = there.kind(task)
            assert kind.answer(prediction) is not None and kind.describe(prediction) is not None
            kind.draw(prediction, photograph())
    assert again == blob
    assert LayerKind.BASE in found.verified
    assert set(found.verified) == {layer.kind for layer in read(again).layers if layer.control}
    assert all(level.device == CARD for level in found.side.levels)
    for task, prediction in answers.items():
        unordered = there.kind(task).ragged
        other = map_tensors(off_card, found[task].output)
        for where, share in differing_nests(prediction.output, other, unordered=unordered).items():
            assert share <= 0.01, (task, where, share)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_training_step_stays_on_the_card(name: str) -> None:
    pipe = to_card(loaded(name)).requires_grad_(True).train()
    low, high = pipe.codec.quality_range
    x = pictures((64, 64), 2)
    with card(), torch.enable_grad(), skipping_what_needs_a_program():
        quality = on_card(torch.tensor([low, high]))
        for task in pipe.tasks:
            owner = pipe.task(task)
            kind, legend = owner.kind, owner.head.legend
            target = None
            if not kind.is_picture:
                made = example_targets(kind, (64, 64), legend, 2)
                target = map_tensors(on_card, kind.collate([as_trained(kind, one, (64, 64), legend) for one in made]))
            batch = CodedBatch(pipe, on_card(x), target, quality, 0.5, (1, 2), (-1, -1), Kept())
            loss = batch.coded().total_bits + batch.losses(task)
            if task == pipe.over:
                fine, bits = batch.fine()
                loss = loss + bits + (fine - batch.pictures).square().mean((1, 2, 3))
            assert loss.shape == (2,) and loss.device == CARD and bool(loss.isfinite().all())
            if loss.requires_grad:
                loss.sum().backward()
        trained = [parameter for parameter in pipe.parameters() if parameter.grad is not None]
        assert all(parameter.grad.device == CARD for parameter in trained if parameter.grad is not None)
        if trained:
            torch.optim.Adam(trained, 1e-4).step()
    assert all(tensor.device == CARD for tensor in chain(pipe.parameters(), pipe.buffers()))
