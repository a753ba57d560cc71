"""What the API adds to Temporal: start, status and synchronous execute of a two-step workflow, side by side.

    python benchmarks/api.py [--rounds 200] [--starts 200] [--reconnects 50] [--json]

Starts Redis, Temporal, a worker and the API as processes. Each round does the same by a Temporal client and over HTTP
(aiohttp, one connection kept alive); the two alternate, so that a noisy machine troubles both alike. A figure is the
ratio of the API's time to Temporal's own at p50 and p99, and what it adds in milliseconds. `identical_starts` is how
many executions came of as many simultaneous starts with one `Idempotency-Key`. With `--json` the last line is one
JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
from temporalio.client import Client, WorkflowHandle

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from orchestrator.client import connect, disconnect, start_execution  # noqa: E402
from orchestrator.definition import validate_definition  # noqa: E402
from orchestrator.execution.messages import StartExecution  # noqa: E402
from orchestrator.settings import Settings  # noqa: E402
from tests.fakes.model_server import running_model_server  # noqa: E402
from tests.support.event_streams import Frame, last_states, watched  # noqa: E402
from tests.support.service_processes import running_services  # noqa: E402

DEFINITION: dict[str, Any] = {
    "workflow_id": "two-steps",
    "name": "Two steps",
    "steps": [
        {"step_id": "one", "step_type": "transform", "value": "{{ input.x + 1 }}"},
        {"step_id": "two", "step_type": "transform", "value": "{{ steps.one.output * 2 }}"},
    ],
}
INPUT = {"x": 20}
WAIT_SECONDS = 0.1
"""Of each step of the execution that is watched: it goes on while its readers come and go."""
Handle = WorkflowHandle[Any, Any]


class Direct:
    """The same by a Temporal client."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._checked = validate_definition(DEFINITION)

    async def start(self) -> Handle:
        start = StartExecution(
            workflow_id="two-steps", definition=self._checked.document, sha256=self._checked.sha256, input=INPUT
        )
        return await start_execution(self._client, self._settings, start)

    async def status(self, execution_id: str) -> None:
        handle = self._client.get_workflow_handle(execution_id)
        await handle.describe()
        await handle.result()

    async def execute(self) -> None:
        await (await self.start()).result()


class Rest:
    """The same over HTTP."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def post(self, body: dict[str, Any], **headers: str) -> dict[str, Any]:
        async with self._session.post(
            "/api/v1/workflows/two-steps/execute", json={"input_data": INPUT, **body}, headers=headers
        ) as answer:
            document: dict[str, Any] = await answer.json()
            assert answer.status in (200, 202), document
            return document

    async def start(self) -> None:
        await self.post({"async_execution": True})

    async def status(self, execution_id: str) -> None:
        async with self._session.get(f"/api/v1/executions/{execution_id}") as answer:
            assert (await answer.json())["status"] == "completed"

    async def execute(self) -> None:
        assert (await self.post({"async_execution": False}))["status"] == "completed"


async def seconds_of(call: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await call()
    return time.perf_counter() - began


async def compare(
    direct: Callable[[], Awaitable[object]], rest: Callable[[], Awaitable[object]], rounds: int
) -> dict[str, float]:
    """Measure both in turn; gives ratios, and milliseconds that the API adds."""
    warm = max(3, rounds // 20)
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + warm):
        order = (0, 1) if number % 2 else (1, 0)
        for kind in order:
            seconds = await seconds_of((direct, rest)[kind])
            if number >= warm:
                times[kind].append(seconds)
    found: dict[str, float] = {}
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        ours, theirs = (quantile(times[kind], share) for kind in (1, 0))
        found |= {f"{name}_ratio": round(ours / theirs, 2), f"{name}_added_ms": round(1000 * (ours - theirs), 2)}
    return found


def quantile(times: list[float], share: float) -> float:
    return statistics.quantiles(times, n=100, method="inclusive")[round(share * 100) - 1]


def waiting(steps: int) -> dict[str, Any]:
    """Return a workflow of waits, one after the other."""
    wait = {"step_type": "wait", "seconds": WAIT_SECONDS}
    return {
        "name": "Waiting",
        "steps": [
            {**wait, "step_id": f"w{number}", **({"depends_on": [f"w{number - 1}"]} if number else {})}
            for number in range(steps)
        ],
    }


async def watch(api_url: str, reconnects: int, crash: Callable[[], None]) -> dict[str, Any]:
    """Watch one execution by a reader that stays and one that comes again and again, across a crash."""
    async with httpx2.AsyncClient(base_url=f"{api_url}/api/v1", timeout=60, trust_env=False) as http:
        # Each step has two events.
        (await http.put("/workflows/waiting", json=waiting(reconnects * 2 // 3))).raise_for_status()
        execution_id = (await http.post("/workflows/waiting/execute", json={})).json()["execution_id"]
        whole = asyncio.create_task(watched(http, execution_id))
        pieces: list[Frame] = []
        for number in range(reconnects):
            if number == reconnects // 2:
                crash()
            pieces += await watched(http, execution_id, after=pieces[-1].id if pieces else None, most=1)
        pieces += await watched(http, execution_id, after=pieces[-1].id)
        document = (await http.get(f"/executions/{execution_id}")).json()
        states = {step["path"]: step["state"] for step in document["steps"]}
        return {
            "connections": reconnects + 1,
            "events": len(pieces),
            "same_bytes": [frame.text for frame in pieces] == [frame.text for frame in await whole],
            "last_states": last_states(pieces) == states and pieces[-1].data["status"] == document["status"],
        }


async def measured(
    api_url: str, settings: Settings, rounds: int, starts: int, reconnects: int, crash: Callable[[], None]
) -> dict[str, Any]:
    """Give every figure of services that run.

    Args:
        api_url: where the API is.
        settings: of a client of the same Temporal.
        rounds: how often each is measured.
        starts: how many are sent at once with one key.
        reconnects: how often a reader comes again.
        crash: kills the worker and starts it again.
    """
    client = await connect(settings)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(api_url, connector=connector) as session:
        async with session.put("/api/v1/workflows/two-steps", json=DEFINITION) as answer:
            assert answer.status in (200, 201), await answer.text()
        direct, rest = Direct(client, settings), Rest(session)
        done = await rest.post({"async_execution": False})
        execution_id = done["execution_id"]
        figures: dict[str, Any] = {}
        figures["start"] = await compare(direct.start, rest.start, rounds)
        figures["status"] = await compare(
            lambda: direct.status(execution_id), lambda: rest.status(execution_id), rounds
        )
        figures["execute"] = await compare(direct.execute, rest.execute, rounds)
        key = {"Idempotency-Key": uuid.uuid4().hex}
        answers = await asyncio.gather(*(rest.post({"async_execution": True}, **key) for _ in range(starts)))
        figures["identical_starts"] = {
            "starts": starts,
            "executions": len({answer["execution_id"] for answer in answers}),
        }
    figures["reconnects"] = await watch(api_url, reconnects, crash)
    await disconnect(client)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--starts", type=int, default=200)
    parser.add_argument("--reconnects", type=int, default=50)
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_model_server() as model,
        running_services(Path(folder), model.url) as services,
    ):

        def crash() -> None:
            services.worker.kill()
            services.worker.launch()

        figures = asyncio.run(
            measured(services.api_url, services.settings, options.rounds, options.starts, options.reconnects, crash)
        )
    for name, found in figures.items():
        print(f"{name:16} " + "  ".join(f"{key} {value}" for key, value in found.items()))
    if options.json:
        print(json.dumps(figures))
    watched_well = figures["reconnects"]["same_bytes"] and figures["reconnects"]["last_states"]
    sys.exit(0 if figures["identical_starts"]["executions"] == 1 and watched_well else 1)


if __name__ == "__main__":
    main()
