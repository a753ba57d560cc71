"""The agent registry over a real Redis: records, Python agents, health, leases, state."""

from __future__ import annotations

import asyncio
import importlib
import json
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from redis.asyncio import Redis

from orchestrator.agents import AgentContext, AgentFactory, AgentRecord, BaseAgent, PinnedRecord, agent_factory
from orchestrator.agents import factory as factory_module
from orchestrator.execution.errors import (
    AgentExists,
    AgentNotFound,
    InvalidAgent,
    RedisUnavailable,
    RequestError,
    VersionConflict,
)
from orchestrator.execution.errors_steps import AgentFailed, ModelUnavailable
from orchestrator.settings import Settings
from orchestrator.stores.leases import WorkerLease, WorkerLeases
from orchestrator.stores.redis import connect_redis
from tests.support.clock import awake_seconds
from tests.support.pace import within
from tests.support.polling import eventually, wait_for
from tests.support.ports import free_port
from tests.support.servers import running_redis

EXAMPLES = Path(__file__).parents[2] / "examples" / "agents"


class Counter(BaseAgent):
    agent_type: ClassVar[str] = "counter"
    description: ClassVar[str] = "Counts its calls."

    async def execute(self, task: str, parameters: Any, context: AgentContext) -> Any:
        return await self.state.update("calls", lambda value: value + 1, default=0)


@pytest.fixture
def registry_settings(redis_url: str) -> Settings:
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    return Settings(
        _env_file=None, redis_url=redis_url, redis_key_prefix=prefix, breaker_least_calls=3, breaker_open_seconds=60
    )


@pytest.fixture
async def factory(registry_settings: Settings) -> AsyncIterator[AgentFactory]:
    found = AgentFactory(registry_settings)
    yield found
    await found.aclose()


@pytest.fixture
async def redis(registry_settings: Settings) -> AsyncIterator[Redis]:
    async with connect_redis(registry_settings) as client:
        yield client


def record(agent_type: str = "sales", **fields: Any) -> dict[str, Any]:
    return {"agent_type": agent_type, "description": f"The {agent_type} agent.", **fields}


def lease(worker_id: str = "w1", agents: list[str] | None = None) -> WorkerLease:
    return WorkerLease.model_validate(
        {
            "worker_id": worker_id,
            "pid": 1,
            "task_queue": "q",
            "host": "h",
            "started_at": "2026-01-01T00:00:00Z",
            "agents": agents or [],
        }
    )


async def test_a_record_is_registered_read_updated_and_retired(factory: AgentFactory) -> None:
    first = await factory.register(record())
    assert (first.agent_type, first.kind, first.version, first.record) == ("sales", "record", 1, record())
    second = await factory.update("sales", {"description": "New."}, if_version=1)
    assert (second.version, second.record) == (2, {"agent_type": "sales", "description": "New."})
    assert (await factory.get("sales", 1)).record == record()
    assert [item.version for item in (await factory.versions("sales")).items] == [2, 1]
    await factory.retire("sales", if_version=2)
    assert (await factory.get("sales")).retired
    assert await factory.known_types() == set()
    with pytest.raises(AgentNotFound, match="was retired"):
        await factory.resolve("sales")
    with pytest.raises(AgentNotFound, match="was retired"):
        await factory.update("sales", record())
    revived, created = await factory.put("sales", record())
    assert (revived.version, revived.retired, created) == (3, False, True)


async def test_the_same_content_makes_no_new_version(factory: AgentFactory) -> None:
    await factory.register(record())
    assert (await factory.put("sales", record()))[0].version == 1


async def test_writes_that_do_not_fit_are_refused(factory: AgentFactory) -> None:
    await factory.register(record())
    with pytest.raises(AgentExists) as exists:
        await factory.register(record())
    assert "PUT /api/v1/agents/sales" in (exists.value.hint or "")
    with pytest.raises(VersionConflict, match="version 1, not 7"):
        await factory.put("sales", record(description="x"), if_version=7)
    with pytest.raises(VersionConflict):
        await factory.retire("sales", if_version=7)
    with pytest.raises(InvalidAgent):
        await factory.put("sales", record(modle="x"))
    with pytest.raises(InvalidAgent):
        await factory.put("research", record("sales"))
    for call in (factory.update("salse", record("salse")), factory.get("salse"), factory.retire("salse")):
        with pytest.raises(AgentNotFound) as missing:
            await call
        assert missing.value.hint == "did you mean 'sales'?"
    with pytest.raises(AgentNotFound, match="has no version 9"):
        await factory.get("sales", 9)


async def test_of_simultaneous_updates_exactly_one_wins(factory: AgentFactory) -> None:
    await factory.register(record())
    updates = (factory.put("sales", record(description=str(n)), if_version=1) for n in range(10))
    results = await asyncio.gather(*updates, return_exceptions=True)
    assert sum(isinstance(item, VersionConflict) for item in results) == 9


async def test_pages_hold_records_and_python_agents_in_one_order(factory: AgentFactory) -> None:
    for name in ("alpha", "delta", "zeta"):
        await factory.register(record(name))
    await factory.register(Counter)
    first = await factory.list(limit=2)
    second = await factory.list(limit=2, cursor=first.next_cursor)
    assert [(item.agent_type, item.kind) for item in (*first.items, *second.items)] == [
        ("alpha", "record"),
        ("counter", "python"),
        ("delta", "record"),
        ("zeta", "record"),
    ]
    assert second.next_cursor is None
    assert [item.agent_type for item in (await factory.list(text="THE Z")).items] == ["zeta"]
    assert [item.agent_type for item in (await factory.list(text="counts")).items] == ["counter"]
    assert await factory.known_types() == {"alpha", "counter", "delta", "zeta"}
    json.dumps([item.to_dict() for item in first.items])
    with pytest.raises(RequestError):
        await factory.list(cursor="nonsense")


async def test_shipped_records_are_loaded_once_and_never_overwrite(factory: AgentFactory, tmp_path: Path) -> None:
    assert await factory.load_records(EXAMPLES) == ["analyst", "refunds", "research", "sales", "support", "writer"]
    edited = await factory.update("sales", record(description="Mine."))
    await factory.retire("research")
    assert await factory.load_records(EXAMPLES) == []
    assert await factory.get("sales") == edited
    assert (await factory.get("research")).retired


async def test_a_broken_file_stores_nothing_of_its_folder(factory: AgentFactory, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(record("alpha")))
    (tmp_path / "b.json").write_text("[]")
    with pytest.raises(InvalidAgent, match=r"b\.json"):
        await factory.load_records(tmp_path)
    assert await factory.known_types() == set()


async def test_a_python_agent_is_known_to_other_processes_and_run_by_its_own(
    factory: AgentFactory, registry_settings: Settings
) -> None:
    await factory.register(Counter())
    other = AgentFactory(registry_settings)
    assert (await other.get("counter")).description == "Counts its calls."
    with pytest.raises(AgentFailed, match="this worker has not registered") as caught:
        await other.resolve("counter")
    assert caught.value.retryable
    with pytest.raises(AgentExists, match="is a Python agent"):
        await other.register(record("counter"))
    assert isinstance(await factory.resolve("counter"), Counter)
    await factory.retire("counter")
    with pytest.raises(AgentNotFound):
        await other.get("counter")
    await other.aclose()


@pytest.mark.parametrize("thing", [object(), 7, str, BaseAgent])
async def test_what_is_no_agent_is_refused(factory: AgentFactory, thing: Any) -> None:
    with pytest.raises(InvalidAgent):
        await factory.register(thing)


async def test_an_agent_without_a_sound_type_is_refused(factory: AgentFactory) -> None:
    class Nameless(BaseAgent):
        agent_type = "no spaces allowed"

        async def execute(self, task: str, parameters: Any, context: AgentContext) -> Any:
            return None

    with pytest.raises(InvalidAgent, match="no valid agent_type"):
        await factory.register(Nameless)


async def test_entry_points_are_registered_at_start(
    factory: AgentFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop_agents.py").write_text(
        "from orchestrator.agents import BaseAgent\n"
        "class Shop(BaseAgent):\n"
        "    agent_type = 'shop'\n"
        "    async def execute(self, task, parameters, context):\n"
        "        return parameters\n"
    )
    info = tmp_path / "shop-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[orchestrator.agents]\nshop = shop_agents:Shop\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert await factory.load() == []
    assert factory.python_types == ["shop"]
    (info / "entry_points.txt").write_text("[orchestrator.agents]\nshop = shop_agents:Absent\n")
    with pytest.raises(InvalidAgent, match="does not load"):
        await factory.load()


async def test_resolving_a_record_pins_its_version(factory: AgentFactory) -> None:
    await factory.register(AgentRecord(agent_type="sales"))
    await factory.put("sales", record(temperature=0))
    found = await factory.resolve("sales")
    assert isinstance(found, PinnedRecord)
    assert (found.version, found.record.temperature) == (2, 0)


async def test_an_agents_state_is_shared_and_survives_concurrent_updates(factory: AgentFactory) -> None:
    await factory.register(Counter())
    agent = await factory.resolve("counter")
    assert isinstance(agent, Counter)
    await asyncio.gather(*(agent.state.update("n", lambda value: value + 1, default=0) for _ in range(5)))
    await agent.state.set("name", {"a": [1, None]})
    assert (await agent.state.get("n"), await agent.state.get("name")) == (5, {"a": [1, None]})
    assert await agent.state.delete("name") and not await agent.state.delete("name")
    assert await agent.state.get("name", "gone") == "gone"


async def test_an_agent_that_nobody_registered_says_how(factory: AgentFactory) -> None:
    with pytest.raises(RuntimeError, match=r"agent_factory\.register"):
        _ = Counter().state


async def test_health_follows_workers_calls_and_circuit_and_survives_a_restart(
    factory: AgentFactory, registry_settings: Settings
) -> None:
    await factory.register(record(model="openai/tiny"))
    assert (await factory.health("sales")).status == "unavailable"
    await factory.leases.refresh(lease())
    assert (await factory.health("sales")).status == "healthy"

    async def call(error: Exception | None = None) -> None:
        async with factory.observed("sales", lease_seconds=5):
            assert (await factory.health("sales")).calls.in_flight == 1
            if error:
                raise error

    await call()
    with pytest.raises(ModelUnavailable):
        await call(ModelUnavailable("server \ud800 down"))
    restarted = AgentFactory(registry_settings)
    found = await restarted.health("sales")
    assert (found.status, found.calls.calls, found.calls.failures) == ("degraded", 2, 1)
    assert (found.calls.success_rate, found.calls.in_flight) == (0.5, 0)
    assert found.calls.last_error == {"type": "model-unavailable", "message": "server ? down"}
    assert found.calls.last_error_at is not None and found.calls.latency_seconds is not None
    json.dumps(found.to_dict())
    for _ in range(3):
        with pytest.raises(ModelUnavailable):
            async with factory.breakers.guard("model:openai/tiny", lease_seconds=5):
                raise ModelUnavailable("down")
    found = await restarted.health("sales")
    assert (found.status, found.breaker.state) == ("unavailable", "open")
    await restarted.aclose()


async def test_failures_of_long_ago_say_nothing_about_an_agents_health(factory: AgentFactory) -> None:
    await factory.register(record())
    await factory.leases.refresh(lease())
    with pytest.raises(ModelUnavailable):
        async with factory.observed("sales", lease_seconds=5):
            raise ModelUnavailable("down")
    found = await factory.health("sales")
    assert (found.status, found.reason) == ("degraded", "0% of the 1 calls of the last 15 minutes succeeded")
    redis, (_, recent, _) = factory._stores.redis, factory._stores.calls._keys("sales")
    stamp, _, rest = str(await redis.lindex(recent, 0)).partition(" ")
    await redis.lset(recent, 0, f"{int(stamp) - 901_000} {rest}")
    found = await factory.health("sales")
    assert (found.status, found.calls.success_rate, found.calls.failures) == ("healthy", None, 1)


async def test_a_killed_workers_calls_stop_counting_as_in_flight(factory: AgentFactory) -> None:
    await factory.register(record())
    calls = factory._stores.calls
    await calls.begin("sales", "lost", lease_seconds=0.2)
    assert (await calls.read("sales")).in_flight == 1

    async def gone() -> bool:
        return (await calls.read("sales")).in_flight == 0

    await eventually(gone)


async def test_cancelled_and_parked_calls_say_nothing_about_an_agent(factory: AgentFactory) -> None:
    with pytest.raises(asyncio.CancelledError):
        async with factory.observed("sales", lease_seconds=5):
            raise asyncio.CancelledError
    found = await factory._stores.calls.read("sales")
    assert (found.calls, found.in_flight, found.success_rate) == (0, 0, None)


async def test_a_python_agent_is_healthy_only_where_a_living_worker_has_it(factory: AgentFactory) -> None:
    await factory.register(Counter())
    await factory.leases.refresh(lease("w1"))
    assert (await factory.health("counter")).status == "unavailable"
    await factory.leases.refresh(lease("w2", agents=["counter"]))
    found = await factory.health("counter")
    assert (found.status, found.workers, found.breaker.name) == ("healthy", 1, "agent:counter")


async def test_leases_are_held_by_refreshing_and_end_with_the_block_or_the_worker(redis: Redis) -> None:
    leases = WorkerLeases(redis, f"test-{uuid.uuid4().hex}", lease_seconds=0.5)
    await leases.refresh(lease("dead"))
    agents: list[str] = []
    async with leases.held(lambda: lease("alive", agents), every_seconds=0.05):
        agents.append("late")

        async def only_the_living() -> bool:
            return [(item.worker_id, item.agents) for item in await leases.live()] == [("alive", ["late"])]

        await eventually(only_the_living)
    assert await leases.live() == []


def test_a_worker_that_starts_before_redis_gets_its_lease_once_redis_is_there(tmp_path: Path) -> None:
    port = free_port()
    settings = Settings(_env_file=None, redis_url=f"redis://127.0.0.1:{port}")
    reads: list[WorkerLease] = []
    stop = threading.Event()

    def read() -> WorkerLease:
        reads.append(lease())
        return reads[-1]

    async def work() -> None:
        async with connect_redis(settings) as client, WorkerLeases(client, "p").held(read, every_seconds=0.05):
            await eventually(stop.is_set, 30)

    async def live() -> None:
        async with connect_redis(settings) as client:

            async def there() -> bool:
                return len(await WorkerLeases(client, "p").live()) == 1

            await eventually(there)

    worker = threading.Thread(target=lambda: asyncio.run(work()))
    worker.start()
    try:
        wait_for(lambda: len(reads) > 2, what="trying again without Redis")
        with running_redis(tmp_path, port):
            asyncio.run(live())
    finally:
        stop.set()
        worker.join()


async def test_with_redis_away_the_registry_fails_typed_in_under_two_seconds() -> None:
    settings = Settings(_env_file=None, redis_url=f"redis://127.0.0.1:{free_port()}")
    found = AgentFactory(settings)
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: found.register(record()),
        lambda: found.register(Counter),
        lambda: found.put("sales", record()),
        lambda: found.get("sales"),
        lambda: found.list(),
        lambda: found.retire("sales"),
        lambda: found.health("sales"),
        lambda: found.resolve("sales"),
        lambda: found.load_records(EXAMPLES),
        lambda: found.known_types(),
        lambda: found.leases.live(),
    ]
    for call in calls:
        began = awake_seconds()
        with pytest.raises(RedisUnavailable) as caught:
            await call()
        assert caught.value.retryable
        assert within(awake_seconds() - began, 2)
    async with found.observed("sales", lease_seconds=5):
        pass
    await found.aclose()


def test_the_singleton_is_one_and_opens_nothing_at_import() -> None:
    assert importlib.import_module("orchestrator.agents").agent_factory is agent_factory
    assert isinstance(agent_factory, factory_module.AgentFactory)
    assert agent_factory._connections._stores is None


def test_one_factory_serves_one_event_loop_after_the_other(registry_settings: Settings) -> None:
    found = AgentFactory(registry_settings)

    async def use(expected: set[str]) -> None:
        await found.put("sales", record())
        assert await found.known_types() == expected
        await found.aclose()

    asyncio.run(use({"sales"}))
    asyncio.run(use({"sales"}))
