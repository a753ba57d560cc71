"""The packaged agent of the examples: built, installed, found by its entry point, and run by a worker."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from orchestrator.agents import AgentFactory, ModelProviders
from orchestrator.agents.discovery import ENTRY_POINT_GROUP
from orchestrator.settings import Settings
from tests.fakes.model_server import FakeModelServer
from tests.integration.test_model_activities import model_activities
from tests.support.commands import ROOT
from tests.support.executions import Runner, outcome, worker_with

STEP = {"step_id": "sum", "step_type": "agent_task", "agent_type": "digest", "task": "sum up"}
TEXT = "Backups that nobody has restored are hopes, not backups."


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, built without network."""
    source, folder = tmp_path_factory.mktemp("source") / "packaged_agent", tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "examples" / "packaged_agent", source)
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture
async def runner(
    wheel: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    temporal_client: Client,
    isolated_settings: Settings,
    model_server: FakeModelServer,
) -> AsyncIterator[Runner]:
    """A worker that has the package installed."""
    # What an installer does with a wheel of pure Python.
    zipfile.ZipFile(wheel).extractall(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "digest_agent", raising=False)
    update = {"openai_base_url": model_server.url, "default_model": "openai/tiny"}
    settings = isolated_settings.model_copy(update=update)
    factory, providers = AgentFactory(settings), ModelProviders(settings)
    await factory.load()
    async with worker_with(temporal_client, settings, model_activities(factory, providers).all()) as found:
        yield found
    await providers.aclose()
    await factory.aclose()


async def ask(runner: Runner, parameters: Any) -> Any:
    return await outcome(await runner.start({"steps": [{**STEP, "parameters": parameters}]}))


async def test_the_agent_is_found_by_its_entry_point_and_remembers_what_it_has_done(
    runner: Runner, model_server: FakeModelServer
) -> None:
    assert [entry.value for entry in entry_points(group=ENTRY_POINT_GROUP)] == ["digest_agent:DigestAgent"]
    first, second = [(await ask(runner, {"text": TEXT})).output["sum"] for _ in range(2)]
    assert (first["words"], first["known"]) == (9, False)
    assert second == {**first, "known": True}
    assert len(model_server.calls()) == 1


async def test_what_the_agent_calls_final_is_not_tried_again(runner: Runner, model_server: FakeModelServer) -> None:
    view = await ask(runner, {"text": " "})
    assert (view.error.type, view.steps[0].attempts) == ("agent-failed", 1)
    assert "parameters.text holds no text" in view.error.message
    assert model_server.calls() == []
