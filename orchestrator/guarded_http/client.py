"""The guarded HTTP client: one bounded exchange with a host that a definition, an agent or a request names."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import httpx2

from orchestrator.execution.errors_steps import AttemptTimeout, HttpBadResponse, HttpConnection, InvalidHttpRequest
from orchestrator.guarded_http.body import ACCEPT_ENCODING, Limits, check_headers, read_body, read_excerpt
from orchestrator.guarded_http.network import Resolver, blocked, system_resolver
from orchestrator.guarded_http.redirects import REDIRECT_CODES, next_request
from orchestrator.guarded_http.rules import AllowList, Refusal, parse_url
from orchestrator.guarded_http.transport import GuardedTransport
from orchestrator.settings import Settings

_CONNECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, after redirects."""

    status: int
    headers: httpx2.Headers
    content: bytes
    """The decoded body; of a status that was not wanted only its first bytes."""
    host: str
    """The host that answered; all that messages may say of the URL."""
    wanted: bool


class GuardedHttp:
    """Sends requests to hosts that the service must not trust.

    Nothing is kept between calls but idle connections: no cookies, no credentials. The environment's proxies are not
    used.
    """

    def __init__(
        self,
        allow: AllowList | None = None,
        *,
        max_response_bytes: int = 10 * 1024 * 1024,
        resolve: Resolver = system_resolver,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.allow = allow or AllowList()
        self._limits = Limits(body=max_response_bytes)
        self._transport = GuardedTransport(self.allow, resolve=resolve, ssl_context=ssl_context)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Build the client of a process."""
        return cls(AllowList.parse(settings.http_allow_hosts), max_response_bytes=settings.http_max_response_bytes)

    async def send(
        self,
        method: str,
        url: str | httpx2.URL,
        *,
        headers: list[tuple[bytes, bytes]] | None = None,
        content: bytes = b"",
        timeout_seconds: float | None = 60.0,
        wants: Callable[[int], bool] = lambda status: 200 <= status < 300,
        excerpt_bytes: int = 2048,
    ) -> Answer:
        """Send one request and follow its redirects, all within one deadline.

        Args:
            method: an upper-case token.
            url: an absolute URL.
            headers: raw fields; Host, the length and Accept-Encoding are filled in.
            content: the body.
            timeout_seconds: for everything together: look-ups, connections, redirects, the body. None where the
                caller keeps the deadline.
            wants: which statuses are wanted; a wanted redirect is not followed.
            excerpt_bytes: how much of an unwanted answer's body to keep.

        Raises:
            HttpBlocked: the guard refuses the URL or a redirect's.
            HttpConnection: no connection, or it broke.
            HttpBadResponse: too large, undecodable, too many redirects, or not HTTP.
            InvalidHttpRequest: the method or a header cannot be sent.
            AttemptTimeout: the deadline passed.
        """
        parsed = url if isinstance(url, httpx2.URL) else parse_url(url)
        if isinstance(parsed, Refusal):
            raise blocked(parsed)
        fields = [(b"Accept-Encoding", ACCEPT_ENCODING.encode()), *(headers or [])]
        if any(name.lower() == b"accept-encoding" for name, _ in fields[1:]):
            del fields[0]
        try:
            async with asyncio.timeout(timeout_seconds):
                request = httpx2.Request(method, parsed, headers=fields, content=content or None)
                return await self._exchange(request, content, wants, excerpt_bytes)
        except TimeoutError as error:
            raise AttemptTimeout(
                f"{parsed.host!r} did not answer within {timeout_seconds:g} s.", details={"kind": "start_to_close"}
            ) from error

    async def aclose(self) -> None:
        """Close idle connections."""
        await self._transport.aclose()

    async def _exchange(
        self, request: httpx2.Request, content: bytes, wants: Callable[[int], bool], excerpt_bytes: int
    ) -> Answer:
        for _ in range(self._limits.redirects + 1):
            host = request.url.host
            answer = await self._one(request, wants, excerpt_bytes)
            if isinstance(answer, Answer):
                return answer
            following = next_request(request, answer, content)
            if isinstance(following, Refusal):
                raise blocked(Refusal(following.host, f"{following.reason} (a redirect from {host!r})", False))
            content = content if following.headers.get("content-length") else b""
            request = following
        raise HttpBadResponse(f"{request.url.host!r} redirected more than {self._limits.redirects} times.")

    async def _one(
        self, request: httpx2.Request, wants: Callable[[int], bool], excerpt_bytes: int
    ) -> Answer | httpx2.Response:
        """Send without following: the answer, or a redirect to follow."""
        host = request.url.host
        request.extensions["timeout"] = {"connect": _CONNECT_SECONDS, "read": None, "write": None, "pool": None}
        try:
            response = await self._transport.handle_async_request(request)
            try:
                check_headers(response, self._limits, host)
                wanted = wants(response.status_code)
                if not wanted and response.status_code in REDIRECT_CODES and response.headers.get("location"):
                    return response
                if wanted:
                    body = await read_body(response, self._limits, host)
                else:
                    body = await read_excerpt(response, self._limits, host, excerpt_bytes)
                return Answer(response.status_code, response.headers, body, host, wanted)
            finally:
                await response.aclose()
        except httpx2.TransportError as error:
            raise _failure(error, host) from error


def _failure(error: httpx2.TransportError, host: str) -> HttpConnection | HttpBadResponse | InvalidHttpRequest:
    """Classify a transport error; its own text is used only where it cannot quote the request."""
    if isinstance(error, httpx2.ConnectTimeout):
        return HttpConnection(f"No connection to {host!r} within {_CONNECT_SECONDS:g} s.")
    if isinstance(error, httpx2.ConnectError):
        return HttpConnection(f"No connection to {host!r}: {str(error) or 'it was refused'}.")
    if isinstance(error, httpx2.LocalProtocolError):
        return InvalidHttpRequest(f"The request to {host!r} cannot be sent: its method or a header is not valid HTTP.")
    text = str(error)
    if isinstance(error, httpx2.RemoteProtocolError) and "disconnected" not in text and "closed connection" not in text:
        return HttpBadResponse(f"{host!r} sent a response that is not valid HTTP.")
    return HttpConnection(f"The connection to {host!r} broke before the response was complete.")
