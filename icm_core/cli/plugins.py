"""``icm plugins``: what is installed, and what is wrong with it."""

from __future__ import annotations

from icm_core.cli.commands import installed_commands
from icm_core.cli.console import print_json, print_table
from icm_core.cli.options import AsJson
from icm_core.cli.remembered import Found, remembered

NAME = "plugins"
EXAMPLE = "Example: icm plugins --json"


def run(as_json: AsJson = False) -> None:
    """List every installed component, pipeline and command, with its package and whether it can be used."""
    rows = [*remembered("plugins", _provided)]
    rows += [
        {
            "kind": "command",
            "name": found.name,
            "distribution": found.distribution,
            "version": found.version,
            "status": found.problem or "ok",
        }
        for found in installed_commands()
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(("kind", "name", "distribution", "version", "status"), [list(row.values()) for row in rows])


def _provided() -> Found:
    from icm_core.plugins.registry import build_registry

    registry = build_registry()
    return Found(registry.status(), registry.sound)
