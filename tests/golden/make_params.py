"""Writes what every component that ships takes as parameters, and what specs and recipes say: defaults and bounds.

    python tests/golden/make_params.py

A spec says only what is to be different from the defaults. Another default, or a tighter bound, changes what specs and
recipes mean that somebody has written already, and no weights of theirs fit any more. Whoever changes one on purpose
writes this file again, and says so in CHANGELOG.md.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from icm_core.plugins.registry import Registry, build_registry
from icm_core.spec import model
from icm_training import recipe

FILE = Path(__file__).with_name("params.json")
OURS = frozenset(path.name for path in Path(__file__).parents[2].glob("plugins/*/icm_*"))
NONE = "required"


def fields(params: type[BaseModel]) -> dict[str, Any]:
    """Of each field its default, and its bounds by name."""
    found: dict[str, Any] = {}
    for name, field in params.model_fields.items():
        default = NONE if field.is_required() else field.get_default(call_default_factory=True)
        bounds: dict[str, Any] = {}
        for one in field.metadata:
            if dataclasses.is_dataclass(one) and not isinstance(one, type):
                bounds |= {
                    key: value for key, value in dataclasses.asdict(one).items() if isinstance(value, float | int)
                }
        shown = to_jsonable_python(default, fallback=lambda value: getattr(value, "use", type(value).__name__))
        found[name] = [shown, dict(sorted(bounds.items()))]
    return found


def params(registry: Registry) -> dict[str, dict[str, Any]]:
    """By kind of component and name, of all that this repository's plugins provide; and of specs and recipes."""
    catalogues = (
        registry.codecs,
        registry.adapters,
        registry.heads,
        registry.enhancements,
        registry.datasets,
        registry.losses,
    )
    components = {
        f"{catalogue.kind} {name}": fields(catalogue.get(name).Params)
        for catalogue in catalogues
        for name in sorted(catalogue.names)
        if catalogue.get(name).__module__.partition(".")[0] in OURS
    }
    models = {
        f"{module.__name__.rpartition('.')[0]} {name}": fields(one)
        for module in (model, recipe)
        for name, one in sorted(vars(module).items())
        if isinstance(one, type) and issubclass(one, BaseModel) and one.__module__ == module.__name__
    }
    return {**components, **models}


if __name__ == "__main__":
    rows = [f"{json.dumps(name)}: {json.dumps(one)}" for name, one in params(build_registry()).items()]
    FILE.write_text("{\n" + ",\n".join(rows) + "\n}\n")
