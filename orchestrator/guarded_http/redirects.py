"""What becomes of a request when the response redirects it (RFC 9110, section 15.4)."""

from __future__ import annotations

from typing import Final

import httpx2

from orchestrator.guarded_http.rules import DEFAULT_PORTS, Refusal, parse_url

REDIRECT_CODES: Final = frozenset({301, 302, 303, 307, 308})

# Any other header may carry a credential (X-Api-Key, X-Auth-Token, …), so another origin does not get it.
_KEPT_ACROSS_ORIGINS: Final = frozenset(
    {"accept", "accept-encoding", "accept-language", "content-type", "idempotency-key", "range", "user-agent"}
)
_ABOUT_THE_BODY: Final = frozenset({"content-type", "content-encoding", "content-language", "content-location"})
_SET_BY_THE_CLIENT: Final = frozenset({"host", "content-length", "transfer-encoding"})


def origin(url: httpx2.URL) -> tuple[str, bytes, int | None]:
    """Scheme, host and port (RFC 6454)."""
    return url.scheme, url.raw_host.lower(), url.port or DEFAULT_PORTS.get(url.scheme)


def next_request(request: httpx2.Request, response: httpx2.Response, body: bytes) -> httpx2.Request | Refusal:
    """Build the request that a redirect asks for, or say why there is none.

    Args:
        request: the request that was redirected.
        response: a redirect with a Location header.
        body: the bytes that `request` carried.
    """
    target = parse_url(response.headers["location"])
    if isinstance(target, Refusal):
        return target
    try:
        url = request.url.join(target)
    except (httpx2.InvalidURL, ValueError):
        return Refusal("the URL", "it is not a valid URL", exemptable=False)
    method = _method(request.method, response.status_code)
    dropped = set(_SET_BY_THE_CLIENT)
    if method != request.method:
        body = b""
        dropped |= _ABOUT_THE_BODY
    same = origin(url) == origin(request.url)
    headers = [
        (name, value)
        for name, value in request.headers.raw
        if (lower := name.decode("ascii").lower()) not in dropped and (same or lower in _KEPT_ACROSS_ORIGINS)
    ]
    return httpx2.Request(method, url, headers=headers, content=body or None)


def _method(method: str, status: int) -> str:
    if status == 303 and method != "HEAD":
        return "GET"
    if status in (301, 302) and method == "POST":
        return "GET"
    return method
