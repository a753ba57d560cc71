"""The blocking client of the REST API."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2

from orchestrator.sdk.connection import BROKEN, LARGEST_EVENT_BYTES, Connection, is_stream
from orchestrator.sdk.errors import ServiceUnreachable
from orchestrator.sdk.flows import Answer, Command, Flow, Give, Open, Retries, Send, Sleep, Stream
from orchestrator.sdk.operations import Operations

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - an item


class OrchestratorClient(Operations):
    """A blocking client of one orchestrator.

    Args:
        base_url: `http://host:port`, without a path.
        api_key: sent as a bearer token where given.
        timeout_seconds: of one request; a synchronous execution's wait comes on top.
        retries: when a call is sent again; only what may be repeated, or was refused before anything was done.
        transport: for tests.

    Every method raises `ApiProblem` for an error answer and `ServiceUnreachable` when there is no usable answer.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout_seconds: float = 30.0,
        retries: Retries | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self.retries = retries or Retries()
        self._connection = Connection(base_url, api_key, timeout_seconds)
        self.base_url = self._connection.address
        try:
            self._http = httpx2.Client(**self._connection.options, transport=transport)
        except httpx2.InvalidURL as error:
            raise self._connection.no_address() from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def perform(self, flow: Flow[T]) -> T:
        """Drive a flow to its result."""
        result: Any = None
        while True:
            try:
                command = flow.send(result)
            except StopIteration as end:
                value: T = end.value
                return value
            result = self._obey(command)

    def iterate(self, stream: Stream[I]) -> Iterator[I]:
        """Drive a stream; gives its items. Closing the iterator closes the connection."""
        with ExitStack() as opened:
            events: Iterator[httpx2.ServerSentEvent] = iter(())
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
                    opened.close()
                    result, events = self._open(command, opened)
                elif isinstance(command, (Send, Sleep)):
                    result = self._obey(command)
                else:
                    result = _next(events)

    def _obey(self, command: Command) -> Answer | ServiceUnreachable | None:
        if isinstance(command, Sleep):
            time.sleep(command.seconds)
            return None
        assert isinstance(command, Send)
        try:
            return self._connection.answer(self._http.request(**self._connection.request(command.call)))
        except BROKEN as error:
            return self._connection.failure(error)

    def _open(
        self, command: Open, opened: ExitStack
    ) -> tuple[Answer | ServiceUnreachable, Iterator[httpx2.ServerSentEvent]]:
        try:
            response = opened.enter_context(self._http.stream(**self._connection.request(command.call)))
            if not is_stream(response):
                response.read()
                return self._connection.answer(response), iter(())
        except BROKEN as error:
            return self._connection.failure(error), iter(())
        answer = Answer(response.status_code, {}, b"", self.base_url)
        return answer, iter(httpx2.EventSource(response, LARGEST_EVENT_BYTES))


def _next(events: Iterator[httpx2.ServerSentEvent]) -> httpx2.ServerSentEvent | None:
    try:
        return next(events, None)
    except BROKEN:
        return None
