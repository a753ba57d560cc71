"""The awaiting client of the REST API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2

from orchestrator.sdk.connection import BROKEN, LARGEST_EVENT_BYTES, Connection, is_stream
from orchestrator.sdk.errors import ServiceUnreachable
from orchestrator.sdk.flows import Answer, Command, Flow, Give, Open, Retries, Send, Sleep, Stream
from orchestrator.sdk.operations import Operations

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - an item


class AsyncOrchestratorClient(Operations):
    """A client of one orchestrator whose methods are those of `OrchestratorClient`, awaited.

    Args:
        base_url: `http://host:port`, without a path.
        api_key: sent as a bearer token where given.
        timeout_seconds: of one request; a synchronous execution's wait comes on top.
        retries: when a call is sent again; only what may be repeated, or was refused before anything was done.
        transport: for tests.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout_seconds: float = 30.0,
        retries: Retries | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.retries = retries or Retries()
        self._connection = Connection(base_url, api_key, timeout_seconds)
        self.base_url = self._connection.address
        try:
            self._http = httpx2.AsyncClient(**self._connection.options, transport=transport)
        except httpx2.InvalidURL as error:
            raise self._connection.no_address() from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def perform(self, flow: Flow[T]) -> T:
        """Drive a flow to its result."""
        result: Any = None
        while True:
            try:
                command = flow.send(result)
            except StopIteration as end:
                value: T = end.value
                return value
            result = await self._obey(command)

    async def iterate(self, stream: Stream[I]) -> AsyncIterator[I]:
        """Drive a stream; gives its items. Closing the iterator closes the connection."""
        async with AsyncExitStack() as opened:
            events: AsyncIterator[httpx2.ServerSentEvent] | None = None
            result: Any = None
            while True:
                try:
                    command = stream.send(result)
                except StopIteration:
                    return
                result = None
                if isinstance(command, Give):
                    yield command.item
                elif isinstance(command, Open):
                    await opened.aclose()
                    result, events = await self._open(command, opened)
                elif isinstance(command, (Send, Sleep)):
                    result = await self._obey(command)
                else:
                    result = await _next(events)

    async def _obey(self, command: Command) -> Answer | ServiceUnreachable | None:
        if isinstance(command, Sleep):
            await asyncio.sleep(command.seconds)
            return None
        assert isinstance(command, Send)
        try:
            return self._connection.answer(await self._http.request(**self._connection.request(command.call)))
        except BROKEN as error:
            return self._connection.failure(error)

    async def _open(
        self, command: Open, opened: AsyncExitStack
    ) -> tuple[Answer | ServiceUnreachable, AsyncIterator[httpx2.ServerSentEvent] | None]:
        try:
            response = await opened.enter_async_context(self._http.stream(**self._connection.request(command.call)))
            if not is_stream(response):
                await response.aread()
                return self._connection.answer(response), None
        except BROKEN as error:
            return self._connection.failure(error), None
        answer = Answer(response.status_code, {}, b"", self.base_url)
        return answer, aiter(httpx2.EventSource(response, LARGEST_EVENT_BYTES))


async def _next(events: AsyncIterator[httpx2.ServerSentEvent] | None) -> httpx2.ServerSentEvent | None:
    if events is None:
        return None
    try:
        return await anext(events, None)
    except BROKEN:
        return None
