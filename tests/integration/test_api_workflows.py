"""Workflows over HTTP: create, read, update, delete, list, validate, with a real Redis."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from orchestrator.definition import validate_definition
from orchestrator.settings import Settings
from tests.support.api_server import problem_in, running_api

LEAD_PROCESSING: dict[str, Any] = {
    "name": "Lead Processing",
    "description": "Process and qualify new leads",
    "steps": [
        {
            "step_id": "qualify_lead",
            "name": "Qualify Lead",
            "step_type": "agent_task",
            "agent_type": "sales",
            "task": "qualify_lead",
            "parameters": {"priority": "high"},
        },
        {
            "step_id": "enrich_lead",
            "name": "Enrich Lead Data",
            "step_type": "agent_task",
            "agent_type": "research",
            "task": "enrich_lead",
            "depends_on": ["qualify_lead"],
        },
    ],
}


def transforming(value: Any = 1, **fields: Any) -> dict[str, Any]:
    return {"name": "Small", "steps": [{"step_id": "only", "step_type": "transform", "value": value}], **fields}


@pytest.fixture
async def api(isolated_settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with running_api(isolated_settings) as client:
        yield client


@pytest.fixture
async def api_with_agents(api: httpx2.AsyncClient) -> httpx2.AsyncClient:
    for agent_type in ("sales", "research"):
        assert (await api.post("/agents/", json={"agent_type": agent_type})).status_code == 201
    return api


async def listed(api: httpx2.AsyncClient, **query: Any) -> list[str]:
    return [item["workflow_id"] for item in (await api.get("/workflows/", params=query)).json()["items"]]


async def test_the_briefs_definition_is_created_under_an_id_made_from_its_name(
    api_with_agents: httpx2.AsyncClient,
) -> None:
    created = await api_with_agents.post("/workflows/", json=LEAD_PROCESSING)
    assert created.status_code == 201
    assert created.headers["location"] == "/api/v1/workflows/lead-processing"
    assert created.headers["etag"] == '"1"'
    body = created.json()
    assert {key: body[key] for key in ("workflow_id", "version", "warnings", "inferred_dependencies")} == {
        "workflow_id": "lead-processing",
        "version": 1,
        "warnings": [],
        "inferred_dependencies": {},
    }
    assert len(body["sha256"]) == 64
    read = (await api_with_agents.get("/workflows/lead-processing")).json()
    assert read["definition"] == {**LEAD_PROCESSING, "workflow_id": "lead-processing"}
    assert read["sha256"] == body["sha256"]


async def test_creating_what_exists_is_a_conflict_that_names_the_put(api: httpx2.AsyncClient) -> None:
    await api.post("/workflows/", json=transforming())
    problem = problem_in(await api.post("/workflows/", json=transforming(2)), 409, "workflow-exists")
    assert "PUT /api/v1/workflows/small" in problem["hint"]
    assert (await api.get("/workflows/small")).json()["version"] == 1


@pytest.mark.parametrize("path", ["/workflows", "/workflows/", "/executions", "/executions/", "/agents", "/agents/"])
async def test_collections_answer_with_and_without_their_last_slash(api: httpx2.AsyncClient, path: str) -> None:
    answer = await api.get(path, follow_redirects=False)
    assert answer.status_code == 200
    # Executions are the whole namespace's, and other tests have some.
    assert set(answer.json()) == {"items", "next_cursor"}
    if "executions" not in path:
        assert answer.json() == {"items": [], "next_cursor": None}


async def test_a_post_without_the_last_slash_keeps_its_body(api: httpx2.AsyncClient) -> None:
    assert (await api.post("/workflows", json=transforming(), follow_redirects=False)).status_code == 201
    assert (await api.get("/workflows/small/", follow_redirects=False)).status_code == 200


async def test_every_change_is_a_new_version_and_no_change_is_none(api: httpx2.AsyncClient) -> None:
    first = await api.put("/workflows/small", json=transforming(1))
    same = await api.put("/workflows/small", json=transforming(1))
    second = await api.put("/workflows/small", json=transforming(2))
    assert [answer.status_code for answer in (first, same, second)] == [201, 200, 200]
    assert [answer.json()["version"] for answer in (first, same, second)] == [1, 1, 2]
    old = (await api.get("/workflows/small", params={"version": 1})).json()
    assert old["definition"]["steps"][0]["value"] == 1
    latest = await api.get("/workflows/small")
    assert latest.json()["definition"]["steps"][0]["value"] == 2
    assert latest.headers["etag"] == '"2"'
    problem = problem_in(await api.get("/workflows/small", params={"version": 9}), 404, "workflow-not-found")
    assert "the latest is 2" in problem["detail"]


async def test_if_match_keeps_a_writer_from_overwriting_what_it_has_not_read(api: httpx2.AsyncClient) -> None:
    await api.put("/workflows/small", json=transforming(1))
    accepted = await api.put("/workflows/small", json=transforming(2), headers={"If-Match": '"1"'})
    assert accepted.json()["version"] == 2
    late = await api.put("/workflows/small", json=transforming(3), headers={"If-Match": '"1"'})
    assert problem_in(late, 412, "version-conflict")["version"] == 2
    problem_in(await api.delete("/workflows/small", headers={"If-Match": '"1"'}), 412, "version-conflict")
    only_new = await api.put("/workflows/small", json=transforming(3), headers={"If-None-Match": "*"})
    problem_in(only_new, 412, "version-conflict")
    odd = await api.put("/workflows/small", json=transforming(3), headers={"If-Match": "two"})
    assert problem_in(odd, 422, "invalid-request")["errors"][0]["pointer"] == "/If-Match"
    for given in ("two", '"2"'):
        both = {"If-Match": given, "If-None-Match": "*"}
        problem_in(await api.put("/workflows/small", json=transforming(3), headers=both), 422, "invalid-request")
        problem_in(await api.delete("/workflows/small", headers=both), 422, "invalid-request")
    assert (await api.get("/workflows/small")).json()["version"] == 2


async def test_many_writers_with_the_same_if_match_store_one_version(api: httpx2.AsyncClient) -> None:
    await api.put("/workflows/small", json=transforming(0))
    writes = [api.put("/workflows/small", json=transforming(n), headers={"If-Match": '"1"'}) for n in range(1, 9)]
    answers = await asyncio.gather(*writes)
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
    assert (await api.get("/workflows/small")).json()["version"] == 2


async def test_a_faulty_definition_is_refused_with_every_error_and_nothing_is_stored(
    api_with_agents: httpx2.AsyncClient,
) -> None:
    faulty = {
        "name": "Faulty",
        "colour": "red",
        "steps": [
            {"step_id": "a", "step_type": "agent_task", "agent_type": "sails", "task": "t", "depends_on": ["c"]},
            {"step_id": "b", "step_type": "transform", "value": "{{ steps.a.output + }}"},
            {"step_id": "c", "step_type": "transform", "value": "{{ steps.zz.output }}", "depends_on": ["a"]},
            {"step_id": "d", "step_type": "agnet_task"},
            {"step_id": "e", "step_type": "wait", "seconds": [1]},
        ],
    }
    problem = problem_in(await api_with_agents.post("/workflows/", json=faulty), 422, "invalid-definition")
    found = {(issue["pointer"], issue["code"]) for issue in problem["errors"]}
    assert {
        ("/colour", "unknown-field"),
        ("/steps/0/agent_type", "unknown-agent"),
        ("/steps/0/depends_on", "cycle"),
        ("/steps/1/value", "E_SYNTAX"),
        ("/steps/2/value", "E_STEP"),
        ("/steps/3/step_type", "unknown-step-type"),
        ("/steps/4/seconds", "wrong-type"),
    } <= found, problem["errors"]
    hints = {issue["pointer"]: issue.get("hint", "") for issue in problem["errors"]}
    assert "'sales'" in hints["/steps/0/agent_type"]
    assert "'agent_task'" in hints["/steps/3/step_type"]
    assert await listed(api_with_agents) == []
    problem_in(await api_with_agents.put("/workflows/faulty", json=faulty), 422, "invalid-definition")
    problem_in(await api_with_agents.get("/workflows/faulty"), 404, "workflow-not-found")


async def test_validate_reports_everything_and_stores_nothing(api: httpx2.AsyncClient) -> None:
    reading = {"step_id": "late", "step_type": "transform", "value": "{{ steps.early.output }}"}
    early = {"step_id": "early", "step_type": "transform", "value": 1, "when": "input.go"}
    good = await api.post("/workflows/validate", json={"name": "W", "steps": [reading, early]})
    assert good.status_code == 200
    report = good.json()
    assert report["valid"] is True
    assert report["inferred_dependencies"] == {"late": ["early"]}
    assert [warning["code"] for warning in report["warnings"]] == ["skippable-read"]
    bad = await api.post("/workflows/validate", json={"name": "W", "steps": []})
    assert bad.status_code == 200
    assert bad.json()["valid"] is False
    assert bad.json()["errors"][0]["pointer"] == "/steps"
    not_an_object = (await api.post("/workflows/validate", json=[1])).json()
    assert not_an_object["valid"] is False
    assert await listed(api) == []


async def test_an_expressions_error_is_shown_with_its_caret(api: httpx2.AsyncClient) -> None:
    faulty = {"name": "W", "steps": [transforming()["steps"][0] | {"value": "{{ steps.tow.output }}"}]}
    text = validate_definition(faulty).errors[0].text
    assert "\n       ^ column 4\n" in text
    report = (await api.post("/workflows/validate", json=faulty)).json()
    assert [issue["text"] for issue in report["errors"]] == [text]
    problem = problem_in(await api.post("/workflows/", json=faulty), 422, "invalid-definition")
    assert [issue["text"] for issue in problem["errors"]] == [text]
    elsewhere = (await api.post("/workflows/validate", json={"name": "W", "steps": []})).json()
    assert elsewhere["errors"][0].get("text") is None


async def test_the_id_in_the_body_must_be_the_one_in_the_path(api: httpx2.AsyncClient) -> None:
    answer = await api.put("/workflows/one", json=transforming(workflow_id="other"))
    issues = problem_in(answer, 422, "invalid-definition")["errors"]
    assert [(issue["code"], issue["pointer"]) for issue in issues] == [("id-mismatch", "/workflow_id")]
    unnamed = {"steps": transforming()["steps"]}
    assert (await api.put("/workflows/unnamed", json=unnamed)).status_code == 201
    problem_in(await api.put("/workflows/Upper%20Case", json=transforming()), 422, "invalid-request")


async def test_a_deleted_workflow_starts_nothing_and_can_come_back(api: httpx2.AsyncClient) -> None:
    await api.put("/workflows/small", json=transforming(1))
    assert (await api.delete("/workflows/small")).status_code == 204
    assert (await api.delete("/workflows/small")).status_code == 204
    assert await listed(api) == []
    assert problem_in(await api.get("/workflows/small"), 404, "workflow-not-found")["deleted"] is True
    assert (await api.get("/workflows/small", params={"version": 1})).json()["deleted"] is True
    problem = problem_in(await api.post("/workflows/small/execute", json={}), 410, "workflow-deleted")
    assert "PUT /api/v1/workflows/small" in problem["hint"]
    back = await api.put("/workflows/small", json=transforming(1))
    assert (back.status_code, back.json()["version"]) == (201, 1)
    problem_in(await api.delete("/workflows/never"), 404, "workflow-not-found")


async def test_an_earlier_version_can_be_made_the_latest(api: httpx2.AsyncClient) -> None:
    for value in (1, 2):
        await api.put("/workflows/small", json=transforming(value))
    restored = await api.post("/workflows/small/versions/1/restore")
    assert restored.json()["version"] == 3
    history = (await api.get("/workflows/small/versions")).json()["items"]
    assert [item["version"] for item in history] == [3, 2, 1]
    assert history[0]["sha256"] == history[2]["sha256"]
    problem_in(await api.post("/workflows/small/versions/7/restore"), 404, "workflow-not-found")
    problem_in(await api.post("/workflows/small/versions/x/restore"), 422, "invalid-request")


async def test_lists_are_pages_and_can_be_filtered(api: httpx2.AsyncClient) -> None:
    for number in range(5):
        tags = {"team": "sales" if number % 2 else "ops"}
        definition = transforming(number, name=f"Flow {number}", tags=tags)
        assert (await api.post("/workflows/", json=definition)).status_code == 201
    found: list[str] = []
    cursor: str | None = None
    while True:
        query: dict[str, Any] = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await api.get("/workflows/", params=query)).json()
        found += [item["workflow_id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == [f"flow-{number}" for number in range(5)]
    assert await listed(api, tag="team=sales") == ["flow-1", "flow-3"]
    assert await listed(api, text="FLOW 4") == ["flow-4"]


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("/workflows/?limit=0", "/limit"),
        ("/workflows/?limit=201", "/limit"),
        ("/workflows/?limit=-99999999999999999999", "/limit"),
        ("/workflows/?limit=ten", "/limit"),
        ("/workflows/?cursor=!!!", "/cursor"),
        ("/workflows/?cursor=Zm9v", "/cursor"),
        ("/workflows/?tag=nonsense", "/tag"),
        ("/executions/?limit=0", "/limit"),
        ("/executions/?cursor=%C3%A4", "/cursor"),
        ("/executions/?cursor=Zm9vYmFyYmF6cXV4", "/cursor"),
        ("/executions/?status=sleeping", "/status"),
        ("/executions/?workflow_id=x'%20OR%20'1'='1", "/workflow_id"),
        ("/agents/?limit=1000", "/limit"),
        ("/agents/?cursor=x", "/cursor"),
        ("/workflows/small?version=0", "/version"),
        ("/workflows/small?version=9999999999999999999999", "/version"),
    ],
)
async def test_bad_parameters_are_named(api: httpx2.AsyncClient, path: str, pointer: str) -> None:
    problem = problem_in(await api.get(path), 422, "invalid-request")
    assert [issue["pointer"] for issue in problem["errors"]] == [pointer]


async def test_an_unknown_workflow_is_answered_with_the_nearest_name(api: httpx2.AsyncClient) -> None:
    await api.post("/workflows/", json=transforming(name="Lead Processing"))
    problem = problem_in(await api.get("/workflows/lead-procesing"), 404, "workflow-not-found")
    assert problem["hint"] == "did you mean 'lead-processing'?"
    problem_in(await api.post("/workflows/nothing/execute", json={}), 404, "workflow-not-found")


async def test_the_definition_schema_is_published(api: httpx2.AsyncClient) -> None:
    schema = (await api.get("/schemas/workflow.json")).json()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "steps" in schema["properties"]


async def test_agents_can_be_registered_read_changed_and_retired(api: httpx2.AsyncClient) -> None:
    created = await api.post("/agents/", json={"agent_type": "sales", "description": "Sells"})
    assert (created.status_code, created.headers["location"]) == (201, "/api/v1/agents/sales")
    problem_in(await api.post("/agents/", json={"agent_type": "sales"}), 409, "agent-exists")
    changed = await api.put("/agents/sales", json={"description": "Sells more"}, headers={"If-Match": '"1"'})
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    assert (await api.get("/agents/sales", params={"version": 1})).json()["description"] == "Sells"
    assert [item["agent_type"] for item in (await api.get("/agents/")).json()["items"]] == ["sales"]
    faulty = problem_in(await api.post("/agents/", json={"agent_type": "1x", "colour": 1}), 422, "invalid-agent")
    assert {issue["pointer"] for issue in faulty["errors"]} == {"/agent_type", "/colour"}
    assert (await api.delete("/agents/sales")).status_code == 204
    problem_in(await api.get("/agents/sales"), 404, "agent-not-found")
    problem_in(await api.get("/agents/nobody/health"), 404, "agent-not-found")


async def test_an_agents_health_says_that_no_worker_can_run_it(api: httpx2.AsyncClient) -> None:
    await api.post("/agents/", json={"agent_type": "sales"})
    health = (await api.get("/agents/sales/health")).json()
    assert (health["status"], health["workers"]) == ("unavailable", 0)
    assert "worker" in health["reason"]


async def test_expressions_can_be_tried(api: httpx2.AsyncClient) -> None:
    context = {"input": {"lead": {"budget": 50000, "email": "a@b.c"}}}
    value = await api.post("/expressions/evaluate", json={"expression": "input.lead.budget > 1", "context": context})
    assert value.json() == {"value": True}
    rendered = await api.post(
        "/expressions/evaluate", json={"template": {"to": "{{ input.lead.email }}"}, "context": context}
    )
    assert rendered.json() == {"value": {"to": "a@b.c"}}
    wrong = await api.post("/expressions/evaluate", json={"expression": "input.lead.emial", "context": context})
    problem = problem_in(wrong, 422, "E_MISSING")
    assert "'email'" in problem["hint"]
    assert problem["errors"][0]["column"] == 12
    assert "input.lead.emial\n" + " " * 15 + "^ column 12" in problem["errors"][0]["text"]
    for body in ({}, {"expression": "1", "template": "2"}, {"expression": 5}, {"expresion": "1"}):
        problem_in(await api.post("/expressions/evaluate", json=body), 422, "invalid-request")


async def test_two_versions_are_compared_as_a_patch_and_in_words(api: httpx2.AsyncClient) -> None:
    await api.post("/workflows/", json=transforming(1))
    await api.put("/workflows/small", json=transforming(2, tags={"team": "sales"}))
    found = (await api.get("/workflows/small/versions/1/diff/2")).json()
    assert {"op": "replace", "path": "/steps/0/value", "value": 2} in found["patch"]
    assert "step 'only': value changed from 1 to 2" in found["text"].split("\n")
    assert (await api.get("/workflows/small/versions/2/diff/2")).json()["patch"] == []
    problem_in(await api.get("/workflows/small/versions/1/diff/3"), 404, "workflow-not-found")


async def test_versions_are_pages_newest_first(api: httpx2.AsyncClient) -> None:
    workflow_id = f"paged-{uuid.uuid4().hex[:8]}"
    url = f"/workflows/{workflow_id}"
    for number in range(5):
        step = {"step_id": "a", "step_type": "transform", "value": number}
        assert (await api.put(url, json={"name": "Paged", "steps": [step]})).status_code in (200, 201)
    pages: list[list[int]] = []
    cursor: str | None = None
    while True:
        page = (await api.get(f"{url}/versions", params={"limit": 2, **({"cursor": cursor} if cursor else {})})).json()
        pages.append([item["version"] for item in page["items"]])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert pages == [[5, 4], [3, 2], [1]]
    whole = (await api.get(f"{url}/versions")).json()
    assert ([item["version"] for item in whole["items"]], whole["next_cursor"]) == ([5, 4, 3, 2, 1], None)
    latest = (await api.get(url)).json()
    assert whole["items"][0] == {name: latest[name] for name in ("version", "sha256", "updated_at")}
    exact = (await api.get(f"{url}/versions", params={"limit": 5})).json()
    assert exact["next_cursor"] is None
    # A cursor of another workflow's history is none of this one's.
    await api.put("/workflows/another-paged", json={"name": "Other", "steps": [step]})
    first = (await api.get(f"{url}/versions", params={"limit": 1})).json()
    foreign = await api.get("/workflows/another-paged/versions", params={"cursor": first["next_cursor"]})
    assert problem_in(foreign, 422, "invalid-request")["errors"][0]["code"] == "invalid-cursor"
    assert (await api.delete(url)).status_code == 204
    assert len((await api.get(f"{url}/versions")).json()["items"]) == 5


async def test_a_tag_key_with_an_equals_sign_is_refused_at_its_place(api: httpx2.AsyncClient) -> None:
    step = {"step_id": "a", "step_type": "transform", "value": 1}
    answer = await api.put("/workflows/tagged", json={"name": "T", "steps": [step], "tags": {"a=b": "c", "d/=": "e"}})
    errors = problem_in(answer, 422, "invalid-definition")["errors"]
    assert [(error["code"], error["pointer"]) for error in errors] == [
        ("invalid-tag", "/tags/a=b"),
        ("invalid-tag", "/tags/d~1="),
    ]
    assert "values may contain '='" in errors[0]["hint"]
    assert (await api.put("/workflows/tagged", json={"name": "T", "steps": [step], "tags": {"a": "b=c"}})).is_success
    start = await api.post("/workflows/tagged/execute", json={"tags": {"a=b": "c"}})
    assert [error["pointer"] for error in problem_in(start, 422, "invalid-request")["errors"]] == ["/tags/a=b"]
    body = {"schedule_id": "tagged", "workflow_id": "tagged", "cron": ["0 0 1 1 *"], "tags": {"a=b": "c"}}
    schedule = await api.post("/schedules/", json=body)
    assert [error["pointer"] for error in problem_in(schedule, 422, "invalid-request")["errors"]] == ["/tags/a=b"]
