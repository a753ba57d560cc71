"""Redis or Temporal away, refused or frozen: every operation answers in under two seconds, and says what is away."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from tests.fakes.model_behaviours import Gate, after
from tests.fakes.model_server import FakeModelServer
from tests.support.clock import awake_seconds
from tests.support.commands import ROOT
from tests.support.outages import CALLS, HOOK, PARTS, TOOL, YEARLY, Call, documented
from tests.support.pace import within
from tests.support.polling import wait_for
from tests.support.rest import Rest, lead_workflow
from tests.support.service_processes import Part, Services

ANSWER_SECONDS = 2.0


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
    closed_id: str


@pytest.fixture
def ids(rest: Rest, model: FakeModelServer) -> Iterator[Ids]:
    gate = Gate()
    model.always(after(gate), task="qualify_lead")
    workflow_id, spare_id = rest.store(lead_workflow()), rest.store(lead_workflow())
    *started, closed_id = [rest.execute(workflow_id) for _ in range(3)]
    # Of what never began the position is known without a worker.
    wait_for(lambda: len(model.calls("qualify_lead")) == 3)
    for name in ("outage-read", "outage-spare"):
        rest.http.put(f"/tools/{name}", json=TOOL)
    rest.act(closed_id, "terminate")
    rest.end_of(closed_id)
    rest.http.put("/workflows/outage", json=lead_workflow(webhook=HOOK))
    for name in ("outage-read", "outage-spare"):
        rest.http.post("/schedules/", json={**YEARLY, "schedule_id": name})
    rest.http.put("/agents/outage-spare", json={"agent_type": "outage-spare"})
    yield Ids(workflow_id, spare_id, started[0], started[1], closed_id)
    gate.open()
    for execution_id in started:
        rest.http.post(f"/executions/{execution_id}/resume")
        rest.end_of(execution_id, 30)


def send(services: Services, call: Call, ids: Ids) -> tuple[httpx2.Response, float]:
    """Send the request; gives the answer and how long it took."""
    path = call.path.format(**vars_of(ids))
    body = lead_workflow() if call.body is True else call.body
    began = awake_seconds()
    with services.http.stream(call.method, path, json=body, headers=dict(call.headers)) as answer:
        # A stream of events has no end while its execution has none.
        if "event-stream" not in answer.headers.get("content-type", ""):
            answer.read()
    return answer, awake_seconds() - began


def vars_of(ids: Ids) -> dict[str, str]:
    return {name: getattr(ids, name) for name in Ids.__dataclass_fields__}


def test_the_table_holds_every_operation_of_the_api_and_the_reference_says_the_same(services: Services) -> None:
    document = httpx2.get(f"{services.api_url}/openapi.json").json()
    operations = {operation["operationId"] for item in document["paths"].values() for operation in item.values()}
    assert operations == CALLS.keys()
    said = documented(ROOT / "docs" / "reference" / "api.md")
    assert said.keys() == operations
    for operation, cells in said.items():
        for part, cell in zip(PARTS, cells, strict=True):
            assert cell.startswith("503" if part in CALLS[operation].needs else "works"), (operation, part)


@pytest.mark.parametrize("way", [killed, frozen], ids=lambda way: way.__name__)
@pytest.mark.parametrize("name", ["redis", "temporal"])
def test_every_operation_answers_in_two_seconds_while_a_part_is_away(
    services: Services, ids: Ids, name: str, way: Any
) -> None:
    with way(getattr(services, name)):
        # The promise is about refusals; what works without the part may wait for it once.
        check_every_operation(services, ids, name, refused=ANSWER_SECONDS, answered=3 * ANSWER_SECONDS)


def test_every_operation_answers_without_a_worker_or_says_in_time_that_there_is_none(
    services: Services, ids: Ids
) -> None:
    with killed(services.worker):
        # The lease of the killed worker runs out within ten seconds.
        wait_for(lambda: services.http.get("/health/ready").status_code == 503, 15)
        # A decision waits five seconds for a worker to take it; a reader a second or two for one to answer.
        check_every_operation(services, ids, "worker", refused=5 + ANSWER_SECONDS, answered=3 * ANSWER_SECONDS)


def check_every_operation(services: Services, ids: Ids, part: str, *, refused: float, answered: float) -> None:
    """Send every operation; fails with all that answered otherwise than the table says, or too late (seconds)."""
    wrong: list[str] = []
    with ThreadPoolExecutor(6) as pool:
        answers = pool.map(lambda call: send(services, call, ids), CALLS.values())
        for (operation, call), (answer, seconds) in zip(CALLS.items(), answers, strict=True):
            needed = part in call.needs
            expected = [503] if needed else [200, 201, 202, 204, 409]
            expected += [404] if call.absent and not needed else []
            late = not within(seconds, refused if needed else answered)
            if late or answer.status_code not in expected:
                wrong.append(f"{operation}: {answer.status_code} in {seconds:.2f} s: {answer.read()[:300]!r}")
            elif needed and operation != "get_readiness":
                check_problem(operation, part, answer)
    assert not wrong, "\n".join(wrong)


def check_problem(operation: str, part: str, answer: httpx2.Response) -> None:
    assert answer.headers["content-type"] == "application/problem+json", operation
    assert int(answer.headers["retry-after"]) >= 1, operation
    problem = answer.json()
    codes = {"no-worker"} if part == "worker" else {f"{part}-unavailable", "start-unknown"}
    assert problem["code"] in codes, (operation, problem)
    assert problem["detail"], operation


def test_both_away_is_one_answer_in_two_seconds_and_all_is_well_after(
    services: Services, rest: Rest, ids: Ids, model: FakeModelServer
) -> None:
    with services.redis.frozen(), services.temporal.frozen():
        began = awake_seconds()
        answer = services.http.get("/health/ready")
        assert within(awake_seconds() - began, ANSWER_SECONDS)
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
