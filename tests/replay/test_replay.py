"""Every recorded history replays on the present code: what runs today survives the next deployment."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from temporalio.workflow import NondeterminismError

from orchestrator.workflows.agent_workflow import AgentWorkflow
from orchestrator.workflows.start_inputs import ReadableStarts
from tests.replay.record import HISTORIES, LEAD, path_of
from tests.support.examples import definition_paths

RECORDED = sorted(HISTORIES.glob("*.json.gz"))
MOST_BYTES = 1_500_000


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    return found


async def replay(document: dict[str, Any]) -> None:
    replayer = Replayer(
        workflows=[AgentWorkflow],
        workflow_runner=ReadableStarts(UnsandboxedWorkflowRunner()),
        data_converter=pydantic_data_converter,
    )
    execution_id = document["events"][0]["workflowExecutionStartedEventAttributes"]["workflowId"]
    await replayer.replay_workflow(WorkflowHistory.from_json(execution_id, json.dumps(document)))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name.removesuffix(".json.gz"))
async def test_a_recorded_history_replays(path: Path) -> None:
    await replay(read(path))


async def test_a_step_that_would_run_under_another_id_is_found(subtests: pytest.Subtests) -> None:
    for name, value in (("activityId", "qualify_leads"), ("activityType", {"name": "invoke_agent"})):
        document = read(path_of(LEAD))
        scheduled = next(
            event["activityTaskScheduledEventAttributes"]
            for event in document["events"]
            if "activityTaskScheduledEventAttributes" in event
        )
        assert scheduled[name] != value
        scheduled[name] = value
        with subtests.test(name), pytest.raises(NondeterminismError):
            await replay(document)


def test_every_example_has_a_history() -> None:
    assert [path.stem for path in definition_paths() if not path_of(path.stem).exists()] == []


def test_the_histories_are_many_and_small() -> None:
    assert len(RECORDED) >= 40
    assert sum(path.stat().st_size for path in RECORDED) < MOST_BYTES
