"""Codec `recurrent`: passes of one recurrent network, each coding what those before it left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from icm_core.coding import serialize
from icm_core.errors import BitstreamError
from icm_core.interfaces import Codec, ComponentParams
from icm_core.quality import Quality
from icm_core.training import uniform_noise
from icm_core.types import CodecOutput, Level, SideInfo, SideInfoLayout

STRIDE = 16
State = tuple[Tensor, Tensor] | None


class Cell(nn.Module):
    """A convolutional LSTM cell, whose input convolution may shrink the map by 2."""

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__()
        self.given = nn.Conv2d(before, 4 * after, 3, stride, 1)
        self.kept = nn.Conv2d(after, 4 * after, 1, bias=False)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The hidden map, and the state for the next pass."""
        gates = self.given(x)
        if state is not None:
            gates = gates + self.kept(state[0])
        enter, forget, leave, new = gates.chunk(4, 1)
        memory = enter.sigmoid() * new.tanh()
        if state is not None:
            memory = memory + forget.sigmoid() * state[1]
        hidden = leave.sigmoid() * memory.tanh()
        return hidden, (hidden, memory)


class Analysis(nn.Module):
    """What is left of a picture, (B, 3, H, W), to a code in (-1, 1), (B, C, H / 16, W / 16)."""

    def __init__(self, width: int, code: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, width, 3, 2, 1)
        self.cells = nn.ModuleList([Cell(width, width, 2) for _ in range(3)])
        self.code = nn.Conv2d(width, code, 1)

    def forward(self, x: Tensor, states: list[State]) -> Tensor:
        """The code; `states` are replaced."""
        x = self.enter(x)
        for number, cell in enumerate(self.cells):
            x, states[number] = cell(x, states[number])
        code: Tensor = self.code(x).tanh()
        return code


class Synthesis(nn.Module):
    """A code of -1 and 1 to what it adds to the picture, (B, 3, H, W)."""

    def __init__(self, width: int, code: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(code, width, 1)
        self.cells = nn.ModuleList([Cell(width if number == 0 else width // 4, width) for number in range(4)])
        self.leave = nn.Conv2d(width // 4, 3, 1)

    def forward(self, code: Tensor, states: list[State]) -> Tensor:
        """The part of the picture; `states` are replaced."""
        x = self.enter(code)
        for number, cell in enumerate(self.cells):
            x, states[number] = cell(x, states[number])
            x = F.pixel_shuffle(x, 2)
        part: Tensor = self.leave(x)
        return part


class Recurrent(Codec):
    """A progressive recurrent codec (Toderici et al., CVPR 2017), which RNN-C (Weber et al., GCPR 2020) trains.

    ::

        x_0 = 1/2      b_t = sign(Analysis(x - x_(t-1)))      x_t = x_(t-1) + Synthesis(b_t)

    Quality t is the number of passes. Each adds as many bits, which are written as they are, so that a file of fewer
    passes is the beginning of one of more. The side information is the decoded picture. Networks are LSTM
    cells at 1/2 to 1/16; the codes of the original are coded once more by a network, these are not.
    """

    name: ClassVar[str] = "related.recurrent"

    class Params(ComponentParams):
        """Sizes, and number of passes."""

        width: int = Field(128, ge=4, le=1024, multiple_of=4, description="channels of every cell")
        code_channels: int = Field(
            32, ge=8, le=256, multiple_of=8, description="bits of each pass at every position, at 1/16"
        )
        passes: int = Field(8, ge=1, le=15, description="highest number of passes")

    params: Params

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.analysis = Analysis(params.width, params.code_channels)
        self.synthesis = Synthesis(params.width, params.code_channels)

    @property
    def layout(self) -> SideInfoLayout:
        """The decoded picture: 3 channels at full size."""
        return SideInfoLayout((Level(3, 1),), 3)

    @property
    def quality_range(self) -> tuple[float, float]:
        """1 to the number of passes; between two, the nearer one."""
        return 1.0, float(self.params.passes)

    def forward(self, x: Tensor, quality: Tensor) -> CodecOutput:
        """See `Codec.forward`; pictures may have any size. In training, the decoded ones are not clamped to [0, 1]."""
        height, width = x.shape[-2:]
        padded = _padded(x)
        passes = (quality + 0.5).floor()
        found = padded.new_full(padded.shape, 0.5)
        last = self.params.passes if x.is_meta else int(passes.max())
        read: list[State] = [None] * 3
        written: list[State] = [None] * 4
        for number in range(last):
            part = self.synthesis(self._code(padded - found, read), written)
            found = torch.where((passes > number)[:, None, None, None], found + part, found)
        picture = found.float()[..., :height, :width]
        each = self.params.code_channels * (padded.shape[-2] // STRIDE) * (padded.shape[-1] // STRIDE)
        side = SideInfo((picture if self.training else picture.clamp(0, 1),), (height, width))
        return CodecOutput(side, {"codes": passes * each})

    def _code(self, left: Tensor, states: list[State]) -> Tensor:
        """-1 or 1; in training drawn with the probability that the network says, gradients pass straight."""
        soft: Tensor = self.analysis(left, states)
        drawn = soft + 2 * uniform_noise(soft) if self.training else soft
        hard = torch.where(drawn >= 0, 1.0, -1.0)
        return soft + (hard - soft).detach() if self.training else hard

    def encode(self, x: Tensor, quality: Quality) -> list[bytes]:
        """The bits of all passes, pass by pass."""
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            padded = _padded(x.float())
            found = torch.full_like(padded, 0.5)
            read: list[State] = [None] * 3
            written: list[State] = [None] * 4
            codes = []
            for _ in range(self._passes(quality)):
                code = self._code(padded - found, read)
                found = found + self.synthesis(code, written)
                codes.append(code.flatten(1) > 0)
        bits = torch.cat(codes, 1).cpu().numpy()
        return [np.packbits(row).tobytes() for row in bits]

    def decode(self, payloads: Sequence[bytes], size: tuple[int, int], quality: Quality) -> SideInfo:
        """The decoded pictures, in [0, 1]; see `Codec.decode`."""
        rows, columns = (-(-side // STRIDE) for side in size)
        shape = (self._passes(quality), self.params.code_channels, rows, columns)
        due = int(np.prod(shape)) // 8
        for payload in payloads:
            if len(payload) != due:
                raise BitstreamError(f"a payload has {len(payload)} bytes, and {shape[0]} passes of this size {due}")
        bits = np.stack([np.unpackbits(np.frombuffer(payload, np.uint8)).reshape(shape) for payload in payloads], 1)
        place = next(self.synthesis.parameters()).device
        with torch.no_grad(), torch.autocast(place.type, enabled=False):
            found = torch.full((len(payloads), 3, STRIDE * rows, STRIDE * columns), 0.5, device=place)
            written: list[State] = [None] * 4
            for code in torch.from_numpy(bits).to(place).float().mul(2).sub(1):
                found = found + self.synthesis(code, written)
        return SideInfo((found.clamp(0, 1)[..., : size[0], : size[1]].contiguous(),), size)

    def coding_state(self) -> bytes:
        """How bits are laid out; the picture depends on the decoder's weights, whose digest is here too."""
        parts: list[bytes | str] = [f"{self.name}/1", self.params.model_dump_json()]
        for name, tensor in sorted(self.synthesis.state_dict().items()):
            parts += [name, tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()]
        return serialize(*parts)

    def _passes(self, quality: Quality) -> int:
        return min(int(quality.value + 0.5), self.params.passes)


def _padded(x: Tensor) -> Tensor:
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
