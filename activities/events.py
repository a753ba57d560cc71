"""The worker's side of event streams: gives workflows the function that publishes, tells of further attempts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from activities.step_activity import parked_before
from orchestrator.execution.clock import iso
from orchestrator.execution.live_events import LONGEST_MESSAGE
from orchestrator.execution.messages import StepCall
from orchestrator.stores.event_publisher import EventPublisher
from orchestrator.workflows.event_feed import PUBLISH

_EPOCH = re.compile(r"#(\d+)$")


class ExecutionEvents(Interceptor):
    """Publishes what workflows and activities of one worker tell.

    Args:
        publisher: where it goes.
    """

    def __init__(self, publisher: EventPublisher) -> None:
        self._publisher = publisher

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        """Give workflows the publisher's function, and no interceptor."""
        input.unsafe_extern_functions[PUBLISH] = self._publisher.publish
        return None

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Watch attempts."""
        return _Attempts(next, self._publisher)


class _Attempts(ActivityInboundInterceptor):
    """The workflow hears of the last attempt only: those before it are told here."""

    def __init__(self, next: ActivityInboundInterceptor, publisher: EventPublisher) -> None:
        super().__init__(next)
        self._publisher = publisher

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        """Run the attempt; tell that it is a further one, or that there will be another."""
        call = _call_of(input.args)
        if call is not None and activity.info().attempt > 1:
            info = activity.info()
            self._tell(call, "running", info.attempt - parked_before(info))
        try:
            return await self.next.execute_activity(input)
        except ApplicationError as error:
            if call is not None and not error.non_retryable:
                message = (error.message or "")[:LONGEST_MESSAGE]
                why = {"error": {"type": error.type, "message": message}}
                delay = error.next_retry_delay
                self._tell(call, "retrying", _attempt_of(error), why, delay.total_seconds() if delay else None)
            raise

    def _tell(
        self,
        call: StepCall,
        state: str,
        attempt: int,
        why: dict[str, Any] | None = None,
        delay_seconds: float | None = None,
    ) -> None:
        epoch = _EPOCH.search(activity.info().activity_id)
        event: dict[str, Any] = {
            "type": "attempt",
            "path": call.path,
            "epoch": int(epoch.group(1)) if epoch else 0,
            "state": state,
            "attempt": attempt,
            **(why or {}),
            **({} if delay_seconds is None else {"delay_seconds": round(delay_seconds, 3)}),
            "at": iso(datetime.now(UTC)),
            "seq": None,
        }
        self._publisher.publish(call.execution_id, [event])


def _call_of(arguments: Sequence[Any]) -> StepCall | None:
    for argument in arguments:
        call = getattr(argument, "call", None)
        if isinstance(call, StepCall):
            return call
    return None


def _attempt_of(error: ApplicationError) -> int:
    details = error.details[0] if error.details else None
    found = details.get("attempts") if isinstance(details, dict) else None
    return found if isinstance(found, int) else activity.info().attempt
