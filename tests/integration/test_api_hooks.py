"""Inbound webhooks: who is let in, what is started, and that it is started once."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from activities.control import ControlActivities
from orchestrator.client import connect, disconnect
from orchestrator.settings import Settings
from tests.support.api_server import leased_worker, problem_in, running_api
from tests.support.polling import eventually

KEY = b"a key of twenty-four byte"
STEP = {"step_id": "echo", "step_type": "transform", "value": "{{ input }}"}


@pytest.fixture
async def api(isolated_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx2.AsyncClient]:
    monkeypatch.setenv("SECRETS__SHOP", "whsec_" + base64.b64encode(KEY).decode())
    monkeypatch.setenv("SECRETS__GITHUB", "plain")
    async with running_api(isolated_settings) as client:
        yield client


async def stored(api: httpx2.AsyncClient, **webhook: Any) -> str:
    body = {"name": f"Hook {uuid.uuid4().hex[:8]}", "steps": [STEP], "webhook": webhook}
    answer = await api.post("/workflows/", json=body)
    assert answer.status_code == 201, answer.text
    workflow_id: str = answer.json()["workflow_id"]
    return workflow_id


def signed(body: bytes, message_id: str = "msg_1", *, at: int = 0, key: bytes = KEY) -> dict[str, str]:
    """Headers as Standard Webhooks has them; `at` is seconds from now."""
    moment = int(time.time()) + at
    digest = hmac.new(key, f"{message_id}.{moment}.".encode() + body, hashlib.sha256).digest()
    value = f"v1,{base64.b64encode(digest).decode()}"
    names = {"webhook-id": message_id, "webhook-timestamp": str(moment), "webhook-signature": f"v1,AAAA {value}"}
    return {"content-type": "application/json", **names}


async def test_a_signed_message_starts_one_execution_however_often_it_comes(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    workflow_id = await stored(api, secret="SHOP")
    body = json.dumps({"order": 42}).encode()
    answers = [await api.post(f"/hooks/{workflow_id}", content=body, headers=signed(body)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 200, 200], answers[0].text
    (execution_id,) = {answer.json()["execution_id"] for answer in answers}
    other = await api.post(f"/hooks/{workflow_id}", content=body, headers=signed(body, "msg_2"))
    assert other.json()["execution_id"] != execution_id
    client = await connect(isolated_settings)
    async with leased_worker(client, isolated_settings, ControlActivities(client).all()):
        found: dict[str, Any] = {}

        async def closed() -> bool:
            nonlocal found
            found = (await api.get(f"/executions/{execution_id}")).json()
            return bool(found["status"] == "completed")

        await eventually(closed)
    await disconnect(client)
    assert found["output"] == {"echo": {"order": 42}}
    again = await api.post(f"/hooks/{workflow_id}", content=body, headers=signed(body))
    assert again.json()["execution_id"] == execution_id


async def test_what_is_not_genuine_or_not_fresh_is_refused(api: httpx2.AsyncClient) -> None:
    workflow_id, body = await stored(api, secret="SHOP"), b'{"order": 42}'
    good = signed(body)
    faulty = [
        {"content-type": "application/json"},
        {**good, "webhook-signature": "v1,AAAA"},
        {**good, "webhook-signature": "v1,ä"},
        {**good, "webhook-id": "msg_2"},
        {**good, "webhook-timestamp": "soon"},
        signed(body, at=-400),
        signed(body, at=400),
        signed(body, key=b"another key"),
        signed(b'{"order": 43}'),
    ]
    for headers in faulty:
        encoded = {name.encode(): value.encode() for name, value in headers.items()}
        problem_in(await api.post(f"/hooks/{workflow_id}", content=body, headers=encoded), 401, "invalid-signature")
    assert (await api.post(f"/hooks/{workflow_id}", content=body, headers=good)).status_code == 202


async def test_githubs_signature_lets_in_with_the_headers_that_the_definition_names(api: httpx2.AsyncClient) -> None:
    workflow_id = await stored(api, secret="GITHUB", scheme="github", headers=["x-github-event", "x-absent"])
    body = b'{"action": "opened"}'
    digest = hmac.new(b"plain", body, hashlib.sha256).hexdigest()
    headers = {"content-type": "application/json", "x-github-delivery": "d-1", "x-github-event": "issues"}
    answer = await api.post(
        f"/hooks/{workflow_id}", content=body, headers={**headers, "x-hub-signature-256": f"sha256={digest}"}
    )
    assert answer.status_code == 202, answer.text
    assert answer.json()["input"] == {"body": {"action": "opened"}, "headers": {"x-github-event": "issues"}}
    wrong = {**headers, "x-hub-signature-256": f"sha256={'0' * 64}"}
    problem_in(await api.post(f"/hooks/{workflow_id}", content=body, headers=wrong), 401, "invalid-signature")


async def test_a_workflow_without_a_webhook_and_one_without_its_secret_start_nothing(api: httpx2.AsyncClient) -> None:
    answer = await api.post("/workflows/", json={"name": f"No hook {uuid.uuid4().hex[:8]}", "steps": [STEP]})
    body = b"{}"
    closed = await api.post(f"/hooks/{answer.json()['workflow_id']}", content=body, headers=signed(body))
    problem_in(closed, 404, "hook-not-found")
    secretless = await stored(api, secret="NOBODY_KNOWS")
    problem_in(await api.post(f"/hooks/{secretless}", content=body, headers=signed(body)), 503, "unavailable")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{", (400, "malformed-json")),
        (b'{"a": 1, "a": 1}', (400, "malformed-json")),
        (b"[" * 500_000, (400, "malformed-json")),
        (b"\xff" * 1_000_000, (400, "malformed-json")),
    ],
    ids=["cut off", "duplicate keys", "deep", "large and no text"],
)
async def test_only_who_signs_a_body_is_told_that_it_is_no_json(
    api: httpx2.AsyncClient, body: bytes, told: tuple[int, str]
) -> None:
    workflow_id = await stored(api, secret="SHOP")
    problem_in(await api.post(f"/hooks/{workflow_id}", content=body, headers=signed(body)), *told)
    for headers in (signed(body, key=b"another key"), {"content-type": "text/plain"}, signed(body, at=-400)):
        problem_in(await api.post(f"/hooks/{workflow_id}", content=body, headers=headers), 401, "invalid-signature")


async def test_a_hook_has_its_share_of_genuine_messages_and_what_is_not_genuine_takes_none(
    isolated_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRETS__SHOP", "whsec_" + base64.b64encode(KEY).decode())
    # One at a time, and the next one in a minute.
    settings = isolated_settings.model_copy(update={"api_hooks_per_minute": 1})
    body = b'{"order": 42}'
    async with running_api(settings) as one, running_api(settings) as other:
        workflow_id, neighbour = await stored(one, secret="SHOP"), await stored(one, secret="SHOP")
        for _ in range(3):
            wrong = await one.post(f"/hooks/{workflow_id}", content=body, headers=signed(body, key=b"another key"))
            problem_in(wrong, 401, "invalid-signature")
        assert (await one.post(f"/hooks/{workflow_id}", content=body, headers=signed(body))).status_code == 202
        limited = await other.post(f"/hooks/{workflow_id}", content=body, headers=signed(body, "msg_2"))
        problem_in(limited, 429, "too-many-requests")
        assert 1 <= int(limited.headers["retry-after"]) <= 60
        assert (await other.post(f"/hooks/{neighbour}", content=body, headers=signed(body))).status_code == 202


async def test_an_address_that_is_never_genuine_is_stopped_at_that_hook_alone(
    isolated_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRETS__SHOP", "whsec_" + base64.b64encode(KEY).decode())
    settings, body = isolated_settings.model_copy(update={"api_failures_per_minute": 5}), b'{"order": 42}'
    async with running_api(settings) as api, running_api(settings) as other_process:
        tried, other = await stored(api, secret="SHOP"), await stored(api, secret="SHOP")
        wrong = signed(body, key=b"another key")
        answers = [await api.post(f"/hooks/{tried}", content=body, headers=wrong) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [401] * 5 + [429]
        stopped = await other_process.post(f"/hooks/{tried}", content=body, headers=signed(body))
        assert "API_FAILURES_PER_MINUTE" in problem_in(stopped, 429, "too-many-requests")["hint"]
        assert 0 < int(stopped.headers["retry-after"]) <= 60
        assert (await api.post(f"/hooks/{other}", content=body, headers=signed(body))).status_code == 202
