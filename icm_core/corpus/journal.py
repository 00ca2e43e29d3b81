"""What `icm decode --resume` has found so far, on disk: files of pictures do not hold all that was answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

from icm_core.corpus.decoding import Marked
from icm_core.errors import InputError

_NAME = ".icm-decode"


class Journal:
    """Files of one line for each decoded file, in the folder of the answers; every shard has a file of its own.

    A line that cannot be read, such as one that was being written when the power went, is as if it were not there.

    Args:
        folder: of the answers; it exists.
        shard: what the own file is called after, empty for none.
    """

    def __init__(self, folder: Path, shard: str = "") -> None:
        self._path = folder / f"{_NAME}{shard}.jsonl"
        self._found: dict[str, Marked] = {}
        try:
            for path in sorted(folder.glob(f"{_NAME}*.jsonl")):
                for line in path.read_bytes().split(b"\n"):
                    self._take(line)
            # What was being written ends here.
            torn = self._path.exists() and not self._path.read_bytes().endswith(b"\n")
            self._file = self._path.open("ab", buffering=0)
            if torn:
                self._file.write(b"\n")
        except OSError as error:
            raise InputError(f"cannot use {self._path}: {error.strerror or error}") from error

    def earlier(self, file: Path) -> Marked | None:
        """What was found of a file."""
        return self._found.get(str(file))

    def add(self, found: Marked) -> None:
        """Keep what was found, unless it was kept before."""
        if "kept" in found["row"]:
            return
        try:
            self._file.write(json.dumps(found, allow_nan=False).encode() + b"\n")
        except OSError as error:
            raise InputError(f"cannot write {self._path}: {error.strerror or error}") from error

    def close(self) -> None:
        """No more is added."""
        self._file.close()

    def _take(self, line: bytes) -> None:
        try:
            found = json.loads(line)
            if isinstance(found["mark"], str) and isinstance(found["row"]["tasks"], dict):
                self._found[found["row"]["file"]] = cast(Marked, found)
        except (ValueError, KeyError, TypeError):
            return
