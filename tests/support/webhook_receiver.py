"""An HTTP server that receives webhooks and answers as the test says."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support.local_server import served


@dataclass(frozen=True)
class Received:
    """One request: headers with names in lower case, and the body as it came."""

    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> Any:
        return json.loads(self.body)


class WebhookReceiver:
    """The server.

    Attributes:
        url: where it listens.
        received: every request so far.
        answers: statuses of the next answers; then 204.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.received: list[Received] = []
        self.answers: deque[int] = deque()


@contextmanager
def webhook_receiver() -> Iterator[WebhookReceiver]:
    """Serve while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            receiver.received.append(Received({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(receiver.answers.popleft() if receiver.answers else 204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as url:
        receiver = WebhookReceiver(f"{url}/hook")
        yield receiver
