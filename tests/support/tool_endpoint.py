"""A third party's HTTP server that agents' tools call: it notes every call and holds back those that it is told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support.local_server import served

HELD_SECONDS = 120


@dataclass(frozen=True)
class ToolRequest:
    """One call as the far end saw it: its `Idempotency-Key`, its JSON body, and when it came."""

    key: str
    body: dict[str, Any]
    at: float = field(default_factory=time.time, compare=False)


class ToolEndpoint:
    """The server.

    Attributes:
        url: where it listens; every call is a POST and is answered with its own body.
        call_seconds: how long a call takes.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.call_seconds = 0.0
        self._lock = threading.Lock()
        self._requests: list[ToolRequest] = []
        self._held: list[dict[str, Any]] = []
        self._open = threading.Event()

    def hold(self, **fields: Any) -> None:
        """Hold back calls whose body has these fields, until `open`."""
        self._held.append(fields)

    def open(self) -> None:
        """Let everything pass, now and later."""
        self._open.set()

    def forget(self) -> None:
        """Drop the calls so far."""
        with self._lock:
            self._requests.clear()

    def requests(self, **fields: Any) -> list[ToolRequest]:
        """Return the calls so far whose body has these fields, in order."""
        with self._lock:
            return [request for request in self._requests if fields.items() <= request.body.items()]

    def take(self, request: ToolRequest) -> None:
        """Note a call, and hold it if it is to be held."""
        with self._lock:
            self._requests.append(request)
        if any(fields.items() <= request.body.items() for fields in self._held):
            self._open.wait(HELD_SECONDS)
        time.sleep(self.call_seconds)


@contextmanager
def tool_endpoint() -> Iterator[ToolEndpoint]:
    """Serve while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            endpoint.take(ToolRequest(self.headers.get("Idempotency-Key") or "", json.loads(data)))
            # Whoever asked may have been killed meanwhile.
            with suppress(OSError):
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as url:
        endpoint = ToolEndpoint(f"{url}/calls")
        try:
            yield endpoint
        finally:
            endpoint.open()
