"""`python -m scripts.test_agent_workflow`: exit codes, readable lines, the log, and the stack that it may start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.fakes.model_behaviours import status
from tests.fakes.model_server import FakeModelServer
from tests.support.commands import ROOT
from tests.support.local_stack import bare_environment
from tests.support.ports import free_port
from tests.support.service_processes import Services

LOG = "agent_workflow_test.log"


def detailed_check(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the check in a working folder."""
    environment = bare_environment(folder / "home", PYTHONPATH=str(ROOT), **variables)
    command = [sys.executable, "-m", "scripts.test_agent_workflow"]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False
    )


def executions_in(folder: Path) -> list[str]:
    return [line for line in (folder / LOG).read_text().splitlines() if " EXECUTION " in line]


def test_the_check_of_a_running_stack_holds_and_logs_every_execution(
    stack_folder: Path, services: Services, model: FakeModelServer
) -> None:
    done = detailed_check(stack_folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert services.api_url in done.stdout
    assert "✗" not in done.stdout
    assert done.stderr == ""
    assert len(executions_in(stack_folder)) == 5
    assert [call.task for call in model.calls()] == ["qualify_lead", "enrich_lead"]
    assert os.path.lexists(stack_folder / "home" / "endpoints.json")


def test_a_check_that_does_not_hold_is_named_and_ends_with_one(stack_folder: Path, model: FakeModelServer) -> None:
    model.always(status(400, "no such model"), task="enrich_lead")
    done = detailed_check(stack_folder)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    failed = [line for line in done.stdout.splitlines() if "✗" in line]
    assert "completed (found: type='model-rejected'" in failed[0]
    # The other groups are checked all the same.
    assert "✓ Temporal closed it as Canceled" in done.stdout
    assert any("ended as failed" in line for line in executions_in(stack_folder))


def test_without_a_stack_the_check_starts_one_and_leaves_nothing(tmp_path: Path, model: FakeModelServer) -> None:
    done = detailed_check(tmp_path, OPENAI_BASE_URL=model.url, OPENAI_API_KEY="sk-any", API_PORT=str(free_port()))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Starting a stack of its own" in done.stdout
    assert f"Using the model server at {model.url} (OPENAI_BASE_URL)" in done.stdout
    assert not (tmp_path / "home" / "endpoints.json").exists()
