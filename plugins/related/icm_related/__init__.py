"""The systems that SICMH is compared with, as pipelines of the same parts (docs/systems.md has a row of each)."""

from __future__ import annotations

from pathlib import Path

from icm_core.interfaces import Codec, Enhancement, SideInfoAdapter, TaskHead
from icm_core.plugins.hookspecs import hookimpl
from icm_core.training import Loss
from icm_related.filtered import Filtered
from icm_related.gan import Adversarial, Discriminator, HiFiC
from icm_related.label_features import LabelFeatures
from icm_related.label_map import LabelMap
from icm_related.latent import LatentClassifier, Preview
from icm_related.lossless import Lossless
from icm_related.recurrent import Recurrent
from icm_related.steps import ClassSteps, OneStep
from icm_related.synthesis import Synthesis
from icm_related.travelling import AnswerAdapter, Told, WithAnswer

CODECS: tuple[type[Codec], ...] = (Filtered, LabelFeatures, LabelMap, Lossless, WithAnswer, Recurrent, HiFiC)
ADAPTERS: tuple[type[SideInfoAdapter], ...] = (ClassSteps, OneStep, Synthesis, AnswerAdapter)
HEADS: tuple[type[TaskHead], ...] = (LatentClassifier, Preview, Told, Discriminator)
ENHANCEMENTS: tuple[type[Enhancement], ...] = ()
LOSSES: tuple[type[Loss], ...] = (Adversarial,)


@hookimpl
def icm_codecs() -> list[type[Codec]]:
    """Codecs that send more, or something else, than a picture."""
    return list(CODECS)


@hookimpl
def icm_adapters() -> list[type[SideInfoAdapter]]:
    """What makes features of such side information."""
    return list(ADAPTERS)


@hookimpl
def icm_heads() -> list[type[TaskHead]]:
    """Heads of such features."""
    return list(HEADS)


@hookimpl
def icm_enhancements() -> list[type[Enhancement]]:
    """Enhancement layers of these systems."""
    return list(ENHANCEMENTS)


@hookimpl
def icm_losses() -> list[type[Loss]]:
    """What these systems are trained with beside the losses that all share."""
    return list(LOSSES)


@hookimpl
def icm_specs() -> list[Path]:
    """A spec of each system."""
    return sorted(Path(__file__).with_name("specs").glob("*.json"))


@hookimpl
def icm_recipes() -> list[Path]:
    """A recipe of each system that is trained."""
    return sorted(Path(__file__).with_name("recipes").glob("*.json"))
