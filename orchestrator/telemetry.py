"""Logging and error tracking, configured once by each composition root."""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import structlog
from structlog.typing import EventDict
from temporalio.runtime import LogForwardingConfig, LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter

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


def configure_telemetry(settings: Settings, *, process: str) -> None:
    """Send logs to standard error, as lines for people or as JSON, and errors to Sentry where it is configured.

    Args:
        settings: `log_level`, `log_format`, `sentry_dsn`, `environment`.
        process: `api` or `worker`, kept in every line.
    """

    def name_process(_logger: object, _method: str, event: EventDict) -> EventDict:
        # Not a context variable: those of this thread are unknown to the others, Temporal's native ones among them.
        event["process"] = process
        return event

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        name_process,
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
    for name, level in _QUIETER.items():
        logging.getLogger(name).setLevel(max(level, root.level))
    _forward_temporal_log()
    _configure_sentry(settings, process)


def _forward_temporal_log() -> None:
    """Send what Temporal's native core has to say where our lines go; by itself it prints coloured text."""
    forwarding = LogForwardingConfig(logging.getLogger("temporalio.core"), append_target_to_name=False)
    logged = LoggingConfig(TelemetryFilter(core_level="WARN", other_level="ERROR"), forwarding)
    # The first client of the process decides the runtime; later ones share it.
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=logged)), error_if_already_set=False)


def _configure_sentry(settings: Settings, process: str) -> None:
    if settings.sentry_dsn is None:
        return
    if find_spec("sentry_sdk") is None:
        structlog.get_logger(__name__).warning(
            "SENTRY_DSN is set, but sentry-sdk is not installed; errors stay in the log"
        )
        return
    sentry = import_module("sentry_sdk")

    def scrubbed(event: Any, _hint: object) -> Any:
        return scrub_known(None, "", event)

    sentry.init(
        dsn=settings.sentry_dsn.get_secret_value(),
        environment=settings.environment,
        before_send=scrubbed,
        before_breadcrumb=scrubbed,
    )
    sentry.set_tag("process", process)
