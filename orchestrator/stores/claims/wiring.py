"""Builds the claim store that the settings name, and finds it again in a data converter."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic_core import to_json
from temporalio.converter import DataConverter, ExternalStorage
from temporalio.exceptions import ApplicationError

from orchestrator.execution.errors import OrchestratorError, PayloadTooLarge
from orchestrator.settings import Settings
from orchestrator.stores.claims.driver import ClaimDriver
from orchestrator.stores.claims.file_claims import FileClaims
from orchestrator.stores.claims.port import ClaimStore
from orchestrator.stores.claims.redis_claims import RedisClaims


def with_claims(converter: DataConverter, settings: Settings) -> DataConverter:
    """Return the converter with the settings' claim store; nothing is opened before the first large payload."""
    store = _store(settings)
    if store is None:
        return converter
    driver = ClaimDriver(store, threshold_bytes=settings.claim_threshold_bytes, max_bytes=settings.claim_max_bytes)
    storage = ExternalStorage(drivers=[driver], payload_size_threshold=settings.claim_threshold_bytes)
    return dataclasses.replace(converter, external_storage=storage)


def _store(settings: Settings) -> ClaimStore | None:
    if settings.claim_store == "none":
        return None
    if settings.claim_store == "file" and settings.claim_store_path is not None:
        return FileClaims(settings.claim_store_path)
    if settings.claim_store == "s3":
        # The package is an extra.
        from orchestrator.stores.claims.s3_claims import S3Claims

        return S3Claims(settings)
    return RedisClaims(settings)


async def claims_problem(settings: Settings) -> str | None:
    """Return what no waiting will mend about the settings' claim store: a bucket that is absent, or denied to us."""
    if settings.claim_store != "s3":
        return None
    from orchestrator.stores.claims.s3_claims import S3Claims

    store = S3Claims(settings)
    try:
        return await store.problem()
    finally:
        await store.aclose()


def claim_driver(converter: DataConverter) -> ClaimDriver | None:
    """Return the converter's claim driver, or None where it keeps every payload inline."""
    storage = converter.external_storage
    first = storage.drivers[0] if storage and storage.drivers else None
    return first if isinstance(first, ClaimDriver) else None


async def keep_ahead(converter: DataConverter, value: object, what: str) -> None:
    """Keep a value in the claim store before the SDK does, where the caller can still say what went wrong.

    The SDK encodes the value once more and finds it kept. Small values cost one serialisation and no call.

    Args:
        converter: the client's.
        value: what will be sent.
        what: names it in the error, "the result of step 'a'".

    Raises:
        PayloadTooLarge: the value is over the limit.
        Unavailable: the store did not confirm.
    """
    driver = claim_driver(converter)
    if driver is None:
        return
    size = len(to_json(value))
    if size > driver.max_bytes:
        raise too_large(what, size, driver.max_bytes)
    # The SDK compares the payload with its metadata, less than a hundred bytes.
    if size + 100 < driver.threshold_bytes:
        return
    payloads = converter.payload_converter.to_payloads([value])
    if converter.payload_codec:
        payloads = await converter.payload_codec.encode(payloads)
    await driver.keep([item for item in payloads if item.ByteSize() >= driver.threshold_bytes])


def too_large(what: str, size: int, limit: int) -> PayloadTooLarge:
    """Return the error for a value over the limit. Sizes are bytes."""
    return PayloadTooLarge(
        f"{what} takes {size:,} bytes as JSON; {limit:,} are allowed",
        hint="keep large values elsewhere (a bucket, a database) and pass a reference to them",
        details={"bytes": size, "limit_bytes": limit},
    )


@contextmanager
def claim_errors() -> Iterator[None]:
    """Turn the claim store's failures inside a call of the SDK back into our errors."""
    try:
        yield
    except ApplicationError as error:
        if isinstance(error.__cause__, OrchestratorError):
            raise error.__cause__ from error
        raise
