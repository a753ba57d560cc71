"""Bounds every call to Temporal and names its failures: an absent server is an answer within two seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio.service import RPCError, RPCStatusCode

from orchestrator.execution.errors import TemporalUnavailable
from orchestrator.settings import Settings

CALL_SECONDS = 1.4
"""The SDK repeats a failing call for ten seconds; this is how long the API lets it."""

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


@asynccontextmanager
async def temporal_calls(settings: Settings, seconds: float = CALL_SECONDS) -> AsyncIterator[None]:
    """Run the block's calls to Temporal within `seconds`.

    Raises:
        TemporalUnavailable: no answer in time, no connection, or the server cannot serve.
        RPCError: the server is there and refuses the request (not found, invalid, …).
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise _unavailable(settings, f"did not answer within {seconds:g} s") from error
    except RPCError as error:
        if error.status in _PASSED_ON:
            raise
        raise _unavailable(settings, f"cannot serve: {error.message}") from error
    except RuntimeError as error:
        if not is_connect_failure(error):
            raise
        raise _unavailable(settings, "cannot be reached") from error


def is_connect_failure(error: BaseException) -> bool:
    """Whether this is how the SDK's lazy connection reports its failure: a bare RuntimeError."""
    return isinstance(error, RuntimeError) and "Failed client connect" in str(error)


def _unavailable(settings: Settings, what: str) -> TemporalUnavailable:
    return TemporalUnavailable(
        f"Temporal at {settings.temporal_address} {what}",
        hint="check that Temporal runs and that TEMPORAL_ADDRESS is right, then try again",
        retry_after_seconds=2,
    )
