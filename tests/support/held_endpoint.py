"""An HTTP server of a third party's: it notes each request's idempotency key and answers when the test lets it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler

from tests.support.local_server import served


class HeldEndpoint:
    """The server.

    Attributes:
        url: where it listens.
        keys: the `Idempotency-Key` of every request so far, in order; "" where there was none.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys: list[str] = []
        self._open = threading.Event()

    def open(self) -> None:
        """Answer everything, now and later."""
        self._open.set()

    def hold(self) -> None:
        """Wait until it is open."""
        self._open.wait(60)


@contextmanager
def held_endpoint() -> Iterator[HeldEndpoint]:
    """Serve while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            endpoint.keys.append(self.headers.get("Idempotency-Key") or "")
            endpoint.hold()
            # Whoever asked may have been killed meanwhile.
            with suppress(OSError):
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as url:
        endpoint = HeldEndpoint(f"{url}/posts")
        try:
            yield endpoint
        finally:
            endpoint.open()
