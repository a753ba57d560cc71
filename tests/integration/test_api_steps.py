"""Steps of all scopes, graphs and further filters over HTTP, with and without a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from orchestrator.settings import Settings
from tests.integration.test_api_executions import TWO_STEPS, started, until_status, working
from tests.support.api_server import problem_in, running_api
from tests.support.polling import eventually

NESTED: dict[str, Any] = {
    "name": "Nested",
    "steps": [
        {
            "step_id": "each",
            "name": 'Each "lead"',
            "step_type": "foreach",
            "items": "{{ range(12) }}",
            "steps": [{"step_id": "call", "step_type": "agent_task", "agent_type": "sales", "task": "t"}],
        },
        {
            "step_id": "after",
            "step_type": "transform",
            "value": "{{ steps.each.output }}",
            "depends_on": ["each"],
        },
    ],
}


@pytest.fixture
async def api(isolated_settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with running_api(isolated_settings) as client:
        await client.post("/agents/", json={"agent_type": "sales"})
        assert (await client.put("/workflows/two", json=TWO_STEPS)).status_code == 201
        answer = await client.put("/workflows/nested", json=NESTED)
        assert answer.status_code == 201, answer.text
        yield client


async def test_steps_of_all_scopes_are_paged_in_the_order_of_their_paths(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    async with working(isolated_settings):
        execution_id = await started(api, "nested")
        await until_status(api, execution_id, "completed")
        paths: list[str] = []
        cursor: str | None = None
        while True:
            query = {"limit": "5", **({"cursor": cursor} if cursor else {})}
            page = (await api.get(f"/executions/{execution_id}/steps", params=query)).json()
            assert len(page["items"]) <= 5
            paths += [item["path"] for item in page["items"]]
            assert {item["state"] for item in page["items"]} == {"completed"}
            cursor = page["next_cursor"]
            if cursor is None:
                break
    assert paths == ["after", "each", *(f"each[{index}].call" for index in range(12))]


async def test_one_inner_step_is_read_with_its_output_and_an_unknown_one_is_404(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    async with working(isolated_settings, {"each[3].call": [{"result": {"size": 7}}]}):
        execution_id = await started(api, "nested")
        await until_status(api, execution_id, "completed")
        found = (await api.get(f"/executions/{execution_id}/steps/each%5B3%5D.call")).json()
        assert (found["state"], found["output"], found["stale"]) == ("completed", {"size": 7}, False)
        problem_in(await api.get(f"/executions/{execution_id}/steps/each%5B99%5D.call"), 404, "step-not-found")
        answer = await api.get(f"/executions/{execution_id}/steps", params={"cursor": "!"})
        assert problem_in(answer, 422, "invalid-request")["errors"][0]["code"] == "invalid-cursor"


async def test_an_inner_step_that_is_tried_again_tells_of_its_attempts(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    busy = {"error": {"type": "http-503", "message": "the far end is busy", "retry_after_seconds": 600}}
    async with working(isolated_settings, {"each[3].call": [busy]}):
        execution_id = await started(api, "nested")

        path = f"/executions/{execution_id}/steps/each%5B3%5D.call"

        async def waits() -> bool:
            answer = await api.get(path)
            return answer.status_code == 200 and answer.json()["next_attempt_at"] is not None

        await eventually(waits)
        found = (await api.get(path)).json()
        assert (found["state"], found["attempts"]) == ("running", 1)
        assert found["last_failure"]["type"] == "http-503"
        rows = {row["path"]: row for row in (await api.get(f"/executions/{execution_id}/steps")).json()["items"]}
        assert rows["each[3].call"]["last_failure"]["message"] == "the far end is busy"
        assert [path for path, row in rows.items() if row["last_failure"]] == ["each[3].call"]
        root = (await api.get(f"/executions/{execution_id}")).json()["steps"][0]
        assert (root["path"], root["last_failure"]["type"]) == ("each", "http-503")


async def test_the_graph_shows_live_states_as_json_and_as_mermaid(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    async with working(isolated_settings, {f"each[{index}].call": [{"hang": True}] for index in range(12)}):
        execution_id = await started(api, "nested")

        async def running() -> bool:
            graph = (await api.get(f"/executions/{execution_id}/graph")).json()
            counts = {node["step_id"]: node["counts"] for node in graph["nodes"]}
            return bool(counts["call"].get("running", 0) >= 2)

        await eventually(running)
        graph = (await api.get(f"/executions/{execution_id}/graph")).json()
        nodes = {node["step_id"]: node for node in graph["nodes"]}
        assert {step_id: node["state"] for step_id, node in nodes.items()} == {
            "each": "running",
            "call": "running",
            "after": "pending",
        }
        assert (nodes["call"]["owner"], nodes["call"]["part"]) == ("each", "body")
        assert graph["edges"] == [{"source": "each", "target": "after"}]
        answer = await api.get(f"/executions/{execution_id}/graph", params={"format": "mermaid"})
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.text.startswith("flowchart TD")
        assert "running ×" in answer.text
        assert "Each #quot;lead#quot;" in answer.text
        await api.post(f"/executions/{execution_id}/cancel")
        await until_status(api, execution_id, "cancelled")


async def test_without_a_worker_steps_and_graph_are_stale(api: httpx2.AsyncClient) -> None:
    execution_id = await started(api, "nested")
    page = (await api.get(f"/executions/{execution_id}/steps")).json()
    assert page["stale"]
    assert {item["path"]: item["state"] for item in page["items"]} == {"each": "pending", "after": "pending"}
    graph = (await api.get(f"/executions/{execution_id}/graph")).json()
    assert graph["stale"]
    assert {node["state"] for node in graph["nodes"]} == {"pending"}
    assert (await api.get(f"/executions/{execution_id}/steps/each")).json()["stale"]


async def test_lists_filter_by_tag_error_and_time(api: httpx2.AsyncClient, isolated_settings: Settings) -> None:
    team = isolated_settings.redis_key_prefix
    scripts = {"first": [{"error": {"type": "boom", "retryable": False}}]}
    async with working(isolated_settings, scripts):
        execution_id = await started(api, tags={"team": team})
        found = await until_status(api, execution_id, "failed")
        tagged = {"tag": f"team={team}"}

        async def listed(**query: str) -> list[str]:
            answer = await api.get("/executions/", params={**tagged, **query})
            assert answer.status_code == 200, answer.text
            return [item["execution_id"] for item in answer.json()["items"]]

        async def shown() -> bool:
            return await listed(error_type="boom") == [execution_id]

        await eventually(shown)
        assert await listed(error_type="other") == []
        assert await listed(started_after=found["started_at"]) == [execution_id]
        assert await listed(started_before=found["started_at"]) == []
        assert await listed(closed_after="2000-01-01T00:00:00") == [execution_id]
        assert await listed(closed_before="0001-01-01T00:00:00Z", started_before="9999-12-31T23:59:59Z") == []
    for query in ({"tag": "x' OR ''='"}, {"tag": "none"}, {"error_type": "a b"}, {"started_after": "soon"}):
        problem_in(await api.get("/executions/", params=query), 422, "invalid-request")


async def test_the_steps_of_what_ended_before_it_began_are_known_without_a_worker(api: httpx2.AsyncClient) -> None:
    execution_id = await started(api, "nested")
    await api.post(f"/executions/{execution_id}/terminate")
    url = f"/executions/{execution_id}"
    found = (await api.get(url)).json()
    assert (found["status"], found["stale"]) == ("terminated", False)
    page = (await api.get(f"{url}/steps", params={"limit": 1})).json()
    rest = (await api.get(f"{url}/steps", params={"limit": 1, "cursor": page["next_cursor"]})).json()
    assert (page["stale"], rest["stale"], rest["next_cursor"]) == (False, False, None)
    listed = {item["path"]: item["state"] for item in [*page["items"], *rest["items"]]}
    assert listed == {"each": "cancelled", "after": "cancelled"}
    assert listed == {row["path"]: row["state"] for row in found["steps"]}
    one = (await api.get(f"{url}/steps/each")).json()
    assert (one["state"], one["stale"]) == ("cancelled", False)
    graph = (await api.get(f"{url}/graph")).json()
    assert graph["stale"] is False
    assert {node["step_id"]: node["state"] for node in graph["nodes"]}["each"] == "cancelled"
    problem_in(await api.get(f"{url}/steps/absent"), 404, "step-not-found")
