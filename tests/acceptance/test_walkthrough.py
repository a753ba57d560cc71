"""The words that users copy: the curl calls of the README and of the first brief, and the README's Python."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.definition.schemas import value_issues
from tests.fakes.model_server import FakeModelServer
from tests.support.commands import ROOT
from tests.support.local_stack import bare_environment
from tests.support.polling import wait_for
from tests.support.rest import Rest, states
from tests.support.service_processes import Services

README = ROOT / "README.md"
BRIEF = Path(__file__).parent / "brief.md"
USUAL_API = "http://localhost:8000"

pytestmark = pytest.mark.skipif(shutil.which("curl") is None or shutil.which("bash") is None, reason="needs curl")


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of one language, as they stand."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


def calls_of(path: Path) -> list[str]:
    """Every curl call of a document's bash blocks."""
    text = "\n".join(blocks(path, "bash"))
    return re.findall(r"^curl (?:.*\\\n)*(?:.*'\{\n(?:.*\n)*?  \}'|.*)$", text, re.MULTILINE)


def run(call: str, services: Services) -> tuple[int, Any]:
    """Run one call in bash, with nothing changed but the address; gives the status and the answer."""
    assert USUAL_API in call
    script = call.replace(USUAL_API, services.api_url).replace("curl ", "curl -sS -w '\\n%{http_code}' ", 1)
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body)


@pytest.fixture
def empty_shelf(rest: Rest) -> None:
    """Nobody has stored `lead-processing` yet, or it was deleted: then it can be created."""
    rest.http.delete("/workflows/lead-processing")


def assert_lead_ran(answer: Any, rest: Rest, model: FakeModelServer) -> None:
    assert answer["status"] == "completed"
    assert states(answer) == {"qualify_lead": "completed", "enrich_lead": "completed"}
    schema = rest.expect(200, "GET", "/agents/research")["record"]["tasks"]["enrich_lead"]["output_schema"]
    assert value_issues(schema, answer["output"]["enrich_lead"]) == []
    assert [call.task for call in model.calls()] == ["qualify_lead", "enrich_lead"]
    qualify, enrich = model.calls()
    assert "Acme Corp" in qualify.prompt
    assert "high" in qualify.prompt
    assert "50000" in qualify.prompt
    assert "Acme Corp" in enrich.prompt


@pytest.mark.usefixtures("empty_shelf")
def test_the_readmes_curl_calls_do_what_it_says(services: Services, rest: Rest, model: FakeModelServer) -> None:
    create, execute, look = calls_of(README)
    assert "POST" in create
    status, created = run(create, services)
    assert status == 201
    assert created["workflow_id"] == "lead-processing"
    status, answer = run(execute, services)
    assert status == 200
    assert_lead_ran(answer, rest, model)

    def listed() -> bool:
        status, page = run(look, services)
        assert status == 200
        newest = page["items"][0]
        assert newest["links"]["temporal_ui"].startswith(services.temporal_ui)
        found: bool = newest["execution_id"] == answer["execution_id"] and newest["status"] == "completed"
        return found

    wait_for(listed)


@pytest.mark.usefixtures("empty_shelf")
def test_the_briefs_two_curl_calls_work_verbatim(services: Services, rest: Rest, model: FakeModelServer) -> None:
    create, execute = calls_of(BRIEF)
    status, created = run(create, services)
    assert status == 201
    status, answer = run(execute.replace("{workflow_id}", created["workflow_id"]), services)
    assert status == 200
    assert_lead_ran(answer, rest, model)
    # The way out of a second create is in the answer.
    status, problem = run(create, services)
    assert status == 409
    assert "PUT /api/v1/workflows/lead-processing" in json.dumps(problem)


def test_the_readmes_python_finds_the_local_stack_and_runs(model: FakeModelServer, stack_folder: Path) -> None:
    (source,) = blocks(README, "python")
    program = stack_folder / "readme.py"
    # The README's block awaits at the top level, as `python -m asyncio` and notebooks do.
    program.write_text(
        "import ast, asyncio\n"
        f"code = compile({source!r}, 'README.md', 'exec', ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)\n"
        "asyncio.run(eval(code))\n"
    )
    environment = bare_environment(stack_folder / "home", PYTHONPATH=str(ROOT))
    command = [sys.executable, "-W", "error", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("completed {'qualify_lead': {")
    assert len(model.calls("qualify_lead")) == 1


def test_the_readme_is_short_and_says_the_two_commands_first() -> None:
    lines = README.read_text().splitlines()
    assert len(lines) < 150
    assert blocks(README, "")[0].startswith("make demo")
    commands = [line.split()[:2] for line in blocks(README, "")[0].splitlines()]
    assert commands == [["make", "demo"], ["make", "test"]]


def test_every_file_that_the_readme_names_is_there() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", README.read_text())
    assert targets
    assert [target for target in targets if not os.path.lexists(ROOT / target)] == []
