"""Checks definitions that callers send, with the agents that are registered."""

from __future__ import annotations

import asyncio
from typing import Any

from api.dependencies import Services
from api.schemas.problems import ProblemIssue
from orchestrator.agents.records import unlisted_tools
from orchestrator.definition import Issue, Validation, validate_definition
from orchestrator.definition.models import AgentTask
from orchestrator.execution.errors import AgentNotFound, InvalidDefinition


async def checked(services: Services, document: Any, *, workflow_id: str | None = None) -> Validation:
    """Return what validation finds.

    Args:
        services: the app's services.
        document: the body.
        workflow_id: the id in the path of a PUT; a body without an id and a name gets it.

    Raises:
        RedisUnavailable: nobody can say which agents are registered.
    """
    known_agents = await services.agents.known_types()
    if workflow_id is not None and isinstance(document, dict) and "workflow_id" not in document:
        document = {**document, "workflow_id": workflow_id}
    # Thousands of steps take longer than other requests should wait.
    found = await asyncio.to_thread(validate_definition, document, known_agents=known_agents)
    if workflow_id is not None and found.workflow_id not in (None, workflow_id):
        message = f"the body's workflow_id '{found.workflow_id}' is not the path's '{workflow_id}'"
        found.errors.append(Issue("id-mismatch", message, "/workflow_id", "leave it out, or use the same id in both"))
    found.warnings += await _tool_warnings(services, found)
    return found


async def _tool_warnings(services: Services, found: Validation) -> list[Issue]:
    """Warn of steps that name tools which their agent's record does not list now."""
    if found.compiled is None:
        return []
    scopes = [scope for top in found.compiled.tops() for scope in top.walk()]
    naming = [
        (step.pointer, step.model)
        for scope in scopes
        for step in scope.steps.values()
        if isinstance(step.model, AgentTask) and step.model.tools
    ]
    records = {agent: await _record(services, agent) for agent in sorted({model.agent_type for _, model in naming})}
    return [
        issue
        for pointer, model in sorted(naming, key=lambda item: item[0])
        for issue in unlisted_tools(records[model.agent_type], model.tools or [], model.agent_type, f"{pointer}/tools")
    ]


async def _record(services: Services, agent_type: str) -> dict[str, Any] | None:
    try:
        return (await services.agents.get(agent_type)).record
    except AgentNotFound:
        # A Python agent that was retired since validation asked.
        return None


def require_valid(found: Validation) -> None:
    """Refuse a faulty definition with everything that is wrong with it.

    Raises:
        InvalidDefinition: with every issue.
    """
    if found.valid:
        return
    count = len(found.errors)
    summary = found.errors[0].message if count == 1 else f"{count} errors; the first: {found.errors[0].message}"
    name = f"workflow '{found.workflow_id[:100]}'" if found.workflow_id else "the definition"
    raise InvalidDefinition(
        f"{name} is not valid: {summary}",
        hint="nothing was stored; POST /api/v1/workflows/validate checks without storing",
        issues=found.errors,
    )


def shown(issues: list[Issue]) -> list[ProblemIssue]:
    """Return issues in the API's shape."""
    return [ProblemIssue.model_validate(issue.to_dict()) for issue in issues]
