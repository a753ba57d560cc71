"""What both transports share: how a call becomes a request, and how its end becomes an answer."""

from __future__ import annotations

from typing import Any

import httpx2

from orchestrator.sdk.calls import NOTHING, Call
from orchestrator.sdk.errors import ServiceUnreachable
from orchestrator.sdk.flows import Answer

LARGEST_EVENT_BYTES = 64 * 1024 * 1024
SILENT_SECONDS = 45.0
"""A stream sends a comment every ten seconds: one that is silent for so long is broken."""

BROKEN = (httpx2.HTTPError, httpx2.InvalidURL)
"""What requests raise when they are not answered."""


class Connection:
    """The address, the key and the patience of a client."""

    def __init__(self, base_url: str, api_key: str | None, timeout_seconds: float) -> None:
        self.address = base_url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self.options: dict[str, Any] = {
            "base_url": f"{self.address}/api/v1",
            "headers": {"Authorization": f"Bearer {api_key}"} if api_key else {},
            "timeout": timeout_seconds,
        }

    def request(self, call: Call[Any]) -> dict[str, Any]:
        """The arguments of an HTTP client's `request` or `stream`."""
        patience = self._timeout_seconds
        request: dict[str, Any] = {
            "method": call.method,
            "url": call.path,
            "params": dict(call.query),
            "headers": dict(call.headers),
            "timeout": patience + call.wait_seconds,
        }
        if call.form == "events":
            request["timeout"] = httpx2.Timeout(patience, read=SILENT_SECONDS)
        if isinstance(call.body, bytes):
            request["content"] = call.body
            request["headers"]["Content-Type"] = "application/json"
        elif call.body is not NOTHING:
            request["json"] = call.body
        return request

    def answer(self, response: httpx2.Response) -> Answer:
        """What the service said."""
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, response.content, self.address)

    def failure(self, error: Exception) -> ServiceUnreachable:
        """Why there is no answer."""
        if isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout)):
            found = ServiceUnreachable(f"no orchestrator answers at {self.address}")
        elif isinstance(error, (httpx2.InvalidURL, httpx2.UnsupportedProtocol)):
            found = self.no_address()
        else:
            why = str(error) or type(error).__name__
            found = ServiceUnreachable(f"the orchestrator at {self.address} broke off: {why}", was_sent=True)
        found.__cause__ = error
        return found

    def no_address(self) -> ServiceUnreachable:
        """The complaint about an address that is none."""
        return ServiceUnreachable(
            f"{self.address!r} is not an address of the API; write it as http://host:port", was_sent=True
        )


def is_stream(response: httpx2.Response) -> bool:
    """Whether an answer is a stream of events."""
    return response.status_code == 200 and response.headers.get("content-type", "").startswith("text/event-stream")
