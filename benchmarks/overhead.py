"""What the interpreter costs over hand-written Temporal: the same chain and the same fan-out, side by side.

    python benchmarks/overhead.py [--steps 100] [--rounds 9] [--json]

Starts a Temporal server of its own. The hand-written workflow calls a bare activity; the definition goes through the
whole of `AgentWorkflow` and the activity wrapper. The two alternate, so that a noisy machine troubles both alike; a
figure is the ratio of their medians (definition / hand-written).

`…_events_ratio` counts the events that the code causes (start, activities, timers, markers, upserts, end). Workflow
task events are shown beside it and left out of the ratio: how many completions share one workflow task is chance, and
they differ as much between two runs of the same code. With `--json` the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio import activity, workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from activities.step_activity import step_activity  # noqa: E402
from orchestrator.client import connect, new_execution_id, start_execution  # noqa: E402
from orchestrator.definition import validate_definition  # noqa: E402
from orchestrator.execution.messages import (  # noqa: E402
    StartExecution,
)
from orchestrator.execution.messages_agents import InvokeModelInput, InvokeModelResult  # noqa: E402
from orchestrator.settings import Settings  # noqa: E402
from orchestrator.workflows.agent_workflow import AgentWorkflow  # noqa: E402
from tests.support.servers import running_temporal  # noqa: E402

QUEUE = "overhead"
ANSWER = {"score": 72, "tier": "warm", "reason": "budget and timeframe are stated"}


@activity.defn(name="bare_model_call")
async def bare_model_call(request: dict[str, Any]) -> dict[str, Any]:
    return {"output": ANSWER}


class Stub:
    """The model call of the definitions: our wrapper around the same nothing."""

    @step_activity("invoke_model")
    async def invoke_model(self, request: InvokeModelInput) -> InvokeModelResult:
        return InvokeModelResult(output=ANSWER)


def call_by_hand(number: int, value: Any, previous: Any) -> Awaitable[Any]:
    request = {
        "agent_type": "sales",
        "task": "qualify_lead",
        "parameters": {"number": number},
        "input": value,
        "dependencies": previous,
    }
    return workflow.execute_activity(
        "bare_model_call",
        request,
        start_to_close_timeout=timedelta(seconds=300),
        heartbeat_timeout=timedelta(seconds=10),
        summary=f"Step {number}",
    )


@workflow.defn
class ChainByHand:
    @workflow.run
    async def run(self, start: dict[str, Any]) -> Any:
        previous: Any = {}
        for number in range(start["steps"]):
            previous = {f"s{number}": (await call_by_hand(number, start["input"], previous))["output"]}
        return previous


@workflow.defn
class FanOutByHand:
    @workflow.run
    async def run(self, start: dict[str, Any]) -> Any:
        calls = (call_by_hand(number, start["input"], {}) for number in range(start["steps"]))
        return [result["output"] for result in await asyncio.gather(*calls)]


def definition(steps: int, *, chained: bool) -> dict[str, Any]:
    return {
        "name": "chain" if chained else "fan-out",
        "steps": [
            {
                "step_id": f"s{number}",
                "name": f"Step {number}",
                "step_type": "agent_task",
                "agent_type": "sales",
                "task": "qualify_lead",
                "parameters": {"number": number},
                **({"depends_on": [f"s{number - 1}"]} if chained and number else {}),
            }
            for number in range(steps)
        ],
    }


@dataclass
class Samples:
    """What one shape took, by hand and as a definition."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {"hand": [], "definition": []})
    events: dict[str, list[int]] = field(default_factory=lambda: {"hand": [], "definition": []})
    task_events: dict[str, list[int]] = field(default_factory=lambda: {"hand": [], "definition": []})

    def ratios(self, name: str) -> dict[str, float]:
        medians = {
            kind: (statistics.median(self.seconds[kind]), statistics.median(self.events[kind])) for kind in self.seconds
        }
        return {
            f"{name}_time_ratio": round(medians["definition"][0] / medians["hand"][0], 3),
            f"{name}_events_ratio": round(medians["definition"][1] / medians["hand"][1], 3),
        }


class Bench:
    """Runs both kinds of a shape, one execution at a time."""

    def __init__(self, client: Client, settings: Settings, steps: int) -> None:
        self._client = client
        self._settings = settings
        self._steps = steps
        self._input = {"lead": {"name": "Acme Corp", "budget": 50000}}

    async def by_hand(self, shape: Callable[..., Any]) -> WorkflowHandle[Any, Any]:
        start = {"steps": self._steps, "input": self._input}
        return await self._client.start_workflow(shape, start, id=new_execution_id(), task_queue=QUEUE)

    async def as_definition(self, *, chained: bool) -> WorkflowHandle[Any, Any]:
        checked = validate_definition(definition(self._steps, chained=chained))
        start = StartExecution(
            workflow_id=checked.document["workflow_id"],
            definition=checked.document,
            sha256=checked.sha256,
            input=self._input,
        )
        return await start_execution(self._client, self._settings, start)

    async def measure(self, samples: Samples, kind: str, start: Callable[[], Awaitable[Any]], *, keep: bool) -> None:
        began = time.perf_counter()
        handle = await start()
        await handle.result()
        seconds = time.perf_counter() - began
        if keep:
            samples.seconds[kind].append(seconds)
            types = [EventType.Name(event.event_type) async for event in handle.fetch_history_events()]
            task_events = sum("WORKFLOW_TASK" in name for name in types)
            samples.events[kind].append(len(types) - task_events)
            samples.task_events[kind].append(task_events)


async def compare(bench: Bench, *, chained: bool, rounds: int) -> Samples:
    samples = Samples()
    shape = ChainByHand.run if chained else FanOutByHand.run
    kinds: list[tuple[str, Callable[[], Awaitable[Any]]]] = [
        ("hand", lambda: bench.by_hand(shape)),
        ("definition", lambda: bench.as_definition(chained=chained)),
    ]
    for number in range(rounds + 1):
        for kind, start in kinds if number % 2 else reversed(kinds):
            await bench.measure(samples, kind, start, keep=number > 0)
    return samples


async def run(address: str, steps: int, rounds: int, *, show: bool) -> dict[str, float]:
    settings = Settings(_env_file=None, temporal_address=address, temporal_task_queue=QUEUE)
    client = await connect(settings)
    worker = Worker(
        client,
        task_queue=QUEUE,
        workflows=[AgentWorkflow, ChainByHand, FanOutByHand],
        activities=[bare_model_call, Stub().invoke_model],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_activities=1000,
    )
    figures: dict[str, float] = {}
    async with worker:
        for name, chained in (("chain", True), ("fan_out", False)):
            samples = await compare(Bench(client, settings, steps), chained=chained, rounds=rounds)
            figures |= samples.ratios(name)
            if show:
                for kind in ("hand", "definition"):
                    times = sorted(samples.seconds[kind])
                    print(
                        f"{name:8} {kind:10} median {statistics.median(times):.3f} s"
                        f"  ({times[0]:.3f} to {times[-1]:.3f}),  events {sorted(samples.events[kind])}"
                        f" and of workflow tasks {sorted(samples.task_events[kind])}"
                    )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, running_temporal(Path(folder)) as address:
        figures = asyncio.run(run(address, options.steps, options.rounds, show=True))
    print(json.dumps(figures) if options.json else "\n".join(f"{key} {value}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
