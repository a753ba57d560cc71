"""Circuit breakers over HTTP, and the circuits of `api_call` hosts."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis
from temporalio.exceptions import ApplicationError

from activities.http import HttpActivities
from api.app import create_app
from orchestrator.agents.connections import model_breakers
from orchestrator.execution.errors_steps import ModelUnavailable
from orchestrator.execution.messages import HttpRequestInput, StepCall
from orchestrator.guarded_http import AllowList, GuardedHttp
from orchestrator.secrets import Secrets
from orchestrator.settings import Settings
from orchestrator.stores.breakers import CircuitBreakers
from orchestrator.stores.redis import connect_redis
from tests.support.activity_environment import activity_environment
from tests.unit.guarded_http.raw_server import answer, raw_server

CALL = StepCall(execution_id="ex-1", workflow_id="w", path="call", step_id="call", idempotency_key="k", max_attempts=9)


@pytest.fixture
def settings(redis_url: str) -> Settings:
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    return Settings(
        _env_file=None,
        api_auth="off",
        redis_url=redis_url,
        redis_key_prefix=prefix,
        breaker_least_calls=2,
        breaker_open_seconds=60,
    )


@pytest.fixture
async def redis(settings: Settings) -> AsyncIterator[Redis]:
    async with connect_redis(settings) as client:
        yield client


@pytest.fixture
def breakers(settings: Settings, redis: Redis) -> CircuitBreakers:
    return model_breakers(settings, redis)


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    app: FastAPI = create_app(settings)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://127.0.0.1/api/v1") as client,
    ):
        yield client


async def fail(breakers: CircuitBreakers, name: str, times: int = 2) -> None:
    for _ in range(times):
        with pytest.raises(ModelUnavailable):
            async with breakers.guard(name, lease_seconds=5):
                raise ModelUnavailable("the server is down")


async def test_circuits_are_listed_read_and_reset_under_names_with_slashes(
    api: httpx2.AsyncClient, breakers: CircuitBreakers
) -> None:
    assert (await api.get("/breakers/")).json() == {"items": [], "next_cursor": None}
    await fail(breakers, "model:openai/meta/llama")
    await fail(breakers, "http:example.com:8443", 1)
    listed = (await api.get("/breakers/")).json()["items"]
    assert [(item["name"], item["state"]) for item in listed] == [
        ("http:example.com:8443", "closed"),
        ("model:openai/meta/llama", "open"),
    ]
    found = (await api.get("/breakers/model:openai/meta/llama")).json()
    assert found["open_until"].endswith("Z") and found["last_error"] == "the server is down"
    reset = await api.post("/breakers/model:openai/meta/llama/reset")
    assert (reset.status_code, reset.json()["state"], reset.json()["failures"]) == (200, "closed", 0)
    async with breakers.guard("model:openai/meta/llama", lease_seconds=5):
        pass


async def test_a_circuit_that_was_never_used_is_not_found(api: httpx2.AsyncClient) -> None:
    for found in (await api.get("/breakers/model:a/b"), await api.post("/breakers/model:a/b/reset")):
        assert (found.status_code, found.json()["code"]) == (404, "breaker-not-found")


async def test_names_that_were_not_used_for_long_are_forgotten(breakers: CircuitBreakers, redis: Redis) -> None:
    await redis.zadd(breakers._keys("")[1], {"http:long-ago.example": 1})
    await fail(breakers, "http:now.example", 1)
    assert [state.name for state in (await breakers.states()).items] == ["http:now.example"]


async def test_circuits_are_pages_by_name(api: httpx2.AsyncClient, breakers: CircuitBreakers) -> None:
    for name in ("model:b/c", "http:a.example", "mcp:files"):
        await fail(breakers, name, 1)
    first = (await api.get("/breakers/", params={"limit": 2})).json()
    assert [item["name"] for item in first["items"]] == ["http:a.example", "mcp:files"]
    rest = (await api.get("/breakers/", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert ([item["name"] for item in rest["items"]], rest["next_cursor"]) == (["model:b/c"], None)


async def outcome(breakers: CircuitBreakers, url: str, seconds: float = 5) -> str:
    """Make one `api_call` and return the type of its error."""
    client = GuardedHttp(AllowList.parse(["127.0.0.1"]))
    environment = activity_environment(seconds)
    try:
        activities = HttpActivities(client, Secrets(), breakers)
        await environment.run(activities.http_request, HttpRequestInput(call=CALL, url=url))
    except ApplicationError as error:
        return error.type or ""
    finally:
        await client.aclose()
    return "ok"


@pytest.mark.parametrize(
    ("raw", "error"), [(answer(503), "http-503"), (b"", "http-connection"), (None, "timeout")], ids=str
)
async def test_a_failing_host_is_left_alone_and_others_are_not(
    breakers: CircuitBreakers, raw: bytes | None, error: str
) -> None:
    async with raw_server(lambda request: raw) as server, raw_server(lambda request: answer(200)) as other:
        seconds = 1.5 if raw is None else 5
        assert [await outcome(breakers, server.url, seconds) for _ in range(3)] == [error, error, "circuit-open"]
        assert await outcome(breakers, other.url) == "ok"
    (state,) = [item for item in (await breakers.states()).items if item.state == "open"]
    assert state.name.startswith("http:127.0.0.1:")


async def test_a_refusing_host_is_a_working_one(breakers: CircuitBreakers) -> None:
    async with raw_server(lambda request: answer(404)) as server:
        assert [await outcome(breakers, server.url) for _ in range(4)] == ["http-404"] * 4
