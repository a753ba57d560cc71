"""What a log in text shows of an error."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import structlog
from orchestrator.settings import Settings
from orchestrator.telemetry import configure_telemetry

def fails():
    letter = "dear " + "reader"
    raise ValueError("boom")

configure_telemetry(Settings(_env_file=None, log_format="console"), process="api")
try:
    fails()
except ValueError:
    structlog.get_logger("x").exception("it failed")
"""


def test_a_traceback_shows_lines_and_no_values_of_variables() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    told = run.stderr + run.stdout
    assert "it failed" in told
    assert "ValueError: boom" in told
    assert "in fails" in told
    assert "dear reader" not in told
