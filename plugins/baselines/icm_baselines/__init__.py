"""What SICMH is compared with: other codecs behind the same contracts."""

from __future__ import annotations

from pathlib import Path

from icm_baselines.accounting import payload_bytes
from icm_baselines.attention import Cheng2020AttentionCodec
from icm_baselines.bpg import BPG
from icm_baselines.jpegxl import JPEGXL
from icm_baselines.latent import LatentAdapter
from icm_baselines.learned import Cheng2020AnchorCodec, ContextCodec, ScaleHyperpriorCodec
from icm_baselines.pixels import Picture, PixelsAdapter
from icm_baselines.residual import CodecResidual
from icm_baselines.still import AVIF, JPEG, JPEG2000, WebP
from icm_baselines.video import HEVC, VVC
from icm_baselines.zoo import import_checkpoint
from icm_core.interfaces import Codec, Enhancement, SideInfoAdapter, TaskHead
from icm_core.plugins.hookspecs import hookimpl

__all__ = ["EXTERNAL", "LEARNED", "import_checkpoint", "payload_bytes"]

EXTERNAL: tuple[type[Codec], ...] = (JPEG, JPEG2000, WebP, AVIF, JPEGXL, HEVC, VVC, BPG)
LEARNED: tuple[type[Codec], ...] = (ScaleHyperpriorCodec, ContextCodec, Cheng2020AnchorCodec, Cheng2020AttentionCodec)


@hookimpl
def icm_codecs() -> list[type[Codec]]:
    """External codecs, and CompressAI's."""
    return [*EXTERNAL, *LEARNED]


@hookimpl
def icm_adapters() -> list[type[SideInfoAdapter]]:
    """The decoded picture, and the decoded latent."""
    return [PixelsAdapter, LatentAdapter]


@hookimpl
def icm_heads() -> list[type[TaskHead]]:
    """The decoded picture, to be looked at."""
    return [Picture]


@hookimpl
def icm_enhancements() -> list[type[Enhancement]]:
    """The residue through any codec."""
    return [CodecResidual]


@hookimpl
def icm_specs() -> list[Path]:
    """Each external codec with the task networks of sicmh-small behind it, and the coarse-to-fine codec."""
    return sorted(Path(__file__).with_name("specs").glob("*.json"))
