"""Turns what FastAPI finds wrong with a request into issues with JSON pointers, codes and hints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.requests import Request

from orchestrator.definition.issues import Issue, pointer_to
from orchestrator.expressions import suggest


def request_issues(request: Request, error: RequestValidationError) -> list[dict[str, Any]]:
    """Return every issue once; for a parameter outside the body `parameter` says which, beside the pointer."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for detail in error.errors():
        place, *path = detail["loc"]
        issue = _issue(detail, path, request)
        entry = issue.to_dict()
        if place != "body" and path:
            entry["parameter"] = str(path[-1])
        found.setdefault((issue.code, issue.pointer), entry)
    return list(found.values())


def _issue(detail: dict[str, Any], path: Sequence[str | int], request: Request) -> Issue:
    kind, pointer = str(detail["type"]), pointer_to(path)
    last = str(path[-1]) if path else "body"
    if kind == "extra_forbidden":
        near = suggest(last, _body_fields(request))
        return Issue("unknown-field", f"unknown field '{last}'", pointer, f"did you mean '{near}'?" if near else None)
    if not path and detail.get("input") is None:
        # A request without a body was refused before.
        return Issue("wrong-type", "the body is null; this operation takes a JSON object", pointer, "send {…}")
    if kind == "missing":
        return Issue("missing-field", f"'{last}' is required", pointer)
    message = str(detail["msg"]).removeprefix("Value error, ")
    code = "wrong-type" if kind.endswith(("_type", "_parsing")) else "invalid-value"
    return Issue(code, f"'{last}': {message[:1].lower()}{message[1:]}", pointer)


def _body_fields(request: Request) -> list[str]:
    field = getattr(request.scope.get("route"), "body_field", None)
    model = field.field_info.annotation if field is not None else None
    if isinstance(model, type) and issubclass(model, BaseModel):
        return list(model.model_fields)
    return []
