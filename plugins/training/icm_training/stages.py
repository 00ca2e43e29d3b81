"""What each stage of `sicmh-small` trains, on which pictures, with which loss.

The stages follow the paper's (Sec. 3, 6.2) with one change: module A is trained for all tasks at once, then
frozen, so that one bitstream serves tasks that were not there when it was trained::

    warmup          A and B_rec as a picture codec                                lambda R_side + MSE
    head            Modified TrSeg on clean pictures                                    cross-entropy
    joint           A, B_seg, B_rec and the segmentation head   lambda R_side + cross-entropy + MSE
    segmentation    B_seg and its head, A frozen                                        cross-entropy
    classification  B_cls and the classifier, A frozen      distillation from the classifier on clean pictures
    coarse          B_rec and C, A frozen                                               MSE
    fine            D, the rest frozen                                                  MSE + lambda R
"""

from __future__ import annotations

import copy
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
from icm_sicmh.residual import Residual
from icm_tasks.modified_trseg import ModifiedTrSeg
from icm_tasks.pretrained import load_efficientnet_lite0
from icm_tasks.vit import ViT
from icm_training import data
from icm_training.loop import Group, Schedule, run

IGNORE = 11
MSE_WEIGHT = 0.0015  # of the squared error in grey levels, 0-255
RATE_ENDS = (6.0, 0.5)  # lambda of R_side (per bit per pixel) at the lowest and the highest quality
FINE_RATE_ENDS = (600.0, 90.0)  # lambda of y_r's rate, against the squared error in grey levels
CLEAN_SHARE = 0.3  # weight of clean pictures, so that one set of weights serves both


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

    def _rate(self, out: CodecOutput, quality: Tensor, rise: float) -> tuple[Tensor, Tensor]:
        """bpp of each picture, and the rate term, whose weight rises slowly from stage to stage.

        A rate weight that is large from the start collapses the codec before it has learned to see.
        """
        bpp = out.total_bits / (out.side.size[0] * out.side.size[1])
        return bpp, (self._rate_weight(quality, RATE_ENDS) * bpp).mean() * rise

    def _codec_groups(self, lr: float, *others: nn.Module) -> list[Group]:
        """A and others; the logarithms of gains, and densities, move on another scale than weights."""
        gains, density = (self.codec.gain_h1, self.codec.gain_h2), (self.codec.density,)
        return [
            Group((self.codec, *others), lr, without=gains + density),
            Group(gains, 20 * lr),
            Group(density, 4 * lr),
        ]

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
        """Stage 0: A and B_rec as a picture codec: the semantic image h~'' follows the picture.

        Small crops first, which cost a quarter. The other tasks' fusion blocks start as copies of B_rec.
        """
        small, large = self._pictures(128).batches(batch), self._pictures().batches(batch)
        adapters = {name: self.pipe.task(name).adapter for name in self.pipe.tasks}

        def step(number: int) -> dict[str, Tensor]:
            x, _ = self._to(*next(small if number < steps // 2 else large))
            quality = self._quality(len(x))
            out = self.codec(x, quality)
            features = self._features("coarse", out.side)
            mse = F.mse_loss(features.cropped("image").float(), x) * 255**2
            bpp, rate = self._rate(out, quality, 0.02 + 0.13 * number / steps)
            return {"loss": rate + MSE_WEIGHT * mse, "bpp": bpp.mean(), "psnr": _psnr(mse)}

        self.codec.train()
        groups = self._codec_groups(5e-4, adapters["coarse"])
        self._run("warmup", groups, Schedule(steps, warmup=100), step)
        self.codec.eval()
        for name in ("segmentation", "classification"):
            adapters[name].load_state_dict(adapters["coarse"].state_dict())

    def joint(self, steps: int) -> None:
        """Stage 2: A for machines and people together, with B_seg, B_rec and the segmentation head."""
        road = self._camvid((256, 256), (1.4, 2.9)).batches(4)
        any_pictures = self._pictures().batches(4)
        seg_adapter, rec_adapter = (self.pipe.task(name).adapter for name in ("segmentation", "coarse"))

        def step(number: int) -> dict[str, Tensor]:
            (x_seg, labels), (x_rec, _) = (self._to(*next(s)) for s in (road, any_pictures))
            x = torch.cat([x_rec, x_seg])
            n_rec = len(x_rec)
            quality = self._quality(len(x))
            out = self.codec(x, quality)
            bpp, rate = self._rate(out, quality, min(1.0, 0.3 + 1.4 * number / steps))
            halves = (SideInfo(tuple(level[s] for level in out.side.levels), out.side.size) for s in _halves(n_rec))
            rec_side, seg_side = halves
            seg_loss, hits = self._segmentation_loss(seg_adapter(seg_side), labels)
            # Pictures for people. C comes later, in its own stage.
            mse = F.mse_loss(rec_adapter(rec_side).maps["image"].float(), x_rec) * 255**2
            return {
                "loss": rate + seg_loss + MSE_WEIGHT * mse,
                "bpp": bpp.mean(),
                "bpp_h2": (out.bits["h2"] / (x.shape[-1] * x.shape[-2])).mean(),
                "ce": seg_loss,
                "accuracy": hits,
                "psnr": _psnr(mse),
            }

        self.codec.train()
        groups = [*self._codec_groups(3e-4, seg_adapter, rec_adapter), Group((self.trseg,), 2e-4)]
        self._run("joint", groups, Schedule(steps), step)
        self.codec.eval()

    def segmentation(self, steps: int, batch: int = 4) -> None:
        """Stage 3: B_seg and the head behind frozen A; a third of the loss keeps the head good on clean pictures."""
        pictures = self._camvid((256, 352), (1.1, 2.0)).batches(batch)
        adapter = self.pipe.task("segmentation").adapter

        def step(_number: int) -> dict[str, Tensor]:
            x, labels = self._to(*next(pictures))
            side, _ = self._side(x)
            loss, hits = self._segmentation_loss(self._features("segmentation", side), labels)
            clean, _ = self._segmentation_loss(self._clean(x[:1]), labels[:1])
            return {"loss": loss + CLEAN_SHARE * clean, "ce": loss, "accuracy": hits, "clean": clean}

        self._run("segmentation", [Group((adapter,), 2e-4), Group((self.trseg,), 1e-4)], Schedule(steps), step)

    def classification(self, steps: int, batch: int = 10) -> None:
        """Stage 4: B_cls behind frozen A, and the classifier, taught by what it said of the clean pictures before.

        A part of each batch is read clean, so that the same weights can be measured on clean pictures.
        """
        pictures = self._imagenette().batches(batch)
        adapter = self.pipe.task("classification").adapter
        adapter.load_state_dict(self.pipe.task("coarse").adapter.state_dict())
        teacher = copy.deepcopy(self.classifier)

        def step(_number: int) -> dict[str, Tensor]:
            x, _ = self._to(*next(pictures))
            with torch.no_grad():
                answer = F.softmax(teacher(self._clean(x)).float(), 1)
            side, _ = self._side(x)
            image = adapter(side).cropped("image")
            both = self.classifier(self._clean(torch.cat([image, x[:2].to(image.dtype)]))).float().log_softmax(1)
            kl = F.kl_div(both[: len(x)], answer, reduction="batchmean")
            clean = F.kl_div(both[len(x) :], answer[:2], reduction="batchmean")
            hits = (both[: len(x)].argmax(1) == answer.argmax(1)).float().mean()
            return {"loss": kl + CLEAN_SHARE * clean, "kl": kl, "clean": clean, "agreement": hits}

        groups = [Group((adapter,), 2e-4), Group((self.classifier,), 1e-4)]
        self._run("classification", groups, Schedule(steps), step)

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
        groups = [
            Group((self.enhancement,), 4e-4, without=(self.enhancement.gain,)),
            Group((self.enhancement.gain,), 8e-3),
        ]
        self._run("fine", groups, Schedule(steps, clip=10.0), step)
        self.enhancement.eval()


def _halves(first: int) -> tuple[slice, slice]:
    return slice(first), slice(first, None)


def _psnr(mse: Tensor) -> Tensor:
    """dB, of a squared error in grey levels."""
    return -10 * (mse / 255**2).log10()


def freeze(pipe: nn.Module) -> None:
    """Write the integer coding tables of codec and enhancement."""
    for module in pipe.modules():
        if isinstance(module, (Hyperprior, Residual)):
            module.freeze_tables()
