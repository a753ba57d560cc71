"""Builds what the activities of an agent's loop are sent."""

from __future__ import annotations

import hashlib
import json
from typing import cast

from orchestrator.definition.compiled import RetryRule, TimeoutRule
from orchestrator.definition.models import AgentTask
from orchestrator.execution.agent_budgets import reserved_for
from orchestrator.execution.calls import step_call
from orchestrator.execution.commands import ScheduleActivity
from orchestrator.execution.engine import Place
from orchestrator.execution.messages_agents import (
    CallToolInput,
    CallToolResult,
    InvokeModelInput,
    InvokeModelResult,
    SummariseSessionInput,
    SummariseSessionResult,
)
from orchestrator.execution.paths import activity_id
from orchestrator.execution.state import AgentLoop, ExecutionState, ToolCall

TOOL_START_TO_CLOSE_SECONDS = 60.0
TOOL_SCHEDULE_TO_CLOSE_SECONDS = 3_600.0
REPORT_SECONDS = 2.0
"""A tool's own time is up before its attempt's, so that it says itself that it was too slow."""
SUMMARY_SECONDS = 60.0
SUMMARY_RETRY = RetryRule(2, 1.0, 2.0, 10.0, ())
"""The step waits for the summary of its session, and the next task asks for it again: not worth a long wait."""


def model_turn(state: ExecutionState, place: Place, loop: AgentLoop, *, own_retry: bool) -> ScheduleActivity:
    """Return the command for the model turn that is due.

    Args:
        state: the execution.
        place: the agent's step.
        loop: its loop.
        own_retry: whether the step or the definition's defaults say how often to try.
    """
    step, scope = place.step, place.run.state
    model = cast(AgentTask, step.model)
    suffix = f"/m{loop.turn}" if loop.turn else ""
    call = step_call(state, place, suffix)
    first = not loop.transcript
    if loop.tried and call.max_attempts:
        call = call.model_copy(update={"max_attempts": max(call.max_attempts - loop.tried, 1)})
    argument = InvokeModelInput(
        call=call,
        agent_type=model.agent_type,
        task=model.task,
        parameters=loop.parameters if first else None,
        input=state.input if first else None,
        dependencies={name: scope.steps[name].value for name in step.listed} if first else {},
        model=model.model,
        output_schema=model.output_schema,
        turn=loop.turn,
        agent_version=loop.agent_version,
        transcript=loop.transcript,
        outcomes=[] if loop.told else loop.outcomes,
        repair=loop.repair,
        model_index=loop.model_index,
        tools=model.tools,
        tools_sha256=loop.tools_sha256,
        session_id=loop.session_id,
        own_retry=own_retry,
        tried=loop.tried,
        reserved=reserved_for(loop, (state.budget, loop.budget)),
    )
    return ScheduleActivity(
        activity_id=_identifier(place, suffix),
        activity="invoke_model",
        arguments=(argument,),
        result_type=InvokeModelResult,
        retry=step.retry,
        timeouts=step.timeouts,
        summary=f"{step.model.label}: turn {loop.turn + 1}" if loop.turn else step.model.label,
        task_queue=step.task_queue,
        priority=step.model.priority,
        heartbeat=step.model.timeouts.heartbeat_seconds if step.model.timeouts else None,
    )


def tool_request(state: ExecutionState, place: Place, loop: AgentLoop, call: ToolCall, number: int) -> ScheduleActivity:
    """Return the command for one tool call."""
    model, request = cast(AgentTask, place.step.model), call.request
    suffix = f"/t{loop.turn}.{number}"
    argument = CallToolInput(
        call=step_call(state, place, _tool_key(loop, call)),
        tool=request.tool,
        mcp_server=request.mcp_server,
        arguments=request.arguments,
        agent_type=model.agent_type,
        agent_version=loop.agent_version,
        tools_sha256=loop.tools_sha256,
    )
    own, seconds = place.step.timeouts, TOOL_START_TO_CLOSE_SECONDS
    if request.timeout_seconds is not None:
        seconds = request.timeout_seconds + REPORT_SECONDS
    return ScheduleActivity(
        activity_id=_identifier(place, suffix),
        activity="call_tool",
        arguments=(argument,),
        result_type=CallToolResult,
        retry=place.step.retry,
        timeouts=TimeoutRule(
            seconds,
            min(own.schedule_to_close, max(TOOL_SCHEDULE_TO_CLOSE_SECONDS, 2 * seconds)),
            own.schedule_to_start,
            own.heartbeat,
        ),
        summary=f"{place.step.model.label}: {request.tool}",
        task_queue=place.step.task_queue,
        priority=place.step.model.priority,
    )


def _tool_key(loop: AgentLoop, call: ToolCall) -> str:
    """Return what tells a tool call's key apart: what it asks for, and how often the loop asked for it before.

    A loop that is begun again keeps the keys of what it does again, however its model goes about it this time; the
    key of a place in the loop would pass another effect off as that one.
    """
    request = call.request
    asked = json.dumps([request.tool, request.arguments], sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(asked.encode("utf-8", "replace")).hexdigest()[:16]
    loop.called[digest] = loop.called.get(digest, 0) + 1
    return f"/{request.tool}:{digest}.{loop.called[digest] - 1}"


def summary_request(state: ExecutionState, place: Place, loop: AgentLoop) -> ScheduleActivity:
    """Return the command that has a step's session summarised."""
    model, suffix = cast(AgentTask, place.step.model), "/summary"
    call = step_call(state, place, suffix)
    argument = SummariseSessionInput(
        call=call.model_copy(update={"max_attempts": SUMMARY_RETRY.max_attempts, "non_retryable_errors": []}),
        agent_type=model.agent_type,
        agent_version=loop.agent_version,
        session_id=loop.session_id or "",
        turn=loop.turn + 1,
        model=model.model,
        model_index=loop.model_index,
        reserved=reserved_for(loop, (state.budget, loop.budget)),
    )
    return ScheduleActivity(
        activity_id=_identifier(place, suffix),
        activity="summarise_session",
        arguments=(argument,),
        result_type=SummariseSessionResult,
        retry=SUMMARY_RETRY,
        timeouts=TimeoutRule(SUMMARY_SECONDS, 2 * SUMMARY_SECONDS, None, place.step.timeouts.heartbeat),
        summary=f"{place.step.model.label}: summarise the session",
        task_queue=place.step.task_queue,
        priority=place.step.model.priority,
    )


def _identifier(place: Place, suffix: str) -> str:
    tries = place.run.state.tries + place.record.retried
    return activity_id(place.path, f"{suffix}#{tries}" if tries else suffix)
