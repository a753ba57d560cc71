"""The one generic workflow: drives the machine and takes people's messages."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from temporalio import workflow
from temporalio.exceptions import ApplicationError

from orchestrator.definition.compiled import CompiledDefinition
from orchestrator.execution import events as ev
from orchestrator.execution.carried_text import NewerFormat
from orchestrator.execution.machine import Machine, new_state
from orchestrator.execution.messages import (
    WORKFLOW_TYPE,
    ApprovalDecision,
    BudgetRaise,
    ExecutionView,
    PositionPart,
    RequestCancelInput,
    SignalMessage,
    StartExecution,
    StepRepair,
)
from orchestrator.execution.messages_steps import StepsAnswer, StepsAsked
from orchestrator.execution.step_pages import steps_answer
from orchestrator.execution.views import view_of
from orchestrator.workflows.beginning_input import load_definition, read_definition, read_start, read_state
from orchestrator.workflows.callback_delivery import await_callback_child
from orchestrator.workflows.cancel_shield import despite_cancel
from orchestrator.workflows.carrying import NOW_BYTES, SOON_BYTES, SOON_EVENTS, dump
from orchestrator.workflows.concurrency_slot import ConcurrencySlot
from orchestrator.workflows.envelope import leave_envelope
from orchestrator.workflows.failures import execution_failure
from orchestrator.workflows.form_check import check_form
from orchestrator.workflows.metering import meter_end
from orchestrator.workflows.performing import Performer
from orchestrator.workflows.showing import Showing
from orchestrator.workflows.update_ids import remember, was_taken

LONGEST_REASON = 2000
CHILDREN_CARRIED = "children-carried"
"""Patch: an awaited child does not keep its parent from continuing as new."""


@workflow.defn(name=WORKFLOW_TYPE)
class AgentWorkflow:
    """Interprets any workflow definition, moved by signals, updates and native cancel. Queries: `state`, `position`."""

    @workflow.init
    def __init__(self, start: Any = None, *carried: Any) -> None:
        self._machine: Machine | None = None
        self._definition: CompiledDefinition
        self._start: StartExecution | None = None
        self._pinned: dict[str, Any] = {}
        self._inbox: deque[ev.Event] = deque()
        self._performer = Performer(self._inbox)
        self._slot = ConcurrencySlot()
        self._showing = Showing()
        self._history_length = 0
        self._resting: asyncio.Task[None] | None = None
        """Until its end no event is taken: the activation has computed enough."""
        self._position: list[str] = []
        self._carried, self._begun = bool(carried), False
        self._asking_for_cancel = False
        self._unreadable: Exception | None = None
        """Why the run cannot begin; raised once it runs, so that queries have an execution to ask."""
        if carried:
            try:
                self._start = read_start(start)
                self._machine = self._restored(self._start, carried)
            except (ApplicationError, NewerFormat) as error:
                self._unreadable = error

    @workflow.run
    async def run(self, start: Any = None, *carried: Any) -> ExecutionView:
        """Run one execution to its end.

        Args:
            start: a `StartExecution`, as plain JSON: an invalid one, or none, shall fail the execution, not its task.
            carried: the state of the run before this one, in chunks.

        Raises:
            ApplicationError: the execution failed; type and message are its error's, details hold an `ExecutionView`.
        """
        if self._unreadable is not None:
            raise self._unreadable
        self._start = read_start(start)
        self._performer.history_events = self._start.history_events
        await await_callback_child(self._start, self._inbox)
        machine = self._machine = self._machine or await self._prepare(self._start)
        await self._slot.take(self._definition, machine, self._inbox, self._drain)
        self._begin(machine)
        while not machine.closed:
            self._continue_if_due(machine)
            try:
                # An update drains the inbox itself, and may have brought the last step to its end.
                await workflow.wait_condition(lambda: self._may_drain or machine.closed)
            except asyncio.CancelledError:
                self._inbox.append(ev.CancelRequested(workflow.cancellation_reason() or ""))
            self._drain(machine)
        await despite_cancel(self._leave(machine))
        return await self._finish(machine)

    async def _leave(self, machine: Machine) -> None:
        """Bring to its end what others are told; the outcome is decided."""
        await self._performer.settled()
        await self._slot.give_back(machine)
        await workflow.wait_condition(workflow.all_handlers_finished)

    # --- signals --------------------------------------------------------------------------------------------------

    @workflow.signal(description="Hold the execution at its next step boundary; what is in flight finishes.")
    def pause(self, reason: Any = "") -> None:
        """Put a hold on the execution; the argument is a reason, or `{"holder": …, "reason": …}`."""
        self._inbox.append(ev.PauseRequested(_holder(reason), _text(reason)))

    @workflow.signal(description="Take one's own hold away.")
    def resume(self, reason: Any = "") -> None:
        """Take a hold away."""
        self._inbox.append(ev.ResumeRequested(_holder(reason)))

    @workflow.signal(description="Cancel the execution, like Temporal's own cancel.")
    async def cancel(self, reason: Any = "") -> None:
        """Ask Temporal to cancel this execution: only a native cancel closes it as Canceled."""
        if self._asking_for_cancel:
            # One request is enough, and Temporal refuses a second activity of one id by failing the task for ever.
            return
        self._asking_for_cancel = True
        info = workflow.info()
        await workflow.execute_activity(
            "request_cancel",
            RequestCancelInput(execution_id=info.workflow_id, run_id=info.run_id, reason=_text(reason)),
            start_to_close_timeout=timedelta(seconds=10),
            activity_id="~cancel",
            summary="cancel this execution",
        )
        self._asking_for_cancel = False

    @workflow.signal(description="A message for a wait_for_signal step: {name, payload}.")
    def signal(self, message: Any) -> None:
        """Deliver a message; one that is no `SignalMessage` is dropped with a warning."""
        try:
            found = SignalMessage.model_validate(message)
        except ValidationError as error:
            workflow.logger.warning("a signal was dropped: %s", error)
            return
        self._inbox.append(ev.SignalReceived(found.name, found.payload))

    @workflow.signal(description="The concurrency gate's word that the execution may begin.")
    def concurrency_granted(self) -> None:
        """Go on, if queued."""
        self._slot.granted()

    # --- updates --------------------------------------------------------------------------------------------------

    @workflow.update(description="Decide an approval.")
    async def approve(self, decision: ApprovalDecision) -> ExecutionView:
        """Record a decision after its form was checked."""
        machine = self._running()
        if was_taken(machine.state):
            return self.state()
        schema = machine.form_schema(decision.path)
        if schema is not None and decision.decision == "approved":
            await check_form(machine.state, decision, schema)
        refused = machine.refusal(decision.path, decision.decision, decision.by)
        if refused is not None:
            raise ApplicationError(refused, type="wrong-state", non_retryable=True)
        event = ev.ApprovalGiven(
            decision.path, decision.decision, decision.by, decision.form, decision.reason[:LONGEST_REASON]
        )
        return self._taken(event)

    @approve.validator
    def _may_approve(self, decision: ApprovalDecision) -> None:
        machine = self._running()
        refused = machine.refusal(decision.path, decision.decision, decision.by)
        if refused is not None and not was_taken(machine.state):
            raise ApplicationError(refused, type="wrong-state", non_retryable=True)

    @workflow.update(description="Run a parked step again.")
    def retry_step(self, repair: StepRepair) -> ExecutionView:
        """Run a parked step again."""
        return self._taken(ev.ParkedStepRepaired(repair.path, "retry"))

    @workflow.update(description="Skip a parked step.")
    def skip_step(self, repair: StepRepair) -> ExecutionView:
        """Skip a parked step."""
        return self._taken(ev.ParkedStepRepaired(repair.path, "skip"))

    @workflow.update(description="Complete a parked step with this output.")
    def set_step_output(self, repair: StepRepair) -> ExecutionView:
        """Complete a parked step."""
        return self._taken(ev.ParkedStepRepaired(repair.path, "set_output", repair.output))

    @workflow.update(description="Raise the execution's budget.")
    def raise_budget(self, more: BudgetRaise) -> ExecutionView:
        """Raise the bounds that there are, and bring on what waits for them."""
        return self._taken(ev.BudgetRaised(more))

    @raise_budget.validator
    def _may_raise(self, more: BudgetRaise) -> None:
        machine = self._running()
        if machine.closed:
            raise ApplicationError("the execution has ended", type="wrong-state", non_retryable=True)
        if machine.state.budget is None:
            raise ApplicationError("the execution has no budget", type="wrong-state", non_retryable=True)

    @retry_step.validator
    def _may_retry(self, repair: StepRepair) -> None:
        self._require_parked(repair.path)

    @skip_step.validator
    def _may_skip(self, repair: StepRepair) -> None:
        self._require_parked(repair.path)

    @set_step_output.validator
    def _may_set_output(self, repair: StepRepair) -> None:
        self._require_parked(repair.path)

    def _require_parked(self, path: str) -> None:
        machine = self._running()
        if not machine.parked(path) and not was_taken(machine.state):
            raise ApplicationError(f"step '{path}' is not parked", type="wrong-state", non_retryable=True)

    def _running(self) -> Machine:
        if self._machine is None:
            raise ApplicationError("the execution has not begun", type="wrong-state", non_retryable=True)
        return self._machine

    def _taken(self, event: ev.Event) -> ExecutionView:
        """Apply what an update asks for, once for each id."""
        machine = self._running()
        if self._carried and not machine.state.recovered:
            self._begin(machine)
        if not was_taken(machine.state):
            remember(machine.state)
            self._inbox.append(event)
            self._drain(machine)
        return self.state()

    # --- query ----------------------------------------------------------------------------------------------------

    @workflow.query(description="The execution's status, steps, output and error.")
    def state(self) -> ExecutionView:
        """Return the present view."""
        if self._machine is not None:
            return view_of(self._definition, self._machine.state)
        start = self._start
        return ExecutionView(
            workflow_id=start.workflow_id if start else "",
            workflow_version=start.version if start else None,
            status="running",
            input=start.input if start else None,
        )

    @workflow.query(description="The whole position in parts: what a retry or a rerun goes on from.")
    def position(self, part: int = 0) -> PositionPart:
        """Return one part of the position; a query must leave the state as it is, its queue too."""
        if self._machine is None:
            return PositionPart(start=self._start)
        if part == 0 or not self._position:
            self._position = dump(self._machine.state)
        start = self._start.model_copy(update=self._pinned) if self._start is not None else None
        return PositionPart(start=start if part == 0 else None, state=self._position[part], parts=len(self._position))

    @workflow.query(
        description="Steps of all scopes in pages, one step with its output, or how many are in each state."
    )
    def steps(self, asked: StepsAsked) -> StepsAnswer:
        """Return what is asked for; nothing before the execution began."""
        return steps_answer(self._definition, self._machine.state, asked) if self._machine else StepsAnswer()

    # --- beginning and end ----------------------------------------------------------------------------------------

    async def _prepare(self, start: StartExecution) -> Machine:
        document, version, sha256 = start.definition, start.version, start.sha256
        if document is None:
            loaded = await load_definition(start)
            document, version, sha256 = loaded.definition, loaded.version, loaded.sha256
            start = start.model_copy(update={"holds": {**loaded.holds, **start.holds}})
        self._pin(start, document, version, sha256)
        state = new_state(self._definition, start, workflow.info().workflow_id, version)
        return Machine(self._definition, state, _fresh_id, workflow.patched).watched()

    def _restored(self, start: StartExecution, carried: Sequence[str]) -> Machine:
        """Return the machine of the run before, at once: updates may come in the first task, before `run` begins."""
        self._pin(start, start.definition or {}, start.version, start.sha256)
        return Machine(self._definition, read_state(self._definition, carried), _fresh_id, workflow.patched).watched()

    def _pin(self, start: StartExecution, document: dict[str, Any], version: int | None, sha256: str | None) -> None:
        self._definition = read_definition(start, document, sha256)
        self._pinned = {"definition": document, "version": version, "sha256": sha256}

    def _begin(self, machine: Machine) -> None:
        if self._begun:
            return
        self._begun = True
        if not self._carried or machine.state.recovered:
            self._inbox.appendleft(ev.Started())
            self._drain(machine)
            return
        now = workflow.now()
        for command in (*machine.resume_timers(now), *machine.await_children(), *machine.carry_on(now)):
            self._performer.perform(command)
        self._drain(machine)

    def _continue_if_due(self, machine: Machine) -> None:
        """Go on in a new run when the history has grown, at a moment when nothing is in flight.

        Raises:
            ContinueAsNewError: the run ends here.
        """
        info, start = workflow.info(), self._start
        events, size = info.get_current_history_length(), info.get_current_history_size()
        soon = (start.history_events if start else None) or SOON_EVENTS
        if events < soon and size < SOON_BYTES:
            return
        # Histories from before children were carried waited for them here.
        carries = not machine.awaits_child or workflow.patched(CHILDREN_CARRIED)
        idle = self._performer.idle and not self._inbox
        quiet = carries and idle and machine.movable and workflow.all_handlers_finished()
        if quiet and start is not None:
            # The input is part of the state.
            fresh = start.model_copy(update={**self._pinned, "input": None})
            workflow.continue_as_new(args=[fresh, *dump(machine.snapshot())])
        if events >= 2 * soon or size >= NOW_BYTES:
            machine.draining = carries and machine.drainable

    async def _finish(self, machine: Machine) -> ExecutionView:
        view = view_of(self._definition, machine.state)
        meter_end(view)
        if view.status == "cancelled":
            await leave_envelope(view)
        self._showing.finish(machine, view)
        if view.status == "cancelled":
            raise asyncio.CancelledError
        if view.status == "failed":
            raise execution_failure(view)
        return view

    # --- the drive ------------------------------------------------------------------------------------------------

    def _drain(self, machine: Machine) -> None:
        length = workflow.info().get_current_history_length()
        if length != self._history_length:
            self._history_length = length
            machine.new_activation()
        dropped = machine.state.signals_dropped
        while self._may_drain:
            for command in machine.apply(self._inbox.popleft(), workflow.now()):
                self._performer.perform(command)
            if self._inbox and machine.spent:
                self._resting = asyncio.create_task(self._rest())
        if machine.state.signals_dropped > dropped:
            workflow.logger.warning("signals were dropped: as many as can be kept wait already")
        self._showing.show(self._definition, machine)

    @property
    def _may_drain(self) -> bool:
        return bool(self._inbox) and self._resting is None

    async def _rest(self) -> None:
        await workflow.sleep(0.001, summary="yield")
        self._resting = None


def _fresh_id() -> str:
    return str(workflow.uuid4())


def _text(reason: Any) -> str:
    if isinstance(reason, dict):
        reason = reason.get("reason", "")
    return str(reason)[:LONGEST_REASON]


def _holder(message: Any) -> str:
    holder = message.get("holder") if isinstance(message, dict) else None
    return holder if holder in ("parent", "workflow") else "operator"
