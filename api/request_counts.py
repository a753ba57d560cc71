"""Counts requests, their answers and how long they took: a middleware."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import ApiMetrics

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


@dataclass
class _Answer:
    """One answer as far as it is known; a request that fails before it has one counts as 500."""

    began: float = field(default_factory=time.monotonic)
    status: int = 500
    streams: bool = False
    took: float | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began if self.took is None else self.took


class RequestCounts:
    """Count every request by its operation. It has to be the innermost middleware: routing marks the scope it gets."""

    def __init__(self, app: ASGIApp, metrics: ApiMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; count its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer()

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                if _is_stream(message):
                    answer.streams, answer.took = True, answer.seconds
                    self._metrics.streams.inc()
            await send(message)

        self._metrics.under_way.inc()
        try:
            await self._app(scope, receive, send_counted)
        finally:
            self._metrics.under_way.dec()
            if answer.streams:
                self._metrics.streams.dec()
            self._count(scope, answer)

    def _count(self, scope: Scope, answer: _Answer) -> None:
        operation = str(getattr(scope.get("route"), "operation_id", None) or "")
        # Labels have few values, whatever somebody sends.
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._metrics.answered(operation, method, answer.status, answer.seconds)


def _is_stream(message: Message) -> bool:
    headers = {name.lower(): value for name, value in message["headers"]}
    return bool(headers.get(b"content-type", b"").startswith(b"text/event-stream"))
