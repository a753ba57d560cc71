"""Hazards of a generic interpreter: what makes a workflow task fail for ever, and must not."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta

import pytest
from temporalio import activity
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError, CancelledError

from orchestrator.execution.messages import LoadDefinitionInput, LoadDefinitionResult, StartExecution
from orchestrator.settings import Settings
from tests.support.executions import states, worker_with
from tests.support.stubs import Stubs


def agent(step_id: str, **fields: object) -> dict[str, object]:
    return {"step_id": step_id, "step_type": "agent_task", "agent_type": "sales", "task": step_id, **fields}


async def test_commands_beyond_four_megabytes_are_spread_over_several_tasks(
    temporal_client: Client, settings: Settings
) -> None:
    text = "x" * 100_000
    steps = [agent(f"s{number}", parameters={"text": "{{ input.text }}", "number": number}) for number in range(100)]
    async with worker_with(
        temporal_client, settings, Stubs({f"s{n}": [{"result": n}] for n in range(100)}).all()
    ) as runner:
        view = await runner.run({"steps": steps, "output": "{{ steps.s99.output }}"}, {"text": text[:40_000]})
    assert (view.status, view.output) == ("completed", 99)


async def test_long_ids_and_names_do_not_stick(temporal_client: Client, settings: Settings) -> None:
    inner = agent("x" * 64, name="é" * 200)
    nested: dict[str, object] = inner
    for depth in range(8):
        nested = {
            "step_id": f"{'y' * 60}{depth}",
            "step_type": "foreach",
            "items": [0],
            "steps": [nested],
        }
    async with worker_with(temporal_client, settings, Stubs().all()) as runner:
        view = await runner.run({"steps": [nested], "output": "done"})
    assert (view.status, view.output) == ("completed", "done")


async def test_an_invalid_start_fails_the_execution_not_its_task(temporal_client: Client, settings: Settings) -> None:
    async with worker_with(temporal_client, settings, Stubs().all()) as runner:
        for start in ({"nonsense": 1}, {"workflow_id": "w", "definition": {"steps": "none"}}, 7):
            handle = await temporal_client.start_workflow(
                "AgentWorkflow",
                start,
                id=f"bad-{abs(hash(str(start)))}",
                task_queue=runner.settings.temporal_task_queue,
            )
            try:
                await handle.result()
            except Exception as error:
                assert getattr(error, "cause", None) is not None
            assert (await handle.describe()).status is not None
            assert (await handle.describe()).status.name == "FAILED"  # type: ignore[union-attr]


async def test_odd_signals_are_dropped_and_the_execution_goes_on(temporal_client: Client, settings: Settings) -> None:
    async with worker_with(temporal_client, settings, Stubs().all()) as runner:
        handle = await runner.start({"steps": [{"step_id": "w", "step_type": "wait", "seconds": 1.5}]})
        for argument in ([1, 2], {"holder": "nobody"}, None, "text"):
            await handle.signal("signal", argument)
            await handle.signal("pause", argument)
            await handle.signal("resume", argument)
        view = await handle.result()
    assert states(view) == {"w": "completed"}


async def test_a_cancel_while_the_definition_loads_closes_as_cancelled(
    temporal_client: Client, settings: Settings
) -> None:
    loading = asyncio.Event()

    @activity.defn(name="load_definition")
    async def load_definition(request: LoadDefinitionInput) -> LoadDefinitionResult:
        loading.set()
        raise ApplicationError("the store is away", next_retry_delay=timedelta(minutes=5))

    async with worker_with(temporal_client, settings, [load_definition, *Stubs().all()]) as runner:
        handle = await temporal_client.start_workflow(
            "AgentWorkflow",
            StartExecution(workflow_id="w"),
            id=f"loading-{uuid.uuid4().hex}",
            task_queue=runner.settings.temporal_task_queue,
        )
        await asyncio.wait_for(loading.wait(), 20)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as caught:
            await asyncio.wait_for(handle.result(), 20)
    assert isinstance(caught.value.cause, CancelledError)
