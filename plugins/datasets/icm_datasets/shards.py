"""Members of tar shards by offset: found once by `tarfile`, read later without it. Nothing is unpacked or unpickled."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from icm_core.errors import InputError

_BLOCK = 512
_MAX_MEMBER = 1 << 28  # bytes; what may be loaded at once


class Member(NamedTuple):
    """Where a member's bytes are in its shard."""

    offset: int
    size: int


def read_samples(shard: Path) -> list[tuple[str, dict[str, Member]]]:
    """The samples of a shard, in its order: key and members by ending.

    By WebDataset's rule a sample's members follow one another, and share the path up to the first dot of the
    file's name; the rest is the ending. Members that begin with a dot or two underscores are none.

    Raises:
        InputError: it is no plain tar file, is cut or damaged, or holds a sample or a member twice.
    """
    samples: dict[str, dict[str, Member]] = {}
    last = None
    for name, member in _members(shard):
        folder, slash, file = name.rpartition("/")
        stem, dot, ending = file.partition(".")
        if not (stem and dot) or stem.startswith("__"):
            continue
        key, ending = folder + slash + stem, ending.lower()
        if key != last and key in samples:
            raise InputError(f"{shard} holds the sample {key!r} twice, or its members apart from one another")
        parts = samples.setdefault(key, {})
        if ending in parts:
            raise InputError(f"{shard} holds the member {name!r} twice")
        parts[ending] = member
        last = key
    return list(samples.items())


def read_member(shard: Path, member: Member, name: str) -> bytes:
    """A member's bytes. The file is opened anew, so that worker processes share no position in it.

    Raises:
        InputError: the shard cannot be read or became shorter, or the member is too large to be a picture.
    """
    if member.size > _MAX_MEMBER:
        raise InputError(f"{name} has {member.size} bytes; a picture has at most {_MAX_MEMBER}")
    try:
        with shard.open("rb") as file:
            file.seek(member.offset)
            data = file.read(member.size)
    except OSError as error:
        raise InputError(f"cannot read {shard}: {error.strerror or error}") from error
    if len(data) != member.size:
        raise InputError(f"{shard} became shorter while it was in use: {name} is cut")
    return data


def _members(shard: Path) -> Iterator[tuple[str, Member]]:
    """Name and place of every regular file in a shard."""
    end = 0
    try:
        with tarfile.open(shard, "r:") as tar:
            for info in tar:
                stored = info.size if info.isreg() and not info.issparse() else 0
                end = info.offset_data + -(-stored // _BLOCK) * _BLOCK
                if stored or info.isreg():
                    yield info.name, Member(info.offset_data, stored)
                tar.members.clear()  # a shard may have a million members, and tarfile keeps them all
        _check_end(shard, end)
    except (tarfile.TarError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read {shard} as a plain (not compressed) tar file: {reason}") from error


def _check_end(shard: Path, end: int) -> None:
    """After its last member a tar file ends or goes on with zeros; `tarfile` takes anything for its end."""
    size = shard.stat().st_size
    with shard.open("rb") as file:
        file.seek(end)
        rest = file.read(_BLOCK)
    if end > size or rest.strip(b"\0"):
        raise InputError(f"{shard} is cut or damaged at byte {min(end, size)} of {size}")
