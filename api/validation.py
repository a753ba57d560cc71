"""Checks definitions that callers send, with the agents that are registered."""

from __future__ import annotations

import asyncio
from typing import Any

from api.dependencies import Services
from api.schemas.problems import ProblemIssue
from orchestrator.definition import Issue, Validation, validate_definition
from orchestrator.execution.errors import InvalidDefinition


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
    return found


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
