"""A worker that dies in the middle of an agent's loop, and loops that people cancel: counted at both far ends."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest

from orchestrator.client import connect, disconnect
from tests.fakes.model_behaviours import Gate, hang
from tests.fakes.model_server import FakeModelServer
from tests.support.clock import awake_seconds
from tests.support.looping_agents import LoopingAgent, key_of, looping, turns_seen, word
from tests.support.polling import wait_for
from tests.support.rest import Rest, states
from tests.support.service_processes import Services
from tests.support.tool_endpoint import ToolEndpoint, tool_endpoint

TURNS = 6
CANCEL_SECONDS = 5.0
DETECTION = {"defaults": {"timeouts": {"heartbeat_seconds": 3}}}
MODEL_POINTS = [f"model{turn}" for turn in range(TURNS)]
TOOL_POINTS = [f"tool{turn}" for turn in range(TURNS - 1)]


@pytest.fixture
def endpoint() -> Iterator[ToolEndpoint]:
    """The far end of the agents' tool."""
    with tool_endpoint() as server:
        yield server


async def _noted(services: Services, execution_id: str) -> bool:
    """Whether Temporal has heard of the model call in flight, by a heartbeat."""
    client = await connect(services.settings)
    try:
        described = await client.get_workflow_handle(execution_id).describe()
        pending = described.raw_description.pending_activities
        return any(b"calling" in payload.data for item in pending for payload in item.heartbeat_details.payloads)
    finally:
        await disconnect(client)


def test_a_worker_killed_at_any_turn_of_a_loop_repeats_only_the_call_in_flight(
    services: Services, rest: Rest, model: FakeModelServer, endpoint: ToolEndpoint
) -> None:
    """Eleven loops stand at eleven points, each in another call, when the worker dies."""
    agent, gate = LoopingAgent(rest, endpoint), Gate()
    for point in MODEL_POINTS + TOOL_POINTS:
        held = int(point[-1]) if point in MODEL_POINTS else None
        model.always(looping(point, agent.tool, TURNS, held=held, gate=gate), task=word(point))
        if held is None:
            endpoint.hold(mark=point, turn=int(point[-1]))
    ids = {point: agent.start(point, **DETECTION) for point in MODEL_POINTS + TOOL_POINTS}
    wait_for(lambda: all(turns_seen(model, point)[int(point[-1])] == 1 for point in MODEL_POINTS), 30)
    wait_for(lambda: all(endpoint.requests(mark=point, turn=int(point[-1])) for point in TOOL_POINTS), 30)
    wait_for(lambda: all(asyncio.run(_noted(services, ids[point])) for point in MODEL_POINTS))
    services.worker.kill()
    services.worker.launch()
    gate.open()
    endpoint.open()
    for point, execution_id in ids.items():
        found = rest.end_of(execution_id, 60)
        assert (found["status"], found["output"]) == ("completed", {"loop": f"done {point}"}), found["error"]
        at = int(point[-1])
        repeated = Counter({at: 1})
        asked = Counter(range(TURNS)) + (repeated if point in MODEL_POINTS else Counter())
        called = Counter(range(TURNS - 1)) + (repeated if point in TOOL_POINTS else Counter())
        assert turns_seen(model, point) == asked
        assert Counter(request.body["turn"] for request in endpoint.requests(mark=point)) == called
        # One key for one turn, however often it is asked; another one for every other.
        assert {key_of(call) for call in model.calls(word(point))} == _model_keys(execution_id)
        keys = {(request.body["turn"], request.key) for request in endpoint.requests(mark=point)}
        assert len({key for _, key in keys}) == len(keys) == TURNS - 1
        assert all(key.startswith(f"{execution_id}/loop/{agent.tool}:") for _, key in keys)
        ledger = rest.expect(200, "GET", f"/executions/{execution_id}/ledger")
        outcomes = Counter(call["outcome"] for call in ledger["calls"])
        assert outcomes == Counter(ok=TURNS, lost=1 if point in MODEL_POINTS else 0) + Counter()
        assert (ledger["total"]["input_tokens"], ledger["total"]["output_tokens"]) == (11 * TURNS, 7 * TURNS)
        assert (ledger["total"]["presumed_tokens"] > 0) == (point in MODEL_POINTS)
        assert ledger["total"]["tool_calls"] == TURNS - 1


def _model_keys(execution_id: str) -> set[str]:
    path = f"{execution_id}/loop"
    return {f"{path}/m{turn}" if turn else path for turn in range(TURNS)}


def test_a_worker_killed_between_any_two_turns_repeats_nothing(
    services: Services, rest: Rest, model: FakeModelServer, endpoint: ToolEndpoint
) -> None:
    """Five loops are paused, each after the tool call of another turn; nothing is in flight."""
    agent = LoopingAgent(rest, endpoint)
    ids: dict[str, str] = {}
    for turn in range(TURNS - 1):
        mark = f"between{turn}"
        model.always(looping(mark, agent.tool, TURNS), task=word(mark))
        endpoint.hold(mark=mark, turn=turn)
        ids[mark] = agent.start(mark)
    for mark, execution_id in ids.items():
        wait_for(lambda mark=mark: len(endpoint.requests(mark=mark, turn=int(mark[-1]))) == 1, 30)  # type: ignore[misc]
        assert rest.act(execution_id, "pause")["status"] == "paused"
    endpoint.open()
    for execution_id in ids.values():
        wait_for(lambda execution_id=execution_id: not _pending(services, execution_id))  # type: ignore[misc]
    services.worker.kill()
    services.worker.launch()
    for execution_id in ids.values():
        rest.act(execution_id, "resume")
    for mark, execution_id in ids.items():
        found = rest.end_of(execution_id, 40)
        assert found["output"] == {"loop": f"done {mark}"}, found["error"]
        assert turns_seen(model, mark) == Counter(range(TURNS))
        assert Counter(request.body["turn"] for request in endpoint.requests(mark=mark)) == Counter(range(TURNS - 1))


def _pending(services: Services, execution_id: str) -> int:
    async def count() -> int:
        client = await connect(services.settings)
        try:
            described = await client.get_workflow_handle(execution_id).describe()
            return len(described.raw_description.pending_activities)
        finally:
            await disconnect(client)

    return asyncio.run(count())


@pytest.mark.parametrize("hanging", ["model", "tool"])
def test_a_cancel_in_the_middle_of_a_loop_ends_it_within_five_seconds(
    services: Services, rest: Rest, model: FakeModelServer, endpoint: ToolEndpoint, hanging: str
) -> None:
    mark = f"hanging-{hanging}"
    agent = LoopingAgent(rest, endpoint)
    model.then(looping(mark, agent.tool, TURNS), task=word(mark))
    model.always(hang() if hanging == "model" else looping(mark, agent.tool, TURNS), task=word(mark))
    if hanging != "model":
        endpoint.hold(mark=mark, turn=1)
    execution_id = agent.start(mark)
    if hanging == "model":
        wait_for(lambda: turns_seen(model, mark)[1] == 1)
    else:
        wait_for(lambda: len(endpoint.requests(mark=mark, turn=1)) == 1)
    began = awake_seconds()
    rest.act(execution_id, "cancel", reason="a mistake")
    found = rest.end_of(execution_id, CANCEL_SECONDS)
    assert awake_seconds() - began < CANCEL_SECONDS
    assert (found["status"], states(found)) == ("cancelled", {"loop": "cancelled"})
    endpoint.open()
    # Nothing begins after a cancel.
    assert turns_seen(model, mark) == Counter({0: 1, 1: 1})
    assert len(endpoint.requests(mark=mark)) == (1 if hanging == "model" else 2)
