"""The one translation from errors to HTTP: RFC 9457 problems, with a status for every leaf of the error tree."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import compile_path

from api.middleware import SECURE_HEADERS
from api.request_issues import request_issues
from orchestrator.execution import (
    errors,
    errors_access,
    errors_agents,
    errors_bulk,
    errors_data,
    errors_schedules,
    errors_simulation,
    errors_steps,
    errors_tools,
)
from orchestrator.execution.errors import OrchestratorError, RequestError
from orchestrator.expressions import ExpressionError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2

STATUS: Mapping[type[OrchestratorError], int] = {
    errors.RequestError: 422,
    errors.MalformedJson: 400,
    errors.PayloadTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.NotFound: 404,
    errors.SignalsFull: 429,
    errors_access.Unauthenticated: 401,
    errors_access.Forbidden: 403,
    errors_access.TooManyRequests: 429,
    errors_bulk.TooManyBulkJobs: 429,
    errors.WorkflowDeleted: 410,
    errors_schedules.InvalidSignature: 401,
    errors.Conflict: 409,
    errors.VersionConflict: 412,
    errors.Unavailable: 503,
    # A step's failure reaches HTTP only where the API itself does what a step does (agent health, evaluation).
    errors_steps.AttemptTimeout: 503,
    errors_steps.ExecutionTimeout: 503,
    errors_steps.ModelUnavailable: 503,
    errors_steps.ModelRateLimited: 503,
    errors_steps.ModelRejected: 502,
    errors_steps.ModelBadResponse: 502,
    errors_steps.InvalidOutput: 502,
    errors_steps.CircuitOpen: 503,
    errors_steps.RateLimitedLocally: 503,
    errors_steps.AgentFailed: 502,
    errors_steps.HttpStatus: 502,
    errors_steps.HttpConnection: 502,
    errors_steps.HttpBlocked: 422,
    errors_steps.InvalidHttpRequest: 422,
    errors_steps.HttpBadResponse: 502,
    errors_steps.VectorRejected: 422,
    errors_steps.DimensionMismatch: 409,
    errors_steps.CollectionNotFound: 404,
    errors_steps.OutcomeUnknown: 500,
    errors_steps.MissingSecret: 500,
    errors_data.LiveDataTooLarge: 422,
    errors_data.CollectedOutputTooLarge: 422,
    errors_simulation.SimulatorBusy: 503,
    errors_agents.MaxTurnsExceeded: 502,
    errors_agents.BudgetExhausted: 409,
    errors_tools.ToolNotAllowed: 422,
    errors_tools.ToolNotCallable: 422,
    errors_tools.InvalidToolArguments: 422,
    errors_tools.ToolFailed: 502,
    errors_tools.ToolBadResult: 502,
    errors_tools.ToolListChanged: 502,
    errors_tools.McpUnavailable: 503,
    errors_tools.McpBadResponse: 502,
}
"""Class to status; the nearest class in an error's line of ancestors decides."""


def status_of(error: OrchestratorError) -> int:
    """Return the HTTP status of an error; 500 for what no table names."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return 500


def problem(
    request: Request,
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    hint: str | None = None,
    issues: Iterable[Mapping[str, Any]] = (),
    extensions: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a problem document (RFC 9457).

    Args:
        request: the request that failed; its path is the `instance`.
        status: the HTTP status.
        code: stable kebab-case identifier; `type` is a URN made of it.
        title: the same for every problem of this code.
        detail: one sentence about this occurrence.
        hint: the way out.
        issues: `errors`: everything wrong with the request, each with a JSON pointer.
        extensions: further members.
        headers: further headers.
    """
    content: dict[str, Any] = {
        **(extensions or {}),
        "type": f"urn:orchestrator:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": request.url.path,
        "code": code,
    }
    if hint:
        content["hint"] = hint
    if found := list(issues):
        content["errors"] = found
    return JSONResponse(content, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def problem_of(request: Request, error: OrchestratorError) -> Response:
    """Return the problem of one of our errors, with `Retry-After` on 429 and 503."""
    status = status_of(error)
    headers = {}
    if status in (429, 503):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_seconds or RETRY_AFTER_SECONDS)))
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="orchestrator"'
    issues = [issue.to_dict() for issue in error.issues] if isinstance(error, RequestError) else []
    return problem(
        request,
        status,
        error.code,
        error.title,
        error.message,
        hint=error.hint,
        issues=issues,
        extensions=error.details,
        headers=headers,
    )


def install(app: FastAPI) -> None:
    """Answer every failure of the app with a problem."""
    app.add_exception_handler(OrchestratorError, _on_orchestrator_error)
    app.add_exception_handler(ExpressionError, _on_expression_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_surprise)


async def _on_orchestrator_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, OrchestratorError)
    return problem_of(request, error)


async def _on_expression_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ExpressionError)
    return problem(
        request,
        422,
        error.code,
        "Expression error",
        error.message,
        hint=error.hint,
        issues=[{**{key: value for key, value in error.to_dict().items() if value is not None}, "text": str(error)}],
    )


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    issues = request_issues(request, error)
    detail = issues[0]["message"] if len(issues) == 1 else f"{len(issues)} things are wrong with the request"
    return problem(request, 422, RequestError.code, RequestError.title, detail, issues=issues)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return _method_not_allowed(request)
    if error.status_code == 404:
        detail = f"there is nothing at '{request.url.path[:200]}'"
        return problem(request, 404, "not-found", "Not found", detail, hint="/docs lists every operation")
    headers = dict(error.headers or {})
    return problem(
        request, error.status_code, f"http-{error.status_code}", "Request refused", str(error.detail), headers=headers
    )


def _method_not_allowed(request: Request) -> Response:
    # Starlette's own Allow header names only the methods of the first route that has this path.
    allowed = ", ".join(sorted(_methods_at(request.app, request.url.path)))
    detail = f"{request.method} is not possible here; {allowed} is" if allowed else "this method is not possible here"
    return problem(request, 405, "method-not-allowed", "Method not allowed", detail, headers={"Allow": allowed})


def _methods_at(app: FastAPI, path: str) -> set[str]:
    # Of several templates the one with most words is meant: nobody stores a workflow at the path of `validate`.
    templates = [
        (len(re.sub(r"{[^}]*}", "", context.path)), set(context.methods or ()))
        for context in iter_route_contexts(app.routes)
        if context.path and compile_path(context.path)[0].match(path)
    ]
    most = max((words for words, _ in templates), default=0)
    found: set[str] = set().union(*(methods for words, methods in templates if words == most))
    return found | ({"HEAD"} if "GET" in found else set())


async def _on_disconnect(request: Request, error: Exception) -> Response:
    # Nobody reads this answer.
    return problem(request, 400, "client-disconnected", "Client disconnected", "the client went away")


async def _on_surprise(request: Request, error: Exception) -> Response:
    # It answers outside of every middleware.
    secure = {name.decode(): value.decode() for name, value in SECURE_HEADERS}
    return problem(
        request,
        500,
        OrchestratorError.code,
        OrchestratorError.title,
        "the service met an error of its own; nothing in the request explains it",
        hint="the API's log has the details",
        headers=secure,
    )
