"""The benchmarks run, and what they count holds at a small size too; the times themselves are not asserted."""

from __future__ import annotations

import argparse
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from benchmarks import agents, overhead, scale
from benchmarks import api as api_benchmark
from orchestrator.settings import Settings
from orchestrator.workflows.agent_workflow import AgentWorkflow
from tests.support.api_server import running_api

FOREACH, CHAIN, DAG = scale.foreach(120, 30), scale.chain(25), scale.dag(60, width=20)


@pytest.mark.parametrize(("definition", "calls", "most_in_flight"), [(FOREACH, 120, 30), (CHAIN, 25, 1), (DAG, 60, 60)])
async def test_the_scale_benchmark_counts_every_call_and_what_is_in_flight(
    temporal_client: Client, isolated_settings: Settings, definition: dict[str, Any], calls: int, most_in_flight: int
) -> None:
    figures = await scale.measured(temporal_client, isolated_settings, definition, 0.05)
    assert figures["calls"] == calls
    assert 1 <= figures["most_in_flight"] <= most_in_flight
    assert figures["runs"] == 1
    assert 3 * calls < figures["longest_history"] <= 10_240
    assert figures["activations"] >= 2
    assert figures["activation_p99_ms"] <= figures["activation_max_ms"]


async def test_the_overhead_benchmark_causes_no_more_events_than_by_hand(temporal_address: str) -> None:
    figures = await overhead.run(temporal_address, steps=5, rounds=1, show=False)
    assert figures.keys() == {f"{shape}_{kind}_ratio" for shape in ("chain", "fan_out") for kind in ("time", "events")}
    assert figures["chain_events_ratio"] == figures["fan_out_events_ratio"] == 1.0


async def test_the_agents_benchmark_measures_waiting_turns_and_tokens(isolated_settings: Settings) -> None:
    options = argparse.Namespace(executions=20, seconds=0.2, turns=4, rounds=1)
    with agents.running_model() as root:
        figures = await agents.measured(isolated_settings, root, options)
    # No call is quicker than the model, and no turn than its model call alone.
    assert figures["waiting_ratio"] >= 1
    assert figures["turn_ms"] > figures["bare_ms"] > 0
    assert 0 < figures["token_median_ms"] <= figures["token_p99_ms"]
    assert figures.keys() >= {"waiting_bytes", "started_seconds"}


async def test_the_api_benchmark_compares_and_makes_one_execution_of_identical_starts(
    isolated_settings: Settings, temporal_client: Client
) -> None:
    worker = Worker(
        temporal_client,
        task_queue=isolated_settings.temporal_task_queue,
        workflows=[AgentWorkflow],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    async with running_api(isolated_settings) as client, worker:
        url = str(client.base_url).removesuffix("/api/v1/")
        figures = await api_benchmark.measured(url, isolated_settings, rounds=4, starts=30)
    assert figures["identical_starts"] == {"starts": 30, "executions": 1}
    assert figures.keys() == {"start", "status", "execute", "identical_starts"}
    assert all(figures[name]["p50_ratio"] > 0 for name in ("start", "status", "execute"))
