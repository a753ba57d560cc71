"""The shipped examples as interpreter cases: their definition tests, translated for a run on Temporal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.cases import Case
from tests.support.commands import ROOT

EXAMPLES = ROOT / "examples"
CHANGES: dict[str, dict[str, Any]] = {
    # On Temporal a test cannot wait for hours, nor has it another team's task queue.
    "human_escalation": {"/steps/0/timeout_seconds": 0.5},
    "incident_response": {"/steps/2/seconds": 0.2, "/steps/3/delay_seconds": 0.1},
    "polling_loop": {"/steps/1/delay_seconds": 0.1},
    "video_transcode": {
        "/steps/0/task_queue": None,
        "/steps/2/steps/0/task_queue": None,
        "/steps/2/steps/0/compensate/task_queue": None,
        "/steps/3/task_queue": None,
    },
}
"""By JSON pointer into the definition."""
NOT_YET = {"refund_desk": {1: "settle:refund_order", 2: "settle:refund_order"}}
"""Steps that must not have been called when the message at a position is due."""
_STUBS = {"output": "result", "delay_seconds": "sleep", "park_seconds": "park"}
_SENT_ALONG = ("send", "after_seconds", "once_called", "refused")


def definition_paths() -> list[Path]:
    """Return the files that hold definitions, by name."""
    return sorted(path for path in EXAMPLES.glob("*.json") if "." not in path.stem)


def load_examples() -> list[Case]:
    """Read every example, by name."""
    return [_case(path) for path in definition_paths()]


def _case(path: Path) -> Case:
    text = path.read_text()
    definition, test = json.loads(text), json.loads(path.with_suffix(".test.json").read_text())
    for pointer, value in CHANGES.get(path.stem, {}).items():
        _change(definition, pointer, value)
    data = {
        "definition": definition,
        # An example may run others as its children.
        "definitions": {
            other.stem: json.loads(other.read_text())
            for other in definition_paths()
            if other != path and f'"workflow_id": "{other.stem}"' in text
        },
        "input": json.loads((path.parent / test["input_file"]).read_text()),
        "stubs": {step: [_stub(mock) for mock in mocks] for step, mocks in test["mocks"].items()},
        "messages": _messages(path.stem, test.get("messages", [])),
        "expect": test["expect"],
    }
    return Case(path.stem, data)


def _stub(mock: Mapping[str, Any]) -> dict[str, Any]:
    return {_STUBS.get(key, key): value for key, value in mock.items()}


def _messages(name: str, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for position, message in enumerate(messages):
        waits = NOT_YET.get(name, {}).get(position)
        found += [{"not_called_yet": waits}] if waits is not None else []
        found.append(_message(message))
    return found


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message as a case's: a signal with its argument, or an update."""
    found = {key: value for key, value in message.items() if key in _SENT_ALONG and key != "send"}
    fields = {key: value for key, value in message.items() if key not in _SENT_ALONG}
    if message["send"] == "raise_budget":
        fields |= fields.pop("budget")
    if message["send"] in ("pause", "resume", "cancel"):
        return {**found, "send": message["send"], "argument": fields.get("reason", "")}
    return {**found, "send" if message["send"] == "signal" else "update": message["send"], "argument": fields}


def _change(document: Any, pointer: str, value: Any) -> None:
    """Replace the value at a JSON pointer, which must be there."""
    *way, last = [int(part) if part.isdigit() else part for part in pointer.split("/")[1:]]
    for part in way:
        document = document[part]
    assert document[last] != value, f"{pointer} is no change"
    document[last] = value
