"""The commands about agents and ledgers, against the real API with a real worker."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import structlog

from orchestrator.settings import Settings
from tests.integration.test_api_executions import until_status, working
from tests.integration.test_cli import Cli, Told, run
from tests.support.api_server import running_api

__all__ = ["run"]

RECORD = {"agent_type": "sales", "description": "Sells [bold]things[/]", "tools": ["get_time"]}
SPENT = {"path": "invoke", "model": "free", "input_tokens": 1234, "output_tokens": 5}


class ApiCli:
    """Runs commands against an API in this process's loop."""

    def __init__(self, run: Cli, http: httpx2.AsyncClient) -> None:
        self._run = run
        self.http = http
        self._address = str(http.base_url).partition("/api/")[0]

    async def __call__(self, *arguments: str | Path) -> Told:
        return await asyncio.to_thread(self._run, *arguments, "--api", self._address)


@pytest.fixture
async def orchestrator(run: Cli, isolated_settings: Settings) -> AsyncIterator[ApiCli]:
    # The API of this process logs its audit trail; what the command prints must stand alone.
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
    async with running_api(isolated_settings) as http:
        assert (await http.post("/agents/", json=RECORD)).status_code == 201
        yield ApiCli(run, http)
    structlog.configure(**before)


async def test_agents_are_listed_and_read(orchestrator: ApiCli) -> None:
    told = await orchestrator("agents", "list")
    assert told.code == 0
    assert "sales" in told.out and "Sells [bold]things[/]" in told.out
    listed = json.loads((await orchestrator("agents", "list", "--output", "json")).out)["items"]
    assert [agent["agent_type"] for agent in listed] == ["sales"]
    assert json.loads((await orchestrator("agents", "get", "sales")).out)["record"] == RECORD
    told = await orchestrator("agents", "get", "sale")
    assert (told.code, told.out) == (1, "")
    assert "did you mean 'sales'?" in told.err


async def test_an_agent_is_registered_changed_and_deleted(orchestrator: ApiCli, tmp_path: Path) -> None:
    file = tmp_path / "agent.json"
    file.write_text(json.dumps({"agent_type": "buyer", "description": "Buys"}))
    assert json.loads((await orchestrator("agents", "create", file, "-o", "json")).out)["version"] == 1
    file.write_text(json.dumps({"agent_type": "buyer", "description": "Buys more"}))
    assert json.loads((await orchestrator("agents", "update", "buyer", file, "-o", "json")).out)["version"] == 2
    stale = await orchestrator("agents", "update", "buyer", file, "--expected-version", "1")
    assert (stale.code, stale.out) == (1, "")
    versions = json.loads((await orchestrator("agents", "versions", "buyer", "-o", "json")).out)["items"]
    assert [item["version"] for item in versions] == [2, 1]
    assert json.loads((await orchestrator("agents", "health", "buyer", "-o", "json")).out)["agent_type"] == "buyer"
    assert (await orchestrator("agents", "delete", "buyer")).code == 0
    assert (await orchestrator("agents", "get", "buyer")).code == 1


async def test_all_pages_of_agents_are_listed(orchestrator: ApiCli) -> None:
    for number in range(201):
        assert (await orchestrator.http.post("/agents/", json={"agent_type": f"a{number:03}"})).status_code == 201
    listed = json.loads((await orchestrator("agents", "list", "--output", "json")).out)["items"]
    assert len({agent["agent_type"] for agent in listed}) == len(listed) == 202


async def test_an_agent_is_asked_and_its_ledger_shown(
    orchestrator: ApiCli, isolated_settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "parameters.json").write_text('{"priority": "high"}')
    (tmp_path / "input.json").write_text('{"lead": "Acme"}')
    files: list[str | Path] = ["--parameters", tmp_path / "parameters.json", "--input", tmp_path / "input.json"]
    script = {"invoke": [{"turn": {"output": {"qualified": True}, "spent": [SPENT]}}]}
    async with working(isolated_settings, script) as stubs:
        told = await orchestrator("agents", "invoke", "sales", "qualify", *files, "--wait", "--output", "json")
        assert told.code == 0, told.err
        found = json.loads(told.out)
        assert (found["status"], found["output"]) == ("completed", {"qualified": True})
        asked = stubs.inputs["invoke"]
        assert (asked.task, asked.parameters, asked.input) == ("qualify", {"priority": "high"}, {"lead": "Acme"})
        key = ["--idempotency-key", "one"]
        twice = [await orchestrator("agents", "invoke", "sales", "once", *key, "--output", "json") for _ in range(2)]
        assert len({json.loads(once.out)["execution_id"] for once in twice}) == 1
        at_once = await orchestrator("agents", "invoke", "sales", "qualify", "--output", "json")
        await until_status(orchestrator.http, json.loads(at_once.out)["execution_id"], "completed")
        shown = await orchestrator("agents", "invoke", "sales", "qualify", "--wait")
        assert "qualified" in shown.out
    told = await orchestrator("ledger", found["execution_id"])
    assert told.code == 0
    assert "1,234" in told.out and "no price in MODEL_PRICES: 1." in told.out
    ledger = json.loads((await orchestrator("ledger", found["execution_id"], "--output", "json")).out)
    assert ledger["total"]["input_tokens"] == 1234
    told = await orchestrator("ledger", "ex-nobody")
    assert (told.code, told.out) == (1, "")
