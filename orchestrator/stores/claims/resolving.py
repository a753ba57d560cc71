"""Puts large values in the place of their references, for people who look at histories."""

from __future__ import annotations

import re
from collections.abc import Sequence

from google.protobuf.json_format import Parse, ParseError
from temporalio.api.common.v1 import Payload
from temporalio.api.sdk.v1 import ExternalStorageReference
from temporalio.converter import DataConverter

from orchestrator.execution.errors import ClaimMissing
from orchestrator.stores.claims.wiring import claim_driver

MOST_RESOLVED_BYTES = 16 * 1024 * 1024
_MESSAGE_TYPE = ExternalStorageReference.DESCRIPTOR.full_name.encode()
_SHA256 = re.compile(r"[0-9a-f]{64}")


async def resolved(converter: DataConverter, payloads: Sequence[Payload], *, keep: bool = False) -> list[Payload]:
    """Return the payloads with what their references name; whatever is none of our references stays as it is.

    So do references to what is lost, those that come after 16 MiB of values, and all of them with `keep`.

    Raises:
        Unavailable: the claim store does not answer.
    """
    driver = None if keep else claim_driver(converter)
    found, size = list(payloads), 0
    for index, payload in enumerate(payloads):
        sha256 = _referenced(payload, driver.name()) if driver else None
        if driver is None or sha256 is None or size >= MOST_RESOLVED_BYTES:
            continue
        try:
            found[index] = await driver.fetch(sha256)
        except ClaimMissing:
            continue
        size += found[index].ByteSize()
    if converter.payload_codec:
        return list(await converter.payload_codec.decode(found))
    return found


def _referenced(payload: Payload, store: str) -> str | None:
    metadata = payload.metadata
    if metadata.get("encoding") != b"json/protobuf" or metadata.get("messageType") != _MESSAGE_TYPE:
        return None
    try:
        reference = Parse(payload.data, ExternalStorageReference())
    except (ParseError, UnicodeDecodeError):
        return None
    # It names a file or a key of the store: what is no digest must not reach it.
    sha256 = reference.claim_data.get("sha256", "")
    return sha256 if reference.driver_name == store and _SHA256.fullmatch(sha256) else None
