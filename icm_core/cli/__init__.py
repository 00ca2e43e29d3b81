"""The command line ``icm``: one module per command; networks are imported only by the commands that run them."""

import io
import os
import sys
import warnings

from icm_core.cli.app import app

__all__ = ["app", "main"]


def main() -> None:
    """Entry point of the ``icm`` program."""
    if not sys.warnoptions:
        # Warnings of libraries are for those who build on them; stderr is for what a user can act on.
        warnings.simplefilter("ignore")
        os.environ["PYTHONWARNINGS"] = "ignore"  # for processes that a command starts
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file's name may hold what the terminal cannot show; that must not end the work.
            stream.reconfigure(errors="backslashreplace")
    app()
