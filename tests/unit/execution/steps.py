"""Short ways to write steps for the driver."""

from __future__ import annotations

from typing import Any

from tests.support.machine_driver import Play

Json = dict[str, Any]
BOOM = Play(error="boom")


def agent(step_id: str, **fields: Any) -> Json:
    """Return a step that runs as an activity."""
    return {"step_id": step_id, "step_type": "agent_task", "agent_type": "a", "task": "t", **fields}


def value(step_id: str, value: Any = 1, **fields: Any) -> Json:
    """Return a transform."""
    return {"step_id": step_id, "step_type": "transform", "value": value, **fields}


def wait(step_id: str, seconds: float = 100, **fields: Any) -> Json:
    """Return a durable timer."""
    return {"step_id": step_id, "step_type": "wait", "seconds": seconds, **fields}


def switch(step_id: str, *steps: Json, **fields: Any) -> Json:
    """Return a block that runs its steps once."""
    return {"step_id": step_id, "step_type": "switch", "cases": [{"when": True, "steps": list(steps)}], **fields}


def foreach(step_id: str, items: str, *steps: Json, **fields: Any) -> Json:
    """Return a block that runs its steps for each item."""
    return {"step_id": step_id, "step_type": "foreach", "items": items, "steps": list(steps), **fields}


def parallel(
    step_id: str, complete_when: Any = "all", /, *, fields: Json | None = None, **branches: list[Json]
) -> Json:
    """Return a block that runs branches side by side."""
    held = {name: {"steps": steps} for name, steps in branches.items()}
    block: Json = {"step_id": step_id, "step_type": "parallel", "branches": held, "complete_when": complete_when}
    return block | (fields or {})


def document(*steps: Json, **fields: Any) -> Json:
    """Return a definition with these steps."""
    return {"steps": list(steps), **fields}
