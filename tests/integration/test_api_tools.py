"""Tools over REST: declared ones with versions, and the list of all that the worker can call."""

from __future__ import annotations

from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker

from activities.http import HttpActivities
from activities.tools import ToolActivities
from orchestrator.agents import AgentFactory
from orchestrator.agents.tools import PythonTools, tool
from orchestrator.agents.tools.opening import open_tools
from orchestrator.guarded_http import GuardedHttp
from orchestrator.secrets import Secrets
from orchestrator.settings import Settings
from orchestrator.stores.redis import connect_redis
from tests.support.api_server import problem_in, running_api
from tests.support.mcp_fixtures import program

RATE: dict[str, Any] = {"name": "rate", "description": "Rates.", "http": {"url": "https://rates.example.com/v1"}}
REPORT: dict[str, Any] = {"name": "report", "description": "Reports.", "workflow": {"workflow_id": "report"}}


@tool
def greet(name: str) -> str:
    """Greets somebody."""
    return name


async def test_a_declared_tool_has_versions_and_a_life(isolated_settings: Settings) -> None:
    async with running_api(isolated_settings) as api:
        created = await api.post("/tools/", json=RATE)
        assert (created.status_code, created.headers["etag"]) == (201, '"1"')
        assert created.headers["location"] == "/api/v1/tools/rate"
        problem_in(await api.post("/tools/", json=RATE), 409, "tool-exists")
        changed = {**RATE, "description": "Exchange rates."}
        assert (await api.put("/tools/rate", json=changed, headers={"If-Match": '"1"'})).json()["version"] == 2
        problem_in(await api.put("/tools/rate", json=RATE, headers={"If-Match": '"1"'}), 412, "version-conflict")
        assert (await api.put("/tools/rate", json=changed)).json()["version"] == 2
        assert (await api.get("/tools/rate")).json()["record"] == changed
        assert (await api.get("/tools/rate?version=1")).json()["record"] == RATE
        assert (await api.delete("/tools/rate")).status_code == 204
        problem_in(await api.get("/tools/rate"), 404, "tool-not-found")
        assert (await api.get("/tools/rate?version=2")).json()["deleted"] is True
        assert (await api.put("/tools/rate", json=changed)).status_code == 201


async def test_a_faulty_record_is_refused_with_every_issue(isolated_settings: Settings) -> None:
    document = {"name": "get_time", "http": {"url": "{{ arguments.url }}"}}
    async with running_api(isolated_settings) as api:
        problem = problem_in(await api.post("/tools/", json=document), 422, "invalid-tool")
        missing = problem_in(await api.get("/tools/rat"), 404, "tool-not-found")
    assert {issue["pointer"] for issue in problem["errors"]} == {"/name", "/description", "/http/url"}
    assert missing["hint"]


async def test_all_tools_are_listed_with_their_source(temporal_client: Client, isolated_settings: Settings) -> None:
    settings = isolated_settings.model_copy(update={"mcp_servers": {"maps": program(), "gone": program("dead")}})
    redis, http = connect_redis(settings), GuardedHttp()
    factory, python = AgentFactory(settings, redis=redis), PythonTools()
    python.register(greet)
    send = HttpActivities(http, Secrets()).perform
    async with open_tools(settings, redis, send, factory.breakers, python=python) as opened:
        await opened.mcp.tools("maps")
        activities = ToolActivities(opened, factory).all()
        async with (
            Worker(temporal_client, task_queue=settings.temporal_task_queue, activities=activities),
            running_api(settings) as api,
        ):
            for record in (RATE, REPORT):
                await api.post("/tools/", json=record)
            listed = await api.get("/tools/?limit=200")
            assert listed.status_code == 200, listed.text
            whole = listed.json()
            first = (await api.get("/tools/?limit=2")).json()
            second = (await api.get("/tools/", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    await http.aclose()
    await redis.aclose()
    sources = {item["name"]: item["source"] for item in whole["items"]}
    expected = {"get_time": "builtin", "greet": "python", "rate": "http", "report": "workflow", "maps__meta": "mcp"}
    assert expected.items() <= sources.items()
    assert list(sources) == sorted(sources)
    assert [item["name"] for item in first["items"] + second["items"]] == list(sources)[:4]
    assert {server["name"]: server["healthy"] for server in whole["mcp_servers"]} == {"gone": False, "maps": True}


async def test_without_a_worker_the_list_is_a_problem(isolated_settings: Settings) -> None:
    async with running_api(isolated_settings) as api:
        problem_in(await api.get("/tools/"), 503, "no-worker")
