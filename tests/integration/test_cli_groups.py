"""The command's groups: every operation that people need, as tables and as JSON, with exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from orchestrator.cli import GROUPS
from orchestrator.settings import Settings
from scripts.generate_contract import contract
from tests.integration.test_cli import Cli
from tests.integration.test_cli import run as in_process
from tests.support.answers import answering
from tests.support.api_server import running_api
from tests.support.commands import ROOT, orchestrator
from tests.support.examples import EXAMPLES
from tests.support.ports import free_port

__all__ = ["in_process"]

LEAD = EXAMPLES / "lead_processing.json"
ARGUMENTS: dict[str, tuple[str | Path, ...]] = {
    "executions list": (),
    "executions step": ("ex-1", "one"),
    "executions rerun": ("ex-1", "one"),
    "executions approve": ("ex-1", "one"),
    "executions signal": ("ex-1", "paid"),
    "executions retry-step": ("ex-1", "one"),
    "executions skip-step": ("ex-1", "one"),
    "executions set-output": ("ex-1", "one", LEAD),
    "workflows list": (),
    "workflows create": (LEAD,),
    "workflows update": ("lead_processing", LEAD),
    "workflows validate": (LEAD,),
    "workflows diff": ("lead_processing", "1", "2"),
    "workflows restore": ("lead_processing", "1"),
    "schedules list": (),
    "schedules create": (LEAD,),
    "schedules update": ("nightly", LEAD),
    "bulk start": ("retry", "--all"),
    "hooks send": ("some-id", LEAD, "--secret-env", "HOOK"),
    "agents list": (),
    "agents create": (LEAD,),
    "agents update": ("sales", LEAD),
    "agents invoke": ("sales", "qualify"),
    "tools list": (),
    "tools create": (LEAD,),
    "tools update": ("rate", LEAD),
    "collections list": (),
    "collections create": ("notes", "3"),
    "breakers list": (),
    "audit list": (),
}
COMMANDS = [
    f"{name} {command.name or getattr(command.callback, '__name__', '')}"
    for name, group in GROUPS.items()
    for command in group.app.registered_commands
]
PATIENT = {"executions events", "executions wait", "bulk watch"}
"""What follows something for long waits a service out that restarts."""
OTHERWISE = {
    "get_liveness": "for what starts the service",
    "get_readiness": "`up` waits for it",
    "get_metrics": "for Prometheus",
    "get_workflow_schema": "`schema` prints it without a server",
    "decode_payloads": "for the Web UI",
    "download_payloads": "for the Web UI",
    "open_codec_session": "for the Web UI",
    "simulate_definition": "`test` does it without a server",
    "evaluate_expression": "for editors",
}
"""The operations that have no command, and why."""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def command(
        *arguments: str | Path, address: str | None = None, columns: int = 300
    ) -> subprocess.CompletedProcess[str]:
        variables = {"ORCHESTRATOR_HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "COLUMNS": str(columns)}
        variables |= {"ORCHESTRATOR_API": address} if address else {}
        done = orchestrator(*arguments, env={**os.environ, **variables})
        assert "Traceback" not in done.stderr
        return done

    return command


def given(command: str) -> tuple[str | Path, ...]:
    return (*command.split(), *ARGUMENTS.get(command, ("some-id",)))


async def all_of(calls: list[Callable[[], Any]]) -> list[Any]:
    """Run them, two at a time."""
    limit = asyncio.Semaphore(2)

    async def one(call: Callable[[], Any]) -> Any:
        async with limit:
            return await asyncio.to_thread(call)

    return await asyncio.gather(*map(one, calls))


def test_no_service_is_3_and_names_the_way_out(in_process: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ=")
    address = f"http://127.0.0.1:{free_port()}"
    names = [name for name in COMMANDS if name not in PATIENT]
    ended = {name: in_process(*given(name), "--api-url", address) for name in names}
    assert {name: told.code for name, told in ended.items()} == dict.fromkeys(names, 3)
    assert all("make up" in told.err for told in ended.values())


def test_every_operation_of_the_contract_has_a_command_or_a_reason_to_have_none() -> None:
    texts = [path.read_text() for path in (ROOT / "orchestrator" / "commands").glob("*.py")]
    called = {name for text in texts for name in re.findall(r"\bclient\.(\w+)", text)}
    called |= {name.replace("iter_", "list_", 1) for name in called}
    called |= {"watch_execution"} if "events" in called else set()
    operations = {found["operationId"] for item in contract()["paths"].values() for found in item.values()}
    assert operations - called == set(OTHERWISE)


async def test_a_problem_is_1_and_a_sentence(run: Run) -> None:
    problem = {"title": "Not found", "detail": "there is nothing of this name", "hint": "look again", "status": 404}
    with answering(404, json.dumps(problem).encode()) as address:
        names = ["executions get", "executions events", "executions retry", "workflows versions", "schedules get"]
        ended = await all_of([partial(run, *given(name), address=address) for name in names])
    assert {done.returncode for done in ended} == {1}
    assert all("there is nothing of this name (look again)" in done.stderr for done in ended)


async def test_a_narrow_terminal_cuts_off_no_id(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    item = {"execution_id": "ex-" + "a" * 26, "workflow_id": "lead-processing-" + "b" * 40, "status": "timed_out"}
    times = {"started_at": "2026-11-29T05:26:25.275175Z", "closed_at": "2026-11-29T05:26:35.983938Z"}
    page = {"items": [{**item, **times}], "next_cursor": None}
    with answering(200, json.dumps(page).encode()) as address:
        done = await asyncio.to_thread(run, "executions", "list", address=address, columns=40)
    for shown in (*item.values(), "2026-11-29 05:26:25", "2026-11-29 05:26:35"):
        assert shown in done.stdout


async def test_a_wait_shows_the_end_as_status_does(run: Run) -> None:
    error = {"type": "boom", "message": "it broke", "step": "a"}
    step = {"path": "a", "step_id": "a", "name": "The step", "step_type": "transform", "state": "failed", "attempts": 2}
    times = {"started_at": "2026-11-29T05:26:25Z", "closed_at": "2026-11-29T05:26:26Z"}
    ended = {"execution_id": "ex-1", "workflow_id": "w", "name": "W", "status": "failed", "error": error, **times}
    with answering(200, json.dumps({**ended, "steps": [step], "approvals": []}).encode()) as address:
        done = await asyncio.to_thread(run, "executions", "wait", "ex-1", address=address)
        shown = await asyncio.to_thread(run, "executions", "get", "ex-1", address=address)
    assert done.returncode == 1, done.stderr
    assert "boom: it broke" in done.stdout
    assert (done.stdout, done.stderr) == (shown.stdout, shown.stderr)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_gives_each_shell_its_script(run: Run, shell: str) -> None:
    done = run("completion", shell)
    assert done.returncode == 0
    assert "_ORCHESTRATOR_COMPLETE" in done.stdout
    assert run("completion", "ash").returncode == 2


def test_the_shell_is_told_the_commands_that_fit() -> None:
    asked = {"_ORCHESTRATOR_COMPLETE": "complete_bash", "COMP_WORDS": "orchestrator executions re", "COMP_CWORD": "2"}
    program = "import sys; sys.argv = ['orchestrator']; from orchestrator.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, **asked},
        check=False,
        cwd=ROOT,
    )
    assert done.stdout.split() == ["resume", "retry", "rerun", "retry-step"]


@pytest.fixture
async def api(isolated_settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with running_api(isolated_settings) as client:
        yield client


async def test_a_workflow_is_created_changed_compared_and_deleted(
    run: Run, api: httpx2.AsyncClient, tmp_path: Path
) -> None:
    address = str(api.base_url).removesuffix("/api/v1/")
    steps = [{"step_id": "one", "step_type": "transform", "value": 1}]
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    first.write_text(json.dumps({"workflow_id": "shelf", "name": "Shelf", "steps": steps}))
    second.write_text(json.dumps({"workflow_id": "shelf", "name": "Shelf", "steps": [{**steps[0], "value": 2}]}))

    async def told(*arguments: str | Path, code: int = 0) -> str:
        done = await asyncio.to_thread(run, "workflows", *arguments, address=address)
        assert done.returncode == code, done.stderr
        return done.stdout

    assert json.loads(await told("create", first, "-o", "json"))["version"] == 1
    assert json.loads(await told("update", "shelf", second, "-o", "json"))["version"] == 2
    await told("update", "shelf", first, "--expected-version", "1", code=1)
    assert [item["version"] for item in json.loads(await told("versions", "shelf", "-o", "json"))["items"]] == [2, 1]
    assert "one" in await told("diff", "shelf", "1", "2")
    assert json.loads(await told("get", "shelf", "--version", "1"))["definition"]["steps"][0]["value"] == 1
    listed = await told("list")
    assert "shelf" in listed
    assert "Shelf" in listed
    assert "true" in await told("validate", first)
    assert "completed" in await told("simulate", "shelf")
    await told("delete", "shelf")
    await told("get", "shelf", code=1)
    assert json.loads(await told("restore", "shelf", "1", "-o", "json"))["version"] == 3
