"""The data sets of a recipe, opened."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from icm_core.errors import SpecError
from icm_core.interfaces import DataSet
from icm_core.plugins.registry import Registry
from icm_core.validation.messages import explain
from icm_registry import RegistryError
from icm_training.mixture import in_memory
from icm_training.recipe import DataSpec


def open_data(spec: DataSpec, folder: Path, registry: Registry, memory: float) -> DataSet:
    """A data set, decoded into memory where it is small.

    Args:
        spec: what the recipe says of it.
        folder: what its root is relative to.
        registry: where it is looked up.
        memory: bytes that it may take there.

    Raises:
        SpecError: there is no such data set, or its parameters are wrong.
        InputError: its folder is missing, or is laid out otherwise.
    """
    try:
        cls = registry.datasets.get(spec.use)
        params = cls.Params.model_validate(spec.params)
    except RegistryError as error:
        raise SpecError(f"data: {error}") from error
    except ValidationError as error:
        raise SpecError(explain(error, cls.Params, spec.params, "data.params")) from error
    return in_memory(cls(params, folder / spec.root, spec.split), memory)
