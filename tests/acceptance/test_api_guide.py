"""The curl calls of docs/api.md do what the page says, one after the other."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

from tests.acceptance.test_walkthrough import USUAL_API, blocks
from tests.support.commands import ROOT
from tests.support.polling import wait_for
from tests.support.service_processes import Services

GUIDE = ROOT / "docs" / "api.md"

pytestmark = pytest.mark.skipif(shutil.which("curl") is None or shutil.which("bash") is None, reason="needs curl")


def run(call: str, services: Services, execution_id: str = "") -> tuple[int, str]:
    """Run one call in bash, with nothing changed but the address; gives the status and the answer."""
    script = call.replace(USUAL_API, services.api_url).replace("curl ", "curl -sS -w '\\n%{http_code}' ", 1)
    command = ["bash", "-euc", f"EXECUTION={execution_id}\n{script}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


def test_the_calls_of_the_guide_do_what_it_says(services: Services) -> None:
    services.http.delete("/workflows/price-check")
    validate, put, simulate, start, approve, watch, read, graph, find = blocks(GUIDE, "bash")

    def told(call: str, expected: int, execution_id: str = "") -> Any:
        status, body = run(call, services, execution_id)
        assert status == expected, body
        return json.loads(body)

    assert told(validate, 200)["valid"] is True
    assert run(put, services)[0] in (200, 201)
    simulated = told(simulate, 200)
    assert (simulated["status"], simulated["output"]["total"]) == ("completed", 119.0)
    execution_id = told(start, 202)["execution_id"]
    assert told(start, 200)["execution_id"] == execution_id
    wait_for(lambda: services.http.get(f"/executions/{execution_id}").json()["status"] == "awaiting", 20)
    assert told(approve, 200, execution_id)["execution_id"] == execution_id
    status, events = run(watch, services, execution_id)
    assert status == 200
    assert "event: end" in events
    document = told(read, 200, execution_id)
    assert (document["status"], document["output"]["total"]) == ("completed", 119.0)
    status, mermaid = run(graph, services, execution_id)
    assert status == 200
    assert mermaid.startswith("flowchart")
    wait_for(lambda: execution_id in {item["execution_id"] for item in told(find, 200)["items"]}, 10)
