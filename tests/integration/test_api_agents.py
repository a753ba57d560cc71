"""Agents over HTTP: their versions, and asking one without a workflow, with a real Temporal and a real worker."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from orchestrator.agents import AgentContext, AgentFactory, BaseAgent
from orchestrator.execution.errors_steps import ModelUnavailable
from orchestrator.settings import Settings
from tests.integration.test_api_executions import document, until_status, working
from tests.support.api_server import problem_in, running_api
from tests.support.polling import eventually

RECORD: dict[str, Any] = {"agent_type": "sales", "tools": ["get_time"], "mcp_servers": ["crm"]}
EVERY_FIELD: dict[str, Any] = {
    "agent_type": "full",
    "description": "Everything that a record can say",
    "model": "openai/gpt-5-mini",
    "fallback_models": ["local/small", "openai/gpt-5"],
    "instructions": "Be brief.",
    "tasks": {"t": {"prompt": "Do {{ parameters.what }}", "output_schema": {"type": "object"}, "tools": ["pay"]}},
    "temperature": 0.2,
    "max_output_tokens": 500,
    "memory": {"window_messages": 10, "collection": "notes"},
    "tools": ["get_time", "pay"],
    "mcp_servers": ["crm"],
    "max_turns": 4,
    "tool_policy": {"requires_approval": ["pay", "crm__delete"], "approvers": ["kim"]},
    "timeouts": {"start_to_close_seconds": 20},
    "retry": {"max_attempts": 2},
}


class Planner(BaseAgent):
    """An agent in Python."""

    agent_type = "planner"
    description = "Plans"

    async def execute(self, task: str, parameters: Any, context: AgentContext) -> Any:
        """Never called: the stubs answer."""
        raise AssertionError(task)


@pytest.fixture
async def api(isolated_settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with running_api(isolated_settings) as client:
        assert (await client.post("/agents/", json=RECORD)).status_code == 201
        yield client


async def test_every_field_of_a_record_is_kept_and_shown(api: httpx2.AsyncClient) -> None:
    created = await api.post("/agents/", json=EVERY_FIELD)
    assert (created.status_code, created.headers["etag"]) == (201, '"1"'), created.text
    assert created.headers["location"] == "/api/v1/agents/full"
    assert (await api.get("/agents/full")).json()["record"] == EVERY_FIELD


@pytest.mark.parametrize(
    ("fields", "pointer", "code"),
    [
        ({"fallback_models": ["small"]}, "/fallback_models/0", "invalid-value"),
        ({"fallback_models": "openai/x"}, "/fallback_models", "wrong-type"),
        ({"tools": [""]}, "/tools/0", "invalid-value"),
        ({"mcp_servers": [7]}, "/mcp_servers/0", "wrong-type"),
        ({"max_turns": 0}, "/max_turns", "invalid-value"),
        ({"tool_policy": {"approvers": []}}, "/tool_policy/approvers", "invalid-value"),
        (
            {"tools": ["pay"], "tool_policy": {"requires_approval": ["*", "pya"]}},
            "/tool_policy/requires_approval/1",
            "tool-not-listed",
        ),
        (
            {"tools": ["pay"], "tasks": {"a/b": {"prompt": "x", "tools": ["pay", "get_time"]}}},
            "/tasks/a~1b/tools/1",
            "tool-not-listed",
        ),
        ({"memory": {"window": 3}}, "/memory/window", "unknown-field"),
        ({"retry": {"max_attempts": "2"}}, "/retry/max_attempts", "wrong-type"),
    ],
)
async def test_a_faulty_field_of_a_record_is_refused_at_its_place(
    api: httpx2.AsyncClient, fields: dict[str, Any], pointer: str, code: str
) -> None:
    problem = problem_in(await api.post("/agents/", json={"agent_type": "faulty", **fields}), 422, "invalid-agent")
    assert [(issue["pointer"], issue["code"]) for issue in problem["errors"]] == [(pointer, code)]
    problem_in(await api.get("/agents/faulty"), 404, "agent-not-found")


async def test_versions_are_listed_newest_first_and_writes_insist_on_theirs(api: httpx2.AsyncClient) -> None:
    second = {**RECORD, "instructions": "Be brief."}
    put = await api.put("/agents/sales", json=second, headers={"If-Match": '"1"'})
    assert (put.status_code, put.headers["etag"]) == (200, '"2"')
    problem_in(await api.put("/agents/sales", json=RECORD, headers={"If-Match": '"1"'}), 412, "version-conflict")
    problem_in(await api.put("/agents/sales", json=RECORD, headers={"If-None-Match": "*"}), 412, "version-conflict")
    items = (await api.get("/agents/sales/versions")).json()["items"]
    assert [item["version"] for item in items] == [2, 1]
    assert len({item["sha256"] for item in items}) == 2
    first = await api.get("/agents/sales", params={"version": 1})
    assert (first.json()["record"], first.headers["etag"]) == (RECORD, '"1"')
    assert (await api.delete("/agents/sales")).status_code == 204
    assert len((await api.get("/agents/sales/versions")).json()["items"]) == 2
    problem_in(await api.get("/agents/nobody/versions"), 404, "agent-not-found")


async def test_health_tells_how_the_calls_went(api: httpx2.AsyncClient, isolated_settings: Settings) -> None:
    factory = AgentFactory(isolated_settings)
    agent_type = RECORD["agent_type"]
    async with factory.observed(agent_type, lease_seconds=60):
        with pytest.raises(ModelUnavailable):
            async with factory.observed(agent_type, lease_seconds=60):
                raise ModelUnavailable("the server is down")
        found = (await api.get(f"/agents/{agent_type}/health")).json()
    await factory.aclose()
    assert (found["status"], found["reason"], found["workers"]) == ("unavailable", "no living worker can run it", 0)
    assert (found["calls"], found["failures"], found["recent_calls"], found["in_flight"]) == (1, 1, 1, 1)
    assert (found["success_rate"], found["last_success_at"]) == (0.0, None)
    assert found["last_error"] == {"type": "model-unavailable", "message": "the server is down"}
    assert found["last_error_at"].endswith("Z") and found["latency_seconds"] >= 0
    assert found["breaker"]["state"] == "closed"


async def test_a_definition_is_warned_of_tools_that_its_agents_do_not_have(api: httpx2.AsyncClient) -> None:
    ask = {"step_type": "agent_task", "agent_type": "sales", "task": "t"}
    inner = {"step_id": "deep", "tools": ["pay"], **ask}
    definition = {
        "workflow_id": "with-tools",
        "steps": [
            {"step_id": "good", "tools": ["get_time", "crm__find"], **ask},
            {"step_id": "bad", "tools": ["get_time", "get_tim"], **ask},
            {"step_id": "each", "step_type": "foreach", "items": [1], "steps": [inner]},
        ],
    }
    report = (await api.post("/workflows/validate", json=definition)).json()
    assert report["valid"] is True
    assert [(issue["code"], issue["pointer"]) for issue in report["warnings"]] == [
        ("tool-not-listed", "/steps/1/tools/1"),
        ("tool-not-listed", "/steps/2/steps/0/tools/0"),
    ]
    assert "'get_time'" in report["warnings"][0]["hint"]
    created = await api.post("/workflows/", json=definition)
    assert (created.status_code, created.json()["warnings"]) == (201, report["warnings"])
    unknown = {**definition, "steps": [{**inner, "agent_type": "nobody"}]}
    report = (await api.post("/workflows/validate", json=unknown)).json()
    assert [issue["code"] for issue in report["errors"]] == ["unknown-agent"]


async def test_an_agent_is_asked_without_a_workflow_and_its_answer_is_the_output(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    body = {
        "task": "qualify {{ input }}",
        "parameters": {"text": "{{ not.evaluated }}", "$literal": 1},
        "input": {"lead": "Acme"},
        "model": "openai/gpt-5-mini",
        "output_schema": {"type": "object"},
        "tools": ["get_time", "crm__find"],
        "session_id": "customer-42",
        "max_turns": 3,
        "budget": {"tokens": 5000, "on_exhausted": "park"},
        "async_execution": False,
    }
    async with working(isolated_settings, {"invoke": [{"turn": {"output": {"qualified": True}}}]}) as stubs:
        answer = await api.post("/agents/sales/invoke", json=body)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert answer.headers["location"] == f"/api/v1/executions/{found['execution_id']}"
        again = await document(api, found["execution_id"])
    assert again == found
    assert (found["status"], found["output"], found["input"]) == ("completed", {"qualified": True}, {"lead": "Acme"})
    assert (found["workflow_id"], found["workflow_version"], found["links"]["workflow"]) == ("agent-sales", None, None)
    asked = stubs.inputs["invoke"]
    for name in ("task", "parameters", "input", "model", "output_schema", "tools", "session_id"):
        assert getattr(asked, name) == body[name], name
    assert asked.reserved is not None

    async def shown() -> bool:
        page = await api.get("/executions/", params={"workflow_id": "agent-sales"})
        return found["execution_id"] in [item["execution_id"] for item in page.json()["items"]]

    await eventually(shown)


async def test_asking_may_return_at_once_or_after_the_wait_and_failures_are_documents(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    at_once = await api.post("/agents/sales/invoke", json={"task": "t"})
    assert (at_once.status_code, at_once.json()["status"]) == (202, "running")
    async with working(isolated_settings, {"invoke": [{"error": {"type": "boom", "retryable": False}}]}):
        found = await until_status(api, at_once.json()["execution_id"], "failed")
        assert found["error"]["type"] == "boom"
        failed = await api.post("/agents/sales/invoke", json={"task": "t", "async_execution": False})
        assert (failed.status_code, failed.json()["status"]) == (200, "failed")
    late = await api.post("/agents/sales/invoke", json={"task": "t", "async_execution": False, "wait_seconds": 0.1})
    assert late.status_code == 202


async def test_a_python_agent_is_asked_like_any_other(api: httpx2.AsyncClient, isolated_settings: Settings) -> None:
    factory = AgentFactory(isolated_settings)
    await factory.register(Planner())
    await factory.aclose()
    async with working(isolated_settings, {"invoke": [{"result": "planned"}]}):
        answer = await api.post("/agents/planner/invoke", json={"task": "plan", "async_execution": False})
    assert (answer.status_code, answer.json()["output"]) == (200, "planned")
    assert (await api.get("/agents/planner/versions")).json()["items"] == []


async def test_what_cannot_be_asked_is_refused_before_anything_starts(api: httpx2.AsyncClient) -> None:
    problem = problem_in(await api.post("/agents/sale/invoke", json={"task": "t"}), 404, "agent-not-found")
    assert "'sales'" in problem["hint"]
    faulty: list[tuple[dict[str, Any], list[str]]] = [
        ({}, ["/task"]),
        ({"task": ""}, ["/task"]),
        ({"task": "t", "more": 1}, ["/more"]),
        ({"task": "t", "tools": ["get_time", "get_tim", "erp__x"]}, ["/tools/1", "/tools/2"]),
        ({"task": "t", "output_schema": {"type": "objekt"}}, ["/output_schema/type"]),
        ({"task": "t", "budget": {}}, ["/budget"]),
        ({"task": "t", "budget": {"tokens": 0}}, ["/budget/tokens"]),
        ({"task": "t", "session_id": "{{ input }}"}, ["/session_id"]),
        ({"task": "t", "max_turns": 0}, ["/max_turns"]),
    ]
    for body, pointers in faulty:
        problem = problem_in(await api.post("/agents/sales/invoke", json=body), 422, "invalid-request")
        assert [issue["pointer"] for issue in problem["errors"]] == pointers, body
    assert (await api.delete("/agents/sales")).status_code == 204
    problem_in(await api.post("/agents/sales/invoke", json={"task": "t"}), 404, "agent-not-found")
    page = await api.get("/executions/", params={"workflow_id": "agent-sale"})
    assert page.json()["items"] == []


async def test_the_same_question_under_a_key_is_asked_once_and_another_one_is_refused(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    body, headers = {"task": "t", "input": {"x": 1}}, {"Idempotency-Key": "question 4711"}
    async with working(isolated_settings, {"invoke": [{"turn": {"output": "yes"}}] * 2}) as stubs:
        asked = (api.post("/agents/sales/invoke", json=body, headers=headers) for _ in range(20))
        answers = await asyncio.gather(*asked)
        assert Counter(answer.status_code for answer in answers) == {202: 1, 200: 19}
        (execution_id,) = {answer.json()["execution_id"] for answer in answers}
        again = await api.post("/agents/sales/invoke", json={**body, "async_execution": False}, headers=headers)
        assert (again.status_code, again.json()["execution_id"]) == (200, execution_id)
        assert (again.json()["status"], again.json()["output"]) == ("completed", "yes")
        others: list[dict[str, Any]] = [{"task": "u"}, {"input": {"x": 2}}, {"model": "p/m"}, {"budget": {"tokens": 5}}]
        for other in others:
            refused = await api.post("/agents/sales/invoke", json={**body, **other}, headers=headers)
            assert problem_in(refused, 409, "idempotency-mismatch")["execution_id"] == execution_id
        different = await api.post("/agents/sales/invoke", json=body, headers={"Idempotency-Key": "question 4712"})
        assert different.status_code == 202
        assert different.json()["execution_id"] != execution_id
        # Another agent's keys, and those of a workflow of the same name, are others.
        await api.put("/agents/other", json={"agent_type": "other"})
        assert (await api.post("/agents/other/invoke", json=body, headers=headers)).status_code == 202
    assert stubs.calls["invoke"] >= 1
