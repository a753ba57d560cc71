"""The `orchestrator` command: exit codes, and errors that are sentences with a way out."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from orchestrator import cli
from orchestrator.commands import outcome
from orchestrator.definition import workflow_json_schema
from orchestrator.embedded.layout import Endpoints, Layout
from tests.support.answers import answering
from tests.support.commands import ROOT
from tests.support.ports import free_port

LEAD = ROOT / "examples" / "lead_processing.json"


@dataclass
class Told:
    """How a command ended."""

    code: int
    out: str
    err: str


class Cli:
    """Runs commands in this process, which takes milliseconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> Told:
        self._monkeypatch.setattr(sys, "argv", ["orchestrator", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.err
        return Told(ended.value.code if isinstance(ended.value.code, int) else 0, captured.out, captured.err)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    monkeypatch.setenv("ORCHESTRATOR_HOME", str(tmp_path / "no-stack-here"))
    monkeypatch.delenv("ORCHESTRATOR_API", raising=False)
    return Cli(monkeypatch, capsys)


def write(path: Path, value: Any) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def definition(**step: Any) -> dict[str, Any]:
    return {"name": "Test", "steps": [{"step_id": "one", "step_type": "transform", "value": 1, **step}]}


def test_a_valid_definition_is_0(run: Cli) -> None:
    told = run("validate", LEAD)
    assert (told.code, told.err) == (0, "")
    assert "lead_processing" in told.out


def test_the_version_and_the_schema_are_printed(run: Cli) -> None:
    assert run("--version").out == f"orchestrator {version('agent-orchestrator')}\n"
    assert json.loads(run("schema").out) == workflow_json_schema()


@pytest.mark.parametrize(
    ("variable", "value", "command"),
    [
        ("REDIS_URL", "localhost:6379", ("keys", "list", "--direct")),
        ("TEMPORAL_ADDRESS", "http://localhost:7233", ("worker",)),
        ("OPENAI_BASE_URL", "api.example.com", ("up",)),
        ("QDRANT_URL", "localhost", ("demo",)),
        ("LOG_LEVEL", "LOUD", ("api",)),
    ],
)
def test_a_wrong_setting_is_2_and_named_with_the_way_out(
    run: Cli, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv(variable, value)
    told = run(*command)
    assert told.code == 2
    assert f"  {variable}: " in told.err
    assert "validation error" not in told.err


def test_the_status_names_the_commands_that_bring_a_waiting_execution_on(run: Cli) -> None:
    parked = {"path": "fetch", "name": "Fetch", "state": "running", "attempts": 1, "error": {"message": "no"}}
    waits = {"execution_id": "ex-1", "workflow_id": "w", "status": "awaiting", "detail": "operator", "steps": [parked]}
    document = {**waits, "approvals": [{"path": "sign", "title": "Sign?", "approvers": []}]}
    with answering(200, json.dumps(document).encode()) as address:
        told = run("status", "ex-1", "--api", address)
    assert told.code == 0
    assert "executions approve ex-1 sign" in told.out
    assert "executions retry-step|skip-step ex-1 fetch" in told.out


def test_every_error_of_an_invalid_definition_is_told_with_its_place_and_hint(run: Cli, tmp_path: Path) -> None:
    broken = json.loads(LEAD.read_text())
    broken["steps"][0]["agent_typ"] = "sales"
    broken["steps"][1]["depends_on"] = ["qualify_led"]
    told = run("validate", write(tmp_path / "broken.json", broken))
    assert told.code == 1
    assert "/steps/0/agent_typ" in told.err
    assert "/steps/1/depends_on/0" in told.err
    assert "hint: " in told.err
    assert "qualify_lead" in told.err


def test_a_bad_expression_has_a_caret_under_its_column(run: Cli, tmp_path: Path) -> None:
    path = write(tmp_path / "broken.json", definition(value="{{ input.lead + }}"))
    lines = run("validate", path).err.splitlines()
    shown = next(index for index, line in enumerate(lines) if "input.lead +" in line and "/steps" not in line)
    assert lines[shown + 1].lstrip().startswith("^")


def test_the_caret_that_people_see_is_the_one_that_programs_get(run: Cli, tmp_path: Path) -> None:
    path = write(tmp_path / "broken.json", definition(value="{{ steps.frist.output }}"))
    (issue,) = json.loads(run("validate", path, "--output", "json").out)["errors"]
    assert "^ column" in issue["text"]
    assert issue["text"] in run("validate", path).err


def test_validation_as_json_has_every_error(run: Cli, tmp_path: Path) -> None:
    told = run("validate", write(tmp_path / "broken.json", {"steps": []}), "--output", "json")
    document = json.loads(told.out)
    assert told.code == 1
    assert document["valid"] is False
    assert all({"code", "message", "pointer"} <= issue.keys() for issue in document["errors"])
    told = run("validate", LEAD, "--output", "json")
    assert told.code == 0
    assert json.loads(told.out)["workflow_id"] == "lead_processing"


def test_standard_input_is_read_for_a_dash(run: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(LEAD.read_text()))
    assert run("validate", "-").code == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "line 1, column 2"),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ('{"a": 1, "a": 2}', "'a' occurs twice"),
        ("[" * 100_000, "nested too deeply"),
        ("", "not JSON"),
    ],
)
def test_a_file_that_is_not_json_is_1_and_says_where(run: Cli, tmp_path: Path, text: str, words: str) -> None:
    told = run("validate", write(tmp_path / "bad.json", text))
    assert told.code == 1
    assert words in told.err


def test_files_that_cannot_be_read_are_usage_errors(run: Cli, tmp_path: Path) -> None:
    missing = run("validate", tmp_path / "absent.json")
    assert missing.code == 2
    assert "there is no file" in missing.err
    assert run("validate", tmp_path).code == 2
    (tmp_path / "latin.json").write_bytes(b"\xff\xfe")
    assert run("validate", tmp_path / "latin.json").code == 2


@pytest.mark.parametrize(
    "arguments",
    [("fly",), ("validate",), ("run", LEAD, "--no-such-option"), ("status",), ("status", "x", "--output", "xml")],
)
def test_wrong_usage_is_2(run: Cli, arguments: tuple[str | Path, ...]) -> None:
    assert run(*arguments).code == 2


@pytest.mark.parametrize(
    "command", [("run", LEAD), ("status", "ex-1"), ("pause", "ex-1"), ("resume", "ex-1"), ("cancel", "ex-1")]
)
def test_no_service_is_3_and_names_the_way_out(run: Cli, command: tuple[str | Path, ...]) -> None:
    told = run(*command, "--api", f"http://127.0.0.1:{free_port()}")
    assert told.code == 3
    assert "make up" in told.err


def test_what_is_no_orchestrator_is_3(run: Cli) -> None:
    with answering(200, b"<html>hello</html>", "text/html") as address:
        assert run("status", "ex-1", "--api", address).code == 3
    assert run("status", "ex-1", "--api", "not an address").code == 3


def test_a_problem_is_told_with_its_errors_and_hint(run: Cli) -> None:
    problem = {
        "title": "Invalid workflow definition",
        "detail": "the definition has 1 error",
        "hint": "mend it",
        "errors": [{"pointer": "/steps/0/agent_type", "message": "no agent 'sale'", "hint": "did you mean 'sales'?"}],
    }
    with answering(422, json.dumps(problem).encode()) as address:
        told = run("run", LEAD, "--api", address)
    assert told.code == 1
    assert "the definition has 1 error (mend it)" in told.err
    assert "/steps/0/agent_type: no agent 'sale' (did you mean 'sales'?)" in told.err


def test_a_service_whose_parts_are_away_is_3(run: Cli) -> None:
    with answering(503, b'{"title": "Redis unavailable", "detail": "Redis does not answer"}') as address:
        told = run("status", "ex-1", "--api", address)
    assert told.code == 3
    assert "Redis does not answer" in told.err


def test_an_invalid_definition_is_not_sent(run: Cli, tmp_path: Path) -> None:
    told = run("run", write(tmp_path / "broken.json", {"steps": []}), "--api", f"http://127.0.0.1:{free_port()}")
    assert told.code == 1


@pytest.mark.parametrize(
    ("status", "code"),
    [("completed", 0), ("running", 0), ("awaiting", 0), ("failed", 1), ("cancelled", 1), ("timed_out", 1)],
)
def test_the_status_decides_the_exit_code(run: Cli, status: str, code: int) -> None:
    document = {
        "execution_id": "ex-1",
        "workflow_id": "w",
        "status": status,
        "output": {"a": [1]} if status == "completed" else None,
        "error": {"type": "model-unavailable", "message": "no answer [/x]", "step": "one"} if code else None,
        "steps": [{"path": "one", "name": "One [bold]", "state": status, "attempts": 1, "error": None}],
    }
    with answering(200, json.dumps(document).encode(), "application/json") as address:
        told = run("status", "ex-1", "--api", address)
        as_json = run("status", "ex-1", "--api", address, "--output", "json")
    assert (told.code, as_json.code) == (code, code)
    assert "One [bold]" in told.out
    assert status in told.out
    assert not code or "model-unavailable: no answer [/x]" in told.out
    assert json.loads(as_json.out) == document


def test_the_address_comes_from_the_environment_or_the_running_stack(
    run: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    body = b'{"execution_id": "ex-1", "workflow_id": "w", "status": "running", "steps": []}'
    with answering(200, body, "application/json") as address:
        monkeypatch.setenv("ORCHESTRATOR_API", address)
        assert run("status", "ex-1").code == 0
        monkeypatch.delenv("ORCHESTRATOR_API")
        monkeypatch.setenv("ORCHESTRATOR_HOME", str(tmp_path))
        Layout(tmp_path).write_endpoints(
            Endpoints(
                api=address, temporal="", temporal_namespace="", temporal_ui=None, redis="", qdrant=None, model=""
            )
        )
        assert run("status", "ex-1").code == 0


def test_impossible_settings_are_named_and_2(run: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_PORT", "eighty")
    told = run("worker")
    assert told.code == 2
    assert "API_PORT" in told.err


def test_an_unforeseen_error_is_a_sentence_too(run: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("orchestrator.commands.definitions.validate", fail)
    told = run("validate", LEAD)
    assert told.code == outcome.FAILED
    assert "ORCHESTRATOR_DEBUG" in told.err
