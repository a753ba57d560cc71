"""Reads the JSON files that people name on the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from orchestrator.commands.outcome import FAILED, USAGE, CommandError


def read_json(path: Path, what: str) -> Any:
    """The JSON value in a file; `-` reads standard input.

    Args:
        path: the file.
        what: names its content in errors: `definition`, `input`.

    Raises:
        CommandError: it cannot be read (a usage error), or is not the JSON of RFC 8259 (invalid).
    """
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CommandError(f"there is no file {str(path)!r}; give the path of the {what}", USAGE) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise CommandError(f"cannot read the {what} {str(path)!r}: {reason}", USAGE) from error
    try:
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        fault = error.msg.removesuffix(" at").removesuffix(" starting")
        hint = "; a YAML file is not read, write it as JSON" if path.suffix in {".yaml", ".yml"} else ""
        raise CommandError(f"{str(path)!r} is not JSON: {fault} at {place}{hint}", FAILED) from error
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise CommandError(f"{str(path)!r} is not JSON as RFC 8259 defines it: {reason}", FAILED) from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number; write null or a number")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} occurs twice in one object; keep one")
        found[key] = value
    return found
