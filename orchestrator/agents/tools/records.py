"""Declared tools: an HTTP request or a workflow as a tool, as data. Validation gives every issue at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import Field, model_validator

from orchestrator.agents.record_size import size_issues
from orchestrator.agents.tools.specs import TOOL_NAME_PATTERN, ToolSpec
from orchestrator.definition.canonical import canonical_sha256
from orchestrator.definition.issues import Issue
from orchestrator.definition.leaf_types import Auth
from orchestrator.definition.part_check import check_part
from orchestrator.definition.parts import Part, StatusClass, StatusCode, WorkflowId
from orchestrator.definition.schemas import schema_issues
from orchestrator.definition.secret_names import misnamed_secrets
from orchestrator.definition.validation import as_issue
from orchestrator.execution.errors_tools import InvalidTool
from orchestrator.expressions import check_references, collect_template_errors

REQUEST_ROOTS = ("arguments",)
SECRET_FIELDS = ("headers", "query", "auth")
"""Where `secrets.NAME` may stand, as in an `api_call`."""
RESULT_ROOTS = ("arguments", "response")
BUILTIN_NAMES = frozenset({"get_time", "http_request", "remember", "vector_search"})
NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
_FIXED_HOST = re.compile(r"https?://[^/?#{}\s]+(?:[/?#]|$)", re.IGNORECASE)


class HttpTool(Part):
    """One HTTP request through the guarded client; templates read `arguments`."""

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    url: str = Field(min_length=1, max_length=8_192, description="Template; arguments are percent-encoded in it.")
    headers: dict[str, Any] = Field(default_factory=dict)
    query: dict[str, Any] = Field(default_factory=dict)
    json_body: Any = Field(None, alias="json", description="Template; sent as application/json.")
    form: dict[str, Any] | None = None
    text: str | None = None
    auth: Auth | None = None
    expect_status: list[StatusCode | StatusClass] = Field(["2xx"], min_length=1, max_length=100)
    output: Any = Field(None, description="Template over `response` (status, headers, body); absent: the body.")

    @model_validator(mode="after")
    def _one_body(self) -> HttpTool:
        if sum(name in self.model_fields_set for name in ("json_body", "form", "text")) > 1:
            raise ValueError("a request has one body: give one of 'json', 'form', 'text'")
        return self


class WorkflowTool(Part):
    """A workflow as a tool: the arguments are its input, its output is the result."""

    workflow_id: WorkflowId
    version: int | None = Field(None, ge=1, description="Absent: the latest when it is called.")


class ToolRecord(Part):
    """A tool as data: exactly one of `http` and `workflow` says what a call does."""

    name: str = Field(pattern=TOOL_NAME_PATTERN)
    description: str = Field(min_length=1, max_length=4_000, description="What models are told.")
    parameters: dict[str, Any] = Field(
        default_factory=lambda: dict(NO_ARGUMENTS), description="JSON Schema 2020-12 of the arguments, an object."
    )
    requires_approval: bool = Field(False, description="People must agree to every call that a model asks for.")
    timeout_seconds: float | None = Field(None, gt=0, le=86_400, description="Of one call; absent: the attempt's.")
    http: HttpTool | None = None
    workflow: WorkflowTool | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> ToolRecord:
        if (self.http is None) == (self.workflow is None):
            raise ValueError("a tool takes exactly one of 'http' and 'workflow'")
        return self

    def spec(self) -> ToolSpec:
        """Return the tool as models are offered it."""
        workflow = self.workflow
        return ToolSpec(
            name=self.name,
            description=self.description,
            parameters=self.parameters,
            kind="http" if workflow is None else "workflow",
            requires_approval=self.requires_approval,
            workflow_id=None if workflow is None else workflow.workflow_id,
            version=None if workflow is None else workflow.version,
            timeout_seconds=self.timeout_seconds,
        )


def check_tool(document: Any, *, name: str | None = None) -> ToolRecord:
    """Return the record that a JSON document describes.

    Args:
        document: any JSON value.
        name: the name in the request's path, which the document may leave out but not contradict.

    Raises:
        InvalidTool: with every issue, its pointer and a hint.
    """
    if not isinstance(document, Mapping):
        raise _invalid([Issue("wrong-type", "a tool record is a JSON object", "", 'send {"name": …}')])
    raw = dict(document)
    issues = size_issues(raw)
    if not issues:
        issues += _name_issues(raw, name)
        record, found = check_part(ToolRecord, raw, "")
        issues += found
        issues += _parameter_issues(raw.get("parameters"))
        issues += _http_issues(raw.get("http"))
        if record is not None and not issues:
            return record
    raise _invalid(issues)


def tool_document(record: ToolRecord) -> dict[str, Any]:
    """Return the record's JSON form, absent fields left out."""
    return record.model_dump(mode="json", by_alias=True, exclude_unset=True)


def tool_sha256(document: Mapping[str, Any]) -> str:
    """Return the hash of the record's canonical JSON."""
    return canonical_sha256(dict(document))


def read_tools(folder: Path) -> list[ToolRecord]:
    """Return the records of a folder's `*.json`, by file name. Blocks: call it in a thread.

    Raises:
        InvalidTool: the folder is not there, or a file is not a record; the message names it.
    """
    if not folder.is_dir():
        raise InvalidTool(f"'{folder}' is not a folder of tool records", hint="check TOOLS_PATH")
    return [_read_tool(path) for path in sorted(folder.glob("*.json"))]


def _read_tool(path: Path) -> ToolRecord:
    try:
        return check_tool(orjson.loads(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise InvalidTool(f"'{path}' is not a JSON file: {error}") from error
    except InvalidTool as error:
        listed = "; ".join(f"{issue.pointer or '/'}: {issue.message}" for issue in error.issues)
        raise InvalidTool(f"'{path}' is not a tool record: {listed}", issues=error.issues) from error


def _name_issues(raw: dict[str, Any], name: str | None) -> list[Issue]:
    given = raw.setdefault("name", name) if name is not None else raw.get("name")
    if name is not None and given != name:
        message = f"the record says {given!r}, the path says '{name}'"
        return [Issue("name-mismatch", message, "/name", "leave name out of the body, or make them equal")]
    if given in BUILTIN_NAMES:
        return [Issue("name-taken", f"'{given}' is a built-in tool", "/name", "choose another name")]
    return []


def _parameter_issues(parameters: Any) -> list[Issue]:
    if not isinstance(parameters, Mapping):
        return []
    found = schema_issues(dict(parameters), "/parameters")
    if not found and parameters.get("type") != "object":
        message = 'the schema of a tool\'s arguments has the type "object"'
        return [Issue("invalid-schema", message, "/parameters/type", 'write {"type": "object", "properties": {…}}')]
    return found


def _http_issues(http: Any) -> list[Issue]:
    if not isinstance(http, Mapping):
        return []
    issues: list[Issue] = []
    for field in ("url", "json", "form", "text"):
        issues += _template_issues(http.get(field), f"/http/{field}", REQUEST_ROOTS)
    for field in SECRET_FIELDS:
        issues += _template_issues(http.get(field), f"/http/{field}", REQUEST_ROOTS, secrets=True)
    issues += _template_issues(http.get("output"), "/http/output", RESULT_ROOTS)
    url = http.get("url")
    if isinstance(url, str) and not _FIXED_HOST.match(url):
        message = "the URL does not begin with http:// or https:// and a host that no argument decides"
        issues.append(Issue("dynamic-host", message, "/http/url", "write the host out; arguments may stand after it"))
    return issues


def _template_issues(value: Any, pointer: str, roots: tuple[str, ...], *, secrets: bool = False) -> list[Issue]:
    template, errors = collect_template_errors(value, pointer=pointer)
    if template is not None and not errors:
        read = template.references
        if secrets:
            errors = misnamed_secrets(read)
            read = tuple(item for item in read if item.root != "secrets")
        errors = [*errors, *check_references(read, roots=roots, step_ids=())]
    return [as_issue(error) for error in errors]


def _invalid(issues: list[Issue]) -> InvalidTool:
    count = "1 error" if len(issues) == 1 else f"{len(issues)} errors"
    return InvalidTool(f"the tool record has {count}: {issues[0].message}", issues=issues)
