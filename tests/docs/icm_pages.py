"""The code blocks of the pages in ``docs/``, and how they are run.

- A block with a title is a file: ``python title="serve.py"``. It is written there.
- ``python`` without a title is run; blocks that follow one another without a ``bash`` between share their names.
- ``bash`` is run line by line. ``icm`` and ``pytest`` by themselves run in forks of a process that has imported torch
  already, because ten imports of it would take longer than all the rest; any other line is bash's.
- ``json`` without a title has to be JSON, and a spec or a recipe where it says that it is one.
- ``text``, and what is indented, is no code: layouts, formulas, output.
- ``<!-- not run: why -->`` before a block leaves it out.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import runpy
import shlex
import site
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

DOCS = Path(__file__).parents[2] / "docs"
LANGUAGES = ("python", "bash", "json", "toml", "text")
PUBLIC = re.findall(r"^\| \[`(icm_core[a-z_.]*)`\]", (DOCS / "public.md").read_text("utf-8"), re.MULTILINE)
"""The modules that the page about public names lists."""

COMMAND = re.compile(r"(icm [a-z]|pip |python |pytest|make )")

_PRELOADED = (
    "icm_core.cli",
    "icm_core.pipeline.build",
    "icm_core.testing",
    "icm_sicmh",
    "icm_tasks",
    "icm_training.engine",
)
_MODULES = {"icm": "icm_core", "pytest": "pytest"}
_SYNTAX = set("|&;<>$`*?()~")


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        page: name of its page.
        line: number of its first line on the page.
        language: its language; ``""`` if it is indented.
        title: the file that it is; ``""`` if it is run.
        text: what it says.
        why_not: why it is not run; ``""`` if it is.
    """

    page: str
    line: int
    language: str
    title: str
    text: str
    why_not: str


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    found, why = [], ""
    for token in MarkdownIt("commonmark").parse(page.read_text("utf-8")):
        if token.type == "html_block":
            mark = re.fullmatch(r"<!-- not run: (.+?) -->", token.content.strip(), re.DOTALL)
            why = mark[1] if mark else ""
        elif token.type in ("fence", "code_block"):
            language, _, rest = token.info.strip().partition(" ")
            title = re.fullmatch(r'title="([^"]+)"', rest.strip())
            assert token.map is not None
            first = token.map[0] + (2 if token.type == "fence" else 1)
            found.append(Block(page.name, first, language, title[1] if title else "", token.content, why))
            why = ""
        else:
            why = ""
    return found


class Reader:
    """Somebody who does what a page says, in a folder, with an environment in which packages can be installed."""

    def __init__(self, folder: Path, environment: Path) -> None:
        self.folder = folder
        self._log = environment / "output.txt"
        self._bin = environment / "bin"
        self._python: list[Block] = []
        venv.EnvBuilder(symlinks=True, with_pip=False).create(environment)
        python = self._bin / "python"
        self._site = Path(sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)}))
        own = [path for path in sys.path if path.endswith("-packages")]
        (self._site / "own.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in own))
        for name, module in {**_MODULES, "pip": "pip"}.items():
            (self._bin / name).write_text(f'#!/bin/sh\nexec "{python}" -m {module} "$@"\n')
            (self._bin / name).chmod(0o755)
        self._environment = {
            **os.environ,
            "PATH": f"{self._bin}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path and not path.endswith("-packages")),
            # What a page installs is built here, with what is here.
            **{"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        }

    def follow(self, blocks: Iterable[Block]) -> None:
        """Do what the blocks say, in order; `AssertionError` with page, line and output where one fails."""
        for block in blocks:
            if block.why_not:
                continue
            if block.title:
                path = self.folder / block.title
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text)
            elif block.language == "python":
                self._python.append(block)
            elif block.language == "bash":
                self._run_python()
                self._run_bash(block)
            elif block.language == "json":
                _check_json(block)
        self._run_python()

    def _run_python(self) -> None:
        if not self._python:
            return
        lines: list[str] = []
        for block in self._python:
            lines += [""] * (block.line - 1 - len(lines)) + block.text.splitlines()  # at the lines that the page has
        script = self.folder / f"{Path(self._python[0].page).stem}.md.py"
        script.write_text("\n".join(lines))
        where = f"{self._python[0].page}, line {self._python[0].line}"
        self._python.clear()
        self._fork(where, ["python", script.name])

    def _run_bash(self, block: Block) -> None:
        text = re.sub(r"\\\n\s*", " ", block.text)
        for line in filter(None, (line.strip() for line in text.splitlines())):
            where = f"{block.page}, line {block.line}: {line}"
            words = [] if _SYNTAX & set(line) else shlex.split(line, comments=True)
            if words and words[0] in _MODULES:
                self._fork(where, words)
                continue
            done = subprocess.run(
                ["bash", "-e", "-c", line], cwd=self.folder, env=self._environment, capture_output=True, text=True
            )
            print(f"--- {where}\n{done.stdout}")
            assert done.returncode == 0, f"{where}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"

    def _fork(self, where: str, words: list[str]) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(_PRELOADED))
        process = context.Process(target=_run, args=(words, self.folder, self._site, self._log, self._environment))
        process.start()
        process.join(900)  # seconds; some train, perhaps on a busy machine
        ended = process.exitcode is not None
        if not ended:
            process.kill()
        output = self._log.read_text("utf-8", "replace") if self._log.exists() else ""
        print(f"--- {where}\n{output}")
        assert ended and process.exitcode == 0, f"{where}: exit code {process.exitcode}\n{output[-4000:]}"


def _run(words: list[str], folder: Path, packages: Path, log: Path, environment: dict[str, str]) -> None:
    """In the fork: be the program that a line names."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.chdir(folder)
    os.environ.update(environment)
    site.addsitedir(str(packages))
    sys.path.insert(0, str(folder))
    name, *arguments = words
    if name == "python":
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
    else:
        sys.argv = [name, *arguments]
        runpy.run_module(_MODULES[name], run_name="__main__", alter_sys=True)


def _check_json(block: Block) -> None:
    from icm_core.spec.model import parse_spec
    from icm_training.recipe import parse_recipe

    data = json.loads(block.text)
    if isinstance(data, dict) and "icm" in data:
        if "recipe" in data:
            parse_recipe(data)
        elif "extends" not in data:
            parse_spec(data)
