"""Metrics of the worker: Temporal's and our own, at one address in Prometheus's format."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from functools import cache

from temporalio.common import MetricMeter
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300]
_LONG_SECONDS = [0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800, 3600, 14_400, 86_400, 604_800]
_DOLLARS = [0.0001, 0.001, 0.01, 0.05, 0.1, 0.5, 1, 5]
BUCKETS = {
    "orchestrator_step_attempt_duration": _SECONDS,
    "orchestrator_agent_call_duration": _SECONDS,
    "orchestrator_execution_duration": _LONG_SECONDS,
    "orchestrator_model_call_cost_usd": _DOLLARS,
}


class MetricsAddressTaken(Exception):
    """Another process listens where the metrics shall be served."""


def serve_temporal_telemetry(metrics_address: str | None) -> None:
    """Send what Temporal's native core logs where our lines go, and serve metrics at an address.

    Raises:
        MetricsAddressTaken: the address is taken.
    """
    forwarding = LogForwardingConfig(logging.getLogger("temporalio.core"), append_target_to_name=False)
    logged = LoggingConfig(TelemetryFilter(core_level="WARN", other_level="ERROR"), forwarding)
    served = metrics_address and PrometheusConfig(
        bind_address=metrics_address,
        counters_total_suffix=True,
        unit_suffix=True,
        durations_as_seconds=True,
        histogram_bucket_overrides=BUCKETS,
    )
    try:
        runtime = Runtime(telemetry=TelemetryConfig(logging=logged, metrics=served or None))
    except (ValueError, RuntimeError) as error:
        raise MetricsAddressTaken(
            f"metrics cannot be served at {metrics_address}: {error}. Set WORKER_METRICS_ADDRESS to a free host:port, "
            "or leave it out to serve none."
        ) from error
    # The first client of the process decides the runtime; later ones share it.
    Runtime.set_default(runtime, error_if_already_set=False)


class WorkerMeters:
    """What our code on a worker counts. Labels have few values: no execution, no step, no text of errors."""

    def __init__(self, meter: MetricMeter) -> None:
        self._attempts = meter.create_counter(
            "orchestrator_step_attempts", "Attempts of steps' activities that ended, by outcome."
        )
        self._attempt_time = meter.create_histogram_timedelta(
            "orchestrator_step_attempt_duration", "How long they took.", "duration"
        )
        self._model_calls = meter.create_counter(
            "orchestrator_model_calls", "Model calls that left, by model and outcome."
        )
        self._model_tokens = meter.create_counter("orchestrator_model_tokens", "Tokens, by model and direction.")
        self._model_cost = meter.create_histogram_float(
            "orchestrator_model_call_cost_usd", "US dollars of model calls whose model has a price."
        )
        self._agent_calls = meter.create_counter(
            "orchestrator_agent_calls", "Calls of Python agents that ended, by outcome."
        )
        self._agent_time = meter.create_histogram_timedelta(
            "orchestrator_agent_call_duration", "How long they took.", "duration"
        )

    def attempt(self, activity: str, outcome: str, took: timedelta) -> None:
        """Count an attempt; `outcome` is `ok`, `cancelled`, or an error's code."""
        attributes = {"activity_type": activity, "outcome": outcome}
        self._attempts.add(1, attributes)
        self._attempt_time.record(took, attributes)

    def model_call(self, model: str, outcome: str, tokens: Mapping[str, int], cost_usd: float | None) -> None:
        """Count a model call; `tokens` by direction."""
        self._model_calls.add(1, {"model": model, "outcome": outcome})
        for direction, number in tokens.items():
            self._model_tokens.add(number, {"model": model, "direction": direction})
        if cost_usd is not None:
            self._model_cost.record(cost_usd, {"model": model})

    def agent_call(self, agent_type: str, task: str, outcome: str, took: timedelta) -> None:
        """Count a call of a Python agent."""
        attributes = {"agent_type": agent_type, "task": task, "outcome": outcome}
        self._agent_calls.add(1, attributes)
        self._agent_time.record(took, attributes)


@cache
def worker_meters() -> WorkerMeters:
    """Return this process's meters, which count nothing where no metrics are served."""
    return WorkerMeters(Runtime.default().metric_meter)
