"""Pipelines on the Hugging Face hub: ``hf://owner/name`` or ``hf://owner/name@revision``.

A repository holds what ``icm export`` writes: one spec, its safetensors files, and a model card.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from icm_core.errors import InputError, SpecError

if TYPE_CHECKING:
    import types

SCHEME = "hf://"
_ADDRESS = re.compile(r"hf://(?P<owner>[\w.-]+)/(?P<name>[\w.-]+)(@(?P<revision>[\w./-]+))?")
_FILES = ("*.json", "*.safetensors", "*.md")


def fetch(address: str) -> Path:
    """Download a pipeline, or find it in the cache, and return its spec's path.

    Raises:
        InputError: the address is malformed, ``huggingface-hub`` is not installed, or the hub cannot be reached or
            has no such repository.
        SpecError: the repository holds no pipeline spec, or more than one.
    """
    repository, revision = _parsed(address)
    hub = _library()
    try:
        folder = Path(hub.snapshot_download(repository, revision=revision, allow_patterns=list(_FILES)))
    except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
        raise InputError(f"{address} cannot be had from the hub: {_one_line(error)}") from error
    specs = [path for path in sorted(folder.glob("*.json")) if _is_spec(path)]
    if len(specs) != 1:
        names = ", ".join(path.name for path in specs) or "none"
        raise SpecError(f"{address}: a repository holds one pipeline spec (.json), and this one holds {names}")
    return specs[0]


def cached(address: str) -> Path:
    """The folder of a repository that was fetched before; nothing is downloaded, so that a spec can name one.

    Raises:
        InputError: see `fetch`; or it is not on this machine, and the message says how to fetch it.
    """
    repository, revision = _parsed(address)
    hub = _library()
    try:
        return Path(
            hub.snapshot_download(repository, revision=revision, allow_patterns=list(_FILES), local_files_only=True)
        )
    except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
        at = f" --revision {revision}" if revision else ""
        wanted = " ".join(f"--include '{pattern}'" for pattern in _FILES[:2])
        raise InputError(
            f"{address} is not on this machine; fetch it once with: hf download {repository}{at} {wanted}"
        ) from error


def push(folder: Path, address: str, *, private: bool = False) -> str:
    """Upload an exported pipeline; makes the repository where there is none.

    Needs a token, as ``huggingface-cli login`` or the environment variable HF_TOKEN give it.

    Returns:
        Address of the commit.

    Raises:
        InputError: see `fetch`; or the token does not allow it.
        SpecError: the folder holds no pipeline spec, or more than one.
    """
    repository, revision = _parsed(address)
    if sum(_is_spec(path) for path in folder.glob("*.json")) != 1:
        raise SpecError(f"{folder} should hold one pipeline spec, as icm export writes it")
    hub = _library()
    try:
        hub.create_repo(repository, private=private, exist_ok=True)
        commit = hub.upload_folder(
            repo_id=repository, folder_path=folder, revision=revision, allow_patterns=list(_FILES)
        )
    except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
        raise InputError(f"{folder} cannot be pushed to {address}: {_one_line(error)}") from error
    return str(commit.commit_url)


def _parsed(address: str) -> tuple[str, str | None]:
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise InputError(
            f"{address!r} is no address of the hub; it should be like hf://owner/name or hf://owner/name@v1"
        )
    return f"{match['owner']}/{match['name']}", match["revision"]


def _library() -> types.ModuleType:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise InputError(
            "hf:// addresses need huggingface-hub; install it with: pip install 'icm-framework[hub]'"
        ) from error
    return huggingface_hub


def _is_spec(path: Path) -> bool:
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and "icm" in data and "codec" in data


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
