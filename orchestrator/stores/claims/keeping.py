"""Prolongs the claims of executions that are open for long: nobody reads them while they wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import structlog
from google.protobuf.json_format import Parse, ParseError
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.sdk.v1 import ExternalStorageReference
from temporalio.client import Client
from temporalio.service import RPCError

from orchestrator.background import beside
from orchestrator.execution.carried_text import parted
from orchestrator.execution.errors import Unavailable
from orchestrator.execution.messages import WORKFLOW_TYPE
from orchestrator.stores.claims.driver import ClaimDriver

log = structlog.get_logger(__name__)

ROUND_SECONDS = 24 * 3600.0
LOOK_EVERY_SECONDS = 900.0
_REFERENCE = ExternalStorageReference.DESCRIPTOR.full_name.encode()
_MODEL_TURN = "invoke_model"


class ClaimKeeper:
    """Goes through the open executions once a day, from one of the workers.

    Args:
        client: lists executions and reads their histories.
        driver: of the same client.
    """

    def __init__(self, client: Client, driver: ClaimDriver) -> None:
        self._client = client
        self._driver = driver

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Make the daily rounds while the block runs."""
        async with beside(self._keep_on()):
            yield

    async def round(self, *, open_for: timedelta = timedelta(seconds=ROUND_SECONDS)) -> int:
        """Prolong the claims of every execution that is open for at least this long; returns how many claims.

        Raises:
            RPCError: Temporal does not answer.
            Unavailable: the claim store does not answer.
        """
        before = (datetime.now(UTC) - open_for).isoformat()
        query = f"WorkflowType = '{WORKFLOW_TYPE}' AND ExecutionStatus = 'Running' AND StartTime <= '{before}'"
        count = 0
        async for execution in self._client.list_workflows(query):
            claims = await self._claims_of(execution.id, execution.run_id)
            missing = await self._driver.claims.prolong(claims)
            count += len(claims) - len(missing)
            if missing:
                log.error("an open execution lacks claims", execution_id=execution.id, missing=missing[:10])
        return count

    async def _claims_of(self, execution_id: str, run_id: str) -> set[str]:
        found: set[str] = set()
        turns: set[int] = set()
        history = self._client.get_workflow_handle(execution_id, run_id=run_id).fetch_history_events()
        async for event in history:
            for payload in _payloads_in(event):
                sha256 = _sha256_in(payload, self._driver.name())
                if sha256:
                    found.add(sha256)
            if event.activity_task_scheduled_event_attributes.activity_type.name == _MODEL_TURN:
                turns.add(event.event_id)
            try:
                found |= await self._transcript_claims(event, turns)
            except ValueError as error:
                # A start by a stranger, say. The other claims of this execution, and all other executions, are kept on.
                log.warning("an event names no claims that can be read", execution_id=execution_id, error=str(error))
        return found

    async def _transcript_claims(self, event: HistoryEvent, turns: set[int]) -> set[str]:
        """Return the parts of agents' conversations that an event names.

        Those of the runs before are in the carried state, those of this run in the results of its model turns.
        """
        if event.HasField("workflow_execution_started_event_attributes"):
            values = await self._values(event.workflow_execution_started_event_attributes.input.payloads)
            return _carried_claims("".join(value for value in values if isinstance(value, str)))
        completed = event.activity_task_completed_event_attributes
        if completed.scheduled_event_id not in turns:
            return set()
        results = await self._values(completed.result.payloads)
        return {claim for result in results if (claim := _field(result, "part", "claim")) is not None}

    async def _values(self, payloads: Sequence[Payload]) -> list[Any]:
        """Return the JSON values of payloads; one that is kept outside and is not there is left out."""
        found = []
        for payload in payloads:
            sha256 = _sha256_in(payload, self._driver.name())
            data = await self._driver.claims.get(sha256) if sha256 else payload.SerializeToString()
            if data is not None:
                found.append(orjson.loads(Payload.FromString(data).data or b"null"))
        return found

    async def _keep_on(self) -> None:
        while True:
            try:
                if await self._driver.claims.take_turn(ROUND_SECONDS):
                    log.info("claims of open executions are prolonged", claims=await self.round())
            except (RPCError, Unavailable) as error:
                log.warning("claims of open executions are not prolonged", error=str(error))
                with suppress(Unavailable):
                    await self._driver.claims.give_turn_back()
            await asyncio.sleep(LOOK_EVERY_SECONDS)


def _payloads_in(message: Message) -> Iterator[Payload]:
    """Yield every payload at any depth."""
    if isinstance(message, Payload):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            inner = [item for item in value.values() if isinstance(item, Message)]
        else:
            inner = [value] if isinstance(value, Message) else list(value)
        for item in inner:
            yield from _payloads_in(item)


def _sha256_in(payload: Payload, driver_name: str) -> str | None:
    if payload.metadata.get("messageType") != _REFERENCE:
        return None
    try:
        reference = Parse(payload.data, ExternalStorageReference())
    except ParseError:
        return None
    return reference.claim_data.get("sha256") if reference.driver_name == driver_name else None


def _carried_claims(text: str) -> set[str]:
    """Return the claims in a carried state's text; none where the run carries nothing."""
    scopes = _field(orjson.loads(parted(text)[0]), "scopes") if text else None
    parts = [
        part
        for scope in (scopes or {}).values()
        for record in (_field(scope, "steps") or {}).values()
        for part in _field(record, "agent", "transcript") or ()
    ]
    return {claim for part in parts if (claim := _field(part, "claim")) is not None}


def _field(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
