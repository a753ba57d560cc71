"""Counts how executions end. The SDK's meter is silent in replays, and writes nothing into the history."""

from __future__ import annotations

from temporalio import workflow

from orchestrator.execution.messages import ExecutionView


def meter_end(view: ExecutionView) -> None:
    """Count an execution that ends, by workflow, status and error type, with its whole duration."""
    meter, info = workflow.metric_meter(), workflow.info()
    attributes = {
        "workflow": view.workflow_id,
        "status": view.status,
        "error_type": view.error.type if view.error else "",
    }
    closed = meter.create_counter("orchestrator_executions_closed", "Executions that ended, by how.")
    closed.add(1, attributes)
    duration = meter.create_histogram_timedelta("orchestrator_execution_duration", "From start to end.", "duration")
    duration.record(workflow.now() - info.workflow_start_time, {"workflow": view.workflow_id, "status": view.status})
