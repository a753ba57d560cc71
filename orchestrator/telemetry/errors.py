"""Errors go to Sentry where it is configured."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import structlog

from orchestrator.secrets import scrub_known
from orchestrator.settings import Settings

_OWN_FIELDS = frozenset({"event", "exc_info", "level", "logger", "process", "timestamp"})
"""Fields of a line that Sentry's events have a place of their own for."""


def report_errors(settings: Settings, process: str) -> None:
    """Report errors of this process to `settings.sentry_dsn`, secrets struck out."""
    if settings.sentry_dsn is None:
        return
    if find_spec("sentry_sdk") is None:
        structlog.get_logger(__name__).warning(
            "SENTRY_DSN is set, but sentry-sdk is not installed; errors stay in the log"
        )
        return
    sentry = import_module("sentry_sdk")

    def prepared(event: Any, hint: Any) -> Any:
        return scrub_known(None, "", _from_line(event, hint))

    def scrubbed(crumb: Any, _hint: object) -> Any:
        return scrub_known(None, "", crumb)

    sentry.init(
        dsn=settings.sentry_dsn.get_secret_value(),
        environment=settings.environment,
        before_send=prepared,
        before_breadcrumb=scrubbed,
    )
    sentry.set_tag("process", process)


def _from_line(event: Any, hint: Any) -> Any:
    """Return an event with the line's words as its message, its fields beside, and the exception that it tells of.

    Sentry sees the line before it is rendered: as one text with time and ids in it no two errors would be alike.
    """
    line = getattr(hint.get("log_record"), "msg", None)
    if not isinstance(line, dict):
        return event
    event["logentry"] = {"message": str(line.get("event", ""))}
    event["extra"] = {**event.get("extra", {}), **{key: line[key] for key in line.keys() - _OWN_FIELDS}}
    raised = line.get("exc_info")
    found = sys.exc_info()[1] if raised is True else raised[1] if isinstance(raised, tuple) else raised
    if isinstance(found, BaseException) and "exception" not in event:
        told, _ = import_module("sentry_sdk.utils").event_from_exception(found)
        event["exception"] = told["exception"]
    return event
