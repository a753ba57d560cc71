"""What a run begins with: its start input, its definition, the state that it goes on from.

What a client made and nobody can ever read fails the execution; what another version of the worker may read, or was
written by a worker, fails the workflow task until such a one comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from orchestrator.definition.compiled import CompiledDefinition
from orchestrator.execution.messages import LoadDefinitionInput, LoadDefinitionResult, StartExecution
from orchestrator.execution.position_check import misfit
from orchestrator.execution.state import ExecutionState
from orchestrator.expressions import ExpressionError
from orchestrator.workflows.carrying import load
from orchestrator.workflows.definition_cache import compiled
from orchestrator.workflows.failures import error_info
from orchestrator.workflows.performing import summary_text
from orchestrator.workflows.search_attributes import once_loaded
from orchestrator.workflows.start_inputs import UNREADABLE

LOADED_SEARCHABLE = "loaded-searchable"
"""Patch: a loaded definition's version and tags become search attributes."""
LONGEST_REASON = 1000


def read_start(start: Any) -> StartExecution:
    """Return a start input that a client sent.

    Raises:
        ApplicationError: it is none.
    """
    if isinstance(start, dict) and UNREADABLE in start:
        raise _invalid(f"the start input cannot be read: {start[UNREADABLE]}")
    try:
        return StartExecution.model_validate(start)
    except ValidationError as error:
        raise _invalid(f"the start input is no StartExecution: {error}") from error


def read_definition(start: StartExecution, document: dict[str, Any], sha256: str | None) -> CompiledDefinition:
    """Return a definition ready to run.

    Raises:
        ApplicationError: it is invalid.
    """
    try:
        return compiled(document, sha256 or workflow.info().run_id)
    except (ValidationError, ExpressionError) as error:
        raise ApplicationError(
            f"the definition of workflow '{start.workflow_id}' is invalid: {error}",
            type="invalid-definition",
            non_retryable=True,
        ) from error


def read_state(definition: CompiledDefinition, carried: Sequence[Any]) -> ExecutionState:
    """Return the state that a run goes on from.

    Raises:
        ApplicationError: a client sent it with the start, and it is no state of this definition.
    """
    if workflow.info().continued_run_id is not None:
        # A worker wrote it: what cannot read it is another one's mistake, and a rollback heals that.
        return load(carried)
    try:
        state = load(carried)
    except (ValueError, TypeError, LookupError) as error:
        raise _invalid(f"the state of the start input cannot be read: {error}"[:LONGEST_REASON]) from error
    why = misfit(definition, state)
    if why is not None:
        raise _invalid(f"the state of the start input does not belong to its definition: {why}"[:LONGEST_REASON])
    return state


def _invalid(message: str) -> ApplicationError:
    return ApplicationError(message, type="invalid-start", non_retryable=True)


async def load_definition(start: StartExecution) -> LoadDefinitionResult:
    """Return the definition of a start by reference.

    Raises:
        ApplicationError: there is none, or it does not take the input.
    """
    try:
        loaded: LoadDefinitionResult = await workflow.execute_activity(
            "load_definition",
            LoadDefinitionInput.of(start),
            result_type=LoadDefinitionResult,
            start_to_close_timeout=timedelta(seconds=10),
            schedule_to_close_timeout=timedelta(hours=24),
            activity_id="~definition",
            summary=summary_text(f"load definition {start.workflow_id}"),
        )
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        info = error_info(error.cause, "~definition")
        raise ApplicationError(info.message, type=info.type, non_retryable=True) from error
    _make_searchable(loaded.definition, loaded.version)
    return loaded


def _make_searchable(document: dict[str, Any], version: int | None) -> None:
    """Let lists find an execution that was started by reference by its version and its definition's tags."""
    tags = document.get("tags", {})
    found = once_loaded(workflow.info().typed_search_attributes, version, tags if isinstance(tags, dict) else {})
    if found and workflow.patched(LOADED_SEARCHABLE):
        workflow.upsert_search_attributes(found)
