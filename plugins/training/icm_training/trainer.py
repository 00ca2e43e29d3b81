"""One stage of a run: steps, logs, checkpoints, result."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console
from torch import Tensor, nn

from icm_core.errors import InputError, TrainingError
from icm_core.files import make_folder
from icm_core.interfaces import DataSet
from icm_core.nests import paths
from icm_core.pipeline.build import build
from icm_core.pipeline.pipeline import Pipeline
from icm_core.plugins.registry import Registry
from icm_core.spec.model import PipelineSpec
from icm_training import checkpoint as checkpoints
from icm_training.checking import feed_data, quality_range
from icm_training.checkpoint import Checkpoint
from icm_training.data import open_data, used_by
from icm_training.devices import make_fabric
from icm_training.ema import Ema
from icm_training.feed import RawBatch, Steps, Stream, batches, seed_of
from icm_training.folder import RunFolder, device_name
from icm_training.log import Log
from icm_training.mixture import Mixture, in_memory
from icm_training.options import Options
from icm_training.parts import Group, groups_of, prepare
from icm_training.recipe import OptimizerSpec, RecipeSpec
from icm_training.schedule import Schedule
from icm_training.stage import StageModule, Terms
from icm_training.start import fill, starts_of
from icm_training.timing import Timing
from icm_training.validation import validate


class Trainer:
    """One stage of a run.

    Args:
        recipe: the recipe.
        spec: its pipeline.
        index: number of the stage.
        folder: the run's folder.
        options: how it is carried out.
        registry: where data sets, losses and pipelines are looked up.
        console: where progress is shown.
    """

    def __init__(
        self,
        recipe: RecipeSpec,
        spec: PipelineSpec,
        index: int,
        folder: RunFolder,
        options: Options,
        registry: Registry,
        console: Console | None = None,
    ) -> None:
        self.recipe, self.stage, self.folder, self.options = recipe, recipe.stages[index], folder, options
        self.registry, self.console, self.index = registry, console, index
        self.place = f"stages[{index}]"
        self.fabric = make_fabric(options.device, self.stage.precision or recipe.precision)
        self.data = self._open_data()
        self.streams = self._streams(spec)
        self.schedule = Schedule(self.stage.schedule, len(self.streams[0].data) / self.stage.feeds[0].batch)
        self.pipe = self._pipeline(spec)
        self.groups = groups_of(self.pipe, self.stage.train, self.place)
        prepare(self.pipe, self.groups)
        feeds = [stream.data for stream in self.streams]
        self.module = StageModule(self.pipe, self.stage, feeds, registry, self.place)
        optimizer = make_optimizer(self.groups, self.stage.optimizer)
        self.step, self.seconds = 0, 0.0
        wrapped = self.fabric.setup(self.module, optimizer)
        self.forward, self.optimizer = cast(tuple[nn.Module, torch.optim.Optimizer], wrapped)
        # Here and not before: the parameters are on their device now, and so are the means that begin with them.
        self.ema = Ema(self._names(), self._trained(), self.stage.ema) if self.stage.ema is not None else None
        self._restore()

    @property
    def where(self) -> Path:
        """Folder of the stage."""
        return self.folder.stage(self.stage.name)

    def run(self) -> None:
        """All steps that are left, then the stage's result."""
        fabric, steps = self.fabric, self.schedule.steps
        log = Log(
            self.folder.path,
            self.stage.name,
            steps,
            self.step,
            active=fabric.is_global_zero,
            console=self.console,
            loggers=self.options.loggers,
        )
        timing = Timing(fabric.device)
        started, before = time.perf_counter(), self.seconds
        sums: dict[str, float] = {}
        rows = 0
        try:
            for raw in self._batches():
                timing.mark("data")
                terms = self._step(raw, timing)
                self.step += 1
                rows += 1
                self.seconds = before + time.perf_counter() - started
                for key, value in terms.items():
                    sums[key] = sums.get(key, 0.0) + value
                log.advance()
                last = self.step == steps
                if self.step % self.recipe.log_every == 0 or last:
                    means = {key: value / rows for key, value in sums.items()}
                    rate = {"lr": self._lr(self.step - 1), "pictures/s": timing.pictures_a_second}
                    log.row(self.step, {**means, **rate, **timing.shares})
                    sums, rows = {}, 0
                self._validate(log, last)
                if (self.step % self.recipe.checkpoint_every == 0 or last) and fabric.is_global_zero:
                    checkpoints.write(self.where, self._state(), self.recipe.keep)
                timing.restart()
        finally:
            log.close(good=self.step >= steps)
        self._finish(timing)

    def _step(self, raw: list[RawBatch], timing: Timing) -> dict[str, float]:
        """One step of the optimizer; the means of its terms."""
        torch.manual_seed(seed_of(self.recipe.seed, self.stage.name, "step", self.step))
        for group, parameters in zip(self.groups, self.optimizer.param_groups, strict=True):
            parameters["lr"] = group.spec.lr * self.schedule.factor(self.step)
        terms: Terms = self.forward(raw, self.step / self.schedule.steps)
        means = self._means(terms)
        if not all(torch.isfinite(torch.tensor(list(means.values())))):
            self._fail(raw, means)
        timing.mark("forward")
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(terms["loss"])
        if self.stage.clip is not None:
            norm = self.fabric.clip_gradients(
                self.forward, self.optimizer, max_norm=self.stage.clip, error_if_nonfinite=False
            )
            means["gradient"] = float(cast(Tensor, norm))
            if not torch.isfinite(torch.tensor(means["gradient"])):
                self._fail(raw, means)
        self.optimizer.step()
        if self.ema is not None:
            self.ema.update()
        timing.mark("backward", sum(len(batch.pictures) for batch in raw) * self.fabric.world_size)
        return means

    def _means(self, terms: Terms) -> dict[str, float]:
        """The terms over all devices."""
        values = torch.stack([value.detach().float() for value in terms.values()])
        if self.fabric.world_size > 1:
            values = cast(Tensor, self.fabric.all_reduce(values, reduce_op="mean"))
        return dict(zip(terms, values.tolist(), strict=True))

    def _fail(self, raw: list[RawBatch], means: dict[str, float]) -> None:
        """Store the batch that a value got lost on, and stop."""
        tensors = {}
        for number, batch in enumerate(raw):
            tensors[f"{number}.pictures"] = batch.pictures.cpu()
            tensors[f"{number}.quality"] = torch.tensor(batch.quality)
            tensors[f"{number}.numbers"] = torch.tensor(batch.numbers)
            tensors[f"{number}.seeds"] = torch.tensor(batch.seeds)
            # "0.target", or of a nest "0.target.boxes", "0.target[1].boxes"
            tensors |= {key: tensor.cpu().clone() for key, tensor in paths({f"{number}.target": batch.target}).items()}
        path = self.where / f"failed-step-{self.step:09d}-rank-{self.fabric.global_rank}.safetensors"
        make_folder(path.parent)
        checkpoints.write_tensors(path, tensors)
        values = ", ".join(f"{key} = {value:g}" for key, value in means.items())
        raise TrainingError(
            f"stage {self.stage.name!r}, step {self.step}: a value is not finite ({values}); the batch is in {path}, "
            "and a lower learning rate or gradient norm may help"
        )

    def _validate(self, log: Log, last: bool) -> None:
        spec = self.stage.validate_on
        if spec is None or not (self.step % spec.every == 0 or last):
            return
        data = Mixture([self.data[spec.data]], self.registry)
        encoder = next(iter(self.stage.encoders), None)
        log.row(self.step, validate(self.pipe, data, spec, log, self.step, encoder))

    def _lr(self, step: int) -> float:
        return self.groups[0].spec.lr * self.schedule.factor(step)

    def _batches(self) -> Iterator[list[RawBatch]]:
        fabric = self.fabric
        readers = []
        for stream, feed in zip(self.streams, self.stage.feeds, strict=True):
            steps = Steps(self.step, self.schedule.steps, feed.batch, fabric.global_rank, fabric.world_size)
            readers.append(batches(stream, steps, self.options.workers, fabric.device.type == "cuda"))
        for raw in zip(*readers, strict=True):
            yield [batch.to(fabric.device) for batch in raw]

    def _open_data(self) -> dict[str, DataSet]:
        options = self.options
        return {
            name: in_memory(open_data(name, self.recipe.data[name], options.data, self.registry), options.memory)
            for name in used_by(self.stage)
        }

    def _streams(self, spec: PipelineSpec) -> list[Stream]:
        with torch.device("meta"):
            bounds = quality_range(self.stage, build(spec, self.registry), self.place)
        return [
            Stream(
                feed_data(feed, self.data, self.registry, f"{self.place}.feeds[{number}]"),
                feed.augment,
                self.stage.quality,
                bounds,
                feed.views,
                seed_of(self.recipe.seed, self.stage.name, number),
            )
            for number, feed in enumerate(self.stage.feeds)
        ]

    def _pipeline(self, spec: PipelineSpec) -> Pipeline:
        torch.manual_seed(self.recipe.seed)
        pipe = build(spec, self.registry)
        fill(pipe, starts_of(self.recipe, self.index), self._result, self.options.home, self.registry)
        return pipe.to(memory_format=torch.channels_last)

    def _result(self, stage: str) -> Path:
        if not self.folder.is_done(stage):
            raise InputError(f"it starts from stage {stage!r}, which has not been trained in {self.folder.path}")
        return self.folder.result(stage)

    def _trained(self) -> list[nn.Parameter]:
        return [parameter for group in self.groups for parameter in group.parameters]

    def _names(self) -> list[str]:
        return [name for group in self.groups for name in group.names]

    def _state(self) -> Checkpoint:
        tensors = {f"pipe.{key}": tensor.detach().cpu() for key, tensor in self.pipe.state_dict().items()}
        states = self.optimizer.state_dict()["state"]
        for number, name in enumerate(self._names()):
            for key, value in states.get(number, {}).items():
                tensors[f"optimizer.{key}.{name}"] = torch.as_tensor(value).detach().cpu()
        if self.ema is not None:
            tensors |= {f"ema.{name}": tensor.cpu() for name, tensor in self.ema.state().items()}
        return Checkpoint(self.step, self.seconds, {key: tensor.clone() for key, tensor in tensors.items()})

    def _restore(self) -> None:
        """Go on from the newest checkpoint, where there is one."""
        found = checkpoints.newest(self.where)
        if found is None:
            return
        self.step, self.seconds = found.step, found.seconds
        state = {key[5:]: tensor for key, tensor in found.tensors.items() if key.startswith("pipe.")}
        self.pipe.load_state_dict(state)
        numbers = {name: number for number, name in enumerate(self._names())}
        states: dict[int, dict[str, Tensor]] = {}
        for key, tensor in found.tensors.items():
            if key.startswith("optimizer."):
                _, field, name = key.split(".", 2)
                states.setdefault(numbers[name], {})[field] = tensor
        own = self.optimizer.state_dict()
        self.optimizer.load_state_dict({"state": states, "param_groups": own["param_groups"]})
        if self.ema is not None:
            self.ema.restore({key[4:]: tensor for key, tensor in found.tensors.items() if key.startswith("ema.")})

    def _finish(self, timing: Timing) -> None:
        if self.ema is not None:
            self.ema.apply()
        if self.fabric.is_global_zero:
            state = {key: tensor.detach().cpu().clone() for key, tensor in self.pipe.state_dict().items()}
            make_folder(self.where)
            checkpoints.write_tensors(self.folder.result(self.stage.name), state)
            record: dict[str, Any] = {
                "steps": self.step,
                "seconds": round(self.seconds, 1),
                "device": device_name(self.fabric.device),
                "processes": self.fabric.world_size,
                "precision": self.stage.precision or self.recipe.precision,
                "pictures_a_second": round(timing.pictures_a_second, 2),
                **{key.replace(" ", "_"): round(value, 3) for key, value in timing.shares.items()},
            }
            self.folder.write_json(f"{self.stage.name}/done.json", record)
        self.fabric.barrier()


def make_optimizer(groups: Sequence[Group], spec: OptimizerSpec) -> torch.optim.Optimizer:
    """PyTorch's optimizer over the groups."""
    parts = [
        {
            "params": group.parameters,
            "lr": group.spec.lr,
            "weight_decay": spec.weight_decay if group.spec.weight_decay is None else group.spec.weight_decay,
        }
        for group in groups
    ]
    if spec.use == "sgd":
        return torch.optim.SGD(parts, momentum=spec.betas[0])
    kind = torch.optim.AdamW if spec.use == "adamw" else torch.optim.Adam
    return kind(parts, betas=spec.betas)
