"""The leaves of the error tree that speak of jobs over many executions."""

from __future__ import annotations

from orchestrator.execution.errors import NotFound, RequestError


class BulkJobNotFound(NotFound):
    """No bulk job has this id, or its retention has ended."""

    code = "bulk-job-not-found"
    title = "Bulk job not found"


class TooManyBulkJobs(RequestError):
    """Temporal runs as many batch operations as it allows in the namespace, one by default."""

    code = "too-many-bulk-jobs"
    title = "Too many bulk jobs"
