"""A concurrency key holds, and nobody in the queue is lost, when the worker is killed."""

from __future__ import annotations

import uuid
from typing import Any

from tests.support.polling import wait_for
from tests.support.rest import Rest
from tests.support.service_processes import Services


def test_a_worker_killed_while_executions_queue_neither_loses_one_nor_lets_too_many_run(
    services: Services, rest: Rest
) -> None:
    work: dict[str, Any] = {"step_id": "work", "step_type": "wait", "seconds": 0.5}
    name = f"Limited {uuid.uuid4().hex[:8]}"
    workflow_id = rest.store({"name": name, "steps": [work], "concurrency": {"key": "{{ input.account }}", "max": 3}})
    executions = [rest.execute(workflow_id, {"account": "a-17"}) for _ in range(12)]
    wait_for(lambda: len(rest.listed(workflow_id=workflow_id, status="completed")) >= 2)
    services.worker.kill()
    services.make_whole()
    found = [rest.end_of(execution_id, 60) for execution_id in executions]
    assert {document["status"] for document in found} == {"completed"}
    spans = [(document["steps"][0]["started_at"], document["steps"][0]["finished_at"]) for document in found]
    at_once = [sum(began <= moment < ended for began, ended in spans) for moment, _ in spans]
    assert max(at_once) == 3
