"""The integer twin follows its weights, and the digest of the coding path covers exactly what decoding needs."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn

from icm_core import Quality
from icm_sicmh import Hyperprior, Residual

Change = Callable[[nn.Module], object]
CODEC_PATH = ("decoder_h2.", "prediction.", "cahcm.", "gain_h1.table", "gain_h2.table", "h2_cdf", "h2_first")
RESIDUAL_PATH = ("decoder_h1r.", "prediction.", "gain.table")


def altered(module: nn.Module, name: str) -> nn.Module:
    """A copy with one tensor of its state changed."""
    other = copy.deepcopy(module)
    state = other.state_dict()
    state[name] = state[name] + 1
    other.load_state_dict(state)
    return other


def codec_state() -> list[str]:
    with torch.device("meta"):
        return list(Hyperprior(Hyperprior.Params(groups=2)).state_dict())


def residual_state() -> list[str]:
    with torch.device("meta"):
        return list(Residual(Residual.Params(), Hyperprior(Hyperprior.Params()).layout).state_dict())


@pytest.mark.parametrize("name", codec_state())
def test_the_codecs_digest_covers_the_coding_path_and_nothing_else(codec, name) -> None:
    changes = altered(codec, name).coding_state() != codec.coding_state()
    assert changes == name.startswith(CODEC_PATH)


@pytest.mark.parametrize("name", residual_state())
def test_the_enhancements_digest_covers_the_coding_path_and_nothing_else(residual, name) -> None:
    changes = altered(residual, name).coding_state() != residual.coding_state()
    assert changes == name.startswith(RESIDUAL_PATH)


def test_the_order_of_training_changes_nothing_in_the_digest(codec) -> None:
    other = Hyperprior(codec.params)
    other.load_state_dict(codec.state_dict())
    assert other.coding_state() == codec.coding_state()


def test_weights_rounded_alike_have_one_digest(codec) -> None:
    before = codec.coding_state()
    with torch.no_grad():
        codec.decoder_h2[0].weight[0, 0] += 1e-9
    assert copy.deepcopy(codec).coding_state() == before


def load(codec: Hyperprior) -> None:
    state = {name: value.clone() for name, value in codec.state_dict().items()}
    state["prediction.7.bias"] += 1
    codec.load_state_dict(state)


def load_as_part_of_more(codec: Hyperprior) -> None:
    whole = nn.ModuleDict({"codec": codec})
    state = {name: value.clone() for name, value in whole.state_dict().items()}
    state["codec.prediction.7.bias"] += 1
    whole.load_state_dict(state)


def load_by_assignment(codec: Hyperprior) -> None:
    state = {name: value.clone() for name, value in codec.state_dict().items()}
    state["prediction.7.bias"] += 1
    codec.load_state_dict(state, assign=True)


def train(codec: Hyperprior) -> None:
    codec.train()
    step(codec)


def train_after_a_look(codec: Hyperprior) -> None:
    codec.train()
    codec.coding_state()
    step(codec)
    codec.eval()


def step(codec: Hyperprior) -> None:
    with torch.no_grad():
        codec.prediction[7].bias += 1


@pytest.mark.parametrize("change", [load, load_as_part_of_more, load_by_assignment, train, train_after_a_look])
def test_the_twin_follows_new_weights(codec, change) -> None:
    before = codec.coding_state()
    change(codec)
    assert codec.coding_state() != before


@pytest.mark.parametrize(
    "move",
    [lambda m: m.to(torch.float64), lambda m: m.half(), lambda m: m.gain_h1.freeze()],
    ids=["cast", "halve", "freeze"],
)
def test_the_twin_is_dropped_when_weights_may_change(codec, move) -> None:
    before = codec.exact
    assert codec.exact is before
    move(codec)
    assert codec.exact is not before


def test_the_enhancements_twin_follows_new_weights(residual) -> None:
    before = residual.coding_state()
    state = {name: value.clone() for name, value in residual.state_dict().items()}
    state["decoder_h1r.0.bias"] += 1
    residual.load_state_dict(state)
    assert residual.coding_state() != before


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_a_copied_codec_codes_the_same(codec, picture, copied) -> None:
    payloads = codec.encode(picture(64, 64), Quality.of(2))
    other = copied(codec)
    assert other.encode(picture(64, 64), Quality.of(2)) == payloads
    assert other.coding_state() == codec.coding_state()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_a_copied_enhancement_codes_the_same(residual, picture, side, copied) -> None:
    arguments = (picture(64, 64), picture(64, 64) * 0.5, side(64, 64), Quality.of(2))
    assert copied(residual).encode(*arguments) == residual.encode(*arguments)


def test_a_copy_has_a_twin_of_its_own(codec) -> None:
    own = codec.exact
    other = copy.deepcopy(codec)
    assert other.exact is not own and codec.exact is own


def test_the_twin_is_no_part_of_the_state(codec) -> None:
    before = list(codec.state_dict())
    codec.coding_state()
    assert list(codec.state_dict()) == before


def test_it_is_built_on_the_meta_device() -> None:
    with torch.device("meta"):
        codec = Hyperprior(Hyperprior.Params())
    assert all(tensor.is_meta for tensor in codec.state_dict().values())
