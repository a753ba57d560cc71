"""Schemathesis over the whole contract: what the API answers is what its OpenAPI document says, whatever is sent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.model_server import FakeModelServer
from tests.support.commands import ROOT
from tests.support.service_processes import Services, running_services

KEY = "acceptance-bootstrap-key-of-forty-signs!"


@pytest.fixture(scope="module")
def guarded(counting_model: FakeModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """A deployment that asks for keys."""
    folder = tmp_path_factory.mktemp("guarded")
    limits = {"API_REQUESTS_PER_MINUTE": "1000000", "API_FAILURES_PER_MINUTE": "1000000"}
    variables = {"API_AUTH": "on", "API_BOOTSTRAP_KEY": KEY, **limits}
    with running_services(folder, counting_model.url, **variables) as services:
        yield services


def fuzz(services: Services, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run Schemathesis with every check; gives its end and what it printed."""
    program = Path(sys.executable).with_name("schemathesis")
    command = [str(program), "--config-file", str(ROOT / "schemathesis.toml"), "--no-color", "run"]
    command += [f"{services.api_url}/openapi.json", "--checks", "all", "--continue-on-failure", "--warnings", "off"]
    command += ["-H", f"Authorization: Bearer {KEY}", "--request-timeout", "30", "--workers", "2", *options]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(ROOT / "tests" / "support" / "contract_hooks.py")}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)


@pytest.mark.timeout(300)
def test_a_sample_of_requests_finds_no_answer_that_the_contract_does_not_hold(
    guarded: Services, tmp_path: Path
) -> None:
    phases = ["--phases", "examples,coverage,fuzzing", "--max-examples", "2", "--generation-deterministic"]
    done = fuzz(guarded, tmp_path, *phases, "--no-shrink", "--max-time", "45")
    assert done.returncode == 0, done.stdout[-20_000:]


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_many_requests_and_chains_of_them_find_none_either(guarded: Services, tmp_path: Path) -> None:
    phases = ["--phases", "examples,coverage,fuzzing,stateful"]
    done = fuzz(guarded, tmp_path, *phases, "--max-examples", "25", "--max-time", "1080")
    assert done.returncode == 0, done.stdout[-20_000:]
