"""What a SIGKILL of each process leaves: finished executions, no step run twice, definitions that are still there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.fakes.model_behaviours import Gate, after
from tests.fakes.model_server import FakeModelServer
from tests.support.held_endpoint import HeldEndpoint, held_endpoint
from tests.support.polling import wait_for
from tests.support.rest import Rest, agent_step, attempts, lead_workflow, states
from tests.support.service_processes import Services

QUICK_DETECTION = {"defaults": {"timeouts": {"heartbeat_seconds": 2}}}


@pytest.fixture
def endpoint() -> Iterator[HeldEndpoint]:
    """An HTTP server that holds its answers back until the test lets them go."""
    with held_endpoint() as server:
        yield server


def test_a_worker_killed_while_enrich_lead_runs_is_replaced_and_nothing_completed_runs_again(
    services: Services, rest: Rest, model: FakeModelServer, endpoint: HeldEndpoint
) -> None:
    """The heartbeat timeout is the built-in 10 s; an HTTP call in flight beside is repeated with the same key."""
    gate = Gate()
    model.then(after(gate), task="enrich_lead")
    lead = lead_workflow()
    lead["steps"].append({"step_id": "post", "step_type": "api_call", "method": "POST", "url": endpoint.url})
    lead["output"] = "{{ steps.enrich_lead.output }}"
    execution_id = rest.start(lead)
    wait_for(lambda: len(model.calls("enrich_lead")) == 1 and len(endpoint.keys) == 1)
    services.worker.kill()
    services.worker.launch()
    endpoint.open()
    gate.open()
    found = rest.end_of(execution_id, 60)
    assert (found["status"], found["error"]) == ("completed", None)
    assert states(found) == {"qualify_lead": "completed", "enrich_lead": "completed", "post": "completed"}
    assert found["output"].keys() == {"industry", "company_size", "next_step"}
    assert Counter(call.task for call in model.calls()) == {"qualify_lead": 1, "enrich_lead": 2}
    assert attempts(found) == {"qualify_lead": 1, "enrich_lead": 2, "post": 2}
    assert endpoint.keys == [f"{execution_id}/post"] * 2


def test_an_api_killed_right_after_its_202_loses_nothing(
    services: Services, rest: Rest, model: FakeModelServer
) -> None:
    execution_id = rest.start(lead_workflow())
    services.api.kill()
    services.api.launch()
    services.make_whole()
    found = rest.end_of(execution_id)
    assert found["status"] == "completed"
    assert Counter(call.task for call in model.calls()) == {"qualify_lead": 1, "enrich_lead": 1}


def test_an_api_killed_during_a_synchronous_wait_stops_nothing(
    services: Services, rest: Rest, model: FakeModelServer
) -> None:
    gate = Gate()
    model.then(after(gate), task="qualify_lead")
    workflow_id = rest.store(lead_workflow())
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(
            services.http.post, f"/workflows/{workflow_id}/execute", json={"input_data": {}, "async_execution": False}
        )
        wait_for(lambda: len(model.calls("qualify_lead")) == 1)
        services.api.kill()
        with pytest.raises(httpx2.HTTPError):
            waiting.result(60)
    services.make_whole()
    (execution_id,) = rest.listed(workflow_id=workflow_id)
    gate.open()
    assert rest.end_of(execution_id)["status"] == "completed"


def test_definitions_acknowledged_before_a_kill_of_redis_are_there_after_it(services: Services, rest: Rest) -> None:
    acknowledged: dict[str, dict[str, Any]] = {}

    def store(number: int) -> None:
        definition = lead_workflow(description=f"number {number}")
        try:
            answer = services.http.post("/workflows/", json=definition)
        except httpx2.HTTPError:
            return
        assert answer.status_code in (201, 503), answer.text
        if answer.status_code == 201:
            acknowledged[answer.json()["workflow_id"]] = {**answer.json(), "definition": definition}

    with ThreadPoolExecutor(8) as pool:
        for number in range(200):
            pool.submit(store, number)
        wait_for(lambda: len(acknowledged) >= 20)
        services.redis.kill()
    assert len(acknowledged) < 200, "the kill came too late to prove anything"
    services.redis.start()
    services.make_whole()
    for workflow_id, stored in acknowledged.items():
        found = rest.expect(200, "GET", f"/workflows/{workflow_id}")
        assert (found["version"], found["sha256"]) == (stored["version"], stored["sha256"])
        assert found["definition"]["description"] == stored["definition"]["description"]
    assert rest.end_of(rest.execute(next(iter(acknowledged))))["status"] == "completed"


def test_an_execution_survives_a_kill_of_redis_in_its_middle(
    services: Services, rest: Rest, model: FakeModelServer
) -> None:
    gate = Gate()
    model.then(after(gate), task="qualify_lead")
    execution_id = rest.start(lead_workflow())
    wait_for(lambda: len(model.calls("qualify_lead")) == 1)
    services.redis.kill()
    gate.open()
    # The first agent's answer is recorded without Redis; the second agent cannot be looked up until it is back.
    wait_for(lambda: states(rest.read(execution_id))["qualify_lead"] == "completed")
    services.redis.start()
    found = rest.end_of(execution_id)
    assert found["status"] == "completed"
    assert Counter(call.task for call in model.calls()) == {"qualify_lead": 1, "enrich_lead": 1}


def test_an_execution_survives_a_kill_of_temporal_in_its_middle(
    services: Services, rest: Rest, model: FakeModelServer
) -> None:
    gate = Gate()
    model.then(after(gate), task="enrich_lead")
    execution_id = rest.start(lead_workflow())
    wait_for(lambda: len(model.calls("enrich_lead")) == 1)
    services.temporal.kill()
    services.temporal.start()
    gate.open()
    found = rest.end_of(execution_id, 60)
    assert found["status"] == "completed"
    assert len(model.calls("qualify_lead")) == 1
    assert len(model.calls("enrich_lead")) <= 2


def test_every_start_that_was_acknowledged_around_a_kill_of_temporal_exists(
    services: Services, rest: Rest, model: FakeModelServer
) -> None:
    one_step = {"name": lead_workflow()["name"], "steps": [agent_step("qualify_lead", "sales")]}
    workflow_id = rest.store(one_step)
    acknowledged: list[str] = []
    unknown: list[str] = []

    def start(_: int) -> None:
        answer = services.http.post(f"/workflows/{workflow_id}/execute", json={"input_data": {}})
        assert answer.status_code in (202, 503), answer.text
        if answer.status_code == 202:
            acknowledged.append(answer.json()["execution_id"])
        elif answer.json()["code"] == "start-unknown":
            unknown.append(answer.json()["execution_id"])

    with ThreadPoolExecutor(8) as pool:
        starting = [pool.submit(start, number) for number in range(24)]
        wait_for(lambda: len(acknowledged) >= 5)
        services.temporal.kill()
        for future in starting:
            future.result(60)
    assert len(acknowledged) < 24, "the kill came too late to prove anything"
    services.temporal.start()
    services.make_whole()
    for execution_id in acknowledged:
        assert rest.end_of(execution_id, 60)["status"] == "completed"
    for execution_id in unknown:
        assert rest.http.get(f"/executions/{execution_id}").status_code in (200, 404)


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_workers_killed_again_and_again_finish_every_execution_and_repeat_no_completed_step(
    services: Services, rest: Rest, model: FakeModelServer
) -> None:
    leads = {name: rest.start(lead_workflow(**QUICK_DETECTION), {"lead": {"name": name}}) for name in _names(40)}
    for _ in range(8):
        before = len(model.calls())
        wait_for(lambda before=before: len(model.calls()) > before or _all_closed(rest, leads.values()), 60)  # type: ignore[misc]
        services.worker.kill()
        services.worker.launch()
    for name, execution_id in leads.items():
        assert rest.end_of(execution_id, 120)["status"] == "completed"
        tasks = [call.task for call in model.calls(name)]
        first_enrich = tasks.index("enrich_lead")
        assert "qualify_lead" not in tasks[first_enrich:], "a completed step ran again"


def _names(count: int) -> list[str]:
    return [f"lead-{number:03}" for number in range(count)]


def _all_closed(rest: Rest, ids: Iterable[str]) -> bool:
    return all(rest.read(execution_id)["status"] == "completed" for execution_id in ids)
