"""What metrics and traces are told of an attempt: how it ended, how long it took, which model calls it made."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from opentelemetry import trace
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.attempt_notes import AttemptNotes
from orchestrator.execution.messages import StepCall
from orchestrator.execution.messages_ledger import LedgerCall
from orchestrator.telemetry.metrics import worker_meters


@contextmanager
def observed_attempt(call: StepCall, number: int, notes: AttemptNotes) -> Iterator[None]:
    """Count the attempt that runs in the block, and describe it in its span.

    Args:
        call: whose attempt.
        number: which one, parked ones not counted.
        notes: the model calls that it notes; those of earlier attempts are in them already.
    """
    began, earlier, outcome = time.monotonic(), len(notes.spent), "internal-error"
    trace.get_current_span().set_attributes(
        {
            "orchestrator.execution_id": call.execution_id,
            "orchestrator.step_path": call.path,
            "orchestrator.attempt": number,
        }
    )
    try:
        yield
        outcome = "ok"
    except ApplicationError as error:
        outcome = error.type or outcome
        raise
    except asyncio.CancelledError:
        outcome = "cancelled"
        raise
    finally:
        took = timedelta(seconds=time.monotonic() - began)
        worker_meters().attempt(activity.info().activity_type, outcome, took)
        trace.get_current_span().set_attribute("orchestrator.outcome", outcome)
        _tell_calls(notes.spent[earlier:])


def _tell_calls(calls: list[LedgerCall]) -> None:
    for call in calls:
        # What is presumed was told by nobody.
        tokens = {} if call.presumed else {"input": call.input_tokens, "output": call.output_tokens}
        worker_meters().model_call(call.model, call.outcome, tokens, None if call.presumed else call.cost_usd)
    if calls:
        # The last call's, by OpenTelemetry's conventions for generative AI.
        provider, _, model = calls[-1].model.partition("/")
        trace.get_current_span().set_attributes(
            {
                "gen_ai.provider.name": provider,
                "gen_ai.request.model": model,
                "gen_ai.usage.input_tokens": calls[-1].input_tokens,
                "gen_ai.usage.output_tokens": calls[-1].output_tokens,
            }
        )
