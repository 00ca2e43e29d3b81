"""How much a service takes on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How much a service takes on; what is beyond is refused in one sentence.

    Attributes:
        body: bytes of a request's body.
        pixels: of one picture; a larger one is refused before it is decoded.
        places: requests that are read, wait or are worked on at once; the next ones are told to come back.
        batch: requests of like size that are worked on together; 1 for one by one.
        batch_pixels: of all pictures of a batch.
        seconds: from a request's first byte of body to its answer.
        body_seconds: for the body to arrive.
        head_seconds: for the request's line and headers to arrive.
        effort: steps of encoder-side search.
    """

    body: int = 32_000_000
    pixels: int = 16_000_000
    places: int = 32
    batch: int = 8
    batch_pixels: int = 2_000_000
    seconds: float = 60.0
    body_seconds: float = 20.0
    head_seconds: float = 10.0
    effort: int = 20
