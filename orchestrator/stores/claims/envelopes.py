"""Envelopes of executions that Temporal closes without a result: kept as claims, named by a reference in the memo."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel
from temporalio.converter import DataConverter, StorageDriverClaim, StorageDriverRetrieveContext

from orchestrator.stores.claims.wiring import claim_driver

Envelope = TypeVar("Envelope", bound=BaseModel)


async def keep_envelope(converter: DataConverter, envelope: BaseModel) -> dict[str, str] | None:
    """Keep an envelope, whatever its size; returns its reference, or None where there is no claim store.

    Raises:
        Unavailable: the store did not confirm.
    """
    driver = claim_driver(converter)
    if driver is None:
        return None
    payloads = converter.payload_converter.to_payloads([envelope])
    if converter.payload_codec:
        payloads = await converter.payload_codec.encode(payloads)
    (claim,) = await driver.keep(payloads)
    return {"store": driver.name(), **claim.claim_data}


async def fetch_envelope(converter: DataConverter, reference: Any, kind: type[Envelope]) -> Envelope | None:
    """Return a kept envelope; None where the reference is none of this store's.

    Raises:
        ClaimMissing: it is lost.
        Unavailable: the store does not answer.
        pydantic.ValidationError: it holds something else.
    """
    driver = claim_driver(converter)
    if driver is None or not isinstance(reference, dict) or reference.get("store") != driver.name():
        return None
    claim = StorageDriverClaim({name: str(value) for name, value in reference.items() if name != "store"})
    payloads = await driver.retrieve(StorageDriverRetrieveContext(), [claim])
    if converter.payload_codec:
        payloads = await converter.payload_codec.decode(payloads)
    (found,) = converter.payload_converter.from_payloads(payloads, [kind])
    return kind.model_validate(found)
