"""The guard as a transport: usable under any `httpx2.AsyncClient`."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterator

import httpcore2
import httpx2

from orchestrator.guarded_http.lanes import LanedTransport
from orchestrator.guarded_http.network import CheckedBackend, Resolver, blocked, system_resolver
from orchestrator.guarded_http.rules import AllowList, static_refusal


@contextlib.contextmanager
def _as_httpx2_errors() -> Iterator[None]:
    """Give httpcore2's errors the names that users of httpx2 expect; the two trees use the same names."""
    try:
        yield
    except (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError) as error:
        kind = getattr(httpx2, type(error).__name__, httpx2.TransportError)
        raise kind(str(error)) from error


class _Body(httpx2.AsyncByteStream):
    def __init__(self, stream: AsyncIterable[bytes]) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx2_errors():
            async for part in self._stream:
                yield part

    async def aclose(self) -> None:
        if (close := getattr(self._stream, "aclose", None)) is not None:
            await close()


class _CheckedPool(httpx2.AsyncBaseTransport):
    """Connections to checked addresses; one is used again for its own origin only, and was checked when it was made."""

    def __init__(self, backend: CheckedBackend, ssl_context: ssl.SSLContext) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl_context,
            max_connections=None,
            max_keepalive_connections=100,
            keepalive_expiry=5.0,
            network_backend=backend,
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        assert isinstance(request.stream, AsyncIterable)
        with _as_httpx2_errors():
            answer = await self._pool.handle_async_request(
                httpcore2.Request(
                    method=request.method,
                    url=httpcore2.URL(
                        scheme=request.url.raw_scheme,
                        host=request.url.raw_host,
                        port=request.url.port,
                        target=request.url.raw_path,
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        assert isinstance(answer.stream, AsyncIterable)
        return httpx2.Response(answer.status, headers=answer.headers, stream=_Body(answer.stream), request=request)

    async def aclose(self) -> None:
        await self._pool.aclose()


class GuardedTransport(LanedTransport):
    """HTTP/1.1 over checked addresses; knows no proxy and reads none from the environment."""

    def __init__(
        self,
        allow: AllowList,
        *,
        resolve: Resolver = system_resolver,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        context = ssl_context or httpx2.create_ssl_context()
        super().__init__(lambda: _CheckedPool(CheckedBackend(allow, resolve), context))
        self._allow = allow

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request and give its response with an unread body.

        Raises:
            HttpBlocked: the URL or one of its addresses is refused.
            httpx2.TransportError: no connection, a broken one, or a server that does not speak HTTP.
        """
        if (refused := static_refusal(request.url, self._allow)) is not None:
            raise blocked(refused)
        return await super().handle_async_request(request)
