"""The benchmarks run, and what they count holds at a small size too; the times themselves are not asserted."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from benchmarks import agents, event_streams, overhead, scale
from benchmarks import api as api_benchmark
from orchestrator.settings import Settings
from orchestrator.worker import published_events
from tests.support.api_server import leased_worker, running_api

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
    assert (figures["in_flight"], figures["waiting_completed"]) == (20, 20)
    assert figures.keys() >= {"waiting_bytes", "started_seconds", "turn_overhead_ms"}


async def test_the_api_benchmark_compares_counts_and_watches(
    isolated_settings: Settings, temporal_client: Client
) -> None:
    crashed: list[bool] = []
    async with (
        running_api(isolated_settings) as client,
        published_events(isolated_settings) as events,
        leased_worker(temporal_client, isolated_settings, [], [events]),
    ):
        url = str(client.base_url).removesuffix("/api/v1/")
        figures = await api_benchmark.measured(
            url, isolated_settings, rounds=4, starts=30, reconnects=6, crash=lambda: crashed.append(True)
        )
    assert figures["identical_starts"] == {"starts": 30, "executions": 1}
    assert figures.keys() == {"start", "status", "execute", "identical_starts", "reconnects"}
    assert all(figures[name]["p50_ratio"] > 0 for name in ("start", "status", "execute"))
    watched = figures["reconnects"]
    assert (watched["same_bytes"], watched["last_states"], watched["connections"]) == (True, True, 7)
    assert watched["events"] > 7
    assert crashed


async def test_the_event_streams_benchmark_gives_every_reader_every_event(
    isolated_settings: Settings, tmp_path: Path
) -> None:
    options = argparse.Namespace(streams=30, executions=3, events=30, rate=200.0)
    with event_streams.running_api_process(isolated_settings, tmp_path) as (root, pid):
        figures = await event_streams.measured(isolated_settings, root, pid, options)
    assert (figures["streams"], figures["same_bytes"], figures["one_same_bytes"]) == (30, True, True)
    assert figures["stream_bytes"] >= 0
    assert 0 < figures["delay_p50_ms"] <= figures["delay_p99_ms"]
    assert figures.keys() >= {"open_ms", "open_ratio", "delay_p50_ratio", "delay_p99_ratio", "first_ms"}
