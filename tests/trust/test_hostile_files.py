"""Files that lie: the right answer or one error, and nothing large is done for a small lie."""

from __future__ import annotations

import dataclasses
from types import ModuleType
from typing import Any

import pytest
import torch

from icm_core import BitstreamError
from icm_core.bitstream.container import Container, read, write

MUTANTS = 500


@pytest.fixture(scope="module")
def fuzzer(fuzz: ModuleType) -> Any:
    return fuzz.Fuzzer()


def test_mutants_are_answered_rightly_or_refused(fuzz: ModuleType, fuzzer: Any) -> None:
    # The same numbers as the first of benchmarks/fuzz.py, which goes on to 100,000.
    outcomes = {number: fuzzer.judge(fuzzer.mutant(number)) for number in range(MUTANTS)}
    assert {n: o for n, o in outcomes.items() if o.startswith("failure")} == {}
    assert {"refused", "right"} <= set(outcomes.values())


def test_a_mutant_follows_from_its_number(fuzzer: Any) -> None:
    assert [fuzzer.mutant(n) for n in range(40)] == [fuzzer.mutant(n) for n in range(40)]
    assert {fuzzer.mutant(n).is_sealed for n in range(40)} == {True, False}


def test_the_judge_finds_a_decoder_that_goes_wrong(fuzz: ModuleType, fuzzer: Any) -> None:
    whole = fuzz.Mutant("none", "base", fuzzer.seeds["base"], None, False)
    assert fuzzer.judge(whole) == "right"
    assert fuzzer.judge(dataclasses.replace(whole, seed="control")).startswith("failure: other integers")
    assert fuzzer.judge(dataclasses.replace(whole, blob=None)).startswith("failure: TypeError")


@pytest.mark.parametrize("name", ["base", "control"])
def test_every_flipped_bit_of_a_coded_file_is_refused(fuzzer: Any, name: str) -> None:
    blob = fuzzer.seeds[name]
    for bit in range(8 * len(blob)):
        flipped = bytearray(blob)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BitstreamError):
            fuzzer.pipeline.decode(bytes(flipped))


def test_a_file_cut_anywhere_gives_base_results_or_one_error(fuzzer: Any) -> None:
    blob = fuzzer.seeds["control"]
    base_bytes = read(blob).base_bytes
    whole = fuzzer.pipeline.decode(blob)
    for end in range(0, base_bytes):
        with pytest.raises(BitstreamError):
            fuzzer.pipeline.decode(blob[:end])
    for end in range(base_bytes, len(blob), 7):
        out = fuzzer.pipeline.decode(blob[:end])
        assert list(out) == ["coarse"]
        assert out.complete == (end == base_bytes)
        assert torch.equal(out["coarse"].output, whole["coarse"].output)


def test_an_enhancement_that_comes_later_gives_what_the_whole_file_gives(fuzz: ModuleType, fuzzer: Any) -> None:
    blob = fuzzer.seeds["parts"]
    base, part = fuzz.split(blob)
    out = fuzzer.pipeline.decode(base, enhancement=part, verify=True)
    assert len(out.verified) == 2
    assert torch.equal(out["fine"].output, fuzzer.pipeline.decode(blob)["fine"].output)


@pytest.mark.parametrize("layer", [0, 1], ids=["base", "enhancement"])
def test_each_layer_is_verified_by_its_own_control_hash(fuzzer: Any, layer: int) -> None:
    file = read(fuzzer.seeds["parts"])
    assert len({one.control for one in file.layers}) == 2
    layers = list(file.layers)
    layers[layer] = dataclasses.replace(layers[layer], control=b"\1\2\3\4")
    blob = write(dataclasses.replace(file, layers=tuple(layers)))
    assert list(fuzzer.pipeline.decode(blob))  # nobody asked for a proof
    with pytest.raises(BitstreamError, match=f"the {layers[layer].kind} layer does not decode to what was coded"):
        fuzzer.pipeline.decode(blob, verify=True)


def claiming(blob: bytes, height: int, width: int, payload: bytes | None = None) -> bytes:
    file = read(blob)
    base = dataclasses.replace(file.base, payload=file.base.payload if payload is None else payload)
    return write(Container(height, width, file.quality, (base,)))


def test_a_small_file_that_claims_100_million_pixels_is_refused_before_it_is_decoded(
    fuzzer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icm_sicmh.codec.StreamDecoder", None)  # whoever gets there fails
    with pytest.raises(BitstreamError, match=r"the coded stream has \d+ bytes; a picture of the size .* at least"):
        fuzzer.pipeline.decode(claiming(fuzzer.seeds["base"], 10_000, 10_000))


def test_a_stream_too_short_for_its_picture_is_refused_before_the_networks_run(
    fuzzer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reached(*_: object) -> None:
        raise AssertionError("the networks ran")

    monkeypatch.setattr("icm_sicmh.codec.predict", reached)
    # Whatever stands behind the end of the stream is read as symbols, and those are too many for its bytes.
    payload = read(fuzzer.seeds["base"]).base.payload
    with pytest.raises(BitstreamError, match=r"cannot hold the symbols it gives|a symbol that no encoder writes"):
        fuzzer.pipeline.decode(claiming(fuzzer.seeds["base"], 600, 600, payload))


def test_the_limit_of_pixels_is_looked_at_first(fuzzer: Any) -> None:
    blob = fuzzer.seeds["base"]
    file = read(blob)
    pixels = file.height * file.width
    fuzzer.pipeline.decode(blob, [], max_pixels=pixels)
    with pytest.raises(BitstreamError, match=f"1 to {pixels - 1} pixels are accepted"):
        fuzzer.pipeline.decode(blob, [], max_pixels=pixels - 1)
