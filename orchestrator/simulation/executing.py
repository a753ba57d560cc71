"""One execution of a simulation: its machine, and what carries out the machine's commands."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from orchestrator.definition.schemas import value_issues
from orchestrator.execution import commands as cm
from orchestrator.execution import events as ev
from orchestrator.execution.concurrency import concurrency_key
from orchestrator.execution.engine import ScopeRun
from orchestrator.execution.evaluation import expression_failure
from orchestrator.execution.machine import Machine, new_state
from orchestrator.execution.messages import ErrorInfo, ExecutionView, StartExecution
from orchestrator.execution.paths import join_path
from orchestrator.execution.views import view_of
from orchestrator.expressions import ExpressionError
from orchestrator.simulation.attempts import ActivityRun
from orchestrator.simulation.library import Pinned
from orchestrator.simulation.mocks import Mock
from orchestrator.simulation.report import PathEntry, SimulatedCall, SkippedStep
from orchestrator.simulation.world import Due, World


class SimulatedExecution:
    """One execution.

    Args:
        world: what the simulation shares.
        pinned: its definition.
        start: its input and lineage.
        execution_id: its id.
        ended: hears of its end.
    """

    def __init__(
        self,
        world: World,
        pinned: Pinned,
        start: StartExecution,
        execution_id: str,
        ended: Callable[[SimulatedExecution], None] = lambda execution: None,
    ) -> None:
        self.world, self.definition, self.execution_id = world, pinned.compiled, execution_id
        self.workflow_id = start.workflow_id
        state = new_state(pinned.compiled, start, execution_id, pinned.version)
        self.machine = Machine(pinned.compiled, state, world.fresh_id)
        self.machine.observe(self._observed)
        self.gone = False
        """It ended, or was terminated."""
        self._ended = ended
        self._entries: dict[tuple[str, str], PathEntry] = {}
        self._activities: dict[str, ActivityRun] = {}
        self._timers: dict[str, Due] = {}
        self._children: dict[str, SimulatedExecution] = {}
        self._mocked: dict[str, tuple[Due, SimulatedCall]] = {}

    def begin(self) -> None:
        """Begin; a concurrency key that cannot be made fails the execution, whose place nobody contests here."""
        try:
            concurrency_key(self.definition, self.machine.state.input)
        except ExpressionError as error:
            self.machine.refuse("failed", expression_failure(error, None))
        self.apply(ev.Started())

    def view(self) -> ExecutionView:
        """Return the execution as the API shows it."""
        return view_of(self.definition, self.machine.state)

    def apply(self, event: ev.Event) -> None:
        """Let something happen to it now."""
        if self.gone:
            return
        self.world.report.events += 1
        self.machine.new_activation()
        for command in self.machine.apply(event, self.world.now):
            self._perform(command)
        self.world.holds(self.execution_id, 0 if self.machine.closed else self.machine.state.live_bytes)
        if self.machine.closed:
            self.gone = True
            self._ended(self)

    def find(self, workflow_id: str) -> SimulatedExecution | None:
        """Return the open execution of a workflow: this one, or one that it started."""
        if self.workflow_id == workflow_id:
            return self
        for child in self._children.values():
            found = None if child.gone else child.find(workflow_id)
            if found is not None:
                return found
        return None

    # --- what is noted --------------------------------------------------------------------------------------------

    def _observed(self, run: ScopeRun, step_id: str) -> None:
        record, step, world = run.state.steps[step_id], run.compiled.steps[step_id], self.world
        path = world.named(self.workflow_id, join_path(run.state.prefix, step_id))
        place = (run.scope_id, step_id)
        if record.state == "running":
            entry = PathEntry(
                path=path, step_type=step.model.step_type, state="running", began_at_seconds=world.seconds
            )
            self._entries[place] = entry
            world.note(world.report.path, entry)
        elif place in self._entries:
            entry = self._entries.pop(place)
            entry.state, entry.ended_at_seconds = record.state, world.seconds
        if record.state == "skipped":
            world.note(world.report.skipped, self._skipped(run, step_id, path))

    def _skipped(self, run: ScopeRun, step_id: str, path: str) -> SkippedStep:
        step, steps = run.compiled.steps[step_id], run.state.steps
        if run.state.steps[step_id].started_at is not None:
            return SkippedStep(path=path, reason="operator", message="somebody skipped the parked step")
        if run.joins.verdict(step_id) == "run":
            return SkippedStep(path=path, reason="condition", message="its 'when' is false")
        needed = [*step.listed, *(name for name, strict in step.inferred.items() if strict)]
        unmet = [f"'{name}' is {steps[name].state}" for name in needed if steps[name].state != "completed"]
        return SkippedStep(path=path, reason="dependencies", message=f"its join is not met: {', '.join(unmet)}")

    # --- commands -------------------------------------------------------------------------------------------------

    def _perform(self, command: cm.Command) -> None:
        match command:
            case cm.ScheduleActivity(activity_id):
                run = ActivityRun(self.world, self.workflow_id, command, partial(self._landed, activity_id))
                self._activities[activity_id] = run
                run.begin()
            case cm.CancelActivity(activity_id):
                if activity_id in self._activities:
                    self._activities[activity_id].cancel()
            case cm.StartTimer(timer_id, seconds):
                self._drop_timer(timer_id)
                self._timers[timer_id] = self.world.later(seconds, partial(self._fire, timer_id))
            case cm.CancelTimer(timer_id):
                self._drop_timer(timer_id)
            case cm.StartChild():
                self._start_child(command)
            case cm.CancelChild(child_id):
                self._cancel_child(child_id)
            case cm.SignalChild(child_id, signal, reason):
                told = ev.PauseRequested("parent", reason) if signal == "pause" else ev.ResumeRequested("parent")
                self._tell_child(child_id, told)
            case cm.CloseChild(child_id, policy):
                if policy == "cancel":
                    self._tell_child(child_id, ev.CancelRequested())
                elif child_id in self._children:
                    self._children[child_id].gone = True
            case _:
                raise AssertionError(f"{command} needs a carried state, and none is carried here")

    def _landed(self, activity_id: str, event: ev.Event) -> None:
        self._activities.pop(activity_id, None)
        self.apply(event)

    def _drop_timer(self, timer_id: str) -> None:
        timer = self._timers.pop(timer_id, None)
        if timer is not None:
            timer.dropped = True

    def _fire(self, timer_id: str) -> None:
        self._timers.pop(timer_id, None)
        self.apply(ev.TimerFired(timer_id))

    # --- children -------------------------------------------------------------------------------------------------

    def _start_child(self, command: cm.StartChild) -> None:
        path, step_id, tool = self._starter(command)
        world, start, child_id = self.world, command.start, command.child_id
        mocked = world.is_mocked(self.workflow_id, path, step_id, tool)
        if mocked:
            mock = world.answer(self.workflow_id, path, step_id, tool)
            call = SimulatedCall(
                path=world.named(self.workflow_id, path) + (f":{tool}" if tool else ""),
                activity="workflow",
                attempt=1,
                at_seconds=world.seconds,
                mocked=True,
                asked=start.input,
            )
            world.call_begins(call)
            world.later(0.0, partial(self.apply, ev.ChildStarted(child_id)))
            self._play_child(command, call, mock or Mock())
            return
        pinned = world.library.find((start.workflow_id, start.version))
        refused = pinned if isinstance(pinned, ErrorInfo) else _input_refusal(pinned, start)
        if refused is not None or isinstance(pinned, ErrorInfo):
            world.later(0.0, partial(self.apply, ev.ChildStarted(child_id)))
            if command.awaited and refused is not None:
                world.later(0.0, partial(self.apply, ev.ChildFailed(child_id, refused)))
            return
        world.report.executions += 1
        child = SimulatedExecution(world, pinned, start, child_id, self._child_ended if command.awaited else _nobody)
        self._children[child_id] = child
        world.later(0.0, partial(self.apply, ev.ChildStarted(child_id)))
        world.later(0.0, child.begin)

    def _starter(self, command: cm.StartChild) -> tuple[str, str, str]:
        """Return the path and id of the step that starts a child, and the tool that it is for an agent."""
        for scope in self.machine.state.scopes.values():
            for step_id, record in scope.steps.items():
                if record.child_id == command.child_id:
                    return join_path(scope.prefix, step_id), step_id, ""
                for call in record.agent.calls if record.agent is not None else ():
                    if call.child_id == command.child_id:
                        return join_path(scope.prefix, step_id), step_id, call.request.tool
        raise AssertionError(f"no step starts the child '{command.child_id}'")

    def _play_child(self, command: cm.StartChild, call: SimulatedCall, mock: Mock) -> None:
        if not command.awaited:
            self.world.call_ends(call, "completed")
            return
        event: ev.Event
        if mock.error is not None:
            event = ev.ChildFailed(command.child_id, ErrorInfo(type=mock.error.type, message=mock.error.message))
        else:
            view = ExecutionView(workflow_id=command.start.workflow_id, status="completed", output=mock.output)
            event = ev.ChildCompleted(command.child_id, view)
        seconds = float("inf") if mock.hang else mock.delay_seconds
        due = self.world.later(seconds, partial(self._mocked_child_ended, command.child_id, event))
        self._mocked[command.child_id] = (due, call)

    def _mocked_child_ended(self, child_id: str, event: ev.Event) -> None:
        _, call = self._mocked.pop(child_id)
        failed = isinstance(event, ev.ChildFailed)
        self.world.call_ends(call, "failed" if failed else "completed")
        self.apply(event)

    def _cancel_child(self, child_id: str) -> None:
        mocked = self._mocked.pop(child_id, None)
        if mocked is None:
            self._tell_child(child_id, ev.CancelRequested())
            return
        due, call = mocked
        due.dropped = True
        self.world.call_ends(call, "cancelled", "cancelled")
        self.world.later(0.0, partial(self.apply, _cancelled(child_id)))

    def _tell_child(self, child_id: str, event: ev.Event) -> None:
        if child_id in self._children:
            self.world.later(0.0, partial(self._children[child_id].apply, event))

    def _child_ended(self, child: SimulatedExecution) -> None:
        view = child.view()
        del self._children[child.execution_id]
        event: ev.Event
        if view.status == "completed":
            event = ev.ChildCompleted(child.execution_id, view)
        elif view.status == "cancelled":
            event = _cancelled(child.execution_id)
        else:
            own = view.error or ErrorInfo(type="internal-error", message="the execution failed")
            info = ErrorInfo(type=own.type, message=own.message, cause=own)
            spent = view.ledger.total if view.ledger is not None else None
            event = ev.ChildFailed(child.execution_id, info, spent=spent)
        self.world.later(0.0, partial(self.apply, event))


def _nobody(child: SimulatedExecution) -> None:
    """Nobody waits for the end of a child that was only started."""


def _cancelled(child_id: str) -> ev.ChildFailed:
    message = f"the child execution '{child_id}' was cancelled"
    return ev.ChildFailed(child_id, ErrorInfo(type="cancelled", message=message), cancelled=True)


def _input_refusal(pinned: Pinned, start: StartExecution) -> ErrorInfo | None:
    schema = pinned.document.get("input_schema")
    issues = value_issues(schema, start.input, "/input") if schema is not None else []
    if not issues:
        return None
    message = f"the input does not satisfy the input_schema of '{start.workflow_id}': {issues[0].message}"
    return ErrorInfo(type="invalid-input", message=message)
