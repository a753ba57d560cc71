"""SIGKILLs and stalls at random moments, and what may have happened twice because of them."""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHistory

from tests.support.mixed_load import Job
from tests.support.service_processes import Part, Services
from tests.support.tool_endpoint import ToolEndpoint, ToolRequest

Outage = tuple[float, float]
SETTLING_SECONDS = 2.0
"""How long after a part is back a call that was caught in its outage may still be repeated at once."""


class Storm:
    """Kills or freezes parts of a deployment and brings them back.

    Args:
        services: the deployment.
        endpoint: the far end, by whose calls the work's progress is known.
        chance: says what is killed, when, and for how long it is away.

    Attributes:
        outages: from when to when something was away, on the wall clock.
    """

    def __init__(self, services: Services, endpoint: ToolEndpoint, chance: random.Random) -> None:
        self._services = services
        self._endpoint = endpoint
        self._chance = chance
        self.outages: list[Outage] = []

    def kill(self, parts: Sequence[Part]) -> None:
        """Let some work be done, kill these parts at once, and start them again after a while."""
        self._let_pass(3.0)
        began = time.time()
        for part in parts:
            part.kill()
        self._let_pass(1.0)
        self._services.make_whole()
        self.outages.append((began, time.time()))

    def rage(self, times: int) -> None:
        """Kill so often, mostly one part, sometimes two together."""
        for _ in range(times):
            self.kill(self._chance.sample(self._services.parts, self._chance.choice((1, 1, 1, 2))))

    def freeze(self, parts: Sequence[Part], seconds: float) -> None:
        """Let some work be done, keep these parts from doing anything for so long, and let them go on."""
        self._let_pass(3.0)
        began = time.time()
        with ExitStack() as frozen:
            for part in parts:
                frozen.enter_context(part.frozen())
            time.sleep(seconds)
        self._services.make_whole()
        self.outages.append((began, time.time()))

    def stall(self, times: int) -> None:
        """Freeze so often, one part or several, for longer than leases, heartbeats and calls wait, or not."""
        for _ in range(times):
            parts = self._chance.sample(self._services.parts, self._chance.choice((1, 1, 1, 2, 4)))
            self.freeze(parts, self._chance.choice((1, 3, 6, 12, 16)))

    def _let_pass(self, most_seconds: float) -> None:
        """Pass a moment of random length: so many calls at the far end, or so much time, whichever comes first."""
        calls = len(self._endpoint.requests()) + self._chance.randrange(1, 8)
        until = time.monotonic() + self._chance.uniform(0, most_seconds)
        while time.monotonic() < until and len(self._endpoint.requests()) < calls:
            time.sleep(0.005)


def unexplained_repeats(requests: Sequence[ToolRequest], outages: Sequence[Outage]) -> list[str]:
    """Return the calls that came again under the same key although nothing was away since the call before."""
    by_key: defaultdict[str, list[float]] = defaultdict(list)
    for request in requests:
        by_key[request.key].append(request.at)
    return [
        f"{key}: {times}"
        for key, times in by_key.items()
        for earlier, later in pairwise(times)
        if not any(began <= later and earlier <= ended + SETTLING_SECONDS for began, ended in outages)
    ]


async def runs_again(client: Client, jobs: Sequence[Job], requests: Sequence[ToolRequest]) -> list[str]:
    """Return what ran although its completion was recorded: scheduled twice, or called after the record."""
    last_call = {request.key: request.at for request in requests}
    found: list[str] = []
    for job in jobs:
        history = await client.get_workflow_handle(job.execution_id).fetch_history()
        scheduled, completed = _activities(history)
        found += [f"{job}: {name} was scheduled {times} times" for name, times in scheduled.items() if times > 1]
        found += [
            f"{job}: {name} was called {last_call[key] - at:.3f} s after its completion"
            for name, at in completed.items()
            if last_call.get(key := f"{job.execution_id}/{name}", 0) > at
        ]
    return found


def _activities(history: WorkflowHistory) -> tuple[Counter[str], dict[str, float]]:
    """Return how often each activity id was scheduled, and when its completion was recorded."""
    names = {
        event.event_id: event.activity_task_scheduled_event_attributes.activity_id
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    }
    completed = {
        names[event.activity_task_completed_event_attributes.scheduled_event_id]: event.event_time.ToNanoseconds() / 1e9
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
    }
    return Counter(names.values()), completed
