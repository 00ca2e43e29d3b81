"""A batch on its way: computed once, and refused where it has not what a loss asks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch

from icm_core import Pipeline, SpecError
from icm_core.nests import Nest
from icm_core.types import Features
from icm_training.batch import CleanBatch, CodedBatch, Kept

SEG = "segmentation"
HEIGHT, WIDTH = 40, 72


def pictures() -> torch.Tensor:
    return torch.rand(2, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(4))


def coded(pipe: Pipeline) -> CodedBatch:
    target = torch.arange(2 * HEIGHT * WIDTH).remainder(3).view(2, HEIGHT, WIDTH)
    return CodedBatch(pipe, pictures(), target, torch.tensor([1.0, 2.0]), 0.0, (1, 2), (-1, -1), Kept())


def clean(pipe: Pipeline, target: Nest | None = None) -> CleanBatch:
    return CleanBatch(pipe, pictures(), target, torch.tensor([1.0, 2.0]), 0.5)


@torch.no_grad()
def test_what_several_losses_ask_a_batch_for_is_computed_once(pipe: Pipeline) -> None:
    calls: Counter[str] = Counter()
    assert pipe.enhancement is not None
    parts = {"codec": pipe.codec, "enhancement": pipe.enhancement}
    parts |= {f"{name} {part}": getattr(pipe.task(name), part) for name in pipe.tasks for part in ("adapter", "head")}
    for name, module in parts.items():
        module.register_forward_hook(lambda *_, name=name: calls.update([name]))
    batch = coded(pipe)
    found = [
        (
            batch.coded(),
            batch.fine(),
            batch.features(SEG),
            batch.outputs(SEG),
            batch.losses(SEG),
            batch.output("coarse"),
        )
        for _ in range(3)
    ]
    assert all(one is first for more in found[1:] for one, first in zip(more, found[0], strict=True))
    assert {**calls, f"{SEG} head": 1} == dict.fromkeys(parts, 1)


@torch.no_grad()
def test_each_task_has_features_outputs_and_losses_of_its_own(pipe: Pipeline) -> None:
    batch = coded(pipe)
    found = {name: (batch.features(name), batch.outputs(name), batch.losses(name)) for name in (SEG, "coarse")}
    for name, (features, outputs, losses) in found.items():
        alone = coded(pipe)
        assert features.maps.keys() == alone.features(name).maps.keys()
        for (weight, output), (its_weight, its_own) in zip(outputs, alone.outputs(name), strict=True):
            assert weight == its_weight
            torch.testing.assert_close(output, its_own)
        torch.testing.assert_close(losses, alone.losses(name))
    assert not torch.allclose(found[SEG][2], found["coarse"][2])


def kept(values: list[float]) -> Callable[[], list[torch.Tensor]]:
    return lambda: [torch.tensor(values)]


def test_kept_values_are_of_half_precision_and_come_back_in_whole() -> None:
    (found,) = Kept().get("x", [3, 5], torch.device("cpu"), kept([1 / 3, 1000.6]))
    assert found.dtype == torch.float32 and found.tolist() == [0.333251953125, 1000.5]


def test_what_one_stage_keeps_is_not_another_ones() -> None:
    for value in (0.25, 0.5):
        (found,) = Kept().get("x", [3], torch.device("cpu"), kept([value]))
        assert found.tolist() == [value]


def test_values_of_two_names_and_of_several_tensors_stand_apart() -> None:
    store, cpu = Kept(), torch.device("cpu")

    def two(first: float) -> Callable[[], list[torch.Tensor]]:
        return lambda: [torch.tensor([[first], [first + 1]]), torch.tensor([[10 * first] * 3, [0.5] * 3])]

    for name, first in (("a", 1.0), ("b", 7.0)):
        store.get(name, [8, 2], cpu, two(first))
    one, other = store.get("b", [2, 8, 2], cpu, kept([]))
    assert one.tolist() == [[8.0], [7.0], [8.0]] and other.tolist() == [[0.5] * 3, [70.0] * 3, [0.5] * 3]


def test_a_clean_batch_has_neither_bits_nor_a_fine_picture(pipe: Pipeline) -> None:
    for ask in (clean(pipe).coded, clean(pipe).fine):
        with pytest.raises(SpecError, match=r"^this loss reads coded pictures; its input cannot be 'clean'$"):
            ask()


@torch.no_grad()
def test_a_clean_batch_gives_the_heads_every_output_of_the_pictures_themselves(pipe: Pipeline) -> None:
    batch, head = clean(pipe.eval()), pipe.task(SEG).head
    features = batch.features(SEG)
    assert features.size == (HEIGHT, WIDTH) and torch.equal(features.maps["image"], pictures())
    expected = head.outputs(Features({"image": pictures()}, (HEIGHT, WIDTH)))
    assert len(expected) == 2
    for (weight, output), (its_weight, its_own) in zip(batch.outputs(SEG), expected, strict=True):
        assert weight == its_weight
        torch.testing.assert_close(output, its_own)
    torch.testing.assert_close(batch.output(SEG), expected[0][1])
    target = torch.arange(2 * HEIGHT * WIDTH).remainder(3).view(2, HEIGHT, WIDTH)
    by_hand = sum(weight * torch.nn.functional.cross_entropy(o, target, reduction="none").mean((1, 2))
                  for weight, o in expected)  # fmt: skip
    torch.testing.assert_close(clean(pipe, target).losses(SEG), by_hand)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 1)])
def test_a_heads_loss_that_is_no_value_a_picture_is_refused(
    pipe: Pipeline, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    monkeypatch.setattr(pipe.task(SEG).head, "loss", lambda *_: torch.zeros(shape))
    with pytest.raises(SpecError, match=r"^the loss of head 'tasks\.modified_trseg' is .*one value a picture, \(2,\)$"):
        coded(pipe).losses(SEG)
