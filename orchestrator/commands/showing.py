"""Prints documents of the API: as JSON for programs, as a table for people."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from orchestrator.commands.options import Output
from orchestrator.commands.outcome import out
from orchestrator.commands.watching import coloured

_PROSE = ("note", "next_runs", "description", "last_error", "reason")
"""Columns that may be wrapped. Others are for copying: a narrow terminal breaks the line, and cuts nothing off."""
_PROSE_WIDTH = 40
_WIDEST = 1000


def show(document: Any, form: Output) -> None:
    """Print a document; in a table one row for each of its fields."""
    if form == "json":
        out.print_json(json.dumps(document))
        return
    table = Table(show_header=False)
    for name, value in document.items():
        if value not in (None, [], {}, ""):
            table.add_row(escape(name), _text(name, value))
    out.print(table)


def show_rows(items: Iterable[Mapping[str, Any]], columns: Sequence[str], form: Output, most: int = 200) -> None:
    """Print the first items of a list, one row each; as JSON whole."""
    found = list(itertools.islice(items, most))
    if form == "json":
        out.print_json(json.dumps({"items": found}))
        return
    table = Table()
    for name in columns:
        table.add_column(name, no_wrap=name not in _PROSE, max_width=_PROSE_WIDTH if name in _PROSE else None)
    for item in found:
        table.add_row(*(_text(name, item.get(name)) for name in columns))
    Console(highlight=False, soft_wrap=True, width=max(out.width, _natural_width(table))).print(table)


def _natural_width(table: Table) -> int:
    return Measurement.get(out, out.options.update(max_width=_WIDEST), table).maximum


def show_line(document: Any) -> None:
    """Print a document as one line of JSON, for programs that read lines."""
    out.print(escape(json.dumps(document, separators=(",", ":"))))


def _text(name: str, value: Any) -> str:
    if name in {"status", "state"}:
        return coloured(str(value))
    if value is None:
        return ""
    if name.endswith("_at") and isinstance(value, str):
        value = value[:19].replace("T", " ")
    return escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
