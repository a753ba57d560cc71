"""The activity `call_tool` over a real Redis, a real HTTP server and a real MCP server."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from activities.http import HttpActivities
from activities.tools import ToolActivities
from orchestrator.agents import AgentFactory
from orchestrator.agents.tools import PythonTools, ToolContext, tool
from orchestrator.agents.tools.opening import load_tools, open_tools
from orchestrator.agents.tools.records import check_tool, tool_document, tool_sha256
from orchestrator.execution.messages import StepCall
from orchestrator.execution.messages_agents import CallToolInput, CallToolResult
from orchestrator.execution.messages_tools import DescribeToolsResult
from orchestrator.guarded_http import AllowList, GuardedHttp
from orchestrator.secrets import Secrets
from orchestrator.secrets.providers import EnvironmentSecrets
from orchestrator.settings import Settings
from orchestrator.stores.redis import connect_redis
from orchestrator.stores.tools import ToolStore
from tests.support.activity_environment import activity_environment
from tests.support.mcp_fixtures import program
from tests.unit.guarded_http.raw_server import Received, answer, raw_server

CALL = StepCall(execution_id="ex-1", workflow_id="w", path="ask", step_id="ask", idempotency_key="ex-1/ask/t0.0")


@tool
def greet(name: str, context: ToolContext) -> str:
    """Greets somebody."""
    return f"hello {name} ({context.idempotency_key})"


class Tools:
    """A worker's tool activities and what they stand on."""

    def __init__(self, activities: ToolActivities, store: ToolStore, factory: AgentFactory) -> None:
        self.activities, self.store, self.factory = activities, store, factory

    async def call(self, name: str, arguments: Any = None, **fields: Any) -> Any:
        request = CallToolInput(call=CALL, tool=name, arguments=arguments, **fields)
        result = await activity_environment().run(self.activities.call_tool, request)
        assert isinstance(result, CallToolResult)
        return result.output

    async def failure(self, name: str, arguments: Any = None, **fields: Any) -> ApplicationError:
        with pytest.raises(ApplicationError) as caught:
            await self.call(name, arguments, **fields)
        return caught.value

    async def declare(self, **record: Any) -> None:
        document = tool_document(check_tool({"description": "A tool.", **record}))
        await self.store.create(document, tool_sha256(document))


@pytest.fixture
async def tools(redis_url: str) -> AsyncIterator[Tools]:
    settings = Settings(
        _env_file=None,
        redis_url=redis_url,
        redis_key_prefix=f"test-{uuid.uuid4().hex[:12]}",
        mcp_servers={"maps": program(), "gone": program("dead")},
    )
    python = PythonTools()
    python.register(greet)
    async with AsyncExitStack() as stack:
        redis = connect_redis(settings)
        stack.push_async_callback(redis.aclose)
        http = GuardedHttp(AllowList.parse(["127.0.0.1"]))
        stack.push_async_callback(http.aclose)
        factory = AgentFactory(settings, redis=redis)
        secrets = Secrets([("the test", EnvironmentSecrets({"SECRETS__RATES_KEY": "s3cret-value"}))])
        send = HttpActivities(http, secrets).perform
        opened = await stack.enter_async_context(open_tools(settings, redis, send, factory.breakers, python=python))
        yield Tools(ToolActivities(opened, factory), ToolStore(redis, settings.redis_key_prefix), factory)


async def test_a_python_tool_is_called_with_the_steps_key(tools: Tools) -> None:
    assert await tools.call("greet", {"name": "Ada"}) == "hello Ada (ex-1/ask/t0.0)"


async def test_a_declared_tool_sends_its_request(tools: Tools) -> None:
    def rates(request: Received) -> bytes:
        return answer(200, json.dumps({"rate": 1.5, "of": request.target}).encode(), Content_Type="application/json")

    async with raw_server(rates) as server:
        http = {
            "method": "POST",
            "url": f"{server.url}/v1/{{{{ arguments.base }}}}",
            "json": {"day": "{{ arguments.day ?? null }}"},
            "auth": {"bearer": "{{ secrets.RATES_KEY }}"},
            "output": {"rate": "{{ response.body.rate }}", "of": "{{ response.body.of }}"},
        }
        await tools.declare(name="rate", parameters={"type": "object"}, http=http)
        assert await tools.call("rate", {"base": "EUR/x"}) == {"rate": 1.5, "of": "/v1/EUR%2Fx"}
    sent = server.requests[0]
    assert sent.headers["idempotency-key"] == "ex-1/ask/t0.0"
    assert sent.headers["authorization"] == "Bearer s3cret-value"
    assert json.loads(sent.body) == {"day": None}


async def test_a_declared_tool_fails_as_an_api_call_does(tools: Tools) -> None:
    async with raw_server(lambda request: answer(503, b"later")) as server:
        await tools.declare(name="rate", http={"url": f"{server.url}/v1"})
        error = await tools.failure("rate")
        assert (error.type, error.non_retryable) == ("http-503", False)
    await tools.declare(name="inside", http={"url": "http://169.254.169.254/latest"})
    blocked = await tools.failure("inside")
    assert (blocked.type, blocked.non_retryable) == ("http-blocked", True)


async def test_the_built_in_request_goes_through_the_guard_and_shows_a_bounded_body(tools: Tools) -> None:
    async with raw_server(lambda request: answer(404, b"x" * 100_000, Content_Type="text/plain")) as server:
        found = await tools.call("http_request", {"url": server.url})
    assert (found["status"], len(found["body"]), found["truncated"]) == (404, 65_536, True)
    assert (await tools.failure("http_request", {"url": "http://10.0.0.1/"})).type == "http-blocked"
    assert (await tools.failure("http_request", {"url": "gopher://x"})).type == "invalid-tool-arguments"


async def test_the_time_is_told_in_a_zone(tools: Tools) -> None:
    assert (await tools.call("get_time"))["time"].endswith("+00:00")
    assert (await tools.call("get_time", {"time_zone": "Asia/Tokyo"}))["time"].endswith("+09:00")
    assert (await tools.failure("get_time", {"time_zone": "../etc/passwd"})).type == "invalid-tool-arguments"


async def test_an_agent_calls_only_what_its_record_lists(tools: Tools) -> None:
    document = {"agent_type": "guide", "tools": ["greet"], "mcp_servers": ["maps"]}
    await tools.factory._stores.agents.create(document, "0" * 64)
    agent = {"agent_type": "guide", "agent_version": 1}
    assert str(await tools.call("greet", {"name": "Ada"}, **agent)).startswith("hello Ada")
    assert await tools.call("find.place", {"name": "Bern"}, mcp_server="maps", **agent) == {
        "name": "Bern",
        "latitude": 46.9,
    }
    refused = await tools.failure("get_time", **agent)
    assert (refused.type, refused.non_retryable) == ("tool-not-allowed", True)


@pytest.mark.parametrize(
    ("tool_name", "fields", "error_type", "final"),
    [
        ("gret", {}, "tool-not-found", True),
        ("greet", {"arguments": {"name": 5}}, "invalid-tool-arguments", True),
        ("greet", {"arguments": ["Ada"]}, "invalid-tool-arguments", True),
        ("report", {}, "tool-not-callable", True),
        ("x", {"mcp_server": "nowhere"}, "mcp-server-not-found", True),
        ("x", {"mcp_server": "gone"}, "mcp-unavailable", False),
    ],
)
async def test_failures_are_typed_and_say_whether_to_try_again(
    tools: Tools, tool_name: str, fields: dict[str, Any], error_type: str, final: bool
) -> None:
    await tools.declare(name="report", workflow={"workflow_id": "report"})
    error = await tools.failure(tool_name, **fields)
    assert (error.type, error.non_retryable) == (error_type, final)


async def test_a_worker_tells_what_it_can_call(tools: Tools) -> None:
    await tools.call("meta", mcp_server="maps")
    found = await activity_environment().run(tools.activities.describe_tools)
    assert isinstance(found, DescribeToolsResult)
    sources = {view.name: view.source for view in found.tools}
    assert {"get_time": "builtin", "greet": "python"}.items() <= sources.items()
    assert sources["maps__meta"] == "mcp"
    assert {server.name: server.healthy for server in found.mcp_servers} == {"gone": False, "maps": True}


async def test_records_of_a_folder_are_stored_once(redis_url: str, tmp_path: Path) -> None:
    record = {"name": "rate", "description": "Rates.", "http": {"url": "https://rates.example.com/"}}
    (tmp_path / "rate.json").write_text(json.dumps(record))
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    settings = Settings(_env_file=None, redis_url=redis_url, redis_key_prefix=prefix, tools_path=tmp_path)
    assert await load_tools(settings, PythonTools()) == ["rate"]
    assert await load_tools(settings, PythonTools()) == []
