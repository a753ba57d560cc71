"""The OpenAPI document says what the API does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx2
import jsonschema_rs
import pytest

from api.app import create_app
from api.roles import OPERATION_ROLES
from orchestrator.settings import Settings

METHODS = {"get", "post", "put", "delete", "patch"}
OPERATIONS = {
    "create_workflow": "POST /api/v1/workflows/",
    "list_workflows": "GET /api/v1/workflows/",
    "validate_workflow": "POST /api/v1/workflows/validate",
    "get_workflow": "GET /api/v1/workflows/{workflow_id}",
    "put_workflow": "PUT /api/v1/workflows/{workflow_id}",
    "delete_workflow": "DELETE /api/v1/workflows/{workflow_id}",
    "pause_workflow": "POST /api/v1/workflows/{workflow_id}/pause",
    "resume_workflow": "POST /api/v1/workflows/{workflow_id}/resume",
    "list_workflow_versions": "GET /api/v1/workflows/{workflow_id}/versions",
    "restore_workflow_version": "POST /api/v1/workflows/{workflow_id}/versions/{version}/restore",
    "diff_workflow_versions": "GET /api/v1/workflows/{workflow_id}/versions/{version}/diff/{other}",
    "simulate_workflow": "POST /api/v1/workflows/{workflow_id}/simulate",
    "simulate_definition": "POST /api/v1/workflows/simulate",
    "execute_workflow": "POST /api/v1/workflows/{workflow_id}/execute",
    "list_executions": "GET /api/v1/executions/",
    "get_execution": "GET /api/v1/executions/{execution_id}",
    "get_execution_ledger": "GET /api/v1/executions/{execution_id}/ledger",
    "raise_budget": "POST /api/v1/executions/{execution_id}/budget",
    "list_steps": "GET /api/v1/executions/{execution_id}/steps",
    "get_step": "GET /api/v1/executions/{execution_id}/steps/{path}",
    "get_execution_graph": "GET /api/v1/executions/{execution_id}/graph",
    "watch_execution": "GET /api/v1/executions/{execution_id}/events",
    "pause_execution": "POST /api/v1/executions/{execution_id}/pause",
    "resume_execution": "POST /api/v1/executions/{execution_id}/resume",
    "cancel_execution": "POST /api/v1/executions/{execution_id}/cancel",
    "terminate_execution": "POST /api/v1/executions/{execution_id}/terminate",
    "retry_execution": "POST /api/v1/executions/{execution_id}/retry",
    "rerun_execution": "POST /api/v1/executions/{execution_id}/rerun",
    "start_bulk_job": "POST /api/v1/executions/bulk",
    "get_bulk_job": "GET /api/v1/executions/bulk/{job_id}",
    "stop_bulk_job": "DELETE /api/v1/executions/bulk/{job_id}",
    "signal_execution": "POST /api/v1/executions/{execution_id}/signals/{name}",
    "decide_approval": "POST /api/v1/executions/{execution_id}/approvals/{path}",
    "retry_step": "POST /api/v1/executions/{execution_id}/steps/{path}/retry",
    "skip_step": "POST /api/v1/executions/{execution_id}/steps/{path}/skip",
    "set_step_output": "POST /api/v1/executions/{execution_id}/steps/{path}/output",
    "list_agents": "GET /api/v1/agents/",
    "list_collections": "GET /api/v1/collections/",
    "create_collection": "POST /api/v1/collections/",
    "get_collection": "GET /api/v1/collections/{name}",
    "delete_collection": "DELETE /api/v1/collections/{name}",
    "get_session": "GET /api/v1/sessions/{session_id}",
    "delete_session": "DELETE /api/v1/sessions/{session_id}",
    "list_tools": "GET /api/v1/tools/",
    "create_tool": "POST /api/v1/tools/",
    "get_tool": "GET /api/v1/tools/{name}",
    "put_tool": "PUT /api/v1/tools/{name}",
    "delete_tool": "DELETE /api/v1/tools/{name}",
    "create_agent": "POST /api/v1/agents/",
    "get_agent": "GET /api/v1/agents/{agent_type}",
    "put_agent": "PUT /api/v1/agents/{agent_type}",
    "delete_agent": "DELETE /api/v1/agents/{agent_type}",
    "list_agent_versions": "GET /api/v1/agents/{agent_type}/versions",
    "invoke_agent": "POST /api/v1/agents/{agent_type}/invoke",
    "get_agent_health": "GET /api/v1/agents/{agent_type}/health",
    "list_breakers": "GET /api/v1/breakers/",
    "get_breaker": "GET /api/v1/breakers/{name}",
    "reset_breaker": "POST /api/v1/breakers/{name}/reset",
    "receive_webhook": "POST /api/v1/hooks/{workflow_id}",
    "list_schedules": "GET /api/v1/schedules/",
    "create_schedule": "POST /api/v1/schedules/",
    "get_schedule": "GET /api/v1/schedules/{schedule_id}",
    "put_schedule": "PUT /api/v1/schedules/{schedule_id}",
    "delete_schedule": "DELETE /api/v1/schedules/{schedule_id}",
    "pause_schedule": "POST /api/v1/schedules/{schedule_id}/pause",
    "resume_schedule": "POST /api/v1/schedules/{schedule_id}/resume",
    "trigger_schedule": "POST /api/v1/schedules/{schedule_id}/trigger",
    "get_workflow_schema": "GET /api/v1/schemas/workflow.json",
    "evaluate_expression": "POST /api/v1/expressions/evaluate",
    "list_keys": "GET /api/v1/keys/",
    "list_audit_entries": "GET /api/v1/audit/",
    "decode_payloads": "POST /api/v1/codec/decode",
    "download_payloads": "POST /api/v1/codec/download",
    "open_codec_session": "POST /api/v1/codec/session",
    "create_key": "POST /api/v1/keys/",
    "revoke_key": "DELETE /api/v1/keys/{key_id}",
    "get_liveness": "GET /api/v1/health/live",
    "get_readiness": "GET /api/v1/health/ready",
    "get_metrics": "GET /api/v1/metrics",
}


@pytest.fixture(scope="module")
def contract() -> dict[str, Any]:
    return create_app(Settings(_env_file=None)).openapi()


def operations(contract: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in contract["paths"].items():
        for method, operation in methods.items():
            if method in METHODS:
                yield f"{method.upper()} {path}", operation


def test_these_operations_are_there_under_their_ids(contract: dict[str, Any]) -> None:
    assert {operation["operationId"]: where for where, operation in operations(contract)} == OPERATIONS


def test_every_operation_has_a_role(contract: dict[str, Any]) -> None:
    assert OPERATION_ROLES.keys() == OPERATIONS.keys(), "give new operations a role in api/roles.py"
    for where, operation in operations(contract):
        public = OPERATION_ROLES[operation["operationId"]] == "public"
        assert operation["security"] == ([] if public else [{"bearer": []}, {"api_key": []}]), where
        assert ({"401", "403", "429"} <= set(operation["responses"])) == (not public), where


def test_every_operation_has_a_summary_a_description_and_a_tag(contract: dict[str, Any]) -> None:
    for where, operation in operations(contract):
        assert operation.get("summary"), where
        assert operation.get("description"), where
        assert operation.get("tags"), where


def test_every_tag_is_described(contract: dict[str, Any]) -> None:
    described = {tag["name"] for tag in contract["tags"] if tag["description"]}
    assert described == {tag for _, operation in operations(contract) for tag in operation["tags"]}


def test_every_failure_is_described_as_a_problem(contract: dict[str, Any]) -> None:
    for where, operation in operations(contract):
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert set(response["content"]) == {"application/problem+json"}, (where, status)
                reference = response["content"]["application/problem+json"]["schema"]["$ref"]
                assert reference == "#/components/schemas/Problem", (where, status)


def test_operations_with_parts_behind_them_say_that_these_may_be_away(contract: dict[str, Any]) -> None:
    alone = {"get_workflow_schema", "get_liveness"}
    for where, operation in operations(contract):
        assert ("503" in operation["responses"]) == (operation["operationId"] not in alone), where
        if "requestBody" in operation:
            assert {"400", "413", "415", "422"} <= set(operation["responses"]), where
        if "{" in where:
            assert "404" in operation["responses"] or operation["operationId"].startswith("put_"), where


def test_every_body_and_every_document_has_an_example_that_its_schema_accepts(contract: dict[str, Any]) -> None:
    for where, operation in operations(contract):
        if "requestBody" not in operation:
            continue
        media = operation["requestBody"]["content"]["application/json"]
        examples = [example["value"] for example in media.get("examples", {}).values()]
        schema = media["schema"]
        for option in [schema, *schema.get("anyOf", [])]:
            target = resolved(contract, option)
            examples += target.get("examples", [])
        assert examples, where
        validator = jsonschema_rs.Draft202012Validator({**schema, "components": contract["components"]})
        for example in examples:
            assert validator.is_valid(example), (where, example)


def test_every_answer_in_json_has_an_example_that_its_schema_accepts(contract: dict[str, Any]) -> None:
    for where, operation in operations(contract):
        for status, response in operation["responses"].items():
            media = response.get("content", {}).get("application/json")
            if media is None or operation["operationId"] == "get_workflow_schema":
                continue
            examples = resolved(contract, media["schema"]).get("examples", [])
            assert examples, (where, status)
            validator = jsonschema_rs.Draft202012Validator({**media["schema"], "components": contract["components"]})
            for example in examples:
                assert validator.is_valid(example), (where, status, str(next(validator.iter_errors(example))))


def test_every_parameter_of_a_path_has_an_example(contract: dict[str, Any]) -> None:
    for where, operation in operations(contract):
        for parameter in operation.get("parameters", ()):
            described = parameter.get("examples") or parameter["schema"].get("examples")
            assert described or parameter["in"] != "path", (where, parameter["name"])


def resolved(contract: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = contract["components"]["schemas"][name] if name else schema
    return found


def test_answers_say_which_headers_they_carry(contract: dict[str, Any]) -> None:
    by_id = {operation["operationId"]: operation for _, operation in operations(contract)}
    for name, operation in by_id.items():
        for status, response in operation["responses"].items():
            named = {header for header, described in response.get("headers", {}).items() if described["required"]}
            assert ("Location" in named) == (status in ("201", "202")) or status == "200", (name, status)
            assert ("Retry-After" in named) == (status in ("429", "503")), (name, status)
            assert ("WWW-Authenticate" in named) == (status == "401"), (name, status)
        if "if-match" in {parameter["name"] for parameter in operation.get("parameters", ())}:
            reading = by_id[f"get_{name.removesuffix('_version').rpartition('_')[2]}"]
            assert "ETag" in reading["responses"]["200"]["headers"], name


def test_every_reference_resolves_and_nothing_of_the_frameworks_own_errors_is_left(contract: dict[str, Any]) -> None:
    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            for item in value.values():
                yield from references(item)
        elif isinstance(value, list):
            for item in value:
                yield from references(item)

    known = {f"#/components/schemas/{name}" for name in contract["components"]["schemas"]}
    found = set(references(contract))
    assert found <= known, found - known
    assert "HTTPValidationError" not in contract["components"]["schemas"]


async def test_the_document_and_its_page_are_served() -> None:
    app = create_app(Settings(_env_file=None))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://here") as client:
        document = await client.get("/openapi.json")
        assert document.status_code == 200
        assert document.json()["openapi"].startswith("3.1")
        page = await client.get("/docs")
        assert page.status_code == 200
        assert "/openapi.json" in page.text
        assets = re.findall(r'(?:src|href)="(/[^"]+)"', page.text)
        assert len(assets) == 2
        for asset in assets:
            assert len((await client.get(asset)).content) > 100_000
        assert "https://" not in page.text, "the page needs nothing from elsewhere"
        assert "https:" not in page.headers["content-security-policy"]
