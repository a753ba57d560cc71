"""Short ways to write steps and definitions."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def document(*steps: Json, **fields: Any) -> Json:
    """Return a definition with these steps."""
    return {"name": "n", "steps": list(steps), **fields}


def agent(step_id: str, **fields: Any) -> Json:
    """Return a step that runs as an activity."""
    return {"step_id": step_id, "step_type": "agent_task", "agent_type": "sales", "task": "t", **fields}


def value(step_id: str, value: Any = 1, **fields: Any) -> Json:
    """Return a transform."""
    return {"step_id": step_id, "step_type": "transform", "value": value, **fields}


def switch(step_id: str, *steps: Json, **fields: Any) -> Json:
    """Return a block that runs its steps once."""
    return {"step_id": step_id, "step_type": "switch", "cases": [{"when": True, "steps": list(steps)}], **fields}


def rich() -> Json:
    """Return a valid definition with every step type and every field of the envelope."""
    undo = agent("undo", parameters={"was": "{{ result }}"})
    handlers = [
        {"errors": ["http-5xx"], "when": "error.type != 'x'", "steps": [value("fallback", "{{ error.message }}")]},
        {"output": {"none": True}},
    ]
    policies: Json = {
        "retry": {"max_attempts": 2, "initial_interval_seconds": 1, "non_retryable_errors": ["boom"]},
        "timeouts": {"start_to_close_seconds": 5, "heartbeat_seconds": 2},
    }
    post = {"method": "POST", "url": "https://example.com/{{ input.id }}", "json": {"a": "{{ steps.first.output }}"}}
    branches = {"left": {"steps": [value("l")], "output": "{{ steps.l.output }}"}, "right": {"steps": [value("r")]}}
    return document(
        agent("first", on_error=handlers, compensate=undo, output={"text": "{{ result }}"}, priority=2, **policies),
        {"step_id": "call", "step_type": "api_call", "depends_on": ["first"], "auth": {"bearer": "k"}, **post},
        {"step_id": "foreign", "step_type": "activity", "activity": "x", "arguments": [1], "task_queue": "q"},
        {"step_id": "set", "step_type": "assign", "values": {"n": "{{ vars.n + 1 }}"}, "join": "settled"},
        switch("choose", value("c"), default={"steps": [], "output": None}, when="input.ok ?? true"),
        {"step_id": "split", "step_type": "parallel", "branches": branches, "complete_when": {"at_least": 1}},
        {
            "step_id": "each",
            "step_type": "foreach",
            "items": "input.list ?? []",
            "as": "lead",
            "steps": [value("e", "{{ lead }}{{ index }}")],
            "tolerate": {"percent": 10},
        },
        {
            "step_id": "again",
            "step_type": "loop",
            "until": "steps.a.output > 2",
            "max_iterations": 3,
            "steps": [value("a", "{{ loop.iteration }}")],
            "delay_seconds": 1,
        },
        {"step_id": "pause", "step_type": "wait", "seconds": "{{ 1 + 1 }}"},
        {"step_id": "hear", "step_type": "wait_for_signal", "signal": "s", "accept_when": "result.id == input.id"},
        {"step_id": "ask", "step_type": "approval", "title": "Go?", "approvers": ["a", "b"], "quorum": 2},
        {"step_id": "child", "step_type": "workflow", "workflow_id": "other", "input": {"x": "{{ input.x }}"}},
        {"step_id": "bad", "step_type": "fail", "error_type": "boom", "message": "m", "when": False},
        {"step_id": "done", "step_type": "finish", "value": 1, "depends_on": ["call", "set"], "join": "any"},
        description="d",
        tags={"team": "a"},
        input_schema={"type": "object"},
        output_schema=True,
        vars={"n": 1},
        output={"x": "{{ steps.call.output?.body ?? null }}"},
        defaults=policies,
        limits={"max_parallel_steps": 5},
        on_failure={"steps": [value("after", "{{ run.error.type }}")]},
        on_cancel=[value("gone")],
        timeouts={"execution_seconds": 60, "cleanup_seconds": 5},
    )
