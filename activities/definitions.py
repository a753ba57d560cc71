"""Activities about definitions and values: load and pin one, check JSON against a schema."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError

from activities.failures import application_error
from activities.step_activity import step_activity
from orchestrator.client import deleted_note, pause_schedule
from orchestrator.definition.schemas import value_issues
from orchestrator.execution.errors import InvalidInput, OrchestratorError, WorkflowDeleted
from orchestrator.execution.messages import (
    LoadDefinitionInput,
    LoadDefinitionResult,
    StepCall,
    StepResult,
    ValidateJsonInput,
)
from orchestrator.execution.value_checks import SHOWN_ISSUES, check_value
from orchestrator.stores.definitions import DefinitionStore, StoredDefinition


class DefinitionActivities:
    """What executions need to know about stored definitions.

    Args:
        definitions: the store.
        client: pauses schedules of deleted definitions; None: nobody does.
    """

    def __init__(self, definitions: DefinitionStore, client: Client | None = None) -> None:
        self._definitions = definitions
        self._client = client

    def all(self) -> list[Callable[..., Any]]:
        """Return the activities, for the worker."""
        return [self.load_definition, self.validate_json]

    @activity.defn(name="load_definition")
    async def load_definition(self, request: LoadDefinitionInput) -> LoadDefinitionResult:
        """Pin a stored definition and check the input against its `input_schema`.

        Raises:
            ApplicationError: `workflow-not-found`, `workflow-deleted`, `invalid-input` (none is tried again) or
                `redis-unavailable` (tried again).
        """
        try:
            stored = await self._definitions.get(request.workflow_id, request.version)
            await _check_start(stored, request.input)
        except OrchestratorError as error:
            if isinstance(error, WorkflowDeleted) and request.schedule_id is not None and self._client is not None:
                await pause_schedule(self._client, request.schedule_id, deleted_note(request.workflow_id))
            raise _outside_steps(error) from error
        return LoadDefinitionResult(
            definition=stored.definition,
            version=stored.version,
            sha256=stored.sha256,
            holds={"workflow": stored.paused.reason} if stored.paused else {},
        )

    @step_activity("validate_json")
    async def validate_json(self, request: ValidateJsonInput) -> StepResult:
        """Check a value against a JSON Schema.

        Raises:
            StepFailure: it does not satisfy the schema; `details.errors` lists why.
        """
        return await asyncio.to_thread(check_value, request)


async def _check_start(stored: StoredDefinition, value: Any) -> None:
    if stored.deleted:
        raise WorkflowDeleted(f"workflow '{stored.workflow_id}' was deleted; it starts no more executions")
    schema = stored.definition.get("input_schema")
    issues = await asyncio.to_thread(value_issues, schema, value, "/input") if schema is not None else []
    if issues:
        message = f"the input does not satisfy the input_schema of '{stored.workflow_id}': {issues[0].message}"
        details = {"errors": [issue.to_dict() for issue in issues[:SHOWN_ISSUES]]}
        raise InvalidInput(message, issues=issues, details=details)


def _outside_steps(error: OrchestratorError) -> ApplicationError:
    """Translate the failure of an activity that belongs to no step; Temporal's policy alone counts its attempts."""
    call = StepCall(execution_id="", workflow_id="", path="", step_id="", idempotency_key="", max_attempts=0)
    return application_error(error, call, attempt=activity.info().attempt)
