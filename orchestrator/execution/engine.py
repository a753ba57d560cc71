"""What every part of the machine shares: scopes, the queue of ready steps, ends of steps, timers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from orchestrator.definition.compiled import CompiledDefinition, CompiledScope, CompiledStep
from orchestrator.execution.clock import iso
from orchestrator.execution.commands import CancelActivity, CancelChild, CancelTimer, Command, StartTimer
from orchestrator.execution.evaluation import Evaluator
from orchestrator.execution.joins import Joins
from orchestrator.execution.live_data import LiveData
from orchestrator.execution.messages import ErrorInfo
from orchestrator.execution.paths import join_path
from orchestrator.execution.ready_queue import InFlight, ReadyQueue
from orchestrator.execution.state import ROOT, ExecutionState, ScopeState, StepRecord, StepState, Timer

TIMED_OUT = "timed_out"
"""In a step's cursor: the error with which it fails once its child has ended."""
RETAINED_SCOPES = 200
"""Closed inner scopes kept for inspection; an item's or an iteration's position must not grow the state."""
RETAINED_BYTES = 16 * 1024 * 1024
"""Their size together, the latest one's and those that compensations see apart."""


@dataclass(slots=True)
class ScopeRun:
    """A scope that is open: its definition, its state, and what is derived from both."""

    compiled: CompiledScope
    state: ScopeState
    joins: Joins
    queued: set[str] = field(default_factory=set)

    @property
    def scope_id(self) -> str:
        """The scope's id."""
        return self.state.scope_id


@dataclass(slots=True)
class Place:
    """One step of an open scope."""

    run: ScopeRun
    step: CompiledStep
    record: StepRecord
    path: str


class ScopeListener(Protocol):
    """Hears of closed scopes; the machine tells its parts."""

    def scope_closed(self, run: ScopeRun) -> None:
        """Go on after a scope whose steps are all terminal."""


Observer = Callable[[ScopeRun, str], None]
"""Told of a step, by its scope and id, when it has begun and when its state is final."""


class Engine:
    """The shared core.

    Args:
        definition: compiled.
        state: the position; changed in place.
        uuid: gives a fresh id, the same on every replay.
        patched: whether this execution follows a rule that came later.
    """

    def __init__(
        self,
        definition: CompiledDefinition,
        state: ExecutionState,
        uuid: Callable[[], str],
        patched: Callable[[str], bool],
    ) -> None:
        self.definition = definition
        self.state = state
        self.evaluator = Evaluator(state, uuid, patched)
        self.now = datetime.min.replace(tzinfo=UTC)
        self.commands: list[Command] = []
        self.payload_bytes = 0
        """What the activities scheduled in this activation are sent, roughly."""
        self.runs: dict[str, ScopeRun] = {}
        self.in_flight = InFlight()
        """Activities and awaited children, by id: (scope id, step id)."""
        self.ready = ReadyQueue(state.ready)
        self.data = LiveData(state, patched)
        self.patched = patched
        self.listener: ScopeListener
        self.observer: Observer | None = None
        self.touched: dict[tuple[str, str], Place] | None = None
        """Steps that may have changed since somebody looked, where somebody looks at all."""
        retained = frozenset(state.retained)
        for scope in state.scopes.values():
            if scope.scope_id not in retained:
                self._restore(scope)

    def _restore(self, scope: ScopeState) -> None:
        run = ScopeRun(self.compiled_scope(scope), scope, Joins(self.compiled_scope(scope), scope))
        self.runs[scope.scope_id] = run
        for step_id, record in scope.steps.items():
            for identifier in record.flights:
                self.in_flight[identifier] = (scope.scope_id, step_id)
                if identifier in record.children:
                    self.in_flight.children.add(identifier)
        run.queued.update(step_id for scope_id, step_id in self.ready if scope_id == scope.scope_id)

    def compiled_scope(self, scope: ScopeState) -> CompiledScope:
        """Return the definition of a scope."""
        return self.definition.scopes[scope.owner, scope.part]

    # --- places ---------------------------------------------------------------------------------------------------

    def place(self, scope_id: str, step_id: str) -> Place:
        """Return a step of an open scope."""
        return self._place(self.runs[scope_id], step_id)

    def _place(self, run: ScopeRun, step_id: str) -> Place:
        path = join_path(run.state.prefix, step_id)
        place = Place(run, run.compiled.steps[step_id], run.state.steps[step_id], path)
        if self.touched is not None:
            # Whoever changes a step has its place.
            self.touched[run.scope_id, step_id] = place
        return place

    def owner_of(self, run: ScopeRun) -> Place | None:
        """Return the step that holds a scope; None for the document's own."""
        parent = run.state.parent
        return self.place(parent, run.state.owner) if parent is not None else None

    def root_of(self, place: Place) -> Place:
        """Return the outermost step around a step: one of the document's own scopes."""
        owner = self.owner_of(place.run)
        while owner is not None:
            place, owner = owner, self.owner_of(owner.run)
        return place

    def find(self, path: str) -> Place | None:
        """Return the open step at a path."""
        for scope_id, run in self.runs.items():
            for step_id in run.state.steps:
                if join_path(run.state.prefix, step_id) == path:
                    return self.place(scope_id, step_id)
        return None

    # --- scopes ---------------------------------------------------------------------------------------------------

    def open_scope(
        self,
        compiled: CompiledScope,
        scope_id: str,
        prefix: str,
        *,
        owner: Place | None = None,
        sees: ScopeState | None = None,
        names: dict[str, Any] | None = None,
        isolated: bool = False,
        variables: dict[str, Any] | None = None,
    ) -> None:
        """Open a scope and queue what may begin; one without steps closes at once.

        Args:
            compiled: its definition.
            scope_id: unique among all that were ever open together.
            prefix: what the paths of its steps begin with.
            owner: the step that holds it; None for the document's own.
            sees: the scope whose steps a compensation sees.
            names: values of its names.
            isolated: assignments inside it stay there until the block ends.
            variables: what `vars` holds there, where that is not what it holds outside.
        """
        around = owner.run.state if owner is not None else sees
        tries = (around.tries if around is not None else 0) + (owner.record.retried if owner is not None else 0)
        epoch = (around.epoch if around is not None else 0) + (owner.record.epoch if owner is not None else 0)
        if owner is None:
            # What a retried execution cleans up is another effect than what its attempt before did.
            tries += self.state.lineage.attempt - 1
            epoch += self.state.lineage.attempt - 1
        state = ScopeState(
            scope_id=f"{scope_id}#{tries}" if tries else scope_id,
            owner=compiled.owner,
            part=compiled.part,
            prefix=prefix,
            parent=owner.run.scope_id if owner is not None else None,
            sees=sees.scope_id if sees is not None else None,
            steps={step_id: StepRecord() for step_id in compiled.steps},
            names=names or {},
            vars={} if isolated else variables,
            epoch=epoch,
            tries=tries,
        )
        self.data.opened(state)
        run = ScopeRun(compiled, state, Joins(compiled, state))
        self.state.scopes[run.scope_id] = state
        self.runs[run.scope_id] = run
        if owner is not None:
            owner.record.scopes.append(run.scope_id)
        self.consider(run, compiled.steps)
        self.close_if_done(run)

    def end_scope(self, run: ScopeRun, error: ErrorInfo) -> None:
        """Begin to end a scope early: what has not begun is cancelled, what is in flight is asked to end."""
        if run.state.ending:
            return
        run.state.ending = True
        run.state.error = error
        for step_id, record in run.state.steps.items():
            if not record.terminal:
                self.cancel_step(self.place(run.scope_id, step_id))
        self.close_if_done(run)

    def close_if_done(self, run: ScopeRun) -> None:
        """Close a scope whose steps are all terminal, and tell what holds it."""
        if run.joins.open or run.scope_id not in self.runs:
            return
        self.listener.scope_closed(run)

    def forget_scope(self, run: ScopeRun) -> None:
        """Take a closed scope out of the run; the latest ones stay for inspection."""
        del self.runs[run.scope_id]
        self.data.forget(run.state)
        owner = self.owner_of(run)
        if owner is not None and run.scope_id in owner.record.scopes:
            owner.record.scopes.remove(run.scope_id)
        if run.scope_id == ROOT:
            return
        self.state.retained.append(run.scope_id)
        self._drop_oldest()

    def _drop_oldest(self) -> None:
        state = self.state
        # Looking at each end for what compensations need would cost the square of the items.
        few = len(state.retained) <= RETAINED_SCOPES + 4 * len(state.compensations)
        if few and state.retained_bytes <= RETAINED_BYTES + 2 * state.needed_bytes:
            return
        needed = self._seen()
        if not needed:
            state.needed_bytes = 0
            while len(state.retained) > RETAINED_SCOPES or (
                len(state.retained) > 1 and state.retained_bytes > RETAINED_BYTES
            ):
                self._drop(state.retained.pop(0))
        else:
            self._drop_around(needed)

    def _drop_around(self, needed: set[str]) -> None:
        state, kept = self.state, list[str]()
        number = size = state.needed_bytes = 0
        for scope_id in reversed(state.retained):
            weight = state.scopes[scope_id].bytes
            number, size = number + 1, size + weight
            if scope_id in needed:
                state.needed_bytes += weight
            elif number > RETAINED_SCOPES or (number > 1 and size > RETAINED_BYTES):
                self._drop(scope_id)
                continue
            kept.append(scope_id)
        state.retained = kept[::-1]

    def _drop(self, scope_id: str) -> None:
        self.data.drop(self.state.scopes.pop(scope_id))

    def _seen(self) -> set[str]:
        """Return the closed scopes that compensations will see, with those around them."""
        scopes, found = self.state.scopes, set[str]()
        pending = [item.scope_id for item in self.state.compensations]
        pending += [run.state.sees for run in self.runs.values() if run.state.sees is not None]
        while pending:
            scope_id = pending.pop()
            if scope_id not in found and scope_id in scopes:
                found.add(scope_id)
                pending.append(scopes[scope_id].parent or ROOT)
        return found

    # --- steps ----------------------------------------------------------------------------------------------------

    def consider(self, run: ScopeRun, step_ids: Iterable[str]) -> None:
        """Queue the pending steps whose join is met; skip those whose join cannot be, and so on down the graph."""
        pending = deque(step_ids)
        while pending:
            step_id = pending.popleft()
            if run.state.steps[step_id].state != "pending" or step_id in run.queued:
                continue
            verdict = run.joins.verdict(step_id)
            if verdict == "run":
                self.queue(run, step_id)
            elif verdict == "skip":
                pending.extend(self._mark(run, step_id, "skipped"))

    def queue(self, run: ScopeRun, step_id: str) -> None:
        """Let a step begin as soon as pauses and the cap allow."""
        run.queued.add(step_id)
        self.ready.append((run.scope_id, step_id))

    def begin_again(self, place: Place, *, new_keys: bool) -> None:
        """Queue a step again, under ids (and keys, for a block's own `retry`) that nothing inside it has had."""
        record = place.record
        more, record.inside = 1 + record.inside, 0
        record.retried += more
        if new_keys:
            record.epoch += more
        record.state, record.agent = "pending", None
        owner = self.owner_of(place.run)
        while owner is not None:
            owner.record.inside += more
            owner = self.owner_of(owner.run)
        self.queue(place.run, place.step.step_id)

    def settle(self, place: Place, state: StepState) -> None:
        """Give a step its final state and go on with its scope."""
        dependents = self._mark(place.run, place.step.step_id, state)
        if not place.run.state.ending:
            self.consider(place.run, dependents)
        self.close_if_done(place.run)

    def settle_only(self, place: Place, state: StepState) -> None:
        """Give a step its final state; its scope goes on when the caller says so."""
        self._mark(place.run, place.step.step_id, state)

    def _mark(self, run: ScopeRun, step_id: str, state: StepState) -> tuple[str, ...]:
        record = self._place(run, step_id).record
        record.state = state
        record.finished_at = iso(self.now)
        record.awaits = record.agent = None
        self.observed(run, step_id)
        return run.joins.ended(step_id, state)

    def observed(self, run: ScopeRun, step_id: str) -> None:
        """Tell who looks on, if anybody does: closed scopes do not stay to be looked at."""
        if self.observer is not None:
            self.observer(run, step_id)

    def cancel_step(self, place: Place) -> None:
        """Ask a step to end; it is cancelled at once unless something of it is in flight."""
        record = place.record
        if record.terminal or record.cancelling:
            return
        record.cancelling = True
        self.cancel_timers(place)
        if record.flights:
            # A child whose time is over has been asked already.
            if TIMED_OUT not in (record.cursor or {}):
                self.cancel_flights(record)
        elif record.scopes:
            error = ErrorInfo(type="cancelled", message=f"step '{place.path}' was cancelled", step=place.path)
            for scope_id in list(record.scopes):
                if scope_id in self.runs:
                    self.end_scope(self.runs[scope_id], error)
        else:
            self._mark(place.run, place.step.step_id, "cancelled")

    def cancel_flights(self, record: StepRecord) -> None:
        """Ask a step's activities and children to end; their ends are still reported."""
        children = record.children
        self.commands += [
            CancelChild(found) if found in children else CancelActivity(found) for found in record.flights
        ]

    # --- timers ---------------------------------------------------------------------------------------------------

    def start_timer(self, kind: str, place: Place, seconds: float, summary: str) -> None:
        """Start a timer of a step; `kind` says what it is for and is unique for the step."""
        timer_id = f"{place.path}~{kind}" if kind != "wait" else place.path
        due = self.now + timedelta(seconds=seconds)
        self.state.timers[timer_id] = Timer(kind, place.run.scope_id, place.step.step_id, iso(due))
        self.commands.append(StartTimer(timer_id, seconds, summary))

    def cancel_timers(self, place: Place, *kinds: str) -> None:
        """Forget a step's timers, or those of some kinds."""
        key = (place.run.scope_id, place.step.step_id)
        for timer_id, timer in list(self.state.timers.items()):
            if (timer.scope_id, timer.step_id) == key and (not kinds or timer.kind in kinds):
                self.forget_timer(timer_id)

    def forget_timer(self, timer_id: str) -> None:
        """Forget one timer, fired during a pause or still running."""
        del self.state.timers[timer_id]
        if timer_id in self.state.fired:
            self.state.fired.remove(timer_id)
        else:
            self.commands.append(CancelTimer(timer_id))
