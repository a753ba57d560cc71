"""Redis or Temporal away, refused or frozen: every operation answers in under two seconds, and says what is away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from tests.fakes.model_behaviours import Gate, after
from tests.fakes.model_server import FakeModelServer
from tests.support.polling import wait_for
from tests.support.rest import Rest, lead_workflow
from tests.support.service_processes import Part, Services

ANSWER_SECONDS = 2.0


@dataclass(frozen=True)
class Call:
    """One operation of the API, as a valid request.

    Attributes:
        needs: the parts without which it is 503; the others do not concern it.
        body: True: a definition.
        absent: what it acts on may not be there.
    """

    method: str
    path: str
    needs: frozenset[str] = frozenset()
    body: Any = None
    absent: bool = False


TOOL = {"description": "A tool.", "http": {"url": "https://example.com/"}}
YEARLY = {"workflow_id": "outage", "cron": ["@yearly"]}
REDIS, TEMPORAL = frozenset({"redis"}), frozenset({"temporal"})
CALLS = {
    "create_workflow": Call("POST", "/workflows/", REDIS, True),
    "list_workflows": Call("GET", "/workflows/", REDIS),
    "validate_workflow": Call("POST", "/workflows/validate", REDIS, True),
    "get_workflow": Call("GET", "/workflows/{workflow_id}", REDIS),
    "put_workflow": Call("PUT", "/workflows/{workflow_id}", REDIS, True),
    "delete_workflow": Call("DELETE", "/workflows/{spare_id}", REDIS),
    "pause_workflow": Call("POST", "/workflows/{spare_id}/pause", REDIS | TEMPORAL, {}),
    "resume_workflow": Call("POST", "/workflows/{spare_id}/resume", REDIS | TEMPORAL, {}),
    "list_workflow_versions": Call("GET", "/workflows/{workflow_id}/versions", REDIS),
    "restore_workflow_version": Call("POST", "/workflows/{workflow_id}/versions/1/restore", REDIS),
    "diff_workflow_versions": Call("GET", "/workflows/{workflow_id}/versions/1/diff/1", REDIS),
    "simulate_workflow": Call("POST", "/workflows/{workflow_id}/simulate", REDIS, {"input_data": {}}),
    "simulate_definition": Call("POST", "/workflows/simulate", REDIS, {"definition": lead_workflow()}),
    "execute_workflow": Call("POST", "/workflows/{workflow_id}/execute", REDIS | TEMPORAL, {"input_data": {}}),
    "list_executions": Call("GET", "/executions/", TEMPORAL),
    "get_execution": Call("GET", "/executions/{execution_id}", TEMPORAL),
    "get_execution_ledger": Call("GET", "/executions/{execution_id}/ledger", TEMPORAL),
    "raise_budget": Call("POST", "/executions/{execution_id}/budget", TEMPORAL, {"tokens": 1}),
    "list_steps": Call("GET", "/executions/{execution_id}/steps", TEMPORAL),
    "get_step": Call("GET", "/executions/{execution_id}/steps/qualify_lead", TEMPORAL),
    "get_execution_graph": Call("GET", "/executions/{execution_id}/graph", TEMPORAL),
    "watch_execution": Call("GET", "/executions/{execution_id}/events", REDIS | TEMPORAL),
    "pause_execution": Call("POST", "/executions/{execution_id}/pause", TEMPORAL, {}),
    "resume_execution": Call("POST", "/executions/{execution_id}/resume", TEMPORAL, {}),
    "cancel_execution": Call("POST", "/executions/{spare_execution_id}/cancel", TEMPORAL, {}),
    "terminate_execution": Call("POST", "/executions/{spare_execution_id}/terminate", TEMPORAL, {}),
    "retry_execution": Call("POST", "/executions/{execution_id}/retry", TEMPORAL, {}),
    "rerun_execution": Call("POST", "/executions/{execution_id}/rerun", TEMPORAL, {"from_step": "qualify_lead"}),
    "start_bulk_job": Call(
        "POST",
        "/executions/bulk",
        TEMPORAL,
        {"action": "cancel", "filter": {"workflow_id": "outage-none"}, "dry_run": True},
    ),
    "get_bulk_job": Call("GET", "/executions/bulk/bulk-retry-1-outage", TEMPORAL, absent=True),
    "stop_bulk_job": Call("DELETE", "/executions/bulk/bulk-retry-1-outage", TEMPORAL, absent=True),
    "signal_execution": Call("POST", "/executions/{execution_id}/signals/go", TEMPORAL, {"x": 1}),
    "decide_approval": Call(
        "POST", "/executions/{execution_id}/approvals/qualify_lead", TEMPORAL, {"decision": "approved"}
    ),
    "retry_step": Call("POST", "/executions/{execution_id}/steps/qualify_lead/retry", TEMPORAL, {}),
    "skip_step": Call("POST", "/executions/{execution_id}/steps/qualify_lead/skip", TEMPORAL, {}),
    "set_step_output": Call("POST", "/executions/{execution_id}/steps/qualify_lead/output", TEMPORAL, {"output": 1}),
    "list_tools": Call("GET", "/tools/", REDIS | TEMPORAL),
    "create_tool": Call("POST", "/tools/", REDIS, {**TOOL, "name": "outage"}),
    "get_tool": Call("GET", "/tools/outage-read", REDIS),
    "put_tool": Call("PUT", "/tools/outage-put", REDIS, TOOL),
    "delete_tool": Call("DELETE", "/tools/outage-spare", REDIS),
    "list_collections": Call("GET", "/collections/", TEMPORAL),
    "create_collection": Call("POST", "/collections/", TEMPORAL, {"name": "outage", "dimensions": 2}),
    "get_collection": Call("GET", "/collections/outage", TEMPORAL, absent=True),
    "delete_collection": Call("DELETE", "/collections/outage", TEMPORAL, absent=True),
    "get_session": Call("GET", "/sessions/outage", REDIS, absent=True),
    "delete_session": Call("DELETE", "/sessions/outage", REDIS, absent=True),
    # The workflow takes no webhooks: 404, once Redis said so. Temporal is asked as by any start.
    "receive_webhook": Call("POST", "/hooks/outage", REDIS, {}, absent=True),
    "list_schedules": Call("GET", "/schedules/", TEMPORAL),
    "create_schedule": Call("POST", "/schedules/", REDIS | TEMPORAL, {**YEARLY, "schedule_id": "outage"}),
    "get_schedule": Call("GET", "/schedules/outage-read", TEMPORAL),
    "put_schedule": Call("PUT", "/schedules/outage-read", REDIS | TEMPORAL, YEARLY),
    "delete_schedule": Call("DELETE", "/schedules/outage-spare", TEMPORAL, absent=True),
    "pause_schedule": Call("POST", "/schedules/outage-read/pause", TEMPORAL, {}),
    "resume_schedule": Call("POST", "/schedules/outage-read/resume", REDIS | TEMPORAL, {}),
    "trigger_schedule": Call("POST", "/schedules/outage-read/trigger", REDIS | TEMPORAL, {}),
    "list_agents": Call("GET", "/agents/", REDIS),
    "create_agent": Call("POST", "/agents/", REDIS, {"agent_type": "outage"}),
    "get_agent": Call("GET", "/agents/sales", REDIS),
    "put_agent": Call("PUT", "/agents/outage-put", REDIS, {"agent_type": "outage-put"}),
    "delete_agent": Call("DELETE", "/agents/outage-spare", REDIS),
    "list_agent_versions": Call("GET", "/agents/sales/versions", REDIS),
    "invoke_agent": Call("POST", "/agents/sales/invoke", REDIS | TEMPORAL, {"task": "outage"}),
    "get_agent_health": Call("GET", "/agents/sales/health", REDIS),
    "list_breakers": Call("GET", "/breakers/", REDIS),
    "get_breaker": Call("GET", "/breakers/model:openai/outage", REDIS, absent=True),
    "reset_breaker": Call("POST", "/breakers/model:openai/outage/reset", REDIS, absent=True),
    "list_keys": Call("GET", "/keys/", REDIS),
    "list_audit_entries": Call("GET", "/audit/", REDIS),
    "decode_payloads": Call("POST", "/codec/decode", body={"payloads": []}),
    "open_codec_session": Call("POST", "/codec/session"),
    "create_key": Call("POST", "/keys/", REDIS, {"name": "outage", "role": "viewer"}),
    "revoke_key": Call("DELETE", "/keys/00", REDIS, absent=True),
    "get_workflow_schema": Call("GET", "/schemas/workflow.json"),
    "evaluate_expression": Call("POST", "/expressions/evaluate", body={"expression": "1 + 1", "context": {}}),
    "get_liveness": Call("GET", "/health/live"),
    "get_readiness": Call("GET", "/health/ready", REDIS | TEMPORAL),
}


@contextmanager
def killed(part: Part) -> Iterator[None]:
    """Away: connections are refused."""
    part.kill()
    try:
        yield
    finally:
        part.start()


@contextmanager
def frozen(part: Part) -> Iterator[None]:
    """There, and silent: the harder case, because connections open and stay open."""
    with part.frozen():
        yield


@dataclass(frozen=True)
class Ids:
    """What the calls act on."""

    workflow_id: str
    spare_id: str
    execution_id: str
    spare_execution_id: str


@pytest.fixture
def ids(rest: Rest, model: FakeModelServer) -> Iterator[Ids]:
    gate = Gate()
    model.always(after(gate), task="qualify_lead")
    workflow_id, spare_id = rest.store(lead_workflow()), rest.store(lead_workflow())
    started = [rest.execute(workflow_id) for _ in range(2)]
    wait_for(lambda: len(model.calls("qualify_lead")) == 2)
    for name in ("outage-read", "outage-spare"):
        rest.http.put(f"/tools/{name}", json=TOOL)
    rest.http.put("/workflows/outage", json=lead_workflow())
    for name in ("outage-read", "outage-spare"):
        rest.http.post("/schedules/", json={**YEARLY, "schedule_id": name})
    rest.http.put("/agents/outage-spare", json={"agent_type": "outage-spare"})
    yield Ids(workflow_id, spare_id, *started)
    gate.open()
    for execution_id in started:
        rest.http.post(f"/executions/{execution_id}/resume")
        rest.end_of(execution_id, 30)


def send(services: Services, call: Call, ids: Ids) -> tuple[httpx2.Response, float]:
    """Send the request; gives the answer and how long it took."""
    path = call.path.format(**vars_of(ids))
    body = lead_workflow() if call.body is True else call.body
    began = time.monotonic()
    answer = services.http.request(call.method, path, json=body)
    return answer, time.monotonic() - began


def vars_of(ids: Ids) -> dict[str, str]:
    return {name: getattr(ids, name) for name in Ids.__dataclass_fields__}


def test_the_table_holds_every_operation_of_the_api(services: Services) -> None:
    document = httpx2.get(f"{services.api_url}/openapi.json").json()
    operations = {operation["operationId"] for item in document["paths"].values() for operation in item.values()}
    assert operations == CALLS.keys()


@pytest.mark.parametrize("way", [killed, frozen], ids=lambda way: way.__name__)
@pytest.mark.parametrize("name", ["redis", "temporal"])
def test_every_operation_answers_in_two_seconds_while_a_part_is_away(
    services: Services, ids: Ids, name: str, way: Any
) -> None:
    part: Part = getattr(services, name)
    wrong: list[str] = []
    with way(part), ThreadPoolExecutor(6) as pool:
        answers = pool.map(lambda call: send(services, call, ids), CALLS.values())
        for operation, (answer, seconds) in zip(CALLS, answers, strict=True):
            call = CALLS[operation]
            expected = [503] if name in call.needs else [200, 201, 202, 204, 409]
            expected += [404] if call.absent and expected != [503] else []
            # The promise is about refusals; what works without the part may wait for it once.
            longest = ANSWER_SECONDS if name in call.needs else 3 * ANSWER_SECONDS
            if seconds >= longest or answer.status_code not in expected:
                wrong.append(f"{operation}: {answer.status_code} in {seconds:.2f} s: {answer.text[:300]}")
            elif name in call.needs and operation != "get_readiness":
                check_problem(operation, name, answer)
    assert not wrong, "\n".join(wrong)


def check_problem(operation: str, part: str, answer: httpx2.Response) -> None:
    assert answer.headers["content-type"] == "application/problem+json", operation
    assert int(answer.headers["retry-after"]) >= 1, operation
    problem = answer.json()
    assert problem["code"] in {f"{part}-unavailable", "start-unknown"}, operation
    assert problem["detail"], operation


def test_both_away_is_one_answer_in_two_seconds_and_all_is_well_after(
    services: Services, rest: Rest, ids: Ids, model: FakeModelServer
) -> None:
    with services.redis.frozen(), services.temporal.frozen():
        began = time.monotonic()
        answer = services.http.get("/health/ready")
        assert time.monotonic() - began < ANSWER_SECONDS
        assert answer.status_code == 503
        parts = answer.json()["parts"]
        assert (parts["redis"]["status"], parts["temporal"]["status"]) == ("down", "down")
        answer = services.http.post(f"/workflows/{ids.workflow_id}/execute", json={})
        assert answer.status_code == 503
    services.make_whole()
    model.always(None, task="qualify_lead")
    assert rest.end_of(rest.execute(ids.workflow_id), 30)["status"] == "completed"


def test_a_start_that_went_unanswered_says_under_which_id_it_may_have_started(services: Services, ids: Ids) -> None:
    with services.temporal.frozen():
        answer = services.http.post(f"/workflows/{ids.spare_id}/execute", json={})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (503, "start-unknown")
    assert problem["execution_id"].startswith("ex-")
    # Whatever became of it can be told now: it is there, or it is not.
    wait_for(lambda: services.http.get(f"/executions/{problem['execution_id']}").status_code in (200, 404), 20)


def test_without_a_worker_the_service_is_not_ready_and_reads_are_stale(
    services: Services, rest: Rest, ids: Ids
) -> None:
    services.worker.kill()
    # The lease of the killed worker runs out within ten seconds.
    wait_for(lambda: services.http.get("/health/ready").status_code == 503, 15)
    part = services.http.get("/health/ready").json()["parts"]["worker"]
    assert part["status"] == "down"
    assert "orchestrator worker" in part["detail"]
    assert rest.read(ids.execution_id)["stale"] is True
    services.make_whole()
