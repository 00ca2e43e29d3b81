"""How a run is carried out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """How a run is carried out; none of it changes what comes out, up to the order of sums.

    Attributes:
        out: folder of the run.
        data: folder that the recipe's roots are relative to.
        home: folder that the recipe's paths of weights and specs are relative to.
        resume: if True, the folder's run goes on.
        stages: names of the stages that are run; all by default.
        device: see `icm_core.load`.
        workers: processes that read pictures.
        memory: bytes of decoded pictures that a data set may take to be kept in memory.
        loggers: names of loggers beside TensorBoard; see `icm_training.loggers`.
        given: folders of stages that another run has trained alike; they are taken over.
    """

    out: Path
    data: Path
    home: Path
    resume: bool = False
    stages: Sequence[str] = ()
    device: str = "auto"
    workers: int = 1
    memory: float = 2e9
    loggers: Sequence[str] = ()
    given: Mapping[str, Path] = field(default_factory=dict)
