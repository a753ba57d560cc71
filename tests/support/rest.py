"""What acceptance tests do over REST: store, start, watch."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import httpx2

from tests.support.polling import wait_for

CLOSED = frozenset({"completed", "failed", "cancelled", "terminated", "timed_out"})
LEAD = {"lead": {"name": "Acme Corp", "email": "contact@acmecorp.com", "budget": 50000}}


def agent_step(step_id: str, agent_type: str, *, after: str | None = None, **fields: Any) -> dict[str, Any]:
    """A step that asks an agent for the task of its own name."""
    step = {"step_id": step_id, "step_type": "agent_task", "agent_type": agent_type, "task": step_id, **fields}
    return step if after is None else {**step, "depends_on": [after]}


def lead_workflow(**fields: Any) -> dict[str, Any]:
    """The lead workflow under a name that no other test uses."""
    steps = [agent_step("qualify_lead", "sales"), agent_step("enrich_lead", "research", after="qualify_lead")]
    return {"name": f"Lead {uuid.uuid4().hex[:8]}", "steps": steps, **fields}


class Rest:
    """Documents in, documents out; an unexpected status fails the test with the answer's text."""

    def __init__(self, http: httpx2.Client) -> None:
        self.http = http

    def store(self, definition: Mapping[str, Any]) -> str:
        """Create a workflow; gives its id."""
        created: str = self.expect(201, "POST", "/workflows/", json=definition)["workflow_id"]
        return created

    def start(self, definition: Mapping[str, Any], value: Any = LEAD, **body: Any) -> str:
        """Store a definition and start it; gives the execution's id."""
        workflow_id = self.store(definition)
        return self.execute(workflow_id, value, **body)

    def execute(self, workflow_id: str, value: Any = LEAD, **body: Any) -> str:
        """Start a stored workflow; gives the execution's id."""
        request = {"input_data": value, "async_execution": True, **body}
        started: str = self.expect(202, "POST", f"/workflows/{workflow_id}/execute", json=request)["execution_id"]
        return started

    def read(self, execution_id: str) -> dict[str, Any]:
        """The execution's document."""
        return self.expect(200, "GET", f"/executions/{execution_id}")

    def act(self, execution_id: str, action: str, **body: Any) -> dict[str, Any]:
        """Pause, resume or cancel."""
        return self.expect(202, "POST", f"/executions/{execution_id}/{action}", json=body)

    def end_of(self, execution_id: str, seconds: float = 60) -> dict[str, Any]:
        """Wait for the execution's end; gives its last document."""
        return self.until(execution_id, CLOSED, seconds)

    def until(self, execution_id: str, statuses: frozenset[str], seconds: float = 60) -> dict[str, Any]:
        """Wait for one of these statuses; gives the document that had it."""
        found: dict[str, Any] = {}

        def reached() -> bool:
            nonlocal found
            answer = self.http.get(f"/executions/{execution_id}")
            # A machine that stalls makes a part look away for a moment.
            assert answer.status_code in {200, 503}, f"{execution_id}: {answer.status_code} {answer.text}"
            found = answer.json()
            return answer.status_code == 200 and found["status"] in statuses

        wait_for(reached, seconds, f"one of {sorted(statuses)} of {execution_id}")
        return found

    def listed(self, **query: str) -> list[str]:
        """The ids of the first page of executions."""
        page = self.expect(200, "GET", "/executions/", params=query)
        return [item["execution_id"] for item in page["items"]]

    def expect(self, status: int, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Send a request whose answer must have this status."""
        answer = self.http.request(method, path, **options)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        if status in (201, 202):
            assert answer.headers["location"].startswith("/api/v1/"), path
        document: dict[str, Any] = answer.json()
        return document


def states(document: Mapping[str, Any]) -> dict[str, str]:
    """Each step's state."""
    return {step["path"]: step["state"] for step in document["steps"]}


def attempts(document: Mapping[str, Any]) -> dict[str, int]:
    """Each step's attempts."""
    return {step["path"]: step["attempts"] for step in document["steps"]}
