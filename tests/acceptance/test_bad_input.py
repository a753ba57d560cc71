"""Bad input over a real socket: a problem with every error, its pointer and a way out; nothing is stored or started."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.fakes.model_server import FakeModelServer
from tests.support.rest import Rest, agent_step, lead_workflow
from tests.support.service_processes import Services

PROBLEM = "application/problem+json"


@pytest.fixture(autouse=True)
def nothing_changes(rest: Rest, model: FakeModelServer) -> Iterator[None]:
    """Whatever a test sends, no definition, execution or model call may come of it."""
    before = inventory(rest)
    yield
    assert inventory(rest) == before
    assert model.calls() == []


def inventory(rest: Rest) -> dict[str, Any]:
    """Every definition with its version, and every execution."""
    definitions: dict[str, int] = {}
    cursor: str | None = None
    while True:
        query = {"limit": "200", **({"cursor": cursor} if cursor else {})}
        page = rest.expect(200, "GET", "/workflows/", params=query)
        definitions |= {item["workflow_id"]: item["version"] for item in page["items"]}
        cursor = page["next_cursor"]
        if cursor is None:
            return {"definitions": definitions, "executions": rest.listed(limit="200")}


def changed(**fields: Any) -> dict[str, Any]:
    """The lead workflow with other fields at its root."""
    return {**lead_workflow(), **fields}


def second_step(**fields: Any) -> dict[str, Any]:
    """The lead workflow with other fields in its second step."""
    document = copy.deepcopy(lead_workflow())
    document["steps"][1] |= fields
    return document


def cycle() -> dict[str, Any]:
    document = lead_workflow()
    document["steps"][0]["depends_on"] = ["enrich_lead"]
    return document


FAULTS: dict[str, tuple[Any, list[str]]] = {
    "unknown field of the document": (changed(stepz=[]), ["/stepz"]),
    "unknown field of a step": (second_step(agnt_type="x"), ["/steps/1/agnt_type"]),
    "a field of another step type": (second_step(url="http://x.test/"), ["/steps/1/url"]),
    "cycle": (cycle(), ["/steps/0/depends_on"]),
    "self-reference": (second_step(depends_on=["enrich_lead"]), ["/steps/1/depends_on/0"]),
    "unknown step": (second_step(depends_on=["qualify_leed"]), ["/steps/1/depends_on/0"]),
    "unknown step in an expression": (second_step(parameters="{{ steps.qualify.output }}"), ["/steps/1/parameters"]),
    "unknown agent": (second_step(agent_type="reserch"), ["/steps/1/agent_type"]),
    "expression that does not parse": (second_step(when="input.lead.budget >"), ["/steps/1/when"]),
    "unknown function": (second_step(when="uper(input.lead) == 'A'"), ["/steps/1/when"]),
    "unknown step type": (second_step(step_type="agent"), ["/steps/1/step_type"]),
    "duplicate step id": (second_step(step_id="qualify_lead", depends_on=[]), ["/steps/1/step_id"]),
    "wrong type of the name": (changed(name=7), ["/name"]),
    "wrong type of steps": (changed(steps={}), ["/steps"]),
    "no steps": (changed(steps=[]), ["/steps"]),
    "wrong type in retry": (second_step(retry={"max_attempts": "3"}), ["/steps/1/retry/max_attempts"]),
    "retry out of range": (second_step(retry={"max_attempts": -1}), ["/steps/1/retry/max_attempts"]),
    "negative timeout": (
        second_step(timeouts={"start_to_close_seconds": -1}),
        ["/steps/1/timeouts/start_to_close_seconds"],
    ),
    "input_schema that is no schema": (changed(input_schema={"type": "text"}), ["/input_schema/type"]),
    "a list instead of a definition": ([], [""]),
    "a text instead of a definition": ("lead", [""]),
}
WITH_HINT = {
    "unknown field of a step": "agent_type",
    "unknown step": "qualify_lead",
    "unknown agent": "research",
    "unknown function": "upper",
    "unknown step type": "agent_task",
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_definition_is_refused_with_pointer_and_hint(rest: Rest, name: str) -> None:
    document, pointers = FAULTS[name]
    for method, path in (("POST", "/workflows/"), ("PUT", "/workflows/faulty")):
        answer = rest.http.request(method, path, json=document)
        problem = problem_of(answer, 422)
        assert [error["pointer"] for error in problem["errors"]] == pointers
        assert all(error["message"] for error in problem["errors"])
        if name in WITH_HINT:
            assert WITH_HINT[name] in problem["errors"][0]["hint"], problem["errors"]


def test_every_error_is_told_at_once(rest: Rest) -> None:
    document = changed(descripton="typo", tags={"team": 7})
    document["steps"] = [
        agent_step("first", "salse"),
        agent_step("second", "sales", after="third", when="1 +"),
        agent_step("second", "sales"),
        {"step_id": "fourth", "step_type": "wait", "seconds": "{{ steps.nobody.output }}"},
    ]
    problem = problem_of(rest.http.post("/workflows/", json=document), 422)
    pointers = {error["pointer"] for error in problem["errors"]}
    assert pointers >= {"/descripton", "/tags/team"}
    checked = rest.http.post("/workflows/validate", json=document).json()
    assert {error["pointer"] for error in checked["errors"]} == pointers
    # What can only be judged once the shape is right comes with the next try, all of it.
    del document["descripton"], document["tags"]
    problem = problem_of(rest.http.post("/workflows/", json=document), 422)
    assert {error["pointer"] for error in problem["errors"]} == {
        "/steps/0/agent_type",
        "/steps/1/depends_on/0",
        "/steps/1/when",
        "/steps/2/step_id",
        "/steps/3/seconds",
    }


RAW: dict[str, tuple[bytes, int, str]] = {
    "not JSON": (b"name: Lead", 400, "malformed-json"),
    "half": (b'{"name": "Lead", "steps": [', 400, "malformed-json"),
    "NaN": (b'{"name": "Lead", "vars": {"x": NaN}, "steps": []}', 400, "malformed-json"),
    "Infinity": (b'{"name": "Lead", "vars": {"x": -Infinity}, "steps": []}', 400, "malformed-json"),
    "duplicate keys": (b'{"name": "a", "name": "b", "steps": []}', 400, "malformed-json"),
    "not UTF-8": (b'{"name": "\xff\xfe"}', 400, "malformed-json"),
    "1000 levels": (b"[" * 1000 + b"]" * 1000, 400, "malformed-json"),
}


@pytest.mark.parametrize("name", RAW)
def test_a_body_that_is_not_json_is_refused(rest: Rest, name: str) -> None:
    body, status, code = RAW[name]
    workflow_id = next(iter(inventory(rest)["definitions"]), "none")
    for path in ("/workflows/", f"/workflows/{workflow_id}/execute"):
        answer = rest.http.post(path, content=body, headers={"Content-Type": "application/json"})
        assert problem_of(answer, status)["code"] == code


def test_three_megabytes_are_refused_whether_announced_or_not(rest: Rest, services: Services) -> None:
    body = json.dumps(changed(description="x" * 3_000_000)).encode()
    announced = rest.http.post("/workflows/", content=body, headers={"Content-Type": "application/json"})
    assert problem_of(announced, 413)["code"] == "payload-too-large"

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    # A server that has heard enough may close before the client has said everything.
    try:
        streamed = rest.http.post("/workflows/", content=pieces(), headers={"Content-Type": "application/json"})
        assert problem_of(streamed, 413)["code"] == "payload-too-large"
    except httpx2.WriteError:
        assert services.api.runs


def test_another_media_type_is_refused(rest: Rest) -> None:
    answer = rest.http.post("/workflows/", content=b"name=Lead", headers={"Content-Type": "text/plain"})
    assert problem_of(answer, 415)["code"] == "unsupported-media-type"


def problem_of(answer: httpx2.Response, status: int) -> dict[str, Any]:
    """The answer's problem; fails the test unless it is a complete one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    problem: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "code", "instance"} <= problem.keys()
    return problem
