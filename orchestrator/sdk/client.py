"""A blocking client of the REST API: documents in, documents out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx2

from orchestrator.sdk.errors import ApiProblem, ServiceUnreachable

CLOSED_STATUSES = frozenset({"completed", "failed", "cancelled", "terminated", "timed_out"})
DEFAULT_WAIT_SECONDS = 60.0
"""The API's own, when `wait_seconds` is not given."""


class OrchestratorClient:
    """A client of one orchestrator.

    Args:
        base_url: `http://host:port`, without a path.
        api_key: sent as a bearer token where given.
        timeout_seconds: of one request; a synchronous execution's wait comes on top.
        transport: for tests.

    Every method raises `ApiProblem` for an error answer and `ServiceUnreachable` when there is no usable answer.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout_seconds: float = 30.0,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        try:
            self._http = httpx2.Client(
                base_url=f"{self.base_url}/api/v1", headers=headers, timeout=timeout_seconds, transport=transport
            )
        except httpx2.InvalidURL as error:
            raise ServiceUnreachable(
                f"{base_url!r} is not an address of the API; write it as http://host:port"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def is_ready(self) -> bool:
        """Whether executions can run now: Temporal, Redis and a polling worker."""
        try:
            self._request("GET", "/health/ready")
        except (ApiProblem, ServiceUnreachable):
            return False
        return True

    def put_workflow(self, workflow_id: str, definition: Mapping[str, Any]) -> dict[str, Any]:
        """Store a definition; a new version unless the latest has the same content."""
        return self._request("PUT", f"/workflows/{_segment(workflow_id)}", json=definition)

    def workflow_diff(self, workflow_id: str, version: int, other: int) -> dict[str, Any]:
        """What changed between two versions: `patch` (RFC 6902) and `text`."""
        return self._request("GET", f"/workflows/{_segment(workflow_id)}/versions/{version}/diff/{other}")

    def execute(
        self,
        workflow_id: str,
        input_data: Any,
        *,
        async_execution: bool = True,
        wait_seconds: float | None = None,
        idempotency_key: str | None = None,
        callback: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Start an execution; gives its document, closed or not.

        Args:
            workflow_id: of the stored definition.
            input_data: any JSON value.
            async_execution: answer at once; else when it is closed or `wait_seconds` are over.
            wait_seconds: how long a synchronous answer may take, 60 by default.
            idempotency_key: a second start with the same key is the first.
            callback: `{"url": …, "secret": …}`: who is told of the end.
        """
        body: dict[str, Any] = {"input_data": input_data, "async_execution": async_execution}
        if wait_seconds is not None:
            body["wait_seconds"] = wait_seconds
        if callback is not None:
            body["callback"] = dict(callback)
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        waiting = 0.0 if async_execution else DEFAULT_WAIT_SECONDS if wait_seconds is None else wait_seconds
        path = f"/workflows/{_segment(workflow_id)}/execute"
        return self._request("POST", path, json=body, headers=headers, timeout=self._timeout_seconds + waiting)

    def simulate(self, workflow_id: str, scenario: Mapping[str, Any], *, version: int | None = None) -> dict[str, Any]:
        """The report of a stored workflow's simulation: nothing outside is touched.

        Args:
            workflow_id: of the stored definition.
            scenario: `input_data`, `mocks`, `messages`, `unmocked`, `now`, all of them optional.
            version: the latest by default.
        """
        query = {"version": version} if version is not None else {}
        return self._request("POST", f"/workflows/{_segment(workflow_id)}/simulate", json=scenario, params=query)

    def simulate_definition(self, definition: Mapping[str, Any], scenario: Mapping[str, Any]) -> dict[str, Any]:
        """The report of the simulation of a definition that is not stored; its children run from stored ones."""
        return self._request("POST", "/workflows/simulate", json={**scenario, "definition": definition})

    def execution(self, execution_id: str) -> dict[str, Any]:
        """The execution's document: status, result or error, steps, links."""
        return self._request("GET", f"/executions/{_segment(execution_id)}")

    def pause(self, execution_id: str, reason: str | None = None) -> dict[str, Any]:
        """Let no further step start; steps that run go on."""
        return self._act(execution_id, "pause", reason)

    def resume(self, execution_id: str, reason: str | None = None) -> dict[str, Any]:
        """Undo a pause."""
        return self._act(execution_id, "resume", reason)

    def cancel(self, execution_id: str, reason: str | None = None) -> dict[str, Any]:
        """Ask the execution to end gracefully."""
        return self._act(execution_id, "cancel", reason)

    def schedules(self, workflow_id: str | None = None, *, cursor: str | None = None) -> dict[str, Any]:
        """A page of schedules."""
        params = {key: value for key, value in {"workflow_id": workflow_id, "cursor": cursor}.items() if value}
        return self._request("GET", "/schedules/", params=params)

    def create_schedule(self, schedule: Mapping[str, Any]) -> dict[str, Any]:
        """Create a schedule: `schedule_id`, `workflow_id`, `cron` and so on, as the API takes it."""
        return self._request("POST", "/schedules/", json=schedule)

    def schedule(self, schedule_id: str) -> dict[str, Any]:
        """The schedule's document: times, next and latest runs."""
        return self._request("GET", f"/schedules/{_segment(schedule_id)}")

    def put_schedule(self, schedule_id: str, schedule: Mapping[str, Any]) -> dict[str, Any]:
        """Replace all of a schedule."""
        return self._request("PUT", f"/schedules/{_segment(schedule_id)}", json=schedule)

    def delete_schedule(self, schedule_id: str) -> None:
        """Start nothing any more."""
        self._request("DELETE", f"/schedules/{_segment(schedule_id)}")

    def pause_schedule(self, schedule_id: str, reason: str = "") -> dict[str, Any]:
        """Start nothing until it is resumed."""
        return self._request("POST", f"/schedules/{_segment(schedule_id)}/pause", json={"reason": reason})

    def resume_schedule(self, schedule_id: str, reason: str = "") -> dict[str, Any]:
        """Start executions again."""
        return self._request("POST", f"/schedules/{_segment(schedule_id)}/resume", json={"reason": reason})

    def trigger_schedule(self, schedule_id: str, overlap: str | None = None) -> dict[str, Any]:
        """Start a run now."""
        return self._request("POST", f"/schedules/{_segment(schedule_id)}/trigger", json={"overlap": overlap})

    def ledger(self, execution_id: str) -> dict[str, Any]:
        """What the execution has spent: in total, by step, by model, of children, of each call."""
        return self._request("GET", f"/executions/{_segment(execution_id)}/ledger")

    def agents(self) -> Iterator[dict[str, Any]]:
        """The agents in use, in the order of their types."""
        cursor: str | None = None
        while True:
            query = {"limit": "200"} if cursor is None else {"limit": "200", "cursor": cursor}
            page = self._request("GET", "/agents/", params=query)
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def agent(self, agent_type: str) -> dict[str, Any]:
        """An agent with its record at the latest version."""
        return self._request("GET", f"/agents/{_segment(agent_type)}")

    def invoke_agent(self, agent_type: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask one agent; gives the execution's document. The body is that of `POST /agents/{type}/invoke`."""
        waits = body.get("async_execution") is False
        waiting = float(body.get("wait_seconds") or DEFAULT_WAIT_SECONDS) if waits else 0.0
        path = f"/agents/{_segment(agent_type)}/invoke"
        return self._request("POST", path, json=body, timeout=self._timeout_seconds + waiting)

    def keys(self) -> list[dict[str, Any]]:
        """Every API key without its secret."""
        found: list[dict[str, Any]] = self._request("GET", "/keys/")["items"]
        return found

    def create_key(self, name: str, role: str, *, expires_in_days: int | None = None) -> dict[str, Any]:
        """Make an API key; `key` in the answer is shown this once."""
        body = {"name": name, "role": role, "expires_in_days": expires_in_days}
        return self._request("POST", "/keys/", json=body)

    def revoke_key(self, key_id: str) -> dict[str, Any]:
        """Revoke an API key for ever."""
        return self._request("DELETE", f"/keys/{_segment(key_id)}")

    def terminate(self, execution_id: str, reason: str | None = None) -> dict[str, Any]:
        """End the execution at once: nothing is undone."""
        return self._act(execution_id, "terminate", reason)

    def retry(self, execution_id: str, reason: str | None = None) -> dict[str, Any]:
        """Go on from what failed, as the next attempt of the same execution."""
        return self._act(execution_id, "retry", reason)

    def rerun(
        self,
        execution_id: str,
        from_step: str,
        *,
        outputs: Mapping[str, Any] | None = None,
        reason: str | None = None,
        **edited: Any,
    ) -> dict[str, Any]:
        """Run a step and all that depends on it again, as a new execution; gives its document.

        Args:
            execution_id: of the closed execution.
            from_step: path of a step that ran.
            outputs: other outputs of root steps that are kept.
            reason: kept with the execution.
            edited: `input`, another input.
        """
        body = {"from_step": from_step, "outputs": dict(outputs or {}), "reason": reason or "", **edited}
        return self._request("POST", f"/executions/{_segment(execution_id)}/rerun", json=body)

    def _act(self, execution_id: str, action: str, reason: str | None) -> dict[str, Any]:
        body = {"reason": reason} if reason else {}
        return self._request("POST", f"/executions/{_segment(execution_id)}/{action}", json=body)

    def _request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            response = self._http.request(method, path, **options)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise ServiceUnreachable(f"no orchestrator answers at {self.base_url}") from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise ServiceUnreachable(f"the orchestrator at {self.base_url} broke off: {_reason(error)}") from error
        document = _json_object(response)
        if response.is_success and document is not None:
            return document
        if response.status_code >= 400 and document is not None:
            raise ApiProblem(response.status_code, document)
        raise ServiceUnreachable(
            f"what answers at {self.base_url} is not an orchestrator (status {response.status_code} on {path})"
        )


def _json_object(response: httpx2.Response) -> dict[str, Any] | None:
    if not response.content:
        return {}
    try:
        value = response.json()
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _segment(text: str) -> str:
    return quote(text, safe="")


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
