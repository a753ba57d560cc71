"""Concurrency keys on a real server: places, queues, refusals, replacement, and what crashes leave behind."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowHandle

from activities.concurrency import ConcurrencyActivities
from activities.control import ControlActivities
from activities.step_activity import step_activity
from orchestrator.client import ConcurrencyGates
from orchestrator.execution.concurrency import AcquireSlot, GateStart, Places, SlotAnswer, gate_id
from orchestrator.execution.messages import (
    ExecutionView,
    HttpRequestInput,
    HttpRequestResult,
    LoadDefinitionInput,
    LoadDefinitionResult,
)
from orchestrator.settings import Settings
from orchestrator.worker import build_worker
from orchestrator.workflows.search_attributes import STATUS
from tests.support.executions import Runner, outcome, worker_with
from tests.support.polling import eventually


class Door:
    """A far end that lets a call through when the test says so, and counts who is inside."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.seen: list[str] = []
        self.most = 0
        self.open = asyncio.Event()

    @step_activity("http_request")
    async def http_request(self, request: HttpRequestInput) -> HttpRequestResult:
        """Stay until the door is open."""
        name = request.url
        self.inside.append(name)
        self.seen.append(name)
        self.most = max(self.most, len(self.inside))
        try:
            await self.open.wait()
            await asyncio.sleep(0.02)
        finally:
            self.inside.remove(name)
        return HttpRequestResult(output={"status": 200, "headers": {}, "body": None})


def limited(**concurrency: Any) -> dict[str, Any]:
    """A workflow of one step under a concurrency key."""
    call = {"step_id": "call", "step_type": "api_call", "method": "GET", "url": "{{ input.name }}"}
    return {"workflow_id": f"limited-{uuid.uuid4().hex[:12]}", "steps": [call], "concurrency": concurrency}


@asynccontextmanager
async def serving(client: Client, settings: Settings, door: Door, **changes: Any) -> AsyncIterator[Runner]:
    seconds = changes.pop("check_seconds", 0.5)
    activities: Sequence[Callable[..., Any]] = [*ConcurrencyActivities(client, seconds).all(), door.http_request]
    async with worker_with(client, settings, activities, **changes) as runner:
        yield runner


async def status(handle: WorkflowHandle[object, ExecutionView]) -> str:
    view: ExecutionView = await handle.query("state", result_type=ExecutionView)
    return view.status


async def places(client: Client, definition: dict[str, Any], key: str = "") -> Places:
    gate = client.get_workflow_handle(gate_id(definition["workflow_id"], key))
    found: GateStart = await gate.query("places", result_type=GateStart)
    return found.places


async def named(runner: Runner, definition: dict[str, Any], name: str) -> WorkflowHandle[object, ExecutionView]:
    return await runner.start(definition, {"name": name})


async def in_line(
    runner: Runner, door: Door, definition: dict[str, Any], count: int, places_taken: int = 1
) -> list[WorkflowHandle[object, ExecutionView]]:
    """Start executions: the first ones have the places, the others queue."""
    first = [await named(runner, definition, f"http://{n}") for n in range(places_taken)]
    await eventually(lambda: len(door.inside) == places_taken)
    others = [await named(runner, definition, f"http://{n}") for n in range(places_taken, count)]

    async def all_wait() -> bool:
        found = await places(runner.client, definition)
        return [item.execution_id for item in found.queue] == [handle.id for handle in others]

    await eventually(all_wait)
    return [*first, *others]


async def until(handle: WorkflowHandle[object, ExecutionView], wanted: str) -> None:
    async def reached() -> bool:
        return await status(handle) == wanted

    await eventually(reached)


async def test_twenty_starts_at_once_never_run_more_than_three_at_a_time(
    temporal_client: Client, settings: Settings
) -> None:
    door, definition = Door(), limited(max=3)
    async with serving(temporal_client, settings, door) as runner:
        handles = await asyncio.gather(*(named(runner, definition, f"http://{n}") for n in range(20)))
        await eventually(lambda: len(door.inside) == 3)

        async def all_came() -> bool:
            found = await places(temporal_client, definition)
            return len(found.holders) + len(found.queue) == 20

        await eventually(all_came)
        assert len(door.seen) == 3
        door.open.set()
        views = await asyncio.gather(*(outcome(handle) for handle in handles))
    assert {view.status for view in views} == {"completed"}
    assert len(set(door.seen)) == 20
    assert door.most == 3


async def test_those_that_wait_are_shown_as_queued_and_run_in_the_order_of_their_starts(
    temporal_client: Client, settings: Settings
) -> None:
    door, definition = Door(), limited(on_conflict="enqueue")
    async with serving(temporal_client, settings, door) as runner:
        handles = await in_line(runner, door, definition, 5)
        for handle in handles[1:]:
            await until(handle, "queued")
        view = await handles[1].query("state", result_type=ExecutionView)
        assert (view.detail, view.input) == ("concurrency", {"name": "http://1"})

        async def listed() -> bool:
            return (await handles[1].describe()).typed_search_attributes.get(STATUS) == "queued"

        await eventually(listed)
        door.open.set()
        for handle in handles:
            assert (await outcome(handle)).status == "completed"
    assert door.seen == [f"http://{n}" for n in range(5)]


async def test_other_keys_and_other_workflows_do_not_wait_for_each_other(
    temporal_client: Client, settings: Settings
) -> None:
    door, definition, other = Door(), limited(key="{{ input.name }}"), limited(key="{{ input.name }}")
    async with serving(temporal_client, settings, door) as runner:
        handles = [
            await named(runner, definition, "http://a"),
            await named(runner, definition, "http://b"),
            await named(runner, other, "http://a"),
        ]
        await eventually(lambda: len(door.inside) == 3)
        door.open.set()
        assert {(await outcome(handle)).status for handle in handles} == {"completed"}


async def test_a_key_over_256_characters_is_known_by_its_hash(temporal_client: Client, settings: Settings) -> None:
    door, definition = Door(), limited(key="{{ input.name }}")
    async with serving(temporal_client, settings, door) as runner:
        long = "http://" + "é" * 2_000
        first, second = await named(runner, definition, long), await named(runner, definition, long)
        third = await named(runner, definition, long + "!")
        await until(second, "queued")
        await eventually(lambda: len(door.inside) == 2)
        door.open.set()
        assert {(await outcome(handle)).status for handle in (first, second, third)} == {"completed"}


async def test_an_execution_that_finds_no_place_fails_naming_who_has_it(
    temporal_client: Client, settings: Settings
) -> None:
    """What the builder, schedules and children start asks by itself."""
    door, definition = Door(), limited(on_conflict="reject")
    async with serving(temporal_client, settings, door) as runner:
        first = await named(runner, definition, "http://1")
        await eventually(lambda: len(door.inside) == 1)
        view = await outcome(await named(runner, definition, "http://2"))
        assert view.status == "failed"
        assert view.error is not None
        assert (view.error.type, view.error.details["holders"]) == ("concurrency-limit", [first.id])
        assert first.id in view.error.message
        assert {step.state for step in view.steps} == {"cancelled"}
        door.open.set()
        assert (await outcome(first)).status == "completed"
        assert (await outcome(await named(runner, definition, "http://3"))).status == "completed"
    assert door.seen == ["http://1", "http://3"]


async def test_the_newest_execution_replaces_the_running_one_once_that_has_closed(
    temporal_client: Client, settings: Settings
) -> None:
    door, definition = Door(), limited(on_conflict="cancel_running")
    async with serving(temporal_client, settings, door) as runner:
        first = await named(runner, definition, "http://1")
        await eventually(lambda: len(door.inside) == 1)
        second = await named(runner, definition, "http://2")
        assert (await outcome(first)).status == "cancelled"
        await eventually(lambda: door.inside == ["http://2"])
        door.open.set()
        assert (await outcome(second)).status == "completed"
    assert door.most == 1


async def test_of_many_that_start_at_once_the_newest_alone_completes(
    temporal_client: Client, settings: Settings
) -> None:
    door, definition = Door(), limited(on_conflict="cancel_running")
    async with serving(temporal_client, settings, door) as runner:
        handles = [await named(runner, definition, f"http://{number}") for number in range(6)]
        ends = await asyncio.gather(*(outcome(handle) for handle in handles[:-1]))
        assert [view.status for view in ends] == ["cancelled"] * 5
        door.open.set()
        assert (await outcome(handles[-1])).status == "completed"
    assert door.most == 1


async def test_an_execution_that_is_cancelled_in_the_queue_leaves_it(
    temporal_client: Client, settings: Settings
) -> None:
    door, definition = Door(), {**limited(), "on_cancel": [{"step_id": "x", "step_type": "transform", "value": 1}]}
    async with serving(temporal_client, settings, door) as runner:
        handles = await in_line(runner, door, definition, 3)
        await handles[1].cancel()
        assert (await outcome(handles[1])).status == "cancelled"

        async def left() -> bool:
            return [item.execution_id for item in (await places(temporal_client, definition)).queue] == [handles[2].id]

        await eventually(left)
        door.open.set()
        assert (await outcome(handles[2])).status == "completed"
    assert door.seen == ["http://0", "http://2"]


async def test_a_pause_in_the_queue_holds_the_execution_when_its_turn_comes(
    temporal_client: Client, settings: Settings
) -> None:
    door, definition = Door(), limited()
    async with serving(temporal_client, settings, door) as runner:
        handles = await in_line(runner, door, definition, 2)
        await handles[1].signal("pause", "not yet")

        async def held() -> bool:
            return bool((await handles[1].query("state", result_type=ExecutionView)).holds)

        await eventually(held)
        assert await status(handles[1]) == "queued"
        door.open.set()
        await until(handles[1], "paused")
        await handles[1].signal("resume")
        assert (await outcome(handles[1])).status == "completed"


async def test_the_place_of_a_terminated_holder_goes_to_the_next(temporal_client: Client, settings: Settings) -> None:
    door, definition = Door(), limited()
    async with serving(temporal_client, settings, door) as runner:
        handles = await in_line(runner, door, definition, 4)
        # The second is gone when its turn comes; the third gets the place instead.
        await handles[1].terminate()
        await handles[0].terminate()
        await eventually(lambda: "http://2" in door.inside)
        door.open.set()
        assert (await outcome(handles[3])).status == "completed"
    assert "http://1" not in door.seen


async def test_the_queue_survives_the_end_of_its_worker(temporal_client: Client, settings: Settings) -> None:
    door, definition = Door(), limited(max=2)
    async with serving(temporal_client, settings, door) as runner:
        handles = await in_line(runner, door, definition, 6, places_taken=2)
    again = Door()
    again.open.set()
    activities = [*ConcurrencyActivities(temporal_client, 0.5).all(), again.http_request]
    async with build_worker(temporal_client, runner.settings, [*ControlActivities(temporal_client).all(), *activities]):
        assert {(await outcome(handle)).status for handle in handles} == {"completed"}
    assert again.most <= 2


async def test_a_gate_that_continues_as_new_forgets_nobody(temporal_client: Client, settings: Settings) -> None:
    door, definition = Door(), limited(max=2)
    async with serving(temporal_client, settings, door, check_seconds=60) as runner:
        gate = gate_id(definition["workflow_id"], "")
        start = GateStart(workflow_id=definition["workflow_id"], key="", check_seconds=60, history_events=40)
        queue = runner.settings.temporal_task_queue
        first_run = await temporal_client.start_workflow("ConcurrencyGate", start, id=gate, task_queue=queue)
        door.open.set()
        handles = [await named(runner, definition, f"http://{n}") for n in range(30)]
        views = await asyncio.gather(*(outcome(handle) for handle in handles))
        assert {view.status for view in views} == {"completed"}
        found = await temporal_client.get_workflow_handle(gate).describe()
        assert found.run_id != first_run.result_run_id
        assert found.history_length < 80
    assert door.most <= 2
    assert len(door.seen) == 30


async def test_a_gate_that_nobody_needs_completes_and_starts_afresh(
    temporal_client: Client, settings: Settings
) -> None:
    door, definition = Door(), limited()
    door.open.set()
    async with serving(temporal_client, settings, door) as runner:
        assert (await outcome(await named(runner, definition, "http://1"))).status == "completed"
        gate = temporal_client.get_workflow_handle(gate_id(definition["workflow_id"], ""))
        await asyncio.wait_for(gate.result(), 60)
        assert (await outcome(await named(runner, definition, "http://2"))).status == "completed"


async def test_a_definition_without_concurrency_pays_nothing(temporal_client: Client, settings: Settings) -> None:
    door = Door()
    door.open.set()
    plain = {key: value for key, value in limited().items() if key != "concurrency"}
    async with serving(temporal_client, settings, door) as runner:
        handle = await named(runner, plain, "http://1")
        assert (await outcome(handle)).status == "completed"
        kinds = [event.event_type async for event in handle.fetch_history_events()]
    # Started, three events for each of two workflow tasks, three for the activity, completed.
    assert len(kinds) == 11


async def test_a_key_whose_expression_fails_fails_the_execution(temporal_client: Client, settings: Settings) -> None:
    door = Door()
    async with serving(temporal_client, settings, door) as runner:
        view = await outcome(await named(runner, limited(key="{{ input.customer.id }}"), "http://1"))
    assert view.status == "failed"
    assert view.error is not None
    assert view.error.type == "E_MISSING"
    assert "/concurrency/key" in view.error.message


async def test_the_sandboxed_and_the_uncached_worker_do_the_same(temporal_client: Client, settings: Settings) -> None:
    for change in ({"worker_sandboxed": True}, {"worker_max_cached_workflows": 0}):
        door, definition = Door(), limited()
        door.open.set()
        async with serving(temporal_client, settings, door, **change) as runner:
            handles = [await named(runner, definition, f"http://{n}") for n in range(4)]
            assert {(await outcome(handle)).status for handle in handles} == {"completed"}
        assert door.most == 1


async def test_a_place_that_nobody_uses_is_taken_back(temporal_client: Client, settings: Settings) -> None:
    """An API that dies between the place and the start leaves such a holder."""
    door, definition = Door(), limited()
    door.open.set()
    async with serving(temporal_client, settings, door) as runner:
        request = AcquireSlot(workflow_id=definition["workflow_id"], key="", execution_id="ex-never-started")
        queue = runner.settings.temporal_task_queue
        answer = await ConcurrencyGates(temporal_client, 0.5).acquire(request, task_queue=queue)
        assert answer == SlotAnswer(granted=True)
        assert (await outcome(await named(runner, definition, "http://1"))).status == "completed"


async def test_a_child_asks_for_its_own_place(temporal_client: Client, settings: Settings) -> None:
    door, child = Door(), limited()

    @activity.defn(name="load_definition")
    async def load_definition(request: LoadDefinitionInput) -> LoadDefinitionResult:
        return LoadDefinitionResult(definition=child, version=1, sha256=child["workflow_id"])

    call = {"step_type": "workflow", "workflow_id": child["workflow_id"], "input": {"name": "http://{{ index }}"}}
    each = {"step_id": "each", "step_type": "foreach", "items": [1, 2, 3], "steps": [{"step_id": "child", **call}]}
    concurrency = ConcurrencyActivities(temporal_client, 0.5).all()
    activities: list[Callable[..., Any]] = [*concurrency, door.http_request, load_definition]
    async with worker_with(temporal_client, settings, activities) as runner:
        handle = await runner.start({"name": "parent", "steps": [each]})
        await eventually(lambda: len(door.inside) == 1)
        door.open.set()
        assert (await outcome(handle)).status == "completed"
    assert (door.most, len(door.seen)) == (1, 3)
