"""The connection to a model server: responses are bounded while they arrive."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2

from orchestrator.agents.provider_errors import ResponseTooLarge
from orchestrator.guarded_http.lanes import LanedTransport

KEPT_ALIVE = 100
"""Idle connections of one lane; a lane opens no more than it is given requests."""


class CappedTransport(LanedTransport):
    """Ends a response that grows over the limit, instead of holding it in memory."""

    def __init__(self, most_bytes: int) -> None:
        context = httpx2.create_ssl_context(trust_env=False)
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=KEPT_ALIVE)
        super().__init__(lambda: httpx2.AsyncHTTPTransport(verify=context, trust_env=False, limits=limits))
        self._most_bytes = most_bytes

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request; the response's stream is counted."""
        response = await super().handle_async_request(request)
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _CappedStream(response.stream, self._most_bytes)
        return response


class _CappedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, most_bytes: int) -> None:
        self._stream = stream
        self._left = most_bytes
        self._most_bytes = most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            self._left -= len(chunk)
            if self._left < 0:
                raise ResponseTooLarge(f"the response has over {self._most_bytes:,} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
