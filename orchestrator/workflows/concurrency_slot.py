"""An execution's side of a concurrency key: asks for its place, waits for it, gives it back."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

from orchestrator.definition.compiled import CompiledDefinition
from orchestrator.definition.models import Concurrency
from orchestrator.execution import events as ev
from orchestrator.execution.clock import iso
from orchestrator.execution.concurrency import AcquireSlot, SlotAnswer, concurrency_key, gate_id, limit_error
from orchestrator.execution.evaluation import expression_failure
from orchestrator.execution.machine import Machine
from orchestrator.execution.messages import ErrorInfo
from orchestrator.expressions import ExpressionError
from orchestrator.workflows.cancel_shield import despite_cancel
from orchestrator.workflows.failures import error_info

FIRST_REMINDER = timedelta(minutes=5)
"""A queued execution asks again after this time, then after twice as long: its gate may have been terminated."""
LONGEST_REMINDER = timedelta(hours=6)


class ConcurrencySlot:
    """The place of one execution; costs nothing where the definition names no `concurrency`."""

    def __init__(self) -> None:
        self._granted = False

    def granted(self) -> None:
        """Take the gate's word that there is a place now."""
        self._granted = True

    async def take(
        self, definition: CompiledDefinition, machine: Machine, inbox: deque[ev.Event], drain: Callable[[Machine], None]
    ) -> None:
        """Wait for a place; without one the machine is closed, as failed or as cancelled.

        Args:
            definition: of the execution.
            machine: holds the place's gate in its state; one that has a place already is left alone.
            inbox: messages that arrive meanwhile.
            drain: applies them and shows the status.
        """
        rule, state = definition.head.concurrency, machine.state
        if rule is None or state.slot is not None:
            return
        try:
            request = _request(rule, definition, machine)
        except ExpressionError as error:
            machine.refuse("failed", expression_failure(error, None))
            return
        gate = gate_id(request.workflow_id, request.key)
        if gate in state.places:
            return
        state.slot, state.queued = gate, True
        try:
            await self._wait(request, machine, inbox, drain)
        except asyncio.CancelledError:
            message = "the execution was cancelled while it waited for a place"
            machine.refuse("cancelled", ErrorInfo(type="cancelled", message=message))
        except ActivityError as error:
            machine.refuse("failed", error_info(error.cause, "~concurrency"))
        state.queued = False

    async def _wait(
        self, request: AcquireSlot, machine: Machine, inbox: deque[ev.Event], drain: Callable[[Machine], None]
    ) -> None:
        pause = FIRST_REMINDER
        while not self._granted:
            answer = await _ask(request)
            if answer.granted or self._granted:
                return
            if not answer.queued:
                machine.state.slot = None
                machine.refuse("failed", limit_error(request, answer))
                return
            deadline = workflow.now() + pause
            while not self._granted and workflow.now() < deadline:
                drain(machine)
                with contextlib.suppress(asyncio.TimeoutError):
                    await workflow.wait_condition(
                        lambda: self._granted or bool(inbox),
                        timeout=deadline - workflow.now(),
                        timeout_summary="ask for the place again",
                    )
            pause = min(pause * 2, LONGEST_REMINDER)

    async def give_back(self, machine: Machine) -> None:
        """Give the place back, or leave the queue; what cancels the execution now comes too late to stop it."""
        slot, machine.state.slot = machine.state.slot, None
        if slot is None:
            return
        await despite_cancel(_release(slot))


def _request(rule: Concurrency, definition: CompiledDefinition, machine: Machine) -> AcquireSlot:
    return AcquireSlot(
        workflow_id=machine.state.workflow_id,
        key=concurrency_key(definition, machine.state.input),
        execution_id=machine.state.execution_id,
        max=rule.max,
        on_conflict=rule.on_conflict,
        started_at=iso(workflow.info().workflow_start_time),
    )


async def _ask(request: AcquireSlot) -> SlotAnswer:
    asking = workflow.start_activity(
        "acquire_slot",
        request,
        result_type=SlotAnswer,
        start_to_close_timeout=timedelta(seconds=30),
        schedule_to_close_timeout=timedelta(hours=24),
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        summary="ask for a place under the concurrency key",
    )
    try:
        return await asyncio.shield(asking)
    except asyncio.CancelledError:
        # It may get the place yet: only when that is known can the place be given back.
        asking.cancel()
        with contextlib.suppress(ActivityError, asyncio.CancelledError):
            await asking
        raise


async def _release(slot: str) -> None:
    try:
        await workflow.get_external_workflow_handle(slot).signal("release", workflow.info().workflow_id)
    except Exception as error:  # The gate is gone, and the place with it.
        if not workflow.is_failure_exception(error):
            raise
