"""A load of executions of every kind, whose effects a far end counts, and the people who answer them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.support.polling import wait_for
from tests.support.rest import CLOSED, agent_step
from tests.support.tool_endpoint import ToolEndpoint

PATIENCE = 240.0
"""Seconds for one call to get through, outages included."""
DETECTION = {"timeouts": {"heartbeat_seconds": 8}, "retry": {"max_attempts": 20, "max_interval_seconds": 2}}
LARGE = 200_000
"""Characters of an output that goes through the claim store."""


class Persistent:
    """A client that asks again until it is answered: a part that is away is no failure, it is an outage."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http

    def ask(self, accepted: Sequence[int], method: str, path: str, **options: Any) -> dict[str, Any]:
        """Send a request until its status is one of these; gives the answer's document."""
        found: list[httpx2.Response] = []
        last = "no answer"

        def answered() -> bool:
            nonlocal last
            try:
                answer = self._http.request(method, path, **options)
            except httpx2.HTTPError as error:
                last = repr(error)
                return False
            last = f"{answer.status_code} {answer.text[:300]}"
            if answer.status_code in accepted:
                found.append(answer)
            return bool(found)

        try:
            wait_for(answered, PATIENCE)
        except AssertionError:
            raise AssertionError(f"{method} {path} was not answered with {accepted}: {last}") from None
        document: dict[str, Any] = found[0].json()
        return document

    def read(self, execution_id: str) -> dict[str, Any]:
        """The execution's document."""
        return self.ask([200], "GET", f"/executions/{execution_id}")

    def end_of(self, execution_id: str) -> dict[str, Any]:
        """The execution's last document."""
        found: dict[str, Any] = {}

        def closed() -> bool:
            nonlocal found
            found = self.read(execution_id)
            return found["status"] in CLOSED

        wait_for(closed, PATIENCE, f"the end of {execution_id}: {found.get('steps')}")
        return found


Person = Callable[[Persistent, "Job"], None]


@dataclass(frozen=True)
class Kind:
    """A kind of execution.

    Attributes:
        steps: what it does.
        effects: the names of its calls at the far end, each once; one that is listed before another comes before it.
        unordered: whether `effects` says nothing of the order.
        status: how it ends.
        person: who answers it.
        fields: further ones of the definition.
    """

    steps: list[dict[str, Any]]
    effects: list[str]
    unordered: bool = False
    status: str = "completed"
    person: Person | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One execution: its kind's name, the mark that its calls carry, and its id."""

    kind: str
    mark: str
    execution_id: str


def call(step_id: str, effect: str | None = None, **fields: Any) -> dict[str, Any]:
    """A step that has an effect at the far end."""
    body = {"mark": "{{ input.mark }}", "effect": effect or step_id}
    return {
        "step_id": step_id,
        "step_type": "api_call",
        "method": "POST",
        "url": "{{ input.url }}",
        "json": body,
        **fields,
    }


def in_a_row(*steps: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps, each after the one before."""
    return [
        {**step, **({"depends_on": [steps[place - 1]["step_id"]]} if place else {})} for place, step in enumerate(steps)
    ]


def _signals(client: Persistent, job: Job) -> None:
    # 409: an earlier try was taken, its answer was lost, and the execution has ended since.
    client.ask([202, 409], "POST", f"/executions/{job.execution_id}/signals/go", json={"mark": job.mark})


def _approves(client: Persistent, job: Job) -> None:
    _until_step(client, job, "allow", ("running", "completed"))
    path = f"/executions/{job.execution_id}/approvals/allow"
    client.ask([200, 409], "POST", path, json={"decision": "approved"}, headers={"Idempotency-Key": job.mark})


def _cancels(client: Persistent, job: Job) -> None:
    _until_step(client, job, "a", ("completed",))
    client.ask([202, 409], "POST", f"/executions/{job.execution_id}/cancel", json={})


def _until_step(client: Persistent, job: Job, step_id: str, states: Sequence[str]) -> None:
    def reached() -> bool:
        steps = client.read(job.execution_id)["steps"] or []
        return any(step["path"] == step_id and step["state"] in states for step in steps)

    wait_for(reached, PATIENCE, f"step {step_id} of {job.execution_id}")


def kinds(child_id: str) -> dict[str, Kind]:
    """Every kind by its name; `child_id` is the workflow that a `workflow` step runs."""
    inner = [call("first", "first {{ item }}"), call("second", "second {{ item }}", depends_on=["first"])]
    body = [call("again", "again {{ loop.iteration }}")]
    large = call("large")
    large["json"] = {**large["json"], "text": "{{ 'x' | repeat(" + str(LARGE) + ") }}"}
    return {
        "chain": Kind(in_a_row(call("a"), call("b"), call("c"), call("d")), ["a", "b", "c", "d"]),
        "items": Kind(
            [
                {
                    "step_id": "each",
                    "step_type": "foreach",
                    "items": "range(0, 6)",
                    "max_concurrency": 3,
                    "steps": inner,
                    "item_output": "{{ item }}",
                }
            ],
            [f"{name} {item}" for item in range(6) for name in ("first", "second")],
            unordered=True,
        ),
        "branches": Kind(
            [
                {
                    "step_id": "both",
                    "step_type": "parallel",
                    "branches": {"left": {"steps": [call("left")]}, "right": {"steps": [call("right")]}},
                },
                {"step_id": "rest", "step_type": "wait", "seconds": 1, "depends_on": ["both"]},
                call("after", depends_on=["rest"]),
            ],
            ["left", "right", "after"],
            unordered=True,
        ),
        "repeated": Kind(
            [
                {
                    "step_id": "thrice",
                    "step_type": "loop",
                    "until": "loop.iteration == 2",
                    "max_iterations": 5,
                    "delay_seconds": 0.5,
                    "steps": body,
                }
            ],
            ["again 0", "again 1", "again 2"],
        ),
        "saga": Kind(
            in_a_row(
                call("a", compensate=call("undo_a")),
                call("b", compensate=call("undo_b")),
                {"step_id": "refuse", "step_type": "fail", "error_type": "refused", "message": "no"},
            ),
            ["a", "b", "undo_b", "undo_a", "sorry"],
            status="failed",
            fields={"on_failure": {"steps": [call("sorry")]}},
        ),
        "signalled": Kind(
            in_a_row(call("a"), {"step_id": "go", "step_type": "wait_for_signal", "signal": "go"}, call("b")),
            ["a", "b"],
            person=_signals,
        ),
        "approved": Kind(
            in_a_row(call("a"), {"step_id": "allow", "step_type": "approval", "title": "May it?"}, call("b")),
            ["a", "b"],
            person=_approves,
        ),
        "cancelled": Kind(
            in_a_row(call("a", compensate=call("undo_a")), {"step_id": "long", "step_type": "wait", "seconds": 3600}),
            ["a", "undo_a", "farewell"],
            status="cancelled",
            person=_cancels,
            fields={"on_cancel": {"steps": [call("farewell")]}},
        ),
        "parent": Kind(
            in_a_row(
                call("before"),
                {"step_id": "child", "step_type": "workflow", "workflow_id": child_id, "input": "{{ input }}"},
                call("after"),
            ),
            ["before", "a", "b", "after"],
        ),
        "claimed": Kind(
            in_a_row(large, {**call("b"), "when": f"len(steps.large.output.body.text) == {LARGE}"}), ["large", "b"]
        ),
        "agents": Kind(
            in_a_row(
                {**agent_step("qualify_lead", "sales"), "parameters": {"name": "{{ input.mark }}"}},
                {**agent_step("enrich_lead", "research"), "parameters": {"name": "{{ input.mark }}"}},
                call("done"),
            ),
            ["done"],
        ),
    }


class Load:
    """Stores the kinds, starts executions of them, and answers those that wait for a person.

    Args:
        http: a client of the API.
        endpoint: the far end.
    """

    def __init__(self, http: httpx2.Client, endpoint: ToolEndpoint) -> None:
        self.client = Persistent(http)
        self.endpoint = endpoint
        self.stored: dict[str, dict[str, Any]] = {}
        child = self._store("child", Kind(in_a_row(call("a"), call("b")), []))
        self.kinds = kinds(child)
        for name, kind in self.kinds.items():
            self._store(name, kind)

    def _store(self, name: str, kind: Kind) -> str:
        definition = {
            "name": f"{name} {uuid.uuid4().hex[:8]}",
            "defaults": DETECTION,
            "steps": kind.steps,
            "output": {"mark": "{{ input.mark }}"},
            **kind.fields,
        }
        self.stored[name] = self.client.ask([201], "POST", "/workflows/", json=definition)
        workflow_id: str = self.stored[name]["workflow_id"]
        return workflow_id

    def start(self, kind: str) -> Job:
        """Start one execution, surely and once."""
        mark = uuid.uuid4().hex[:12]
        body = {"input_data": {"mark": mark, "url": self.endpoint.url}, "async_execution": True}
        path = f"/workflows/{self.stored[kind]['workflow_id']}/execute"
        started = self.client.ask([200, 202], "POST", path, json=body, headers={"Idempotency-Key": mark})
        return Job(kind, mark, started["execution_id"])

    def play(self, kind: str) -> Job:
        """Start one execution and answer it."""
        job = self.start(kind)
        person = self.kinds[kind].person
        if person is not None:
            person(self.client, job)
        return job

    def check_end(self, job: Job) -> None:
        """Assert that the execution ended as its kind does, its effects there, in order, under one key each."""
        kind, found = self.kinds[job.kind], self.client.end_of(job.execution_id)
        assert found["status"] == kind.status, f"{job}: {found['status']} {found['error']}"
        if kind.status == "completed":
            assert found["output"] == {"mark": job.mark}
        seen = self.endpoint.requests(mark=job.mark)
        names = [request.body["effect"] for request in seen]
        assert sorted(set(names)) == sorted(kind.effects), f"{job}: {names}"
        keys = {name: {request.key for request in seen if request.body["effect"] == name} for name in names}
        assert all(len(found) == 1 for found in keys.values()), f"{job}: {keys}"
        if not kind.unordered:
            # The last call of each before the first of the next: nothing comes again once what follows has begun.
            assert names == sorted(names, key=kind.effects.index), f"{job}: {names}"

    def check_definitions(self) -> None:
        """Assert that every acknowledged definition is there, unchanged."""
        for stored in self.stored.values():
            found = self.client.ask([200], "GET", f"/workflows/{stored['workflow_id']}")
            assert (found["version"], found["sha256"]) == (stored["version"], stored["sha256"])
