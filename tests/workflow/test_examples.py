"""Every shipped example on a real server: it is valid, its agents exist, and it ends as its file says."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import cli
from orchestrator.client import connect, disconnect
from orchestrator.definition.schemas import value_issues
from orchestrator.settings import Settings
from tests.support.cases import Case, Played, check, play_all
from tests.support.examples import EXAMPLES, definition_paths, load_examples

CASES = load_examples()
AGENTS = {
    record["agent_type"]: record
    for record in (json.loads(path.read_text()) for path in sorted((EXAMPLES / "agents").glob("*.json")))
}

# The fixture that plays them all belongs to whichever test comes first.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def played(settings: Settings) -> dict[str, Played | BaseException]:
    """What every example gave; they share a worker."""

    async def play() -> dict[str, Played | BaseException]:
        client = await connect(settings)
        try:
            return await play_all(client, settings, CASES)
        finally:
            await disconnect(client)

    return asyncio.run(play())


def test_there_are_at_least_fifteen_examples_named_after_their_files() -> None:
    assert len(CASES) >= 15
    named = [json.loads(path.read_text())["workflow_id"] for path in definition_paths()]
    assert named == [case.name for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_example_ends_as_its_file_says(case: Case, played: dict[str, Played | BaseException]) -> None:
    check(case, played[case.name])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_stub_of_an_example_is_played(case: Case, played: dict[str, Played | BaseException]) -> None:
    assert sorted(case.data["stubs"].keys() - check(case, played[case.name]).stubs.calls.keys()) == []


@pytest.mark.parametrize("path", definition_paths(), ids=lambda path: path.stem)
def test_orchestrator_validate_accepts_an_example_without_a_warning(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["orchestrator", "validate", str(path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code, capsys.readouterr().err) == (0, "")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_input_satisfies_the_input_schema(case: Case) -> None:
    schema = case.definition.get("input_schema")
    assert schema is None or value_issues(schema, case.data["input"]) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_agent_of_an_example_knows_its_task_and_its_stubs_answer_as_it_would(case: Case) -> None:
    for step in _agent_steps(case.definition):
        task = AGENTS[step["agent_type"]]["tasks"][step["task"]]
        for path, entries in case.data["stubs"].items():
            if path.split("/")[-1].split(".")[-1] == step["step_id"]:
                results = [entry["result"] for entry in entries if "result" in entry]
                assert [value_issues(task["output_schema"], result) for result in results] == [[]] * len(results), path


def _agent_steps(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        if part.get("step_type") == "agent_task":
            yield part
        for inner in part.values():
            yield from _agent_steps(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _agent_steps(inner)


def test_the_table_of_examples_names_each() -> None:
    table = (EXAMPLES / "README.md").read_text()
    assert [case.name for case in CASES if f"[{case.name}]({case.name}.json)" not in table] == []
