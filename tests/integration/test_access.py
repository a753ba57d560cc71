"""Who may do what: every operation of the contract with every role, and with keys that open nothing."""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from fastapi.routing import iter_route_contexts
from redis.asyncio import Redis

from api.app import create_app
from api.roles import OPERATION_ROLES
from orchestrator.execution.errors_access import KeyExists
from orchestrator.settings import Settings
from orchestrator.stores.api_keys import ROLES, ApiKeys, Role
from orchestrator.stores.redis import connect_redis
from tests.integration.test_api_outages import silent_server
from tests.support.api_server import problem_in, running_api
from tests.support.clock import awake_seconds
from tests.support.pace import within
from tests.support.ports import free_port

BOOTSTRAP = "bootstrap-key-of-these-tests-0123456789"
PARAMETERS = {"version": "1", "key_id": "00", "agent_type": "nobody", "path": "a", "name": "absent"}


@pytest.fixture
def closed(isolated_settings: Settings) -> Settings:
    """Settings with authentication."""
    fields = {"api_auth": "on", "api_bootstrap_key": BOOTSTRAP, "api_failures_per_minute": 1000}
    return Settings(_env_file=None, **{**isolated_settings.model_dump(exclude_unset=True), **fields})


@pytest.fixture
async def redis(closed: Settings) -> AsyncIterator[Redis]:
    async with connect_redis(closed) as client:
        yield client


@pytest.fixture
def keys(closed: Settings, redis: Redis) -> ApiKeys:
    return ApiKeys(redis, closed)


@pytest.fixture
async def tokens(keys: ApiKeys) -> dict[Role, str]:
    """One key of each role."""
    return {role: (await keys.create(role, role, created_by="test"))[1] for role in ROLES}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def operations() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Every operation: id, method, path without its prefix and with its parameters filled in, and a body."""
    document = create_app(Settings(_env_file=None)).openapi()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            filled = re.sub(r"\{(\w+)\}", lambda found: PARAMETERS.get(found[1], "absent"), path)
            # An unknown field: with a role that suffices, nothing is done.
            options = {"json": {"no such field": 1}} if "requestBody" in operation else {}
            yield operation["operationId"], method.upper(), filled.removeprefix("/api/v1"), options


ALL = list(operations())


async def statuses(api: httpx2.AsyncClient, headers: dict[str, str]) -> dict[str, int]:
    """Send every operation; gives their answers' statuses."""
    turns = asyncio.Semaphore(16)

    async def send(method: str, path: str, options: dict[str, Any]) -> int:
        async with turns:
            for _ in range(3):
                answer = await api.request(method, path, headers=headers, **options)
                # A busy machine may keep Redis from answering in time: nobody was let in, nothing is told of the key.
                if answer.status_code != 503 or answer.json()["code"] != "redis-unavailable":
                    break
        if answer.status_code in (401, 403):
            assert ("www-authenticate" in answer.headers) == (answer.status_code == 401)
            problem_in(answer, answer.status_code, "unauthenticated" if answer.status_code == 401 else "forbidden")
        # What lets nobody in because it is not there would count as allowed.
        assert answer.status_code != 405, (method, path)
        assert answer.status_code != 404 or answer.json()["code"] != "not-found", (method, path)
        return answer.status_code

    found = await asyncio.gather(*(send(method, path, options) for _, method, path, options in ALL))
    return dict(zip((operation for operation, *_ in ALL), found, strict=True))


def test_every_operation_has_a_role_and_every_role_an_operation() -> None:
    assert {operation for operation, *_ in ALL} == OPERATION_ROLES.keys()
    assert [name for name, needed in OPERATION_ROLES.items() if needed == "public"] == [
        "get_liveness",
        "get_readiness",
        "get_workflow_schema",
        "receive_webhook",
    ]


def test_nothing_is_served_that_the_matrix_does_not_hold() -> None:
    app = create_app(Settings(_env_file=None))
    served = {
        (method, str(context.path).replace(":path}", "}"))
        for context in iter_route_contexts(app.routes)
        for method in context.methods or ()
    }
    described = {(method.upper(), path) for path, item in app.openapi()["paths"].items() for method in item}
    others = {path for method, path in served - described if method != "HEAD"}
    # The contract and its page are open; they hold no data.
    assert {path for path in others if not path.startswith("/docs")} == {"/openapi.json"}


@pytest.mark.parametrize("role", ROLES)
async def test_a_key_opens_what_its_role_allows_and_nothing_else(
    role: Role, closed: Settings, tokens: dict[Role, str]
) -> None:
    async with running_api(closed) as api:
        found = await statuses(api, bearer(tokens[role]))
    allowed = {"public", *ROLES[: ROLES.index(role) + 1]}
    wrong = {
        operation: status
        for operation, status in found.items()
        if (status == 403) != (OPERATION_ROLES[operation] not in allowed) or status in (401, 429, 500)
    }
    assert wrong == {}


@pytest.mark.parametrize(
    "which",
    ["none", *(f"revoked {role}" for role in ROLES), "expired", "unknown", "cut", "changed", "basic", "long", "odd"],
)
async def test_without_a_valid_key_only_public_operations_answer(
    which: str, closed: Settings, keys: ApiKeys, tokens: dict[Role, str]
) -> None:
    good = tokens["admin"]
    if which.startswith("revoked"):
        role: Any = which.removeprefix("revoked ")
        record, good = await keys.create("gone", role, created_by="test")
        await keys.revoke(record.key_id)
    if which == "expired":
        good = (await keys.create("late", "admin", created_by="test", lifetime=timedelta(seconds=-1)))[1]
    headers: Any = {
        "none": {},
        **{f"revoked {role}": bearer(good) for role in ROLES},
        "expired": bearer(good),
        "unknown": {"X-API-Key": f"aok_{'0' * 12}_{'x' * 43}"},
        "cut": bearer(good[:-1]),
        "changed": bearer(good[:-1] + ("A" if good[-1] != "A" else "B")),
        "basic": {"Authorization": "Basic YWRtaW46YWRtaW4="},
        "long": {"X-API-Key": "x" * 5000},
        "odd": {"X-API-Key": b"\xfe\xff"},
    }[which]
    async with running_api(closed) as api:
        found = await statuses(api, headers)
    public = {"none", "basic"}  # Public operations check the key that they are given.
    for operation, status in found.items():
        open_to_all = OPERATION_ROLES[operation] == "public" and which in public
        assert (status != 401) == open_to_all, (operation, status)


async def test_a_refusal_comes_before_the_body_is_read(closed: Settings, tokens: dict[Role, str]) -> None:
    async with running_api(closed) as api:
        options: dict[str, Any] = {"content": b"{not json", "headers": {"Content-Type": "application/json"}}
        problem_in(await api.post("/workflows/", **options), 401, "unauthenticated")
        options["headers"] |= bearer(tokens["viewer"])
        answer = problem_in(await api.post("/workflows/", **options), 403, "forbidden")
        assert "editor" in answer["hint"]
        options["headers"] |= bearer(tokens["editor"])
        problem_in(await api.post("/workflows/", **options), 400, "malformed-json")


async def test_an_operation_without_a_role_is_for_nobody(closed: Settings, tokens: dict[Role, str]) -> None:
    app = create_app(closed)

    @app.get("/new", operation_id="operation_of_tomorrow")
    async def new() -> str:
        return "open"

    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client,
    ):
        assert (await client.get("/new")).status_code == 401
        problem_in(await client.get("/new", headers=bearer(tokens["admin"])), 403, "forbidden")


async def test_keys_are_made_shown_once_listed_and_revoked(closed: Settings, redis: Redis) -> None:
    async with running_api(closed) as api:
        made = await api.post("/keys/", json={"name": "kim", "role": "viewer"}, headers=bearer(BOOTSTRAP))
        assert made.status_code == 201
        document = made.json()
        token, key_id = document.pop("key"), document["key_id"]
        assert token.startswith(f"aok_{key_id}_")
        assert made.headers["location"].endswith(key_id)
        assert (document["created_by"], document["state"]) == ("bootstrap", "active")
        listed = (await api.get("/keys/", headers=bearer(BOOTSTRAP))).json()["items"]
        assert listed == [document]
        again = await api.post("/keys/", json={"name": "kim", "role": "admin"}, headers=bearer(BOOTSTRAP))
        problem_in(again, 409, "key-exists")
        assert (await api.get("/workflows/", headers={"X-API-Key": token})).status_code == 200
        revoked = await api.delete(f"/keys/{key_id}", headers=bearer(BOOTSTRAP))
        assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
        problem_in(await api.get("/workflows/", headers={"X-API-Key": token}), 401, "unauthenticated")
        assert (await api.delete(f"/keys/{key_id}", headers=bearer(BOOTSTRAP))).json() == revoked.json()
        problem_in(await api.delete("/keys/00", headers=bearer(BOOTSTRAP)), 404, "key-not-found")
        renewed = await api.post("/keys/", json={"name": "kim", "role": "viewer"}, headers=bearer(BOOTSTRAP))
        assert renewed.status_code == 201
    secret = token.removeprefix(f"aok_{key_id}_")
    records = await redis.hgetall(f"{{{closed.redis_key_prefix}:keys}}:records")
    assert key_id in records
    assert not [text for text in records.values() if secret[:20] in text]


async def test_a_revocation_counts_in_every_process_at_once(
    closed: Settings, keys: ApiKeys, tokens: dict[Role, str]
) -> None:
    editor = next(key for key in await keys.list() if key.name == "editor")
    async with running_api(closed) as one, running_api(closed) as other:
        for api in (one, other):
            assert (await api.get("/workflows/", headers=bearer(tokens["editor"]))).status_code == 200
        await one.delete(f"/keys/{editor.key_id}", headers=bearer(tokens["admin"]))
        for api in (one, other):
            assert (await api.get("/workflows/", headers=bearer(tokens["editor"]))).status_code == 401


async def test_names_are_unique_among_active_keys(keys: ApiKeys) -> None:
    await keys.create("kim", "viewer", created_by="test", lifetime=timedelta(seconds=-1))
    await keys.create("kim", "viewer", created_by="test")
    for taken in ("kim", "bootstrap"):
        with pytest.raises(KeyExists):
            await keys.create(taken, "admin", created_by="test")


async def test_of_many_at_once_one_gets_the_name(keys: ApiKeys) -> None:
    tries = [keys.create("kim", "viewer", created_by="test") for _ in range(20)]
    found = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(not isinstance(one, BaseException) for one in found) == 1


async def test_digests_are_compared_in_constant_time(
    keys: ApiKeys, tokens: dict[Role, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def spy(left: bytes, right: bytes) -> bool:
        compared.append((len(left), len(right)))
        return real(left, right)

    monkeypatch.setattr("orchestrator.stores.api_keys.hmac.compare_digest", spy)
    assert (await keys.admit(tokens["viewer"], "here")).role == "viewer"
    # The bootstrap key's and the stored digest: both of one length whatever was sent.
    assert compared == [(32, 32), (64, 64)]


async def test_guesses_are_stopped_without_locking_out_anybody_else(closed: Settings, tokens: dict[Role, str]) -> None:
    settings = closed.model_copy(update={"api_failures_per_minute": 5})
    wrong = tokens["viewer"][:-2] + "--"
    async with running_api(settings) as api:
        answers = [await api.get("/workflows/", headers=bearer(wrong)) for _ in range(8)]
        assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 3
        problem_in(answers[-1], 429, "too-many-requests")
        assert int(answers[-1].headers["retry-after"]) >= 1
        # The key itself is not tried any more from here either; others are.
        assert (await api.get("/workflows/", headers=bearer(tokens["viewer"]))).status_code == 429
        assert (await api.get("/workflows/", headers=bearer(tokens["operator"]))).status_code == 200
        answers = [await api.get("/workflows/", headers=bearer("nonsense")) for _ in range(6)]
        assert answers[-1].status_code == 429
        assert (await api.get("/workflows/", headers=bearer(tokens["operator"]))).status_code == 200


async def test_a_key_has_its_share_of_requests(closed: Settings, tokens: dict[Role, str]) -> None:
    settings = closed.model_copy(update={"api_requests_per_minute": 60})
    async with running_api(settings) as one, running_api(settings) as other:
        answers = [await (one, other)[n % 2].get("/workflows/", headers=bearer(tokens["viewer"])) for n in range(40)]
        limited = [answer for answer in answers if answer.status_code == 429]
        assert {answer.status_code for answer in answers} == {200, 429}
        assert [answer.status_code for answer in answers[:10]] == [200] * 10
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in limited)
        assert (await one.get("/workflows/", headers=bearer(tokens["editor"]))).status_code == 200


async def test_a_redis_that_was_emptied_and_filled_anew_needs_no_restart(
    closed: Settings, keys: ApiKeys, redis: Redis, tokens: dict[Role, str]
) -> None:
    await keys.admit(tokens["viewer"], "here")
    async for key in redis.scan_iter(f"*{closed.redis_key_prefix}*"):
        await redis.delete(key)
    token = (await ApiKeys(redis, closed).create("new", "viewer", created_by="test"))[1]
    assert (await keys.admit(token, "here")).name == "new"


async def test_a_pepper_of_the_settings_is_not_in_redis_and_makes_other_keys(closed: Settings, redis: Redis) -> None:
    first, second = (
        Settings(_env_file=None, **{**closed.model_dump(exclude_unset=True), "api_key_pepper": letter * 32})
        for letter in "ab"
    )
    token = (await ApiKeys(redis, first).create("kim", "viewer", created_by="test"))[1]
    assert (await ApiKeys(redis, first).admit(token, "here")).name == "kim"
    async with running_api(second) as api:
        problem_in(await api.get("/workflows/", headers=bearer(token)), 401, "unauthenticated")
    assert not [value async for value in redis.scan_iter(f"*{closed.redis_key_prefix}*pepper*")]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "api.example.com"])
def test_an_open_api_beyond_loopback_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="API_AUTH=off is for the local stack on loopback"):
        Settings(_env_file=None, api_auth="off", api_host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1"])
def test_an_open_api_on_loopback_is_not(host: str) -> None:
    assert Settings(_env_file=None, api_auth="off", api_host=host).api_auth == "off"


async def test_an_open_api_does_not_answer_foreign_pages(isolated_settings: Settings) -> None:
    async with running_api(isolated_settings) as api:
        assert (await api.get("/workflows/")).status_code == 200
        odd_hosts = ({"Host": host} for host in ("rebound.example.com", "127.0.0.1@example.com", "[", "[::1", "[]"))
        for headers in (*odd_hosts, {"Sec-Fetch-Site": "cross-site"}):
            problem_in(await api.post("/executions/x/pause", headers=headers), 403, "forbidden")


@pytest.mark.parametrize("silent", [False, True])
async def test_with_redis_away_nobody_is_let_in_unasked_and_told_so_in_time(
    closed: Settings, tokens: dict[Role, str], silent: bool
) -> None:
    async with silent_server() as port:
        url = f"redis://127.0.0.1:{port if silent else free_port()}"
        settings = Settings(_env_file=None, **{**closed.model_dump(exclude_unset=True), "redis_url": url})
        async with running_api(settings) as api:
            began = awake_seconds()
            answer = await api.get("/executions/", headers=bearer(tokens["admin"]))
            assert within(awake_seconds() - began, 2)
            problem_in(answer, 503, "redis-unavailable")
            problem_in(await api.get("/executions/"), 401, "unauthenticated")
            assert (await api.get("/health/live")).status_code == 200


async def test_strangers_learn_of_readiness_only_which_part_is_away(closed: Settings, tokens: dict[Role, str]) -> None:
    async with running_api(closed) as api:
        parts = (await api.get("/health/ready")).json()["parts"]
        assert parts["redis"] == {"status": "ok", "detail": ""}
        known = (await api.get("/health/ready", headers=bearer(tokens["viewer"]))).json()["parts"]
        assert known["worker"]["detail"]


WAITING = {"name": "Waiting", "steps": [{"step_id": "ok", "step_type": "approval", "title": "Go on?"}]}


async def test_a_revocation_ends_streams_and_waits_that_its_key_began(
    closed: Settings, keys: ApiKeys, tokens: dict[Role, str]
) -> None:
    record, token = await keys.create("watcher", "operator", created_by="test")
    async with running_api(closed) as api:
        await api.put("/workflows/waiting", json=WAITING, headers=bearer(tokens["editor"]))
        started = await api.post("/workflows/waiting/execute", json={}, headers=bearer(token))
        events = f"/executions/{started.json()['execution_id']}/events"
        body = {"async_execution": False, "wait_seconds": 120}

        async def read_on(headers: dict[str, str]) -> None:
            async with api.stream("GET", events, headers=headers) as answer:
                assert answer.status_code == 200
                opened.release()
                async for _ in answer.aiter_bytes():
                    pass

        opened = asyncio.Semaphore(0)
        barred = asyncio.create_task(read_on(bearer(token)))
        let_in = asyncio.create_task(read_on(bearer(tokens["viewer"])))
        waiting = asyncio.create_task(api.post("/workflows/waiting/execute", json=body, headers=bearer(token)))
        await opened.acquire()
        await opened.acquire()
        await keys.revoke(record.key_id)
        revoked = awake_seconds()
        with pytest.raises(httpx2.RemoteProtocolError):
            await asyncio.wait_for(barred, 60)
        assert within(awake_seconds() - revoked, 5)
        problem_in(await waiting, 401, "unauthenticated")
        assert within(awake_seconds() - revoked, 5)
        assert not let_in.done()
        let_in.cancel()
        await asyncio.gather(let_in, return_exceptions=True)


async def test_keys_are_pages_in_the_order_of_their_creation(closed: Settings, keys: ApiKeys) -> None:
    made = [(await keys.create(f"page-{number}", "viewer", created_by="test"))[0].key_id for number in range(5)]
    found: list[str] = []
    cursor: str | None = None
    async with running_api(closed) as api:
        while True:
            query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
            page = (await api.get("/keys/", params=query, headers=bearer(BOOTSTRAP))).json()
            assert len(page["items"]) <= 2
            found += [item["key_id"] for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
    assert [key_id for key_id in found if key_id in made] == made
    assert len(found) == len(set(found))
