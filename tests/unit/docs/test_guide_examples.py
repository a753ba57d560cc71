"""Every example of the guide is a valid definition and, on a real server, ends as its stub file says."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity

from activities.concurrency import ConcurrencyActivities
from orchestrator.client import connect, disconnect
from orchestrator.definition import validate_definition
from orchestrator.definition.models import STEP_TYPES
from orchestrator.embedded.temporal import server_binary
from orchestrator.execution.messages import LoadDefinitionInput, LoadDefinitionResult
from orchestrator.settings import Settings
from tests.support.cases import Case, Played, check, play_all
from tests.support.executions import outcome, worker_with
from tests.support.polling import eventually
from tests.support.stubs import Stubs

FOLDER = Path(__file__).parents[3] / "examples" / "guide"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json") if path.name.count(".") == 1)
GUIDE = FOLDER.parents[1] / "docs" / "guide.md"
SHELL = [
    line
    for language, block in re.findall(r"^```([^\n]*)\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    for line in block.replace("\\\n", "").splitlines()
    if not language and line.startswith("temporal ")
]
"""The guide's commands; each goes to a fresh execution of the example that waits for it."""
WAITING = {
    "signal": "wait_for_signal",
    "approve": "approval",
    "retry_step": "parked",
    "skip_step": "parked",
    "set_step_output": "parked",
}
NEED_MORE = ("activity", "workflow", "concurrency")
"""Examples that call what the stubs do not play: somebody's own activity, a stored definition, a gate."""


def read(name: str) -> Any:
    return json.loads((FOLDER / name).read_text())


def case_of(name: str) -> Case:
    return Case(
        name, {"definition": read(f"{name}.json"), "input": read(f"{name}.input.json"), **read(f"{name}.stubs.json")}
    )


PLAIN = [case_of(name) for name in NAMES if name not in NEED_MORE]


@activity.defn(name="count_words")
async def count_words(text: str, least: int) -> int:
    """Count the words of at least so many letters, as somebody's own activity."""
    return sum(len(word) >= least for word in text.split())


@activity.defn(name="load_definition")
async def load_definition(request: LoadDefinitionInput) -> LoadDefinitionResult:
    """Give an example as if it were stored."""
    found = validate_definition({**read(f"{request.workflow_id}.json"), "workflow_id": request.workflow_id})
    return LoadDefinitionResult(definition=found.document, version=1, sha256=found.sha256 or "")


@pytest.fixture(scope="module")
def played(settings: Settings) -> Mapping[str, Played | BaseException]:
    async def play() -> dict[str, Played | BaseException]:
        client = await connect(settings)
        try:
            return await play_all(client, settings, PLAIN)
        finally:
            await disconnect(client)

    return asyncio.run(play())


@pytest.mark.parametrize("case", PLAIN, ids=lambda case: case.name)
def test_an_example_ends_as_its_stub_file_says(case: Case, played: Mapping[str, Played | BaseException]) -> None:
    check(case, played[case.name])


@pytest.mark.parametrize("name", NEED_MORE)
async def test_an_example_that_calls_others_ends_as_its_stub_file_says(name: str, settings: Settings) -> None:
    case, stubs = case_of(name), Stubs()
    client = await connect(settings)
    gates = ConcurrencyActivities(client, settings.concurrency_check_seconds).all()
    activities: list[Callable[..., Any]] = [*stubs.all(), *gates, count_words, load_definition]
    async with worker_with(client, settings, activities) as runner:
        view = await outcome(await runner.start(case.definition, case.data["input"]))
    check(case, Played(view, stubs))


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_valid_without_a_warning(name: str) -> None:
    found = validate_definition(read(f"{name}.json"))
    assert (found.errors, found.warnings) == ([], [])


@pytest.mark.parametrize("step_type", STEP_TYPES)
def test_every_step_type_has_an_example_that_uses_it(step_type: str) -> None:
    assert step_type in NAMES, f"add examples/guide/{step_type}.json, .input.json, .stubs.json and a place in the guide"
    assert step_type in {step["step_type"] for step in read(f"{step_type}.json")["steps"]}


def test_the_guide_has_a_command_for_every_message() -> None:
    assert {name_in(line) for line in SHELL} == set(WAITING)


def name_in(command: str) -> str:
    words = shlex.split(command)
    return words[words.index("--name") + 1]


@pytest.mark.parametrize("command", SHELL, ids=name_in)
async def test_a_command_of_the_guide_brings_its_example_to_its_end(command: str, settings: Settings) -> None:
    case = case_of(WAITING[name_in(command)])
    client = await connect(settings)
    async with worker_with(client, settings, Stubs(case.data.get("stubs")).all()) as runner:
        handle = await runner.start(case.definition, case.data["input"])
        words = [handle.id if word == "EXECUTION" else word for word in shlex.split(command)]
        words += ["--address", settings.temporal_address]
        # An update is refused until its step waits.
        await eventually(lambda: succeeds([str(server_binary()), *words[1:]]), seconds=30)
        async with asyncio.timeout(30):
            view = await outcome(handle)
    assert view.status == "completed", view.error


async def succeeds(words: list[str]) -> bool:
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    return await process.wait() == 0
