"""Jobs over many executions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.sdk.calls import Call, delete, fields, get, path, post
from orchestrator.sdk.documents import BulkJob
from orchestrator.sdk.methods import Operation


class BulkOperations:
    """Cancel, terminate, pause, resume or retry what a filter finds."""

    @Operation
    def start_bulk_job(
        self,
        action: str,
        filter: Mapping[str, Any] | None = None,
        *,
        execution_ids: Sequence[str] | None = None,
        all: bool | None = None,
        reason: str | None = None,
        dry_run: bool | None = None,
    ) -> Call[BulkJob]:
        """Act on many executions; gives the job, to be read by its `job_id`.

        Args:
            action: `cancel`, `terminate`, `pause`, `resume` or `retry`.
            filter: `workflow_id`, `status`, `detail`, `tags`, `error_type`, `schedule_id`, `started_after`,
                `started_before`.
            execution_ids: these, instead of a filter.
            all: every execution, instead of a filter.
            reason: why; kept with the job.
            dry_run: only count.
        """
        body = fields(
            action=action, filter=filter, execution_ids=execution_ids, all=all, reason=reason, dry_run=dry_run
        )
        return post("/executions/bulk", body)

    @Operation
    def get_bulk_job(self, job_id: str) -> Call[BulkJob]:
        """How far a job has come."""
        return get(path("executions", "bulk", job_id))

    @Operation
    def stop_bulk_job(self, job_id: str) -> Call[BulkJob]:
        """Let a job begin with no further executions."""
        return delete(path("executions", "bulk", job_id))
