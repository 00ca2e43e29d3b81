"""Checks of payloads: real bytes out of codecs and enhancements, and back."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch

from icm_core.errors import BitstreamError
from icm_core.testing.cases.codecs import CodecCase
from icm_core.testing.cases.coding import CodingCase
from icm_core.testing.cases.examples import BATCH, Example, Parts
from icm_core.testing.failing import ConformanceError, expecting, require

RATE_SHARE = 0.03
RATE_BITS = 160
"""Bytes may differ from the estimate by this share, and by so many bits for a coder's state and rounding."""

FAR = 0.1
"""Decoded values may be off the training pass by this share of its energy: roundings that fall otherwise."""

FLIPS = 24


def check_round_trip(case: CodingCase) -> None:
    """What is decoded from real bytes is what the training pass in eval mode says, at every size."""
    component = case.build()
    for size in case.sizes:
        example = case.example(component, size)
        payloads = encoded(case, component, example)
        with torch.inference_mode():
            with expecting(f"{case.name} decoding its own payloads of {size}", "decode reads what encode wrote."):
                found = case.decode(component, payloads, example)
            if size == case.sizes[0]:
                reference, _ = case.reference(component, example)
                _near(case, found, reference)
        step = component.layout.alignment
        for name, value in found.items():
            rows = value.shape[0]
            require(rows == BATCH, f"{case.name} decodes {rows} pictures from {BATCH} payloads", "One each.")
            require(
                value.dtype == torch.float32 and bool(value.isfinite().all()),
                f"{case.name}: decoded {name} is {value.dtype} or not finite",
                "Return finite float32 tensors.",
            )
        if isinstance(case, CodecCase):
            padded = [-(-side // step) * step for side in size]
            for index, level in enumerate(component.layout.levels):
                asked = (BATCH, level.channels, *level.at(padded[0], padded[1]))
                have = tuple(found[f"side.levels[{index}]"].shape)
                require(have == asked, f"{case.name}: level {index} is decoded as {have}, not {asked}", "See layout.")
        else:
            for name, value in found.items():
                require(
                    value.shape == example.pictures.shape,
                    f"{case.name}: {name} are decoded as {tuple(value.shape)}, not {tuple(example.pictures.shape)}",
                    "Give them the size of the base reconstruction, without padding of your own.",
                )


def _near(case: CodingCase, found: Parts, reference: Parts) -> None:
    for name, value in reference.items():
        if value.shape != found[name].shape:
            continue  # which shape is right is looked at below
        energy = float((value - value.mean()).square().sum())
        off = float((found[name] - value).square().sum())
        require(
            off <= FAR * energy + 1e-6,
            f"{case.name}: decoded {name} is off the training pass by {off / max(energy, 1e-12):.0%} of its energy",
            "Training has to see what decoding gives: the same networks, the same quantisation, the same quality.",
        )


def check_decoding_is_exact(case: CodingCase) -> None:
    """Encoding twice gives the same bytes; decoding gives the same bits again, alone, and with another thread count."""
    component = case.build()
    example = case.example(component, case.sizes[1])
    payloads = encoded(case, component, example)
    require(
        payloads == encoded(case, component, example),
        f"{case.name} encodes one picture to other bytes the second time",
        "Use no random numbers in encode.",
    )
    threads = torch.get_num_threads()
    with torch.inference_mode():
        together = case.decode(component, payloads, example)
        exact = case.decode(component, payloads, example)
        same_parts(case, exact, together, "the second time", "Use no random numbers in decode.")
        advice = "Compute what decoding goes on from in integers; docs/exact-coding.md says how."
        if isinstance(case, CodecCase):
            for index in range(BATCH):
                alone = case.decode(component, payloads[index : index + 1], example.one(index))
                rows = {name: value[index : index + 1] for name, value in together.items()}
                same_parts(case, alone, rows, f"for payload {index} alone", advice)
            try:
                torch.set_num_threads(2 if threads == 1 else 1)
                same_parts(case, case.decode(component, payloads, example), together, "with other threads", advice)
            finally:
                torch.set_num_threads(threads)


def same_parts(case: CodingCase, found: Parts, expected: Parts, when: str, advice: str) -> None:
    """Raise `ConformanceError` unless decoded tensors are the same bit for bit."""
    for name, value in expected.items():
        same = torch.equal(value, found[name])
        require(same, f"{case.name} decodes other bits of {name} {when}", advice)


def check_stream_is_exhausted(case: CodingCase) -> None:
    """Decoding reads the payload to its end: bytes that were added are refused."""
    component = case.build()
    example = case.example(component, case.sizes[0], 1)
    (payload,) = encoded(case, component, example)
    for extra in (b"\0", b"\0\0\0\0", b"\xff" * 64):
        _refused(
            case,
            component,
            payload + extra,
            example,
            f"with {len(extra)} bytes added",
            "After the last symbol, check that the stream is exhausted (StreamDecoder.finish does).",
        )


def check_truncated_input(case: CodingCase) -> None:
    """A payload that was cut anywhere is refused with `BitstreamError`."""
    component = case.build()
    example = case.example(component, case.sizes[0], 1)
    (payload,) = encoded(case, component, example)
    for length in sorted({0, 1, 4, len(payload) // 2, len(payload) - 4, len(payload) - 1}):
        if 0 <= length < len(payload):
            _refused(
                case,
                component,
                payload[:length],
                example,
                f"cut to {length} of {len(payload)} bytes",
                "Raise icm_core.BitstreamError when the bytes end early; never read on, never another exception.",
            )


def check_damaged_input(case: CodingCase) -> None:
    """A payload with a flipped bit, or of random bytes, is a `BitstreamError` or decodes to finite values."""
    component = case.build()
    example = case.example(component, case.sizes[0], 1)
    (payload,) = encoded(case, component, example)
    generator = random.Random(3)
    damaged = [generator.randbytes(len(payload)), bytes(len(payload))]
    for _ in range(FLIPS):
        changed = bytearray(payload)
        changed[generator.randrange(len(payload))] ^= 1 << generator.randrange(8)
        damaged.append(bytes(changed))
    with torch.inference_mode():
        for one in damaged:
            try:
                found = case.decode(component, [one], example)
            except BitstreamError:
                continue
            except Exception as error:
                raise ConformanceError(
                    f"{case.name} met a damaged payload and raised {type(error).__name__}: {error}. "
                    "Raise icm_core.BitstreamError; a file may come from anybody."
                ) from error
            for name, value in found.items():
                good = bool(value.isfinite().all())
                require(good, f"{case.name}: {name} of a damaged payload is not finite", "Bound decoded symbols.")


def check_rate_estimate(case: CodingCase) -> None:
    """Real bytes are what the training pass in eval mode estimates."""
    component = case.build()
    step = component.layout.alignment
    size = (2 * step, 2 * step)
    example = case.example(component, size)
    payloads = encoded(case, component, example)
    with torch.inference_mode():
        _, estimate = case.reference(component, example)
    for index, payload in enumerate(payloads):
        bits, said = 8 * len(payload), float(estimate[index])
        require(
            abs(bits - said) <= RATE_SHARE * said + RATE_BITS,
            f"{case.name} writes {bits} bits where it estimates {said:.0f} (picture of {size[0]}x{size[1]})",
            "Estimate -log2 of the probabilities that the coder uses, in bits per picture, summed over all symbols; "
            "random weights may be unlike trained ones: prepare=... can load some.",
        )


def check_coding_state(case: CodingCase) -> None:
    """`coding_state` is bytes, the same for the same weights, whatever the component did in between."""
    component, twin = case.build(0), case.build(0)
    before = component.coding_state()
    require(
        isinstance(before, bytes) and len(before) > 0,
        f"{case.name}.coding_state() gives {before!r}",
        "Return all that decoding depends on, as bytes; its hash goes into every file.",
    )
    encoded(case, component, case.example(component, case.sizes[0], 1))
    component.train()
    component.eval()
    require(
        component.coding_state() == before == twin.coding_state(),
        f"{case.name}.coding_state() changes from call to call or from instance to instance",
        "Build it from sorted, exact values: no id(), no hash(), no order of a set.",
    )


def encoded(case: CodingCase, component: Any, example: Example) -> list[bytes]:
    """Payloads of an example's pictures, one each."""
    with (
        torch.inference_mode(),
        expecting(f"{case.name} encoding pictures of {example.size}", "encode takes pictures of any size."),
    ):
        payloads: Sequence[object] = case.encode(component, example)
    good = len(payloads) == len(example.pictures) and all(isinstance(payload, bytes) for payload in payloads)
    found = [type(payload).__name__ for payload in payloads]
    require(good, f"{case.name}.encode gives {found} for {len(example.pictures)} pictures", "One bytes object each.")
    return list(payloads)  # type: ignore[arg-type]


def _refused(case: CodingCase, component: Any, payload: bytes, example: Example, what: str, advice: str) -> None:
    with torch.inference_mode():
        try:
            case.decode(component, [payload], example)
        except BitstreamError:
            return
        except Exception as error:
            raise ConformanceError(
                f"{case.name} met a payload {what} and raised {type(error).__name__}: {error}. {advice}"
            ) from error
    raise ConformanceError(f"{case.name} decodes a payload {what} without a word. {advice}")
