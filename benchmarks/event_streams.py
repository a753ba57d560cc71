"""Hundreds of open event streams on one API process: opening them, their memory, the way of an event to a reader.

    python benchmarks/event_streams.py [--streams 500] [--executions 10] [--events 200] [--rate 20] [--json]

Starts a Temporal server, a Redis and `orchestrator api`, each in a process of its own; the readers are in this one. No
worker runs: this program writes the events to Redis as a worker would, `--rate` a second over all executions, and last
each execution's end.

`open_ms` is the time from the first request until every stream's first bytes are there, all being asked for at once.
`stream_bytes` is the memory of the API process for each open stream. `delay_…_ms` is the time from just before an event
is written until a reader has it, over the events of all readers, and `first_ms` the longest such time of a first event:
the API asks for a stream that nobody watched before with the next round of its one blocking read. The same is measured
before with one stream, and a
`…_ratio` is the figure of all streams over that of the one. `same_bytes` says whether all readers of an execution got
the same bytes, and every event of it once; the program fails where they did not.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import httpx2

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from orchestrator.client import connect, disconnect, start_execution  # noqa: E402
from orchestrator.definition import validate_definition  # noqa: E402
from orchestrator.embedded.ports import LOOPBACK, free_port  # noqa: E402
from orchestrator.execution.messages import StartExecution  # noqa: E402
from orchestrator.settings import Settings  # noqa: E402
from orchestrator.stores.event_streams import EventStreams  # noqa: E402
from orchestrator.stores.redis import connect_redis  # noqa: E402
from tests.support.servers import running_redis, running_temporal  # noqa: E402

START_SECONDS = 120.0
STOP_SECONDS = 30.0
READ_SECONDS = 600.0


@contextmanager
def running_api_process(settings: Settings, folder: Path) -> Iterator[tuple[str, int]]:
    """The API in a process of its own; gives its root and its pid."""
    port = free_port()
    own = {
        "PYTHONPATH": str(ROOT),
        "TEMPORAL_ADDRESS": settings.temporal_address,
        "TEMPORAL_TASK_QUEUE": settings.temporal_task_queue,
        "REDIS_URL": str(settings.redis_url),
        "REDIS_KEY_PREFIX": settings.redis_key_prefix,
        "API_PORT": str(port),
        "API_AUTH": "off",
        "LOG_LEVEL": "WARNING",
    }
    with (folder / "api.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.cli", "api"], cwd=folder, env=os.environ | own, stdout=log, stderr=log
        )
        root = f"http://{LOOPBACK}:{port}/api/v1"
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                try:
                    httpx2.get(f"{root}/workflows/", trust_env=False).raise_for_status()
                    break
                except (httpx2.TransportError, httpx2.HTTPStatusError):
                    assert time.monotonic() < deadline, "the API does not start"
                    assert process.poll() is None, (folder / "api.log").read_text()
                    time.sleep(0.05)
            yield root, process.pid
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@dataclass
class Reader:
    """What one reader got.

    Attributes:
        opened: set with the first bytes.
        opened_at: when these came.
        delays: of the events, in seconds.
    """

    execution_id: str
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    opened_at: float = 0.0
    delays: list[float] = field(default_factory=list)
    digest: Any = field(default_factory=hashlib.sha256)
    ended: bool = False

    async def read(self, http: aiohttp.ClientSession, root: str) -> None:
        """Read to the end of the stream."""
        async with http.get(f"{root}/executions/{self.execution_id}/events") as answer:
            assert answer.status == 200, await answer.text()
            async for line in answer.content:
                if not self.opened_at:
                    self.opened_at = time.perf_counter()
                    self.opened.set()
                if line.startswith(b":") or line == b"\n":
                    # Keep-alives are each connection's own.
                    continue
                self.digest.update(line)
                if line.startswith(b'data: {"type":"step"'):
                    self.delays.append(time.time() - json.loads(line[6:])["written"])
                self.ended = self.ended or line == b"event: end\n"


class Bench:
    """Measures one API process.

    Args:
        streams: where events are written.
        root: of the API.
        pid: of its process.
        options: `events`, `rate`.
    """

    def __init__(self, streams: EventStreams, root: str, pid: int, options: argparse.Namespace) -> None:
        self._streams = streams
        self._root = root
        self._pid = pid
        self._options = options

    async def measured(self, execution_ids: Sequence[str], count: int) -> dict[str, float]:
        """Return the figures of so many streams over these executions."""
        readers = [Reader(execution_ids[number % len(execution_ids)]) for number in range(count)]
        connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(READ_SECONDS)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http, asyncio.TaskGroup() as reading:
            before, began = self._resident_bytes(), time.perf_counter()
            for reader in readers:
                reading.create_task(reader.read(http, self._root))
            await asyncio.gather(*(reader.opened.wait() for reader in readers))
            opened = max(reader.opened_at for reader in readers) - began
            weight = self._resident_bytes() - before
            await self._write(execution_ids)
        expected = self._options.events // len(execution_ids)
        digests = {(reader.execution_id, reader.digest.digest()) for reader in readers}
        same = len(digests) == len({reader.execution_id for reader in readers})
        same = same and all(reader.ended and len(reader.delays) == expected for reader in readers)
        delays = sorted(delay for reader in readers for delay in reader.delays[1:])
        return {
            "open_ms": round(opened * 1000, 1),
            "stream_bytes": max(weight, 0) // count,
            "delay_p50_ms": _milliseconds(delays, 0.5),
            "delay_p99_ms": _milliseconds(delays, 0.99),
            "first_ms": round(max(reader.delays[0] for reader in readers) * 1000, 1) if same else math.nan,
            "same_bytes": same,
        }

    async def _write(self, execution_ids: Sequence[str]) -> None:
        """Write the events at a steady rate, then the ends."""
        began = time.perf_counter()
        for number in range(self._options.events // len(execution_ids) * len(execution_ids)):
            await asyncio.sleep(began + number / self._options.rate - time.perf_counter())
            step = {"type": "step", "path": f"s{number}", "epoch": 0, "state": "running", "attempt": 1, "seq": number}
            execution_id = execution_ids[number % len(execution_ids)]
            await self._streams.append([(execution_id, {**step, "written": time.time()})])
        end = {"type": "end", "status": "completed", "snapshot": {"type": "snapshot", "steps": []}}
        await self._streams.append([(execution_id, end) for execution_id in execution_ids])

    def _resident_bytes(self) -> int:
        return int(Path(f"/proc/{self._pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def _milliseconds(ordered: Sequence[float], share: float) -> float:
    return round(ordered[math.ceil(len(ordered) * share) - 1] * 1000, 1) if ordered else math.nan


async def measured(settings: Settings, root: str, pid: int, options: argparse.Namespace) -> dict[str, float]:
    """Return all figures.

    Args:
        settings: bound to servers.
        root: of the API.
        pid: of its process.
        options: `streams`, `executions`, `events`, `rate`.
    """
    redis, client = connect_redis(settings), await connect(settings)
    step = {"step_id": "a", "step_type": "agent_task", "agent_type": "sales", "task": "t"}
    found = validate_definition({"name": "watched", "steps": [step]})
    start = StartExecution(
        workflow_id=found.document["workflow_id"], definition=found.document, sha256=found.sha256, input={}
    )
    try:
        # Two more: the first warms the API up, the second is the one stream to compare with.
        ids = [(await start_execution(client, settings, start)).id for _ in range(options.executions + 2)]
        bench = Bench(EventStreams(redis, settings.redis_key_prefix), root, pid, options)
        await bench.measured(ids[:1], 20)
        one = await bench.measured(ids[1:2], 1)
        many = await bench.measured(ids[2:], options.streams)
    finally:
        await disconnect(client)
        await redis.aclose()
    figures = {"streams": options.streams, **many, **{f"one_{name}": value for name, value in one.items()}}
    del figures["one_stream_bytes"]
    for name in ("open", "delay_p50", "delay_p99"):
        figures[f"{name}_ratio"] = round(many[f"{name}_ms"] / one[f"{name}_ms"], 2)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--executions", type=int, default=10, help="that the streams are spread over")
    parser.add_argument("--events", type=int, default=200, help="written in all")
    parser.add_argument("--rate", type=float, default=20.0, help="events a second")
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_temporal(folder / "temporal") as address, running_redis(folder / "redis") as redis_url:
            settings = Settings(_env_file=None, temporal_address=address, redis_url=redis_url)
            with running_api_process(settings, folder) as (root, pid):
                figures = asyncio.run(measured(settings, root, pid, options))
    print(json.dumps(figures) if options.json else "\n".join(f"{key} {value}" for key, value in figures.items()))
    sys.exit(0 if figures["same_bytes"] and figures["one_same_bytes"] else 1)


if __name__ == "__main__":
    main()
