"""The OpenAPI document: FastAPI's, with our problems in place of its validation errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.roles import OPERATION_ROLES
from api.schemas.problems import Problem, problems

VERSION = "1.0.0"
_DESCRIPTION = """
Durable orchestration of AI-agent workflows on Temporal: store a definition, execute it, watch and steer its executions.

Every failure is an [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem (`application/problem+json`) with a
stable `code`, a sentence in `detail`, often a `hint`, and for faulty requests every issue in `errors` with its JSON
pointer. Lists are pages: pass `next_cursor` as `cursor`. Collection paths work with and without their last slash.

Operations need an API key of the role that `x-required-role` names, or a higher one: viewer, operator, editor, admin.
"""
_TAGS = [
    {"name": "workflows", "description": "Definitions with immutable versions"},
    {"name": "simulations", "description": "Runs with mocks, which touch nothing outside"},
    {"name": "executions", "description": "Durable runs of a workflow"},
    {"name": "schedules", "description": "When executions start by themselves"},
    {"name": "hooks", "description": "Signed webhooks that start executions"},
    {"name": "agents", "description": "What agent tasks are asked of"},
    {"name": "breakers", "description": "Dependencies that are left alone for now"},
    {"name": "tools", "description": "What steps and agents may call"},
    {"name": "vectors", "description": "Collections that vector steps and agents' memory search"},
    {"name": "sessions", "description": "Conversations that agents go on with"},
    {"name": "language", "description": "JSON Schema and expressions"},
    {"name": "access", "description": "API keys: who may do what"},
    {"name": "health", "description": "For load balancers and operators"},
]


def _header(description: str, **schema: Any) -> dict[str, Any]:
    return {"description": description, "required": True, "schema": schema}


_EXECUTION = "/api/v1/executions/ex-k3v7q2mzt4ahb6wnc5xdyrpejs"
_LOCATION = _header("where it can be read", type="string", examples=[_EXECUTION])
_ETAG = _header("the version, for `If-Match`", type="string", pattern='^"[0-9]+"$', examples=['"3"'])
_RETRY_AFTER = _header("seconds to wait before the next try", type="integer", minimum=1, examples=[2])
_HEADERS: dict[str, dict[str, Any]] = {
    "201": {"Location": _LOCATION},
    "202": {"Location": _LOCATION},
    "401": {"WWW-Authenticate": _header("how to send a key", type="string", examples=['Bearer realm="orchestrator"'])},
    "429": {"Retry-After": _RETRY_AFTER},
    "503": {"Retry-After": _RETRY_AFTER},
}
_STARTS = {"execute_workflow", "invoke_agent", "receive_webhook"}
_VERSIONED = {
    *(f"{verb}_{kind}" for verb in ("create", "get", "put") for kind in ("workflow", "agent", "tool", "schedule")),
    *(f"{verb}_schedule" for verb in ("pause", "resume", "trigger")),
    "restore_workflow_version",
}
"""Operations whose answers carry an `ETag`."""
_EXAMPLES: dict[str, Any] = json.loads((Path(__file__).parent / "schemas" / "examples.json").read_text())
"""Of documents, as a deployment answered with them."""
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer <API key>"},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def describe(app: FastAPI) -> None:
    """Give the app its OpenAPI document."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=VERSION, description=_DESCRIPTION.strip(), routes=app.routes, tags=_TAGS
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    document["components"]["securitySchemes"] = _SECURITY
    for operations in document["paths"].values():
        for operation in operations.values():
            _replace_validation_error(operation["responses"])
            _describe_access(operation)
            _describe_headers(operation)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for name, example in _EXAMPLES.items():
        if name in schemas:
            schemas[name].setdefault("examples", [example])
    return document


def _describe_access(operation: dict[str, Any]) -> None:
    needed = OPERATION_ROLES.get(operation.get("operationId", ""), "nobody")
    operation["x-required-role"] = needed
    if needed == "public":
        operation["security"] = []
        return
    operation["security"] = [{name: []} for name in _SECURITY]
    responses = operation["responses"]
    for status, response in problems(401, 403, 429, 503).items():
        responses.setdefault(str(status), response)
    operation["responses"] = dict(sorted(responses.items()))


def _describe_headers(operation: dict[str, Any]) -> None:
    name = operation.get("operationId", "")
    for status, response in operation["responses"].items():
        found = dict(_HEADERS.get(status, {}))
        if status[0] == "2" and name in _VERSIONED:
            # Agents that a package brings have no versions.
            found |= {"ETag": {**_ETAG, "required": name != "get_agent"}}
        if status == "200" and "202" in operation["responses"] and name in _STARTS:
            found |= _HEADERS["202"]
        if found:
            response["headers"] = {**response.get("headers", {}), **found}


def _replace_validation_error(responses: dict[str, Any]) -> None:
    """Drop FastAPI's own 422 where an operation does not declare ours."""
    content = responses.get("422", {}).get("content", {})
    if "application/json" in content:
        del content["application/json"]
        if not content:
            del responses["422"]
