"""The table of the `orchestrator` command's groups, from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from orchestrator.cli import app

EVERYWHERE = {"api", "output", "help"}
"""Options that are told once, before the table."""


def commands() -> str:
    """Return the table of every command, its arguments and its options."""
    root = get_command(app)
    rows = [f"| `{' '.join([name, *_usage(command)])}` | {_text(command)} |" for name, command in _all(root, "")]
    return "\n".join(["| command | does |", "| --- | --- |", *rows])


def _all(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        whole = f"{prefix} {name}".strip()
        if hasattr(command, "commands"):
            yield from _all(command, whole)
        else:
            yield whole, command


def _usage(command: Any) -> list[str]:
    parts = []
    for parameter in command.params:
        many = "..." if parameter.nargs == -1 else ""
        if type(parameter).__name__ == "TyperArgument":
            name = parameter.name.removesuffix("_").upper() + many
            parts.append(name if parameter.required else f"[{name}]")
        elif parameter.name not in EVERYWHERE:
            parts.append(parameter.opts[0] if parameter.required else f"[{parameter.opts[0]}]")
    return parts


def _text(command: Any) -> str:
    # The first paragraph; `|` would end the cell.
    return " ".join(str(command.help or "").partition("\n\n")[0].split()).replace("|", "\\|")
