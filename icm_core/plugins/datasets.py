"""Data sets by name: ``datasets.camvid``, or ``camvid`` where no other data set is called so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from icm_core.errors import InputError, SpecError
from icm_core.interfaces import ComponentParams, DataSet, DataSetParams, TaskKind
from icm_core.interfaces.dataset import PICTURES
from icm_core.plugins.lookup import look_up
from icm_core.plugins.registry import Registry
from icm_core.plugins.resized import Resized
from icm_registry import RegistryError, unknown


def find_dataset(name: str, registry: Registry) -> type[DataSet]:
    """The data set called ``name``.

    Args:
        name: its full name, or the last part of it.
        registry: what is installed.

    Raises:
        InputError: no data set or several are called so, or the one that is cannot be used.
    """
    catalogue = registry.datasets
    known = sorted({entry.name for entry in catalogue.entries})
    meant = [name] if "." in name else [full for full in known if _short(full) == name]
    if not meant:
        reasons = "".join(f"; {owner} {problem}" for owner, problem in catalogue.absent)
        raise InputError(unknown(catalogue.kind, name, {_short(full) for full in known}) + reasons)
    if len(meant) > 1:
        raise InputError(f"several data sets are called {name!r}: {', '.join(meant)}; give the full name of one")
    try:
        return catalogue.get(meant[0])
    except RegistryError as error:
        raise InputError(str(error)) from error


def open_dataset(text: str, split: str, registry: Registry, params: Mapping[str, object] | None = None) -> DataSet:
    """The data set that ``NAME:FOLDER`` stands for.

    Args:
        text: such as ``camvid:/data/camvid``; a leading ``~`` of the folder is the user's home.
        split: which part of it, such as ``"val"``.
        registry: what is installed.
        params: its parameters; none stands for all defaults.

    Raises:
        InputError: `text` has another form, the data set is unknown, a parameter is wrong, or the folder is
            missing or laid out otherwise.
    """
    name, colon, folder = text.partition(":")
    if not (name and colon and folder):
        raise InputError(f"a data set is given as NAME:FOLDER, such as camvid:/data/camvid, and not as {text!r}")
    cls = find_dataset(name, registry)
    try:
        checked = look_up(cls.name, params or {}, registry.datasets, cls.name, registry=registry).params
    except SpecError as error:
        raise InputError(str(error)) from error
    try:
        return build_dataset(cls, checked, Path(folder).expanduser(), split, registry.kind)
    except SpecError as error:
        raise InputError(f"{text}: {error}") from error
    except (OSError, RuntimeError, ValueError) as error:
        # RuntimeError: the home of an unknown user. The rest is what a third party's data set may let through.
        raise InputError(f"{text}: {error}") from error


def build_dataset(
    cls: type[DataSet], params: ComponentParams, root: Path, split: str, kind_of: Callable[[str], TaskKind]
) -> DataSet:
    """A data set from its folder, in the size that its parameters ask for.

    Args:
        cls: its class.
        params: its validated parameters.
        root: its folder.
        split: which part of it.
        kind_of: finds a kind by name, such as `Registry.kind`; asked where pictures are resized.

    Raises:
        InputError: the folder is missing or laid out otherwise.
        SpecError: pictures are resized, and the kind of the targets is not installed.
    """
    if not isinstance(params, DataSetParams) or params.size is None:
        return cls(params, root, split)
    data = cls(params.model_copy(update={"size": None}), root, split)
    return Resized(data, params, None if data.kind == PICTURES else kind_of(data.kind))


def _short(name: str) -> str:
    return name.rpartition(".")[2]
