"""Recording how a call of an agent goes, without letting an absent Redis fail it."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import structlog

from orchestrator.execution.errors import OrchestratorError, RedisUnavailable
from orchestrator.stores.agent_calls import AgentCallStore

log = structlog.get_logger(__name__)


@asynccontextmanager
async def observed_call(calls: AgentCallStore, agent_type: str, *, lease_seconds: float) -> AsyncIterator[None]:
    """Record how the block, one call of an agent, goes; with Redis away it runs unrecorded.

    Args:
        calls: where it is recorded.
        agent_type: whose call.
        lease_seconds: after this time a call counts as lost.
    """
    call_id, began = uuid.uuid4().hex, time.monotonic()
    outcome, failure = "failure", None
    await _unless_away(calls.begin(agent_type, call_id, lease_seconds=lease_seconds))
    try:
        yield
        outcome = "success"
    except asyncio.CancelledError:
        outcome = "abandoned"
        raise
    except Exception as error:
        if isinstance(error, OrchestratorError) and error.parks:
            outcome = "abandoned"
            raise
        code = error.code if isinstance(error, OrchestratorError) else type(error).__name__
        failure = {"type": code, "message": str(error).encode("utf-8", "replace").decode()[:500]}
        raise
    finally:
        seconds = time.monotonic() - began
        ended = calls.end(agent_type, call_id, outcome, seconds=seconds, error=failure)
        await asyncio.shield(_unless_away(ended))


async def _unless_away(call: Awaitable[None]) -> None:
    try:
        await call
    except RedisUnavailable as error:
        log.warning("a call of an agent is not recorded", error=str(error))
