"""The machine: moves an execution's state from event to event and says what its driver has to do.

It performs nothing, asks no clock and holds no position outside `ExecutionState`; every driver (the Temporal workflow,
a simulator, a test) feeds it events and carries out its commands.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from orchestrator.definition.compiled import CompiledDefinition
from orchestrator.definition.models import (
    AgentTask,
    Approval,
    WaitForSignal,
)
from orchestrator.execution import events as ev
from orchestrator.execution.advancing import YIELD_TIMER, Advancing
from orchestrator.execution.agent_loops import AgentLoops
from orchestrator.execution.agent_tools import is_tool_path
from orchestrator.execution.beginning import Beginnings
from orchestrator.execution.blocks import Blocks
from orchestrator.execution.budgets import budget_of
from orchestrator.execution.children import Children
from orchestrator.execution.clock import iso, parse_iso
from orchestrator.execution.commands import AwaitChild, Command, StartTimer
from orchestrator.execution.ending import CLEANUP_TIMER, DEADLINE_TIMER, Ending
from orchestrator.execution.engine import Engine, Observer, Place, ScopeRun
from orchestrator.execution.errors import OrchestratorError
from orchestrator.execution.evaluation import expression_failure, failure_of
from orchestrator.execution.live_data import json_bytes, scope_bytes
from orchestrator.execution.messages import ErrorInfo, StartExecution
from orchestrator.execution.messages_vectors import VectorSearchResult, VectorUpsertResult
from orchestrator.execution.requests import OUTPUT_CHECK
from orchestrator.execution.state import ROOT, ExecutionState, Outcome, ScopeState, StepRecord
from orchestrator.execution.steps import StepEnds
from orchestrator.execution.waiting import Waits
from orchestrator.expressions import ExpressionError


def new_state(
    definition: CompiledDefinition, start: StartExecution, execution_id: str, version: int | None
) -> ExecutionState:
    """Return the state of an execution that has not begun."""
    steps = {step_id: StepRecord() for step_id in definition.root.steps}
    return ExecutionState(
        execution_id=execution_id,
        workflow_id=start.workflow_id,
        workflow_version=version,
        input=start.input,
        vars=dict(definition.head.vars),
        live_bytes=json_bytes(definition.head.vars),
        lineage=start.lineage,
        depth=start.depth,
        deadline_at=start.deadline_at,
        holds=dict(start.holds),
        slot=start.slot,
        places=list(start.places),
        execution_seconds=start.execution_seconds,
        budget=budget_of(definition.head, start.budget),
        scopes={ROOT: ScopeState(ROOT, "", "root", "", None, steps)},
    )


class Machine:
    """Drives one execution.

    Args:
        definition: the compiled definition.
        state: its position; changed in place.
        uuid: gives a fresh id, the same on every replay.
        patched: whether this execution follows a rule that came later, the same on every replay.
    """

    def __init__(
        self,
        definition: CompiledDefinition,
        state: ExecutionState,
        uuid: Callable[[], str],
        patched: Callable[[str], bool] = lambda rule: True,
    ) -> None:
        self.state = state
        self._engine = Engine(definition, state, uuid, patched)
        self._engine.listener = self
        self._ends = StepEnds(self._engine)
        self._blocks = Blocks(self._engine, self._ends)
        self._waits = Waits(self._engine, self._ends)
        self._children = Children(self._engine, self._ends)
        self._agents = AgentLoops(self._engine, self._ends, self._children)
        self._ending = Ending(self._engine)
        self._beginnings = Beginnings(
            self._engine, self._ends, self._blocks, self._waits, self._children, self._agents, self._ending
        )
        self._advancing = Advancing(
            self._engine, definition.max_parallel, patched, self._begin, self._go_on, self._left_over
        )

    @property
    def draining(self) -> bool:
        """Set by the driver: nothing new begins, so that what is in flight comes to its end."""
        return self._advancing.draining

    @draining.setter
    def draining(self, draining: bool) -> None:
        self._advancing.draining = draining

    def observe(self, observer: Observer) -> None:
        """Have somebody told of every step that begins or ends; they must change nothing."""
        self._engine.observer = observer

    @property
    def closed(self) -> bool:
        """Whether the outcome is final and nothing is in flight."""
        return self.state.phase == "closed"

    @property
    def busy(self) -> bool:
        """Whether an activity or an awaited child is in flight."""
        return bool(self._engine.in_flight) or self.state.phase == "closing"

    def refuse(self, outcome: Outcome, error: ErrorInfo) -> None:
        """Close an execution that never began: nothing ran, so nothing is undone and no end scope runs."""
        self.state.phase, self.state.outcome, self.state.error = "closed", outcome, error
        for record in self.state.scopes[ROOT].steps.values():
            record.state = "cancelled"

    @property
    def spent(self) -> bool:
        """Whether the events that are there have to wait for the next activation."""
        return self._engine.evaluator.spent

    def new_activation(self) -> None:
        """Start a new budget of expression work; the driver says when (once for each workflow task)."""
        self._engine.evaluator.new_activation()
        self._engine.payload_bytes = 0

    def apply(self, event: ev.Event, now: datetime) -> list[Command]:
        """Move the state by one event.

        Args:
            event: what happened.
            now: the time at which it is seen, in UTC.

        Returns:
            What the driver has to do, in order.
        """
        engine = self._engine
        engine.now, engine.commands = now, []
        if not self.closed:
            engine.evaluator.at(now)
            self._take(event)
            self._work_off()
            self._advancing.advance()
        return engine.commands

    def carry_on(self, now: datetime) -> list[Command]:
        """Go on with a carried state: begin what was ready, and what was yielded."""
        self._engine.now, self._engine.commands = now, []
        self._engine.evaluator.at(now)
        self._work_off()
        self._advancing.advance()
        return self._engine.commands

    @property
    def movable(self) -> bool:
        """Whether the position can be carried now: only children are in flight, and no cancel is under way.

        A native cancel belongs to the run that received it: only that run can close as Canceled.
        """
        ended = self.state.phase in ("closing", "closed") or self.state.outcome == "cancelled"
        return not ended and self._children.only_carriable

    @property
    def drainable(self) -> bool:
        """Whether a moment to carry the position comes by itself and soon."""
        return self.state.outcome != "cancelled"

    @property
    def awaits_child(self) -> bool:
        """Whether a child is in flight."""
        return self._children.open

    def await_children(self) -> list[AwaitChild]:
        """Return the commands that await the children of a carried state again."""
        return self._children.await_again()

    def resume_timers(self, now: datetime) -> list[Command]:
        """Return the commands that arm the timers of a carried state again."""
        state = self.state
        due = {key: timer.due_at for key, timer in state.timers.items() if key not in state.fired}
        if state.deadline_at is not None and state.phase == "running":
            due[DEADLINE_TIMER] = state.deadline_at
        if state.cleanup_at is not None:
            due[CLEANUP_TIMER] = state.cleanup_at
        return [
            StartTimer(timer_id, max((parse_iso(moment) - now).total_seconds(), 0.001), timer_id)
            for timer_id, moment in due.items()
        ]

    def watched(self) -> Machine:
        """Note from now on which steps may have changed; gives the machine itself."""
        self._engine.touched = {}
        return self

    def changes(self) -> list[Place]:
        """Return the steps that may have changed since the last call, in the order of their first change."""
        touched = self._engine.touched
        if not touched:
            return []
        self._engine.touched = {}
        return list(touched.values())

    def snapshot(self) -> ExecutionState:
        """Return the state with its queue written back, ready to be carried."""
        # Those that were held for want of room may have been cancelled meanwhile, with their scope.
        self.state.ready = [entry for entry in self._engine.ready if entry[0] in self._engine.runs]
        return self.state

    def refusal(self, path: str, decision: str, by: str) -> str | None:
        """Say why an approval's decision cannot be taken now; None when it can."""
        if is_tool_path(path):
            return self._agents.refusal(path, by)
        return self._waits.refusal(path, decision, by)

    def parked(self, path: str) -> bool:
        """Whether the step at a path waits for an operator."""
        place = self._engine.find(path)
        return place is not None and place.record.awaits == "operator"

    def form_schema(self, path: str) -> dict[str, Any] | bool | None:
        """Return the schema of an open approval's form."""
        place = self._engine.find(path)
        return place.step.model.form_schema if place and isinstance(place.step.model, Approval) else None

    # --- events ---------------------------------------------------------------------------------------------------

    def _take(self, event: ev.Event) -> None:
        match event:
            case ev.Started():
                self._start()
            case ev.ActivityCompleted():
                self._activity_completed(event)
            case ev.ActivityFailed():
                self._activity_failed(event)
            case ev.ChildStarted(child_id, run_id):
                self._of(child_id, lambda place: self._child_started(place, child_id, run_id))
            case ev.ChildCompleted(child_id) | ev.ChildFailed(child_id):
                self._of(child_id, lambda place: self._child_ended(place, event))
            case ev.TimerFired(timer_id):
                self._timer_fired(timer_id)
            case ev.SignalReceived(name, payload):
                self._guarded(None, lambda: self._waits.signal(name, payload))
            case ev.ApprovalGiven():
                (self._agents if is_tool_path(event.path) else self._waits).approve(event)
            case ev.BudgetRaised(more):
                if self.state.budget is not None:
                    self.state.budget.raise_by(more)
                    self._agents.raised()
            case ev.ParkedStepRepaired(path, action, output):
                self._ends.repair(path, action, output)
            case ev.PauseRequested(holder, reason):
                self._pause(holder, reason)
            case ev.ResumeRequested(holder):
                self._resume(holder)
            case ev.CancelRequested(reason):
                self._cancel(reason)

    def _start(self) -> None:
        self.state.started_at = iso(self._engine.now)
        self._engine.evaluator.forget()
        self._ending.start_deadline()
        runs = list(self._engine.runs.values())
        for run in runs:
            self._engine.consider(run, run.compiled.steps)
        if self.state.recovered:
            self._go_on_inside(runs)

    def _go_on_inside(self, runs: list[ScopeRun]) -> None:
        """Go on with the blocks of a recovered position, the inner ones first; an end may be all that is left.

        An inner end may close scopes around it, or end them early, before their turn comes.
        """
        self.state.recovered = False
        for run in reversed(runs):
            for step_id in run.compiled.steps:
                if self._engine.runs.get(run.scope_id) is not run:
                    break
                place = self._engine.place(run.scope_id, step_id)
                record = place.record
                # One with an error has come to its handler, which goes on by itself.
                open_block = place.step.is_block and record.state == "running" and record.error is None
                if open_block and not record.cancelling:
                    self._guarded(place, partial(self._beginnings.go_on, place))
            self._engine.close_if_done(run)

    def _of(self, identifier: str, act: Callable[[Place], None]) -> None:
        place = self._engine.place(*self._engine.in_flight[identifier])
        self._guarded(place, lambda: act(place))

    def _child_started(self, place: Place, child_id: str, run_id: str) -> None:
        if self._children.started(place, child_id, run_id):
            self._agents.affordable()

    def _child_ended(self, place: Place, event: ev.ChildCompleted | ev.ChildFailed) -> None:
        self._children.settle(place, event)
        self._agents.affordable()
        if place.record.agent is not None:
            self._agents.child_ended(place, event)
        else:
            self._children.ended(place, event)

    def _activity_completed(self, event: ev.ActivityCompleted) -> None:
        if event.activity_id == OUTPUT_CHECK:
            self._ending.output_checked(event.result, None, cancelled=False)
            return
        place = self._landed(event.activity_id)
        if isinstance(place.step.model, WaitForSignal):
            self._waits.signal_checked(place, valid=True)
            return
        if isinstance(place.step.model, AgentTask):
            self._agents.completed(place, event)
            return
        place.record.attempts = event.result.attempts
        if isinstance(event.result, VectorUpsertResult | VectorSearchResult):
            self.state.ledger.model_calls(place.step.step_id, event.result.spent)
        self._ends.complete(place, event.result.output)

    def _activity_failed(self, event: ev.ActivityFailed) -> None:
        if event.activity_id == OUTPUT_CHECK:
            self._ending.output_checked(None, event.error, cancelled=event.cancelled)
            return
        place = self._landed(event.activity_id)
        event, record = event.naming(place.path), place.record
        if isinstance(place.step.model, AgentTask):
            self._agents.failed(place, event)
        elif record.cancelling:
            record.attempts = max(record.attempts, event.attempts)
            record.error = event.error.model_copy(update={"step": place.path, "outcome_unknown": True})
            self._engine.settle(place, "cancelled")
        elif isinstance(place.step.model, WaitForSignal) and event.error.type == "invalid-output":
            self._guarded(place, lambda: self._waits.signal_checked(place, valid=False))
        else:
            record.attempts = max(record.attempts, event.attempts)
            self._ends.fail(place, event.error.model_copy(update={"step": place.path}))

    def _landed(self, identifier: str) -> Place:
        place = self._engine.place(*self._engine.in_flight.pop(identifier))
        if place.record.activity_id == identifier:
            place.record.activity_id = None
        return place

    def _timer_fired(self, timer_id: str) -> None:
        if timer_id == YIELD_TIMER:
            self._advancing.yielding = False
        elif timer_id == DEADLINE_TIMER:
            self._ending.deadline()
        elif timer_id == CLEANUP_TIMER:
            self._ending.cleanup_late()
        elif timer_id not in self.state.timers:
            return
        elif self.state.holds or self.state.fired:
            self.state.fired.append(timer_id)
        else:
            self._judge_timer(timer_id)

    def _judge_timer(self, timer_id: str) -> None:
        timer = self.state.timers.pop(timer_id)
        place = self._engine.place(timer.scope_id, timer.step_id)
        if timer.kind == "retry":
            self._engine.begin_again(place, new_keys=True)
        elif timer.kind == "block":
            self._block_late(place)
        elif timer.kind == "delay":
            self._guarded(place, lambda: self._blocks.delay_over(place))
        else:
            self._guarded(place, lambda: self._waits.timer_fired(place, timer.kind))

    def _block_late(self, place: Place) -> None:
        """A block's or child's schedule-to-close passed: what is inside ends, then it fails with `timeout`."""
        seconds = place.step.timeouts.schedule_to_close
        message = f"step '{place.path}': its schedule_to_close_seconds = {seconds:g} passed"
        error = ErrorInfo(type="timeout", message=message, step=place.path, details={"kind": "schedule_to_close"})
        if place.record.child_id is not None:
            self._children.time_out(place, error)
            return
        if not place.record.scopes:
            self._ends.fail(place, error, again=False)
            return
        place.record.error = error
        for scope_id in list(place.record.scopes):
            self._engine.end_scope(self._engine.runs[scope_id], error)

    def _pause(self, holder: str, reason: str) -> None:
        if not self.state.holds:
            self._children.pass_on("pause", "its parent is paused")
        self.state.holds[holder] = reason

    def _resume(self, holder: str) -> None:
        if self.state.holds.pop(holder, None) is None or self.state.holds:
            return
        self._released()

    def _released(self) -> None:
        """Go on after the last hold went: judge what fired meanwhile."""
        self._children.pass_on("resume")
        self._judge_fired()
        self._ending.resumed()

    def _judge_fired(self) -> None:
        while self.state.fired and not self.state.holds and not self._engine.evaluator.spent:
            timer_id = self.state.fired.pop(0)
            if timer_id in self.state.timers:
                self._judge_timer(timer_id)

    def _work_off(self) -> None:
        """Do what earlier events left to do, as far as the activation's budget allows."""
        self._judge_fired()
        self._waits.match()

    def _left_over(self) -> bool:
        return bool(self.state.offers) or (bool(self.state.fired) and not self.state.holds)

    def _cancel(self, reason: str) -> None:
        # Cancelling is the later decision, and cleaning up is part of it.
        held = bool(self.state.holds)
        self.state.holds.clear()
        message = f"the execution was cancelled: {reason}" if reason else "the execution was cancelled"
        self._ending.end("cancelled", ErrorInfo(type="cancelled", message=message))
        if held:
            self._released()

    # --- steps ----------------------------------------------------------------------------------------------------

    def _begin(self, place: Place) -> None:
        place.run.queued.discard(place.step.step_id)
        self._engine.evaluator.begin()
        self._guarded(place, lambda: self._beginnings.begin(place))

    def _go_on(self, place: Place) -> None:
        place.run.queued.discard(place.step.step_id)
        self._guarded(place, lambda: self._agents.proceed(place))

    def _guarded(self, place: Place | None, act: Callable[[], None]) -> None:
        """Run a part of a step; what goes wrong in it fails the step, never the workflow task."""
        try:
            act()
        except ExpressionError as error:
            if place is None:
                return
            self._ends.fail(place, expression_failure(error, place.path), again=False)
        except OrchestratorError as error:
            if place is None:
                return
            self._ends.fail(place, failure_of(error, place.path), again=False)

    # --- scopes ---------------------------------------------------------------------------------------------------

    def scope_closed(self, run: ScopeRun) -> None:
        """Go on after a scope whose steps are all terminal (the engine calls this)."""
        if run.scope_id == ROOT:
            self._ending.root_closed(run)
            return
        owner = self._engine.owner_of(run)
        if owner is None:
            self._ending.cleanup_closed(run)
            return
        output, error = self._outcome_of(run, owner)
        self._engine.forget_scope(run)
        if owner.record.cancelling:
            if not owner.record.scopes:
                self._engine.settle(owner, "cancelled")
        elif owner.record.error is not None and not run.state.is_handler:
            # The block's own time is over; it fails once its scopes are closed.
            if not owner.record.scopes:
                self._ends.fail(owner, owner.record.error, again=False)
        elif run.state.is_handler:
            self._ends.handler_closed(owner, output, error)
        else:
            self._guarded(owner, lambda: self._blocks.closed(owner, run, output, error))

    def _outcome_of(self, run: ScopeRun, owner: Place) -> tuple[Any, ErrorInfo | None]:
        if run.state.error is not None:
            return None, run.state.error
        try:
            if run.compiled.output is not None:
                return self._engine.evaluator.render(run.compiled.output, run.state), None
            self._engine.data.require_collectable(f"step '{owner.path}'", scope_bytes(run.compiled, run.state, None))
        except ExpressionError as error:
            return None, expression_failure(error, owner.path)
        except OrchestratorError as error:
            return None, failure_of(error, owner.path)
        return {step_id: run.state.steps[step_id].value for step_id in run.compiled.sinks}, None


__all__ = ["Machine", "new_state"]
