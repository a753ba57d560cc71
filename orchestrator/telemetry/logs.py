"""Logs: lines for people or JSON, on standard error."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog
from opentelemetry import trace
from structlog.typing import EventDict

from orchestrator.secrets import scrub_known
from orchestrator.settings import Settings

_QUIETER = {
    # Our activity wrapper tells of each failed attempt in one line; the SDK would add a traceback.
    "temporalio.activity": logging.ERROR,
    "httpx2": logging.WARNING,
    "httpcore2": logging.WARNING,
    "openai": logging.WARNING,
    "uvicorn.access": logging.WARNING,
}


def send_logs(settings: Settings, process: str) -> None:
    """Send logs to standard error, as lines for people or as JSON.

    Args:
        settings: `log_level`, `log_format`.
        process: `api` or `worker`, kept in every line.
    """

    def name_process(_logger: object, _method: str, event: EventDict) -> EventDict:
        # Not a context variable: those of this thread are unknown to the others, Temporal's native ones among them.
        event["process"] = process
        return event

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        name_process,
        _name_trace,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.log_level]),
        cache_logger_on_first_use=True,
    )
    # The usual one prints every local variable: megabytes for a request, of what nobody meant for a log.
    plain = structlog.dev.plain_traceback
    renderer: Any = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
    if settings.log_format == "json":
        renderer = structlog.processors.JSONRenderer()
        shared.append(structlog.processors.format_exc_info)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer, scrub_known],
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    logging.captureWarnings(True)
    for name, level in _QUIETER.items():
        logging.getLogger(name).setLevel(max(level, root.level))


def _name_trace(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Say which trace and span a line belongs to, where traces are sent."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event
