"""One large execution: a foreach over many items, a long chain, a wide DAG.

    python benchmarks/scale.py [--items 10000] [--concurrency 100] [--chain 5000] [--dag 1000] [--json]

Starts a Temporal server and a Redis of its own and one worker in this process. Says what was in flight at most (counted
at the far end), the largest history of a run, the memory, and how the cost of an item moves: what the last thousand
items took over what the first thousand took, in seconds and in processor time of this process, which other programs
disturb less. `activation_p99_ms` and `activation_max_ms` are exact: every activation of the workflow is timed, on its
own thread, waiting for the interpreter lock included. `replay_seconds` is what it takes to replay the longest run.

A call of the foreach takes 0.4 s, so that the limit is reached; any other takes 0.01 s.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import math
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from temporalio.api.enums.v1 import TimeoutType, WorkflowTaskFailedCause
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.client import Client, WorkflowHistory
from temporalio.worker import (
    Replayer,
    UnsandboxedWorkflowRunner,
    WorkflowInstance,
    WorkflowInstanceDetails,
)

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from activities.step_activity import step_activity  # noqa: E402
from orchestrator.client import connect, disconnect  # noqa: E402
from orchestrator.execution.messages_agents import InvokeModelInput, InvokeModelResult  # noqa: E402
from orchestrator.settings import Settings  # noqa: E402
from orchestrator.workflows.agent_workflow import AgentWorkflow  # noqa: E402
from tests.support.executions import worker_with  # noqa: E402
from tests.support.servers import running_redis, running_temporal  # noqa: E402


class FarEnd:
    """Counts what is in flight, and when each call ended.

    Args:
        seconds: how long a call takes.

    Attributes:
        ended: each call's end, on the wall clock and on the process's own.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.in_flight = self.most = 0
        self.ended: list[tuple[float, float]] = []

    @step_activity("invoke_model")
    async def invoke_model(self, request: InvokeModelInput) -> InvokeModelResult:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        await asyncio.sleep(self._seconds)
        self.in_flight -= 1
        self.ended.append((time.perf_counter(), time.process_time()))
        return InvokeModelResult(output={"score": 72, "tier": "warm"})


class TimedRunner(UnsandboxedWorkflowRunner):
    """Times every activation.

    Attributes:
        seconds: of each activation, without those that only forget an execution.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        instance = super().create_instance(det)
        activate = instance.activate

        def timed(act: WorkflowActivation) -> WorkflowActivationCompletion:
            began = time.perf_counter()
            try:
                return activate(act)
            finally:
                self.seconds.append(time.perf_counter() - began)

        instance.activate = timed  # type: ignore[method-assign]
        return instance

    def milliseconds(self, share: float) -> float:
        """Return the time that this share of all activations stays within."""
        ordered = sorted(self.seconds)
        return round(ordered[min(math.ceil(share * len(ordered)), len(ordered)) - 1] * 1000, 1)


def task(step_id: str, **fields: Any) -> dict[str, Any]:
    return {"step_id": step_id, "step_type": "agent_task", "agent_type": "sales", "task": "score", **fields}


def foreach(items: int, concurrency: int) -> dict[str, Any]:
    body = [task("score", parameters={"n": "{{ item }}"})]
    step = {
        "step_id": "all",
        "step_type": "foreach",
        "items": f"range(0, {items})",
        "steps": body,
        "item_output": "{{ steps.score.output.score }}",
        "max_concurrency": concurrency,
    }
    return {"name": "foreach", "steps": [step], "output": "{{ len(steps.all.output) }}"}


def chain(steps: int) -> dict[str, Any]:
    return {
        "name": "chain",
        "steps": [task(f"s{n}", **({"depends_on": [f"s{n - 1}"]} if n else {})) for n in range(steps)],
    }


def dag(steps: int, width: int = 50) -> dict[str, Any]:
    found = []
    for number in range(steps):
        row = number // width
        depends_on = [f"s{(row - 1) * width + (number + offset) % width}" for offset in range(3)] if row else []
        found.append(task(f"s{number}", depends_on=depends_on))
    return {"name": "dag", "steps": found, "output": "done"}


async def runs_of(client: Client, execution_id: str) -> list[WorkflowHistory]:
    """Return the history of every run, the longest first."""
    found = [
        await client.get_workflow_handle(execution.id, run_id=execution.run_id).fetch_history()
        async for execution in client.list_workflows(f"WorkflowId = '{execution_id}'")
    ]
    return sorted(found, key=lambda history: len(history.events), reverse=True)


def lost_tasks(runs: list[WorkflowHistory]) -> dict[str, int]:
    """Count the workflow tasks that failed or timed out; each costs a replay of its run."""
    found: Counter[str] = Counter()
    for event in (event for history in runs for event in history.events):
        if event.HasField("workflow_task_failed_event_attributes"):
            found[WorkflowTaskFailedCause.Name(event.workflow_task_failed_event_attributes.cause)] += 1
        elif event.HasField("workflow_task_timed_out_event_attributes"):
            found[TimeoutType.Name(event.workflow_task_timed_out_event_attributes.timeout_type)] += 1
    return dict(found)


async def replay_seconds(client: Client, history: WorkflowHistory) -> float:
    replayer = Replayer(
        workflows=[AgentWorkflow],
        data_converter=client.data_converter,
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    began = time.perf_counter()
    await replayer.replay_workflow(history)
    return round(time.perf_counter() - began, 2)


async def measured(client: Client, settings: Settings, definition: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Run one execution and say what it took.

    Args:
        client: connected.
        settings: of the servers.
        definition: what runs.
        seconds: how long a call at the far end takes.
    """
    far_end, timed = FarEnd(seconds), TimedRunner()
    with mock.patch("orchestrator.worker.workflow_runner", lambda _: timed):
        async with worker_with(client, settings, [far_end.invoke_model]) as runner:
            began = (time.perf_counter(), time.process_time())
            handle = await runner.start(definition)
            view = await handle.result()
            took = time.perf_counter() - began[0]
    assert view.status == "completed", view.error
    await asyncio.sleep(1.5)  # Visibility lags behind the close.
    runs = await runs_of(client, handle.id)
    thousand = min(1000, len(far_end.ended) // 2)
    first, last, before = far_end.ended[thousand - 1], far_end.ended[-1], far_end.ended[-thousand - 1]
    ratios = [round((last[clock] - before[clock]) / (first[clock] - began[clock]), 2) for clock in (0, 1)]
    return {
        "seconds": round(took, 1),
        "calls": len(far_end.ended),
        "most_in_flight": far_end.most,
        "runs": len(runs),
        "longest_history": len(runs[0].events),
        "last_over_first_time_ratio": ratios[0],
        "last_over_first_cpu_ratio": ratios[1],
        "activations": len(timed.seconds),
        "activation_p99_ms": timed.milliseconds(0.99),
        "activation_max_ms": timed.milliseconds(1),
        "lost_tasks": lost_tasks(runs),
        "replay_seconds": await replay_seconds(client, runs[0]),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


async def run(settings: Settings, options: argparse.Namespace) -> dict[str, Any]:
    client = await connect(settings)
    shapes: list[tuple[str, Callable[[], dict[str, Any]], int, float]] = [
        ("foreach", lambda: foreach(options.items, options.concurrency), options.items, 0.4),
        ("chain", lambda: chain(options.chain), options.chain, 0.01),
        ("dag", lambda: dag(options.dag), options.dag, 0.01),
    ]
    figures: dict[str, Any] = {}
    for name, build, size, seconds in shapes:
        if size:
            found = await measured(client, settings, build(), seconds)
            print(name, size, found, flush=True)
            figures |= {f"{name}_{key}": value for key, value in found.items()}
    await disconnect(client)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--chain", type=int, default=5_000)
    parser.add_argument("--dag", type=int, default=1_000)
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_temporal(folder) as address, running_redis(folder) as redis_url:
            settings = Settings(_env_file=None, temporal_address=address, redis_url=redis_url)
            figures = asyncio.run(run(settings, options))
    if options.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
