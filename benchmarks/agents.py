"""What agents cost: a thousand waiting model calls on one worker, a turn of a loop, a token on its way to a reader.

    python benchmarks/agents.py [--executions 1000] [--seconds 2] [--turns 50] [--rounds 3] [--json]

Starts a Temporal server and a Redis of its own, a model server in a process of its own and one worker in this process.

`waiting_ratio` is the time in which all executions complete, each of whose single model call takes `--seconds`, over
that time; all are started at once. `waiting_bytes` is the memory of this process (the worker, and the client that
starts) for each execution while all of their calls are in flight: `in_flight` of them, reached in `in_flight_seconds`
(after ten minutes with fewer, those are weighed). `turn_ms` is a turn of one agent's loop (model call
and tool call), `bare_ms` the same model calls sent one after the other by an HTTP client, `turn_overhead_ms` the
difference. `token_…_ms` is the delay from the moment the model server writes a token to the moment a reader of the
execution's Server-Sent Events has it, from `orchestrator api` in a process of its own; pieces are gathered for 50 ms on
purpose. The model server writes once the reader's stream is open.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.event_streams import READ_SECONDS, running_api_process  # noqa: E402
from benchmarks.model_server import TOKENS  # noqa: E402
from orchestrator.commands.services import fastest_loop  # noqa: E402
from orchestrator.embedded.ports import free_port  # noqa: E402
from orchestrator.settings import Settings  # noqa: E402
from tests.support.executions import outcome  # noqa: E402
from tests.support.servers import running_redis, running_temporal  # noqa: E402
from tests.support.whole_worker import WholeWorker, whole_worker  # noqa: E402

STARTS_AT_ONCE = 64
START_SECONDS = 120.0
MOST_SECONDS = 600.0
"""After so long, the figures are of what was reached."""
NEVER_SECONDS = 3600.0
"""What a call may take: none is tried again while it waits for the others."""


@contextmanager
def running_model() -> Iterator[str]:
    """The model server in a process of its own; gives its root."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.model_server", str(port)], cwd=ROOT)
    root = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                httpx2.get(f"{root}/waiting", trust_env=False)
                break
            except httpx2.TransportError:
                assert time.monotonic() < deadline, "the model server does not start"
                time.sleep(0.05)
        yield root
    finally:
        process.terminate()
        process.wait()


class Bench:
    """Measures with one worker.

    Args:
        worker: the worker.
        root: of the model server.
    """

    def __init__(self, worker: WholeWorker, root: str) -> None:
        self._worker = worker
        self._root = root

    async def _start(self, model: str, **fields: Any) -> Any:
        step = {"step_id": "a", "step_type": "agent_task", "agent_type": "bench", "task": "t", **fields}
        step["timeouts"] = {"start_to_close_seconds": NEVER_SECONDS}
        return await self._worker.start({"steps": [{**step, "model": f"openai/{model}"}]}, {"lead": "Acme Corp"})

    async def _many(self, model: str, count: int) -> list[Any]:
        gate = asyncio.Semaphore(STARTS_AT_ONCE)

        async def start() -> Any:
            async with gate:
                return await self._start(model)

        return await asyncio.gather(*(start() for _ in range(count)))

    async def waiting(self, count: int, seconds: float) -> dict[str, float]:
        """Time executions that wait for one model call each, all started at once."""
        began = time.perf_counter()
        handles = await self._many(f"sleep-{seconds}", count)
        started = time.perf_counter() - began
        views = await asyncio.gather(*(outcome(handle) for handle in handles))
        took = time.perf_counter() - began
        done = sum(view.output == {"a": "done"} for view in views)
        return {
            "waiting_ratio": round(took / seconds, 2),
            "started_seconds": round(started, 2),
            "waiting_completed": done,
        }

    async def memory(self, count: int) -> dict[str, float]:
        """Weigh executions while all of their model calls are in flight."""
        before, began = _resident_bytes(), time.perf_counter()
        handles = await self._many("gate", count)
        async with httpx2.AsyncClient(base_url=self._root, trust_env=False) as http:
            waiting = 0
            while waiting < count and time.perf_counter() - began < MOST_SECONDS:
                await asyncio.sleep(0.1)
                waiting = (await http.get("/waiting")).json()
            took, weight = time.perf_counter() - began, _resident_bytes() - before
            await http.post("/open")
        await asyncio.gather(*(outcome(handle) for handle in handles))
        return {
            "in_flight": waiting,
            "in_flight_seconds": round(took, 2),
            "waiting_bytes": weight // max(waiting, 1),
        }

    async def turns(self, turns: int, rounds: int) -> dict[str, float]:
        """Time a turn of a loop, and the same model calls without one."""
        loops, bare = [], []
        async with httpx2.AsyncClient(base_url=self._root, trust_env=False) as http:
            for _ in range(rounds):
                began = time.perf_counter()
                view = await outcome(await self._start(f"loop-{turns}", max_turns=turns))
                loops.append((time.perf_counter() - began) / turns)
                assert view.output == {"a": "done"}, view.error
                messages: list[dict[str, Any]] = [{"role": "user", "content": "Task: t\n" * 20}]
                began = time.perf_counter()
                for _ in range(turns):
                    body = {"model": f"loop-{turns}", "messages": messages}
                    answer = await http.post("/v1/chat/completions", json=body)
                    messages.append(answer.json()["choices"][0]["message"])
                bare.append((time.perf_counter() - began) / turns)
        loop, alone = statistics.median(loops), statistics.median(bare)
        figures = {"turn_ms": loop, "bare_ms": alone, "turn_overhead_ms": loop - alone}
        return {name: round(seconds * 1000, 2) for name, seconds in figures.items()}

    async def tokens(self) -> dict[str, float]:
        """Time tokens on their way to a reader of Server-Sent Events."""
        with tempfile.TemporaryDirectory() as name, running_api_process(self._worker.settings, Path(name)) as (root, _):
            handle = await self._start("tokens")
            delays = await self._token_delays(f"{root}/executions/{handle.id}/events?tokens=true")
            await outcome(handle)
        delays.sort()
        return {
            "token_median_ms": round(statistics.median(delays) * 1000, 1),
            "token_p99_ms": round(delays[math.ceil(len(delays) * 0.99) - 1] * 1000, 1),
        }

    async def _token_delays(self, events_url: str) -> list[float]:
        """Return every token's delay in seconds; its text is the time at which it was written."""
        delays: list[float] = []
        is_token = False
        async with (
            httpx2.AsyncClient(timeout=READ_SECONDS, trust_env=False) as http,
            http.stream("GET", events_url) as answer,
        ):
            answer.raise_for_status()
            await http.post(f"{self._root}/write")
            async for line in answer.aiter_lines():
                if line.startswith("event:"):
                    is_token = line == "event: token"
                elif is_token and line.startswith("data:"):
                    now = time.time()
                    delays += [now - float(text) for text in json.loads(line[5:])["text"].split()]
                if len(delays) >= TOKENS:
                    break
        return delays


def _resident_bytes() -> int:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096


async def measured(settings: Settings, root: str, options: argparse.Namespace) -> dict[str, float]:
    """Return all figures.

    Args:
        settings: bound to servers.
        root: of the model server.
        options: `executions`, `seconds`, `turns`, `rounds`.
    """
    own = settings.model_copy(
        update={
            "openai_base_url": f"{root}/v1",
            "openai_api_key": None,
            "worker_max_concurrent_activities": max(options.executions, settings.worker_max_concurrent_activities),
        }
    )
    async with whole_worker(own) as worker:
        await worker.factory.put("bench", {"tools": ["get_time"]})
        bench = Bench(worker, root)
        figures = await bench.turns(options.turns, options.rounds)
        figures |= await bench.tokens()
        figures |= await bench.memory(options.executions)
        return figures | await bench.waiting(options.executions, options.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--turns", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name, running_model() as root:
        folder = Path(name)
        with running_temporal(folder / "temporal") as address, running_redis(folder / "redis") as redis_url:
            settings = Settings(_env_file=None, temporal_address=address, redis_url=redis_url)
            with asyncio.Runner(loop_factory=fastest_loop()) as runner:
                figures = runner.run(measured(settings, root, options))
    print(json.dumps(figures) if options.json else "\n".join(f"{key} {value}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
