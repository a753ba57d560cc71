"""What steps answer that have no mock, and what reports show of a request."""

from __future__ import annotations

from typing import Any

from orchestrator.execution.commands import ScheduleActivity
from orchestrator.execution.messages import HttpRequestInput
from orchestrator.execution.messages_agents import CallToolInput, InvokeModelInput, SummariseSessionInput


def asked(command: ScheduleActivity) -> Any:
    """Return what an activity was asked, as people wrote it."""
    request = command.arguments[0] if command.arguments else None
    if command.result_type is None:
        return list(command.arguments)
    if isinstance(request, InvokeModelInput):
        return request.parameters
    if isinstance(request, CallToolInput):
        return request.arguments
    if isinstance(request, HttpRequestInput):
        return request.json_body
    return _plain(request)


def echo(command: ScheduleActivity) -> Any:
    """Return the output of a step without a mock: what it was asked, in the shape that its type answers in."""
    request = command.arguments[0] if command.arguments else None
    if command.result_type is None:
        return {"activity": command.activity, "arguments": list(command.arguments)}
    if isinstance(request, InvokeModelInput):
        return {"task": request.task, "parameters": request.parameters, "dependencies": request.dependencies}
    if isinstance(request, SummariseSessionInput):
        return []
    if isinstance(request, CallToolInput):
        return {"arguments": request.arguments}
    if isinstance(request, HttpRequestInput):
        return {"status": 200, "headers": {}, "body": {"url": request.url, "json": request.json_body}}
    return _plain(request)


def _plain(request: Any) -> Any:
    return request.model_dump(mode="json", exclude={"call"}, exclude_none=True) if request is not None else None
