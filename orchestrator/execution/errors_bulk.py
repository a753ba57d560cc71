"""The leaf of the error tree that speaks of jobs over many executions."""

from __future__ import annotations

from orchestrator.execution.errors import NotFound


class BulkJobNotFound(NotFound):
    """No bulk job has this id, or its retention has ended."""

    code = "bulk-job-not-found"
    title = "Bulk job not found"
