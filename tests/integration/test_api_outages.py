"""Redis, Temporal or the worker away: an answer in under two seconds, recovery without a restart, no start lost."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from orchestrator.embedded.ports import LOOPBACK
from orchestrator.embedded.process import ProcessSpec, stop
from orchestrator.embedded.temporal import temporal
from orchestrator.embedded.valkey import valkey
from orchestrator.settings import Settings
from tests.support.api_server import held_lease, problem_in, running_api
from tests.support.clock import awake_seconds
from tests.support.pace import within
from tests.support.polling import eventually
from tests.support.ports import free_port

SMALL: dict[str, Any] = {"name": "Small", "steps": [{"step_id": "only", "step_type": "transform", "value": 1}]}
Call = tuple[str, str, dict[str, Any] | None]

NEEDS_REDIS: list[Call] = [
    ("POST", "/workflows/", SMALL),
    ("GET", "/workflows/", None),
    ("PUT", "/workflows/small", SMALL),
    ("GET", "/workflows/small", None),
    ("DELETE", "/workflows/small", None),
    ("POST", "/workflows/validate", SMALL),
    ("GET", "/workflows/small/versions", None),
    ("POST", "/workflows/small/versions/1/restore", None),
    ("POST", "/workflows/small/execute", {}),
    ("GET", "/agents/", None),
    ("POST", "/agents/", {"agent_type": "sales"}),
    ("GET", "/agents/sales", None),
    ("GET", "/agents/sales/health", None),
]
NEEDS_TEMPORAL: list[Call] = [
    ("GET", "/executions/", None),
    ("GET", "/executions/ex-1", None),
    ("POST", "/executions/ex-1/pause", {}),
    ("POST", "/executions/ex-1/resume", None),
    ("POST", "/executions/ex-1/cancel", {}),
]


async def assert_unavailable(
    api: httpx2.AsyncClient, method: str, path: str, body: Any, code: str, seconds: float = 2.0
) -> dict[str, Any]:
    began = awake_seconds()
    answer = await api.request(method, path, **({} if body is None else {"json": body}))
    elapsed = awake_seconds() - began
    problem = problem_in(answer, 503, code)
    assert within(elapsed, seconds), (method, path, elapsed)
    assert int(answer.headers["retry-after"]) >= 1
    return problem


@asynccontextmanager
async def running(spec: ProcessSpec) -> AsyncIterator[int]:
    """A server while the block runs; gives its pid."""
    process = spec.launch()
    try:
        await spec.wait_ready(process)
        yield process.pid
    finally:
        await asyncio.to_thread(stop, process, spec.stop_seconds)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that is there and does not answer."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def silent_server() -> AsyncIterator[int]:
    """A port that accepts connections and says nothing."""
    release = asyncio.Event()

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.close()

    server = await asyncio.start_server(hold, LOOPBACK, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        release.set()
        server.close()


class AnswerHolder:
    """A TCP proxy that can keep the server's answers back."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._tasks: set[asyncio.Task[None]] = set()
        self.open = asyncio.Event()
        self.open.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        try:
            yield f"{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        for source, sink, gate in ((reader, far_writer, None), (far_reader, writer, self.open)):
            task = asyncio.create_task(self._pump(source, sink, gate))
            self._tasks.add(task)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, gate: asyncio.Event | None) -> None:
        try:
            while data := await source.read(65_536):
                if gate is not None:
                    await gate.wait()
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass
        finally:
            sink.close()


async def test_the_api_starts_without_its_parts_and_recovers_when_they_come(tmp_path: Path) -> None:
    redis_port, temporal_port = free_port(), free_port()
    settings = Settings(
        _env_file=None,
        redis_url=f"redis://{LOOPBACK}:{redis_port}",
        temporal_address=f"{LOOPBACK}:{temporal_port}",
    )
    async with running_api(settings) as api:
        assert (await api.get("/health/live")).status_code == 200
        ready = await assert_unavailable(api, "GET", "/health/ready", None, "not-ready")
        assert {name: part["status"] for name, part in ready["parts"].items()} == {
            "temporal": "down",
            "redis": "down",
            "worker": "down",
            "model": "unknown",
            "claims": "down",
            "vectors": "unknown",
        }
        for request in NEEDS_REDIS:
            await assert_unavailable(api, *request, "redis-unavailable")
        for request in NEEDS_TEMPORAL:
            await assert_unavailable(api, *request, "temporal-unavailable")
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(running(valkey(tmp_path / "redis", redis_port, tmp_path / "redis.log")))
            assert (await api.post("/workflows/", json=SMALL)).status_code == 201
            unstarted = await assert_unavailable(api, "POST", "/workflows/small/execute", {}, "temporal-unavailable")
            # Nothing listens there: this start has certainly not happened.
            assert "execution_id" not in unstarted
            spec = temporal(tmp_path / "temporal.db", temporal_port, free_port(), tmp_path / "temporal.log")
            await stack.enter_async_context(running(spec))
            assert (await api.post("/workflows/small/execute", json={})).status_code == 202
            assert (await api.get("/health/ready")).status_code == 503
            async with held_lease(settings):
                assert (await api.get("/health/ready")).status_code == 200


async def test_parts_that_accept_and_stay_silent_are_answered_for_in_time() -> None:
    async with silent_server() as redis_port, silent_server() as temporal_port:
        settings = Settings(
            _env_file=None,
            redis_url=f"redis://{LOOPBACK}:{redis_port}",
            temporal_address=f"{LOOPBACK}:{temporal_port}",
        )
        async with running_api(settings) as api:
            requests = [
                *((request, "redis-unavailable") for request in NEEDS_REDIS[:2]),
                *((request, "temporal-unavailable") for request in NEEDS_TEMPORAL[:2]),
                (("GET", "/health/ready", None), "not-ready"),
            ]
            # Together: nobody waits in line behind another's attempt to connect.
            await asyncio.gather(*(assert_unavailable(api, *request, code) for request, code in requests))


async def test_a_part_that_freezes_is_answered_for_in_time_and_recovers(tmp_path: Path) -> None:
    redis_port, temporal_port = free_port(), free_port()
    redis_spec = valkey(tmp_path / "redis", redis_port, tmp_path / "redis.log")
    temporal_spec = temporal(tmp_path / "temporal.db", temporal_port, free_port(), tmp_path / "temporal.log")
    settings = Settings(
        _env_file=None,
        redis_url=f"redis://{LOOPBACK}:{redis_port}",
        temporal_address=f"{LOOPBACK}:{temporal_port}",
    )
    async with AsyncExitStack() as stack:
        redis_pid = await stack.enter_async_context(running(redis_spec))
        temporal_pid = await stack.enter_async_context(running(temporal_spec))
        async with running_api(settings) as api:
            assert (await api.post("/workflows/", json=SMALL)).status_code == 201
            assert (await api.get("/executions/")).status_code == 200
            with frozen(redis_pid):
                await asyncio.gather(
                    assert_unavailable(api, "GET", "/workflows/small", None, "redis-unavailable"),
                    assert_unavailable(api, "PUT", "/workflows/small", SMALL, "redis-unavailable"),
                    assert_unavailable(api, "GET", "/health/ready", None, "not-ready"),
                )
            assert (await api.get("/workflows/small")).status_code == 200
            with frozen(temporal_pid):
                answers = await asyncio.gather(
                    assert_unavailable(api, "POST", "/workflows/small/execute", {}, "start-unknown"),
                    assert_unavailable(api, "GET", "/executions/ex-1", None, "temporal-unavailable"),
                    assert_unavailable(api, "GET", "/executions/", None, "temporal-unavailable"),
                    assert_unavailable(api, "GET", "/health/ready", None, "not-ready"),
                )
                assert (await api.get("/workflows/small")).status_code == 200
            unknown = answers[0]
            assert unknown["execution_id"] in unknown["detail"]
            assert f"/executions/{unknown['execution_id']}" in unknown["hint"]
            assert (await api.post("/workflows/small/execute", json={})).status_code == 202


async def test_a_start_without_an_answer_is_named_and_can_be_found(isolated_settings: Settings) -> None:
    holder = AnswerHolder(isolated_settings.temporal_address)
    async with holder.running() as address:
        settings = isolated_settings.model_copy(update={"temporal_address": address})
        async with running_api(settings) as api:
            await api.put("/workflows/small", json=SMALL)
            assert (await api.post("/workflows/small/execute", json={})).status_code == 202
            holder.open.clear()
            problem = await assert_unavailable(api, "POST", "/workflows/small/execute", {}, "start-unknown")
            holder.open.set()

            async def found() -> bool:
                return (await api.get(f"/executions/{problem['execution_id']}")).status_code == 200

            await eventually(found)


async def test_an_acknowledged_start_survives_the_death_of_temporal(
    isolated_settings: Settings, tmp_path: Path
) -> None:
    port = free_port()
    spec = temporal(tmp_path / "temporal.db", port, free_port(), tmp_path / "temporal.log")
    settings = isolated_settings.model_copy(update={"temporal_address": f"{LOOPBACK}:{port}"})
    async with running_api(settings) as api:
        await api.put("/workflows/small", json=SMALL)
        async with running(spec) as pid:
            answers = [await api.post("/workflows/small/execute", json={"input_data": n}) for n in range(5)]
            os.kill(pid, signal.SIGKILL)
        ids = [answer.json()["execution_id"] for answer in answers]
        assert [answer.status_code for answer in answers] == [202] * 5
        await assert_unavailable(api, "GET", f"/executions/{ids[0]}", None, "temporal-unavailable")
        async with running(spec):
            found = await asyncio.gather(*(api.get(f"/executions/{execution_id}") for execution_id in ids))
            assert [(answer.status_code, answer.json()["input"]) for answer in found] == [(200, n) for n in range(5)]


async def test_two_hundred_starts_at_once_are_all_accepted(isolated_settings: Settings) -> None:
    """A busy Temporal is not an absent one."""
    async with running_api(isolated_settings) as api:
        await api.put("/workflows/small", json=SMALL)
        answers = await asyncio.gather(*(api.post("/workflows/small/execute", json={}) for _ in range(200)))
    assert {answer.status_code for answer in answers} == {202}


async def test_ready_needs_a_worker_of_this_task_queue(isolated_settings: Settings) -> None:
    other = isolated_settings.model_copy(update={"temporal_task_queue": "another-queue"})
    async with running_api(isolated_settings) as api:
        async with held_lease(other):
            parts = (await assert_unavailable(api, "GET", "/health/ready", None, "not-ready"))["parts"]
            assert parts["temporal"]["status"] == parts["redis"]["status"] == "ok"
            assert isolated_settings.temporal_task_queue in parts["worker"]["detail"]
        async with held_lease(isolated_settings):
            answer = await api.get("/health/ready")
            assert answer.status_code == 200
            report = answer.json()
            assert report["status"] == "ready"
            assert report["parts"]["worker"]["workers"][0]["worker_id"] == "test"
            assert (report["parts"]["model"]["status"], report["parts"]["vectors"]["status"]) == ("ok", "unknown")
            assert all(report["parts"][name]["latency_ms"] >= 0 for name in ("temporal", "redis", "worker"))


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
async def test_health_has_no_body_to_send(isolated_settings: Settings, path: str) -> None:
    async with running_api(isolated_settings) as api:
        problem_in(await api.post(path, json={}), 405, "method-not-allowed")
