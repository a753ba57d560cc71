"""Errors go to Sentry where it is configured."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import structlog

from orchestrator.secrets import scrub_known
from orchestrator.settings import Settings


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

    def scrubbed(event: Any, _hint: object) -> Any:
        return scrub_known(None, "", event)

    sentry.init(
        dsn=settings.sentry_dsn.get_secret_value(),
        environment=settings.environment,
        before_send=scrubbed,
        before_breadcrumb=scrubbed,
    )
    sentry.set_tag("process", process)
