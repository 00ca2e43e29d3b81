"""What each stage of `sicmh-small` trains, on which pictures, with which loss.

The stages follow the paper's (Sec. 3, 6.2) with one change: module A is trained for all tasks at once, then
frozen, so that one bitstream serves tasks that were not there when it was trained::

    head            TrSeg and Modified TrSeg on clean pictures                          cross-entropy
    joint           A, every B, C and the segmentation head        lambda R_side + all task losses
    segmentation    B_seg and its head, A frozen                                        cross-entropy
    classification  B_cls, A and the classifier frozen      distillation from the classifier on clean pictures
    coarse          B_rec and C, A frozen                                               MSE
    fine            D, the rest frozen                                                  MSE + lambda R
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icm_core.pipeline import Pipeline
from icm_core.types import Features, SideInfo
from icm_sicmh.codec import Hyperprior
from icm_sicmh.residual import Residual
from icm_tasks.modified_trseg import ModifiedTrSeg
from icm_tasks.pretrained import load_efficientnet_lite0
from icm_tasks.vit import ViT
from icm_training import data
from icm_training.loop import Group, Schedule, run

IGNORE = 11
MSE_WEIGHT = 0.0015  # of the squared error in grey levels, 0-255
IMAGE_WEIGHT = 0.0003  # the same, pulling semantic images towards pictures, so that a pretrained head can read them
RATE_ENDS = (6.0, 0.5)  # lambda of R_side (per bit per pixel) at the lowest and the highest quality
FINE_RATE_ENDS = (600.0, 90.0)  # lambda of y_r's rate, against the squared error in grey levels
CLEAN_SHARE = 0.3  # weight of clean pictures, so that one set of weights serves both
DISTILL_TEMPERATURE = 1.0


class Stages:
    """The stages of one pipeline.

    Args:
        pipe: a pipeline with the tasks segmentation, classification and coarse, in training.
        root: folder with ``camvid``, ``imagenette224``, ``bsds500``.
        folder: where logs and checkpoints go.
        seed: of pictures and augmentation.
    """

    def __init__(self, pipe: Pipeline, root: Path, folder: Path, seed: int = 0) -> None:
        self.pipe, self.root, self.folder, self.seed = pipe, root, folder, seed
        self.device = next(pipe.parameters()).device
        self.codec = cast(Hyperprior, pipe.codec)
        self.enhancement = cast(Residual, pipe.enhancement)
        self.trseg = cast(ModifiedTrSeg, pipe.tasks["segmentation"].head)
        self.classifier = cast(ViT, pipe.tasks["classification"].head)
        self.coarse_head = pipe.tasks["coarse"].head
        pipe.to(memory_format=torch.channels_last)
        pipe.requires_grad_(False)
        pipe.eval()

    # ---- pictures -------------------------------------------------------------------------------

    def _camvid(self, size: tuple[int, int], scale: tuple[float, float]) -> data.Stream:
        return data.Stream(data.camvid(self.root, "train"), data.crop_with_labels(size, scale, IGNORE), self.seed)

    def _imagenette(self) -> data.Stream:
        return data.Stream(data.imagenette(self.root, "train", self.classifier.synsets), data.flip(), self.seed + 1)

    def _pictures(self) -> data.Stream:
        # CamVid three times: it is what the coarse and fine pictures are measured on.
        road = [(picture, torch.empty(0)) for picture, _ in data.camvid(self.root, "train")]
        natural = data.pictures(self.root / "bsds500" / "train") + data.pictures(self.root / "imagenette224" / "train")
        return data.Stream(road * 3 + natural, data.crop(256), self.seed + 2)

    # ---- parts ----------------------------------------------------------------------------------

    def _quality(self, count: int) -> Tensor:
        """Half of the pictures at a trained quality, half anywhere between."""
        top = self.codec.params.qualities
        anywhere = 1 + (top - 1) * torch.rand(count)
        return torch.where(torch.rand(count) < 0.5, anywhere, anywhere.round()).to(self.device)

    def _rate_weight(self, quality: Tensor, ends: tuple[float, float]) -> Tensor:
        share = (quality - 1) / (self.codec.params.qualities - 1)
        return torch.exp(math.log(ends[0]) * (1 - share) + math.log(ends[1]) * share)

    def _side(self, x: Tensor) -> tuple[SideInfo, Tensor]:
        """Side information of frozen A, and the qualities that were drawn."""
        quality = self._quality(len(x))
        with torch.no_grad():
            return self.codec(x, quality).side, quality

    def _features(self, task: str, side: SideInfo) -> Features:
        return cast(Features, self.pipe.tasks[task].adapter(side))

    def _segmentation_loss(self, features: Features, labels: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.trseg.maps(features)
        hits = (maps[1].argmax(1) == labels)[labels != IGNORE].float().mean()
        return self.trseg.maps_loss((maps[0].float(), maps[1].float()), labels), hits

    def _clean(self, x: Tensor) -> Features:
        return Features({"image": x}, (x.shape[-2], x.shape[-1]))

    def _distillation(self, features: Features, x: Tensor) -> Tensor:
        """KL divergence from the classifier's answer on clean pictures, mean over pictures, in nats."""
        with torch.no_grad():
            teacher = self.classifier(self._clean(x)).float()
        student = self.classifier(features).float()
        t = DISTILL_TEMPERATURE
        return F.kl_div(F.log_softmax(student / t, 1), F.softmax(teacher / t, 1), reduction="batchmean") * t * t

    def _to(self, *tensors: Tensor) -> list[Tensor]:
        return [t.to(self.device) for t in tensors]

    def _run(self, name: str, groups: list[Group], schedule: Schedule, step: Callable[[int], dict[str, Tensor]]) -> None:
        run(name, groups, schedule, step, self.folder, self.device)

    # ---- stages ---------------------------------------------------------------------------------

    def head(self, steps: int, batch: int = 8) -> None:
        """Stage 1: segmentation head on clean pictures, from ImageNet features."""
        load_efficientnet_lite0(self.trseg.backbone.net)
        load_efficientnet_lite0(self.classifier.net)
        pictures = self._camvid((240, 320), (1.0, 2.2)).batches(batch)
        backbone = self.trseg.backbone
        rest = tuple(child for child in self.trseg.children() if child is not backbone)

        def step(number: int) -> dict[str, Tensor]:
            x, labels = self._to(*next(pictures))
            loss, hits = self._segmentation_loss(self._clean(x), labels)
            return {"loss": loss, "accuracy": hits}

        self.trseg.train()
        self._run("head", [Group(rest, 8e-4), Group((backbone,), 4e-4)], Schedule(steps, weight_decay=1e-2), step)
        self.trseg.eval()

    def joint(self, steps: int) -> None:
        """Stages 0 and 2: A for all tasks together; the rate's weight rises from a tenth in the first third."""
        road = self._camvid((256, 256), (1.4, 2.9)).batches(5)
        objects = self._imagenette().batches(4)
        any_pictures = self._pictures().batches(4)
        tasks = self.pipe.tasks
        adapters = tuple(tasks[t].adapter for t in ("segmentation", "classification", "coarse"))

        def step(number: int) -> dict[str, Tensor]:
            (x_seg, labels), (x_cls, _), (x_rec, _) = (self._to(*next(s)) for s in (road, objects, any_pictures))
            x_cls = F.pad(x_cls, (0, 32, 0, 32), mode="replicate")
            x = torch.cat([x_rec, x_seg, x_cls])
            n_rec, n_seg = len(x_rec), len(x_seg)
            quality = self._quality(len(x))
            out = self.codec(x, quality)
            size = out.side.size

            def part(a: int, b: int, size: tuple[int, int] = size) -> SideInfo:
                return SideInfo(tuple(level[a:b] for level in out.side.levels), size)

            bpp = out.total_bits / (size[0] * size[1])
            rise = min(1.0, 0.1 + 0.9 * number / (0.33 * steps))
            rate = (self._rate_weight(quality, RATE_ENDS) * bpp).mean() * rise
            seg = self._features("segmentation", part(n_rec, n_rec + n_seg))
            seg_loss, hits = self._segmentation_loss(seg, labels)
            clean_loss, _ = self._segmentation_loss(self._clean(x_seg[:2]), labels[:2])
            cls = self._features("classification", part(n_rec + n_seg, len(x), (224, 224)))
            kl = self._distillation(cls, x_cls[..., :224, :224])
            # The coarse picture is trained on the plain pictures and two of the road scenes.
            coarse = self.coarse_head(self._features("coarse", part(0, n_rec + 2))).float()
            mse = F.mse_loss(coarse, x[: n_rec + 2]) * 255**2
            images = F.mse_loss(seg.maps["image"].float(), x_seg) + F.mse_loss(cls.maps["image"].float(), x_cls)
            pull = max(0.1, 1 - number / (0.5 * steps))
            loss = (
                rate
                + seg_loss
                + CLEAN_SHARE * clean_loss
                + 0.5 * kl
                + MSE_WEIGHT * mse
                + IMAGE_WEIGHT * pull * 255**2 * images
            )
            return {
                "loss": loss,
                "bpp": bpp.mean(),
                "bpp_h2": (out.bits["h2"] / (size[0] * size[1])).mean(),
                "ce": seg_loss,
                "accuracy": hits,
                "clean": clean_loss,
                "kl": kl,
                "psnr": -10 * (mse / 255**2).log10(),
            }

        self.codec.train()
        groups = [Group((self.codec, *adapters, self.coarse_head), 6e-4), Group((self.trseg,), 1e-4)]
        self._run("joint", groups, Schedule(steps, warmup=100), step)
        self.codec.eval()

    def segmentation(self, steps: int, batch: int = 6) -> None:
        """Stage 3: B_seg and the head behind frozen A; a third of the loss keeps the head good on clean pictures."""
        pictures = self._camvid((320, 448), (0.9, 1.6)).batches(batch)
        adapter = self.pipe.tasks["segmentation"].adapter

        def step(number: int) -> dict[str, Tensor]:
            x, labels = self._to(*next(pictures))
            side, _ = self._side(x)
            loss, hits = self._segmentation_loss(self._features("segmentation", side), labels)
            clean, _ = self._segmentation_loss(self._clean(x[:2]), labels[:2])
            return {"loss": loss + CLEAN_SHARE * clean, "ce": loss, "accuracy": hits, "clean": clean}

        self._run("segmentation", [Group((adapter,), 3e-4), Group((self.trseg,), 1e-4)], Schedule(steps), step)

    def classification(self, steps: int, batch: int = 12) -> None:
        """Stage 4: B_cls behind frozen A, read by the classifier as it is."""
        pictures = self._imagenette().batches(batch)
        adapter = self.pipe.tasks["classification"].adapter

        def step(number: int) -> dict[str, Tensor]:
            x, _ = self._to(*next(pictures))
            side, _ = self._side(x)
            features = self._features("classification", side)
            kl = self._distillation(features, x)
            image = F.mse_loss(features.cropped("image").float(), x) * 255**2
            return {"loss": kl + 0.1 * IMAGE_WEIGHT * image, "kl": kl}

        self._run("classification", [Group((adapter,), 4e-4)], Schedule(steps), step)

    def coarse(self, steps: int, batch: int = 8) -> None:
        """Stage 5: B_rec and C behind frozen A (Eq. 20)."""
        pictures = self._pictures().batches(batch)
        adapter = self.pipe.tasks["coarse"].adapter

        def step(number: int) -> dict[str, Tensor]:
            x, _ = self._to(*next(pictures))
            side, _ = self._side(x)
            mse = F.mse_loss(self.coarse_head(self._features("coarse", side)).float(), x)
            return {"loss": mse * 255**2, "psnr": -10 * mse.log10()}

        self._run("coarse", [Group((adapter, self.coarse_head), 4e-4)], Schedule(steps, clip=50.0), step)

    def fine(self, steps: int, batch: int = 8) -> None:
        """Stage 6: D behind frozen A, B_rec and C (Eq. 25)."""
        pictures = self._pictures().batches(batch)

        def step(number: int) -> dict[str, Tensor]:
            x, _ = self._to(*next(pictures))
            side, quality = self._side(x)
            with torch.no_grad():
                coarse = self.coarse_head(self._features("coarse", side)).float().clamp(0, 1)
            fine, bits = self.enhancement(x, coarse, side, quality)
            bpp = bits / (x.shape[-1] * x.shape[-2])
            mse = (fine - x).square().flatten(1).mean(1) * 255**2
            weight = self._rate_weight(quality, FINE_RATE_ENDS)
            # Each picture's terms are divided by its rate weight's root: low and high qualities then pull alike.
            rise = min(1.0, 0.1 + 0.9 * number / (0.2 * steps))
            loss = ((mse + rise * weight * bpp) / weight.sqrt()).mean()
            return {"loss": loss, "bpp": bpp.mean(), "psnr": -10 * (mse.mean() / 255**2).log10()}

        self.enhancement.train()
        self._run("fine", [Group((self.enhancement,), 6e-4)], Schedule(steps, clip=10.0), step)
        self.enhancement.eval()


def freeze(pipe: nn.Module) -> None:
    """Write the integer coding tables of codec and enhancement."""
    for module in pipe.modules():
        if isinstance(module, (Hyperprior, Residual)):
            module.freeze_tables()
