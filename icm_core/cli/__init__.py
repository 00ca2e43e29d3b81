"""The command line ``icm``: one module per command; networks are imported only by the commands that run them."""

import sys
import warnings

from icm_core.cli.app import app

__all__ = ["app", "main"]


def main() -> None:
    """Entry point of the ``icm`` program."""
    if not sys.warnoptions:
        # Warnings of libraries are for those who build on them; stderr is for what a user can act on.
        warnings.simplefilter("ignore")
    app()
