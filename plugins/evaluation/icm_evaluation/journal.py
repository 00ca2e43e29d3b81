"""What a measurement has found so far, on disk, so that one that was stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from icm_core.errors import InputError
from icm_core.files import read_file, write_atomically
from icm_evaluation.results import PictureRow


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    row: PictureRow


class Journal:
    """A file of one line for each measured picture, behind a line that says what is being measured.

    Args:
        path: where it is; an existing one of the same measurement is gone on with.
        identity: what the rows depend on.

    Raises:
        InputError: the file is of another measurement, is damaged, or cannot be read or written.

    Attributes:
        rows: what is there, by the picture's number in its data set.
    """

    def __init__(self, path: Path, identity: Mapping[str, object]) -> None:
        self.path = path
        self.rows: dict[int, PictureRow] = {}
        head = json.dumps(identity, sort_keys=True).encode()
        pieces = read_file(path).split(b"\n") if path.exists() else []
        # The last piece is empty, or a line that was being written when the program was stopped.
        lines = pieces[:-1] or [head]
        if lines[0] != head:
            raise InputError(
                f"{path} holds the beginning of another measurement (of another model or version, other data or "
                f"qualities); delete it, or write to another file"
            )
        for position, line in enumerate(lines[1:], 2):
            try:
                found = _Line.model_validate_json(line)
            except ValidationError as error:
                raise InputError(f"{path} is damaged at line {position}; delete it to start again") from error
            self.rows[found.number] = found.row
        write_atomically(path, b"".join(line + b"\n" for line in lines))

    def add(self, number: int, row: PictureRow) -> None:
        """Keep a picture's row."""
        self.rows[number] = row
        line = _Line(number=number, row=row).model_dump_json(exclude_none=True)
        try:
            with self.path.open("ab") as file:
                file.write(line.encode() + b"\n")
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror or error}") from error

    def remove(self) -> None:
        """The measurement is done and stored elsewhere."""
        self.path.unlink(missing_ok=True)
