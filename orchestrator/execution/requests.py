"""Builds what an activity is sent from a step's rendered fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import ValidationError

from orchestrator.definition.compiled import CompiledStep, RetryRule, TimeoutRule
from orchestrator.definition.models import Activity, ApiCall, ToolCall, VectorSearch, VectorUpsert
from orchestrator.execution.commands import ScheduleActivity
from orchestrator.execution.errors_steps import StepFailure
from orchestrator.execution.messages import (
    HttpRequestInput,
    HttpRequestResult,
    StepCall,
    StepResult,
    ValidateJsonInput,
)
from orchestrator.execution.messages_agents import CallToolInput, CallToolResult
from orchestrator.execution.messages_secrets import SecretSlot
from orchestrator.execution.messages_vectors import VectorSearchResult, VectorUpsertResult
from orchestrator.execution.paths import activity_id
from orchestrator.execution.state import ExecutionState
from orchestrator.execution.vector_requests import search_input, upsert_input

OUTPUT_CHECK = "~output"
"""Activity id of the last check; no step id begins with `~`."""


@dataclass(frozen=True, slots=True)
class ActivityRequest:
    """Which activity a step runs, with what, and what comes back."""

    activity: str
    arguments: tuple[Any, ...]
    result_type: type[StepResult] | None


def build_request(
    step: CompiledStep, call: StepCall, fields: Mapping[str, Any], secrets: list[SecretSlot]
) -> ActivityRequest:
    """Return the request of a step that runs as an activity.

    Args:
        step: an `api_call`, `vector_search`, `vector_upsert` or `activity`.
        call: who asks.
        fields: the step's templates, rendered.
        secrets: what the activity fills.

    Raises:
        StepFailure: a rendered field has the wrong type (`invalid-step-input`).
    """
    try:
        if isinstance(step.model, Activity):
            return _foreign_request(step.model, fields)
        if isinstance(step.model, VectorSearch):
            return ActivityRequest("vector_search", (search_input(step.model, call, fields),), VectorSearchResult)
        if isinstance(step.model, VectorUpsert):
            return ActivityRequest("vector_upsert", (upsert_input(step.model, call, fields),), VectorUpsertResult)
        if isinstance(step.model, ToolCall):
            return _tool_request(step.model, call, fields)
        return _http_request(cast(ApiCall, step.model), call, fields, secrets)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StepFailure(
            f"step '{call.path}': '{where}' came out wrong: {first['msg']}", code="invalid-step-input"
        ) from error


def _foreign_request(model: Activity, fields: Mapping[str, Any]) -> ActivityRequest:
    arguments = fields.get("arguments")
    if "arguments" not in fields:
        return ActivityRequest(model.activity, (), None)
    return ActivityRequest(model.activity, tuple(arguments) if isinstance(arguments, list) else (arguments,), None)


def _tool_request(model: ToolCall, call: StepCall, fields: Mapping[str, Any]) -> ActivityRequest:
    argument = CallToolInput(
        call=call, tool=model.tool, mcp_server=model.mcp_server, arguments=fields.get("arguments", {})
    )
    return ActivityRequest("call_tool", (argument,), CallToolResult)


def _http_request(
    model: ApiCall, call: StepCall, fields: Mapping[str, Any], secrets: list[SecretSlot]
) -> ActivityRequest:
    argument = HttpRequestInput(
        call=call,
        method=model.method,
        url=fields["url"],
        headers=fields.get("headers", {}),
        query=fields.get("query", {}),
        json_body=fields.get("json_body"),
        has_json="json_body" in fields,
        form=fields.get("form"),
        text=fields.get("text"),
        auth=fields.get("auth"),
        secret_slots=secrets,
        expect_status=list(model.expect_status),
        response_schema=model.response_schema,
    )
    return ActivityRequest("http_request", (argument,), HttpRequestResult)


def output_check(state: ExecutionState, schema: dict[str, Any] | bool) -> ScheduleActivity:
    """Return the command that checks the execution's output against `output_schema`."""
    return schema_check(state, OUTPUT_CHECK, "", schema, state.output, "the execution's output")


def schema_check(
    state: ExecutionState, path: str, suffix: str, schema: dict[str, Any] | bool, value: Any, what: str
) -> ScheduleActivity:
    """Return the command that checks a value off the workflow thread.

    Args:
        state: the execution.
        path: the step's path.
        suffix: what makes the activity id unique.
        schema: a JSON Schema.
        value: what is checked.
        what: names the value in the error.
    """
    identifier = activity_id(path, suffix)
    call = StepCall(
        execution_id=state.execution_id,
        workflow_id=state.workflow_id,
        workflow_version=state.workflow_version,
        path=path,
        step_id=path,
        idempotency_key=f"{state.execution_id}/{identifier}",
    )
    argument = ValidateJsonInput(call=call, json_schema=schema, value=value, what=what)
    return ScheduleActivity(
        activity_id=identifier,
        activity="validate_json",
        arguments=(argument,),
        result_type=StepResult,
        retry=RetryRule(5, 1.0, 2.0, 60.0, ()),
        timeouts=TimeoutRule(30.0, 300.0, None, 10.0),
        summary=f"check {what} against its schema",
    )
