"""The OpenAPI document: FastAPI's, with our problems in place of its validation errors."""

from __future__ import annotations

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
    {"name": "language", "description": "JSON Schema and expressions"},
    {"name": "access", "description": "API keys: who may do what"},
    {"name": "health", "description": "For load balancers and operators"},
]


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
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
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


def _replace_validation_error(responses: dict[str, Any]) -> None:
    """Drop FastAPI's own 422 where an operation does not declare ours."""
    content = responses.get("422", {}).get("content", {})
    if "application/json" in content:
        del content["application/json"]
        if not content:
            del responses["422"]
