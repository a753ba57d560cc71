"""An OpenTelemetry collector for tests: takes spans by OTLP over HTTP and keeps them."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.local_server import served


@dataclass(frozen=True)
class CollectedSpan:
    """One span as it was sent; ids are hexadecimal, `parent` is "" for a root."""

    service: str
    trace: str
    span: str
    parent: str
    name: str
    attributes: dict[str, Any] = field(hash=False)


class TraceCollector:
    """The collector.

    Attributes:
        url: what `OTEL_EXPORTER_OTLP_ENDPOINT` is to be.
        spans: all so far.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[CollectedSpan] = []

    def of(self, trace: str) -> list[CollectedSpan]:
        """Return the spans of one trace."""
        return [span for span in self.spans if span.trace == trace]

    def take(self, body: bytes) -> None:
        """Keep the spans of one request."""
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        for resource in request.resource_spans:
            service = _attributes(resource.resource.attributes).get("service.name", "")
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                ids = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
                self.spans.append(CollectedSpan(service, *ids, span.name, _attributes(span.attributes)))


def _attributes(found: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value") for one in found}


@contextmanager
def trace_collector() -> Iterator[TraceCollector]:
    """Serve while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if self.path == "/v1/traces":
                collector.take(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as url:
        collector = TraceCollector(url)
        yield collector
