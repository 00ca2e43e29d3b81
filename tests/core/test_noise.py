"""Noise that stands for rounding in training: even around zero, and each picture's own."""

from __future__ import annotations

import pytest
import torch

from icm_core.training import noise_of, uniform_noise

SEEDS = [5, 6, 7]


def noise(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return uniform_noise(torch.empty(*shape, dtype=dtype))


@pytest.mark.parametrize("seeded", [True, False])
def test_it_is_even_from_minus_a_half_to_a_half(seeded: bool) -> None:
    torch.manual_seed(0)
    if seeded:
        with noise_of(SEEDS):
            found = noise(3, 20_000)
    else:
        found = noise(3, 20_000)
    assert float(found.min()) >= -0.5 and float(found.max()) < 0.5
    shares = torch.histc(found, 10, -0.5, 0.5) / found.numel()
    assert float((shares - 0.1).abs().max()) < 0.006  # five standard deviations


def test_a_picture_has_its_noise_in_any_batch() -> None:
    with noise_of(SEEDS):
        together = noise(3, 4, 5)
    for seed, own in zip(SEEDS, together, strict=True):
        with noise_of([seed]):
            assert torch.equal(noise(1, 4, 5)[0], own)
    assert len({tuple(own.flatten().tolist()) for own in together}) == 3


def test_each_draw_goes_on_and_each_block_begins_again() -> None:
    with noise_of(SEEDS):
        first, second = noise(3, 4), noise(3, 4)
    with noise_of(SEEDS):
        assert torch.equal(noise(3, 4), first)
    assert not torch.equal(first, second)


def test_blocks_end_and_may_stand_in_each_other() -> None:
    with noise_of(SEEDS):
        whole = torch.cat([noise(3, 4), noise(3, 4)], 1)
    with noise_of(SEEDS):
        first = noise(3, 4)
        with pytest.raises(RuntimeError, match="inside"), noise_of([1, 2, 3]):
            noise(3, 4)
            raise RuntimeError("inside")
        assert torch.equal(torch.cat([first, noise(3, 4)], 1), whole)
    torch.manual_seed(3)
    expected = torch.rand(3, 4) - 0.5
    torch.manual_seed(3)
    assert torch.equal(noise(3, 4), expected)


def test_a_batch_of_another_size_has_the_global_noise() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2, 4) - 0.5
    torch.manual_seed(3)
    with noise_of(SEEDS):
        assert torch.equal(noise(2, 4), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_it_has_the_type_of_what_it_is_added_to(dtype: torch.dtype) -> None:
    with noise_of(SEEDS):
        assert noise(3, 2, dtype=dtype).dtype == noise(1, 2, dtype=dtype).dtype == dtype


def test_seeds_go_to_pictures_in_their_order_and_not_by_size() -> None:
    order = [7, 2, 7, 5]
    with noise_of(order):
        together = noise(4, 6)
    alone = []
    for seed in order:
        with noise_of((seed,)):
            alone.append(noise(1, 6))
    assert torch.equal(together, torch.cat(alone))
    assert torch.equal(together[0], together[2]) and not torch.equal(together[0], together[1])


def test_a_seeded_draw_leaves_the_global_generator_as_it_was() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    with noise_of(SEEDS):
        noise(3, 5)
    assert torch.equal(torch.rand(4), expected)
