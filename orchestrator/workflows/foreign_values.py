"""Values that other people's workers send: one that cannot be read fails its step, never the workflow task for ever."""

from __future__ import annotations

import math
from typing import Any

from pydantic_core import from_json
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.common import RawValue
from temporalio.converter import DefaultFailureConverter, PayloadConverter

from orchestrator.execution.messages import ErrorInfo
from orchestrator.expressions.limits import DEFAULT_LIMITS

LONGEST_REASON = 200


class UnreadableValue(Exception):
    """A payload holds no JSON value that the language knows; the message says why."""


def read_foreign(raw: RawValue | None) -> Any:
    """Return the JSON value of a result in whatever encoding it came.

    Raises:
        UnreadableValue: it is none.
    """
    if raw is None:
        return None
    payload = raw.payload
    encoding = payload.metadata.get("encoding", b"").decode("ascii", "replace")
    if encoding == "binary/null":
        return None
    if not encoding.startswith("json/"):
        raise UnreadableValue(f"its encoding is '{encoding[:LONGEST_REASON]}', not JSON")
    return _read_json(payload)


def _read_json(payload: Payload) -> Any:
    try:
        value = from_json(payload.data, allow_inf_nan=False)
    except ValueError as error:
        raise UnreadableValue(f"it is no JSON: {str(error)[:LONGEST_REASON]}") from None
    _check(value, DEFAULT_LIMITS.result_nesting)
    return value


def _check(value: Any, levels: int) -> None:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UnreadableValue("a number in it is out of range")
    elif isinstance(value, list | dict):
        if not levels:
            raise UnreadableValue(f"it is nested deeper than {DEFAULT_LIMITS.result_nesting} levels")
        for part in value.values() if isinstance(value, dict) else value:
            _check(part, levels - 1)


def unreadable_output(activity_id: str, error: UnreadableValue) -> ErrorInfo:
    """Return the step's error for a result that cannot be read."""
    return ErrorInfo(type="invalid-output", message=f"step '{activity_id}': the activity's result is unusable: {error}")


class ReadableFailures(DefaultFailureConverter):
    """Reads every failure; details that cannot be decoded are left out, because they are not worth an execution."""

    def from_failure(self, failure: Failure, payload_converter: PayloadConverter) -> BaseException:
        """Return the exception of a failure."""
        try:
            return super().from_failure(failure, payload_converter)
        except Exception:
            return super().from_failure(_without_details(failure), payload_converter)


def _without_details(failure: Failure) -> Failure:
    bare = Failure()
    bare.CopyFrom(failure)
    current = bare
    while True:
        current.ClearField("encoded_attributes")
        if current.HasField("application_failure_info"):
            current.application_failure_info.ClearField("details")
        elif current.HasField("canceled_failure_info"):
            current.canceled_failure_info.ClearField("details")
        elif current.HasField("timeout_failure_info"):
            current.timeout_failure_info.ClearField("last_heartbeat_details")
        if not current.HasField("cause"):
            return bare
        current = current.cause
