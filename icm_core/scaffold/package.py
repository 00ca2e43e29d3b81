"""The files of a new package, from templates."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from icm_core.errors import InputError
from icm_core.files import make_folder, write_atomically
from icm_core.plugins.registry import INTERFACE_VERSION
from icm_core.spec.model import COMPONENT_NAME
from icm_registry import unknown


@dataclass(frozen=True)
class _Kind:
    """What differs between the kinds of components.

    Attributes:
        words: what it is called in a sentence.
        contract: the class that it derives from.
        hook: the hook that provides it.
        case: its case in the conformance kit.
        small: the parameters that its test tries it with, as Python.
        task: the prediction that the test of its pipeline looks at; ``""`` for one that is named like the component.
        expected: what the shape of this prediction is, as Python.
        helpers: further templates, by the module that they make.
        freeze: the part of the pipeline whose tables the test makes.
        spec: whether there is a pipeline to show.
    """

    words: str
    contract: str
    hook: str
    case: str
    small: str = ""
    task: str = ""
    expected: str = ""
    helpers: Mapping[str, str] | None = None
    freeze: str = ""
    spec: bool = True


_GAUSSIAN = {"gaussian": "gaussian.py.j2"}
_KINDS = {
    "head": _Kind("head", "TaskHead", "icm_heads", "HeadCase", '{"classes": 3, "width": 8}', expected=" == (1, 10)"),
    "adapter": _Kind(
        "adapter",
        "SideInfoAdapter",
        "icm_adapters",
        "AdapterCase",
        '{"width": 8}',
        "segmentation",
        "[-2:] == (70, 90)",
    ),
    "codec": _Kind(
        "codec",
        "Codec",
        "icm_codecs",
        "CodecCase",
        '{"width": 8, "h1_channels": 8, "h2_channels": 4}',
        "coarse",
        " == (1, 3, 70, 90)",
        _GAUSSIAN,
        "codec",
    ),
    "enhancement": _Kind(
        "enhancement",
        "Enhancement",
        "icm_enhancements",
        "EnhancementCase",
        '{"width": 8, "channels": 8}',
        "fine",
        " == (1, 3, 70, 90)",
        _GAUSSIAN,
        "enhancement",
    ),
    "dataset": _Kind("data set", "DataSet", "icm_datasets", "DataSetCase", spec=False),
}
KINDS = tuple(_KINDS)
"""What can be made anew."""


def package_files(kind: str, name: str) -> dict[str, str]:
    """The files of a package with one component, by their path in it.

    Args:
        kind: one of `KINDS`.
        name: registered name of the component, ``"mylab.depth"``.

    Raises:
        InputError: there is no such kind, or the name cannot be one of a component and of a module.
    """
    if kind not in _KINDS:
        raise InputError(unknown("kind", kind, KINDS))
    about, (package, module) = _KINDS[kind], _names(name)
    distribution = package.replace("_", "-")
    values = {
        "name": name,
        "package": package,
        "module": module,
        "distribution": distribution,
        "cls": "".join(part.capitalize() for part in module.split("_")),
        "kind_words": about.words,
        "contract": about.contract,
        "hook": about.hook,
        "case": about.case,
        "small": about.small,
        "task": about.task or module,
        "expected": about.expected,
        "freeze": about.freeze,
        "spec": about.spec,
        "interface": INTERFACE_VERSION,
    }
    templates = {
        "pyproject.toml": "pyproject.toml.j2",
        "README.md": "README.md.j2",
        f"{package}/__init__.py": "init.py.j2",
        f"{package}/{module}.py": f"{kind}.py.j2",
        **{f"{package}/{helper}.py": template for helper, template in (about.helpers or {}).items()},
        f"tests/test_{module}.py": "test.py.j2" if about.spec else "test_dataset.py.j2",
    }
    if about.spec:
        templates[f"{package}/{distribution}.json"] = f"spec_{kind}.json.j2"
    return {path: _rendered(template, values) for path, template in templates.items()}


def make_package(kind: str, name: str, folder: Path) -> list[Path]:
    """Write a new package; nothing that exists is written over.

    Args:
        kind: one of `KINDS`.
        name: registered name of the component.
        folder: where the package goes, made where missing.

    Returns:
        The written files.

    Raises:
        InputError: as in `package_files`, or a file is there already; then nothing is written.
    """
    content = {folder / path: text for path, text in package_files(kind, name).items()}
    there = [path for path in content if path.exists() or path.is_symlink()]
    if there:
        raise InputError(f"{there[0]} exists already, and nothing was written; choose another folder with -o")
    for path, text in content.items():
        make_folder(path.parent)
        write_atomically(path, text.encode("utf-8"))
    return list(content)


def _names(name: str) -> tuple[str, str]:
    """The package and the module of a component."""
    if not re.fullmatch(COMPONENT_NAME, name) or len(name) > 64:
        raise InputError(f"the name is {name!r}; it should be like 'mylab.depth', lower case, at most 64 characters")
    parts = name.split(".")
    odd = [part for part in parts if keyword.iskeyword(part) or part in ("gaussian", "tests")]
    if odd:
        raise InputError(f"the name is {name!r}, and {odd[0]!r} cannot be the name of its module; choose another")
    return "_".join(parts), "_".join(parts[1:])


def _rendered(template: str, values: Mapping[str, object]) -> str:
    environment = Environment(
        autoescape=False,  # what comes out is Python, TOML and JSON; every value was checked above
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    source = files("icm_core.scaffold").joinpath("templates").joinpath(template).read_text("utf-8")
    return environment.from_string(source).render(values)
