"""The Web UI's codec server: references become values, and only its pages may ask across origins."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from google.protobuf.json_format import MessageToDict
from temporalio.client import Client

from orchestrator.client import connect, disconnect
from orchestrator.settings import Settings
from orchestrator.stores.api_keys import ApiKeys
from orchestrator.stores.redis import connect_redis
from tests.support.api_server import problem_in, running_api

LARGE = {"text": "x" * 300_000}
UI = "http://127.0.0.1:8233"
PLAIN = {"metadata": {"encoding": base64.b64encode(b"json/plain").decode()}, "data": base64.b64encode(b"1").decode()}


@pytest.fixture
def settings_of_ui(isolated_settings: Settings) -> Settings:
    return isolated_settings.model_copy(update={"temporal_ui_url": f"{UI}/some/path"})


@pytest.fixture
async def client(settings_of_ui: Settings) -> AsyncIterator[Client]:
    client = await connect(settings_of_ui)
    yield client
    await disconnect(client)


@pytest.fixture
async def api(settings_of_ui: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with running_api(settings_of_ui) as found:
        yield found


async def referenced(client: Client, tmp: str = "codec") -> dict[str, Any]:
    """A reference as it stands in a history: that of a start's large input."""
    handle = await client.start_workflow("x", LARGE, id=f"{tmp}-{id(client)}", task_queue="nobody-polls-this")
    event = await anext(handle.fetch_history_events())
    payload = event.workflow_execution_started_event_attributes.input.payloads[0]
    await handle.terminate()
    found: dict[str, Any] = MessageToDict(payload)
    assert len(found["data"]) < 1000
    return found


async def test_a_reference_becomes_its_value_and_others_stay(api: httpx2.AsyncClient, client: Client) -> None:
    reference = await referenced(client)
    answer = await api.post("/codec/decode", json={"payloads": [PLAIN, reference, {}]}, headers={"X-Namespace": "a"})
    assert answer.status_code == 200, answer.text
    plain, large, empty = answer.json()["payloads"]
    assert (plain, empty) == (PLAIN, {})
    assert json.loads(base64.b64decode(large["data"])) == LARGE


async def test_the_web_ui_keeps_references_until_somebody_downloads_one(
    api: httpx2.AsyncClient, client: Client
) -> None:
    """As version 2.54 of the Web UI asks, with the same parameter for both."""
    reference, params = await referenced(client, "download"), {"preserveStorageRefs": "true"}
    kept = await api.post("/codec/decode", params=params, json={"payloads": [PLAIN, reference]})
    assert (kept.status_code, kept.json()["payloads"]) == (200, [PLAIN, reference])
    headers = {"Origin": UI, "Sec-Fetch-Site": "cross-site"}
    answer = await api.post("/codec/download", params=params, json={"payloads": [reference]}, headers=headers)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, UI)
    assert json.loads(base64.b64decode(answer.json()["payloads"][0]["data"])) == LARGE


@pytest.mark.parametrize("sha256", ["0" * 64, "../../../etc/passwd", ""])
async def test_a_reference_to_nothing_stays(api: httpx2.AsyncClient, client: Client, sha256: str) -> None:
    reference = await referenced(client)
    data = json.loads(base64.b64decode(reference["data"]))
    (field,) = (name for name in data if name.lower().replace("_", "") == "claimdata")
    data[field]["sha256"] = sha256
    changed = {**reference, "data": base64.b64encode(json.dumps(data).encode()).decode()}
    answer = await api.post("/codec/decode", json={"payloads": [changed]})
    assert (answer.status_code, answer.json()["payloads"]) == (200, [changed])


@pytest.mark.parametrize("payload", [{"data": 7}, {"metadata": [1]}, {"data": "not base64 €"}])
async def test_what_is_no_payload_is_refused(api: httpx2.AsyncClient, payload: Any) -> None:
    problem = problem_in(await api.post("/codec/decode", json={"payloads": [PLAIN, payload]}), 422, "invalid-request")
    assert problem["errors"][0]["pointer"] == "/payloads/1"


async def test_only_the_web_ui_may_ask_across_origins_and_only_the_codec(api: httpx2.AsyncClient) -> None:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-namespace"}
    preflight = await api.options("/codec/decode", headers={"Origin": UI, **asks})
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == UI
    assert "x-namespace" in preflight.headers["access-control-allow-headers"]
    headers = {"Origin": UI, "Sec-Fetch-Site": "cross-site"}
    answer = await api.post("/codec/decode", json={"payloads": []}, headers=headers)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, UI)
    assert "origin" in answer.headers["vary"].lower()
    for path, origin in (("/codec/decode", "http://evil.example.com"), ("/workflows/", UI), ("/codec/decode/", "null")):
        refused = await api.options(path, headers={"Origin": origin, **asks})
        assert refused.status_code == 405
        answer = await api.post(path, json={}, headers={"Origin": origin})
        assert not [name for name in (*refused.headers, *answer.headers) if name.startswith("access-control")]


async def test_a_browser_asks_with_a_cookie_that_opens_the_codec_only(settings_of_ui: Settings) -> None:
    closed = settings_of_ui.model_copy(update={"api_auth": "on"})
    async with connect_redis(closed) as redis:
        token = (await ApiKeys(redis, closed).create("vic", "viewer", created_by="t"))[1]
    async with running_api(closed) as api:
        problem_in(await api.post("/codec/decode", json={"payloads": []}), 401, "unauthenticated")
        opened = await api.post("/codec/session", headers={"X-API-Key": token})
        assert opened.status_code == 204
        cookie = opened.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "Path=/api/v1/codec;" in cookie
        headers = {"Cookie": cookie.partition(";")[0], "Authorization": "Bearer token-of-the-ui"}
        answer = await api.post("/codec/decode", json={"payloads": [PLAIN]}, headers=headers)
        assert answer.json() == {"payloads": [PLAIN]}
        problem_in(await api.get("/workflows/", headers={"Cookie": headers["Cookie"]}), 401, "unauthenticated")


async def test_every_answer_has_the_secure_headers(api: httpx2.AsyncClient) -> None:
    root = str(api.base_url).removesuffix("/api/v1/")
    for url in ("/workflows/", "/nothing", f"{root}/docs", f"{root}/openapi.json"):
        headers = (await api.get(url)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "'sha256-" in (await api.get(f"{root}/docs")).headers["content-security-policy"]
