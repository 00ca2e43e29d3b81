"""Jobs whose items say what happens to whoever does them."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from icm_core.corpus.work import Job, Place, Work, attempt
from icm_core.errors import IcmError, InputError, WeightsError


@dataclass(frozen=True)
class Acting(Job[str, str]):
    """``ok``, ``bad`` (cannot be used), ``full`` (memory runs out), ``bug``, ``die`` (is killed), ``quit`` (leaves)."""

    opening: str = "ok"

    def open(self, place: Place) -> Work[str, str]:
        if self.opening == "refuse":
            raise WeightsError("there are no weights")
        if self.opening == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return lambda items: self._all(place, items)

    def _all(self, place: Place, items: Sequence[str]) -> list[str | IcmError]:
        return [attempt(lambda item: self._one(place, item), item) for item in items]

    def _one(self, place: Place, item: str) -> str:
        what = item.split("-")[0]
        if what == "bad":
            raise InputError(f"{item} cannot be used")
        if what == "full":
            raise MemoryError
        if what == "bug":
            raise ZeroDivisionError(f"of {item}")
        if what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "quit":
            sys.stdout.flush()
            os._exit(3)
        if what == "slow":
            time.sleep(0.3)
        return f"{item} by {torch.get_num_threads()} of {os.getpid() if what == 'who' else place.threads}"
