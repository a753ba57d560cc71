"""Agents over real MCP servers that die, are slow or change between a turn and its calls: what their model is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from orchestrator.agents.tools import mcp_session
from orchestrator.execution.errors_steps import CircuitOpen
from orchestrator.execution.errors_tools import McpUnavailable
from orchestrator.execution.messages import ApprovalDecision, ExecutionView
from orchestrator.settings import Settings
from tests.fakes.model_behaviours import text, tool_calls
from tests.fakes.model_server import FakeModelServer
from tests.support.executions import outcome
from tests.support.mcp_fixtures import program
from tests.support.polling import eventually
from tests.support.whole_worker import WholeWorker, whole_worker

RETRY = {"max_attempts": 2, "initial_interval_seconds": 0.02, "backoff_coefficient": 1}
Handle = WorkflowHandle[object, ExecutionView]


@pytest.fixture
async def worker(
    isolated_settings: Settings, model_server: FakeModelServer, tmp_path: Path
) -> AsyncIterator[WholeWorker]:
    """The whole worker with three MCP servers: one is sound, one has no patience, one ends as it begins."""
    (tmp_path / "description").write_text("Sends a report.")
    env = {"DESCRIPTION_FILE": str(tmp_path / "description")}
    servers = {"maps": program(env=env), "hasty": program(call_seconds=1), "gone": program("dead")}
    changes = {"openai_base_url": model_server.url, "default_model": "openai/first", "mcp_servers": servers}
    async with whole_worker(isolated_settings.model_copy(update=changes)) as found:
        yield found


async def begun(worker: WholeWorker, **record: Any) -> Handle:
    await worker.factory.put("a", record)
    step = {"step_id": "a", "step_type": "agent_task", "agent_type": "a", "task": "t", "retry": RETRY}
    return await worker.start({"steps": [step]})


async def seen(handle: Handle) -> ExecutionView:
    view: ExecutionView = await handle.query("state", result_type=ExecutionView)
    return view


def told(server: FakeModelServer, call: int = -1) -> list[str]:
    """What the tools gave, as the model was told in one of its calls."""
    return [message["content"] for message in server.calls()[call].body["messages"] if message["role"] == "tool"]


async def test_a_server_that_dies_in_a_call_is_told_and_the_next_turn_finds_it_again(
    worker: WholeWorker, model_server: FakeModelServer
) -> None:
    model_server.then(tool_calls(("maps__die", {}), ("get_time", {})), tool_calls(("maps__meta", {})), text("done"))
    view = await outcome(await begun(worker, mcp_servers=["maps"], tools=["get_time"]))
    assert (view.status, view.output) == ("completed", {"a": "done"}), view.error
    died, time, found = told(model_server)
    assert '"error":"mcp-unavailable"' in died and "maps" in died
    assert "time_zone" in time
    assert "/a/maps__meta:" in found and found.endswith(".0")
    assert len(model_server.calls()) == 3


async def test_a_slow_server_is_a_time_out_that_the_model_is_told(
    worker: WholeWorker, model_server: FakeModelServer
) -> None:
    model_server.then(tool_calls(("hasty__hang", {})), text("done"))
    view = await outcome(await begun(worker, mcp_servers=["hasty"]))
    assert view.status == "completed", view.error
    [slow] = told(model_server)
    assert '"error":"timeout"' in slow and "MCP server 'hasty'" in slow


async def test_a_server_that_is_dead_from_the_beginning_fails_the_step_typed(
    worker: WholeWorker, model_server: FakeModelServer
) -> None:
    view = await outcome(await begun(worker, mcp_servers=["gone"]))
    assert view.error is not None
    assert (view.error.type, view.error.step, view.steps[0].attempts) == ("mcp-unavailable", "a", 2)
    assert model_server.calls() == []


@pytest.mark.parametrize("paused", [False, True])
async def test_a_tool_that_changed_while_people_decided_is_not_called(
    worker: WholeWorker,
    model_server: FakeModelServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    paused: bool,
) -> None:
    monkeypatch.setattr(mcp_session, "LIST_SECONDS", 0)
    policy = {"requires_approval": ["maps__changing"]}
    model_server.then(tool_calls(("maps__changing", {})), text("done"))
    handle = await begun(worker, mcp_servers=["maps"], tool_policy=policy)

    async def awaits() -> bool:
        return (await seen(handle)).status == "awaiting"

    await eventually(awaits)
    (tmp_path / "description").write_text("Sends a report to everybody.")
    if paused:
        await handle.signal("pause", "lunch")
    await handle.execute_update("approve", ApprovalDecision(path="a:t0.0", decision="approved", by="ann"))
    if paused:
        assert len(model_server.calls()) == 1
        await handle.signal("resume")
    view = await outcome(handle)
    assert (view.status, view.output) == ("completed", {"a": "done"}), view.error
    [changed] = told(model_server)
    assert '"error":"tool-list-changed"' in changed
    offered = [tool["function"]["description"] for tool in model_server.calls()[1].body["tools"]]
    assert "Sends a report to everybody." in offered


async def test_a_cancel_ends_an_agent_that_waits_for_a_decision(
    worker: WholeWorker, model_server: FakeModelServer
) -> None:
    policy = {"requires_approval": ["maps__meta"]}
    model_server.then(tool_calls(("maps__meta", {}), ("maps__hang", {})))
    handle = await begun(worker, mcp_servers=["maps"], tool_policy=policy)

    async def awaits() -> bool:
        return bool((await seen(handle)).approvals)

    await eventually(awaits)
    await handle.cancel()
    view = await outcome(handle)
    assert (view.status, [step.state for step in view.steps]) == ("cancelled", ["cancelled"])
    assert len(model_server.calls()) == 1


async def test_an_open_circuit_of_a_server_makes_no_way_for_another_model(
    worker: WholeWorker, model_server: FakeModelServer
) -> None:
    for _ in range(20):
        with suppress(McpUnavailable, CircuitOpen):
            async with worker.factory.breakers.guard("mcp:gone", lease_seconds=1):
                raise McpUnavailable("it is dead")
    handle = await begun(worker, mcp_servers=["gone"], fallback_models=["openai/second"])

    async def parked() -> bool:
        pending = (await handle.describe()).raw_description.pending_activities
        return [item.last_failure.application_failure_info.type for item in pending] == ["circuit-open"]

    await eventually(parked)
    [pending] = (await handle.describe()).raw_description.pending_activities
    assert pending.activity_id == "a"
    await handle.cancel()
    assert (await outcome(handle)).status == "cancelled"
    assert model_server.calls() == []
