"""One large execution: a foreach over many items, a long chain, a wide DAG.

    python benchmarks/scale.py [--items 10000] [--concurrency 100] [--chain 5000] [--dag 1000] [--json]

Starts a Temporal server and a Redis of its own and one worker in this process. Says what was in flight at most (counted
at the far end), the largest history of a run, the memory, and how the cost of an item moves: the time of the last
thousand items over that of the first thousand.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from temporalio.client import Client

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from activities.step_activity import step_activity  # noqa: E402
from orchestrator.client import connect, disconnect  # noqa: E402
from orchestrator.execution.messages_agents import InvokeModelInput, InvokeModelResult  # noqa: E402
from orchestrator.settings import Settings  # noqa: E402
from tests.support.executions import worker_with  # noqa: E402
from tests.support.servers import running_redis, running_temporal  # noqa: E402


class FarEnd:
    """Counts what is in flight and when each call ended."""

    def __init__(self) -> None:
        self.in_flight = self.most = 0
        self.ended: list[float] = []

    @step_activity("invoke_model")
    async def invoke_model(self, request: InvokeModelInput) -> InvokeModelResult:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        await asyncio.sleep(0.01)
        self.in_flight -= 1
        self.ended.append(time.perf_counter())
        return InvokeModelResult(output={"score": 72, "tier": "warm"})


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


async def histories(client: Client, execution_id: str) -> list[int]:
    lengths: list[int] = []
    async for execution in client.list_workflows(f"WorkflowId = '{execution_id}'"):
        handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
        lengths.append((await handle.describe()).history_length)
    return lengths


async def measured(client: Client, settings: Settings, definition: dict[str, Any]) -> dict[str, Any]:
    far_end = FarEnd()
    async with worker_with(client, settings, [far_end.invoke_model]) as runner:
        began = time.perf_counter()
        handle = await runner.start(definition)
        view = await handle.result()
        seconds = time.perf_counter() - began
        assert view.status == "completed", view.error
        await asyncio.sleep(1.5)  # Visibility lags behind the close.
        runs = await histories(client, handle.id)
    thousand = min(1000, len(far_end.ended) // 2)
    first = far_end.ended[thousand - 1] - began
    last = far_end.ended[-1] - far_end.ended[-thousand]
    return {
        "seconds": round(seconds, 1),
        "calls": len(far_end.ended),
        "most_in_flight": far_end.most,
        "runs": len(runs),
        "longest_history": max(runs, default=0),
        "last_over_first_time_ratio": round(last / first, 2),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


async def run(settings: Settings, options: argparse.Namespace) -> dict[str, Any]:
    client = await connect(settings)
    shapes: list[tuple[str, Callable[[], dict[str, Any]], int]] = [
        ("foreach", lambda: foreach(options.items, options.concurrency), options.items),
        ("chain", lambda: chain(options.chain), options.chain),
        ("dag", lambda: dag(options.dag), options.dag),
    ]
    figures: dict[str, Any] = {}
    for name, build, size in shapes:
        if size:
            found = await measured(client, settings, build())
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
