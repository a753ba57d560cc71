"""What people are shown of an execution: the query's answer, the final envelope, the step table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain, islice

from orchestrator.definition.compiled import CompiledDefinition
from orchestrator.definition.models import WaitForSignal
from orchestrator.execution.messages import ExecutionView, OpenApproval, SignalsView, StepView
from orchestrator.execution.paths import join_path, tool_call_path
from orchestrator.execution.state import ROOT, AgentLoop, ExecutionState

TABLE_ROWS = 100
NOTES = 20
NOTE_CHARACTERS = 300
_MOVING = frozenset({"wait", "delay", "retry"})
"""Timers that go on by themselves, unlike the time-out of a wait."""


def status_of(state: ExecutionState, *, busy: bool = False) -> str:
    """Return the execution's status word.

    Args:
        state: the execution.
        busy: the caller knows that something is in flight, which saves a look at every open step.
    """
    if state.phase == "closed" and state.outcome:
        return state.outcome
    if state.queued:
        return "queued"
    if state.holds:
        return "paused"
    return "awaiting" if not busy and awaited(state) else "running"


def awaited(state: ExecutionState) -> str | None:
    """Return what the execution waits for, where nothing else moves it: `operator`, `approval` or `signal`."""
    found: set[str] = set()
    closed = frozenset(state.retained)
    for scope_id, scope in state.scopes.items():
        if scope_id in closed:
            continue
        for record in scope.steps.values():
            if record.flights:
                return None
            if record.awaits is not None:
                found.add(record.awaits)
    if not found or state.ready or any(timer.kind in _MOVING for timer in state.timers.values()):
        return None
    return next(kind for kind in ("operator", "approval", "signal") if kind in found)


def detail_of(state: ExecutionState) -> str | None:
    """Return what a status leaves open: who paused the execution and why, or what it waits for."""
    if state.phase == "closed":
        return None
    if state.queued:
        return "concurrency"
    if state.holds:
        return "; ".join(f"{holder}: {reason}" if reason else holder for holder, reason in state.holds.items())
    return awaited(state)


def view_of(definition: CompiledDefinition, state: ExecutionState) -> ExecutionView:
    """Return the whole view; the step table lists every root step in definition order."""
    scope = state.scopes[ROOT]
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
            handled=record.handled,
            tolerated=record.tolerated,
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
        signals=signals_of(definition, state),
        ledger=state.ledger.view(),
        approvals=open_approvals(definition, state),
    )


def signals_of(definition: CompiledDefinition, state: ExecutionState) -> SignalsView:
    """Return what is known of messages: awaited, kept, lost."""
    closed, names = frozenset(state.retained), set[str]()
    for scope_id, scope in state.scopes.items():
        for step_id, record in scope.steps.items() if scope_id not in closed else ():
            model = definition.steps[step_id].model
            if record.awaits == "signal" and isinstance(model, WaitForSignal):
                names.add(model.signal)
    return SignalsView(awaited=sorted(names), buffered=len(state.signals), dropped=state.signals_dropped)


def open_approvals(definition: CompiledDefinition, state: ExecutionState) -> list[OpenApproval]:
    """Return the decisions that people are waited for, tool calls of agents included."""
    found: list[OpenApproval] = []
    closed = frozenset(state.retained)
    for scope_id, scope in state.scopes.items():
        for step_id, record in scope.steps.items() if scope_id not in closed else ():
            if record.awaits != "approval":
                continue
            path, label = join_path(scope.prefix, step_id), definition.steps[step_id].model.label
            if record.agent is None:
                cursor = record.cursor or {}
                found.append(
                    OpenApproval(path=path, title=cursor.get("title", label), approvers=cursor.get("approvers"))
                )
            else:
                found += _tool_approvals(path, label, record.agent)
    return found


def _tool_approvals(path: str, label: str, loop: AgentLoop) -> list[OpenApproval]:
    return [
        OpenApproval(
            path=tool_call_path(path, loop.turn, number, loop.tries),
            title=f"{label} asks to call {call.request.tool}",
            approvers=loop.approvers,
            tool=call.request.tool,
            arguments=call.request.arguments,
        )
        for number, call in enumerate(loop.calls)
        if call.state == "approval"
    ]


def markdown_table(
    definition: CompiledDefinition, state: ExecutionState, status: str, detail: str | None = None
) -> str:
    """Return the step table in Markdown, for the Temporal Web UI; over 100 steps, counts by state instead.

    Above it stands what a person should know first: why the execution failed, and what it waits for.

    Args:
        definition: of the execution.
        state: of the execution.
        status: its status word.
        detail: what the status leaves open.
    """
    records = state.scopes[ROOT].steps
    title = f"**{definition.head.name or state.workflow_id}** · {status}{f' ({detail})' if detail else ''}"
    title = "\n\n".join([title, *_notes(definition, state, status)])
    if len(records) > TABLE_ROWS:
        counts = Counter(record.state for record in records.values())
        return title + "\n\n" + "\n".join(f"- {state_name}: {count}" for state_name, count in counts.items())
    steps = definition.root.steps
    rows = [
        _row(steps[step_id].model.label, step_id, record.state, record.attempts) for step_id, record in records.items()
    ]
    return "\n".join([title, "", "| step | id | state | attempts |", "|---|---|---|---|", *rows])


def _notes(definition: CompiledDefinition, state: ExecutionState, status: str) -> list[str]:
    found = []
    if state.error is not None:
        where = f" at step {_quoted(state.error.step)}" if state.error.step else ""
        found.append(f"failed{where}: {_quoted(f'{state.error.type}: {state.error.message}')}")
    if status in ("awaiting", "paused"):
        # Thousands of items may wait, and this is made for every activation.
        waits = list(
            islice(chain(_repairs(state), _decisions(definition, state), _messages(definition, state)), NOTES + 1)
        )
        found += waits[:NOTES]
        if len(waits) > NOTES:
            found.append("… and more")
    return found


def _repairs(state: ExecutionState) -> Iterator[str]:
    closed = frozenset(state.retained)
    return (
        f"step {_quoted(join_path(scope.prefix, step_id))} waits for a repair"
        + (f": {_quoted(f'{record.error.type}: {record.error.message}')}" if record.error else "")
        for scope_id, scope in state.scopes.items()
        if scope_id not in closed
        for step_id, record in scope.steps.items()
        if record.awaits == "operator"
    )


def _decisions(definition: CompiledDefinition, state: ExecutionState) -> Iterator[str]:
    for approval in open_approvals(definition, state):
        yield f"{_quoted(approval.path)} waits for a decision: {_quoted(approval.title)}"


def _messages(definition: CompiledDefinition, state: ExecutionState) -> Iterator[str]:
    for name in signals_of(definition, state).awaited:
        yield f"waits for the signal {_quoted(name)}"


def _quoted(text: str) -> str:
    """Return text that is no Markdown, whatever a far end wrote into it."""
    text = text if len(text) <= NOTE_CHARACTERS else text[: NOTE_CHARACTERS - 1] + "…"
    return f"`{text.replace('`', chr(39)).replace(chr(10), ' ')}`"


# The table is made for every activation, and few of its rows are new.
@lru_cache(maxsize=4096)
def _row(label: str, step_id: str, state: str, attempts: int) -> str:
    return f"| {_cell(label)} | `{step_id}` | {state} | {attempts or ''} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
