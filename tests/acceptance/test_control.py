"""Pause, resume and cancel, by every way that an operator has."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Callable

import httpx2
import pytest

from orchestrator.embedded.temporal import server_binary
from tests.fakes.model_behaviours import Gate, after, hang
from tests.fakes.model_server import FakeModelServer
from tests.support.clock import awake_seconds
from tests.support.polling import wait_for
from tests.support.rest import Rest, lead_workflow, states
from tests.support.service_processes import Services

CANCEL_SECONDS = 5.0
"""What is promised; a heartbeat carries the request to an activity every two seconds."""


def test_a_pause_between_the_steps_holds_the_second_and_resume_runs_it(
    services: Services, rest: Rest, model: FakeModelServer
) -> None:
    gate = Gate()
    model.then(after(gate), task="qualify_lead")
    execution_id = rest.start(lead_workflow())
    wait_for(lambda: len(model.calls("qualify_lead")) == 1)
    paused = rest.act(execution_id, "pause", reason="the price list changes")
    assert paused["status"] == "paused"
    # What is in flight finishes.
    gate.open()
    wait_for(lambda: states(rest.read(execution_id))["qualify_lead"] == "completed")
    found = rest.read(execution_id)
    assert (found["status"], found["holds"]) == ("paused", {"operator": "the price list changes"})
    assert "the price list changes" in found["detail"]
    assert states(found)["enrich_lead"] == "pending"
    wait_for(lambda: execution_id in rest.listed(status="paused"))
    assert execution_id not in rest.listed(status="running")
    # A pause outlives the worker that took it, and a crash of it.
    services.worker.kill()
    services.worker.launch()
    services.make_whole()
    assert rest.read(execution_id)["status"] == "paused"
    assert len(model.calls("enrich_lead")) == 0
    rest.act(execution_id, "resume")
    found = rest.end_of(execution_id, 30)
    assert found["status"] == "completed"
    assert [call.task for call in model.calls()] == ["qualify_lead", "enrich_lead"]
    wait_for(lambda: execution_id not in rest.listed(status="paused"))


def by_rest(services: Services, execution_id: str, run_id: str) -> None:
    Rest(services.http).act(execution_id, "cancel", reason="a mistake")


def by_temporal_cli(services: Services, execution_id: str, run_id: str) -> None:
    command = [str(server_binary()), "workflow", "cancel", "--address", services.temporal_address]
    subprocess.run([*command, "--workflow-id", execution_id], check=True, capture_output=True, timeout=60)


def by_web_ui_button(services: Services, execution_id: str, run_id: str) -> None:
    """The request that the Web UI's button sends, field by field, as Chromium sent it (UI 2.54)."""
    with httpx2.Client(base_url=services.temporal_ui, trust_env=False) as browser:
        browser.get(f"/namespaces/default/workflows/{execution_id}/{run_id}/history").raise_for_status()
        browser.get("/api/v1/settings").raise_for_status()
        execution = {"workflowId": execution_id, "runId": run_id}
        body = {"namespace": "default", "workflowExecution": execution, "requestId": str(uuid.uuid4())}
        answer = browser.post(
            f"/api/v1/namespaces/default/workflows/{execution_id}/cancel",
            params={"execution.runId": run_id},
            headers={
                "Content-Type": "text/plain;charset=UTF-8",
                "X-CSRF-TOKEN": browser.cookies["_csrf"],
                "Caller-Type": "operator",
            },
            content=json.dumps(body),
        )
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
@pytest.mark.parametrize("cancel", [by_rest, by_temporal_cli, by_web_ui_button], ids=lambda way: way.__name__)
def test_a_cancel_while_the_model_hangs_ends_in_cancelled_within_five_seconds(
    services: Services,
    rest: Rest,
    model: FakeModelServer,
    cancel: Callable[[Services, str, str], None],
    paused: bool,
) -> None:
    model.always(hang(), task="enrich_lead")
    execution_id = rest.start(lead_workflow(), {"kept": True})
    wait_for(lambda: len(model.calls("enrich_lead")) == 1)
    if paused:
        assert rest.act(execution_id, "pause")["status"] == "paused"
    run_id = rest.read(execution_id)["run_id"]
    began = awake_seconds()
    cancel(services, execution_id, run_id)
    found = rest.end_of(execution_id, CANCEL_SECONDS)
    assert awake_seconds() - began < CANCEL_SECONDS
    assert found["status"] == "cancelled"
    assert states(found) == {"qualify_lead": "completed", "enrich_lead": "cancelled"}
    assert found["input"] == {"kept": True}
    assert temporal_status(services, execution_id) == "WORKFLOW_EXECUTION_STATUS_CANCELED"
    wait_for(lambda: execution_id in rest.listed(status="cancelled"))
    assert len(model.calls("enrich_lead")) == 1


def temporal_status(services: Services, execution_id: str) -> str:
    """The status as Temporal's own command line tells it."""
    command = [str(server_binary()), "workflow", "describe", "--address", services.temporal_address]
    command += ["--workflow-id", execution_id, "--output", "json"]
    done = subprocess.run(command, check=True, capture_output=True, timeout=60)
    status: str = json.loads(done.stdout)["workflowExecutionInfo"]["status"]
    return status


def test_a_cancel_without_any_worker_is_taken_and_done_once_there_is_one(
    services: Services, rest: Rest, model: FakeModelServer
) -> None:
    model.always(hang(), task="enrich_lead")
    execution_id = rest.start(lead_workflow())
    wait_for(lambda: len(model.calls("enrich_lead")) == 1)
    services.worker.kill()
    answer = rest.act(execution_id, "cancel")
    assert answer["stale"] is True
    services.worker.launch()
    assert rest.end_of(execution_id, 40)["status"] == "cancelled"
