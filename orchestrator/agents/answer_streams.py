"""Reading a streamed answer: server-sent events of Chat Completions, of which nothing is taken for granted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx2

from orchestrator.agents.answers import AnswerDraft, Completion, finish_reason, quote_bytes, refuse
from orchestrator.agents.prompts import sane
from orchestrator.agents.provider_errors import ResponseTooLarge, raise_declared
from orchestrator.agents.tool_call_parts import MalformedToolCalls, joined
from orchestrator.execution.errors import OrchestratorError
from orchestrator.execution.errors_steps import ModelUnavailable

_DONE = b"[DONE]"


class StreamReader:
    """Reads one stream into `draft`, which has what arrived whatever happens.

    Once the model has said why it stopped the answer is whole: a stream that breaks off afterwards, in the middle of an
    event or with an error, is as good as one that ends with `[DONE]`.
    """

    def __init__(
        self,
        draft: AnswerDraft,
        on_delta: Callable[[str], None],
        *,
        label: str,
        stall_seconds: float,
        secret: str | None = None,
    ) -> None:
        """Args: `stall_seconds` may pass between two pieces once the first one is there."""
        self._draft = draft
        self._on_delta = on_delta
        self._label = label
        self._stall_seconds = stall_seconds
        self._secret = secret
        self._held = ""

    async def read(self, chunks: AsyncIterator[bytes]) -> Completion:
        """Return the answer.

        Raises:
            ModelBadResponse: an event is not JSON, or the stream ends before the answer does.
            ModelRateLimited: an event is an error that says so.
            ModelUnavailable: an event is another error, or nothing came for `stall_seconds`.
            ModelRejected: the provider's filter held the answer back.
        """
        try:
            async for data in _data_lines(self._without_stalls(chunks)):
                if data == _DONE:
                    break
                self._take(data)
        except (OrchestratorError, ResponseTooLarge, httpx2.TransportError):
            if self._draft.finish_reason is None:
                raise
        if self._held:
            self._on_delta(sane(self._held))
        if self._draft.finish_reason is None:
            refuse(self._label, "the stream ended before the answer did")
        return self._draft.completion(self._label)

    def _take(self, data: bytes) -> None:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            refuse(self._label, f"an event of the stream is not JSON: {quote_bytes(data)}")
        if not isinstance(document, dict):
            refuse(self._label, f"an event of the stream is no object: {quote_bytes(data)}")
        self._draft.note(document)
        raise_declared(document, label=self._label, secret=self._secret)
        choices = document.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            self._take_choice(choices[0])

    def _take_choice(self, choice: Mapping[str, Any]) -> None:
        delta = choice.get("delta")
        try:
            text = self._draft.add(delta if isinstance(delta, dict) else {}, piece=True)
        except MalformedToolCalls as error:
            refuse(self._label, str(error))
        if text:
            self._tell(text)
        self._draft.finish_reason = finish_reason(choice) or self._draft.finish_reason

    def _tell(self, text: str) -> None:
        """Pass text on; half of a surrogate pair waits for the other half."""
        text = self._held + text
        cut = len(text) - 1 if "\ud800" <= text[-1] <= "\udbff" else len(text)
        self._held = text[cut:]
        if cut:
            self._on_delta(sane(joined([text[:cut]])))

    async def _without_stalls(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        limit: float | None = None
        while True:
            try:
                async with asyncio.timeout(limit):
                    chunk = await anext(chunks, None)
            except TimeoutError:
                raise ModelUnavailable(f"{self._label}: the stream stalled for {limit:g} s") from None
            if chunk is None:
                return
            limit = self._stall_seconds
            yield chunk


async def _data_lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield what follows `data:`, line by line: no server of this protocol spreads an event over several lines."""
    pending: list[bytes] = []
    async for chunk in chunks:
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            pending.append(line)
            data = _data_of(b"".join(pending))
            pending.clear()
            if data:
                yield data
        pending.append(rest)
    data = _data_of(b"".join(pending))
    if data:
        yield data


def _data_of(line: bytes) -> bytes:
    return line[5:].strip() if line.startswith(b"data:") else b""
