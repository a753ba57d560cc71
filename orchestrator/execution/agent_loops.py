"""The loop of an `agent_task`: model turn, tool calls in parallel, next turn, until there is an answer.

Every turn and every tool call is an activity of its own (a workflow tool a child), so that a crash repeats at most
what was in flight. Between turns the loop stands still for pauses, budgets, approvals and continue-as-new.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json

from orchestrator.definition.limits import TURNS
from orchestrator.definition.models import AgentTask
from orchestrator.execution import events as ev
from orchestrator.execution.agent_budgets import AgentBudgets
from orchestrator.execution.agent_requests import model_turn, summary_request
from orchestrator.execution.agent_tools import CLAIMED_BYTES, PARKED_AT_REST, AgentTools, call_of, names_of
from orchestrator.execution.children import Children
from orchestrator.execution.engine import Engine, Place
from orchestrator.execution.errors_agents import BudgetExhausted, MaxTurnsExceeded
from orchestrator.execution.messages import ErrorInfo
from orchestrator.execution.messages_agents import InvokeModelResult, SummariseSessionResult, ToolOutcome
from orchestrator.execution.messages_ledger import LedgerCall
from orchestrator.execution.state import AgentLoop
from orchestrator.execution.steps import StepEnds

FALLBACK_ERRORS = re.compile(r"^(model-.*|timeout|circuit-open|rate-limited-locally|invalid-output|outcome-unknown)$")
"""Failures of a model that another model may not have."""
SESSIONS_SUMMARISED = "sessions-summarised"
"""Before this rule a session that had grown too large was never summarised."""
_UNREPORTED = ("timeout", "cancelled", "outcome-unknown")


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
        self._budgets = AgentBudgets(engine)
        self._tools = AgentTools(engine, children, self._budgets, self)

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
            self._tools.begin_due(place, loop)

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
            self.end(place, error)
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
        call = call_of(loop, event.activity_id)
        if call is not None:
            self._tools.ended(place, loop, call, ToolOutcome(**names_of(call), output=result.output))
        elif isinstance(result, SummariseSessionResult):
            self._summarised(place, loop, event.activity_id, result.spent)
        elif isinstance(result, InvokeModelResult):
            self._answered(place, loop, event.activity_id, result)
        else:
            self._end_with(place, loop, result.attempts, result.output)

    def _answered(self, place: Place, loop: AgentLoop, activity_id: str, result: InvokeModelResult) -> None:
        record = place.record
        unreported = result.needs is None and not result.reported
        self._budgets.settle(place, loop, activity_id, result.spent, unreported=unreported)
        self._learn(loop, result)
        self.affordable()
        if result.needs is not None:
            loop.tried += result.attempts - 1
            record.attempts = max(record.attempts, 1) + result.attempts - 1
            loop.ask = result.needs
            if result.part is not None:
                # What a Python agent was answered before it was stopped.
                loop.transcript.append(result.part)
            self.next_turn(place, loop)
            return
        record.attempts = max(record.attempts, 1) + result.attempts - 1
        if result.part is not None:
            loop.transcript.append(result.part)
        loop.told, loop.repair, loop.tried = True, None, 0
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
            self.next_turn(place, loop)
        elif not self._fall_back(place, loop):
            errors = result.invalid or []
            first = f": {errors[0].get('message', '')}" if errors else ""
            message = f"step '{place.path}': the answer breaks output_schema, after a repair turn too{first}"
            details = {"errors": errors, "model": result.model}
            self.end(place, ErrorInfo(type="invalid-output", message=message, step=place.path, details=details))

    def _fall_back(self, place: Place, loop: AgentLoop) -> bool:
        if loop.model_index >= loop.fallbacks:
            return False
        loop.model_index += 1
        loop.repaired, loop.repair, loop.told = False, None, False
        # Another model has other prices: what it needs it says itself.
        loop.ask, loop.tried = None, 0
        del loop.transcript[loop.sound :]
        self.next_turn(place, loop)
        return True

    def next_turn(self, place: Place, loop: AgentLoop) -> None:
        """Let the next model turn begin as soon as pauses, the cap and the budget allow."""
        if place.record.cancelling:
            self.settle_cancelled(place)
            return
        # Ids of activities are never used again, whatever the turn is for.
        loop.turn += 1
        loop.due = "model"
        self._engine.queue(place.run, place.step.step_id)

    def failed(self, place: Place, event: ev.ActivityFailed) -> None:
        """Go on after a model turn or a tool call failed for good."""
        loop, record = place.record.agent, place.record
        error = event.error.model_copy(update={"step": place.path})
        if loop is None:
            self._fail(place, error, event.attempts)
            return
        call = call_of(loop, event.activity_id)
        if call is not None:
            self._tools.ended(place, loop, call, ToolOutcome(**names_of(call), error=error), cancelled=event.cancelled)
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
            self.settle_cancelled(place)
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

    def end(self, place: Place, error: ErrorInfo) -> None:
        """Fail the step, once what is in flight for it was cancelled and has ended."""
        record = place.record
        if record.agent is not None and record.flights:
            record.agent.failure, record.agent.due = error, None
            self._engine.cancel_flights(record)
            return
        record.agent = None
        self._ends.fail(place, error)

    def settle_cancelled(self, place: Place) -> None:
        """Cancel the step once nothing of it is in flight."""
        if not place.record.flights:
            place.record.agent = None
            self._engine.settle(place, "cancelled")

    # --- tool calls -----------------------------------------------------------------------------------------------

    def _asked_for_tools(self, place: Place, loop: AgentLoop, result: InvokeModelResult) -> None:
        loop.rounds += 1
        loop.sound, loop.repaired, loop.outcomes = len(loop.transcript), False, []
        if loop.rounds >= loop.max_turns and not place.record.cancelling:
            leaf = MaxTurnsExceeded(
                f"step '{place.path}': the agent still asks for tools after {loop.max_turns} turns",
                hint="raise max_turns, or tell the agent when to stop",
                details={"max_turns": loop.max_turns, "tools": [call.tool for call in result.tool_calls]},
            )
            self.end(place, ErrorInfo(type=leaf.code, message=leaf.message, step=place.path, details=leaf.details))
            return
        self._tools.open(place, loop, result.tool_calls)
        if place.record.cancelling:
            self.settle_cancelled(place)
        else:
            self._tools.go_on(place, loop)

    def child_ended(self, place: Place, event: ev.ChildCompleted | ev.ChildFailed) -> None:
        """Go on after the execution of a workflow tool ended."""
        self._tools.child_ended(place, event)

    def refusal(self, path: str, by: str) -> str | None:
        """Say why a decision about a tool call cannot be taken now; None when it can."""
        return self._tools.refusal(path, by)

    def approve(self, event: ev.ApprovalGiven) -> None:
        """Let a tool call go, or tell the model that it was refused."""
        self._tools.approve(event)
