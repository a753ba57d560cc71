"""Temporal's storage driver over a claim store: large payloads leave a reference in the history."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import TypeVar

import structlog
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)
from temporalio.exceptions import ApplicationError

from orchestrator.execution.errors import ClaimMissing, OrchestratorError, Unavailable
from orchestrator.stores.claims.port import ClaimStore

log = structlog.get_logger(__name__)

PAUSES_SECONDS = (0.1, 0.3, 0.6, 1.0)
CONFIRMED_SECONDS = 60.0
MOST_CONFIRMED = 10_000
HASHED_INLINE_BYTES = 256 * 1024

claimed_input_bytes: ContextVar[int] = ContextVar("claimed_input_bytes", default=0)
"""Inside an activity: the size of its input where that came out of the claim store, else 0."""

T = TypeVar("T")


class ClaimDriver(StorageDriver):
    """Keeps payloads under the SHA-256 of their bytes, so that equal payloads are kept once.

    What it raises is retryable for Temporal, always: a failure that is not would end the execution.

    Args:
        store: where the bytes go.
        threshold_bytes: from which size on a payload is kept outside.
        max_bytes: the largest value that callers and activities may hand over.

    Attributes:
        patience_seconds: how long a payload waits for a store that is away; callers that answer people have none.
    """

    def __init__(self, store: ClaimStore, *, threshold_bytes: int, max_bytes: int) -> None:
        self.claims = store
        self.threshold_bytes = threshold_bytes
        self.max_bytes = max_bytes
        self.patience_seconds = 0.0
        self._confirmed: OrderedDict[str, float] = OrderedDict()

    def name(self) -> str:
        """Return the store's kind; references carry it."""
        return self.claims.kind

    def type(self) -> str:
        """Return the name of this kind of driver in worker heartbeats."""
        return f"claims.{self.claims.kind}"

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Keep payloads and return their references."""
        try:
            return await self._patiently(lambda: self.keep(payloads))
        except OrchestratorError as error:
            raise _task_failure(error) from error

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Return the payloads of references."""
        try:
            found = await self._patiently(lambda: self._fetch(claims))
        except OrchestratorError as error:
            if isinstance(error, ClaimMissing):
                log.error("a claim is missing", error=error.message, **error.details)
            raise _task_failure(error) from error
        claimed_input_bytes.set(sum(payload.ByteSize() for payload in found))
        return found

    async def keep(self, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Keep payloads, on disk when this returns; those kept within the last minute are not sent again.

        Raises:
            Unavailable: the store did not confirm.
        """
        return await asyncio.gather(*(self._keep(payload) for payload in payloads))

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        end = time.monotonic() + self.patience_seconds
        for pause in PAUSES_SECONDS:
            try:
                return await call()
            except ClaimMissing:
                raise
            except Unavailable:
                if time.monotonic() + pause >= end:
                    raise
            await asyncio.sleep(pause)
        return await call()

    async def _keep(self, payload: Payload) -> StorageDriverClaim:
        data = payload.SerializeToString(deterministic=True)
        sha256 = await _sha256(data)
        if self._confirmed.get(sha256, float("-inf")) < time.monotonic() - CONFIRMED_SECONDS:
            await self.claims.put(sha256, data)
            self._confirmed[sha256] = time.monotonic()
            self._confirmed.move_to_end(sha256)
            while len(self._confirmed) > MOST_CONFIRMED:
                self._confirmed.popitem(last=False)
        return StorageDriverClaim({"sha256": sha256, "bytes": str(len(data))})

    async def _fetch(self, claims: Sequence[StorageDriverClaim]) -> list[Payload]:
        return await asyncio.gather(*(self._fetch_one(claim) for claim in claims))

    async def _fetch_one(self, claim: StorageDriverClaim) -> Payload:
        return await self.fetch(claim.claim_data["sha256"], claim.claim_data.get("bytes", "?"))

    async def fetch(self, sha256: str, size: str = "?") -> Payload:
        """Return a kept payload.

        Raises:
            ClaimMissing: it is lost.
            Unavailable: the store does not answer.
        """
        data = await self.claims.get(sha256)
        if data is None or await _sha256(data) != sha256:
            # Whatever was confirmed is no longer true: a retry that makes the value again shall store it again.
            self._confirmed.pop(sha256, None)
            state = "is not" if data is None else "is damaged"
            raise ClaimMissing(
                f"claim {sha256} ({size} bytes) {state} in the {self.name()} claim store",
                hint="restore it from a backup of the store, or check that all processes share one store",
                details={"sha256": sha256, "store": self.name()},
            )
        return Payload.FromString(data)


async def _sha256(data: bytes) -> str:
    if len(data) <= HASHED_INLINE_BYTES:
        return hashlib.sha256(data).hexdigest()
    return (await asyncio.to_thread(hashlib.sha256, data)).hexdigest()


def _task_failure(error: OrchestratorError) -> ApplicationError:
    hint = f"; {error.hint}" if error.hint else ""
    return ApplicationError(f"{error.message}{hint}", type=error.code, non_retryable=False)
