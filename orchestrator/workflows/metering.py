"""Counts how executions end, writing nothing into the history.

The SDK's meter is silent in replays, but not where a last workflow task is played again: after a message that came
behind it, or for a query on an execution that is not in the cache. So a process remembers what it has counted.
"""

from __future__ import annotations

from collections import OrderedDict

from temporalio import workflow

from orchestrator.execution.messages import ExecutionView

MOST_REMEMBERED = 10_000
_counted: OrderedDict[str, None] = OrderedDict()


def meter_end(view: ExecutionView) -> None:
    """Count an execution that ends, by workflow, status and error type, with its whole duration."""
    meter, info = workflow.metric_meter(), workflow.info()
    if workflow.unsafe.is_replaying() or not _is_new(info.run_id):
        return
    attributes = {
        "workflow": view.workflow_id,
        "status": view.status,
        "error_type": view.error.type if view.error else "",
    }
    closed = meter.create_counter("orchestrator_executions_closed", "Executions that ended, by how.")
    closed.add(1, attributes)
    duration = meter.create_histogram_timedelta("orchestrator_execution_duration", "From start to end.", "duration")
    duration.record(workflow.now() - info.workflow_start_time, {"workflow": view.workflow_id, "status": view.status})


def _is_new(run_id: str) -> bool:
    if run_id in _counted:
        return False
    _counted[run_id] = None
    if len(_counted) > MOST_REMEMBERED:
        _counted.popitem(last=False)
    return True
