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
from orchestrator.definition.models import Approval
from orchestrator.execution import events as ev
from orchestrator.execution.advancing import Advancing
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
from orchestrator.execution.live_data import json_bytes
from orchestrator.execution.messages import ErrorInfo, StartExecution
from orchestrator.execution.results import Results
from orchestrator.execution.scope_ends import ScopeEnds
from orchestrator.execution.state import ROOT, ExecutionState, Outcome, ScopeState, StepRecord
from orchestrator.execution.steps import StepEnds
from orchestrator.execution.timing import Timing
from orchestrator.execution.waiting import Waits


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
        self._results = Results(self._engine, self._ends, self._waits, self._children, self._agents, self._ending)
        self._timing = Timing(
            self._engine, self._ends, self._blocks, self._waits, self._children, self._ending, self._advancing
        )
        self._engine.listener = ScopeEnds(self._engine, self._ends, self._blocks, self._ending)

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
                self._results.activity_completed(event)
            case ev.ActivityFailed():
                self._results.activity_failed(event)
            case ev.ChildStarted(child_id, run_id):
                self._results.child_started(child_id, run_id)
            case ev.ChildCompleted() | ev.ChildFailed():
                self._results.child_ended(event)
            case ev.TimerFired(timer_id):
                self._timing.fired(timer_id)
            case ev.SignalReceived(name, payload):
                self._ends.guarded(None, lambda: self._waits.signal(name, payload))
            case ev.ApprovalGiven():
                (self._agents if is_tool_path(event.path) else self._waits).approve(event)
            case ev.BudgetRaised(more):
                if self.state.budget is not None:
                    self.state.budget.raise_by(more)
                    self._agents.raised()
            case ev.ParkedStepRepaired(path, action, output):
                self._ends.repair(path, action, output)
            case ev.PauseRequested(holder, reason):
                self._timing.pause(holder, reason)
            case ev.ResumeRequested(holder):
                self._timing.resume(holder)
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
                    self._ends.guarded(place, partial(self._beginnings.go_on, place))
            self._engine.close_if_done(run)

    def _work_off(self) -> None:
        """Do what earlier events left to do, as far as the activation's budget allows."""
        self._timing.judge_fired()
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
            self._timing.released()

    # --- steps ----------------------------------------------------------------------------------------------------

    def _begin(self, place: Place) -> None:
        place.run.queued.discard(place.step.step_id)
        self._engine.evaluator.begin()
        self._ends.guarded(place, lambda: self._beginnings.begin(place))

    def _go_on(self, place: Place) -> None:
        place.run.queued.discard(place.step.step_id)
        self._ends.guarded(place, lambda: self._agents.proceed(place))


__all__ = ["Machine", "new_state"]
