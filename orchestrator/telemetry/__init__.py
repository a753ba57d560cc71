"""Logs, metrics, traces and error tracking, configured once by each composition root."""

from __future__ import annotations

from orchestrator.settings import Settings
from orchestrator.telemetry.errors import report_errors
from orchestrator.telemetry.logs import send_logs
from orchestrator.telemetry.metrics import MetricsAddressTaken, serve_temporal_telemetry
from orchestrator.telemetry.tracing import send_traces, temporal_plugins

__all__ = ["MetricsAddressTaken", "configure_telemetry", "temporal_plugins"]


def configure_telemetry(settings: Settings, *, process: str) -> None:
    """Send logs to standard error, and metrics, traces and errors to where the settings say.

    Args:
        settings: levels, formats and addresses.
        process: `api` or `worker`, kept in every line, trace and report.

    Raises:
        MetricsAddressTaken: another process listens where the worker's metrics shall be served.
    """
    send_logs(settings, process)
    serve_temporal_telemetry(settings.worker_metrics_address if process == "worker" else None)
    send_traces(settings, process)
    report_errors(settings, process)
