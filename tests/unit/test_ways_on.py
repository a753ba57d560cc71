"""What the command shows of an execution that does not go on by itself."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from orchestrator.commands.watching import step_table, ways_on

STEP: dict[str, Any] = {"path": "a", "step_id": "a", "name": "Call", "step_type": "api_call", "state": "running"}
DOCUMENT: dict[str, Any] = {
    "execution_id": "ex-1",
    "workflow_id": "w",
    "status": "awaiting",
    "detail": "operator",
    "approvals": [{"path": "each[0].sign", "title": "?"}],
    "signals": {"awaited": ["paid now"], "buffered": 0, "dropped": 0},
}


def printed(**fields: Any) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(step_table({**DOCUMENT, "steps": [{**STEP, **fields}]}))  # type: ignore[typeddict-item]
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_every_wait_for_people_has_the_command_that_ends_it_ready_for_a_shell() -> None:
    lines = list(ways_on(DOCUMENT, ["each[1].call"]))  # type: ignore[arg-type]
    assert lines == [
        "waits for a decision: orchestrator executions approve ex-1 'each[0].sign' (or --reject)",
        "waits for a repair: orchestrator executions retry-step|skip-step ex-1 'each[1].call'",
        "waits for a message: orchestrator executions signal ex-1 'paid now' --payload FILE",
    ]


def test_a_step_that_is_tried_again_says_why_and_when() -> None:
    failure = {"type": "http-503", "message": "busy"}
    told = printed(last_failure=failure, next_attempt_at="2026-11-29T09:51:44.758279Z")
    assert "again at 09:51:44 UTC: busy" in told
    assert "tried again: busy" in printed(last_failure=failure, next_attempt_at=None)


def test_a_step_that_failed_says_why() -> None:
    assert "no money" in printed(error={"type": "x", "message": "no money"}, last_failure=None)
