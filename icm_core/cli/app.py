"""The program: its commands, and what it does with errors."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from icm_core import __version__
from icm_core.cli.commands import installed_commands
from icm_core.cli.console import complain
from icm_core.errors import IcmError, InputError


class _Program(TyperGroup):
    """A group of commands that answers an `IcmError` with one sentence and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except IcmError as error:
            complain(error)
            raise typer.Exit(2) from error
        except (OSError, UnicodeError) as error:  # a path that no file system takes, found where it is first used
            reason = getattr(error, "strerror", None) or str(error)
            complain(
                InputError(f"a path cannot be used: {reason}: {str(getattr(error, 'filename', '') or '')[:200]!r}")
            )
            raise typer.Exit(2) from error
        except RuntimeError as error:
            if not str(error).startswith("Symlink loop"):  # pathlib has no exception of its own for it
                raise
            complain(InputError(f"a path cannot be used: {error}"))
            raise typer.Exit(2) from error


def _reflowed(docstring: str | None) -> str:
    """A docstring with its paragraphs as one line each, for the terminal to wrap."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in (docstring or "").split("\n\n"))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"icm {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=_Program,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Image coding for machines: one file for people and for networks, decoded as far as a task needs.",
    epilog="Example: icm encode photo.jpg -q 3 -o coded && icm decode coded/photo.icm -o decoded",
)
for _found in installed_commands():
    if (_command := _found.command) is not None:
        app.command(_command.NAME, help=_reflowed(_command.run.__doc__), epilog=_command.EXAMPLE)(_command.run)


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options of the program itself."""
