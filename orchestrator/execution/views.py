"""What people are shown of an execution: the query's answer, the final envelope, the step table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.definition.compiled import CompiledDefinition
from orchestrator.execution.messages import ErrorInfo, ExecutionView, StepView
from orchestrator.execution.state import ExecutionState, ScopeState, StepRecord

TABLE_ROWS = 100


class StepsContext(Mapping[str, Mapping[str, Any]]):
    """`steps` as expressions see it: by id, made when it is read."""

    def __init__(self, scope: ScopeState) -> None:
        self._scope = scope

    def __getitem__(self, step_id: str) -> Mapping[str, Any]:
        return step_context(self._scope.steps[step_id])

    def __iter__(self) -> Iterator[str]:
        return iter(self._scope.steps)

    def __len__(self) -> int:
        return len(self._scope.steps)


def step_context(record: StepRecord) -> dict[str, Any]:
    """Return one step as expressions see it; output and error are null until there is one."""
    return {
        "output": record.output,
        "status": record.state,
        "error": error_context(record.error),
        "attempts": record.attempts,
        "started_at": record.started_at,
        "finished_at": record.finished_at,
    }


def error_context(error: ErrorInfo | None) -> dict[str, Any] | None:
    """Return an error as expressions see it."""
    return error.model_dump(exclude_none=True) if error else None


def status_of(state: ExecutionState) -> str:
    """Return the execution's status word."""
    if state.phase == "closed" and state.outcome:
        return state.outcome
    if state.holds and state.phase == "running":
        return "paused"
    return "running"


def detail_of(state: ExecutionState) -> str | None:
    """Return what a status leaves open: who paused the execution, and why."""
    if status_of(state) != "paused":
        return None
    return "; ".join(f"{holder}: {reason}" if reason else holder for holder, reason in state.holds.items())


def view_of(definition: CompiledDefinition, state: ExecutionState) -> ExecutionView:
    """Return the whole view; the step table lists every root step in definition order."""
    scope = state.scopes[""]
    steps = [
        StepView(
            path=step_id,
            step_id=step_id,
            name=definition.root.steps[step_id].model.label,
            step_type=definition.root.steps[step_id].model.step_type,
            state=record.state,
            attempts=record.attempts,
            started_at=record.started_at,
            finished_at=record.finished_at,
            error=record.error,
        )
        for step_id, record in scope.steps.items()
    ]
    return ExecutionView(
        workflow_id=state.workflow_id,
        workflow_version=state.workflow_version,
        workflow_name=definition.head.name,
        status=status_of(state),
        detail=detail_of(state),
        input=state.input,
        output=state.output,
        error=state.error,
        steps=steps,
        holds=dict(state.holds),
        lineage=state.lineage,
    )


def markdown_table(definition: CompiledDefinition, state: ExecutionState) -> str:
    """Return the step table in Markdown, for the Temporal Web UI; over 100 steps, counts by state instead."""
    records = state.scopes[""].steps
    title = f"**{definition.head.name or state.workflow_id}** · {status_of(state)}"
    if len(records) > TABLE_ROWS:
        counts: dict[str, int] = {}
        for record in records.values():
            counts[record.state] = counts.get(record.state, 0) + 1
        return title + "\n\n" + "\n".join(f"- {state_name}: {count}" for state_name, count in counts.items())
    rows = [_row(definition.root.steps[step_id].model.label, step_id, record) for step_id, record in records.items()]
    return "\n".join([title, "", "| step | id | state | attempts |", "|---|---|---|---|", *rows])


def _row(label: str, step_id: str, record: StepRecord) -> str:
    return f"| {_cell(label)} | `{step_id}` | {record.state} | {record.attempts or ''} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
