"""What each stage of `sicmh-small` trains, on which pictures, with which loss.

The stages follow the paper's (Sec. 3, 6.2) with one change: module A is trained for all tasks at once, then
frozen, so that one bitstream serves tasks that were not there when it was trained::

    warmup          A, B_rec and C as a picture codec                             lambda R_side + MSE
    head            Modified TrSeg on clean pictures                                    cross-entropy
    joint           A, every B and C; task networks frozen            lambda R_side + all task losses
    segmentation    B_seg and its head, A frozen                                        cross-entropy
    classification  B_cls, A and the classifier frozen      distillation from the classifier on clean pictures
    coarse          B_rec and C, A frozen                                               MSE
    fine            D, the rest frozen                                                  MSE + lambda R
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icm_core.pipeline import Pipeline
from icm_core.types import CodecOutput, Features, SideInfo
from icm_sicmh.codec import Hyperprior
from icm_sicmh.layers import pad_to
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
        self.trseg = cast(ModifiedTrSeg, pipe.task("segmentation").head)
        self.classifier = cast(ViT, pipe.task("classification").head)
        self.coarse_head = pipe.task("coarse").head
        pipe.to(memory_format=torch.channels_last)
        pipe.requires_grad_(False)
        pipe.eval()

    # ---- pictures -------------------------------------------------------------------------------

    def _camvid(self, size: tuple[int, int], scale: tuple[float, float]) -> data.Stream:
        return data.Stream(data.camvid(self.root, "train"), data.crop_with_labels(size, scale, IGNORE), self.seed)

    def _imagenette(self) -> data.Stream:
        return data.Stream(data.imagenette(self.root, "train", self.classifier.synsets), data.flip(), self.seed + 1)

    def _pictures(self, size: int = 256) -> data.Stream:
        # CamVid three times: it is what the coarse and fine pictures are measured on.
        road = [(picture, torch.empty(0)) for picture, _ in data.camvid(self.root, "train")]
        natural = data.pictures(self.root / "bsds500" / "train") + data.pictures(self.root / "imagenette224" / "train")
        return data.Stream(road * 3 + natural, data.crop(size), self.seed + 2)

    # ---- parts ----------------------------------------------------------------------------------

    def _quality(self, count: int) -> Tensor:
        """Half of the pictures at a trained quality, half anywhere between."""
        top = self.codec.params.qualities
        anywhere = 1 + (top - 1) * torch.rand(count)
        return torch.where(torch.rand(count) < 0.5, anywhere, anywhere.round()).to(self.device)

    def _rate_weight(self, quality: Tensor, ends: tuple[float, float]) -> Tensor:
        share = (quality - 1) / (self.codec.params.qualities - 1)
        return torch.exp(math.log(ends[0]) * (1 - share) + math.log(ends[1]) * share)

    def _rate(self, out: CodecOutput, quality: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        """bpp of each picture, and the rate term, whose weight rises from a tenth in the first third of a stage.

        A rate weight that is large from the start collapses the codec before it has learned to see.
        """
        bpp = out.total_bits / (out.side.size[0] * out.side.size[1])
        rise = min(1.0, 0.1 + 2.7 * progress)
        return bpp, (self._rate_weight(quality, RATE_ENDS) * bpp).mean() * rise

    def _side(self, x: Tensor) -> tuple[SideInfo, Tensor]:
        """Side information of frozen A, and the qualities that were drawn."""
        quality = self._quality(len(x))
        with torch.no_grad():
            return self.codec(x, quality).side, quality

    def _features(self, task: str, side: SideInfo) -> Features:
        return cast(Features, self.pipe.task(task).adapter(side))

    def _segmentation_loss(self, features: Features, labels: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.trseg.maps(features)
        hits = (maps[1].argmax(1) == labels)[labels != IGNORE].float().mean()
        first, second = (F.cross_entropy(m.float(), labels, self._weights(), ignore_index=IGNORE) for m in maps)
        return second + self.trseg.params.auxiliary_weight * first, hits

    @functools.cache  # noqa: B019 (one object a process)
    def _weights(self) -> Tensor:
        """Weight of each class in the cross-entropy: rare ones count more, by the root of their share of pixels."""
        counts = torch.zeros(self.trseg.params.classes)
        for _, labels in data.camvid(self.root, "train"):
            counts += torch.bincount(labels[labels != IGNORE].long(), minlength=len(counts))
        return (counts.median() / counts.clamp_min(1)).sqrt().to(self.device)

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

    def _run(
        self, name: str, groups: list[Group], schedule: Schedule, step: Callable[[int], dict[str, Tensor]]
    ) -> None:
        run(name, groups, schedule, step, self.folder, self.device)

    # ---- stages ---------------------------------------------------------------------------------

    def head(self, steps: int, batch: int = 8) -> None:
        """Stage 1: segmentation head on clean pictures, from ImageNet features."""
        load_efficientnet_lite0(self.trseg.backbone.net)
        load_efficientnet_lite0(self.classifier.net)
        pictures = self._camvid((240, 320), (1.0, 2.2)).batches(batch)
        backbone = self.trseg.backbone
        rest = tuple(child for child in self.trseg.children() if child is not backbone)

        def step(_number: int) -> dict[str, Tensor]:
            x, labels = self._to(*next(pictures))
            loss, hits = self._segmentation_loss(self._clean(x), labels)
            return {"loss": loss, "accuracy": hits}

        self.trseg.train()
        self._run("head", [Group(rest, 8e-4), Group((backbone,), 4e-4)], Schedule(steps, weight_decay=1e-2), step)
        self.trseg.eval()

    def warmup(self, steps: int, batch: int = 8) -> None:
        """Stage 0: A, B_rec and C as a picture codec; both x_c and the semantic image follow the picture.

        Small crops first, which cost a quarter. The other tasks' fusion blocks start as copies of B_rec.
        """
        small, large = self._pictures(128).batches(batch), self._pictures().batches(batch)
        adapters = {name: self.pipe.task(name).adapter for name in self.pipe.tasks}

        def step(number: int) -> dict[str, Tensor]:
            x, _ = self._to(*next(small if number < steps // 2 else large))
            quality = self._quality(len(x))
            out = self.codec(x, quality)
            features = self._features("coarse", out.side)
            mse = F.mse_loss(self.coarse_head(features).float(), x) * 255**2
            image = F.mse_loss(features.cropped("image").float(), x) * 255**2
            bpp, rate = self._rate(out, quality, number / steps)
            loss = rate + MSE_WEIGHT * (mse + 0.5 * image)
            return {"loss": loss, "bpp": bpp.mean(), "psnr": _psnr(mse), "psnr_image": _psnr(image)}

        self.codec.train()
        groups = [Group((self.codec, adapters["coarse"], self.coarse_head), 3e-4)]
        self._run("warmup", groups, Schedule(steps, warmup=100), step)
        self.codec.eval()
        for name in ("segmentation", "classification"):
            adapters[name].load_state_dict(adapters["coarse"].state_dict())

    def joint(self, steps: int) -> None:
        """Stage 2: A and every fusion block for all tasks together, read by task networks that stay as they are."""
        road = self._camvid((256, 256), (1.4, 2.9)).batches(4)
        objects = self._imagenette().batches(3)
        any_pictures = self._pictures().batches(3)
        adapters = tuple(self.pipe.task(name).adapter for name in self.pipe.tasks)

        def step(number: int) -> dict[str, Tensor]:
            (x_seg, labels), (x_cls, _), (x_rec, _) = (self._to(*next(s)) for s in (road, objects, any_pictures))
            x_cls = pad_to(x_cls, 64)
            x = torch.cat([x_rec, x_seg, x_cls])
            n_rec, n_seg = len(x_rec), len(x_seg)
            quality = self._quality(len(x))
            out = self.codec(x, quality)

            def part(a: int, b: int, size: tuple[int, int] = out.side.size) -> SideInfo:
                return SideInfo(tuple(level[a:b] for level in out.side.levels), size)

            bpp, rate = self._rate(out, quality, 0.3 + number / steps)
            seg = self._features("segmentation", part(n_rec, n_rec + n_seg))
            seg_loss, hits = self._segmentation_loss(seg, labels)
            cls = self._features("classification", part(n_rec + n_seg, len(x), (224, 224)))
            kl = self._distillation(cls, x_cls[..., :224, :224])
            # The coarse picture is trained on the plain pictures and one of the road scenes.
            coarse = self.coarse_head(self._features("coarse", part(0, n_rec + 1))).float()
            mse = F.mse_loss(coarse, x[: n_rec + 1]) * 255**2
            images = F.mse_loss(seg.maps["image"].float(), x_seg) + F.mse_loss(cls.maps["image"].float(), x_cls)
            pull = IMAGE_WEIGHT * max(0.1, 1 - 2 * number / steps) * 255**2 * images
            return {
                "loss": rate + seg_loss + 0.5 * kl + MSE_WEIGHT * mse + pull,
                "bpp": bpp.mean(),
                "bpp_h2": (out.bits["h2"] / (x.shape[-1] * x.shape[-2])).mean(),
                "ce": seg_loss,
                "accuracy": hits,
                "kl": kl,
                "psnr": _psnr(mse),
            }

        self.codec.train()
        groups = [Group((self.codec, self.coarse_head, *adapters), 3e-4)]
        self._run("joint", groups, Schedule(steps, warmup=100), step)
        self.codec.eval()

    def segmentation(self, steps: int, batch: int = 6) -> None:
        """Stage 3: B_seg and the head behind frozen A; a third of the loss keeps the head good on clean pictures."""
        pictures = self._camvid((320, 448), (0.9, 1.6)).batches(batch)
        adapter = self.pipe.task("segmentation").adapter

        def step(_number: int) -> dict[str, Tensor]:
            x, labels = self._to(*next(pictures))
            side, _ = self._side(x)
            loss, hits = self._segmentation_loss(self._features("segmentation", side), labels)
            clean, _ = self._segmentation_loss(self._clean(x[:2]), labels[:2])
            return {"loss": loss + CLEAN_SHARE * clean, "ce": loss, "accuracy": hits, "clean": clean}

        self._run("segmentation", [Group((adapter,), 2e-4), Group((self.trseg,), 1e-4)], Schedule(steps), step)

    def classification(self, steps: int, batch: int = 12) -> None:
        """Stage 4: B_cls behind frozen A, read by the classifier as it is."""
        pictures = self._imagenette().batches(batch)
        adapter = self.pipe.task("classification").adapter

        def step(_number: int) -> dict[str, Tensor]:
            x, _ = self._to(*next(pictures))
            side, _ = self._side(x)
            features = self._features("classification", side)
            kl = self._distillation(features, x)
            image = F.mse_loss(features.cropped("image").float(), x) * 255**2
            return {"loss": kl + 0.1 * IMAGE_WEIGHT * image, "kl": kl}

        self._run("classification", [Group((adapter,), 2e-4)], Schedule(steps), step)

    def coarse(self, steps: int, batch: int = 8) -> None:
        """Stage 5: B_rec and C behind frozen A (Eq. 20)."""
        pictures = self._pictures().batches(batch)
        adapter = self.pipe.task("coarse").adapter

        def step(_number: int) -> dict[str, Tensor]:
            x, _ = self._to(*next(pictures))
            side, _ = self._side(x)
            mse = F.mse_loss(self.coarse_head(self._features("coarse", side)).float(), x)
            return {"loss": mse * 255**2, "psnr": _psnr(mse * 255**2)}

        self._run("coarse", [Group((adapter, self.coarse_head), 2e-4)], Schedule(steps, clip=50.0), step)

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
            return {"loss": loss, "bpp": bpp.mean(), "psnr": _psnr(mse.mean())}

        self.enhancement.train()
        self._run("fine", [Group((self.enhancement,), 4e-4)], Schedule(steps, clip=10.0), step)
        self.enhancement.eval()


def _psnr(mse: Tensor) -> Tensor:
    """dB, of a squared error in grey levels."""
    return -10 * (mse / 255**2).log10()


def freeze(pipe: nn.Module) -> None:
    """Write the integer coding tables of codec and enhancement."""
    for module in pipe.modules():
        if isinstance(module, (Hyperprior, Residual)):
            module.freeze_tables()
