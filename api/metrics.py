"""What the API counts of itself, in Prometheus's format."""

from __future__ import annotations

from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class ApiMetrics:
    """The metrics of one API app. Labels have few values: operations and statuses, no ids."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        build = Gauge("orchestrator_build_info", "The version that runs.", ["version"], registry=self._registry)
        build.labels(version("agent-orchestrator")).set(1)
        self._requests = Counter(
            "orchestrator_http_requests",
            "Requests that were answered.",
            ["operation", "method", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "orchestrator_http_request_duration_seconds",
            "Time to the end of the answer; of event streams, to their beginning.",
            ["operation"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.under_way = Gauge(
            "orchestrator_http_requests_in_progress", "Requests that are being answered.", registry=self._registry
        )
        self.streams = Gauge("orchestrator_event_streams_open", "Event streams that are read.", registry=self._registry)

    def answered(self, operation: str, method: str, status: int, seconds: float) -> None:
        """Count a request; one that met no operation has the operation ""."""
        self._requests.labels(operation, method, str(status)).inc()
        self._seconds.labels(operation).observe(seconds)

    def text(self) -> bytes:
        """Return all metrics as Prometheus reads them."""
        return generate_latest(self._registry)
