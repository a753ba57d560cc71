"""Agents' conversations between turns: kept outside the history, prolonged, small however long they grow."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from temporalio.client import Client

from orchestrator.client import connect, disconnect
from orchestrator.execution.messages import ExecutionView
from orchestrator.settings import Settings
from orchestrator.stores.claims import ClaimKeeper, claim_driver
from tests.support.executions import worker_with
from tests.support.polling import eventually
from tests.support.stubs import Stubs

LARGE = {"text": "x" * 300_000}
ONE = {"steps": [{"step_id": "first", "step_type": "agent_task", "agent_type": "a", "task": "t"}]}


@pytest.fixture
async def client(isolated_settings: Settings) -> AsyncIterator[Client]:
    """A client whose claims are this test's own."""
    found = await connect(isolated_settings)
    yield found
    await disconnect(found)


def turn(call: dict[str, Any], data: bytes) -> dict[str, Any]:
    """A turn that asks for one tool call and added `data` to the conversation."""
    return {"turn": {"tool_calls": [call], "part": {"claim": hashlib.sha256(data).hexdigest()}}}


@pytest.mark.parametrize("history_events", [None, 10], ids=["in one run", "carried"])
async def test_the_parts_of_an_open_agents_conversation_are_prolonged(
    isolated_settings: Settings, client: Client, history_events: int | None
) -> None:
    driver = claim_driver(client.data_converter)
    assert driver is not None
    parts = {hashlib.sha256(data).hexdigest(): data for data in (b"[1]", b"[2]")}
    for sha256, data in parts.items():
        await driver.claims.put(sha256, data)
    call = {"call_id": "c", "tool": "pay"}
    # The second result is so large that it is a claim itself, and the carried state is several.
    asks = {**call, "requires_approval": True, "arguments": LARGE}
    stubs = Stubs({"first": [turn(call, b"[1]"), turn(asks, b"[2]")]})
    async with worker_with(client, isolated_settings, stubs.all()) as runner:
        handle = await runner.start(ONE, history_events=history_events)

        async def waits() -> bool:
            view: ExecutionView = await handle.query("state", result_type=ExecutionView)
            return view.status == "awaiting"

        await eventually(waits)
        first_run = handle.first_execution_run_id
        assert ((await handle.describe()).run_id == first_run) == (history_events is None)
    store = Redis.from_url(isolated_settings.redis_url)
    keys = [f"{isolated_settings.redis_key_prefix}:claim:{sha256}" for sha256 in parts]
    for key in keys:
        assert await store.expire(key, 60)
    keeper = ClaimKeeper(client, driver)

    async def prolonged() -> bool:
        await keeper.round(open_for=timedelta(0))
        return min([int(await store.ttl(key)) for key in keys]) > 36 * 24 * 3600

    # Lists of executions lag a little behind.
    await eventually(prolonged)
    await handle.terminate()
    await store.aclose()
