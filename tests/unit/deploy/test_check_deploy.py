"""The deployment files pass their checks, and the checks can fail."""

from __future__ import annotations

import copy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy.healthcheck import api_is_live, service_of
from orchestrator.settings import Settings
from scripts.check_deploy import (
    COMPOSE,
    compose_problems,
    dockerfile_problems,
    is_ignored,
    load,
    main,
    service_problems,
    tool_problems,
    undefined_variables,
    undocumented_variables,
    unpinned_image,
    volume_problems,
)
from tests.unit.guarded_http.raw_server import answer, raw_server

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def compose() -> Any:
    """The compose file, merge keys resolved."""
    return load(ROOT / COMPOSE)


def test_the_compose_file_has_no_problem() -> None:
    assert compose_problems(ROOT) == []


def test_the_dockerfile_has_no_problem() -> None:
    assert dockerfile_problems(ROOT) == []


def test_the_compose_schema_and_hadolint_have_no_complaint() -> None:
    assert tool_problems(ROOT) == []


def test_every_part_of_the_service_is_there(compose: Any) -> None:
    assert set(compose["services"]) == {
        "postgresql",
        "temporal-schema",
        "temporal",
        "temporal-namespace",
        "temporal-ui",
        "redis",
        "qdrant",
        "worker",
        "api",
    }


def test_redis_keeps_what_it_acknowledges(compose: Any) -> None:
    command = " ".join(compose["services"]["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert "redis:/data" in compose["services"]["redis"]["volumes"]


def test_the_services_find_each_other_by_settings_that_exist(compose: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = compose["services"]["worker"]["environment"]
    assert environment == compose["services"]["api"]["environment"]
    unknown = {name for name in environment if name.lower() not in Settings.model_fields}
    assert unknown == set()
    for name in ("TEMPORAL_ADDRESS", "REDIS_URL", "QDRANT_URL", "AGENTS_PATH", "API_HOST", "API_PORT"):
        monkeypatch.setenv(name, environment[name])
    settings = Settings(_env_file=None)
    assert settings.temporal_address == "temporal:7233"
    assert settings.redis_url == "redis://redis:6379"
    assert settings.qdrant_url == "http://qdrant:6333"
    assert str(settings.agents_path) == "/app/examples/agents"
    assert (settings.api_host, settings.api_port) == ("0.0.0.0", 8000)


def test_every_setting_in_the_example_file_exists_or_is_composes_own() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    names = {line.removeprefix("# ").partition("=")[0] for line in lines if "=" in line.split(" ")[-1]}
    nested = ("PROVIDERS__", "SECRETS__", "MCP_SERVERS__")
    names = {name for name in names if name.isupper() and not name.startswith(nested)}
    assert names
    known = {name.upper() for name in Settings.model_fields}
    assert names - known == {"POSTGRES_PASSWORD", "TEMPORAL_PORT", "TEMPORAL_UI_PORT"}


def test_a_worker_may_end_its_activities_before_it_is_killed(compose: Any) -> None:
    grace = float(compose["services"]["worker"]["stop_grace_period"].removesuffix("s"))
    assert grace > Settings(_env_file=None).worker_graceful_shutdown_seconds


@pytest.mark.parametrize(
    "image", ["redis", "redis:latest", "redis:8", "redis:8-alpine", "python:slim", "host:5000/redis", "redis:stable"]
)
def test_an_image_without_an_exact_version_is_a_problem(image: str) -> None:
    assert unpinned_image(image)


@pytest.mark.parametrize(
    "image", ["redis:8.4.0-alpine", "qdrant/qdrant:v1.19.1", "postgres:17.6-alpine", f"a/b:1.2.3@sha256:{'0' * 64}"]
)
def test_an_image_with_an_exact_version_is_none(image: str) -> None:
    assert unpinned_image(image) is None


def test_a_variable_needs_a_default_a_message_or_a_line() -> None:
    compose = {"a": ["${A}", "$B", "${C:-x}", "${D:?say so}", "${E}", "$$F"]}
    assert undefined_variables(compose, "E=1\n# A=2\n") == [
        "${A} has neither a default nor a line in .env.example",
        "${B} has neither a default nor a line in .env.example",
    ]
    assert len(undocumented_variables(compose, "E=1\n# A=2\n")) == 3


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"image": None}, "no image"),
        ({"healthcheck": None}, "no healthcheck"),
        ({"restart": None}, "no restart policy"),
        ({"ports": ["8000:8000"]}, "published on every interface"),
        ({"depends_on": {"nobody": {"condition": "service_healthy"}}}, "which is not there"),
        ({"depends_on": {"redis": {"condition": "service_started"}}}, "not service_healthy"),
        ({"depends_on": {"temporal-schema": {"condition": "service_healthy"}}}, "not service_completed_successfully"),
    ],
)
def test_what_a_service_lacks_is_found(compose: Any, change: dict[str, Any], problem: str) -> None:
    service = {**compose["services"]["api"], **change}
    service = {key: value for key, value in service.items() if value is not None}
    assert any(problem in found for found in service_problems("api", service, compose["services"]))


def test_a_mount_of_nothing_is_found(compose: Any) -> None:
    changed = copy.deepcopy(compose)
    changed["services"]["api"]["volumes"] = ["./absent:/x", "nowhere:/y"]
    assert len(list(volume_problems(changed, ROOT))) == 2


def test_the_last_rule_of_dockerignore_decides() -> None:
    rules = ["*", "!api", "!deploy/healthcheck.py", "# note", "", "api/secret*"]
    assert not is_ignored("api", rules)
    assert not is_ignored("api/app.py", rules)
    assert is_ignored("api/secret.txt", rules)
    assert is_ignored(".env", rules)
    assert is_ignored("deploy/Dockerfile", rules)
    assert not is_ignored("deploy/healthcheck.py", rules)


def test_nothing_private_reaches_the_build() -> None:
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for path in (".env", ".git", ".orchestrator/redis", ".venv/bin/python", "tests/conftest.py"):
        assert is_ignored(path, rules)


def test_a_broken_deployment_is_told_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    for name in (COMPOSE, ".env.example", ".dockerignore"):
        shutil.copy(ROOT / name, tmp_path / name)
    text = (tmp_path / COMPOSE).read_text(encoding="utf-8")
    (tmp_path / COMPOSE).write_text(text.replace("redis:8.4.0-alpine", "redis:latest").replace("command:", "comand:"))
    dockerfile = (tmp_path / "deploy/Dockerfile").read_text(encoding="utf-8").replace("USER 10001:10001", "USER root")
    (tmp_path / "deploy/Dockerfile").write_text(dockerfile)
    assert main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    for problem in ("'latest', which moves", "check-jsonschema", "comand", "runs as root", "COPY: api does not exist"):
        assert problem in printed


@pytest.mark.parametrize("script", ["schema.sh", "namespace.sh"])
def test_a_script_of_the_jobs_is_valid_shell(script: str) -> None:
    path = ROOT / "deploy" / "temporal" / script
    assert subprocess.run(["sh", "-n", str(path)], check=False).returncode == 0


def test_the_health_check_knows_the_service_by_its_first_process(tmp_path: Path) -> None:
    process = tmp_path / "cmdline"
    process.write_bytes(b"/sbin/docker-init\0--\0orchestrator\0worker\0")
    assert service_of([], process) == "worker"
    process.write_bytes(b"orchestrator\0api\0")
    assert service_of([], process) == "api"
    assert service_of(["worker"], process) == "worker"


async def test_the_health_check_of_the_api_asks_it() -> None:
    import asyncio

    async with raw_server(lambda request: answer(200 if request.target == "/api/v1/health/live" else 404)) as server:
        assert await asyncio.to_thread(api_is_live, str(server.port))
    assert not await asyncio.to_thread(api_is_live, str(server.port))
