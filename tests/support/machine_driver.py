"""Drives the machine in memory: scripted outcomes, virtual time, and its promises checked after every event."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import TypeAdapter

from orchestrator.definition import CompiledDefinition, validate_definition
from orchestrator.definition.schemas import value_issues
from orchestrator.execution import commands as cm
from orchestrator.execution import events as ev
from orchestrator.execution.clock import parse_iso
from orchestrator.execution.machine import Machine, new_state
from orchestrator.execution.messages import (
    ErrorInfo,
    ExecutionView,
    StartExecution,
    StepResult,
    ValidateJsonInput,
)
from orchestrator.execution.position_check import misfit
from orchestrator.execution.state import TERMINAL, ExecutionState, ScopeState
from tests.support.machine_promises import Promises

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
MOST_EVENTS = 100_000
_STATE = TypeAdapter(ExecutionState)


@dataclass(frozen=True)
class Play:
    """How one activity or child goes.

    Attributes:
        seconds: until it ends by itself.
        result: what it returns; a whole `StepResult` is taken as it is.
        error: the type of its failure; None: it completes.
        on_cancel: what it makes of a cancel request.
        cancel_seconds: how long after the request it ends.
    """

    seconds: float = 1.0
    result: Any = None
    error: str | None = None
    on_cancel: Literal["cancelled", "completed", "failed"] = "cancelled"
    cancel_seconds: float = 0.0


Script = Mapping[str, Sequence[Play]] | Callable[[str, int], Play]
AgentScript = Callable[[cm.ScheduleActivity, int], Play]


class Ids:
    """Fresh ids in a fixed order; a copy goes on where the original was."""

    def __init__(self, used: int = 0) -> None:
        self.used = used

    def __call__(self) -> str:
        """Return the next one."""
        self.used += 1
        return f"00000000-0000-4000-8000-{self.used:012d}"


def compiled(document: Mapping[str, Any]) -> CompiledDefinition:
    """Return a valid document, compiled."""
    found = validate_definition({"name": "driven", **document})
    assert not found.errors, [issue.to_dict() for issue in found.errors]
    assert found.compiled is not None
    return found.compiled


def state_json(state: ExecutionState) -> bytes:
    """Return a state as it is carried."""
    return _STATE.dump_json(state)


@dataclass
class MachineDriver:
    """One execution.

    Attributes:
        document: the definition; a name is added.
        script: how activities and children go: by step path and try, or a function of the path and of the
            microseconds at which they begin.
        messages: events from outside and when they come, in seconds.
        restore_every: after so many events the machine is made anew from its serialised state.
        recovered: a retry's or a rerun's first position; None: an execution that nothing was before.
        agents: how the model turns and tool calls of agents go: a function of the command and of the microseconds at
            which they begin; without it `script` says so, and every agent answers at once.
        order: paths of the activities and children, as they began.
        began: when, in seconds.
    """

    document: Mapping[str, Any]
    script: Script = field(default_factory=dict)
    input: Any = field(default_factory=dict)
    messages: Iterable[tuple[float, ev.Event]] = ()
    restore_every: int = 1
    holds: dict[str, str] = field(default_factory=dict)
    recovered: ExecutionState | None = None
    agents: AgentScript | None = None

    def __post_init__(self) -> None:
        self.definition = compiled(self.document)
        start = StartExecution(workflow_id="driven", input=self.input, holds=self.holds)
        self._ids = Ids()
        state = self.recovered or new_state(self.definition, start, "ex-1", 1)
        assert misfit(self.definition, state) is None, "a start from this state would be refused"
        self.machine = Machine(self.definition, state, self._ids)
        self.promises = Promises(self.definition)
        self.now = BEGIN
        self.order: list[str] = []
        self.began: list[tuple[str, float]] = []
        self.keys: list[str] = []
        self.completed: list[str] = []
        """Keys of the activities and children that completed."""
        self._keys: dict[str, str] = {}
        self.commands: list[cm.Command] = []
        self.cancelled: list[str] = []
        self.in_flight: dict[str, str] = {}
        self._used: set[str] = set()
        self.most_in_flight = 0
        self.timers: dict[str, int] = {}
        self._due: list[tuple[datetime, int, ev.Event]] = []
        self._dropped: set[int] = set()
        self._number = itertools.count()
        self._ends: dict[str, int] = {}
        self._plays: dict[str, Play] = {}
        self._tries: dict[str, int] = {}
        self._detached: set[str] = set()
        self._events = 0
        for seconds, event in self.messages:
            self._later(seconds, event)

    @property
    def state(self) -> ExecutionState:
        """The machine's present state."""
        return self.machine.state

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return (self.now - BEGIN).total_seconds()

    def run(self, *, until: float | None = None) -> MachineDriver:
        """Go on to the end, or until nothing more can happen, or for so many seconds."""
        if self._events == 0:
            self.feed(ev.Started())
        while self._due and not self.machine.closed and self._events < MOST_EVENTS:
            due, number, event = self._due[0]
            if until is not None and (due - BEGIN).total_seconds() > until:
                self.now = BEGIN + timedelta(seconds=until)
                return self
            heapq.heappop(self._due)
            if number in self._dropped:
                continue
            self.now = due
            self.feed(event)
        assert self._events < MOST_EVENTS, "the execution does not come to an end"
        return self

    def feed(self, event: ev.Event) -> list[cm.Command]:
        """Let something happen now; every promise is checked afterwards."""
        self._landed(event)
        self._events += 1
        before = self.promises.noted(self.state)
        self.machine.new_activation()
        commands = self._applied(event)
        self.commands += commands
        for command in commands:
            self._perform(command)
        self.most_in_flight = max(self.most_in_flight, len(self.in_flight))
        self.promises.check(before, self.machine, event, commands, self.in_flight)
        self._check_timers()
        return commands

    # --- serialisation --------------------------------------------------------------------------------------------

    def _applied(self, event: ev.Event) -> list[cm.Command]:
        """Apply an event; now and then to a restored machine too, which must do the same and goes on instead."""
        if not self.restore_every or self._events % self.restore_every:
            return self.machine.apply(event, self.now)
        ids = Ids(self._ids.used)
        carried = state_json(self.machine.snapshot())
        restored = Machine(self.definition, _STATE.validate_json(carried), ids)
        assert state_json(restored.snapshot()) == carried, "a state changes as it is carried"
        assert misfit(self.definition, restored.state) is None, "a client could not start from this state"
        expected = self.machine.apply(event, self.now)
        commands = restored.apply(event, self.now)
        assert _plain(commands) == _plain(expected), "a restored machine asks for something else"
        assert state_json(restored.snapshot()) == state_json(self.machine.snapshot())
        self.machine, self._ids = restored, ids
        return commands

    def _check_timers(self) -> None:
        armed = {timer_id for timer_id in self.timers if not timer_id.startswith("~")}
        known = set(self.state.timers) - set(self.state.fired)
        if self.machine.closed:
            assert not armed, f"timers outlive the execution: {armed}"
            return
        assert armed == known, (armed, known)
        carried = {item.timer_id for item in self.machine.resume_timers(self.now) if isinstance(item, cm.StartTimer)}
        assert {timer_id for timer_id in carried if not timer_id.startswith("~")} == known
        if self.state.phase == "running":
            assert ("~deadline" in carried) == ("~deadline" in self.timers)
        if self.state.phase == "cleaning" and not self.state.holds:
            assert ("~cleanup" in carried) == ("~cleanup" in self.timers)
        for timer_id in known:
            due = next(due for due, number, _ in self._due if number == self.timers[timer_id])
            assert abs((due - parse_iso(self.state.timers[timer_id].due_at)).total_seconds()) < 0.01

    # --- performing -----------------------------------------------------------------------------------------------

    def _later(self, seconds: float, event: ev.Event) -> int:
        number = next(self._number)
        heapq.heappush(self._due, (self.now + timedelta(seconds=seconds), number, event))
        return number

    def _landed(self, event: ev.Event) -> None:
        if isinstance(event, ev.ActivityCompleted) and event.activity_id in self._keys:
            self.completed.append(self._keys[event.activity_id])
        if isinstance(event, ev.TimerFired):
            self.timers.pop(event.timer_id, None)
        elif isinstance(event, ev.ActivityCompleted | ev.ActivityFailed):
            self.in_flight.pop(event.activity_id, None)
        elif isinstance(event, ev.ChildStarted) and event.child_id in self._detached:
            self.in_flight.pop(event.child_id)
        elif isinstance(event, ev.ChildCompleted | ev.ChildFailed):
            self.in_flight.pop(event.child_id, None)

    def _perform(self, command: cm.Command) -> None:
        match command:
            case cm.ScheduleActivity():
                self._schedule(command)
            case cm.CancelActivity(identifier) | cm.CancelChild(identifier):
                self._cancel(identifier)
            case cm.StartTimer():
                if command.timer_id in self.timers:
                    self._dropped.add(self.timers[command.timer_id])
                assert command.timer_id.startswith("~") or command.timer_id not in self.timers, command.timer_id
                self.timers[command.timer_id] = self._later(command.seconds, ev.TimerFired(command.timer_id))
            case cm.CancelTimer(timer_id):
                if timer_id in self.timers:
                    self._dropped.add(self.timers.pop(timer_id))
            case cm.StartChild():
                self._start_child(command)
            case _:
                pass

    def _schedule(self, command: cm.ScheduleActivity) -> None:
        identifier = command.activity_id
        assert identifier not in self._used, f"activity id '{identifier}' is used twice"
        self._used.add(identifier)
        request = command.arguments[0] if command.arguments else None
        if isinstance(request, ValidateJsonInput):
            self.in_flight[identifier] = identifier
            self._ends[identifier] = self._later(0.0, _checked(identifier, request))
            self._plays[identifier] = Play()
            return
        path = request.call.path if request is not None else identifier
        key = request.call.idempotency_key if request is not None else identifier
        play = self._play(path) if self.agents is None else self.agents(command, self._micros)
        self._begun(identifier, path, key, play)
        self._ends[identifier] = self._later(play.seconds, _ended(identifier, play))

    def _start_child(self, command: cm.StartChild) -> None:
        assert command.child_id not in self._used, f"child id '{command.child_id}' is used twice"
        self._used.add(command.child_id)
        path = next(place for place, record in self._records() if command.child_id in record.children)
        play = self._play(path)
        self._begun(command.child_id, path, command.child_id, play)
        started = self._later(0.0, ev.ChildStarted(command.child_id))
        if command.awaited:
            self._ends[command.child_id] = self._later(play.seconds, _child_ended(command.child_id, play))
        else:
            self._ends[command.child_id] = started
            self._detached.add(command.child_id)

    def _begun(self, identifier: str, path: str, key: str, play: Play) -> None:
        self.order.append(path)
        self.began.append((path, self.elapsed))
        self.keys.append(key)
        self._keys[identifier] = key
        self.in_flight[identifier] = path
        self._plays[identifier] = play

    @property
    def _micros(self) -> int:
        return (self.now - BEGIN) // timedelta(microseconds=1)

    def _play(self, path: str) -> Play:
        if callable(self.script):
            return self.script(path, self._micros)
        entries = self.script.get(path, [Play(result=path)])
        tried = self._tries.get(path, 0)
        self._tries[path] = tried + 1
        return entries[min(tried, len(entries) - 1)]

    def _cancel(self, identifier: str) -> None:
        assert identifier in self.in_flight, f"'{identifier}' is cancelled and not in flight"
        play = self._plays[identifier]
        self.cancelled.append(self.in_flight[identifier])
        self._dropped.add(self._ends[identifier])
        child = any(identifier in record.children for _, record in self._records())
        event: ev.Event
        if play.on_cancel == "completed":
            event = (_child_ended if child else _ended)(identifier, Play(result=play.result))
        else:
            own = play.on_cancel == "cancelled"
            error = ErrorInfo(type="cancelled" if own else "late-failure", message="it ended")
            event = (ev.ChildFailed if child else _failed)(identifier, error, cancelled=own)
        self._ends[identifier] = self._later(play.cancel_seconds, event)

    # --- reading --------------------------------------------------------------------------------------------------

    def _records(self) -> Iterable[tuple[str, Any]]:
        for scope in self.state.scopes.values():
            for step_id, record in scope.steps.items():
                yield (f"{scope.prefix}.{step_id}" if scope.prefix else step_id), record

    def states(self) -> dict[str, str]:
        """Return the states of the root's steps."""
        return {step_id: record.state for step_id, record in self.state.scopes[""].steps.items()}

    def all_states(self) -> dict[str, str]:
        """Return the states of every step that is still known, by path; of several tries the last."""
        return {path: record.state for path, record in self._records()}

    def error_type(self) -> str | None:
        """Return the type of the execution's error."""
        return self.state.error.type if self.state.error else None

    def open_scopes(self) -> list[ScopeState]:
        """Return the scopes with steps that are not terminal."""
        return [
            scope
            for scope in self.state.scopes.values()
            if any(record.state not in TERMINAL for record in scope.steps.values())
        ]


def _plain(commands: Sequence[cm.Command]) -> list[str]:
    return [repr(command) for command in commands]


def _failed(identifier: str, error: ErrorInfo, *, cancelled: bool) -> ev.ActivityFailed:
    return ev.ActivityFailed(identifier, error, 1, cancelled=cancelled)


def _ended(identifier: str, play: Play) -> ev.Event:
    if play.error is None:
        result = play.result if isinstance(play.result, StepResult) else StepResult(output=play.result)
        return ev.ActivityCompleted(identifier, result)
    return ev.ActivityFailed(identifier, ErrorInfo(type=play.error, message="scripted"), 1)


def _child_ended(identifier: str, play: Play) -> ev.Event:
    if play.error is None:
        view = ExecutionView(workflow_id="child", status="completed", output=play.result)
        return ev.ChildCompleted(identifier, view)
    return ev.ChildFailed(identifier, ErrorInfo(type=play.error, message="scripted"))


def _checked(identifier: str, request: ValidateJsonInput) -> ev.Event:
    issues = value_issues(request.json_schema, request.value)
    if not issues:
        return ev.ActivityCompleted(identifier, StepResult(output=None))
    return ev.ActivityFailed(identifier, ErrorInfo(type=request.error_type, message=issues[0].message), 1)
