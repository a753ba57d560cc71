"""Which of Temporal's channels go through the claim store, on the installed SDK: an update of it may change that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from orchestrator.client import connect, disconnect
from orchestrator.settings import Settings

FILLER = "x" * 150_000
ONCE = RetryPolicy(maximum_attempts=1)


def large(channel: str) -> dict[str, str]:
    return {"channel": channel, "filler": FILLER}


@activity.defn
async def carry(value: dict[str, str]) -> dict[str, str]:
    assert value["channel"] == "activity input"
    activity.heartbeat(large("heartbeat"))
    return large("activity result")


@activity.defn
async def fail(value: str) -> None:
    raise ApplicationError(value, large("activity failure"))


@workflow.defn
class Carrier:
    def __init__(self) -> None:
        self.signalled: Any = None

    @workflow.signal
    def signal(self, value: dict[str, str]) -> None:
        self.signalled = value

    @workflow.update
    def update(self, value: dict[str, str]) -> dict[str, str]:
        assert value["channel"] == "update input"
        return large("update result")

    @workflow.query
    def query(self, value: dict[str, str]) -> dict[str, str]:
        assert value["channel"] == "query input"
        return large("query result")

    @workflow.run
    async def run(self, value: dict[str, str]) -> dict[str, str]:
        if value["channel"] == "child input":
            return large("child result")
        await workflow.wait_condition(lambda: self.signalled is not None)
        seconds = timedelta(seconds=30)
        result = await workflow.execute_activity(carry, large("activity input"), start_to_close_timeout=seconds)
        assert result == large("activity result")
        try:
            await workflow.execute_activity(fail, "failed", start_to_close_timeout=seconds, retry_policy=ONCE)
        except ActivityError as error:
            assert isinstance(error.cause, ApplicationError)
            assert error.cause.details == (large("activity failure"),)
        assert await workflow.execute_child_workflow(Carrier.run, large("child input")) == large("child result")
        workflow.upsert_memo({"upserted": large("upserted memo")})
        if value["channel"] == "failing":
            raise ApplicationError("over", large("failure"))
        return large("result")


@pytest.fixture
async def client(isolated_settings: Settings) -> AsyncIterator[Client]:
    found = await connect(isolated_settings)
    yield found
    await disconnect(found)


async def channels(settings: Settings) -> set[str]:
    """Return the channels whose values the store holds."""
    redis = Redis.from_url(settings.redis_url)
    found = set()
    async for key in redis.scan_iter(f"{settings.redis_key_prefix}:claim:*"):
        value = await redis.get(key)
        assert isinstance(value, bytes)
        found.add(value.partition(b'"channel":"')[2].partition(b'"')[0].decode())
    await redis.aclose()
    return found


async def test_inputs_results_messages_memos_and_failure_details_are_kept_outside(
    client: Client, isolated_settings: Settings
) -> None:
    queue = isolated_settings.temporal_task_queue
    async with Worker(
        client,
        task_queue=queue,
        workflows=[Carrier],
        activities=[carry, fail],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        handle = await client.start_workflow(
            Carrier.run, large("input"), id=queue, task_queue=queue, memo={"started": large("memo")}
        )
        assert await handle.query(Carrier.query, large("query input")) == large("query result")
        assert await handle.execute_update(Carrier.update, large("update input")) == large("update result")
        await handle.signal(Carrier.signal, large("signal"))
        assert await handle.result() == large("result")
        described = await handle.describe()
        assert await described.memo() == {"started": large("memo"), "upserted": large("upserted memo")}
        failing = await client.start_workflow(Carrier.run, large("failing"), id=f"{queue}-2", task_queue=queue)
        await failing.signal(Carrier.signal, large("signal"))
        with pytest.raises(WorkflowFailureError) as caught:
            await failing.result()
        assert isinstance(caught.value.cause, ApplicationError)
        assert caught.value.cause.details == (large("failure"),)
    for one in (handle, failing):
        assert max([event.ByteSize() async for event in one.fetch_history_events()]) < 4096
    assert await channels(isolated_settings) == {
        "input",
        "result",
        "memo",
        "upserted memo",
        "signal",
        "query input",
        "query result",
        "update input",
        "update result",
        "activity input",
        "activity result",
        "activity failure",
        "heartbeat",
        "child input",
        "child result",
        "failing",
        "failure",
    }


async def test_messages_of_failures_stay_in_the_history(client: Client, isolated_settings: Settings) -> None:
    """Why every text is bounded where it is made: the store takes payloads, and a message is none."""
    queue = isolated_settings.temporal_task_queue

    async with Worker(
        client, task_queue=queue, workflows=[Long], activities=[], workflow_runner=UnsandboxedWorkflowRunner()
    ):
        handle = await client.start_workflow(Long.run, id=queue, task_queue=queue)
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    assert await channels(isolated_settings) == set()
    assert max([event.ByteSize() async for event in handle.fetch_history_events()]) > 140_000


@workflow.defn
class Long:
    @workflow.run
    async def run(self) -> None:
        raise ApplicationError(FILLER)
