"""Reference pages, made from what is registered and from docstrings while the site is built; a hook of mkdocs.

``pages()`` gives them as Markdown; a test compares them with the registry. Pages in ``docs/`` link to files of the
repository, so that they can be read in a clone; on the site these links lead to the reference, or to a page that shows
the file.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel

from icm_core.cli.app import app
from icm_core.interfaces import TaskKind
from icm_core.plugins.registry import Registry, build_registry
from icm_core.spec import model as spec
from icm_training import recipe

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
WRITTEN = {page.name for page in DOCS.glob("*.md")}
"""Pages that are written by hand, or by programs in ``benchmarks/``, and stand in the repository."""

# A fenced block, which is left alone, or a link to a file.
_LINK = re.compile(
    r"^(?P<fence>`{3,}).*?^(?P=fence)$|\]\((?![a-z]+:|#)(?P<path>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)",
    re.MULTILINE | re.DOTALL,
)

COMPONENTS = {
    "codecs": ("Codecs", "Picture to base-layer bytes, and bytes to side information; `codec` of a spec."),
    "adapters": ("Adapters", "Side information to what a task network reads; `tasks.<task>.adapter` of a spec."),
    "heads": ("Heads", "Task networks; `tasks.<task>.head` of a spec."),
    "enhancements": ("Enhancements", "What the base layer's picture lacks; `enhancement` of a spec."),
    "datasets": ("Data sets", "Pictures with targets; `--data NAME:FOLDER` and `data` of a recipe."),
    "losses": ("Losses", "Terms of what a training stage minimises; `losses` of a recipe's feeds."),
}
"""The catalogues of the registry that hold components: title and purpose of their pages."""

PYTHON = {
    "python": ("Python", ["icm_core"]),
    "contracts": ("Contracts", ["icm_core.interfaces", "icm_core.training"]),
    "values": ("Values", ["icm_core.types", "icm_core.nests"]),
    "helpers": (
        "For plugins",
        [
            "icm_core.wrap",
            "icm_core.kinds",
            "icm_core.pictures",
            "icm_core.coding",
            "icm_core.quality",
            "icm_core.bitstream",
            "icm_core.files",
            "icm_core.tiles",
        ],
    ),
    "testing": ("Conformance kit", ["icm_core.testing"]),
}
"""Pages of Python names: title, and the public modules whose names they explain."""

ON_SITE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "icm_core/__init__.py": "reference/python.md",
    "icm_core/bitstream": "reference/helpers.md",
    "icm_core/coding": "reference/helpers.md",
    "icm_core/files.py": "reference/helpers.md",
    "icm_core/interfaces": "reference/contracts.md",
    "icm_core/kinds": "reference/helpers.md",
    "icm_core/nests.py": "reference/values.md",
    "icm_core/pictures.py": "reference/helpers.md",
    "icm_core/plugins/hookspecs.py": "reference/hooks.md",
    "icm_core/quality.py": "reference/helpers.md",
    "icm_core/spec/model.py": "reference/specs.md",
    "icm_core/testing/__init__.py": "reference/testing.md",
    "icm_core/tiles": "reference/helpers.md",
    "icm_core/training": "reference/contracts.md",
    "icm_core/types.py": "reference/values.md",
    "plugins/training/icm_training/recipe.py": "reference/recipes.md",
}
"""What stands on the site in place of a file, or of the files of a folder; in place of all others stand pages that show
them, below ``source/``."""

ASKED = {
    "target": "check_target",
    "`icm decode --json`": "answer",
    "picture": "raster",
    "drawing": "draw",
    "figures": "figures",
    "compared by": "divergence",
}
"""What a kind's section says, and the methods whose docstrings say it."""


def pages() -> dict[str, str]:
    """Every generated page: its path below ``docs/`` and its Markdown."""
    registry = build_registry()
    made = {f"reference/{kind}.md": "\n".join(_components(kind, registry)) for kind in COMPONENTS}
    made["reference/kinds.md"] = "\n".join(_kinds(registry))
    made["reference/shipped.md"] = "\n".join(_shipped(registry))
    made["reference/commands.md"] = "\n".join(_commands())
    made["reference/specs.md"] = "\n".join(_models("Specs", spec, "PipelineSpec"))
    made["reference/recipes.md"] = "\n".join(_models("Recipes", recipe, "RecipeSpec"))
    for page, (title, modules) in PYTHON.items():
        made[f"reference/{page}.md"] = "\n".join(_names(title, modules))
    made["reference/hooks.md"] = (
        "# Hooks\n\n::: icm_core.plugins.hookspecs\n    options:\n      show_root_heading: false\n"
        "      show_root_toc_entry: false\n      filters: ['^icm_']\n"
    )
    for name in ("CHANGELOG.md", "CONTRIBUTING.md"):
        made[ON_SITE[name]] = _linked((ROOT / name).read_text("utf-8"), ROOT)
    for path in sorted(_shown_files()):
        language = {".py": "python", ".json": "json"}.get(path.suffix, "text")
        made[_place(path)] = f"# `{path}`\n\n````{language}\n{(ROOT / path).read_text('utf-8')}````\n"
    return made


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the generated pages; called by mkdocs."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Links to files of the repository lead to what stands in their place; called by mkdocs."""
    return _linked(markdown, DOCS) if page.file.src_uri in WRITTEN else markdown


def on_page_content(html: str, **_: object) -> str:
    """Docstrings announce a block of code with ``::``, which Markdown shows as it is; called by mkdocs."""
    return html.replace("<p>::</p>\n", "").replace("::</p>", ":</p>")


def _components(kind: str, registry: Registry) -> Iterator[str]:
    title, purpose = COMPONENTS[kind]
    yield f"# {title}\n\n{purpose}\n"
    for entry in getattr(registry, kind).entries:
        cls = entry.value
        yield f"## `{entry.name}`\n"
        answers = getattr(cls, "kind", None)
        yield f"Package `{entry.owner.plugin}`" + (f", kind {answers}" if isinstance(answers, str) else "") + ".\n"
        yield f"{_prose(cls)}\n"
        yield from _fields(cls.Params)
        yield f"Class `{cls.__module__}.{cls.__qualname__}`.\n"


def _kinds(registry: Registry) -> Iterator[str]:
    yield "# Kinds\n"
    yield "What the answers of heads and the targets of data sets are; `kind` of both.\n"
    for entry in registry.kinds.entries:
        cls = entry.value
        yield f"## `{entry.name}`\n\nPackage `{entry.owner.plugin}`.\n\n{_prose(cls)}\n\n| | |\n|---|---|"
        for what, method in ASKED.items():
            if getattr(cls, method) is not getattr(TaskKind, method):
                yield f"| {what} | {_cell(inspect.getdoc(getattr(cls, method)))} |"
        yield f"\nClass `{cls.__module__}.{cls.__qualname__}`.\n"


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


def _names(title: str, modules: Iterable[str]) -> Iterator[str]:
    yield f"# {title}\n"
    for name in modules:
        module = importlib.import_module(name)
        yield f"## `{name}`\n\n{_markdown(inspect.cleandoc(module.__doc__ or ''))}\n"
        for one in sorted(module.__all__, key=str.lower):
            if not one.startswith("_") and not one.isupper():
                # A pipeline's methods stand in its two sides, which are no public names of their own.
                inherited = "      inherited_members: true\n" if one == "Pipeline" else ""
                yield f"::: {name}.{one}\n    options:\n      heading_level: 3\n{inherited}"


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


def _linked(text: str, folder: Path) -> str:
    """A page of the repository as a page at the top of the site: links to files become links to what stands there."""

    def change(match: re.Match[str]) -> str:
        if match["fence"]:
            return match[0]
        path = (folder / match["path"]).resolve()
        if path.is_relative_to(DOCS):
            return f"]({path.relative_to(DOCS).as_posix()}{match['anchor'] or ''})"
        return f"]({_place(path.relative_to(ROOT))})"

    return _LINK.sub(change, text)


def _place(path: Path) -> str:
    """The page of the site that stands in place of a file of the repository."""
    for one in (path, *path.parents):
        if one.as_posix() in ON_SITE:
            return ON_SITE[one.as_posix()]
    return f"source/{path.as_posix()}.md"


def _shown_files() -> set[Path]:
    """The files that pages link to and that are shown as they are."""
    found = set()
    for page in (*(DOCS / name for name in WRITTEN), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"):
        links = [match["path"] for match in _LINK.finditer(page.read_text("utf-8")) if not match["fence"]]
        paths = [(page.parent / link).resolve() for link in links]
        found |= {path.relative_to(ROOT) for path in paths if not path.is_relative_to(DOCS)}
    return {path for path in found if _place(path).startswith("source/")}


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
