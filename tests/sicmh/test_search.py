"""Encoder-side search: by the codec, and for the tasks of a pipeline."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from icm_core import InputError, Pipeline, SpecError, build, load, parse_spec
from icm_core.bitstream.container import LayerKind, read
from icm_core.plugins.registry import build_registry
from icm_core.quality import Quality
from icm_core.types import SideInfo
from icm_sicmh import Hyperprior
from icm_sicmh.layers import pad_to
from icm_sicmh.search import descend, first_step

QUALITY = Quality.of(2)


def spec(search: list[float] | None) -> dict[str, object]:
    adapter = {"use": "sicmh.multi_scale"}
    task: dict[str, object] = {"adapter": adapter, "head": {"use": "sicmh.coarse"}}
    return {
        "icm": 1,
        "name": "searching",
        "codec": {
            "use": "sicmh.hyperprior",
            "params": {"width": 12, "h1_channels": 16, "h2_channels": 8, "groups": 4, "context_channels": 8},
        },
        "tasks": {"coarse": task if search is None else {**task, "search": search}, "other": task},
    }


def made(search: list[float] | None) -> Pipeline:
    torch.manual_seed(0)
    pipe = build(parse_spec(spec(search)), build_registry())
    pipe.codec.freeze_tables()
    return pipe


@pytest.fixture
def picture() -> Tensor:
    return torch.rand(1, 3, 70, 90, generator=torch.Generator().manual_seed(3))


def test_descent_keeps_the_smallest_value_of_each_row() -> None:
    target = torch.tensor([0.0, 1.0])[:, None, None, None]
    start = torch.zeros(2, 1, 1, 1)
    seen: list[Tensor] = []

    def value(latent: Tensor) -> Tensor:
        seen.append((latent - target).square().flatten(1).sum(1))
        return seen[-1]

    (found,) = descend(value, (start,), (torch.ones(1),), (torch.ones(1),), 5)
    assert len(seen) == 6
    assert torch.equal((found - target).square().flatten(1).sum(1), torch.stack(seen).detach().min(0).values)
    assert float(found[0]) == 0.0
    assert float(found[1]) > 0.1


def test_descent_forgets_gradients_as_adam_does_with_moments_of_3_and_8_tenths() -> None:
    slopes = iter([1.0, -3.0, 0.0])
    seen: list[float] = []

    def value(latent: Tensor) -> Tensor:
        seen.append(float(latent.detach()))
        return next(slopes) * latent.flatten(1).sum(1)

    descend(value, (torch.zeros(1, 1, 1, 1),), (torch.ones(1),), (torch.ones(1),), 2)
    first, second = 0.3 * 0.7 * 1.0, 0.8 * 0.2 * 1.0  # what is left of the first gradient and of its square
    mean = (first + 0.7 * -3.0) / (1 - 0.3**2)
    square = (second + 0.2 * 9.0) / (1 - 0.8**2)
    rate = first_step(2) * (1 - 0.9 / 2)
    assert seen[2] - seen[1] == pytest.approx(-rate * mean / square**0.5, rel=1e-4)


def test_descent_leaves_channels_alone_that_do_not_move() -> None:
    moving = torch.tensor([1.0, 0.0])[None, :, None, None]
    start = torch.zeros(1, 2, 3, 3)
    (found,) = descend(lambda latent: (latent - 1).square().flatten(1).sum(1), (start,), (torch.ones(1),), (moving,), 3)
    assert float(found[:, 0].min()) > 0.1
    assert torch.equal(found[:, 1], start[:, 1])


def test_a_search_leaves_channels_alone_whose_table_expects_one_symbol(codec: Hyperprior, picture: Tensor) -> None:
    cdf, first = codec.h2_cdf[QUALITY.index], codec.h2_first[QUALITY.index]
    sure = torch.arange(cdf.shape[1], dtype=cdf.dtype)
    sure[1 - int(first[0]) :] += 65536 - cdf.shape[1] + 1 - 16
    sure[-1] = 65536
    cdf[0] = sure  # what a training leaves of a channel that it does not use
    codec.gain_h2.log2_gain.data[:, 0] = -16.0
    start = codec.latents(pad_to(picture, 64), torch.tensor([2.0]))[1]
    seen: list[Tensor] = []
    coded = codec.encode_latents
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "encode_latents", lambda h1, h2, quality: (seen.append(h2), coded(h1, h2, quality))[1])
        codec.search(picture, QUALITY, lambda side, _: sum(level.flatten(1).sum(1) for level in side.levels), 2)
    moved = (seen[0] - start).abs().amax((0, 2, 3))
    assert float(moved[0]) < 1e-6 * float(start[:, 0].abs().max())
    assert float(moved[1:].min()) > 0


def test_descent_moves_in_quantisation_steps_that_shrink_to_a_tenth() -> None:
    # With a gradient that stays the same, Adam moves by its learning rate.
    first = 0.08 * 2.5 ** (1 / 3)
    seen: list[float] = []

    def value(latent: Tensor) -> Tensor:
        seen.append(float(latent.detach()))
        return -latent.flatten(1).sum(1)

    (found,) = descend(value, (torch.full((1, 1, 1, 1), 3.0),), (torch.full((1,), 8.0),), (torch.ones(1),), 4)
    steps = [8 * (after - before) for before, after in pairwise(seen)]
    assert steps == pytest.approx([first * share for share in (1, 0.775, 0.55, 0.325)], rel=1e-3)
    assert float(found) == pytest.approx(3 + first * 2.65 / 8)


def test_more_steps_are_smaller_ones() -> None:
    moved = [first_step(steps) for steps in (1, 2, 10, 80, 1000)]
    assert moved == pytest.approx([0.12, 0.12, 0.08, 0.04, 0.08 / 100 ** (1 / 3)])


def test_a_search_for_fewer_bits_finds_fewer_and_decodes(codec: Hyperprior, picture: Tensor) -> None:
    x = picture.repeat(2, 1, 1, 1) * torch.tensor([1.0, 0.5])[:, None, None, None]
    plain = codec.encode(x, QUALITY)
    found = codec.search(x, QUALITY, lambda _, bits: bits, 40)
    assert all(len(one) < len(other) for one, other in zip(found, plain, strict=True))
    assert codec.decode(found, (70, 90), QUALITY).size == (70, 90)


def test_an_objective_sees_what_a_decoder_will_have(codec: Hyperprior, picture: Tensor) -> None:
    seen: list[tuple[float, SideInfo]] = []

    def objective(side: SideInfo, bits: Tensor) -> Tensor:
        value = bits + side.levels[0].square().flatten(1).sum(1)
        seen.append((float(value.detach()), side))
        return value

    (payload,) = codec.search(picture, QUALITY, objective, 3)
    best = min(seen, key=lambda pair: pair[0])[1]
    decoded = codec.decode([payload], (70, 90), QUALITY)
    close = (decoded.levels[0] - best.levels[0]).abs() < 1e-2
    assert float(close.float().mean()) > 0.95  # a rounding at a threshold may fall otherwise in integers


def test_an_objective_is_given_the_bits_of_both_latents(codec: Hyperprior, picture: Tensor) -> None:
    seen: list[Tensor] = []

    def objective(_: SideInfo, bits: Tensor) -> Tensor:
        seen.append(bits)
        return bits

    codec.search(picture, QUALITY, objective, 0)
    expected = codec(picture, torch.tensor([2.0])).bits
    assert float(expected["h2"]) > 1
    torch.testing.assert_close(seen, [expected["h1"] + expected["h2"]])


def test_both_latents_move_in_their_own_quantisation_steps(codec: Hyperprior, picture: Tensor, monkeypatch) -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    quantised = codec.quantised

    def watched(h1: Tensor, h2: Tensor, quality: Tensor) -> object:
        seen.append((h1.detach().clone(), h2.detach().clone()))
        return quantised(h1, h2, quality)

    monkeypatch.setattr(codec, "quantised", watched)
    codec.search(picture, QUALITY, lambda side, _: sum(level.flatten(1).sum(1) for level in side.levels), 1)
    before, after = seen
    for start, moved, unit in zip(before, after, (codec.gain_h1, codec.gain_h2), strict=True):
        steps = (start - moved) * unit.log2(torch.tensor([2.0])).exp2()
        torch.testing.assert_close(steps.abs(), torch.full_like(steps, 0.12), rtol=1e-3, atol=1e-3)


def test_a_file_that_was_searched_for_a_task_serves_it_better(picture: Tensor) -> None:
    pipe = made([100.0, 100.0])

    def error(blob: bytes) -> float:
        return float((pipe.decode(blob, ["coarse"])["coarse"].output - picture).square().mean())

    plain, found = pipe.encode(picture, 2), pipe.encode(picture, 2, effort=15)
    assert error(found) < error(plain)
    assert read(found).base.fingerprint == read(plain).base.fingerprint


def test_what_comes_behind_a_search_is_made_from_what_was_found(picture: Tensor) -> None:
    """Control hashes and enhancement belong to the side information that a decoder will have, not to the first one."""
    data = spec([100.0, 100.0])
    pipe = build(parse_spec({**data, "enhancement": {"use": "sicmh.residual", "over": "coarse"}}), build_registry())
    pipe.codec.freeze_tables()
    pipe.enhancement.freeze_tables()
    blob = pipe.encode(picture, 2, effort=15, control=True)
    assert read(blob).base.payload != read(pipe.encode(picture, 2)).base.payload
    assert len(pipe.decode(blob, ["fine"], verify=True).verified) == 2


def test_a_base_layer_that_was_searched_has_its_control_hash(picture: Tensor) -> None:
    pipe = made([100.0, 100.0])
    blob = pipe.encode(picture, 2, effort=1, control=True)
    assert len(read(blob).base.control) == 4
    assert pipe.decode(blob, ["coarse"], verify=True).verified == (LayerKind.BASE,)


def test_effort_leaves_the_pipeline_as_it_was(picture: Tensor) -> None:
    pipe = made([1.0, 1.0])
    before = pipe.encode(picture, 2)
    state = {key: value.clone() for key, value in pipe.state_dict().items()}
    pipe.precision = "bf16"
    pipe.encode(picture, 2, effort=2)
    pipe.precision = "fp32"
    assert pipe.encode(picture, 2) == before
    assert all(torch.equal(value, state[key]) for key, value in pipe.state_dict().items())
    assert all(parameter.grad is None for parameter in pipe.parameters())


@pytest.mark.parametrize(
    ("search", "how", "says"),
    [
        ([1.0, 1.0], {"effort": -1}, "effort is -1; it should be 0 (no search) to 1000 steps"),
        ([1.0, 1.0], {"effort": 1001}, "effort is 1001; it should be 0 (no search) to 1000 steps"),
        ([1.0, 1.0], {"search_for": ["coarse"]}, "a search for tasks needs an effort of 1 or more, and it is 0"),
        ([1.0, 1.0], {"effort": 1, "search_for": []}, "a search is for no task; name some of coarse"),
        ([1.0, 1.0], {"effort": 1, "search_for": ["coarze"]}, "did you mean 'coarse'?"),
        (
            [1.0, 1.0],
            {"effort": 1, "search_for": ["other"]},
            "no search for task 'other': the spec gives it none",
        ),
        (None, {"effort": 1}, "no task of pipeline 'searching' has a 'search'; it should be 0"),
    ],
)
def test_a_search_that_cannot_be_is_said(
    search: list[float] | None, how: dict[str, object], says: str, picture: Tensor
) -> None:
    with pytest.raises(InputError) as caught:
        made(search).encode(picture, 2, **how)
    assert says in str(caught.value)


def test_a_codec_without_a_search_says_so(picture: Tensor) -> None:
    pipe = load("jpeg-camvid", device="cpu", weights=False)
    with pytest.raises(InputError, match="has no search"):
        pipe.encode(picture, 2, effort=3)


@pytest.mark.parametrize("ends", [[0.0, 1.0], [1.0], [-1.0, 1.0], ["a", 1.0]])
def test_what_a_search_counts_is_validated(ends: list[object]) -> None:
    with pytest.raises(SpecError, match="search"):
        parse_spec(spec(ends))
