"""Random SIGKILLs and stalls of worker, Temporal, Redis and API under a load of every kind of execution."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestrator.client import connect, disconnect
from tests.fakes.model_server import FakeModelServer
from tests.support.mixed_load import Job, Load
from tests.support.service_processes import Services
from tests.support.storm import Storm, runs_again, unexplained_repeats
from tests.support.stuck_executions import stuck_executions
from tests.support.tool_endpoint import ToolEndpoint

SEEDS = [int(seed) for seed in os.environ.get("CHAOS_SEEDS", "1,2,3").split(",")]
KILLS = int(os.environ.get("CHAOS_KILLS", "30"))
STALLS = int(os.environ.get("CHAOS_STALLS", "14"))
ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "8"))
"""Executions of each kind."""


def _survives(
    services: Services,
    model: FakeModelServer,
    endpoint: ToolEndpoint,
    seed: int,
    rounds: int,
    blow: Callable[[Storm], None],
) -> None:
    """Run so many executions of each kind through a storm, and assert all that is promised."""
    load, storm = Load(services.http, endpoint), Storm(services, endpoint, random.Random(seed))
    with ThreadPoolExecutor(16) as people:
        playing = [people.submit(load.play, kind) for _ in range(rounds) for kind in load.kinds]
        blow(storm)
        jobs = [future.result() for future in playing]
    for job in jobs:
        load.check_end(job)
    load.check_definitions()
    assert len({job.execution_id for job in jobs}) == len(jobs), "a repeated start answered with another execution"
    assert unexplained_repeats(endpoint.requests(), storm.outages) == []
    _check_agents(model, jobs)
    assert asyncio.run(_wrong_in_histories(services, jobs, endpoint)) == ([], {})


async def _wrong_in_histories(
    services: Services, jobs: Sequence[Job], endpoint: ToolEndpoint
) -> tuple[list[str], dict[str, int]]:
    client = await connect(services.settings)
    try:
        return await runs_again(client, jobs, endpoint.requests()), await stuck_executions(client)
    finally:
        await disconnect(client)


def _check_agents(model: FakeModelServer, jobs: Sequence[Job]) -> None:
    for job in jobs:
        if job.kind == "agents":
            tasks = [call.task for call in model.calls(job.mark)]
            assert "qualify_lead" not in tasks[tasks.index("enrich_lead") :], "a completed step ran again"


@pytest.mark.timeout(400)
def test_an_execution_of_every_kind_survives_a_kill_of_each_part(
    services: Services, model: FakeModelServer, endpoint: ToolEndpoint
) -> None:
    def blow(storm: Storm) -> None:
        for part in (services.worker, services.temporal, services.redis, services.api):
            storm.kill([part])

    _survives(services, model, endpoint, 1, 1, blow)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", SEEDS)
def test_executions_of_every_kind_survive_random_kills(
    services: Services, model: FakeModelServer, endpoint: ToolEndpoint, seed: int
) -> None:
    _survives(services, model, endpoint, seed, ROUNDS, lambda storm: storm.rage(KILLS))


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", SEEDS)
def test_executions_of_every_kind_survive_parts_that_stand_still(
    services: Services, model: FakeModelServer, endpoint: ToolEndpoint, seed: int
) -> None:
    _survives(services, model, endpoint, seed, ROUNDS, lambda storm: storm.stall(STALLS))
