"""Hazards of a generic interpreter: what makes a workflow task fail for ever, and must not."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, CancelledError

from orchestrator.client import DATA_CONVERTER
from orchestrator.execution.beginning import FOREIGN_BYTES
from orchestrator.execution.carried_text import FORMAT
from orchestrator.execution.machine import new_state
from orchestrator.execution.messages import (
    ExecutionView,
    LoadDefinitionInput,
    LoadDefinitionResult,
    StartExecution,
)
from orchestrator.execution.messages_agents import InvokeModelInput, InvokeModelResult
from orchestrator.execution.state import Compensation, ScopeState, StepRecord, Timer
from orchestrator.settings import Settings
from orchestrator.workflows.carrying import dump
from orchestrator.workflows.start_inputs import unreadable
from tests.support.executions import states, worker_with
from tests.support.machine_driver import compiled
from tests.support.polling import eventually
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


@pytest.mark.parametrize("sandboxed", [False, True])
async def test_a_start_that_cannot_be_read_fails_the_execution_not_its_task(
    temporal_client: Client, settings: Settings, sandboxed: bool, subtests: pytest.Subtests
) -> None:
    starts: dict[str, list[Any]] = {which: [RawValue(payload)] for which, payload in UNREADABLE.items()}
    starts |= {"two arguments": [{"workflow_id": "w"}, RawValue(UNREADABLE["no JSON"])], "none at all": []}
    changes = {"worker_sandboxed": sandboxed}
    async with worker_with(temporal_client, settings, Stubs().all(), **changes) as runner:
        for which, start in starts.items():
            with subtests.test(which):
                handle = await temporal_client.start_workflow(
                    "AgentWorkflow",
                    args=start,
                    id=f"unreadable-{uuid.uuid4().hex}",
                    task_queue=runner.settings.temporal_task_queue,
                )
                with pytest.raises(WorkflowFailureError) as caught:
                    await asyncio.wait_for(handle.result(), 60)
                assert isinstance(caught.value.cause, ApplicationError)
                assert caught.value.cause.type == "invalid-start"


ONE_WAIT = {"steps": [{"step_id": "w", "step_type": "wait", "seconds": 0.01}]}


def carried(**changes: Any) -> list[str]:
    """Return the state of an execution of `ONE_WAIT` that has not begun, with changes."""
    start = StartExecution(workflow_id="w", input={})
    state = new_state(compiled({"name": "w", **ONE_WAIT}), start, "ex", None)
    state.recovered = True
    return dump(replace(state, **changes))


async def start_from(client: Client, task_queue: str, states: list[Any]) -> WorkflowHandle[Any, Any]:
    start = {"workflow_id": "w", "definition": {"name": "w", **ONE_WAIT}, "input": {}}
    name = f"carried-{uuid.uuid4().hex}"
    return await client.start_workflow("AgentWorkflow", args=[start, *states], id=name, task_queue=task_queue)


async def test_a_state_that_is_none_fails_the_execution_not_its_task(
    temporal_client: Client, settings: Settings, subtests: pytest.Subtests
) -> None:
    whole = "".join(carried())
    other_step = ScopeState("", "", "root", "", None, {"x": StepRecord()})
    nonsense: dict[str, list[Any]] = {
        "text": ["nonsense"],
        "numbers": [1, 2],
        "an object": [{"scopes": {}}],
        "another object's JSON": ['{"a": 1}'],
        "half of one": [whole[: len(whole) // 2]],
        "a scope that is missing": ['[2,[["f[0]","x",1]]]\n{}1'],
        "no scopes": carried(scopes={}),
        "steps of another definition": carried(scopes={"": other_step}),
        "a timer of nobody's": carried(timers={"x": Timer("wait", "", "x", "2026-01-01T00:00:00Z")}),
        "a compensation of nothing": carried(compensations=[Compensation("", "w", {}, {})]),
    }
    async with worker_with(temporal_client, settings, Stubs().all()) as runner:
        queue = runner.settings.temporal_task_queue
        handle = await start_from(temporal_client, queue, carried())
        assert (await asyncio.wait_for(handle.result(), 30))["status"] == "completed"
        for which, state in nonsense.items():
            with subtests.test(which):
                handle = await start_from(temporal_client, queue, state)
                with pytest.raises(WorkflowFailureError) as caught:
                    await asyncio.wait_for(handle.result(), 60)
                assert isinstance(caught.value.cause, ApplicationError)
                assert caught.value.cause.type == "invalid-start"
                # Nobody began it, but people may ask.
                assert (await handle.query("state"))["workflow_id"] == "w"


async def test_a_state_of_a_later_format_waits_for_a_worker_that_can_read_it(
    temporal_client: Client, settings: Settings
) -> None:
    line, _, rest = "".join(carried()).partition("\n")
    later = f"{line[:-1]},{FORMAT + 1}]\n{rest}"
    async with worker_with(temporal_client, settings, Stubs().all()) as runner:
        handle = await start_from(temporal_client, runner.settings.temporal_task_queue, [later])

        async def failed_task() -> bool:
            events = [event async for event in handle.fetch_history_events()]
            return any(event.HasField("workflow_task_failed_event_attributes") for event in events)

        await eventually(failed_task)
        description = await handle.describe()
        assert description.status is not None
        assert description.status.name == "RUNNING"
        await handle.terminate("the test is over")


def test_a_start_that_another_worker_may_read_is_no_invalid_one() -> None:
    converter = DATA_CONVERTER.payload_converter
    broken = UNREADABLE["no JSON"]
    reference = Payload(metadata={"encoding": b"json/external-storage-reference"}, data=b"{}")
    reference.external_payloads.add().size_bytes = 200_000
    encrypted = Payload(metadata={"encoding": b"binary/encrypted"}, data=b"?")
    assert "json/plain" in (unreadable([broken], converter) or "")
    assert [unreadable([other, broken], converter) for other in (reference, encrypted)] == [None, None]
    assert unreadable(converter.to_payloads([{"workflow_id": "w"}, "[[1"]), converter) is None


async def test_odd_signals_are_dropped_and_the_execution_goes_on(temporal_client: Client, settings: Settings) -> None:
    async with worker_with(temporal_client, settings, Stubs().all()) as runner:
        handle = await runner.start({"steps": [{"step_id": "w", "step_type": "wait_for_signal", "signal": "go"}]})
        for argument in ([1, 2], {"holder": "nobody"}, None, "text"):
            await handle.signal("signal", argument)
            await handle.signal("pause", argument)
            await handle.signal("resume", argument)
        await handle.signal("signal", {"name": "go"})
        view = await asyncio.wait_for(handle.result(), 60)
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
        await asyncio.wait_for(loading.wait(), 60)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as caught:
            await asyncio.wait_for(handle.result(), 60)
    assert isinstance(caught.value.cause, CancelledError)


HEAVY = "range(0, 20000).map(i => i * 2).sum()"
SUM = 399_980_000
"""An eighth of an activation's work units."""


async def spread(handle: WorkflowHandle[object, ExecutionView], *, waits: int = 0) -> bool:
    """Whether the execution yielded again and again, beside its own timers."""
    events = (await handle.fetch_history()).events
    timers = sum(event.HasField("timer_started_event_attributes") for event in events)
    return timers - waits >= 8


async def test_heavy_outputs_of_steps_that_end_together_are_spread_over_several_tasks(
    temporal_client: Client, settings: Settings
) -> None:
    """Together they may compute for many seconds; Temporal ends a workflow task after two."""
    steps = [agent(f"s{number}", output=f"{{{{ {HEAVY} }}}}") for number in range(110)]
    gate = asyncio.Event()

    class Held(Stubs):
        async def play_model(self, request: InvokeModelInput) -> InvokeModelResult:
            self.in_flight += 1
            if self.in_flight == len(steps):
                gate.set()
            await gate.wait()
            return InvokeModelResult(output=1)

    async with worker_with(temporal_client, settings, Held().all()) as runner:
        handle = await runner.start({"steps": steps, "output": "{{ steps.s109.output }}"})
        view = await asyncio.wait_for(handle.result(), 60)
    assert (view.status, view.output) == ("completed", SUM)
    assert await spread(handle)


async def test_heavy_conditions_of_many_kept_messages_are_spread_over_several_tasks(
    temporal_client: Client, settings: Settings
) -> None:
    steps = [
        {"step_id": "first", "step_type": "wait_for_signal", "signal": "open"},
        {
            "step_id": "chosen",
            "step_type": "wait_for_signal",
            "signal": "offer",
            "depends_on": ["first"],
            "accept_when": f"result.number == 109 && {HEAVY} > 0 || {HEAVY} == 0",
        },
    ]
    async with worker_with(temporal_client, settings, Stubs().all()) as runner:
        handle = await runner.start({"steps": steps, "output": "{{ steps.chosen.output.number }}"})
        for number in range(110):
            await handle.signal("signal", {"name": "offer", "payload": {"number": number}})
        await handle.signal("signal", {"name": "open"})
        view = await asyncio.wait_for(handle.result(), 60)
    assert (view.status, view.output) == ("completed", 109)
    assert view.signals is not None
    assert view.signals.buffered == 109
    assert await spread(handle)


async def test_a_message_offered_to_many_waits_with_heavy_conditions_is_spread_over_several_tasks(
    temporal_client: Client, settings: Settings
) -> None:
    wait = {
        "step_id": "wait",
        "step_type": "wait_for_signal",
        "signal": "offer",
        "accept_when": f"result == index && {HEAVY} > 0 || {HEAVY} == 0",
    }
    each = {
        "step_id": "each",
        "step_type": "foreach",
        "items": "range(0, 110)",
        "max_concurrency": 110,
        "steps": [wait],
    }
    done = {"step_id": "done", "step_type": "finish", "value": "{{ steps.wait.output }}", "depends_on": ["wait"]}
    each["steps"] = [wait, done]
    async with worker_with(temporal_client, settings, Stubs().all()) as runner:
        handle = await runner.start({"steps": [each]})
        await handle.signal("signal", {"name": "offer", "payload": 109})
        view = await asyncio.wait_for(handle.result(), 60)
    assert (view.status, view.output) == ("completed", 109)
    assert await spread(handle)


async def test_heavy_ends_of_many_waits_after_a_pause_are_spread_over_several_tasks(
    temporal_client: Client, settings: Settings
) -> None:
    steps = [
        {"step_id": f"w{n}", "step_type": "wait", "seconds": 0.5, "output": f"{{{{ {HEAVY} }}}}"} for n in range(110)
    ]
    async with worker_with(temporal_client, settings, Stubs().all()) as runner:
        handle = await runner.start({"steps": steps, "output": "{{ steps.w109.output }}"})
        await handle.signal("pause")

        async def all_fired() -> bool:
            history = await handle.fetch_history()
            return sum(event.HasField("timer_fired_event_attributes") for event in history.events) == len(steps)

        await eventually(all_fired, 30)
        await handle.signal("resume")
        view = await asyncio.wait_for(handle.result(), 60)
    assert (view.status, view.output) == ("completed", SUM)
    assert await spread(handle, waits=len(steps))


UNREADABLE = {
    "half a surrogate pair": Payload(metadata={"encoding": b"json/plain"}, data=b'"\\ud800"'),
    "no JSON": Payload(metadata={"encoding": b"json/plain"}, data=b"{nonsense"),
    "bytes": Payload(metadata={"encoding": b"binary/plain"}, data=b"\xff\x00"),
    "an encoding that nobody knows": Payload(metadata={"encoding": b"who/knows"}, data=b"{}"),
    "a number out of range": Payload(metadata={"encoding": b"json/plain"}, data=b"[1e999]"),
    "no number": Payload(metadata={"encoding": b"json/plain"}, data=b"NaN"),
    "a deep value": Payload(metadata={"encoding": b"json/plain"}, data=b"[" * 500 + b"]" * 500),
    "a value too deep for expressions": Payload(metadata={"encoding": b"json/plain"}, data=b"[" * 61 + b"]" * 61),
}


async def test_a_result_of_a_foreign_worker_that_cannot_be_read_fails_its_step(
    temporal_client: Client, settings: Settings, subtests: pytest.Subtests
) -> None:
    @activity.defn(name="odd")
    async def odd(which: str) -> RawValue:
        return RawValue(UNREADABLE[which])

    async with worker_with(temporal_client, settings, [odd, *Stubs().all()]) as runner:
        for which in UNREADABLE:
            step = {"step_id": "odd", "step_type": "activity", "activity": "odd", "arguments": [which]}
            with subtests.test(which):
                view = await asyncio.wait_for(runner.run({"steps": [step]}), 60)
                assert view.error is not None
                assert (view.status, view.error.type, view.error.step) == ("failed", "invalid-output", "odd")


async def test_signals_that_cannot_be_read_are_dropped(temporal_client: Client, settings: Settings) -> None:
    async with worker_with(temporal_client, settings, Stubs().all()) as runner:
        handle = await runner.start({"steps": [{"step_id": "w", "step_type": "wait_for_signal", "signal": "go"}]})
        for payload in UNREADABLE.values():
            await handle.signal("signal", RawValue(payload))
            await handle.signal("resume", RawValue(payload))
        await handle.signal("signal", {"name": "go"})
        view = await asyncio.wait_for(handle.result(), 60)
    assert states(view) == {"w": "completed"}


async def test_results_of_foreign_workers_are_read_in_every_encoding_of_json(
    temporal_client: Client, settings: Settings
) -> None:
    found = {
        "plain": Payload(metadata={"encoding": b"json/plain"}, data=b'{"a": [1, 2.5, null]}'),
        "protobuf": Payload(metadata={"encoding": b"json/protobuf", "messageType": b"of.others"}, data=b'{"a": 1}'),
        "null": Payload(metadata={"encoding": b"binary/null"}),
    }

    @activity.defn(name="any")
    async def answer(which: str) -> RawValue:
        return RawValue(found[which])

    steps = [{"step_id": name, "step_type": "activity", "activity": "any", "arguments": [name]} for name in found]
    async with worker_with(temporal_client, settings, [answer, *Stubs().all()]) as runner:
        view = await runner.run({"steps": steps})
    assert view.output == {"plain": {"a": [1, 2.5, None]}, "protobuf": {"a": 1}, "null": None}


async def test_a_failure_of_a_foreign_worker_whose_details_cannot_be_read_fails_its_step(
    temporal_client: Client, settings: Settings
) -> None:
    @activity.defn(name="odd")
    async def odd() -> None:
        activity.heartbeat(RawValue(UNREADABLE["no JSON"]))
        raise ApplicationError("broken", RawValue(UNREADABLE["no JSON"]), type="odd-error", non_retryable=True)

    step = {"step_id": "odd", "step_type": "activity", "activity": "odd", "arguments": []}
    async with worker_with(temporal_client, settings, [odd, *Stubs().all()]) as runner:
        view = await asyncio.wait_for(runner.run({"steps": [step]}), 60)
    assert view.error is not None
    assert (view.status, view.error.type, view.error.step) == ("failed", "odd-error", "odd")
    assert "broken" in view.error.message


async def test_a_result_with_half_a_surrogate_pair_is_carried_without_it(
    temporal_client: Client, settings: Settings, subtests: pytest.Subtests
) -> None:
    halves = {"text": "cut \ud83d", "\udfff": ["\ud800", "\ud83d\ude00"]}
    steps = {
        "http": {"step_type": "api_call", "url": "http://a.example/"},
        "tool": {"step_type": "tool_call", "tool": "cut"},
        "model": {"step_type": "agent_task", "agent_type": "sales", "task": "cut"},
    }
    stubs = Stubs({step_id: [{"result": halves}] for step_id in steps})
    whole = {"text": "cut \ufffd", "\ufffd": ["\ufffd", "😀"]}
    async with worker_with(temporal_client, settings, stubs.all()) as runner:
        for step_id, step in steps.items():
            with subtests.test(step_id):
                view = await asyncio.wait_for(runner.run({"steps": [{"step_id": step_id, **step}]}), 60)
                assert (view.status, view.output[step_id]) == ("completed", whole)
    assert dict(stubs.calls) == dict.fromkeys(steps, 1)


async def test_arguments_that_a_foreign_worker_could_not_read_fail_their_step_unsent(
    temporal_client: Client, settings: Settings
) -> None:
    sent: list[int] = []

    @activity.defn(name="far")
    async def far(text: str) -> int:
        sent.append(len(text))
        return len(text)

    most, over = "x" * (FOREIGN_BYTES - len('[""]')), "x" * 1_048_576
    assert DATA_CONVERTER.payload_converter.to_payloads([most])[0].ByteSize() < settings.claim_threshold_bytes
    async with worker_with(temporal_client, settings, [far, *Stubs().all()]) as runner:
        own = {"step_id": "far", "step_type": "activity", "activity": "far", "arguments": ["{{ input.text }}"]}
        step = {**own, "task_queue": runner.settings.temporal_task_queue}
        assert (await runner.run({"steps": [step]}, {"text": most})).output == {"far": len(most)}
        for text in (most + "x", over):
            view = await runner.run({"steps": [step]}, {"text": text})
            assert view.error is not None
            assert (view.status, view.error.type, view.error.step) == ("failed", "payload-too-large", "far")
            assert "step 'far'" in view.error.message
            assert view.error.details["limit_bytes"] == FOREIGN_BYTES
        handler = {"errors": ["payload-too-large"], "output": "kept"}
        handled = await runner.run({"steps": [{**step, "on_error": [handler]}]}, {"text": over})
        # The service's own workers share its claim store.
        assert (await runner.run({"steps": [own]}, {"text": over})).output == {"far": len(over)}
    assert handled.output == {"far": "kept"}
    assert sent == [len(most), len(over)]
