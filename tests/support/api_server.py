"""The real API behind a real HTTP server, in this process."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx2
import uvicorn
from temporalio.client import Client
from temporalio.worker import Interceptor

from api.app import create_app
from orchestrator.embedded.ports import LOOPBACK
from orchestrator.settings import Settings
from orchestrator.stores.leases import WorkerLease, WorkerLeases
from orchestrator.stores.redis import connect_redis
from orchestrator.worker import build_worker

PROBLEM = "application/problem+json"


@asynccontextmanager
async def running_api(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    """Serve the API while the block runs; gives a client whose base URL ends in /api/v1.

    Without authentication, unless the settings say what they want.
    """
    if "api_auth" not in settings.model_fields_set:
        settings = settings.model_copy(update={"api_auth": "off"})
    config = uvicorn.Config(create_app(settings), log_level="warning", ws="none", access_log=False)
    server = uvicorn.Server(config)
    # Bound here and kept: nobody else can take the port while the application starts.
    listener = socket.create_server((LOOPBACK, 0))
    serving = asyncio.create_task(_serve(server, listener))
    try:
        while not server.started:
            assert not serving.done(), "the API did not start"
            await asyncio.sleep(0.01)
        base = f"http://{LOOPBACK}:{listener.getsockname()[1]}/api/v1"
        async with httpx2.AsyncClient(base_url=base, timeout=30.0, trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        await serving


async def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    try:
        await server._serve([listener])
    except SystemExit as error:
        # It would end the event loop, and pytest would leave fixtures standing that later tests then find.
        raise RuntimeError("the API did not start") from error


@asynccontextmanager
async def held_lease(settings: Settings) -> AsyncIterator[None]:
    """Hold a worker's lease on the settings' task queue while the block runs."""
    redis = connect_redis(settings)
    lease = WorkerLease(
        worker_id="test",
        pid=1,
        task_queue=settings.temporal_task_queue,
        host="here",
        started_at=datetime.now(UTC),
        model={"status": "ok", "detail": "answers"},
    )
    leases = WorkerLeases(redis, settings.redis_key_prefix)
    await leases.refresh(lease)
    async with leases.held(lambda: lease):
        yield
    await redis.aclose()


@asynccontextmanager
async def leased_worker(
    client: Client,
    settings: Settings,
    activities: Sequence[Callable[..., Any]],
    interceptors: Sequence[Interceptor] = (),
) -> AsyncIterator[None]:
    """Run a worker that the API knows of: it waits for this one's answers also when the machine is slow."""
    async with build_worker(client, settings, activities, interceptors), held_lease(settings):
        yield


def problem_in(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """Return the answer's problem; fails the test unless it is one of this status and code."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    content: dict[str, Any] = json.loads(answer.content)
    assert content["code"] == code
    assert content["status"] == status
    assert content["type"].endswith(f":{code}")
    assert content["title"]
    assert content["detail"]
    assert content["instance"] == answer.request.url.path or answer.request.url.path.rstrip("/") in content["instance"]
    return content
