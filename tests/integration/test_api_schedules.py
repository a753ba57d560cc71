"""Schedules over HTTP, with Temporal's own schedules behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx2
import pytest
from temporalio.client import Client

from activities.definitions import DefinitionActivities
from api.schedule_revisions import claim_deletion
from orchestrator.client import connect, disconnect
from orchestrator.sdk import OrchestratorClient
from orchestrator.settings import Settings
from orchestrator.stores.definitions import DefinitionStore
from orchestrator.stores.redis import connect_redis
from tests.support.api_server import leased_worker, problem_in, running_api
from tests.support.polling import eventually

ECHO: dict[str, Any] = {
    "name": "Echo",
    "steps": [{"step_id": "echo", "step_type": "transform", "value": "{{ input.kind ?? 'none' }}"}],
    "input_schema": {"type": "object", "properties": {"kind": {"type": "string"}}},
}


@pytest.fixture
def name(isolated_settings: Settings) -> str:
    """The id of the workflow and of the schedule: the namespace is all tests'."""
    return isolated_settings.redis_key_prefix


@pytest.fixture
async def api(isolated_settings: Settings, name: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with running_api(isolated_settings) as client:
        assert (await client.put(f"/workflows/{name}", json=ECHO)).status_code == 201
        yield client
        await client.delete(f"/schedules/{name}")


@pytest.fixture
async def worker(isolated_settings: Settings) -> AsyncIterator[None]:
    client, redis = await connect(isolated_settings), connect_redis(isolated_settings)
    store = DefinitionStore(redis, isolated_settings.redis_key_prefix)
    async with leased_worker(client, isolated_settings, DefinitionActivities(store, client).all()):
        yield
    await redis.aclose()
    await disconnect(client)


def schedule(name: str, **fields: Any) -> dict[str, Any]:
    return {"schedule_id": name, "workflow_id": name, "cron": ["30 2 * * MON-FRI"], **fields}


async def created(api: httpx2.AsyncClient, name: str, **fields: Any) -> dict[str, Any]:
    answer = await api.post("/schedules/", json=schedule(name, **fields))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_schedule_is_read_as_it_was_sent_with_its_next_runs(api: httpx2.AsyncClient, name: str) -> None:
    fields: dict[str, Any] = {
        "version": 1,
        "input_data": {"kind": "sales"},
        "tags": {"team": "sales"},
        "time_zone": "Europe/Berlin",
        "intervals": [{"every_seconds": 86400, "offset_seconds": 60}],
        "calendars": [{"hour": "9-17", "day_of_week": "MON-FRI", "month": "1,7"}],
        "skip": [{"day_of_month": "24-26", "month": "DEC", "hour": "*", "minute": "*"}],
        "jitter_seconds": 5,
        "start_at": "2027-01-01T00:00:00+01:00",
        "end_at": "2031-01-01T00:00:00Z",
        "overlap": "buffer_one",
        "catch_up_window_seconds": 600,
        "pause_on_failure": True,
        "note": "for the board",
    }
    found = await created(api, name, **fields)
    assert (await api.get(f"/schedules/{name}")).json() == found
    skip = {"second": "0", "year": "*", "day_of_week": "*", **fields["skip"][0]}
    calendar = {"second": "0", "minute": "0", "day_of_month": "*", "year": "*", **fields["calendars"][0]}
    expected = {**schedule(name, **fields), "skip": [skip], "calendars": [calendar]}
    assert {key: found[key] for key in expected} == expected
    assert (found["paused"], found["runs"], found["running"]) == (False, 0, [])
    assert len(found["next_runs"]) >= 3
    assert all(found_at >= "2026-12-31T23" for found_at in found["next_runs"])
    problem_in(await api.post("/schedules/", json=schedule(name)), 409, "schedule-exists")


async def test_cron_runs_are_in_the_schedules_time_zone(api: httpx2.AsyncClient, name: str) -> None:
    found = await created(api, name, cron=["30 2 * * MON-FRI"], time_zone="Europe/Berlin")
    for text in found["next_runs"]:
        local = datetime.fromisoformat(text).astimezone(ZoneInfo("Europe/Berlin"))
        assert (local.hour, local.minute) == (2, 30)
        assert local.isoweekday() <= 5


async def test_a_day_of_the_month_or_of_the_week_is_enough_in_cron(api: httpx2.AsyncClient, name: str) -> None:
    found = await created(api, name, cron=["0 8 13 * FRI"])
    moments = [datetime.fromisoformat(text) for text in found["next_runs"]]
    assert all(moment.isoweekday() == 5 or moment.day == 13 for moment in moments)
    assert any(moment.isoweekday() == 5 and moment.day != 13 for moment in moments)


async def test_temporal_takes_every_form_that_the_api_takes(api: httpx2.AsyncClient, name: str) -> None:
    texts = [
        "@hourly",
        "@yearly",
        "*/7 */5 */9 */4 */2",
        "5/10 1-23/3 31 1,3 *",
        "0 0 29 2 *",
        "0 0 * * 7",
        "59 23 * dec sun",
    ]
    found = await created(api, name, cron=texts, calendars=[{"second": "*/30", "year": "2027-2030", "hour": "*"}])
    assert found["cron"] == texts
    assert found["next_runs"]


@pytest.mark.parametrize(
    ("fields", "pointer", "said"),
    [
        ({"cron": ["0 0 * * *", "0 25 * * *"]}, "/cron/1", "hour '25'"),
        ({"cron": ["0 0 31 2 *"]}, "/cron/0", "never run"),
        ({"time_zone": "localtime"}, "/time_zone", ""),
        ({"time_zone": "Europe/Berlim"}, "/time_zone", "did you mean 'Europe/Berlin'?"),
        ({"calendars": [{"hour": "nine"}]}, "/calendars/0", "hour"),
        ({"intervals": [{"every_seconds": 0}]}, "/intervals/0/every_seconds", "greater than or equal to 1"),
        ({"intervals": [{"every_seconds": 60, "offset_seconds": 60}]}, "/intervals/0", "less than every_seconds"),
        ({"start_at": "2027-01-01"}, "/start_at", "offset"),
        ({"start_at": "2027-01-02T00:00:00Z", "end_at": "2027-01-01T00:00:00Z"}, "", "after start_at"),
        ({"cron": []}, "", "at least one"),
        ({"overlap": "queue"}, "/overlap", "buffer_one"),
        ({"catch_up_window_seconds": 1}, "/catch_up_window_seconds", "10"),
        ({"input_data": {"kind": 1}}, "/input_data/kind", "string"),
    ],
)
async def test_a_faulty_schedule_is_refused_with_a_pointer(
    api: httpx2.AsyncClient, name: str, fields: dict[str, Any], pointer: str, said: str
) -> None:
    answer = await api.post("/schedules/", json=schedule(name, **fields))
    assert answer.status_code == 422, answer.text
    (issue,) = answer.json()["errors"]
    assert issue["pointer"] == pointer
    assert said in issue["message"]
    assert (await api.get(f"/schedules/{name}")).status_code == 404


async def test_what_does_not_exist_is_not_found(api: httpx2.AsyncClient, name: str) -> None:
    problem_in(await api.post("/schedules/", json=schedule(name, workflow_id="nobody")), 404, "workflow-not-found")
    problem_in(await api.post("/schedules/", json=schedule(name, version=9)), 404, "workflow-not-found")
    for action in ("pause", "resume", "trigger"):
        problem_in(await api.post(f"/schedules/{name}/{action}"), 404, "schedule-not-found")
    body = {key: value for key, value in schedule(name).items() if key != "schedule_id"}
    problem_in(await api.put(f"/schedules/{name}", json=body), 404, "schedule-not-found")
    problem_in(await api.delete(f"/schedules/{name}"), 404, "schedule-not-found")


async def test_an_input_too_large_for_a_schedule_is_refused(api: httpx2.AsyncClient, name: str) -> None:
    body = schedule(name, input_data={"kind": "x" * 70_000})
    problem_in(await api.post("/schedules/", json=body), 413, "payload-too-large")


async def test_a_schedule_is_changed_paused_resumed_and_deleted(api: httpx2.AsyncClient, name: str) -> None:
    await created(api, name, note="first")
    paused = (await api.post(f"/schedules/{name}/pause", json={"reason": "price list is late"})).json()
    assert (paused["paused"], paused["note"]) == (True, "price list is late")
    body = {"workflow_id": name, "intervals": [{"every_seconds": 3600}], "overlap": "allow_all"}
    changed = (await api.put(f"/schedules/{name}", json=body)).json()
    assert (changed["paused"], changed["cron"], changed["overlap"]) == (True, [], "allow_all")
    assert changed["intervals"] == [{"every_seconds": 3600, "offset_seconds": 0}]
    resumed = (await api.post(f"/schedules/{name}/resume")).json()
    assert resumed["paused"] is False
    assert (await api.delete(f"/schedules/{name}")).status_code == 204
    problem_in(await api.get(f"/schedules/{name}"), 404, "schedule-not-found")


async def test_a_triggered_run_is_an_execution_that_names_its_schedule(
    api: httpx2.AsyncClient, name: str, worker: None
) -> None:
    await created(api, name, input_data={"kind": "sales"}, tags={"team": "sales"}, paused=True)
    answer = await api.post(f"/schedules/{name}/trigger")
    assert answer.status_code == 202, answer.text
    execution_id = await run_of(api, name)
    found = await ended(api, execution_id)
    assert (found["status"], found["output"]) == ("completed", {"echo": "sales"})
    assert (found["workflow_version"], found["lineage"]["schedule_id"]) == (1, name)
    (listed,) = await executions_of(api, name, 1)
    assert (listed["execution_id"], listed["tags"]) == (execution_id, {"team": "sales"})


async def test_a_schedule_starts_executions_by_itself_at_the_latest_version(
    api: httpx2.AsyncClient, name: str, worker: None
) -> None:
    second = {**ECHO, "steps": [{"step_id": "echo", "step_type": "transform", "value": "second"}]}
    await created(api, name, cron=[], intervals=[{"every_seconds": 1}], overlap="allow_all")
    assert (await api.put(f"/workflows/{name}", json=second)).json()["version"] == 2

    async def at_second() -> bool:
        runs = (await api.get(f"/schedules/{name}")).json()["recent_runs"]
        return bool(runs) and (await ended(api, runs[-1]["execution_id"]))["workflow_version"] == 2

    await eventually(at_second, 20)


async def test_a_deleted_workflow_pauses_its_schedules_and_refuses_their_starts(
    api: httpx2.AsyncClient, name: str
) -> None:
    await created(api, name)
    await listed_as(api, name, [name])
    assert (await api.delete(f"/workflows/{name}")).status_code == 204
    found = (await api.get(f"/schedules/{name}")).json()
    assert (found["paused"], found["note"]) == (True, f"workflow '{name}' was deleted")
    problem_in(await api.post(f"/schedules/{name}/trigger"), 410, "workflow-deleted")
    problem_in(await api.post(f"/schedules/{name}/resume"), 410, "workflow-deleted")
    assert (await api.put(f"/workflows/{name}", json=ECHO)).status_code == 201
    assert (await api.post(f"/schedules/{name}/resume")).json()["paused"] is False


async def test_a_run_of_a_deleted_workflow_fails_and_pauses_its_schedule(
    api: httpx2.AsyncClient, name: str, worker: None, temporal_client: Client, isolated_settings: Settings
) -> None:
    await created(api, name)
    # As if the deletion had not reached Temporal.
    redis = connect_redis(isolated_settings)
    await DefinitionStore(redis, isolated_settings.redis_key_prefix).delete(name)
    await redis.aclose()
    await temporal_client.get_schedule_handle(name).trigger()
    found = await ended(api, await run_of(api, name))
    assert (found["status"], found["error"]["type"]) == ("failed", "workflow-deleted")
    shown = (await api.get(f"/schedules/{name}")).json()
    assert (shown["paused"], shown["note"]) == (True, f"workflow '{name}' was deleted")


async def test_schedules_are_listed_by_pages(api: httpx2.AsyncClient, name: str) -> None:
    names = [name, *(f"{name}-{number}" for number in range(2))]
    for item in names:
        assert (await api.post("/schedules/", json={**schedule(item), "workflow_id": name})).status_code == 201
    await listed_as(api, name, sorted(names))
    found: list[str] = []
    cursor: str | None = None
    while cursor is not None or not found:
        params: dict[str, str | int] = {"workflow_id": name, "limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await api.get("/schedules/", params=params)).json()
        found += [item["schedule_id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert sorted(found) == sorted(names)
    problem_in(await api.get("/schedules/?cursor=abc"), 422, "invalid-request")
    for item in names[1:]:
        await api.delete(f"/schedules/{item}")


async def listed_as(api: httpx2.AsyncClient, workflow_id: str, names: list[str]) -> None:
    async def all_there() -> bool:
        page = (await api.get("/schedules/", params={"workflow_id": workflow_id})).json()
        return sorted(item["schedule_id"] for item in page["items"]) == names

    await eventually(all_there)


async def run_of(api: httpx2.AsyncClient, name: str) -> str:
    """The id of the schedule's first run, once there is one."""
    runs: list[dict[str, Any]] = []

    async def there() -> bool:
        nonlocal runs
        runs = (await api.get(f"/schedules/{name}")).json()["recent_runs"]
        return bool(runs)

    await eventually(there)
    execution_id: str = runs[0]["execution_id"]
    return execution_id


async def ended(api: httpx2.AsyncClient, execution_id: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def closed() -> bool:
        nonlocal found
        found = (await api.get(f"/executions/{execution_id}")).json()
        return found["status"] in ("completed", "failed")

    await eventually(closed)
    return found


async def executions_of(api: httpx2.AsyncClient, name: str, count: int) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []

    async def there() -> bool:
        nonlocal items
        items = (await api.get("/executions/", params={"schedule_id": name})).json()["items"]
        return len(items) >= count

    await eventually(there)
    return items


async def test_the_client_has_every_operation_of_schedules(api: httpx2.AsyncClient, name: str) -> None:
    base_url = str(api.base_url).removesuffix("/api/v1/")

    def use() -> None:
        with OrchestratorClient(base_url) as client:
            assert client.create_schedule(schedule(name))["schedule_id"] == name
            assert client.pause_schedule(name, "later")["note"] == "later"
            assert client.put_schedule(name, {"workflow_id": name, "cron": ["@daily"]})["cron"] == ["@daily"]
            assert client.resume_schedule(name)["paused"] is False
            assert client.trigger_schedule(name)["schedule_id"] == name
            assert client.get_schedule(name)["workflow_id"] == name
            assert "items" in client.list_schedules(workflow_id=name)
            client.delete_schedule(name)

    await asyncio.to_thread(use)
    problem_in(await api.get(f"/schedules/{name}"), 404, "schedule-not-found")


async def test_if_match_keeps_a_writer_from_overwriting_what_it_has_not_read(
    api: httpx2.AsyncClient, name: str
) -> None:
    found = await created(api, name)
    answer = await api.get(f"/schedules/{name}")
    assert answer.headers["etag"] == f'"{found["revision"]}"'
    read = {"If-Match": answer.headers["etag"]}
    body = {key: value for key, value in schedule(name).items() if key != "schedule_id"}
    changed = await api.put(f"/schedules/{name}", json={**body, "note": "one"}, headers=read)
    assert (changed.status_code, changed.json()["note"]) == (200, "one"), changed.text
    late = await api.put(f"/schedules/{name}", json={**body, "note": "two"}, headers=read)
    assert problem_in(late, 412, "version-conflict")["revision"] == changed.json()["revision"]
    problem_in(await api.delete(f"/schedules/{name}", headers=read), 412, "version-conflict")
    # A pause is a change too, a run is none.
    await api.post(f"/schedules/{name}/trigger")
    assert (await api.get(f"/schedules/{name}")).headers["etag"] == changed.headers["etag"]
    paused = await api.post(f"/schedules/{name}/pause")
    assert paused.headers["etag"] != changed.headers["etag"]
    stale = {"If-Match": changed.headers["etag"]}
    problem_in(await api.put(f"/schedules/{name}", json=body, headers=stale), 412, "version-conflict")
    fresh = {"If-Match": paused.headers["etag"]}
    assert (await api.delete(f"/schedules/{name}", headers=fresh)).status_code == 204


async def test_of_many_writers_with_the_same_if_match_one_wins(api: httpx2.AsyncClient, name: str) -> None:
    found = await created(api, name)
    body = {key: value for key, value in schedule(name).items() if key != "schedule_id"}
    read = {"If-Match": f'"{found["revision"]}"'}
    writes = [
        api.put(f"/schedules/{name}", json={**body, "input_data": {"kind": str(number)}}, headers=read)
        for number in range(6)
    ]
    answers = await asyncio.gather(*writes)
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 5
    (won,) = (answer.json()["input_data"] for answer in answers if answer.status_code == 200)
    assert (await api.get(f"/schedules/{name}")).json()["input_data"] == won


@pytest.mark.parametrize("attempt", range(4))
async def test_a_deletion_and_a_change_that_rest_on_the_same_revision_do_not_both_succeed(
    api: httpx2.AsyncClient, name: str, attempt: int
) -> None:
    read = {"If-Match": f'"{(await created(api, name))["revision"]}"'}
    url = f"/schedules/{name}"
    changes = [
        api.put(url, json={"workflow_id": name, "cron": [f"{minute} 3 * * *"]}, headers=read) for minute in range(3)
    ]
    deletions = [api.delete(url, headers=read) for _ in range(3)]
    calls = [*changes, *deletions] if attempt % 2 else [*deletions, *changes]
    codes = [answer.status_code for answer in await asyncio.gather(*calls)]
    changed, deleted = (codes[:3], codes[3:]) if attempt % 2 else (codes[3:], codes[:3])
    # A busy Temporal holds up what comes while a schedule goes, and whoever waited too long is told so.
    assert set(changed) <= {200, 404, 412, 503} and set(deleted) <= {204, 404, 412, 503}, codes
    assert (changed.count(200), 204 in deleted) in {(1, False), (0, True)} | (
        {(0, False)} if 503 in codes else set()
    ), codes
    if 200 in changed or 204 in deleted:
        assert (await api.get(url)).status_code == (404 if 204 in deleted else 200)


async def test_a_deletion_that_was_cut_off_is_finished_by_sending_it_again(
    api: httpx2.AsyncClient, name: str, temporal_client: Client
) -> None:
    revision = (await created(api, name))["revision"]
    read, url = {"If-Match": f'"{revision}"'}, f"/schedules/{name}"
    await claim_deletion(temporal_client, await temporal_client.get_schedule_handle(name).describe(), revision)
    left = (await api.get(url)).json()
    assert (left["paused"], left["note"]) == (True, f"is being deleted at revision {revision}")
    change = await api.put(url, json={"workflow_id": name, "cron": ["0 3 * * *"]}, headers=read)
    problem_in(change, 412, "version-conflict")
    assert (await api.delete(url, headers=read)).status_code == 204
    problem_in(await api.get(url), 404, "schedule-not-found")
