"""The loop of an `agent_task`: model turn, tool calls in parallel, next turn, until there is an answer.

Every turn and every tool call is an activity of its own (a workflow tool a child), so that a crash repeats at most
what was in flight. Between turns the loop stands still for pauses, budgets, approvals and continue-as-new.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json

from orchestrator.definition.limits import CHILDREN_IN_FLIGHT, TURNS
from orchestrator.definition.models import AgentTask
from orchestrator.execution import events as ev
from orchestrator.execution.agent_budgets import AgentBudgets, with_outcomes
from orchestrator.execution.agent_requests import model_turn, summary_request, tool_request
from orchestrator.execution.children import Children
from orchestrator.execution.engine import Engine, Place
from orchestrator.execution.errors_agents import BudgetExhausted, MaxTurnsExceeded
from orchestrator.execution.errors_tools import InvalidToolArguments
from orchestrator.execution.messages import ErrorInfo
from orchestrator.execution.messages_agents import InvokeModelResult, SummariseSessionResult, ToolOutcome
from orchestrator.execution.messages_ledger import LedgerCall
from orchestrator.execution.ready_queue import Takes
from orchestrator.execution.state import AgentLoop, ToolCall
from orchestrator.execution.steps import StepEnds

CLAIMED_BYTES = 128 * 1024
"""What is larger is kept outside the history and counts no more than this."""
FALLBACK_ERRORS = re.compile(r"^(model-.*|timeout|circuit-open|rate-limited|invalid-output|outcome-unknown)$")
"""Failures of a model that another model may not have."""
TOOL_CALLS_HELD = "tool-calls-held"
"""Before this rule the cap counted agents' tool calls, and let through as many as a model asked for at once."""
PARKED_AT_REST = "parked-at-rest"
"""Before this rule an agent was parked beside its own tool calls, and forgotten when one of them was approved."""
SESSIONS_SUMMARISED = "sessions-summarised"
"""Before this rule a session that had grown too large was never summarised."""
_UNREPORTED = ("timeout", "cancelled", "outcome-unknown")
_TOOL_PATH = re.compile(r"^(?P<path>.+):t(?P<turn>\d+)\.(?P<number>\d+)$")


class AgentLoops:
    """Drives the loops of all agent steps.

    Args:
        engine: the shared core.
        ends: completes and fails steps.
        children: starts the executions of workflow tools.
    """

    def __init__(self, engine: Engine, ends: StepEnds, children: Children) -> None:
        self._engine = engine
        self._ends = ends
        self._children = children
        self._budgets = AgentBudgets(engine)

    # --- beginning and going on -----------------------------------------------------------------------------------

    def begin(self, place: Place, model: AgentTask, fields: dict[str, Any]) -> None:
        """Begin a loop with its first turn."""
        session = fields.get("session_id")
        loop = AgentLoop(
            parameters=fields.get("parameters", {}),
            session_id=None if session is None else str(session),
            max_turns=model.max_turns or 0,
            budget=self._budgets.of_step(model),
        )
        place.record.agent = loop
        self.proceed(place)

    def proceed(self, place: Place) -> None:
        """Schedule what is due: the next model turn, or tool calls."""
        loop = place.record.agent
        if loop is None or loop.due is None or place.record.terminal or place.record.cancelling:
            return
        verdict = self._budgets.verdict(place, loop)
        if verdict == "wait":
            self._engine.state.unaffordable.append((place.run.scope_id, place.step.step_id))
        elif verdict == "exhausted":
            self._exhausted(place, loop)
        elif loop.due == "summary":
            self._summarise(place, loop)
        elif loop.due == "model":
            self._ask_model(place, loop)
        else:
            self._call_tools(place, loop)

    def _exhausted(self, place: Place, loop: AgentLoop) -> None:
        if loop.answered:
            self._end_with(place, loop, 0, loop.answer)
            return
        names, park = self._budgets.exhausted(loop)
        leaf = BudgetExhausted(
            f"step '{place.path}': the budget is used up: {', '.join(names)}",
            hint="raise it with POST /api/v1/executions/{execution_id}/budget, or limits.budget in the definition",
            details={"exhausted": names},
        )
        error = ErrorInfo(type=leaf.code, message=leaf.message, step=place.path, details=leaf.details)
        if not park:
            self._end(place, error)
            return
        if place.record.flights and self._engine.patched(PARKED_AT_REST):
            # What it called must end before anybody repairs it; a raise brings it on at once.
            self._engine.state.unaffordable.append((place.run.scope_id, place.step.step_id))
            return
        place.record.error = error
        place.record.awaits = "operator"

    def affordable(self) -> None:
        """Let those who waited for the budget ask again: something was given back, or the budget was raised."""
        waiting, self._engine.state.unaffordable = self._engine.state.unaffordable, []
        for scope_id, step_id in waiting:
            if scope_id in self._engine.runs:
                self._engine.queue(self._engine.runs[scope_id], step_id)

    def raised(self) -> None:
        """Bring on the agents that are parked for want of a budget."""
        self.affordable()
        for run in list(self._engine.runs.values()):
            for step_id, record in run.state.steps.items():
                waits = record.awaits == "operator" and record.agent is not None and record.agent.due is not None
                if waits and record.error is not None and record.error.type == BudgetExhausted.code:
                    record.awaits = record.error = None
                    if record.agent is not None and any(call.state == "approval" for call in record.agent.calls):
                        record.awaits = "approval" if self._engine.patched(PARKED_AT_REST) else None
                    self._engine.queue(run, step_id)

    # --- model turns ----------------------------------------------------------------------------------------------

    def _ask_model(self, place: Place, loop: AgentLoop) -> None:
        defaults = self._engine.definition.head.defaults
        own_retry = place.step.model.retry is not None or (defaults is not None and defaults.retry is not None)
        command = model_turn(self._engine.state, place, loop, own_retry=own_retry)
        loop.due = None
        place.record.activity_id = command.activity_id
        self._budgets.reserve(place, loop, command.activity_id)
        self._take_off(place, command.activity_id)
        self._engine.payload_bytes += min(len(to_json(command.arguments)), CLAIMED_BYTES)
        self._engine.commands.append(command)

    def _take_off(self, place: Place, identifier: str) -> None:
        self._engine.in_flight[identifier] = (place.run.scope_id, place.step.step_id)

    def completed(self, place: Place, event: ev.ActivityCompleted) -> None:
        """Go on after a model turn or a tool call returned."""
        loop, result = place.record.agent, event.result
        if loop is None:
            place.record.attempts = result.attempts
            self._ends.complete(place, result.output)
            return
        call = _call_of(loop, event.activity_id)
        if call is not None:
            self._tool_ended(place, loop, call, ToolOutcome(**_names(call), output=result.output))
        elif isinstance(result, SummariseSessionResult):
            self._summarised(place, loop, event.activity_id, result.spent)
        elif isinstance(result, InvokeModelResult):
            self._answered(place, loop, event.activity_id, result)
        else:
            self._end_with(place, loop, result.attempts, result.output)

    def _answered(self, place: Place, loop: AgentLoop, activity_id: str, result: InvokeModelResult) -> None:
        record = place.record
        self._budgets.settle(place, loop, activity_id, result.spent, unreported=result.needs is None)
        self._learn(loop, result)
        self.affordable()
        if result.needs is not None:
            loop.tried += result.attempts - 1
            loop.ask = result.needs
            self._next(place, loop, same_turn=True)
            return
        record.attempts = max(record.attempts, 1) + result.attempts - 1
        if result.part is not None:
            loop.transcript.append(result.part)
        loop.outcomes, loop.repair, loop.tried = [], None, 0
        if result.invalid is not None:
            self._refused(place, loop, result)
        elif result.tool_calls:
            self._asked_for_tools(place, loop, result)
        elif result.summarise and not record.cancelling and self._engine.patched(SESSIONS_SUMMARISED):
            loop.answered, loop.answer, loop.due = True, result.output, "summary"
            self._engine.queue(place.run, place.step.step_id)
        else:
            self._end_with(place, loop, 0, result.output)

    def _summarise(self, place: Place, loop: AgentLoop) -> None:
        """Have the session summarised before the step completes: whatever comes of it, the answer stands."""
        command = summary_request(self._engine.state, place, loop)
        loop.due = None
        place.record.activity_id = command.activity_id
        self._budgets.reserve(place, loop, command.activity_id)
        self._take_off(place, command.activity_id)
        self._engine.commands.append(command)

    def _summarised(self, place: Place, loop: AgentLoop, activity_id: str, spent: Sequence[LedgerCall]) -> None:
        self._budgets.settle(place, loop, activity_id, spent, unreported=False)
        self.affordable()
        self._end_with(place, loop, 0, loop.answer)

    def _learn(self, loop: AgentLoop, result: InvokeModelResult) -> None:
        loop.agent_version = result.agent_version
        loop.fallbacks = result.fallbacks
        loop.tools_sha256 = result.tools_sha256 or loop.tools_sha256
        loop.approvers = result.approvers
        loop.max_turns = loop.max_turns or result.max_turns or TURNS
        loop.ask = result.next_needs

    def _end_with(self, place: Place, loop: AgentLoop, attempts: int, output: Any) -> None:
        if attempts:
            place.record.attempts = max(place.record.attempts, attempts)
        place.record.agent = None
        self._ends.complete(place, output)

    def _refused(self, place: Place, loop: AgentLoop, result: InvokeModelResult) -> None:
        """The answer does not satisfy the schema: one repair turn, then the next model, then the step fails."""
        if not loop.repaired:
            loop.repaired, loop.repair = True, result.invalid
            self._next(place, loop)
        elif not self._fall_back(place, loop):
            errors = result.invalid or []
            first = f": {errors[0].get('message', '')}" if errors else ""
            message = f"step '{place.path}': the answer breaks output_schema, after a repair turn too{first}"
            details = {"errors": errors, "model": result.model}
            self._end(place, ErrorInfo(type="invalid-output", message=message, step=place.path, details=details))

    def _fall_back(self, place: Place, loop: AgentLoop) -> bool:
        if loop.model_index >= loop.fallbacks:
            return False
        loop.model_index += 1
        loop.repaired, loop.repair = False, None
        del loop.transcript[loop.sound :]
        self._next(place, loop)
        return True

    def _next(self, place: Place, loop: AgentLoop, *, same_turn: bool = False) -> None:
        """Let the next model turn begin as soon as pauses, the cap and the budget allow."""
        if place.record.cancelling:
            self._settle_cancelled(place)
            return
        # Ids of activities are never used again, whatever the turn is for.
        loop.turn += 1
        if not same_turn:
            loop.ask = loop.ask if loop.repair is not None or loop.outcomes else None
        loop.due = "model"
        self._engine.queue(place.run, place.step.step_id)

    def failed(self, place: Place, event: ev.ActivityFailed) -> None:
        """Go on after a model turn or a tool call failed for good."""
        loop, record = place.record.agent, place.record
        error = event.error.model_copy(update={"step": place.path})
        if loop is None:
            self._fail(place, error, event.attempts)
            return
        call = _call_of(loop, event.activity_id)
        if call is not None:
            self._tool_ended(place, loop, call, ToolOutcome(**_names(call), error=error), cancelled=event.cancelled)
            return
        spent = event.report.spent if event.report is not None else []
        if loop.answered:
            self._summarised(place, loop, event.activity_id, spent)
            return
        self._budgets.settle(place, loop, event.activity_id, spent, unreported=error.type in _UNREPORTED)
        self.affordable()
        if event.report is not None:
            loop.fallbacks, loop.agent_version = event.report.fallbacks, event.report.agent_version
        if record.cancelling:
            record.error = error.model_copy(update={"outcome_unknown": True})
            record.attempts = max(record.attempts, event.attempts)
            self._settle_cancelled(place)
        elif FALLBACK_ERRORS.match(error.type) and loop.model_index < loop.fallbacks:
            # The next model's first attempt is one more.
            record.attempts = max(record.attempts, 1) + event.attempts
            self._fall_back(place, loop)
        else:
            self._fail(place, error, event.attempts)

    def _fail(self, place: Place, error: ErrorInfo, attempts: int) -> None:
        place.record.attempts = max(place.record.attempts, 1) - 1 + attempts
        place.record.agent = None
        if place.record.cancelling:
            place.record.error = error.model_copy(update={"outcome_unknown": True})
            self._engine.settle(place, "cancelled")
        else:
            self._ends.fail(place, error)

    def _end(self, place: Place, error: ErrorInfo) -> None:
        """Fail the step, once what is in flight for it was cancelled and has ended."""
        record = place.record
        if record.agent is not None and record.flights:
            record.agent.failure, record.agent.due = error, None
            self._engine.cancel_flights(record)
            return
        record.agent = None
        self._ends.fail(place, error)

    def _settle_cancelled(self, place: Place) -> None:
        if not place.record.flights:
            place.record.agent = None
            self._engine.settle(place, "cancelled")

    # --- tool calls -----------------------------------------------------------------------------------------------

    def _asked_for_tools(self, place: Place, loop: AgentLoop, result: InvokeModelResult) -> None:
        loop.rounds += 1
        loop.sound, loop.repaired = len(loop.transcript), False
        if loop.rounds >= loop.max_turns and not place.record.cancelling:
            leaf = MaxTurnsExceeded(
                f"step '{place.path}': the agent still asks for tools after {loop.max_turns} turns",
                hint="raise max_turns, or tell the agent when to stop",
                details={"max_turns": loop.max_turns, "tools": [call.tool for call in result.tool_calls]},
            )
            self._end(place, ErrorInfo(type=leaf.code, message=leaf.message, step=place.path, details=leaf.details))
            return
        loop.calls = [_opened(request) for request in result.tool_calls]
        self._show_approvals(place, loop)
        if place.record.cancelling:
            self._settle_cancelled(place)
        else:
            self._go_on_with_tools(place, loop)

    def _go_on_with_tools(self, place: Place, loop: AgentLoop) -> None:
        if any(call.state == "due" for call in loop.calls):
            key = (place.run.scope_id, place.step.step_id)
            if loop.due is None:
                loop.due = "tools"
                self._engine.queue(place.run, place.step.step_id)
            elif not place.record.flights and key in self._engine.state.unaffordable:
                self._engine.state.unaffordable.remove(key)
                self._engine.queue(place.run, place.step.step_id)
        elif all(call.state == "done" for call in loop.calls):
            loop.outcomes = [call.outcome for call in loop.calls if call.outcome is not None]
            loop.calls = []
            if loop.budget is not None or self._engine.state.budget is not None:
                loop.ask = with_outcomes(loop.ask, loop.outcomes)
            self._next(place, loop)

    def _call_tools(self, place: Place, loop: AgentLoop) -> None:
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
            self._tool_ended(place, loop, call, ToolOutcome(**_names(call), error=error))
            return
        call.child_id = command.child_id
        self._take_off(place, command.child_id)
        self._engine.commands.append(command)

    def child_ended(self, place: Place, event: ev.ChildCompleted | ev.ChildFailed) -> None:
        """Go on after the execution of a workflow tool ended."""
        loop = place.record.agent
        call = _call_of(loop, event.child_id) if loop is not None else None
        del self._engine.in_flight[event.child_id]
        if loop is None or call is None:
            return
        if isinstance(event, ev.ChildCompleted):
            outcome = ToolOutcome(**_names(call), output=event.view.output)
            self._tool_ended(place, loop, call, outcome)
        else:
            details = {**event.error.details, "execution_id": event.child_id}
            error = event.error.model_copy(update={"details": details})
            self._tool_ended(place, loop, call, ToolOutcome(**_names(call), error=error), cancelled=event.cancelled)

    def _tool_ended(
        self, place: Place, loop: AgentLoop, call: ToolCall, outcome: ToolOutcome, *, cancelled: bool = False
    ) -> None:
        call.activity_id = call.child_id = None
        call.state, call.outcome = "done", outcome
        if place.record.cancelling:
            if cancelled is False and outcome.error is not None:
                place.record.error = outcome.error.model_copy(update={"outcome_unknown": True})
            self._settle_cancelled(place)
        elif loop.failure is None:
            self._go_on_with_tools(place, loop)
        elif not place.record.flights:
            self._end(place, loop.failure)

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
            call.state, call.outcome = "done", ToolOutcome(**_names(call), error=error)
        self._show_approvals(place, loop)
        self._go_on_with_tools(place, loop)

    def _waiting(self, path: str) -> tuple[Place, AgentLoop, ToolCall] | None:
        match = _TOOL_PATH.match(path)
        place = self._engine.find(match["path"]) if match else None
        loop = place.record.agent if place is not None else None
        if match is None or place is None or loop is None or place.record.cancelling or loop.failure is not None:
            return None
        number = int(match["number"])
        if int(match["turn"]) != loop.turn or number >= len(loop.calls) or loop.calls[number].state != "approval":
            return None
        return place, loop, loop.calls[number]


def is_tool_path(path: str) -> bool:
    """Say whether a path names a tool call of an agent, `<step path>:t<turn>.<n>`."""
    return _TOOL_PATH.match(path) is not None


def _opened(request: Any) -> ToolCall:
    if request.error is not None:
        error = ErrorInfo(type=InvalidToolArguments.code, message=request.error)
        outcome = ToolOutcome(call_id=request.call_id, tool=request.tool, error=error)
        return ToolCall(request, state="done", outcome=outcome)
    return ToolCall(request, state="approval" if request.requires_approval else "due")


def _call_of(loop: AgentLoop, identifier: str) -> ToolCall | None:
    return next((call for call in loop.calls if identifier in (call.activity_id, call.child_id)), None)


def _names(call: ToolCall) -> dict[str, str]:
    return {"call_id": call.request.call_id, "tool": call.request.tool}
