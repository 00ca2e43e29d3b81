"""Codecs and enhancements of a few lines, with one mistake each: the check that is there for it finds it.

There is no network in them, so that one check takes milliseconds.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.anchor_utils import AnchorGenerator

from icm_core import BitstreamError, Quality, testing
from icm_core.interfaces import Codec, Enhancement, SideInfoAdapter
from icm_core.testing import AdapterCase, Case, CodecCase, EnhancementCase
from icm_core.testing.card import card
from icm_core.testing.checks.components import _at, _try_cuda, step
from icm_core.types import CodecOutput, Features, Level, SideInfo, SideInfoLayout


class Blocks(Codec):
    """The mean colour of every 4x4 pixels, a byte a value, without mistakes."""

    name: ClassVar[str] = "test.blocks"

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.gain = nn.Parameter(torch.rand(1) + 0.5)

    @property
    def layout(self) -> SideInfoLayout:
        return SideInfoLayout((Level(48, 16),), 4)

    @property
    def quality_range(self) -> tuple[float, float]:
        return 1.0, 2.0

    def values(self, x: Tensor) -> Tensor:
        """Numbers from 0 to 255."""
        height, width = x.shape[-2:]
        padded = F.pad(x, (0, -width % 16, 0, -height % 16), mode="replicate")
        return F.pixel_unshuffle(255 * F.avg_pool2d(padded, 4), 4)

    def side(self, values: Tensor, size: Any) -> SideInfo:
        return SideInfo((self.gain * values / 255,), tuple(size))

    def forward(self, x: Tensor, quality: Tensor) -> CodecOutput:
        values = self.values(x)
        rounded = values + (values.round() - values).detach()
        bits = 8 * values[0].numel() + 0 * rounded.flatten(1).sum(1)
        return CodecOutput(self.side(rounded, x.shape[-2:]), {"means": bits})

    def encode(self, x: Tensor, quality: Quality) -> list[bytes]:
        return [bytes(one.round().byte().flatten().tolist()) for one in self.values(x)]

    def decode(self, payloads: Sequence[bytes], size: tuple[int, int], quality: Quality) -> SideInfo:
        height, width = (-(-side // 16) for side in size)
        if any(len(payload) != 48 * height * width for payload in payloads):
            raise BitstreamError("the payload has another length")
        values = torch.tensor([list(payload) for payload in payloads], device=self.gain.device)
        return self.side(values.reshape(-1, 48, height, width).float(), size)

    def coding_state(self) -> bytes:
        return b"blocks/1" + self.gain.detach().cpu().numpy().tobytes()


class Double(Blocks):
    """Decodes in double precision."""

    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        side = super().decode(payloads, size, quality)
        return SideInfo((side.levels[0].double(),), side.size)


class Endless(Blocks):
    """Decodes what is dark to no number, of pictures that are not square."""

    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        (level,) = super().decode(payloads, size, quality).levels
        dark = (level < level.mean()) & (level.shape[-1] != level.shape[-2])
        return SideInfo((torch.where(dark, torch.inf, level),), tuple(size))


class Lying(Blocks):
    """Width and height of what is decoded changed places."""

    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        (level,) = super().decode(payloads, size, quality).levels
        return SideInfo((level.reshape(*level.shape[:2], level.shape[3], level.shape[2]),), tuple(size))


class Merging(Blocks):
    """Decodes the first payload alone."""

    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        return super().decode(payloads[:1], size, quality)


class Faint(Blocks):
    """Decodes with a tenth of the contrast; most of the energy is in the mean."""

    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        (level,) = super().decode(payloads, size, quality).levels
        mean = level.mean((1, 2, 3), keepdim=True)
        return SideInfo((mean + (level - mean) / 10,), tuple(size))


class Threaded(Blocks):
    """Decodes other bits where there are other threads."""

    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        (level,) = super().decode(payloads, size, quality).levels
        return SideInfo((level + torch.get_num_threads(),), tuple(size))


class Flickering(Blocks):
    """Decodes other bits every second time."""

    turn = 0

    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        self.turn = (self.turn + 1) % 2
        (level,) = super().decode(payloads, size, quality).levels
        return SideInfo((level + self.turn,), tuple(size))


class Zeros(Blocks):
    """Takes zeros behind the payload."""

    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        length = 48 * (-(-size[0] // 16)) * (-(-size[1] // 16))
        return super().decode([p[:length] if not any(p[length:]) else p for p in payloads], size, quality)


class Patient(Blocks):
    """Puts the last byte where it is missing."""

    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        length = 48 * (-(-size[0] // 16)) * (-(-size[1] // 16))
        return super().decode([p + b"\0" if len(p) == length - 1 else p for p in payloads], size, quality)


class Hopeful(Blocks):
    """Takes nothing for grey."""

    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        length = 48 * (-(-size[0] // 16)) * (-(-size[1] // 16))
        return super().decode([p or bytes([128] * length) for p in payloads], size, quality)


class Fifth(Blocks):
    """Estimates a fifth more than it writes."""

    def forward(self, x: Tensor, quality: Tensor) -> CodecOutput:
        out = super().forward(x, quality)
        return CodecOutput(out.side, {"means": 1.2 * out.bits["means"]})


class Rising(Blocks):
    """A coding state with everything in it that was coded."""

    coded = 0

    def encode(self, x: Tensor, quality: Any) -> list[bytes]:
        self.coded += 1
        return super().encode(x, quality)

    def coding_state(self) -> bytes:
        return super().coding_state() + bytes([self.coded])


class Numbered(Blocks):
    """A coding state of its own for every instance."""

    made = 0

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        Numbered.made += 1
        self.number = Numbered.made

    def coding_state(self) -> bytes:
        return super().coding_state() + bytes([self.number % 256])


class Common(Blocks):
    """A coding state with everything in it that any instance coded."""

    coded = 0

    def encode(self, x: Tensor, quality: Any) -> list[bytes]:
        Common.coded += 1
        return super().encode(x, quality)

    def coding_state(self) -> bytes:
        return super().coding_state() + bytes([Common.coded % 256])


class Blank(Blocks):
    """A coding state of nothing."""

    def coding_state(self) -> bytes:
        return b""


class Stingy(Blocks):
    """One payload for all."""

    def encode(self, x: Tensor, quality: Any) -> list[bytes]:
        return super().encode(x, quality)[:1]


class Choosing(Blocks):
    """Two encoders that write the same, without mistakes."""

    @property
    def encoders(self) -> tuple[str, ...]:
        return ("plain", "bright")

    def encode(self, x: Tensor, quality: Any) -> list[bytes]:
        return super().encode((x + 0.1).clamp(0, 1) if self.chosen_encoder == "bright" else x, quality)


class Backwards(Choosing):
    """Names the usual encoder last."""

    @property
    def encoders(self) -> tuple[str, ...]:
        return ("bright", "plain")


class Twice(Choosing):
    """One name for two encoders."""

    @property
    def encoders(self) -> tuple[str, ...]:
        return ("plain", "plain")


class Private(Choosing):
    """One encoder writes what only the codec that chose it can decode."""

    def encode(self, x: Tensor, quality: Any) -> list[bytes]:
        mark = b"!" if self.chosen_encoder == "bright" else b""
        return [payload + mark for payload in super().encode(x, quality)]

    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        more = self.chosen_encoder == "bright"
        return super().decode([payload[: len(payload) - more] for payload in payloads], size, quality)


class Telling(Choosing):
    """Says in its coding state who encodes."""

    def coding_state(self) -> bytes:
        return super().coding_state() + self.chosen_encoder.encode()


class Ahead(Blocks):
    """Side information with the bytes, without mistakes."""

    def encode_with_side(self, x: Tensor, quality: Any) -> tuple[list[bytes], SideInfo]:
        payloads = self.encode(x, quality)
        return payloads, self.decode(payloads, (x.shape[-2], x.shape[-1]), quality)


class Brighter(Ahead):
    """Other bytes where side information is asked for as well."""

    def encode_with_side(self, x: Tensor, quality: Any) -> tuple[list[bytes], SideInfo]:
        return super().encode_with_side((x + 0.1).clamp(0, 1), quality)


class Turned(Ahead):
    """Width and height of the picture changed places."""

    def encode_with_side(self, x: Tensor, quality: Any) -> tuple[list[bytes], SideInfo]:
        payloads, side = super().encode_with_side(x, quality)
        return payloads, SideInfo(side.levels, side.size[::-1])


class OneOnly(Choosing):
    """A parameter that is used by no encoder but the first."""

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.offset = nn.Parameter(torch.zeros(1))
        self.other = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, quality: Tensor) -> CodecOutput:
        used = self.offset if self.chosen_encoder == "plain" else self.other
        return super().forward(x + used, quality)


class Many(Blocks):
    """More encoders than steps, each with a parameter of its own, without mistakes."""

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.offsets = nn.ParameterDict({name: nn.Parameter(torch.zeros(1)) for name in self.encoders})

    @property
    def encoders(self) -> tuple[str, ...]:
        return tuple("abcdefg")

    def forward(self, x: Tensor, quality: Tensor) -> CodecOutput:
        return super().forward(x + self.offsets[self.chosen_encoder or "a"], quality)


class Residue(Enhancement):
    """What is missing of every pixel, a byte a value, without mistakes."""

    name: ClassVar[str] = "test.residue"
    frozen = False

    def __init__(self, params: Any, layout: SideInfoLayout) -> None:
        super().__init__(params, layout)
        self.gain = nn.Parameter(torch.ones(1))

    def values(self, x: Tensor, coarse: Tensor) -> Tensor:
        return 127 + 127 * (x - coarse)

    def forward(self, x: Tensor, coarse: Tensor, side: SideInfo, quality: Tensor) -> tuple[Tensor, Tensor]:
        values = self.values(x, coarse)
        rounded = values + (values.round() - values).detach()
        return self.refined(rounded, coarse), 8 * values[0].numel() + 0 * rounded.flatten(1).sum(1)

    def refined(self, values: Tensor, coarse: Tensor) -> Tensor:
        return coarse + self.gain * (values - 127) / 127

    def encode(self, x: Tensor, coarse: Tensor, side: SideInfo, quality: Quality) -> list[bytes]:
        if not self.frozen:
            raise RuntimeError("there are no tables")
        return [bytes(one.round().byte().flatten().tolist()) for one in self.values(x, coarse)]

    def decode(self, payloads: Sequence[bytes], coarse: Tensor, side: SideInfo, quality: Quality) -> Tensor:
        if any(len(payload) != coarse[0].numel() for payload in payloads):
            raise BitstreamError("the payload has another length")
        values = torch.tensor([list(payload) for payload in payloads], device=coarse.device)
        return self.refined(values.reshape(-1, *coarse.shape[1:]).float(), coarse).clamp(0, 1)

    def freeze_tables(self) -> None:
        self.frozen = True

    def coding_state(self) -> bytes:
        return b"residue/1"


class Addressed(Residue):
    """A coding state of its own for every instance."""

    def coding_state(self) -> bytes:
        return super().coding_state() + str(id(self)).encode()


class Negative(Residue):
    """Decodes black for white."""

    def decode(self, payloads: Any, coarse: Tensor, side: Any, quality: Any) -> Tensor:
        return 1 - super().decode(payloads, coarse, side, quality)


class Padding(Residue):
    """Decodes the picture with a border."""

    def decode(self, payloads: Any, coarse: Tensor, side: Any, quality: Any) -> Tensor:
        return F.pad(super().decode(payloads, coarse, side, quality), (0, 6, 0, 0))


class Wide(SideInfoAdapter):
    """Enlarged side information, without mistakes."""

    name: ClassVar[str] = "test.wide"

    def __init__(self, params: Any, layout: Any) -> None:
        super().__init__(params, layout)
        self.conv = nn.Conv2d(layout.levels[0].channels, 3, 1)

    @property
    def features(self) -> dict[str, Level]:
        return {"image": Level(3, 1)}

    def forward(self, side: SideInfo) -> Features:
        return Features({"image": F.interpolate(self.conv(side.levels[0]), scale_factor=32)}, side.size)


class Cropping(Wide):
    """Takes the padding off the map that it says is padded."""

    def forward(self, side: SideInfo) -> Features:
        found = super().forward(side)
        return Features({"image": found.cropped("image")}, side.size)


class Generous(Wide):
    """A map more than it announces."""

    def forward(self, side: SideInfo) -> Features:
        found = super().forward(side)
        return Features({**found.maps, "more": found.maps["image"]}, side.size)


class Deep(Wide):
    """A dimension more than there should be."""

    def forward(self, side: SideInfo) -> Features:
        found = super().forward(side)
        return Features({"image": found.maps["image"][..., None]}, side.size)


class Unbounded(Wide):
    """Infinite where it is dark."""

    def forward(self, side: SideInfo) -> Features:
        (image,) = super().forward(side).maps.values()
        return Features({"image": torch.where(image < image.mean(), -torch.inf, image)}, side.size)


class OnTheCPU(Wide):
    """A buffer that is made somewhere by name."""

    def __init__(self, params: Any, layout: Any) -> None:
        super().__init__(params, layout)
        self.register_buffer("offset", torch.zeros(1, device="cpu"))


class InADict(Wide):
    """A tensor in a dict."""

    def __init__(self, params: Any, layout: Any) -> None:
        super().__init__(params, layout)
        self.tables = {"offset": torch.zeros(1)}


class Halved(Wide):
    """A tenth of what it gives is another in a batch."""

    def forward(self, side: SideInfo) -> Features:
        (image,) = super().forward(side).maps.values()
        image = image.clone()
        image[:, :, : image.shape[2] // 10] += len(image)
        return Features({"image": image}, side.size)


class Growing(Wide):
    """Other keys in every instance."""

    made = 0

    def __init__(self, params: Any, layout: Any) -> None:
        super().__init__(params, layout)
        Growing.made += 1
        self.register_buffer(f"number_{Growing.made % 2}", torch.zeros(1))


class Coming(Wide):
    """A map that comes and goes."""

    turn = 0

    def forward(self, side: SideInfo) -> Features:
        self.turn += 1
        found = super().forward(side)
        return Features({**found.maps, **({"more": found.maps["image"]} if self.turn % 2 == 0 else {})}, side.size)


class Stuck(Wide):
    """A parameter whose gradient is always 0."""

    def __init__(self, params: Any, layout: Any) -> None:
        super().__init__(params, layout)
        self.extra = nn.Parameter(torch.zeros(1))

    def forward(self, side: SideInfo) -> Features:
        found = super().forward(side)
        return Features({"image": found.maps["image"] + 0 * self.extra}, side.size)


class Late(Wide):
    """Layers that start at zero: a gradient reaches the first when the others have moved; without mistakes."""

    def __init__(self, params: Any, layout: Any) -> None:
        super().__init__(params, layout)
        self.one, self.two, self.three = (nn.Parameter(torch.zeros(1)) for _ in range(3))

    def forward(self, side: SideInfo) -> Features:
        found = super().forward(side)
        return Features({"image": found.maps["image"] + (1 + self.one) * self.two * (1 + self.three)}, side.size)


class Casting(Wide):
    """Loads weights as nearly what was stored."""

    def load_state_dict(self, state: Any, strict: bool = True, assign: bool = False) -> Any:
        return super().load_state_dict({key: value + torch.rand(()) for key, value in state.items()}, strict, assign)


class Deaf(Wide):
    """Leaves its weights as they were when others are loaded."""

    def load_state_dict(self, state: Any, strict: bool = True, assign: bool = False) -> Any:
        return super().load_state_dict(self.state_dict(), strict, assign)


class Asking(Wide):
    """Looks up an address when it is built."""

    def __init__(self, params: Any, layout: Any) -> None:
        super().__init__(params, layout)
        socket.getaddrinfo("weights.example", 443)


class Calling(Wide):
    """Opens a connection when it is built."""

    def __init__(self, params: Any, layout: Any) -> None:
        super().__init__(params, layout)
        with socket.socket() as line:
            line.connect(("127.0.0.1", 9))


class Trembling(Blocks):
    """Decodes other last bits every second time."""

    turn = 0

    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        self.turn = (self.turn + 1) % 2
        (level,) = super().decode(payloads, size, quality).levels
        return SideInfo((level * (1 + self.turn * 2e-7),), tuple(size))


class Checked(Blocks):
    """A byte that counts the others, without mistakes; `told` is what becomes of another count."""

    told: ClassVar[type[Exception]] = BitstreamError

    def encode(self, x: Tensor, quality: Any) -> list[bytes]:
        return [payload + bytes([sum(payload) % 256]) for payload in super().encode(x, quality)]

    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        if any(not payload for payload in payloads):
            raise BitstreamError("there is nothing")
        side = super().decode([payload[:-1] for payload in payloads], size, quality)
        if any(sum(payload[:-1]) % 256 != payload[-1] for payload in payloads):
            raise self.told("the count is another")
        return side

    def forward(self, x: Tensor, quality: Tensor) -> CodecOutput:
        out = super().forward(x, quality)
        return CodecOutput(out.side, {"means": out.bits["means"] + 8})


class Wondering(Checked):
    """Tells of damage as of a mistake of its user's."""

    told = ValueError


class Rare(Blocks):
    """Stumbles over what is nearly right: a payload with one flipped bit."""

    good: Sequence[bytes] = ()

    def encode(self, x: Tensor, quality: Any) -> list[bytes]:
        found = super().encode(x, quality)
        self.good = found
        return found

    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        for good, one in itertools.product(self.good, payloads):
            if len(good) == len(one) and self.odd(sum(a != b for a, b in zip(good, one, strict=True)), len(one)):
                raise KeyError("odd")
        return super().decode(payloads, size, quality)

    def odd(self, others: int, length: int) -> bool:
        return others == 1


class Sweeping(Rare):
    """Stumbles over a payload in which most bytes are others."""

    def odd(self, others: int, length: int) -> bool:
        return others > length // 2


class Empty(Blocks):
    """Stumbles over zeros alone."""

    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        if any(payload and not any(payload) for payload in payloads):
            raise KeyError("zeros")
        return super().decode(payloads, size, quality)


class Soaring(Checked):
    """Decodes damage to what is beyond all numbers."""

    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        try:
            return super().decode(payloads, size, quality)
        except BitstreamError as error:
            if "count" not in str(error):
                raise
            (level,) = Blocks.decode(self, [payload[:-1] for payload in payloads], size, quality).levels
            return SideInfo((level + torch.inf,), tuple(size))


class Indexing(Blocks):
    """Reads on where the payload ends."""

    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        for payload in payloads:
            payload[48 * (-(-size[0] // 16)) * (-(-size[1] // 16)) - 1]
        return super().decode(payloads, size, quality)


class Complaining(Blocks):
    """Tells of an end that it does not know as of a mistake of its user's."""

    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        try:
            return super().decode(payloads, size, quality)
        except BitstreamError as error:
            raise ValueError("another length") from error


class Swapping(Blocks):
    """Estimates of each picture what the other takes."""

    def encode(self, x: Tensor, quality: Any) -> list[bytes]:
        return [bytes(index * 200) + one for index, one in enumerate(super().encode(x, quality))]

    def forward(self, x: Tensor, quality: Tensor) -> CodecOutput:
        out = super().forward(x, quality)
        turned = torch.arange(len(x)).flip(0)
        return CodecOutput(out.side, {"means": out.bits["means"] + 1600 * turned})


class Searching(Blocks):
    """Looks for darker pictures: writes half of every value, without mistakes. What it was asked is kept."""

    searches = True
    asked: Any = None

    def search(self, x: Tensor, quality: Any, objective: Any, steps: int) -> list[bytes]:
        self.asked = steps
        sides = [self.side(self.values(part), part.shape[-2:]) for part in (x, x / 2)]
        one, two = (objective(side, torch.zeros(len(x))) for side in sides)
        assert bool((two < one).all()) and one.shape == (len(x),)
        torch.testing.assert_close(one, sides[0].levels[0].square().sum((1, 2, 3)))
        return self.encode(x / 2, quality)


class Brightening(Searching):
    """Finds what is brighter by a tenth in the second picture."""

    def search(self, x: Tensor, quality: Any, objective: Any, steps: int) -> list[bytes]:
        factors = torch.tensor([1.0, 1.15]).view(2, 1, 1, 1)
        return self.encode((x * factors).clamp(0, 1), quality)


class Overshooting(Residue):
    """Refines to a picture of another size in training."""

    def forward(self, x: Tensor, coarse: Tensor, side: Any, quality: Tensor) -> tuple[Tensor, Tensor]:
        refined, bits = super().forward(x, coarse, side, quality)
        return F.pad(refined, (0, -x.shape[-1] % 64)), bits


class Inside(Wide):
    """A tensor as an attribute of a part."""

    def __init__(self, params: Any, layout: Any) -> None:
        super().__init__(params, layout)
        self.part = Keeper()


class Keeper(nn.Module):
    """Keeps a tensor in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = [torch.zeros(1)]


class Homely(Wide):
    """Gives its map on the CPU, wherever it runs."""

    def forward(self, side: SideInfo) -> Features:
        (image,) = super().forward(side).maps.values()
        return Features({"image": torch.zeros(image.shape, device="cpu")}, side.size)


class Waking(Wide):
    """Another bias when it comes out of a pickle."""

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            self.conv.bias.add_(1)  # type: ignore[union-attr]


class Steep(Wide):
    """A gradient without end."""

    def __init__(self, params: Any, layout: Any) -> None:
        super().__init__(params, layout)
        self.extra = nn.Parameter(torch.zeros(1))

    def forward(self, side: SideInfo) -> Features:
        found = super().forward(side)
        return Features({"image": found.maps["image"] + self.extra.sqrt()}, side.size)


class Nearby(Ahead):
    """Side information beside that which decodes."""

    def encode_with_side(self, x: Tensor, quality: Any) -> tuple[list[bytes], SideInfo]:
        payloads, side = super().encode_with_side(x, quality)
        return payloads, SideInfo((side.levels[0] + 1 / 4096,), side.size)


class Following(Blocks):
    """Decodes what stands behind the first payload otherwise than alone."""

    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        (level,) = super().decode(payloads, size, quality).levels
        return SideInfo((level + (torch.arange(len(level)) > 0).view(-1, 1, 1, 1),), tuple(size))


class Later(Wide):
    """A parameter whose gradient is a number in the first step alone."""

    passes = 0

    def forward(self, side: SideInfo) -> Features:
        (image,) = super().forward(side).maps.values()
        self.passes += self.training
        bias = self.conv.bias
        if self.passes > 1 and bias is not None:
            image = image + (bias.sum() - bias.detach().sum()).sqrt()
        return Features({"image": image}, side.size)


class Layered(Blocks):
    """Decodes the second of two levels otherwise behind the first payload than alone."""

    @property
    def layout(self) -> SideInfoLayout:
        return SideInfoLayout((Level(48, 16), Level(48, 16)), 4)

    def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
        (level,) = super().decode(payloads, size, quality).levels
        return SideInfo((level, level + (torch.arange(len(level)) > 0).view(-1, 1, 1, 1)), tuple(size))


class Trained(Blocks):
    """Says in its coding state how often it was put into training mode."""

    times = 0

    def train(self, mode: bool = True) -> Any:
        self.times += mode
        return super().train(mode)

    def coding_state(self) -> bytes:
        return super().coding_state() + bytes([self.times])


class Third(Wide):
    """The third picture of a batch is another."""

    def forward(self, side: SideInfo) -> Features:
        (image,) = super().forward(side).maps.values()
        return Features({"image": image + (torch.arange(len(image)) == 2).view(-1, 1, 1, 1)}, side.size)


class Lengthwise(Wide):
    """Pictures that are wider than high are others in a batch."""

    def forward(self, side: SideInfo) -> Features:
        (image,) = super().forward(side).maps.values()
        return Features({"image": image + len(image) * (side.size[1] > side.size[0])}, side.size)


class Leader(Wide):
    """The map of the first picture alone."""

    def forward(self, side: SideInfo) -> Features:
        (image,) = super().forward(side).maps.values()
        return Features({"image": image[:1]}, side.size)


class Anchored(Wide):
    """A part of torchvision's that keeps tensors in a list and moves them itself, without mistakes."""

    def __init__(self, params: Any, layout: Any) -> None:
        super().__init__(params, layout)
        self.anchors = AnchorGenerator(((16,),), ((1.0,),))


SIZES = ((64, 64), (20, 70))
CODECS = [
    (Layered, testing.check_decoding_is_exact, r"decodes other bits of side.levels\[1\] for payload 1 alone"),
    (Trained, testing.check_coding_state, r"coding_state\(\) changes from call to call or from instance to instance"),
    (Nearby, testing.check_encode_with_side, r"decodes other bits of side.levels\[0\] than encode_with_side gives"),
    (Following, testing.check_decoding_is_exact, r"decodes other bits of side.levels\[0\] for payload 1 alone"),
    (Trembling, testing.check_decoding_is_exact, "decodes other bits of .* the second time"),
    (
        Wondering,
        testing.check_damaged_input,
        "met a damaged payload and raised ValueError: the count is another",
    ),
    (Rare, testing.check_damaged_input, "met a damaged payload and raised KeyError"),
    (Sweeping, testing.check_damaged_input, "met a damaged payload and raised KeyError"),
    (Empty, testing.check_damaged_input, "met a damaged payload and raised KeyError"),
    (Soaring, testing.check_damaged_input, r"side.levels\[0\] of a damaged payload is not finite"),
    (Indexing, testing.check_truncated_input, "met a payload cut to 0 of 768 bytes and raised IndexError"),
    (Complaining, testing.check_truncated_input, "met a payload cut to 0 of 768 bytes and raised ValueError"),
    (Complaining, testing.check_stream_is_exhausted, "met a payload with 1 bytes added and raised ValueError"),
    (Swapping, testing.check_rate_estimate, "writes 1536 bits where it estimates 3136"),
    (Brightening, testing.check_search, "searched for a small value and found .* for picture 1; encode has "),
    (Double, testing.check_round_trip, r"decoded side.levels\[0\] is torch.float64 or not finite"),
    (
        Endless,
        testing.check_round_trip,
        r"decoded side.levels\[0\] is torch.float32 or not finite",
    ),
    (Lying, testing.check_round_trip, r"level 0 is decoded as \(2, 48, 5, 2\), not \(2, 48, 2, 5\)"),
    (Merging, testing.check_round_trip, "decodes 1 pictures from 2 payloads. One each"),
    (Faint, testing.check_round_trip, r"is off the training pass by 81% of its energy"),
    (Threaded, testing.check_decoding_is_exact, "decodes other bits of .* with other threads"),
    (Flickering, testing.check_decoding_is_exact, "decodes other bits of .* the second time"),
    (Zeros, testing.check_stream_is_exhausted, "decodes a payload with 1 bytes added without a word"),
    (Patient, testing.check_truncated_input, "decodes a payload cut to 767 of 768 bytes without a word"),
    (Hopeful, testing.check_truncated_input, "decodes a payload cut to 0 of 768 bytes without a word"),
    (Fifth, testing.check_rate_estimate, "Estimate -log2"),
    (Rising, testing.check_coding_state, r"coding_state\(\) changes from call to call or from instance to instance"),
    (Numbered, testing.check_coding_state, r"coding_state\(\) changes from call to call or from instance to instance"),
    (Common, testing.check_coding_state, r"coding_state\(\) changes from call to call or from instance to instance"),
    (Blank, testing.check_coding_state, r"coding_state\(\) gives b''. Return all that decoding depends on"),
    (Stingy, testing.check_round_trip, r"encode gives \['bytes'\] for 2 pictures. One bytes object each"),
    (Backwards, testing.check_encoders, "does not write what its first encoder 'bright' does. Name the usual encoder"),
    (Twice, testing.check_encoders, "encoders are \\('plain', 'plain'\\). Give each encoder one name"),
    (Private, testing.check_encoders, "decoding what encoder 'bright' wrote"),
    (Telling, testing.check_encoders, "encoder 'plain' changes the coding state"),
    (Brighter, testing.check_encode_with_side, "gives other bytes than encode"),
    (Turned, testing.check_encode_with_side, r"of the size \(70, 20\), and decode .* of \(20, 70\)"),
]
ENHANCEMENTS = [
    (
        Overshooting,
        testing.check_shapes,
        r"has the shape \(2, 3, 20, 128\) .* should have \(2, 3, 20, 70\)",
    ),
    (Addressed, testing.check_stored_weights, "its coding_state is another after its weights were stored and loaded"),
    (Padding, testing.check_round_trip, r"refined pictures are decoded as \(2, 3, 64, 70\), not \(2, 3, 64, 64\)"),
    (Negative, testing.check_round_trip, "decoded refined pictures is off the training pass"),
]
ADAPTERS = [
    (Third, testing.check_batch_independence, "of image of picture 2 is another alone than in a batch"),
    (Lengthwise, testing.check_batch_independence, "of image of picture 0 is another alone than in a batch"),
    (Leader, testing.check_shapes, r"image has the shape \(1, 3, 64, 64\) .* and should have \(2, 3, 64, 64\)"),
    (Later, testing.check_gradients, "the gradient of conv.bias is not finite. Bound what is divided by"),
    (Inside, testing.check_device_moves, "keeps tensors as plain attributes: part.kept. Make them parameters"),
    (Homely, testing.check_builds_on_meta, "run on the meta device gave other outputs: image"),
    (Homely, testing.check_device_moves, "on meta gives image elsewhere. Make tensors like the inputs"),
    (Waking, testing.check_pickling, "after pickling it gives another image. Keep no lambdas"),
    (Steep, testing.check_gradients, "the gradient of extra is not finite. Bound what is divided by"),
    (Cropping, testing.check_shapes, r"image has the shape \(2, 3, 20, 70\) .* and should have \(2, 3, 64, 128\)"),
    (Generous, testing.check_shapes, r"gives \['image', 'more'\] where it announces \['image'\]"),
    (Generous, testing.check_builds_on_meta, "run on the meta device gave other outputs: more"),
    (Deep, testing.check_shapes, r"image has the shape \(2, 3, 64, 64, 1\) .* and should have \(2, 3, 64, 64\)"),
    (Unbounded, testing.check_shapes, "image has values that are not finite"),
    (OnTheCPU, testing.check_builds_on_meta, "built on the meta device holds memory in offset"),
    (InADict, testing.check_device_moves, "keeps tensors as plain attributes: tables"),
    (Halved, testing.check_batch_independence, "of image of picture 0 is another alone than in a batch"),
    (Growing, testing.check_state_dict, "Two instances with the same Params have the same keys"),
    (Coming, testing.check_eval_is_deterministic, "more changes from run to run in eval mode"),
    (Stuck, testing.check_gradients, "no gradient reaches extra"),
    (Deaf, testing.check_state_dict, "after load_state_dict a second instance gives another image"),
    (Deaf, testing.check_stored_weights, "came back changed"),
    (Casting, testing.check_stored_weights, "came back changed"),
    (Asking, testing.check_needs_no_network, "a connection was asked for. Download nothing in a constructor"),
    (Calling, testing.check_needs_no_network, "a connection was asked for. Download nothing in a constructor"),
]
BROKEN: list[tuple[Case, Any, str]] = [
    *((CodecCase(cls, sizes=SIZES), check, says) for cls, check, says in CODECS),
    *((EnhancementCase(cls, sizes=SIZES), check, says) for cls, check, says in ENHANCEMENTS),
    *((AdapterCase(cls, sizes=SIZES), check, says) for cls, check, says in ADAPTERS),
]


@pytest.mark.parametrize(
    ("case", "check", "says"), BROKEN, ids=[f"{case.cls.__name__}-{check.__name__}" for case, check, _ in BROKEN]
)
def test_a_mistake_is_found_and_the_message_says_what_was_seen(case: Case, check: Any, says: str) -> None:
    with pytest.raises(testing.ConformanceError, match=says):
        check(case)


@pytest.mark.parametrize("cls", [Blocks, Choosing, Ahead, OneOnly, Checked, Searching])
def test_codecs_without_mistakes_pass(cls: type[Codec]) -> None:
    assert testing.run_checks(CodecCase(cls, sizes=SIZES)) == []


def test_each_of_many_encoders_is_trained_some_steps() -> None:
    testing.check_gradients(CodecCase(Many, sizes=SIZES))


@pytest.mark.parametrize("cls", [Wide, Late])
def test_adapters_without_mistakes_pass(cls: type[SideInfoAdapter]) -> None:
    assert testing.run_checks(AdapterCase(cls, sizes=SIZES)) == []


def test_parts_of_torchvision_may_keep_tensors_as_plain_attributes() -> None:
    case = AdapterCase(Anchored, sizes=SIZES)
    assert isinstance(case.build().anchors.cell_anchors[0], Tensor)
    testing.check_device_moves(case)


def test_an_enhancement_without_mistakes_passes() -> None:
    assert testing.run_checks(EnhancementCase(Residue, sizes=SIZES)) == []


def test_the_number_of_threads_is_what_it_was() -> None:
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            testing.check_decoding_is_exact(CodecCase(Blocks, sizes=SIZES))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_a_search_is_asked_for_some_steps() -> None:
    asked = []

    class Asked(Searching):
        """Tells how it was asked."""

        def search(self, x: Tensor, quality: Any, objective: Any, steps: int) -> list[bytes]:
            asked.append((steps, tuple(x.shape), quality.value))
            return super().search(x, quality, objective, steps)

    testing.check_search(CodecCase(Asked, sizes=SIZES))
    assert asked == [(4, (2, 3, 64, 64), 1.5)]


def test_a_step_gives_the_objective_before_it_and_forgets_older_gradients() -> None:
    class Line(nn.Module):
        """One weight, 3."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(3.0))

    line = Line()
    line.weight.grad = torch.tensor(100.0)
    case: Any = SimpleNamespace(objective=lambda component, example: component.weight**2 * example)
    optimizer = torch.optim.SGD(line.parameters(), lr=0.25)
    example: Any = 1.0
    assert step(case, line, optimizer, example) == 9.0
    assert float(line.weight.detach()) == 3 - 0.25 * 2 * 3
    assert step(case, line, optimizer, example) == 1.5**2
    assert float(line.weight.detach()) == 1.5 - 0.25 * 2 * 1.5


def test_what_is_told_of_a_tensor_is_where_it_is_in_the_answer() -> None:
    assert (_at("output", "[0].boxes"), _at("image", "")) == ("output ([0].boxes)", "image")


class Nearly(Wide):
    """Differs on a GPU by so many places of a hundred, and may leave its map on the CPU."""

    places = 0
    stays = False

    def forward(self, side: SideInfo) -> Features:
        (image,) = super().forward(side).maps.values()
        if image.is_cuda:
            image = image.clone()
            image.flatten()[: self.places * image.numel() // 100] += 100
        return Features({"image": image.cpu() if self.stays else image}, side.size)


@pytest.mark.parametrize(
    ("places", "stays", "says"),
    [(0, False, None), (3, False, "3% of image differs on a GPU"), (0, True, "on cuda gives image elsewhere")],
)
def test_a_card_gives_what_the_cpu_gives(places: int, stays: bool, says: str | None) -> None:
    case = AdapterCase(Nearly, sizes=SIZES)
    component = case.build()
    component.places, component.stays = places, stays
    example = case.example(component, SIZES[0], 1)
    with card(), pytest.raises(testing.ConformanceError, match=says) if says else nullcontext():
        _try_cuda(case, component, example)


def test_of_codecs_a_few_places_may_be_rounded_the_other_way_on_a_card() -> None:
    class Rounding(Blocks):
        """As `Nearly`."""

        places = 0

        def side(self, values: Tensor, size: Any) -> SideInfo:
            (level,) = super().side(values, size).levels
            if level.is_cuda:
                level = level.clone()
                level.flatten()[: self.places * level.numel() // 100] += 100
            return SideInfo((level,), tuple(size))

    case = CodecCase(Rounding, sizes=SIZES)
    for places, says in ((3, None), (7, r"7% of side.levels\[0\] differs on a GPU")):
        component = case.build()
        component.places = places
        example = case.example(component, SIZES[0], 1)
        with card(), pytest.raises(testing.ConformanceError, match=says) if says else nullcontext():
            _try_cuda(case, component, example)


# --- how much is too much --------------------------------------------------------------------------------------------


def found_by(check: Any, case: Case) -> bool:
    """Whether a check finds a mistake."""
    try:
        check(case)
    except testing.ConformanceError:
        return True
    return False


@pytest.mark.parametrize(("said", "wrong"), [(1335, True), (1337, False), (1536, False), (1747, False), (1750, True)])
def test_bytes_are_within_three_hundredths_and_160_bits_of_their_estimate(said: int, wrong: bool) -> None:
    class Estimating(Blocks):
        """Writes 1536 bits for 32x32 pixels."""

        def forward(self, x: Tensor, quality: Tensor) -> CodecOutput:
            out = super().forward(x, quality)
            return CodecOutput(out.side, {"means": out.bits["means"] * said / 1536})

    assert found_by(testing.check_rate_estimate, CodecCase(Estimating, sizes=SIZES)) is wrong


@pytest.mark.parametrize(("contrast", "wrong"), [(0.64, True), (0.7, False), (1.3, False), (1.36, True)])
def test_decoded_values_are_within_a_tenth_of_the_energy_of_the_training_pass(contrast: float, wrong: bool) -> None:
    """A contrast of 1 - c is off by c^2 of the energy."""

    class Contrasted(Blocks):
        """Decodes with another contrast."""

        def decode(self, payloads: Any, size: Any, quality: Any) -> SideInfo:
            (level,) = super().decode(payloads, size, quality).levels
            return SideInfo((level.mean() + contrast * (level - level.mean()),), tuple(size))

    assert found_by(testing.check_round_trip, CodecCase(Contrasted, sizes=SIZES)) is wrong


@pytest.mark.parametrize(
    ("rows", "by", "wrong"), [(2, 1.0, False), (3, 1.0, True), (200, 5e-4, False), (200, 2e-3, True)]
)
def test_of_a_hundred_places_one_may_be_another_in_a_batch(rows: int, by: float, wrong: bool) -> None:
    class Depending(Wide):
        """Some rows are another in a batch."""

        def forward(self, side: SideInfo) -> Features:
            image = torch.zeros(len(side.levels[0]), 3, 200, 8)
            image[:, :, :rows] += by * (len(image) > 1)
            return Features({"image": image}, side.size)

    assert found_by(testing.check_batch_independence, AdapterCase(Depending, sizes=SIZES)) is wrong


def test_what_a_search_finds_may_be_a_tenth_worse() -> None:
    for factor, wrong in ((1.04, False), (1.06, True)):  # of the values; their squares count

        class Finding(Searching):
            """Finds brighter pictures."""

            by = factor

            def search(self, x: Tensor, quality: Any, objective: Any, steps: int) -> list[bytes]:
                return self.encode(x * self.by, quality)

            def encode(self, x: Tensor, quality: Any) -> list[bytes]:
                return super().encode(x / 2, quality)

        assert found_by(testing.check_search, CodecCase(Finding, sizes=SIZES)) is wrong
