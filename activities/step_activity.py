"""The wrapper of every step's activity: heartbeats, attempts, time limits, failures, cancellation."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import structlog
from temporalio import activity
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError

from activities.attempt_notes import AttemptNotes, attempt_notes
from activities.attempt_telemetry import observed_attempt
from activities.failures import application_error, as_orchestrator_error
from activities.heartbeat import heartbeating
from activities.whole_texts import whole_result
from orchestrator.execution.error_bounds import clean_text
from orchestrator.execution.errors import OrchestratorError, Unavailable
from orchestrator.execution.errors_steps import AttemptTimeout
from orchestrator.execution.messages import StepCall, StepResult
from orchestrator.execution.policies import delay_in_time
from orchestrator.secrets import Redaction, redacting
from orchestrator.stores.claims import claim_driver, claimed_input_bytes, keep_ahead, too_large

log = structlog.get_logger(__name__)

_TRACED = frozenset({"agent-failed", "internal-error", "tool-failed"})
"""Failures whose causes and their traces somebody needs, who wrote that code. Others say all in their message: with the
traces they outgrow the 4 KB that Temporal keeps of an attempt's failure, and it shows a sentence about that instead."""

LONGEST_PAUSE_SECONDS = 5.0
"""Between two tries to keep a result while the claim store is away."""


class StepRequest(Protocol):
    """What a step's activity takes: any model with a `call`."""

    call: StepCall


Host = TypeVar("Host")
Request = TypeVar("Request", bound=StepRequest)
Result = TypeVar("Result", bound=StepResult)


def step_activity(
    name: str,
) -> Callable[[Callable[[Host, Request], Awaitable[Result]]], Callable[[Host, Request], Awaitable[Result]]]:
    """Register a method as the activity `name` of a step.

    The method raises leaves of `OrchestratorError`; the wrapper decides whether Temporal tries again. An error that
    `parks` (an open circuit, an empty token bucket) is tried again after its delay and not counted. An attempt that
    would outlive its start-to-close timeout is ended just before, so that it reports `timeout` itself.
    """

    def decorate(method: Callable[[Host, Request], Awaitable[Result]]) -> Callable[[Host, Request], Awaitable[Result]]:
        @activity.defn(name=name)
        @functools.wraps(method)
        async def run(self: Host, request: Request) -> Result:
            return await _Attempt(request.call).run(lambda: method(self, request))

        return run

    return decorate


class _Attempt:
    """One attempt of one activity."""

    def __init__(self, call: StepCall) -> None:
        self._call = call
        self._info = activity.info()
        self._parked = parked_before(self._info)
        self._number = self._info.attempt - self._parked
        self._converter = _converter()
        self._driver = claim_driver(self._converter)
        self._unkept: Unavailable | None = None
        self._redaction = Redaction()
        self._notes = AttemptNotes(_last_details(self._info), lambda: activity.heartbeat(self._details()))

    async def run(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Run the work to its result or to the `ApplicationError` that Temporal shall see; neither tells a secret."""
        with observed_attempt(self._call, self._number, self._notes), redacting() as self._redaction:
            return await self._run(work)

    async def _run(self, work: Callable[[], Awaitable[Result]]) -> Result:
        if claimed_input_bytes.get():
            self._count_afresh()
            self._check_input()
        self._refuse_exhausted()
        attempt_notes.set(self._notes)
        async with heartbeating(self._details):
            try:
                async with asyncio.timeout(self._time_limit()):
                    result = whole_result(await work())
                    result.attempts = self._number
                    if self._redaction:
                        result.output = await asyncio.to_thread(self._redaction.value, result.output)
                    await self._keep(result)
            except TimeoutError:
                if self._unkept is not None:
                    raise self._not_counted(self._unkept) from None
                raise self._failure(self._timed_out()) from None
            except asyncio.CancelledError:
                if not activity.is_worker_shutdown():
                    raise
                self._park()
                raise ApplicationError("the worker shut down", self._details(), type="worker-shutdown") from None
            except Exception as error:
                known = as_orchestrator_error(error)
                # Temporal keeps the texts of all causes, and theirs are not ours to scrub.
                tells = known.code in _TRACED and not self._redaction and _speakable(error)
                raise self._failure(known, error) from error if tells else None
        return result

    def _count_afresh(self) -> None:
        """Leave out of the count the attempts that ended before they began: the claim store withheld their input."""
        began, parked = _last_heartbeat(self._info)
        self._parked = self._info.attempt - 1 - max(0, began - parked)
        self._number = self._info.attempt - self._parked
        activity.heartbeat(self._details())

    def _check_input(self) -> None:
        size = claimed_input_bytes.get()
        limit = self._driver.max_bytes if self._driver else size
        if size > limit:
            raise self._failure(too_large(f"the input of step '{self._call.path}'", size, limit))

    async def _keep(self, result: Result) -> None:
        """Keep a large result while heartbeats still go out, for as long as the attempt may take.

        Raises:
            PayloadTooLarge: the result is over the limit.
        """
        pause = 0.5
        while self._driver is not None:
            try:
                await keep_ahead(self._converter, result, f"the result of step '{self._call.path}'")
                return
            except Unavailable as error:
                log.warning("the claim store does not take a result", path=self._call.path, error=error.message)
                self._unkept = error
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _not_counted(self, error: Unavailable) -> ApplicationError:
        self._park()
        return application_error(error, self._call, attempt=self._number - 1)

    def _details(self) -> dict[str, Any]:
        return {"parked": self._parked, "attempt": self._info.attempt, **self._notes.details()}

    def _park(self) -> None:
        self._parked += 1
        activity.heartbeat(self._details())

    def _failure(self, error: OrchestratorError, raised: Exception | None = None) -> ApplicationError:
        if error.parks:
            self._park()
            error.retry_after_seconds = _spread(error.retry_after_seconds)
        elif self._notes.spent:
            # The next attempt goes on counting from here.
            activity.heartbeat(self._details())
        self._scrub(error)
        error.message = clean_text(error.message)
        log.warning(
            "attempt failed",
            execution_id=self._call.execution_id,
            path=self._call.path,
            attempt=self._number,
            error_type=error.code,
            error=error.message,
            exc_info=raised if error.code == "internal-error" and _speakable(raised) else None,
        )
        return self._told(error, self._number)

    def _told(self, error: OrchestratorError, attempt: int) -> ApplicationError:
        error.retry_after_seconds = self._in_time(error.retry_after_seconds)
        if self._notes.spent:
            error.report = {**(error.report or {}), "spent": self._notes.details()["spent"]}
        return application_error(error, self._call, attempt=attempt)

    def _scrub(self, error: OrchestratorError) -> None:
        if self._redaction:
            error.message = self._redaction.text(error.message)
            error.hint = self._redaction.text(error.hint) if error.hint else error.hint
            error.details = self._redaction.value(error.details)

    def _refuse_exhausted(self) -> None:
        allowed = self._call.max_attempts
        if allowed and self._number > allowed:
            ending = f"attempt {allowed} of {allowed} ended without a report (a time-out or a crash)"
            message = f"step '{self._call.path}': {ending}"
            error = AttemptTimeout(message, details={"kind": "lost-attempt"}, retryable=False)
            raise self._told(error, allowed)

    def _time_limit(self) -> float | None:
        limit = self._info.start_to_close_timeout
        if not limit:
            return None
        seconds = limit.total_seconds()
        return seconds - min(0.5, seconds * 0.1)

    def _in_time(self, delay: float | None) -> float | None:
        """Cut a delay so that one more attempt fits into schedule-to-close; beyond it Temporal gives up at once."""
        limit = self._info.schedule_to_close_timeout
        if delay is None or not limit:
            return delay
        left = (self._info.scheduled_time + limit - datetime.now(UTC)).total_seconds()
        return delay_in_time(delay, left)

    def _timed_out(self) -> OrchestratorError:
        limit = self._info.start_to_close_timeout
        seconds = limit.total_seconds() if limit else 0
        return AttemptTimeout(
            f"step '{self._call.path}': no result within start_to_close_seconds = {seconds:g}",
            hint="raise the step's timeouts.start_to_close_seconds, or find out why the far end is slow",
            details={"kind": "start_to_close"},
        )


def parked_before(info: activity.Info) -> int:
    """Return how many earlier attempts were parked, as the last heartbeat told."""
    return min(_last_heartbeat(info)[1], info.attempt - 1)


def _speakable(error: BaseException | None) -> bool:
    """Whether the texts of an exception and its causes can be sent and printed: half of a surrogate pair cannot."""
    while error is not None:
        try:
            str(error).encode()
        except UnicodeEncodeError:
            return False
        error = error.__cause__
    return True


def _last_heartbeat(info: activity.Info) -> tuple[int, int]:
    """Return the attempt that sent the last heartbeat and how many were parked by then; zeros without one."""
    entry = _last_details(info)
    if not isinstance(entry.get("parked"), int):
        return 0, 0
    attempt = entry.get("attempt", info.attempt - 1)
    return (attempt if isinstance(attempt, int) else 0), int(entry["parked"])


def _last_details(info: activity.Info) -> dict[str, Any]:
    """Return the details of the last heartbeat; empty without one."""
    return next((entry for entry in info.heartbeat_details if isinstance(entry, dict)), {})


def _converter() -> DataConverter:
    """Return the converter of the worker's client; without a worker (a test's environment) one that claims nothing."""
    try:
        return activity.client().data_converter
    except RuntimeError:
        return DataConverter.default


def _spread(seconds: float | None) -> float:
    """Return the delay with up to a fifth added, so that parked attempts do not come back all at once."""
    base = 5.0 if seconds is None else max(0.1, seconds)
    return base * (1 + random.random() / 5)


def names_of(activities: list[Callable[..., Any]]) -> list[str]:
    """Return the registered names of activities."""
    return [getattr(item, "__temporal_activity_definition").name for item in activities]
