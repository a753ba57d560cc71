"""The tool calls of an agent's turn: in parallel, under cap and budget, some of them after somebody agreed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from pydantic_core import to_json

from orchestrator.definition.limits import CHILDREN_IN_FLIGHT
from orchestrator.execution import events as ev
from orchestrator.execution.agent_budgets import AgentBudgets, with_outcomes
from orchestrator.execution.agent_requests import tool_request
from orchestrator.execution.children import Children
from orchestrator.execution.engine import Engine, Place
from orchestrator.execution.errors_tools import InvalidToolArguments
from orchestrator.execution.messages import ErrorInfo
from orchestrator.execution.messages_agents import ToolCallRequest, ToolOutcome
from orchestrator.execution.paths import tool_call_path
from orchestrator.execution.ready_queue import Takes
from orchestrator.execution.state import AgentLoop, ToolCall
from orchestrator.execution.tool_outcomes import shortened_round

CLAIMED_BYTES = 128 * 1024
"""What is larger is kept outside the history and counts no more than this."""
TOOL_CALLS_HELD = "tool-calls-held"
"""Before this rule the cap counted agents' tool calls, and let through as many as a model asked for at once."""
PARKED_AT_REST = "parked-at-rest"
"""Before this rule an agent was parked beside its own tool calls, and forgotten when one of them was approved."""
APPROVALS_OF_TRIES = "approvals-of-tries"
"""Before this rule the approvals of a loop that was begun again had the paths of the loop before."""
_TOOL_PATH = re.compile(r"^(?P<path>.+):t\d+\.(?P<number>\d+)(#\d+)?$")


class LoopLead(Protocol):
    """What tool calls ask of the loop that they belong to."""

    def next_turn(self, place: Place, loop: AgentLoop) -> None:
        """Let the next model turn begin."""

    def end(self, place: Place, error: ErrorInfo) -> None:
        """Fail the step."""

    def settle_cancelled(self, place: Place) -> None:
        """Cancel the step once nothing of it is in flight."""


class AgentTools:
    """Opens, begins and ends tool calls.

    Args:
        engine: the shared core.
        children: starts the executions of workflow tools.
        budgets: counts the calls.
        lead: the loops.
    """

    def __init__(self, engine: Engine, children: Children, budgets: AgentBudgets, lead: LoopLead) -> None:
        self._engine = engine
        self._children = children
        self._budgets = budgets
        self._lead = lead

    def open(self, place: Place, loop: AgentLoop, requests: Sequence[ToolCallRequest]) -> None:
        """Take what the model asked for."""
        loop.calls = [_opened(request) for request in requests]
        tries = place.run.state.tries + place.record.retried
        if tries and any(call.state == "approval" for call in loop.calls) and self._engine.patched(APPROVALS_OF_TRIES):
            loop.tries = tries
        self._show_approvals(place, loop)

    def go_on(self, place: Place, loop: AgentLoop) -> None:
        """Begin what is due, or let the next turn begin once every call has ended."""
        if any(call.state == "due" for call in loop.calls):
            key = (place.run.scope_id, place.step.step_id)
            if loop.due is None:
                loop.due = "tools"
                self._engine.queue(place.run, place.step.step_id)
            elif not place.record.flights and key in self._engine.state.unaffordable:
                self._engine.state.unaffordable.remove(key)
                self._engine.queue(place.run, place.step.step_id)
        elif all(call.state == "done" for call in loop.calls):
            loop.outcomes = shortened_round([call.outcome for call in loop.calls if call.outcome is not None])
            loop.calls, loop.told = [], False
            if loop.budget is not None or self._engine.state.budget is not None:
                loop.ask = with_outcomes(loop.ask, loop.outcomes)
            self._lead.next_turn(place, loop)

    def begin_due(self, place: Place, loop: AgentLoop) -> None:
        """Schedule the tool calls that are due, side by side, as far as the cap allows."""
        loop.due = loop.held = None
        for number, call in enumerate(loop.calls):
            if call.state != "due":
                continue
            takes = self._lacks_room(call)
            if takes is not None:
                # The others' room first: a call waits for one thing at a time.
                loop.held = takes if loop.held is None else "activity"
                continue
            call.state = "running"
            self._budgets.tool_call(place, loop)
            if call.request.kind == "workflow":
                self._start_child(place, loop, call, number)
            else:
                self._schedule_tool(place, loop, call, number)
        if loop.held is not None and loop.due is None:
            loop.due = "tools"
            self._engine.queue(place.run, place.step.step_id)

    def _lacks_room(self, call: ToolCall) -> Takes | None:
        """Return what there is no room for; None where the call may begin."""
        flying = self._engine.in_flight
        takes: Takes = "child" if call.request.kind == "workflow" else "activity"
        if takes == "child":
            full = len(flying.children) >= CHILDREN_IN_FLIGHT
        else:
            full = flying.activities >= self._engine.definition.max_parallel
        return takes if full and self._engine.patched(TOOL_CALLS_HELD) else None

    def _take_off(self, place: Place, identifier: str) -> None:
        self._engine.in_flight[identifier] = (place.run.scope_id, place.step.step_id)

    def _schedule_tool(self, place: Place, loop: AgentLoop, call: ToolCall, number: int) -> None:
        command = tool_request(self._engine.state, place, loop, call, number)
        call.activity_id = command.activity_id
        self._take_off(place, command.activity_id)
        self._engine.payload_bytes += min(len(to_json(command.arguments)), CLAIMED_BYTES)
        self._engine.commands.append(command)

    def _start_child(self, place: Place, loop: AgentLoop, call: ToolCall, number: int) -> None:
        request = call.request
        command = self._children.tool_start(
            place, f"/t{loop.turn}.{number}", request.workflow_id or "", request.version, request.arguments
        )
        if command is None:
            error = ErrorInfo(type="child-too-deep", message=f"tool '{request.tool}': children are nested too deep")
            self.ended(place, loop, call, ToolOutcome(**names_of(call), error=error))
            return
        call.child_id = command.child_id
        self._take_off(place, command.child_id)
        self._engine.commands.append(command)

    def child_ended(self, place: Place, event: ev.ChildCompleted | ev.ChildFailed) -> None:
        """Go on after the execution of a workflow tool ended."""
        loop = place.record.agent
        call = call_of(loop, event.child_id) if loop is not None else None
        del self._engine.in_flight[event.child_id]
        if loop is None or call is None:
            return
        if isinstance(event, ev.ChildCompleted):
            outcome = ToolOutcome(**names_of(call), output=event.view.output)
            self.ended(place, loop, call, outcome)
        else:
            details = {**event.error.details, "execution_id": event.child_id}
            error = event.error.model_copy(update={"details": details})
            self.ended(place, loop, call, ToolOutcome(**names_of(call), error=error), cancelled=event.cancelled)

    def ended(
        self, place: Place, loop: AgentLoop, call: ToolCall, outcome: ToolOutcome, *, cancelled: bool = False
    ) -> None:
        """Go on after a call ended, well or not."""
        call.activity_id = call.child_id = None
        call.state, call.outcome = "done", outcome
        if place.record.cancelling:
            if cancelled is False and outcome.error is not None:
                place.record.error = outcome.error.model_copy(update={"outcome_unknown": True})
            self._lead.settle_cancelled(place)
        elif loop.failure is None:
            self.go_on(place, loop)
        elif not place.record.flights:
            self._lead.end(place, loop.failure)

    # --- approvals of tool calls ----------------------------------------------------------------------------------

    def _show_approvals(self, place: Place, loop: AgentLoop) -> None:
        if place.record.awaits == "operator" and self._engine.patched(PARKED_AT_REST):
            return
        waits = any(call.state == "approval" for call in loop.calls)
        place.record.awaits = "approval" if waits else None

    def refusal(self, path: str, by: str) -> str | None:
        """Say why a decision about a tool call cannot be taken now; None when it can."""
        found = self._waiting(path)
        if found is None:
            return f"no approval is open at '{path}'"
        approvers = found[1].approvers
        if approvers is not None and by not in approvers:
            return f"'{by}' is none of the approvers of '{path}'"
        return None

    def approve(self, event: ev.ApprovalGiven) -> None:
        """Let a tool call go, or tell the model that it was refused."""
        found = self._waiting(event.path)
        if found is None or self.refusal(event.path, event.by) is not None:
            return
        place, loop, call = found
        if event.decision == "approved":
            call.state = "due"
        else:
            message = f"{event.by} refused this call" + (f": {event.reason}" if event.reason else "")
            error = ErrorInfo(type="approval-rejected", message=message)
            call.state, call.outcome = "done", ToolOutcome(**names_of(call), error=error)
        self._show_approvals(place, loop)
        self.go_on(place, loop)

    def _waiting(self, path: str) -> tuple[Place, AgentLoop, ToolCall] | None:
        match = _TOOL_PATH.match(path)
        place = self._engine.find(match["path"]) if match else None
        loop = place.record.agent if place is not None else None
        if match is None or place is None or loop is None or place.record.cancelling or loop.failure is not None:
            return None
        number = int(match["number"])
        if number >= len(loop.calls) or loop.calls[number].state != "approval":
            return None
        if path != tool_call_path(place.path, loop.turn, number, loop.tries):
            return None
        return place, loop, loop.calls[number]


def is_tool_path(path: str) -> bool:
    """Say whether a path names a tool call of an agent, `<step path>:t<turn>.<n>` and `#<try>` after the first."""
    return _TOOL_PATH.match(path) is not None


def _opened(request: ToolCallRequest) -> ToolCall:
    if request.error is not None:
        error = ErrorInfo(type=InvalidToolArguments.code, message=request.error)
        outcome = ToolOutcome(call_id=request.call_id, tool=request.tool, error=error)
        return ToolCall(request, state="done", outcome=outcome)
    return ToolCall(request, state="approval" if request.requires_approval else "due")


def call_of(loop: AgentLoop, identifier: str) -> ToolCall | None:
    """Return the tool call of an activity or a child; None where it is no tool's."""
    return next((call for call in loop.calls if identifier in (call.activity_id, call.child_id)), None)


def names_of(call: ToolCall) -> dict[str, str]:
    """Return the fields that name a call in its outcome."""
    return {"call_id": call.request.call_id, "tool": call.request.tool}
