"""Bounds every call to Temporal: an absent server is an answer within two seconds, a busy one gets more time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from orchestrator.execution.errors import TemporalUnavailable
from orchestrator.settings import Settings

CALL_SECONDS = 1.4
"""How long a call may take before somebody asks whether Temporal is there at all."""
PATIENCE_SECONDS = 10.0
"""How long it may take at all; the SDK repeats failing calls that long."""
PROBE_SECONDS = 0.5

_PASSED_ON = frozenset(
    {
        RPCStatusCode.NOT_FOUND,
        RPCStatusCode.ALREADY_EXISTS,
        RPCStatusCode.INVALID_ARGUMENT,
        RPCStatusCode.FAILED_PRECONDITION,
        RPCStatusCode.OUT_OF_RANGE,
    }
)
"""What a present server says about the request; the caller knows what it means."""


class TemporalCalls:
    """Guards the calls of one API process to one Temporal."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._address = settings.temporal_address
        self._probe: asyncio.Task[bool] | None = None
        self._answered_at = float("-inf")

    @asynccontextmanager
    async def bounded(
        self, seconds: float = CALL_SECONDS, *, patience_seconds: float = PATIENCE_SECONDS
    ) -> AsyncIterator[None]:
        """Run the block's calls to Temporal within `seconds`, or within the patience while its health check answers.

        Raises:
            TemporalUnavailable: no answer in time, no connection, or the server cannot serve.
            RPCError: the server is there and refuses the request (not found, invalid, …).
        """
        try:
            async with asyncio.timeout(seconds) as limit:
                watching = asyncio.create_task(self._extend(limit, patience_seconds))
                try:
                    yield
                    self._answered_at = asyncio.get_running_loop().time()
                finally:
                    watching.cancel()
        except TimeoutError as error:
            raise self._unavailable("did not answer in time") from error
        except RPCError as error:
            if error.status in _PASSED_ON:
                raise
            raise self._unavailable(f"cannot serve: {error.message}") from error
        except RuntimeError as error:
            if not is_connect_failure(error):
                raise
            raise self._unavailable("cannot be reached") from error

    async def reach(self) -> None:
        """Find out whether Temporal is there, before a call that may take long because no worker is.

        Raises:
            TemporalUnavailable: it does not answer.
        """
        if not await self._is_alive() and not await self._is_alive():
            raise self._unavailable("does not answer")

    async def _extend(self, limit: asyncio.Timeout, patience_seconds: float) -> None:
        """Move the limit on for as long as the server is alive; starts under load take seconds and succeed."""
        loop = asyncio.get_running_loop()
        end = loop.time() + patience_seconds
        while (deadline := limit.when()) is not None and deadline < end:
            await asyncio.sleep(deadline - PROBE_SECONDS - loop.time())
            # What it just answered to others says more than a question that queues behind theirs.
            if loop.time() - self._answered_at > PROBE_SECONDS and not await self._is_alive():
                return
            limit.reschedule(min(end, loop.time() + 2 * PROBE_SECONDS))

    async def _is_alive(self) -> bool:
        """Ask for the server's health; all that wait share one question."""
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._ask())
        return await asyncio.shield(self._probe)

    async def _ask(self) -> bool:
        timeout = timedelta(seconds=PROBE_SECONDS)
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                return await self._client.service_client.check_health(retry=False, timeout=timeout)
        except (TimeoutError, RPCError, RuntimeError):
            return False

    def _unavailable(self, what: str) -> TemporalUnavailable:
        return TemporalUnavailable(
            f"Temporal at {self._address} {what}",
            hint="check that Temporal runs and that TEMPORAL_ADDRESS is right, then try again",
            retry_after_seconds=2,
        )


def is_connect_failure(error: BaseException) -> bool:
    """Whether this is how the SDK's lazy connection reports its failure: a bare RuntimeError."""
    return isinstance(error, RuntimeError) and "Failed client connect" in str(error)
