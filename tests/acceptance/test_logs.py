"""What the processes log: one JSON object a line where that is asked for, and a failed attempt in one of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.fakes.model_behaviours import status
from tests.fakes.model_server import FakeModelServer
from tests.support.rest import Rest, agent_step, lead_workflow
from tests.support.service_processes import Services


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Every line as an object; a traceback over several lines would fail this."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_failed_attempt_is_one_line_that_says_where_and_why(
    services: Services, rest: Rest, model: FakeModelServer
) -> None:
    model.always(status(400, "no such model"))
    step = agent_step("qualify_lead", "sales", model="openai/test-logs")
    execution_id = rest.start({"name": lead_workflow()["name"], "steps": [step]})
    assert rest.end_of(execution_id)["status"] == "failed"
    log = (services.folder / "worker.log").read_text()
    (line,) = [json.loads(line) for line in log.splitlines() if execution_id in line]
    assert {key: line[key] for key in ("event", "level", "process", "path", "attempt", "error_type")} == {
        "event": "attempt failed",
        "level": "warning",
        "process": "worker",
        "path": "qualify_lead",
        "attempt": 1,
        "error_type": "model-rejected",
    }
    assert "no such model" in line["error"]
    assert line["timestamp"].endswith("Z")


def test_both_services_log_json_lines_only_and_never_a_key(services: Services) -> None:
    for name in ("worker", "api"):
        path = services.folder / f"{name}.log"
        lines = lines_of(path)
        assert lines
        assert {line.get("process") for line in lines} == {name}
        assert services.environment["OPENAI_API_KEY"] not in path.read_text()


def test_a_warning_of_a_library_is_a_line_like_the_others() -> None:
    code = """
import warnings
from orchestrator.settings import Settings
from orchestrator.telemetry.logs import send_logs
send_logs(Settings(_env_file=None, log_format="json"), "worker")
warnings.warn("something\\nodd")
"""
    found = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True)
    (line,) = (json.loads(line) for line in found.stderr.splitlines())
    assert (line["logger"], line["level"], line["process"]) == ("py.warnings", "warning", "worker")
    assert "something\nodd" in line["event"]
