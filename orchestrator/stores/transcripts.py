"""Transcripts of agents: what each turn added to the conversation, kept in the claim store."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

import orjson
import structlog

from orchestrator.execution.errors import ClaimMissing, Unavailable
from orchestrator.execution.messages_agents import TranscriptPart
from orchestrator.stores.claims.port import ClaimStore

log = structlog.get_logger(__name__)

Message = dict[str, Any]
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 5.0


class Transcripts:
    """Keeps and loads the parts of conversations.

    A turn's input names all earlier parts and repeats none of them: else a history would grow with the square of the
    turns. Without a claim store the parts travel in the messages themselves.

    Args:
        claims: the claim store; None: there is none.
    """

    def __init__(self, claims: ClaimStore | None) -> None:
        self._claims = claims

    async def keep(self, messages: Sequence[Message]) -> TranscriptPart:
        """Keep a turn's messages, on disk when this returns.

        The answer among them is paid for: a store that is away is asked again for as long as the caller has time.
        """
        if self._claims is None:
            return TranscriptPart(messages=list(messages))
        data = orjson.dumps(list(messages))
        sha256 = hashlib.sha256(data).hexdigest()
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._claims.put(sha256, data)
                return TranscriptPart(claim=sha256)
            except Unavailable as error:
                log.warning("the claim store does not take a part of a conversation", error=error.message)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def load(self, parts: Sequence[TranscriptPart]) -> list[list[Message]]:
        """Return the messages of each part, in order.

        Raises:
            ClaimMissing: a part is not in the store: parked, until somebody puts it back.
            ClaimsUnavailable: the store does not answer: parked.
        """
        named = list(dict.fromkeys(part.claim for part in parts if part.claim is not None))
        found = await self._claims.get_many(named) if self._claims is not None else [None] * len(named)
        kept = dict(zip(named, found, strict=True))
        return [
            part.messages or [] if part.claim is None else _messages(part.claim, kept[part.claim]) for part in parts
        ]


def _messages(claim: str, data: bytes | None) -> list[Message]:
    if data is None:
        raise ClaimMissing(
            f"part {claim} of the agent's conversation is not in the claim store",
            hint="restore it from a backup of the store, or check that all workers share one store",
            details={"sha256": claim},
        )
    messages: list[Message] = orjson.loads(data)
    return messages
