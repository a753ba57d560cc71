"""One agent without a workflow: a definition of one step, made for this start and pinned in it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from api.pinned import UnstoredDefinition
from api.schemas.agents import InvokeRequest
from orchestrator.agents import AgentEntry
from orchestrator.agents.records import unlisted_tools
from orchestrator.definition import Issue, validate_definition
from orchestrator.definition.canonical import derive_workflow_id
from orchestrator.execution.errors import AgentNotFound, RequestError

STEP_ID = "invoke"
_STEP_POINTER, _BUDGET_POINTER = "/steps/0/", "/limits/budget"
_AS_GIVEN = ("model", "output_schema", "tools", "session_id", "max_turns")


async def invocation(entry: AgentEntry, request: InvokeRequest) -> UnstoredDefinition:
    """Return the definition that asks an agent for one task; its output is the agent's answer.

    Args:
        entry: the agent.
        request: what it is asked.

    Raises:
        AgentNotFound: it was retired.
        RequestError: with every issue, its pointers into the request.
    """
    if entry.retired:
        raise AgentNotFound(
            f"agent '{entry.agent_type}' was retired",
            hint=f"put it back with PUT /api/v1/agents/{entry.agent_type}, or name another agent",
        )
    issues = unlisted_tools(entry.record, request.tools or [], entry.agent_type, "/tools")
    found = await asyncio.to_thread(validate_definition, _document(entry.agent_type, request))
    issues += [_in_request(issue) for issue in found.errors]
    if issues:
        raise RequestError(f"agent '{entry.agent_type}' cannot be asked this: {issues[0].message}", issues=issues)
    return UnstoredDefinition(str(found.workflow_id), str(found.sha256), found.document)


def _document(agent_type: str, request: InvokeRequest) -> dict[str, Any]:
    step: dict[str, Any] = {
        "step_id": STEP_ID,
        "name": request.task,
        "step_type": "agent_task",
        "agent_type": agent_type,
        "task": request.task,
        # What a caller sends is data: nothing in it is a template.
        "parameters": {"$literal": request.parameters},
    }
    step |= {name: value for name in _AS_GIVEN if (value := getattr(request, name)) is not None}
    document: dict[str, Any] = {
        "workflow_id": derive_workflow_id(f"agent-{agent_type}"),
        "name": f"Agent {agent_type}",
        "steps": [step],
        "output": f"{{{{ steps.{STEP_ID}.output }}}}",
    }
    if request.budget is not None:
        document["limits"] = {"budget": request.budget.model_dump(exclude_unset=True)}
    return document


def _in_request(issue: Issue) -> Issue:
    if issue.pointer.startswith(_STEP_POINTER):
        return replace(issue, pointer="/" + issue.pointer.removeprefix(_STEP_POINTER))
    if issue.pointer.startswith(_BUDGET_POINTER):
        return replace(issue, pointer="/budget" + issue.pointer.removeprefix(_BUDGET_POINTER))
    return issue
