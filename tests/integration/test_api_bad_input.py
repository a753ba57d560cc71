"""Every operation of the contract refuses what no operation takes: 4xx with a problem, in under 200 ms."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from api.app import create_app
from orchestrator.settings import Settings
from orchestrator.stores.pages import encode_cursor
from tests.support.api_server import PROBLEM, running_api
from tests.support.clock import awake_seconds
from tests.support.pace import within

PROMISED_SECONDS = 0.2
LIMIT_BYTES = 64 * 1024
JSON = {"Content-Type": "application/json"}
PARAMETERS = {"version": "1", "other": "1", "execution_id": "ex-none", "path": "a", "job_id": "bulk-retry-1-none"}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    fields = {"redis_key_prefix": "test-bad-input", "api_body_limit_bytes": LIMIT_BYTES}
    async with running_api(settings.model_copy(update=fields)) as client:
        await client.get("/executions/")
        yield client


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path without its prefix, and description of every operation."""
    for path, item in create_app(Settings(_env_file=None)).openapi()["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path.removeprefix("/api/v1"), operation


ALL = list(operations())
WITH_BODY = [(method, path) for method, path, operation in ALL if "requestBody" in operation]


def filled(template: str, name: str = "", value: str = "") -> str:
    """The path with its parameters filled in, one of them with this value."""
    given = {**PARAMETERS, name: value}
    return re.sub(r"\{(\w+)\}", lambda found: given.get(found[1], "absent"), template)


async def refused(api: httpx2.AsyncClient, method: str, url: str, **options: Any) -> tuple[int, str]:
    """Send a request that has to be refused in time; gives status and code.

    The best of three counts: a busy machine is late once, what is slow is slow each time.
    """
    best = 60.0
    for _ in range(3):
        began = awake_seconds()
        answer = await api.request(method, url, **options)
        best = min(best, awake_seconds() - began)
        where = f"{method} {url[:200]}: {answer.status_code} {answer.text[:300]}"
        assert 400 <= answer.status_code < 500, where
        assert answer.headers["content-type"] == PROBLEM, where
        if within(best, PROMISED_SECONDS):
            break
    assert within(best, PROMISED_SECONDS), (method, url[:200], best)
    return answer.status_code, answer.json()["code"]


BODIES: dict[str, tuple[bytes, dict[str, str], tuple[int, str]]] = {
    "no JSON": (b"{", JSON, (400, "malformed-json")),
    "duplicate keys": (b'{"a": 1, "a": 1}', JSON, (400, "malformed-json")),
    "NaN": (b'{"a": NaN}', JSON, (400, "malformed-json")),
    "depth 65": (b"[" * 65 + b"]" * 65, JSON, (400, "malformed-json")),
    "no UTF-8": (b'{"a": "\xff"}', JSON, (400, "malformed-json")),
    "an integer of 30 digits": (b'{"a": ' + b"9" * 30 + b"}", JSON, (400, "malformed-json")),
    "another type": (b"{}", {"Content-Type": "text/plain"}, (415, "unsupported-media-type")),
    "no type": (b"{}", {}, (415, "unsupported-media-type")),
    "compressed": (b"{}", {**JSON, "Content-Encoding": "gzip"}, (415, "unsupported-media-type")),
    "over the limit": (b" " * (LIMIT_BYTES + 1), JSON, (413, "payload-too-large")),
}


@pytest.mark.parametrize("name", BODIES)
async def test_every_operation_with_a_body_refuses_what_is_no_body(api: httpx2.AsyncClient, name: str) -> None:
    body, headers, expected = BODIES[name]
    found = {
        f"{method} {path}": await refused(api, method, filled(path), content=body, headers=headers)
        for method, path in WITH_BODY
    }
    # Whose body it is comes first there: only who signs it is told what is wrong with it.
    assert found.pop("POST /hooks/{workflow_id}") == (expected if expected[0] == 413 else (404, "workflow-not-found"))
    assert {where: answer for where, answer in found.items() if answer != expected} == {}
    assert len(found) >= 30


QUERIES: dict[str, list[str]] = {
    "limit": ["0", "-1", "201", str(10**30), "-" + "9" * 400, "ten", "1.5", "", "NaN"],
    "cursor": ["abc", "%00", "=" * 10, "x" * 3000, "\u2603", "../..", encode_cursor("others", "x"), "e30"],
    "version": ["0", "-1", str(10**30), "latest"],
    "status": ["done", "RUNNING", "x" * 5000],
    "started_after": ["yesterday", "0", "9" * 50, "2026-13-01T00:00:00Z"],
    "tag": ["'", "a=" + "b" * 5000],
    "format": ["pdf"],
    "tokens": ["perhaps"],
}


@pytest.mark.parametrize("name", QUERIES)
async def test_every_operation_refuses_values_that_its_parameters_cannot_have(
    api: httpx2.AsyncClient, name: str
) -> None:
    having = [
        (method, path)
        for method, path, operation in ALL
        if any((one["in"], one["name"]) == ("query", name) for one in operation.get("parameters", ()))
    ]
    assert having, "no operation has this parameter"
    for method, path in having:
        for value in QUERIES[name]:
            status, _ = await refused(api, method, filled(path), params={name: value})
            # A resource that is not there may be told first.
            assert status == 422 or (status == 404 and "{" in path), (method, path, name, value[:50], status)


TRICKS = [
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e",
    "%00",
    "%0d%0aX-Injected:%201",
    "%ff%fe",
    "%F0%9F%98%80",
    "'%20OR%201=1--",
    "%7B%7B%207*7%20%7D%7D",
    "x" * 5000,
]


@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: str(trick)[:12])
async def test_tricks_in_any_place_of_a_path_lead_nowhere(api: httpx2.AsyncClient, trick: str) -> None:
    for method, path, operation in ALL:
        for name in re.findall(r"\{(\w+)\}", path):
            options: dict[str, Any] = {"json": {}} if "requestBody" in operation else {}
            status, _ = await refused(api, method, filled(path, name, trick), **options)
            assert status in (404, 405, 422), (method, path, trick[:20], status)


NUMBERS = ["0", "-1", str(10**30), "1.5", "one", "%00"]


async def test_versions_in_paths_are_numbers_of_a_kind(api: httpx2.AsyncClient) -> None:
    for method, path, _ in ALL:
        for name in {"version", "other"} & set(re.findall(r"\{(\w+)\}", path)):
            for value in NUMBERS:
                assert (await refused(api, method, filled(path, name, value)))[0] == 422, (method, path, value)
