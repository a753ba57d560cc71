"""A step's policies with the defaults applied: its own fields, then the document's, then the built-in ones."""

from __future__ import annotations

from typing import Any

from orchestrator.definition import limits
from orchestrator.definition.compiled import RetryRule, TimeoutRule
from orchestrator.definition.models import Activity, AgentTask, Defaults, Step, VectorUpsert
from orchestrator.definition.parts import Retry, Timeouts

_START_TO_CLOSE: dict[type[Step], float] = {
    AgentTask: limits.MODEL_START_TO_CLOSE_SECONDS,
    VectorUpsert: limits.MODEL_START_TO_CLOSE_SECONDS,
    Activity: limits.ACTIVITY_START_TO_CLOSE_SECONDS,
}


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def resolve_retry(model: Step, defaults: Defaults | None) -> RetryRule:
    """Return the retry policy of a step."""
    own, shared = model.retry or Retry(), (defaults.retry if defaults else None) or Retry()
    return RetryRule(
        max_attempts=_first(own.max_attempts, shared.max_attempts, limits.MAX_ATTEMPTS),
        initial_interval=_first(
            own.initial_interval_seconds, shared.initial_interval_seconds, limits.INITIAL_INTERVAL_SECONDS
        ),
        backoff=_first(own.backoff_coefficient, shared.backoff_coefficient, limits.BACKOFF_COEFFICIENT),
        max_interval=_first(own.max_interval_seconds, shared.max_interval_seconds, limits.MAX_INTERVAL_SECONDS),
        non_retryable=tuple(_first(own.non_retryable_errors, shared.non_retryable_errors, ())),
    )


def resolve_timeouts(model: Step, defaults: Defaults | None) -> TimeoutRule:
    """Return the timeouts of a step."""
    own, shared = model.timeouts or Timeouts(), (defaults.timeouts if defaults else None) or Timeouts()
    built_in = _START_TO_CLOSE.get(type(model), limits.START_TO_CLOSE_SECONDS)
    whole = _first(own.schedule_to_close_seconds, shared.schedule_to_close_seconds, limits.SCHEDULE_TO_CLOSE_SECONDS)
    return TimeoutRule(
        start_to_close=min(_first(own.start_to_close_seconds, shared.start_to_close_seconds, built_in), whole),
        schedule_to_close=whole,
        schedule_to_start=_first(own.schedule_to_start_seconds, shared.schedule_to_start_seconds),
        heartbeat=_first(own.heartbeat_seconds, shared.heartbeat_seconds, limits.HEARTBEAT_SECONDS),
    )
