"""`orchestrator keys`: the first key without an API, the others with it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.commands.outcome import UNREACHABLE, CommandError
from orchestrator.settings import Settings
from tests.support.api_server import running_api
from tests.support.ports import free_port

runner = CliRunner()


def told(*arguments: str) -> dict[str, Any]:
    """Run a command; gives what it printed as JSON."""
    done = runner.invoke(app, ["keys", *arguments, "--output", "json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture
def closed(isolated_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", isolated_settings.redis_url)
    monkeypatch.setenv("REDIS_KEY_PREFIX", isolated_settings.redis_key_prefix)
    # The API of this process logs its audit trail; what the command prints must stand alone.
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
    yield isolated_settings.model_copy(update={"api_auth": "on"})
    structlog.configure(**before)


async def test_the_first_key_is_made_in_redis_and_makes_the_others(
    closed: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await asyncio.to_thread(told, "create", "kim", "--role", "admin", "--direct")
    monkeypatch.setenv("ORCHESTRATOR_API_KEY", first["key"])
    async with running_api(closed) as api:
        monkeypatch.setenv("ORCHESTRATOR_API", str(api.base_url).removesuffix("/api/v1/"))
        second = await asyncio.to_thread(told, "create", "ci", "--role", "editor", "--expires-in-days", "9")
        headers = {"X-API-Key": second["key"]}
        assert (await api.get("/workflows/", headers=headers)).status_code == 200
        listed = await asyncio.to_thread(told, "list")
        assert [(item["name"], item["created_by"]) for item in listed["items"]] == [
            ("kim", "command line"),
            ("ci", "kim"),
        ]
        assert (await asyncio.to_thread(told, "list", "--direct"))["items"][1]["key_id"] == second["key_id"]
        assert (await asyncio.to_thread(told, "revoke", second["key_id"], "--direct"))["state"] == "revoked"
        assert (await api.get("/workflows/", headers=headers)).status_code == 401
        plain = await asyncio.to_thread(runner.invoke, app, ["keys", "list"])
        assert "revoked" in plain.stdout
        assert first["key"] not in plain.stdout


async def test_a_name_that_is_taken_is_a_sentence(closed: Settings) -> None:
    await asyncio.to_thread(told, "create", "kim", "--direct")
    with pytest.raises(CommandError, match="an active API key has the name 'kim'"):
        await asyncio.to_thread(told, "create", "kim", "--direct")
    with pytest.raises(CommandError, match="is no name for a key"):
        await asyncio.to_thread(told, "create", "kim and ann", "--direct")


async def test_an_absent_redis_is_a_sentence(closed: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}")
    with pytest.raises(CommandError, match="Redis cannot be reached") as caught:
        await asyncio.to_thread(told, "list", "--direct")
    assert caught.value.code == UNREACHABLE


async def test_without_a_key_the_command_line_is_refused(closed: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_api(closed) as api:
        monkeypatch.setenv("ORCHESTRATOR_API", str(api.base_url).removesuffix("/api/v1/"))
        monkeypatch.delenv("ORCHESTRATOR_API_KEY", raising=False)
        done = await asyncio.to_thread(runner.invoke, app, ["keys", "list"])
        assert getattr(done.exception, "status", None) == 401
