"""Weights on disk: safetensors files, never pickle.

Parameters are stored in float16; buffers (integer tables, running statistics) as they are. The metadata of each
file holds the pipeline's name and fingerprints, so a bitstream's pipeline can be found without loading it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from icm_core.errors import WeightsError
from icm_core.files import write_atomically
from icm_core.pipeline.pipeline import Pipeline
from icm_core.spec.extends import Inherited
from icm_core.spec.places import component_of
from icm_registry import nearest

MAX_FILE_BYTES = 25_000_000
NAME = "icm.name"
BASE = "icm.fingerprint.base"
ENHANCEMENT = "icm.fingerprint.enhancement"


@runtime_checkable
class Checked(Protocol):
    """A module that knows which values its tables cannot have."""

    def problem(self, values: Mapping[str, Tensor]) -> tuple[str, str] | None:
        """A key and what is wrong with its values, as a clause; None if nothing is.

        Args:
            values: the module's own state, under its own keys.
        """


def save(
    pipeline: Pipeline,
    files: Mapping[Path, Sequence[str]],
    *,
    max_bytes: int = MAX_FILE_BYTES,
    partly: bool = False,
) -> None:
    """Write a pipeline's weights, all files or none of those that do not fit.

    The fingerprints in the metadata are those of the pipeline as `load_weights` restores it, with parameters
    rounded to float16. Tables are stored as they are; ``freeze_tables`` comes before, where it is due.

    Args:
        pipeline: the pipeline; it is not changed.
        files: for each file the prefixes of the keys that go into it, e.g. ``{path: ["codec.", "enhancement."]}``;
            ``[""]`` is everything.
        max_bytes: limit of one file.
        partly: if True, keys that no prefix fits are left out.

    Raises:
        WeightsError: a key belongs to no file or to two, a value does not fit float16, a file is too large, or a
            layer of the coding path could leave the range in which it is exact; the layer is named.
        InputError: a file cannot be written.
    """
    state = stored_state(pipeline)
    parts: dict[Path, dict[str, Tensor]] = {path: {} for path in files}
    for key, tensor in state.items():
        owners = [path for path, prefixes in files.items() if any(key.startswith(prefix) for prefix in prefixes)]
        if partly and not owners:
            continue
        if len(owners) != 1:
            where = " and ".join(map(str, owners)) if owners else "no file"
            raise WeightsError(f"{key} would be written to {where}; the prefixes have to give it exactly one file")
        parts[owners[0]][key] = tensor
    metadata = _metadata(pipeline, state)
    blobs = {path: _serialized(part, metadata) for path, part in parts.items()}
    for path, blob in blobs.items():
        if len(blob) > max_bytes:
            raise WeightsError(f"{path}: {len(blob)} bytes, above the limit of {max_bytes}; split it by prefixes")
    for path, blob in blobs.items():
        write_atomically(path, blob)


def stored_state(module: nn.Module) -> dict[str, Tensor]:
    """A module's state as files hold it: parameters in float16, buffers unchanged, on the CPU.

    Raises:
        WeightsError: a parameter is not finite, or too large for float16.
    """
    parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    state = {}
    for key, tensor in module.state_dict().items():
        stored = tensor.detach().cpu()
        if key in parameters and tensor.is_floating_point():
            stored = stored.half()
            if not bool(stored.isfinite().all()):
                raise WeightsError(f"{key} has values that are not finite in float16, so it cannot be saved")
        state[key] = stored.clone(memory_format=torch.contiguous_format)
    return state


def load_weights(
    module: nn.Module, files: Sequence[Path], *, inherited: Sequence[Inherited] = (), partly: bool = False
) -> None:
    """Fill a module from files that together hold exactly its state.

    Everything is checked before anything is copied. Floats take the module's type, integers must have it.

    Args:
        module: the module.
        files: its own files; each key of theirs has to belong to it, and to one of them.
        inherited: files of what its spec extends. Of these, what fits the module and is for its parts is taken where
            no own file has it, later ones before earlier ones.
        partly: if True, what no file has stays as it is.

    Raises:
        WeightsError: a file is missing or unreadable, a key is missing, unknown or in two files, or a shape or
            type differs, or a table has values that none can have; the message names file, key and what was found.
    """
    expected = module.state_dict()
    found: dict[str, Path] = {}
    loaded: dict[str, Tensor] = {}
    taken: dict[str, Path] = {}
    for source in inherited:
        fitting = _fitting(source, expected)
        loaded.update(fitting)
        taken.update(dict.fromkeys(fitting, source.file))
    for path in files:
        with _open(path) as file:
            for key in file.keys():  # noqa: SIM118 (the handle is no mapping)
                if key not in expected:
                    guess = nearest(key, expected)
                    raise WeightsError(
                        f"{path}: {key!r} belongs to nothing in this pipeline"
                        + (f"; did you mean {guess!r}?" if guess else "")
                    )
                if key in found:
                    raise WeightsError(f"{path}: {key!r} is also in {found[key]}")
                shape = tuple(file.get_slice(key).get_shape())
                if shape != tuple(expected[key].shape):
                    raise WeightsError(
                        f"{path}: {key!r} has the shape {shape}, and the pipeline needs {tuple(expected[key].shape)}"
                    )
                found[key] = path
        for key, tensor in read_tensors(path).items():
            _check_type(path, key, tensor, expected[key])
            loaded[key] = tensor
    missing = [key for key in expected if key not in found and key not in taken]
    if missing and not partly:
        where = ", ".join(map(str, [*(source.file for source in inherited), *files]))
        where = where or "the spec names no weights, so they"
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        first = f"{missing[0]!r} of shape {tuple(expected[missing[0]].shape)}"
        parts = sorted({component_of(key) for key in missing})
        whose = f" (of {', '.join(parts)}; icm train or icm import makes them)" if inherited else ""
        raise WeightsError(f"{where}: lacks {first}{more}, which this pipeline needs{whose}")
    for key, problem in _problems(module, loaded):
        raise WeightsError(f"{found.get(key) or taken[key]}: {key!r} {problem}")
    module.load_state_dict(loaded, strict=not partly)


def _fitting(source: Inherited, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What an inherited file has for the parts that are still what they were."""

    def fits(key: str, tensor: Tensor) -> bool:
        own = expected.get(key)
        same_type = own is not None and (
            own.dtype == tensor.dtype or (own.is_floating_point() and tensor.is_floating_point())
        )
        stays = component_of(key) in source.parts and not any(key.startswith(f"{path}.") for path in source.without)
        return own is not None and own.shape == tensor.shape and same_type and stays

    return {key: tensor for key, tensor in read_tensors(source.file).items() if fits(key, tensor)}


def metadata(path: Path) -> dict[str, str]:
    """The metadata of a file; `WeightsError` if it cannot be read."""
    with _open(path) as file:
        return dict(file.metadata() or {})


def _metadata(pipeline: Pipeline, state: Mapping[str, Tensor]) -> dict[str, str]:
    # Of a copy that went through the same rounding: integer weights are derived from the parameters.
    restored = copy.deepcopy(pipeline).cpu()
    restored.load_state_dict(dict(state))
    restored.eval()
    for key, problem in _problems(restored, state):
        raise WeightsError(f"{key!r} {problem}")
    restored.prove()
    values = {"format": "pt", NAME: pipeline.name, BASE: restored.base_fingerprint.hex()}
    fine = restored.enhancement_fingerprint
    return values if fine is None else {**values, ENHANCEMENT: fine.hex()}


def _problems(module: nn.Module, state: Mapping[str, Tensor]) -> Iterable[tuple[str, str]]:
    for path, part in module.named_modules():
        if isinstance(part, Checked):
            prefix = f"{path}." if path else ""
            own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            if not own:
                continue  # nothing of it is loaded
            values = {**module.get_submodule(path).state_dict(), **own}
            if (found := part.problem(values)) is not None:
                yield prefix + found[0], found[1]


def _serialized(tensors: dict[str, Tensor], values: dict[str, str]) -> bytes:
    """A safetensors file; the library writes the metadata in any order, so that equal weights gave unequal files."""
    blob = safetensors.torch.save(tensors, values)
    start = 8 + int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors stay aligned
    return len(text).to_bytes(8, "little") + text + blob[start:]


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise WeightsError(f"{path}: the weights are missing, there is no such file")
    try:
        with safe_open(str(path), framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file: {error}") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; `WeightsError` if it is missing or damaged."""
    with _open(path) as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def _check_type(path: Path, key: str, tensor: Tensor, expected: Tensor) -> None:
    if tensor.dtype != expected.dtype and not (tensor.is_floating_point() and expected.is_floating_point()):
        raise WeightsError(f"{path}: {key!r} is of {tensor.dtype}, and the pipeline needs {expected.dtype}")
