"""The files of a new package, from templates."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined

from icm_core.errors import InputError
from icm_core.files import make_folder, write_atomically
from icm_core.plugins.registry import INTERFACE_VERSION
from icm_core.scaffold.components import COMPONENTS, OF_KINDS, PLAIN, About
from icm_core.spec.model import COMPONENT_NAME
from icm_registry import unknown

_MODULES = ("gaussian", "grid", "tests")
"""Modules that packages have beside that of their component."""


def package_files(component: str, name: str, kind: str | None = None) -> dict[str, str]:
    """The files of a package with one component, by their path in it.

    Args:
        component: one of `COMPONENTS`.
        name: registered name of the component, ``"mylab.depth"``.
        kind: of a head's answers or a data set's targets, by default ``"classification"``; None for anything else.

    Raises:
        InputError: there is no such component, none for this kind, or the name cannot be one of a component and of a
            module.
    """
    kind, about = _about(component, kind)
    package, module = _names(name)
    distribution = package.replace("_", "-")
    values = {
        "name": name,
        "package": package,
        "module": module,
        "distribution": distribution,
        "cls": "".join(part.capitalize() for part in module.split("_")),
        "kind": kind,
        "words": about.words,
        "contract": about.contract,
        "hook": about.hook,
        "case": about.case,
        "small": about.small,
        "task": about.task or module,
        "freeze": about.freeze,
        "spec": bool(about.spec),
        "params": about.params,
        "interface": INTERFACE_VERSION,
    }
    templates = {
        "pyproject.toml": "pyproject.toml.j2",
        "README.md": "README.md.j2",
        f"{package}/__init__.py": "init.py.j2",
        f"{package}/{module}.py": about.template,
        **{f"{package}/{helper}.py": template for helper, template in about.helpers.items()},
        f"tests/test_{module}.py": about.test,
    }
    if about.spec:
        templates[f"{package}/{distribution}.json"] = about.spec
    return {path: _rendered(template, values) for path, template in templates.items()}


def make_package(component: str, name: str, folder: Path, kind: str | None = None) -> list[Path]:
    """Write a new package; nothing that exists is written over.

    Args:
        component: one of `COMPONENTS`.
        name: registered name of the component.
        folder: where the package goes, made where missing.
        kind: as in `package_files`.

    Returns:
        The written files.

    Raises:
        InputError: as in `package_files`, or a file is there already; then nothing is written.
    """
    content = {folder / path: text for path, text in package_files(component, name, kind).items()}
    there = [path for path in content if path.exists() or path.is_symlink()]
    if there:
        raise InputError(f"{there[0]} exists already, and nothing was written; choose another folder with -o")
    for path, text in content.items():
        make_folder(path.parent)
        write_atomically(path, text.encode("utf-8"))
    return list(content)


def _about(component: str, kind: str | None) -> tuple[str, About]:
    """A component's kind, ``""`` where it has none, and what its package looks like."""
    if component not in COMPONENTS:
        raise InputError(unknown("component", component, COMPONENTS))
    if component in PLAIN:
        if kind is not None:
            raise InputError(f"--kind is {kind!r}, and only a head or a dataset has a kind; leave it out")
        return "", PLAIN[component]
    known = OF_KINDS[component]
    chosen = next(iter(known)) if kind is None else kind
    if chosen not in known:
        there = ", ".join(known)
        raise InputError(f"icm new has no {component} of kind {chosen!r} to begin with; it has those of {there}")
    return chosen, known[chosen]


def _names(name: str) -> tuple[str, str]:
    """The package and the module of a component."""
    if not re.fullmatch(COMPONENT_NAME, name) or len(name) > 64:
        raise InputError(f"the name is {name!r}; it should be like 'mylab.depth', lower case, at most 64 characters")
    parts = name.split(".")
    odd = [part for part in parts if keyword.iskeyword(part) or part in _MODULES]
    if odd:
        raise InputError(f"the name is {name!r}, and {odd[0]!r} cannot be the name of its module; choose another")
    return "_".join(parts), "_".join(parts[1:])


def _source(template: str) -> str:
    folder = files("icm_core.scaffold").joinpath("templates")
    return folder.joinpath(*template.split("/")).read_text("utf-8")


def _rendered(template: str, values: Mapping[str, object]) -> str:
    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=False,  # what comes out is Python, TOML and JSON; every value was checked above
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(values)
