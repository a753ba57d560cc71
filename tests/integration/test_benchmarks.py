"""The benchmarks run, and what they count holds at a small size too; the times themselves are not asserted."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.client import Client

from benchmarks import overhead, scale
from orchestrator.settings import Settings

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
