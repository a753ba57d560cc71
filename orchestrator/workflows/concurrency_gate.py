"""The gate of one concurrency key: gives places to executions, in order, and takes them back from the closed."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

from orchestrator.execution.clock import iso, parse_iso
from orchestrator.execution.concurrency import AcquireSlot, GateStart, SlotAnswer

GATE_TYPE = "ConcurrencyGate"
GRANTED_SIGNAL = "concurrency_granted"
CANCEL_REASON = "a newer execution took its place (concurrency.on_conflict: cancel_running)"


@workflow.defn(name=GATE_TYPE)
class ConcurrencyGate:
    """Counts who runs under one key of one workflow.

    Update: `acquire`, sent with a start of the gate. Signal: `release(execution_id)`. Query: `places`. A gate that
    nobody uses completes; the next `acquire` starts another.
    """

    @workflow.init
    def __init__(self, start: GateStart) -> None:
        self._start = start
        self._places = start.places
        self._granted: deque[str] = deque()
        self._displaced: deque[str] = deque()
        self._checking = False
        self._unused = False

    @workflow.run
    async def run(self, start: GateStart) -> None:
        """Serve until nobody has or wants a place."""
        self._show()
        watching = asyncio.create_task(self._watch())
        while not self._unused:
            await workflow.wait_condition(
                lambda: bool(self._granted or self._displaced or self._unused or self._long_enough())
            )
            await self._tell()
            if self._long_enough() and not (self._granted or self._displaced):
                workflow.continue_as_new(start.model_copy(update=self._carried()))
        watching.cancel()

    @workflow.update(description="Ask for a place; the answer says whether there is one, or who has them.")
    def acquire(self, request: AcquireSlot) -> SlotAnswer:
        """Give a place, queue, or refuse."""
        self._unused = False
        answer, displaced = self._places.acquire(request, iso(workflow.now()))
        self._displaced.extend(displaced)
        granted = self._places.grant(iso(workflow.now()))
        self._granted.extend(item for item in granted if item != request.execution_id)
        self._show()
        return SlotAnswer(granted=True) if request.execution_id in granted else answer

    @workflow.signal(description="Give a place back, or leave the queue.")
    def release(self, execution_id: str) -> None:
        """Let the next in the queue have the place."""
        self._release(execution_id)

    @workflow.query(description="Who has a place, and who waits.")
    def places(self) -> GateStart:
        """Return the present state."""
        return self._start.model_copy(update={"places": self._places})

    def _release(self, execution_id: str) -> None:
        self._places.release(execution_id)
        self._granted.extend(self._places.grant(iso(workflow.now())))
        self._show()

    # --- telling ---------------------------------------------------------------------------------------------------

    async def _tell(self) -> None:
        """Tell executions that they may run, or shall end, as many at once as there are."""
        granted, displaced = list(self._granted), list(self._displaced)
        self._granted.clear()
        self._displaced.clear()
        await asyncio.gather(
            *(self._grant(execution_id) for execution_id in granted),
            *(self._cancel(execution_id) for execution_id in displaced),
        )

    async def _grant(self, execution_id: str) -> None:
        try:
            await workflow.get_external_workflow_handle(execution_id).signal(GRANTED_SIGNAL)
        except Exception as error:
            if not workflow.is_failure_exception(error):
                raise
            # It closed while it waited: the place goes to the next.
            self._release(execution_id)

    async def _cancel(self, execution_id: str) -> None:
        try:
            await workflow.get_external_workflow_handle(execution_id).cancel(reason=CANCEL_REASON)
        except Exception as error:
            if not workflow.is_failure_exception(error):
                raise
            self._release(execution_id)

    # --- holders that closed ---------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Look for holders that closed without a word: terminated, or timed out by Temporal."""
        interval = timedelta(seconds=self._start.check_seconds)
        begun = self._start.check_at
        check_at = parse_iso(begun) if begun else workflow.now() + interval
        while True:
            self._start.check_at = iso(check_at)
            await workflow.sleep(max(timedelta(milliseconds=1), check_at - workflow.now()), summary="check holders")
            check_at = workflow.now() + interval
            self._checking = True
            await self._drop_closed(interval)
            self._checking = False
            # Between two checks nobody came, and nobody is left.
            self._unused = self._places.empty and not self._granted

    async def _drop_closed(self, interval: timedelta) -> None:
        # A place is given before its execution starts, where the API asked: the youngest holders may not be there yet.
        asked = self._places.held_since_before(iso(workflow.now() - interval))
        if not asked:
            return
        try:
            closed: list[str] = await workflow.execute_activity(
                "find_closed_executions",
                asked,
                result_type=list[str],
                start_to_close_timeout=timedelta(seconds=30),
                schedule_to_close_timeout=timedelta(seconds=60),
                retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=10)),
                summary=f"look for {len(asked)} holders",
            )
        except ActivityError:
            # Temporal is busy; the next check asks again.
            return
        for execution_id in closed:
            self._release(execution_id)

    # --- runs ------------------------------------------------------------------------------------------------------

    def _long_enough(self) -> bool:
        """Whether this run's history shall end; nothing of the gate is lost by it."""
        if self._checking or not workflow.all_handlers_finished():
            return False
        info, most = workflow.info(), self._start.history_events
        return info.is_continue_as_new_suggested() or bool(most and info.get_current_history_length() >= most)

    def _carried(self) -> dict[str, object]:
        return {"places": self._places, "check_at": self._start.check_at}

    def _show(self) -> None:
        """Tell people in the Temporal Web UI who has the places."""
        holders = "\n".join(f"- `{item.execution_id}` since {item.since}" for item in self._places.holders[:100])
        workflow.set_current_details(f"{holders or 'nobody'}\n\nwaiting: {len(self._places.queue)}")
