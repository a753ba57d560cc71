"""Hostile and careless requests: every one ends in a problem of 4xx, quickly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx2
import pytest
import pytest_asyncio

from api.app import create_app
from orchestrator.settings import Settings
from tests.support.api_server import PROBLEM, problem_in, running_api
from tests.support.clock import awake_seconds
from tests.support.pace import within

QUICK_SECONDS = 0.5
"""The promise is 200 ms; the rest is for a busy machine."""


# Nothing here leaves anything behind, so that one API serves the whole module.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with running_api(settings.model_copy(update={"redis_key_prefix": "test-requests"})) as client:
        await client.get("/health/live")
        yield client


async def raw(api: httpx2.AsyncClient, request: bytes, seconds: float = 5.0) -> bytes:
    """Send bytes and return the first answer."""
    address = urlsplit(str(api.base_url))
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(request)
        async with asyncio.timeout(seconds):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1]) for line in head.splitlines() if line.lower().startswith(b"content-length")
            )
            return head + await reader.readexactly(length)
    finally:
        writer.close()


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b'{"name": NaN}', JSON, 400, "malformed-json"),
        (b'{"name": "a", "name": "b"}', JSON, 400, "malformed-json"),
        (b"hello", JSON, 400, "malformed-json"),
        (b'{"name": "\xff"}', JSON, 400, "malformed-json"),
        (b'{"name": "\\ud800"}', JSON, 400, "malformed-json"),
        (b'{"vars": {"n": 123456789012345678901234567890}}', JSON, 400, "malformed-json"),
        (b'{"vars": {"n": 1e999}}', JSON, 400, "malformed-json"),
        (b"[" * 65 + b"]" * 65, JSON, 400, "malformed-json"),
        (b"[" * 1_000_000, JSON, 400, "malformed-json"),
        (b"", JSON, 422, "invalid-request"),
        (b"", {}, 422, "invalid-request"),
        (b"{}", {}, 415, "unsupported-media-type"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported-media-type"),
        (b"{}", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported-media-type"),
        (b"{}", {"Content-Type": "application/json; charset=utf-16"}, 415, "unsupported-media-type"),
        (b"{}", {"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415, "unsupported-media-type"),
        (b"{}", {"Content-Type": "\x00/;;=;"}, 415, "unsupported-media-type"),
        (b"null", JSON, 422, "invalid-definition"),
        (b"[]", JSON, 422, "invalid-definition"),
        (b'"text"', JSON, 422, "invalid-definition"),
        (b'{"name": 5, "steps": {}}', {"Content-Type": "application/vnd.api+json"}, 422, "invalid-definition"),
        (b'{"name": "\\u0000", "steps": [null, 1, []]}', JSON, 422, "invalid-definition"),
    ],
)
@pytest.mark.parametrize("method_path", [("POST", "/workflows/"), ("PUT", "/workflows/x")])
async def test_a_faulty_body_is_a_problem_at_once(
    api: httpx2.AsyncClient,
    method_path: tuple[str, str],
    body: bytes,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    if "\x00" in headers.get("Content-Type", ""):
        headers = {"Content-Type": "x/;;=;"}
    began = awake_seconds()
    answer = await api.request(*method_path, content=body, headers=headers)
    elapsed = awake_seconds() - began
    problem_in(answer, status, code)
    assert within(elapsed, QUICK_SECONDS)


async def test_a_body_that_is_null_is_called_null(api: httpx2.AsyncClient) -> None:
    answer = await api.post("/expressions/evaluate", content=b"null", headers=JSON)
    (issue,) = problem_in(answer, 422, "invalid-request")["errors"]
    assert (issue["code"], issue["pointer"]) == ("wrong-type", "")
    assert "the body is null" in issue["message"]


async def test_malformed_json_is_located(api: httpx2.AsyncClient) -> None:
    answer = await api.post("/workflows/", content=b'{"name": "a",\n "steps": [NaN]}', headers=JSON)
    problem = problem_in(answer, 400, "malformed-json")
    assert (problem["line"], problem["column"]) == (2, 12)


async def test_three_megabytes_are_refused_before_they_are_read(api: httpx2.AsyncClient) -> None:
    began = awake_seconds()
    answer = await api.post("/workflows/", content=b'{"name": "' + b"a" * 3_000_000 + b'"}', headers=JSON)
    assert within(awake_seconds() - began, QUICK_SECONDS)
    assert problem_in(answer, 413, "payload-too-large")["limit_bytes"] == 2 * 1024 * 1024
    # Of this one only the headers are sent.
    head = b"POST /api/v1/workflows/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    assert b" 413 " in await raw(api, head + b"Content-Length: 3000000\r\n\r\n")


async def test_a_chunked_body_is_counted_while_it_comes(api: httpx2.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(48):
            sent += 65_536
            yield b" " * 65_536

    answer = await api.post("/workflows/", content=endless(), headers=JSON)
    problem_in(answer, 413, "payload-too-large")
    # The connection is still good, and the service too.
    assert (await api.get("/health/live")).status_code == 200
    assert sent > 2 * 1024 * 1024


async def test_the_limit_itself_is_allowed(api: httpx2.AsyncClient, isolated_settings: Settings) -> None:
    limit = isolated_settings.api_body_limit_bytes
    body = b'{"name": ""}'
    answer = await api.post("/workflows/validate", content=body + b" " * (limit - len(body)), headers=JSON)
    assert answer.status_code == 200
    over = await api.post("/workflows/validate", content=body + b" " * (limit - len(body) + 1), headers=JSON)
    problem_in(over, 413, "payload-too-large")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nothing", 404),
        ("/workflows/a/b/c", 404),
        ("//workflows//", 404),
        ("/workflows/%00", 404),
        ("/workflows/..%2f..%2fetc%2fpasswd", 404),
        ("/workflows/../../openapi.json", 404),
        ("/workflows/" + "a" * 5000, 404),
        ("/workflows/%ff%fe", 404),
        ("/workflows/%F0%9F%98%80", 404),
        ("/executions/%00", 404),
        ("/executions/" + "a" * 2000, 404),
        ("/executions/ex-none", 404),
        ("/executions/%F0%9F%98%80", 404),
        ("/agents/%20", 422),
        ("/agents/" + "a" * 300, 422),
    ],
)
async def test_odd_paths_are_problems(api: httpx2.AsyncClient, path: str, status: int) -> None:
    began = awake_seconds()
    answer = await raw(api, f"GET /api/v1{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert within(awake_seconds() - began, QUICK_SECONDS)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f" {status} ".encode() in head.splitlines()[0], answer[:300]
    assert PROBLEM.encode() in head
    assert json.loads(body)["status"] == status


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/workflows/", "GET, HEAD, POST"),
        ("PATCH", "/workflows", "GET, HEAD, POST"),
        ("POST", "/workflows/x", "DELETE, GET, HEAD, PUT"),
        ("GET", "/workflows/x/execute", "POST"),
        ("TRACE", "/executions/x", "GET, HEAD"),
        ("PUT", "/health/live", "GET, HEAD"),
        ("OPTIONS", "/workflows/", "GET, HEAD, POST"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(
    api: httpx2.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await api.request(method, path)
    problem_in(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == allowed


async def test_head_answers_like_get_without_a_body(api: httpx2.AsyncClient) -> None:
    answer = await api.head("/workflows/")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_no_other_origin_is_let_in_and_types_are_not_guessed(api: httpx2.AsyncClient) -> None:
    answer = await api.get("/workflows/", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_client_that_breaks_off_its_body_harms_nothing(api: httpx2.AsyncClient) -> None:
    address = urlsplit(str(api.base_url))
    for _ in range(5):
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(b"POST /api/v1/workflows/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        writer.write(b'Content-Length: 1000\r\n\r\n{"name"')
        await writer.drain()
        writer.close()
    assert (await api.get("/workflows/")).json()["items"] == []


async def test_a_fault_of_ours_is_a_problem_that_leaks_nothing(isolated_settings: Settings) -> None:
    app = create_app(isolated_settings)

    @app.get("/boom", operation_id="get_liveness")
    async def boom() -> None:
        raise KeyError("secret-token-in-a-traceback")

    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.get("/boom")
    problem_in(answer, 500, "internal-error")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "secret-token" not in answer.text
    assert "Traceback" not in answer.text
