"""The shipped examples as interpreter cases: each has a definition, an input, stubs and an expected outcome."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.cases import Case
from tests.support.commands import ROOT

EXAMPLES = ROOT / "examples"


def definition_paths() -> list[Path]:
    """Return the files that hold definitions, by name."""
    return sorted(path for path in EXAMPLES.glob("*.json") if "." not in path.stem)


def load_examples() -> list[Case]:
    """Read every example, by name.

    `NAME.expected.json` is the `expect` of a case; beside it stand `messages`, and `changes` to the definition by JSON
    pointer: a test cannot wait a day, nor has it another team's task queue.
    """
    return [_case(path) for path in definition_paths()]


def _case(path: Path) -> Case:
    text = path.read_text()
    definition = json.loads(text)
    expect = _beside(path, "expected")
    for pointer, value in expect.pop("changes", {}).items():
        _change(definition, pointer, value)
    data = {
        "definition": definition,
        # An example may run others as its children.
        "definitions": {
            other.stem: json.loads(other.read_text())
            for other in definition_paths()
            if other != path and f'"workflow_id": "{other.stem}"' in text
        },
        "input": _beside(path, "input"),
        "stubs": _beside(path, "stubs"),
        "messages": expect.pop("messages", []),
        "expect": expect,
    }
    return Case(path.stem, data)


def _beside(path: Path, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.with_suffix(f".{kind}.json").read_text())
    return found


def _change(document: Any, pointer: str, value: Any) -> None:
    """Replace the value at a JSON pointer, which must be there."""
    *way, last = [int(part) if part.isdigit() else part for part in pointer.split("/")[1:]]
    for part in way:
        document = document[part]
    assert document[last] != value, f"{pointer} is no change"
    document[last] = value
