"""Plants a bug in a process of its own, where tests run. No bug is ever on the disk.

There are two ways. :class:`Collected` has imported all that its tests import. Each bug has a copy of that process, with
the code of the changed functions in place of the old one, so a bug costs what its tests cost. :func:`tried` imports
everything anew with the changed source: for bugs outside functions, such as a constant or a default.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ROOTS = [
    ROOT,
    ROOT / "registry",
    *(path for folder in ("plugins", "examples") for path in sorted((ROOT / folder).iterdir()) if path.is_dir()),
]
HEAVY = (
    "torch",
    "torchvision",
    "torchmetrics",
    "timm",
    "compressai",
    "pydantic",
    "pytest",
    "hypothesis",
    "typer",
    "PIL",
)
# The plug-ins of schemathesis and anyio take seconds to load, and no test uses them.
QUIET = ("-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:schemathesis", "-p", "no:anyio", "-W", "ignore")

NOTICED, SURVIVED, LATE = "noticed", "survived", "late"
_NOT_IMPORTED, _BROKEN, _OUTSIDE = 99, 98, 97
"""Exit codes beside pytest's: no test imported the module; the planting failed; the bug is outside functions."""


@dataclass(frozen=True)
class Outcome:
    """What became of one run of the tests.

    Attributes:
        what: ``"noticed"``, ``"survived"``, or ``"late"`` where they took much longer than without a bug.
        seconds: how long they took.
        said: the end of what they printed.
    """

    what: str
    seconds: float
    said: str


class Planted(importlib.abc.MetaPathFinder):
    """Imports a module from a source of its own, and everything else as ever."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self.name, self.used = name, False
        planted = self

        class Loader(importlib.machinery.SourceFileLoader):
            def get_code(self, fullname: str) -> Any:
                del fullname
                planted.used = True
                return compile(source, str(path), "exec", dont_inherit=True)

        self._loader = Loader(name, str(path))

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Of this module alone."""
        del path, target
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._loader.path, loader=self._loader)


def dotted(path: Path) -> str:
    """The name by which a file is imported."""
    root = next(root for root in sorted(ROOTS, key=lambda root: -len(root.parts)) if path.is_relative_to(root))
    return ".".join(path.relative_to(root).with_suffix("").parts)


def prepare() -> None:
    """Imports what takes long and is not tested, once for all copies."""
    for name in HEAVY:
        importlib.import_module(name)
    gc.freeze()  # the garbage collector of a copy does not look at all that again


def copied(work: Callable[[], int], output: Path) -> int:
    """A copy of this process that does the work, prints to a file and ends with its exit code; gives its number."""
    child = os.fork()
    if child:
        return child
    code = _BROKEN
    try:
        os.setpgid(0, 0)
        sink = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(sink, stream)
        code = work()
        sys.stdout.flush()
    except BaseException as error:  # nothing may return into the parent's code
        os.write(2, repr(error).encode())
    finally:
        os._exit(code)


def finished(child: int, limit: float) -> tuple[int | None, float]:
    """The exit code of a process, None if it took too long and was ended; and its seconds."""
    began = time.monotonic()
    code, done = None, 0
    while not done and time.monotonic() - began < limit:
        time.sleep(0.01)
        done, status = os.waitpid(child, os.WNOHANG)
        code = os.waitstatus_to_exitcode(status) if done else None
    seconds = time.monotonic() - began
    with contextlib.suppress(ProcessLookupError):  # what it started ends with it
        os.killpg(child, signal.SIGKILL)
    if not done:
        os.waitpid(child, 0)
    return code, seconds


def run(arguments: Sequence[str], plugins: Sequence[object] = ()) -> int:
    """pytest's exit code, with examples that are the same each time and are not made small."""
    import hypothesis
    import pytest
    import torch

    torch.set_num_threads(1)
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)  # nobody reads the smallest example of a bug
    hypothesis.settings.register_profile("mutants", derandomize=True, database=None, deadline=None, phases=phases)
    hypothesis.settings.load_profile("mutants")
    os.chdir(ROOT)
    sys.path[:0] = map(str, ROOTS)
    sys.dont_write_bytecode = True
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, ROOTS))
    return int(pytest.main([*QUIET, f"--rootdir={ROOT}", *arguments], plugins=list(plugins)))


def tried(module: str, source: str, tests: Sequence[str], limit: float, *, imported: bool = True) -> Outcome:
    """Runs the tests with a source in the module's place, which they have to import unless ``imported`` is False."""

    def work() -> int:
        planted = Planted(dotted(ROOT / module), ROOT / module, source)
        sys.meta_path.insert(0, planted)
        code = run(["-x", *tests])
        return code if planted.used else _NOT_IMPORTED

    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "said"
        code, seconds = finished(copied(work, output), limit)
        return _outcome(module, code, seconds, output, imported)


def _outcome(module: str, code: int | None, seconds: float, output: Path, imported: bool) -> Outcome:
    said = output.read_text(errors="replace")[-6000:] if output.exists() else ""
    if code == _NOT_IMPORTED and not imported:
        return Outcome(SURVIVED, seconds, said)
    if code in (_BROKEN, _NOT_IMPORTED):
        sys.exit(f"{module}: its tests do not import it\n{said}" if code == _NOT_IMPORTED else said)
    return Outcome(LATE if code is None else NOTICED if code else SURVIVED, seconds, said)


class Collected:
    """A process that has collected tests and waits for bugs. Use it in a ``with`` statement.

    Args:
        tests: files, folders or names of tests.
    """

    def __init__(self, tests: Sequence[str]) -> None:
        self.tests = tuple(tests)
        self._folder = Path(tempfile.mkdtemp())
        ours, theirs = os.pipe(), os.pipe()

        def work() -> int:
            os.close(theirs[0])
            os.close(ours[1])
            return run(tests, [_Waiting(os.fdopen(ours[0]), os.fdopen(theirs[1], "w"), self._folder)])

        self._child = copied(work, self._folder / "collecting")
        os.close(ours[0])
        os.close(theirs[1])
        self._asks, self._answers = os.fdopen(ours[1], "w"), os.fdopen(theirs[0])

    def __enter__(self) -> Collected:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process, in the middle of nothing."""
        self._asks.close()
        self._answers.close()
        finished(self._child, 0)
        shutil.rmtree(self._folder, ignore_errors=True)

    def tried(self, module: str, source: str, limit: float, *, imported: bool = True) -> Outcome:
        """Runs the tests with a source in the module's place; see :func:`tried`."""
        try:
            self._asks.write(json.dumps([module, source, limit]) + "\n")
            self._asks.flush()
            answer = self._answers.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            sys.exit((self._folder / "collecting").read_text(errors="replace")[-6000:])
        code, seconds = json.loads(answer)
        if code == _OUTSIDE:
            return tried(module, source, self.tests, limit + 60, imported=imported)
        return _outcome(module, code, seconds, self._folder / "said", imported)


class _Waiting:
    """pytest's plug-in that runs the tests once for each bug it is told, in a copy of the process."""

    def __init__(self, asks: Any, answers: Any, folder: Path) -> None:
        self._asks, self._answers, self._folder = asks, answers, folder
        self._said, self._failed = folder / "said", False

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Of a test that fails."""
        if report.failed:
            self._failed = True
            what = "FAILED" if report.when == "call" else "ERROR"
            self._said.write_text(f"{report.longreprtext}\n{what} {report.nodeid}\n")

    def pytest_runtestloop(self, session: Any) -> bool:
        """In place of pytest's own."""
        functions = by_code()
        gc.collect()
        gc.freeze()
        for line in self._asks:
            module, source, limit = json.loads(line)
            name = dotted(ROOT / module)
            changes = changed(ROOT / module, source, functions)
            if name not in sys.modules:
                code, seconds = _NOT_IMPORTED, 0.0
            elif changes is None:
                code, seconds = _OUTSIDE, 0.0
            else:
                code, seconds = self._planted(session, changes, limit)
            self._answers.write(json.dumps([code, seconds]) + "\n")
            self._answers.flush()
        return True

    def _planted(self, session: Any, changes: Any, limit: float) -> tuple[int | None, float]:
        with tempfile.TemporaryDirectory(dir=self._folder, ignore_cleanup_errors=True) as own:
            child = copied(lambda: self._run(session, changes, own), self._said)
            return finished(child, limit)

    def _run(self, session: Any, changes: Sequence[tuple[FunctionType, CodeType]], own: str) -> int:
        for function, code in changes:
            function.__code__ = code
        tempfile.tempdir = os.environ["TMPDIR"] = own
        items = session.items
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._failed:
                return 1
        return 0


def by_code() -> Mapping[tuple[str, str, int], Sequence[FunctionType]]:
    """The functions of this process, by file, name and first line."""
    found = defaultdict(list)
    for one in gc.get_objects():
        if isinstance(one, FunctionType):
            code = one.__code__
            found[code.co_filename, code.co_name, code.co_firstlineno].append(one)
    return found


def changed(
    path: Path, source: str, functions: Mapping[tuple[str, str, int], Sequence[FunctionType]]
) -> list[tuple[FunctionType, CodeType]] | None:
    """Functions that a source for a module's place changes, and their code; None if it changes anything else."""
    was = compile(path.read_text(), str(path), "exec", dont_inherit=True)
    becomes = compile(source, str(path), "exec", dont_inherit=True)
    try:
        pairs = list(_different(was, becomes))
    except _OutsideError:
        return None
    changes = []
    for before, after in pairs:
        for function in functions.get((str(path), before.co_name, before.co_firstlineno), ()):
            if function.__code__.co_freevars != after.co_freevars:
                return None
            changes.append((function, after))
    return changes if changes or not pairs else None


class _OutsideError(Exception):
    """Code outside functions differs."""


def _different(was: CodeType, becomes: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """Functions that differ, those around them as well. Lines that moved are no difference."""
    function = bool(was.co_flags & inspect.CO_OPTIMIZED) and not was.co_name.startswith("<")
    inner, others = _nested(was), _nested(becomes)
    pairs: list[tuple[CodeType, CodeType]] = []
    differs = _own(was) != _own(becomes) or [one.co_name for one in inner] != [one.co_name for one in others]
    try:
        for one, other in zip(inner, others, strict=False):
            pairs += _different(one, other)
    except _OutsideError:
        differs = True
    if differs and not function:
        raise _OutsideError
    if differs or (pairs and function):
        yield was, becomes
    yield from pairs


def _nested(code: CodeType) -> list[CodeType]:
    return [one for one in code.co_consts if isinstance(one, CodeType)]


def _own(code: CodeType) -> tuple[object, ...]:
    constants = [repr(one) for one in code.co_consts if not isinstance(one, CodeType)]
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return code.co_code, constants, names, code.co_flags, code.co_argcount, code.co_kwonlyargcount
