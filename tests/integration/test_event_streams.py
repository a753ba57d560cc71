"""Event streams over HTTP: every reader gets the same bytes, whatever happens to readers and executions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis
from temporalio.client import Client

from api import event_frames, event_hub
from orchestrator.settings import Settings
from orchestrator.stores.event_streams import EventStreams
from orchestrator.stores.redis import connect_redis
from orchestrator.stores.token_streams import TokenStreams
from tests.integration.test_api_executions import TWO_STEPS, Scripts, document, started, states, until_status, working
from tests.support.api_server import problem_in, running_api
from tests.support.event_streams import Frame, last_states, watched
from tests.support.polling import eventually

ONCE_MORE: Scripts = {
    "first": [{"result": 1}],
    "second": [{"error": {"type": "boom", "message": "not yet"}}, {"result": 2}],
}
WIDE: dict[str, Any] = {
    "name": "Wide",
    "steps": [
        {
            "step_id": "each",
            "step_type": "foreach",
            "items": "{{ range(40) }}",
            "steps": [{"step_id": "call", "step_type": "agent_task", "agent_type": "sales", "task": "t"}],
        }
    ],
}


@pytest.fixture
async def api(isolated_settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with running_api(isolated_settings) as client:
        await client.post("/agents/", json={"agent_type": "sales"})
        assert (await client.put("/workflows/two", json=TWO_STEPS)).status_code == 201
        assert (await client.put("/workflows/wide", json=WIDE)).status_code == 201
        yield client


@pytest.fixture
async def redis(isolated_settings: Settings) -> AsyncIterator[Redis]:
    client = connect_redis(isolated_settings)
    yield client
    await client.aclose()


def kinds(frames: list[Frame]) -> list[str | None]:
    return [frame.kind for frame in frames]


async def test_a_stream_tells_every_state_of_every_step_in_order_and_ends_with_the_end(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    async with working(isolated_settings, ONCE_MORE):
        frames = await watched(api, await started(api))
    steps = [(frame.data["path"], frame.data["state"]) for frame in frames if frame.kind == "step"]
    assert steps == [("first", "running"), ("first", "completed"), ("second", "running"), ("second", "completed")]
    assert kinds(frames)[-2:] == ["snapshot", "end"]
    end = frames[-1].data
    assert (end["status"], "error" in end) == ("completed", False)
    seqs = [frame.data["seq"] for frame in frames if frame.data["seq"] is not None and frame.kind != "snapshot"]
    assert seqs == list(range(1, len(seqs) + 1))
    second = next(step for step in frames[-2].data["steps"] if step["path"] == "second")
    assert (second["state"], second["attempt"]) == ("completed", 2)


async def test_attempts_that_the_workflow_never_hears_of_are_told_by_the_activity(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    async with working(isolated_settings, ONCE_MORE):
        frames = await watched(api, await started(api))
    attempts = [frame.data for frame in frames if frame.kind == "attempt"]
    assert [(one["path"], one["state"], one["attempt"]) for one in attempts] == [
        ("second", "retrying", 1),
        ("second", "running", 2),
    ]
    assert attempts[0]["error"] == {"type": "boom", "message": "not yet"}


async def test_a_failed_execution_ends_with_its_error(api: httpx2.AsyncClient, isolated_settings: Settings) -> None:
    scripts: Scripts = {"first": [{"error": {"type": "boom", "message": "no", "retryable": False}}]}
    async with working(isolated_settings, scripts):
        frames = await watched(api, await started(api))
    assert frames[-1].data["status"] == "failed"
    assert frames[-1].data["error"] == {"type": "boom", "message": "step 'first': no"}
    assert last_states(frames) == {"first": "failed", "second": "cancelled"}


async def test_fifty_reconnects_give_the_same_bytes_as_one_reader_gets(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    slowly: Scripts = {f"each[{index}].call": [{"sleep": index / 20, "result": 1}] for index in range(40)}
    async with working(isolated_settings, slowly):
        execution_id = await started(api, "wide")
        whole = asyncio.create_task(watched(api, execution_id))
        pieces: list[Frame] = []
        for connection in range(50):
            after = pieces[-1].id if pieces else None
            pieces += await watched(api, execution_id, after=after, most=1 + connection % 3)
        pieces += await watched(api, execution_id, after=pieces[-1].id)
        assert [frame.text for frame in pieces] == [frame.text for frame in await whole]
    found = await document(api, execution_id)
    assert found["status"] == pieces[-1].data["status"] == "completed"
    assert {path: state for path, state in last_states(pieces).items() if "[" not in path} == states(found)
    assert last_states(pieces)["each[39].call"] == "completed"


async def test_a_reader_that_has_the_end_is_told_not_to_come_back(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    async with working(isolated_settings):
        execution_id = await started(api)
        frames = await watched(api, execution_id)
    answer = await api.get(f"/executions/{execution_id}/events", headers={"Last-Event-ID": frames[-1].id or ""})
    assert (answer.status_code, answer.content) == (204, b"")


async def test_an_unknown_execution_is_404_and_a_place_that_is_none_is_422(api: httpx2.AsyncClient) -> None:
    problem_in(await api.get("/executions/nothing/events"), 404, "execution-not-found")
    answer = await api.get("/executions/nothing/events", headers={"Last-Event-ID": "1-1; drop"})
    assert problem_in(answer, 422, "invalid-request")["errors"][0]["pointer"] == "/Last-Event-ID"


async def test_the_end_of_a_terminated_execution_is_told_though_no_workflow_code_ran(
    api: httpx2.AsyncClient, isolated_settings: Settings, temporal_client: Client
) -> None:
    async with working(isolated_settings, {"first": [{"hang": True}]}):
        execution_id = await started(api)
        reading = asyncio.create_task(watched(api, execution_id))
        await until_status(api, execution_id, "running")
        await temporal_client.get_workflow_handle(execution_id).terminate("enough")
        frames = await reading
        again = await watched(api, execution_id)
    assert frames[-1].data["status"] == "terminated"
    assert frames[-1].data["error"]["type"] == "terminated"
    assert last_states(frames) == {"first": "cancelled", "second": "cancelled"}
    assert [frame.text for frame in again] == [frame.text for frame in frames]


async def test_an_end_that_is_told_without_a_worker_takes_nothing_back(
    api: httpx2.AsyncClient, isolated_settings: Settings, temporal_client: Client
) -> None:
    """Temporal alone does not know of steps that had no activity."""
    steps = [
        {"step_id": "made", "step_type": "transform", "value": 1},
        {**TWO_STEPS["steps"][0], "depends_on": ["made"]},
    ]
    assert (await api.put("/workflows/mixed", json={"name": "Mixed", "steps": steps})).status_code == 201
    async with working(isolated_settings, {"first": [{"hang": True}]}) as stubs:
        execution_id = await started(api, "mixed")
        await eventually(lambda: stubs.calls["first"] == 1)
    await temporal_client.get_workflow_handle(execution_id).terminate("enough")
    frames = await watched(api, execution_id)
    assert frames[-1].data["status"] == "terminated"
    assert frames[-2].data["truncated"]
    assert last_states(frames) == {"made": "completed", "first": "cancelled"}


async def test_a_reader_whose_place_was_trimmed_gets_a_snapshot_first(
    api: httpx2.AsyncClient, isolated_settings: Settings, redis: Redis
) -> None:
    async with working(isolated_settings):
        execution_id = await started(api)
        whole = await watched(api, execution_id)
        await redis.xtrim(
            EventStreams(redis, isolated_settings.redis_key_prefix).key(execution_id), maxlen=3, approximate=False
        )
        for after in (None, whole[0].id):
            frames = await watched(api, execution_id, after=after)
            assert kinds(frames)[0] == "snapshot"
            assert frames[0].id is None
            assert last_states(frames[:1]) == {"first": "completed", "second": "completed"}
            assert [frame.text for frame in frames[1:]] == [frame.text for frame in whole[-3:]]
        assert [frame.text for frame in await watched(api, execution_id, after=whole[-3].id)] == [
            frame.text for frame in whole[-2:]
        ]


async def test_a_stream_that_redis_lost_is_made_up_from_the_execution(
    api: httpx2.AsyncClient, isolated_settings: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_frames, "LOOK_SECONDS", 0.5)
    async with working(isolated_settings):
        execution_id = await started(api)
        await watched(api, execution_id)
        await redis.delete(EventStreams(redis, isolated_settings.redis_key_prefix).key(execution_id))
        frames = await watched(api, execution_id)
    assert kinds(frames) == ["snapshot", "end"]
    assert last_states(frames) == {"first": "completed", "second": "completed"}


async def test_a_reader_whose_place_was_lost_with_its_stream_gets_a_snapshot_first(
    api: httpx2.AsyncClient, isolated_settings: Settings, redis: Redis
) -> None:
    async with working(isolated_settings, {"first": [{"sleep": 0.5, "result": 1}]}):
        execution_id = await started(api)
        before = await watched(api, execution_id, most=1)
        await redis.delete(EventStreams(redis, isolated_settings.redis_key_prefix).key(execution_id))
        await until_status(api, execution_id, "completed")
        frames = await watched(api, execution_id, after=before[0].id)
    # Made for this reader, or by the worker where it was still writing when the stream went.
    assert kinds(frames)[0] == "snapshot"
    assert kinds(frames)[-1] == "end"
    assert last_states(frames) == {"first": "completed", "second": "completed"}


@pytest.mark.parametrize("changes", [{"worker_max_cached_workflows": 0}, {"worker_sandboxed": True}])
async def test_replays_and_the_sandbox_change_no_last_state(
    api: httpx2.AsyncClient, isolated_settings: Settings, changes: dict[str, Any]
) -> None:
    async with working(isolated_settings.model_copy(update=changes), ONCE_MORE):
        execution_id = await started(api)
        frames = await watched(api, execution_id)
    assert last_states(frames) == {"first": "completed", "second": "completed"}
    assert frames[-1].data["status"] == "completed"
    # Without a cache every task begins with a replay, and a snapshot heals what a crash may have left out.
    snapshots = kinds(frames).count("snapshot")
    assert snapshots == 1 if "worker_sandboxed" in changes else snapshots > 1
    told = [(frame.data["path"], frame.data["state"]) for frame in frames if frame.kind == "step"]
    assert told.count(("first", "completed")) == 1


async def test_a_slow_reader_keeps_little_waiting_and_misses_nothing(
    api: httpx2.AsyncClient, isolated_settings: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_hub, "MOST_PENDING", 8)
    monkeypatch.setattr(event_hub, "PAGE", 5)
    streams = EventStreams(redis, isolated_settings.redis_key_prefix)
    hub = event_hub.EventHub(streams)
    wake = asyncio.Event()
    key = streams.key("ex-slow")
    taken: list[str] = []
    async with hub.reading(key, "0-0", wake) as reader:
        for number in range(60):
            await streams.append([("ex-slow", {"type": "step", "seq": number})])
            if number % 20 == 0:
                taken += [entry.fields["data"] for entry in await reader.take()]
            assert len(reader._pending) <= 8
        await eventually(lambda: reader.lagging)
        while len(taken) < 60:
            taken += [entry.fields["data"] for entry in await reader.take()]
    assert taken == [f'{{"type":"step","seq":{number}}}' for number in range(60)]
    assert hub.readers == 0
    await hub.aclose()


async def test_a_client_that_takes_nothing_is_let_go_and_leaves_nothing_behind(
    isolated_settings: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    from api.event_response import EventResponse

    monkeypatch.setattr("api.event_response.SEND_SECONDS", 0.1)
    closed = asyncio.Event()

    async def frames() -> Any:
        try:
            while True:
                yield b"x"
        finally:
            closed.set()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def receive() -> Any:
        await asyncio.Event().wait()

    await asyncio.wait_for(EventResponse(frames())({"type": "http", "method": "GET"}, receive, send), 5)
    assert closed.is_set()


async def test_a_client_that_goes_away_leaves_no_reader(
    api: httpx2.AsyncClient, isolated_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    hubs: list[event_hub.EventHub] = []
    reading = event_hub.EventHub.reading

    def noted(self: event_hub.EventHub, *arguments: Any) -> Any:
        hubs.append(self)
        return reading(self, *arguments)

    monkeypatch.setattr(event_hub.EventHub, "reading", noted)
    async with working(isolated_settings, {"first": [{"hang": True}]}):
        execution_id = await started(api)
        frames = await watched(api, execution_id, most=1)
        assert len(frames) == 1
        await eventually(lambda: hubs[0].readers == 0)


async def test_a_hundred_readers_of_many_executions_share_one_loop_and_get_everything(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    """The whole figure, 500, is measured by `benchmarks/event_streams.py`."""
    async with working(isolated_settings, {"first": [{"sleep": 0.3, "result": 1}]}):
        ids = [await started(api) for _ in range(10)]
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(base_url=api.base_url, limits=limits, trust_env=False) as many:
            read = await asyncio.gather(*(watched(many, ids[number % 10]) for number in range(100)))
    for number, frames in enumerate(read):
        assert [frame.text for frame in frames] == [frame.text for frame in read[number % 10]]
        assert frames[-1].data["status"] == "completed"


async def test_tokens_come_with_places_of_their_own_and_go_on_after_a_reconnect(
    api: httpx2.AsyncClient, isolated_settings: Settings, redis: Redis
) -> None:
    tokens = TokenStreams(redis, isolated_settings.redis_key_prefix)
    async with working(isolated_settings, {"first": [{"hang": True}]}):
        execution_id = await started(api)
        async with tokens.writing(execution_id, path="first", turn=0, attempt=1) as writer:
            writer.publish("Dear ")
            await writer.flush()
            frames: list[Frame] = []
            while not any(frame.kind == "token" for frame in frames):
                after = frames[-1].id if frames else None
                frames += await watched(api, execution_id, after=after, most=1, params={"tokens": "true"})
            writer.publish("Kim")
            await writer.flush()
            last = frames[-1].id
            while sum(frame.kind == "token" for frame in frames) < 2:
                frames += await watched(api, execution_id, after=last, most=1, params={"tokens": "true"})
                last = frames[-1].id
        texts = [frame.data for frame in frames if frame.kind == "token"]
        assert [(one["path"], one["seq"], one["text"]) for one in texts] == [
            ("first", 0, "Dear "),
            ("first", 1, "Kim"),
        ]
        without = await watched(api, execution_id, most=1)
        assert "~" not in (without[0].id or "")


async def test_an_execution_goes_on_while_redis_refuses_its_events_and_others_are_told(
    api: httpx2.AsyncClient, isolated_settings: Settings, redis: Redis
) -> None:
    execution_id = await started(api)
    # A value of another type under the key: every write to it is refused.
    await redis.set(EventStreams(redis, isolated_settings.redis_key_prefix).key(execution_id), "no stream")
    async with working(isolated_settings):
        await until_status(api, execution_id, "completed")
        frames = await watched(api, await started(api))
    assert frames[-1].data["status"] == "completed"
