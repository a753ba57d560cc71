"""The claim store in a bucket of S3, or of a server that speaks its protocol: one object for each value."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aioboto3
import aiohttp
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from orchestrator.execution.errors import ClaimsUnavailable
from orchestrator.settings import Settings

CALL_SECONDS = 5.0
CONNECT_SECONDS = 1.0
CALLS_AT_ONCE = 48
_MISSING = ("404", "NoSuchKey", "NotFound")
_TAKEN = ("412", "PreconditionFailed", "409", "ConditionalRequestConflict", *_MISSING)


@dataclass
class _Connection:
    """What belongs to one event loop."""

    loop: asyncio.AbstractEventLoop
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CALLS_AT_ONCE))
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    client: Any = None


class S3Claims:
    """Values under `<prefix>/claims/<sha256>`; the time of their last change is that of their last use, to the day.

    The bucket's own lifecycle rule deletes what is older than the retention; a use copies a value onto itself, which
    starts its time anew. Credentials are found as every AWS client finds them.

    Args:
        settings: bucket, prefix, endpoint, region.
        touch_after: how old a value must be for a use to start its time anew; a copy for every read would cost a write.
    """

    kind = "s3"

    def __init__(self, settings: Settings, *, touch_after: timedelta = timedelta(days=1)) -> None:
        self._settings = settings
        self._bucket = settings.claim_s3_bucket or ""
        self._prefix = settings.claim_s3_prefix.strip("/")
        self._touch_after = touch_after
        self._connection: _Connection | None = None

    async def put(self, sha256: str, data: bytes) -> None:
        """See `ClaimStore.put`: S3 acknowledges what is stored durably."""
        at = self._at(f"claims/{sha256}")
        async with self._calls() as s3:
            found = await _unless_missing(s3.head_object(**at))
            kept = found is not None and found["ContentLength"] == len(data)
            if kept and self._is_old(found):
                kept = await self._touch(s3, at)
            if not kept:
                await s3.put_object(**at, Body=data)

    async def get(self, sha256: str) -> bytes | None:
        """See `ClaimStore.get`."""
        at = self._at(f"claims/{sha256}")
        async with self._calls() as s3:
            found = await _unless_missing(s3.get_object(**at))
            if found is None:
                return None
            data = await _body(found)
            if self._is_old(found):
                await self._touch(s3, at)
            return data

    async def get_many(self, sha256s: Sequence[str]) -> list[bytes | None]:
        """See `ClaimStore.get_many`."""
        return list(await asyncio.gather(*(self.get(sha256) for sha256 in sha256s)))

    async def prolong(self, sha256s: Collection[str]) -> list[str]:
        """See `ClaimStore.prolong`."""

        async def is_there(sha256: str) -> bool:
            async with self._calls() as s3:
                return await self._touch(s3, self._at(f"claims/{sha256}"))

        wanted = list(sha256s)
        found = await asyncio.gather(*map(is_there, wanted))
        return [sha256 for sha256, there in zip(wanted, found, strict=True) if not there]

    async def identity(self) -> str:
        """See `ClaimStore.identity`: a random id that the first process left, out of the lifecycle rule's reach."""
        at = self._at("store-id")
        async with self._calls() as s3:
            found = await _unless_missing(s3.get_object(**at))
            if found is None:
                await _unless_taken(s3.put_object(**at, Body=uuid.uuid4().hex.encode(), IfNoneMatch="*"))
                found = await s3.get_object(**at)
            return f"s3:{(await _body(found)).decode()}"

    async def take_turn(self, seconds: float) -> bool:
        """See `ClaimStore.take_turn`."""
        at = self._at("turn")
        async with self._calls() as s3:
            last = await _unless_missing(s3.head_object(**at))
            if last is not None and _age(last) < timedelta(seconds=seconds):
                return False
            unchanged = {"IfNoneMatch": "*"} if last is None else {"IfMatch": last["ETag"]}
            return await _unless_taken(s3.put_object(**at, Body=uuid.uuid4().hex.encode(), **unchanged))

    async def give_turn_back(self) -> None:
        """See `ClaimStore.give_turn_back`."""
        async with self._calls() as s3:
            await s3.delete_object(**self._at("turn"))

    async def aclose(self) -> None:
        """See `ClaimStore.aclose`."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.loop is asyncio.get_running_loop():
            await connection.stack.aclose()

    async def problem(self) -> str | None:
        """Return why this bucket cannot be used, as far as waiting will not mend it; None where it can, or is away."""
        try:
            async with self._calls() as s3:
                await s3.head_bucket(Bucket=self._bucket)
        except ClaimsUnavailable as error:
            cause = error.__cause__
            refused = isinstance(cause, ClientError) and 400 <= _status(cause) < 500 and _status(cause) != 429
            if refused or isinstance(cause, NoCredentialsError):
                return f"{error.message}; {error.hint}"
        return None

    async def _touch(self, s3: Any, at: Mapping[str, str]) -> bool:
        """Copy a value onto itself; returns whether it is there."""
        return await _unless_missing(s3.copy_object(**at, CopySource=at, MetadataDirective="REPLACE")) is not None

    def _is_old(self, found: Mapping[str, Any]) -> bool:
        return _age(found) >= self._touch_after

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": f"{self._prefix}/{name}" if self._prefix else name}

    @asynccontextmanager
    async def _calls(self) -> AsyncIterator[Any]:
        """Give the client for the calls of one value, a few at a time; failures become `ClaimsUnavailable`."""
        loop = asyncio.get_running_loop()
        if self._connection is None or self._connection.loop is not loop:
            self._connection = _Connection(loop)
        connection = self._connection
        async with connection.turns:
            try:
                async with asyncio.timeout(CALL_SECONDS):
                    yield await self._client(connection)
            except TimeoutError as error:
                raise self._unavailable(f"no answer within {CALL_SECONDS:g} s") from error
            except ClientError as error:
                raise self._refused(error) from error
            except (BotoCoreError, aiohttp.ClientError, OSError) as error:
                raise self._unavailable(str(error)) from error

    async def _client(self, connection: _Connection) -> Any:
        async with connection.opening:
            if connection.client is None:
                opened = aioboto3.Session().client(
                    "s3",
                    endpoint_url=self._settings.claim_s3_endpoint_url,
                    region_name=self._settings.claim_s3_region,
                    config=Config(
                        connect_timeout=CONNECT_SECONDS,
                        read_timeout=CALL_SECONDS,
                        max_pool_connections=CALLS_AT_ONCE,
                        retries={"mode": "standard", "total_max_attempts": 2},
                        # Values are checked against their own hash; not every S3-compatible server knows CRC trailers.
                        request_checksum_calculation="when_required",
                        response_checksum_validation="when_required",
                    ),
                )
                connection.client = await connection.stack.enter_async_context(opened)
        return connection.client

    def _refused(self, error: ClientError) -> ClaimsUnavailable:
        if _code(error) == "NoSuchBucket" or (error.operation_name == "HeadBucket" and _status(error) == 404):
            return self._unavailable("there is no such bucket", hint="create it, or correct CLAIM_S3_BUCKET")
        return self._unavailable(str(error))

    def _unavailable(
        self, reason: str, hint: str = "check CLAIM_S3_ENDPOINT_URL, the credentials and what they may do"
    ) -> ClaimsUnavailable:
        message = f"the claim store in the bucket '{self._bucket}' fails: {reason}"
        return ClaimsUnavailable(message, hint=hint, retry_after_seconds=2)


async def _unless_missing(call: Awaitable[Any]) -> Any:
    """Return a call's answer, or None where there is no such object."""
    try:
        return await call
    except ClientError as error:
        if _code(error) in _MISSING:
            return None
        raise


async def _unless_taken(call: Awaitable[Any]) -> bool:
    """Return whether a conditional write was made, and not somebody else's before it."""
    try:
        await call
    except ClientError as error:
        if _code(error) in _TAKEN:
            return False
        raise
    return True


async def _body(found: Mapping[str, Any]) -> bytes:
    async with found["Body"] as body:
        data: bytes = await body.read()
    return data


def _age(found: Mapping[str, Any]) -> timedelta:
    changed: datetime = found["LastModified"]
    return datetime.now(UTC) - changed


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
