"""Checks of what codecs alone can do: choose an encoder, search, and give side information with the bytes."""

from __future__ import annotations

import torch
from torch import Tensor

from icm_core.interfaces import Codec
from icm_core.testing.cases.codecs import CodecCase, levels
from icm_core.testing.checks.coding import FAR, encoded, same_parts
from icm_core.testing.failing import expecting, require
from icm_core.types import SideInfo


def check_encode_with_side(case: CodecCase) -> None:
    """`encode_with_side` gives the bytes of `encode`, and side information bit for bit as they decode."""
    component = case.build()
    if type(component).encode_with_side is Codec.encode_with_side:
        return  # it decodes what encode wrote
    advice = "Give what decode gives of the payloads, or leave encode_with_side as Codec has it: it decodes them."
    example = case.example(component, case.sizes[1])
    plain = encoded(case, component, example)
    with torch.inference_mode(), expecting(f"{case.name}.encode_with_side of pictures of {example.size}", advice):
        payloads, side = component.encode_with_side(example.pictures, example.quality)
        decoded = case.decode(component, plain, example)
    require(
        list(payloads) == plain,
        f"{case.name}.encode_with_side gives other bytes than encode",
        "Let both code the same symbols: a file must not depend on what else is asked for.",
    )
    found = levels(side)
    require(
        side.size == example.size and found.keys() == decoded.keys(),
        f"{case.name}.encode_with_side gives {sorted(found)} of the size {side.size}, and decode {sorted(decoded)} of "
        f"{example.size}",
        advice,
    )
    same_parts(case, found, decoded, "than encode_with_side gives", advice)


def check_encoders(case: CodecCase) -> None:
    """Every encoder's payloads decode, the first is the usual one, and none of them changes the coding state."""
    component = case.build()
    names = component.encoders
    if not names:
        return
    require(len(set(names)) == len(names), f"{case.name}.encoders are {names}", "Give each encoder one name.")
    example = case.example(component, case.sizes[0])
    before = component.coding_state()
    for number, name in enumerate(names):
        chosen = component.with_encoder(name)
        payloads = encoded(case, chosen, example)
        with torch.inference_mode(), expecting(f"{case.name} decoding what encoder {name!r} wrote", "Share decoders."):
            case.decode(component, payloads, example)
        require(
            number > 0 or payloads == encoded(case, component, example),
            f"{case.name} without a choice does not write what its first encoder {name!r} does",
            "Name the usual encoder first.",
        )
        require(
            chosen.coding_state() == before == component.coding_state(),
            f"{case.name}: encoder {name!r} changes the coding state",
            "Decoding must not depend on who encoded.",
        )


def check_search(case: CodecCase) -> None:
    """A codec that says it searches finds side information that decodes, and that an objective likes no less."""
    component = case.build()
    if not component.searches:
        return
    example = case.example(component, case.sizes[0])

    def energy(side: SideInfo, _: Tensor) -> Tensor:
        return torch.stack([level.float().square().flatten(1).sum(1) for level in side.levels]).sum(0)

    with torch.inference_mode(False), expecting(f"{case.name} searching", "search takes what encode takes."):
        found = component.search(example.pictures, example.quality, energy, 4)
    plain = encoded(case, component, example)
    values = []
    with (
        torch.inference_mode(),
        expecting(f"{case.name} decoding what search wrote", "search writes what encode does."),
    ):
        for payloads in (plain, found):
            side = component.decode(payloads, example.size, example.quality)
            values.append(energy(side, torch.zeros(len(payloads))))
    for index, (before, after) in enumerate(zip(*(value.tolist() for value in values), strict=True)):
        require(
            after <= (1 + FAR) * before + 1e-6,
            f"{case.name} searched for a small value and found {after:g} for picture {index}; encode has {before:g}",
            "Give the best payloads that were met, those of encode included.",
        )
