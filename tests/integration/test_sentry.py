"""Errors reach Sentry as it groups them: by their words and their exception, and without secrets."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from typing import Any

from tests.support.commands import ROOT
from tests.support.webhook_receiver import Received, webhook_receiver

SCRIPT = """
import sentry_sdk
import structlog
from orchestrator.settings import Settings
from orchestrator.telemetry import configure_telemetry

configure_telemetry(Settings(_env_file=None), process="worker")
log = structlog.get_logger("orchestrator.test")
log.warning("only a warning")
for execution_id in ("ex-1", "ex-2"):
    try:
        raise ZeroDivisionError("it broke")
    except ZeroDivisionError:
        log.exception("the agent raised", execution_id=execution_id)
sentry_sdk.flush(10)
"""


def events_of(bodies: list[bytes]) -> list[dict[str, Any]]:
    """The events in Sentry's envelopes, which are lines of JSON."""
    lines = [json.loads(line) for body in bodies for line in body.splitlines() if line.startswith(b"{")]
    return [line for line in lines if "logentry" in line]


def _unpacked(request: Received) -> bytes:
    return gzip.decompress(request.body) if request.headers.get("content-encoding") == "gzip" else request.body


def test_an_error_is_reported_with_its_words_its_fields_and_its_exception() -> None:
    with webhook_receiver() as receiver:
        address = receiver.url.removeprefix("http://").removesuffix("/hook")
        settings = {"SENTRY_DSN": f"http://key@{address}/1", "ENVIRONMENT": "staging", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env={**os.environ, **settings}, capture_output=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        found = events_of([_unpacked(one) for one in receiver.received])
    assert [event["logentry"]["message"] for event in found] == ["the agent raised"] * 2
    assert [event["extra"]["execution_id"] for event in found] == ["ex-1", "ex-2"]
    for event in found:
        assert event["level"] == "error"
        assert event["environment"] == "staging"
        assert event["tags"]["process"] == "worker"
        (raised,) = event["exception"]["values"]
        assert (raised["type"], raised["value"]) == ("ZeroDivisionError", "it broke")
