"""Reference pages, made from what is registered and from docstrings while the site is built; a hook of mkdocs.

``pages()`` gives them as Markdown; a test compares them with the registry.
"""

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel

import icm_core
import icm_core.testing
from icm_core import interfaces, recipe, spec
from icm_core.cli.app import app
from icm_core.plugins.registry import Registry, build_registry

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[1]

KINDS = {
    "codecs": ("Codecs", "Picture to base-layer bytes, and bytes to side information; `codec` of a spec."),
    "adapters": ("Adapters", "Side information to what a task network reads; `tasks.<task>.adapter` of a spec."),
    "heads": ("Heads", "Task networks; `tasks.<task>.head` of a spec."),
    "enhancements": ("Enhancements", "What the base layer's picture lacks; `enhancement` of a spec."),
    "datasets": ("Data sets", "Pictures with targets; `--data NAME:FOLDER` and `data` of a recipe."),
    "losses": ("Losses", "Terms of what a training stage minimises; `losses` of a recipe's feeds."),
}
"""The catalogues of the registry that hold components: title and purpose of their pages."""


def pages() -> dict[str, str]:
    """Every generated page: its path below ``docs/`` and its Markdown."""
    registry = build_registry()
    made = {f"reference/{kind}.md": "\n".join(_components(kind, registry)) for kind in KINDS}
    made["reference/shipped.md"] = "\n".join(_shipped(registry))
    made["reference/commands.md"] = "\n".join(_commands())
    made["reference/specs.md"] = "\n".join(_models("Specs", spec, "PipelineSpec"))
    made["reference/recipes.md"] = "\n".join(_models("Recipes", recipe, "RecipeSpec"))
    made["reference/python.md"] = _names("Python", "icm_core", icm_core.__all__, icm_core.__doc__)
    made["reference/contracts.md"] = _names("Contracts", "icm_core.interfaces", interfaces.__all__, interfaces.__doc__)
    made["reference/testing.md"] = _names(
        "Conformance kit", "icm_core.testing", icm_core.testing.__all__, icm_core.testing.__doc__
    )
    made["reference/hooks.md"] = (
        "# Hooks\n\n::: icm_core.plugins.hookspecs\n    options:\n      show_root_heading: false\n"
        "      show_root_toc_entry: false\n      filters: ['^icm_']\n"
    )
    made["changelog.md"] = (ROOT / "CHANGELOG.md").read_text("utf-8")
    return made


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the generated pages; called by mkdocs."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_content(html: str, **_: object) -> str:
    """Docstrings announce a block of code with ``::``, which Markdown shows as it is; called by mkdocs."""
    return html.replace("<p>::</p>\n", "").replace("::</p>", ":</p>")


def _components(kind: str, registry: Registry) -> Iterator[str]:
    title, purpose = KINDS[kind]
    yield f"# {title}\n\n{purpose}\n"
    for entry in getattr(registry, kind).entries:
        cls = entry.value
        yield f"## `{entry.name}`\n"
        yield f"Package `{entry.owner.plugin}`" + (f", kind {cls.kind}" if hasattr(cls, "kind") else "") + ".\n"
        yield f"{_prose(cls)}\n"
        yield from _fields(cls.Params)
        yield f"Class `{cls.__module__}.{cls.__qualname__}`.\n"


def _shipped(registry: Registry) -> Iterator[str]:
    yield "# Shipped pipelines and recipes\n"
    yield "Their names stand wherever a spec's or a recipe's file can stand.\n"
    for title, catalogue in (("Pipelines", registry.specs), ("Recipes", registry.recipes)):
        yield f"## {title}\n\n| name | what | from |\n|---|---|---|"
        for entry in catalogue.entries:
            data = json.loads(entry.value.read_text("utf-8")) if entry.value else {}
            yield f"| `{entry.name}` | {_cell(data.get('description', ''))} | {entry.owner.plugin} |"
        yield ""


def _commands() -> Iterator[str]:
    yield "# Commands\n"
    yield "What is wrong with an input is said in one sentence on stderr, and the exit code is 2.\n"
    group: Any = typer.main.get_command(app)
    for name, command in sorted(group.commands.items()):
        yield f"## `icm {name}`\n\n{command.help}\n\n| argument or option | what |\n|---|---|"
        for parameter in command.params:
            names = ", ".join(f"`{one}`" for one in parameter.opts)
            shown = f"`{parameter.metavar}`" if parameter.param_type_name == "argument" else names
            metavar = parameter.metavar if parameter.param_type_name == "option" and parameter.metavar else ""
            yield f"| {shown}{f' `{metavar}`' if metavar else ''} | {_cell(parameter.help or '')} |"
        yield f"\nExample: `{command.epilog.removeprefix('Example: ')}`\n"


def _models(title: str, module: Any, first: str) -> Iterator[str]:
    """A page of pydantic models, the outermost first."""
    yield f"# {title}\n\n{_markdown(inspect.getdoc(module) or '')}\n"
    models = [
        value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, BaseModel) and not name.startswith("_")
        if value.__module__ == module.__name__
    ]
    for model in sorted(models, key=lambda one: one.__name__ != first):
        yield f"## {model.__name__}\n\n{_prose(model)}\n"
        yield from _fields(model)


def _names(title: str, module: str, names: Iterable[str], doc: str | None) -> str:
    shown = [name for name in sorted(names, key=str.lower) if not name.startswith("_") and not name.isupper()]
    blocks = [f"::: {module}.{name}\n" for name in shown]
    return "\n".join([f"# {title}\n\n{_markdown(inspect.cleandoc(doc or ''))}\n", *blocks])


def _fields(model: type[BaseModel]) -> Iterator[str]:
    """A table of a model's fields: type, default, limits, meaning."""
    if not model.model_fields:
        yield "No parameters.\n"
        return
    yield "| field | type | default | what |\n|---|---|---|---|"
    for name, field in model.model_fields.items():
        if field.is_required():
            default = "required"
        elif field.default_factory is not None:
            default = "empty"
        else:
            default = f"`{json.dumps(field.default, default=str)}`"
        limits = ", ".join(filter(None, (_limit(item) for item in field.metadata)))
        what = "; ".join(filter(None, [field.description or "", limits]))
        yield f"| `{name}` | `{_type(field.annotation)}` | {_cell(default)} | {_cell(what)} |"
    yield ""


_SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "multiple_of": "multiple of"}


def _limit(item: object) -> str:
    found = [f"{sign} {getattr(item, name)}" for name, sign in _SIGNS.items() if getattr(item, name, None) is not None]
    if getattr(item, "min_length", None):
        found.append("not empty")
    if getattr(item, "pattern", None):
        found.append(f"matches `{getattr(item, 'pattern')}`")  # noqa: B009 (any of pydantic's classes)
    return ", ".join(found)


def _type(annotation: Any) -> str:
    """A type as one writes it in JSON terms, such as ``"auto" | int | None``."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inner[0])
    if origin is Literal:
        return " | ".join(json.dumps(value) for value in inner)
    if origin in (Union, types.UnionType):
        return " | ".join(map(_type, inner))
    if origin is not None:
        return f"{origin.__name__}[{', '.join(map(_type, inner))}]"
    if annotation in (None, type(None), ...):
        return "..." if annotation is ... else "None"
    return getattr(annotation, "__name__", str(annotation))


def _prose(cls: type) -> str:
    return _markdown(inspect.getdoc(cls) or "").split("\nArgs:")[0].strip()


def _markdown(doc: str) -> str:
    """A docstring as Markdown: what announces a block of code, and the block itself."""
    doc = re.sub(r"^(\.\. code-block:: \w+|::)$", "", doc, flags=re.MULTILINE)
    return re.sub(r"::$", ":", doc, flags=re.MULTILINE).replace("``", "`")


def _cell(text: object) -> str:
    return " ".join(str(text).replace("``", "`").split()).replace("|", "\\|")
