"""Jobs over many executions: Temporal's batch operations, and a workflow of ours for retries."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from typing import Any, cast, get_args

from temporalio.api.batch.v1 import (
    BatchOperationCancellation,
    BatchOperationSignal,
    BatchOperationTermination,
)
from temporalio.api.enums.v1 import BatchOperationState
from temporalio.api.workflowservice.v1 import (
    DescribeBatchOperationRequest,
    DescribeBatchOperationResponse,
    StartBatchOperationRequest,
    StopBatchOperationRequest,
)
from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from api.bulk_queries import bulk_query
from api.dependencies import Services
from api.execution_control import OPERATOR
from api.schemas.bulk import BulkAction, BulkFailureRow, BulkJob, BulkRequest, BulkState
from api.times import text_of
from orchestrator.execution.clock import iso
from orchestrator.execution.errors import TemporalUnavailable, WrongState
from orchestrator.execution.errors_bulk import BulkJobNotFound, TooManyBulkJobs
from orchestrator.execution.messages_bulk import BULK_RETRY_TYPE, PROGRESS_MEMO, BulkProgress, BulkRetryStart

_JOB_ID = re.compile(rf"bulk-({'|'.join(get_args(BulkAction))})-([0-9]{{1,12}})-[a-z0-9]{{1,40}}")
"""With the number of executions: Temporal's batch operation knows it only once it has counted by itself."""
_STATE: dict[WorkflowExecutionStatus | None, BulkState] = {
    WorkflowExecutionStatus.RUNNING: "running",
    WorkflowExecutionStatus.CONTINUED_AS_NEW: "running",
    WorkflowExecutionStatus.COMPLETED: "completed",
    WorkflowExecutionStatus.CANCELED: "cancelled",
    WorkflowExecutionStatus.TERMINATED: "cancelled",
}
_TOO_MANY = "Max concurrent batch operations"


class BulkJobs:
    """Starts, reads and stops jobs."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._temporal = services.temporal

    async def start(self, request: BulkRequest, by: str) -> BulkJob:
        """Start a job, or only count what it would be about.

        Args:
            request: the body.
            by: who asks.

        Raises:
            RequestError: it does not say which executions.
            TooManyBulkJobs: Temporal runs as many batch operations as it allows.
            TemporalUnavailable: no answer.
        """
        now = datetime.now(UTC)
        query = bulk_query(request, now)
        async with self._services.calls.bounded():
            matched = (await self._temporal.count_workflows(query)).count
        if request.dry_run:
            return BulkJob(action=request.action, matched=matched, reason=request.reason, by=by)
        job_id = f"bulk-{request.action}-{matched}-{secrets.token_hex(13)}"
        if request.action == "retry":
            progress = BulkProgress(matched=matched, started_at=iso(now), reason=request.reason, by=by)
            await self._start_retry(job_id, query, progress)
        else:
            await self._start_batch(job_id, query, request, by)
        return BulkJob(
            job_id=job_id,
            action=request.action,
            state="running",
            matched=matched,
            started_at=iso(now),
            reason=request.reason,
            by=by,
        )

    async def read(self, job_id: str) -> BulkJob:
        """Return how far a job has come.

        Raises:
            BulkJobNotFound: there is none, or its retention ended.
        """
        found = _JOB_ID.fullmatch(job_id)
        if found is None:
            raise _not_found(job_id)
        action = cast("BulkAction", found.group(1))
        try:
            async with self._services.calls.bounded():
                if action == "retry":
                    return await self._read_retry(job_id)
                return await self._read_batch(job_id, action, int(found.group(2)))
        except RPCError as error:
            if error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
                raise
            raise _not_found(job_id) from error

    async def stop(self, job_id: str, by: str) -> BulkJob:
        """Let a job begin with no further executions; what it did stays.

        Raises:
            BulkJobNotFound: there is none.
            WrongState: it has ended.
        """
        job = await self.read(job_id)
        if job.state != "running":
            raise _ended(job)
        try:
            async with self._services.calls.bounded():
                if job.action == "retry":
                    await self._temporal.get_workflow_handle(job_id).cancel(reason=f"stopped by {by}")
                else:
                    await self._temporal.workflow_service.stop_batch_operation(
                        StopBatchOperationRequest(
                            namespace=self._temporal.namespace, job_id=job_id, reason=f"stopped by {by}", identity=by
                        )
                    )
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            raise _ended(await self.read(job_id)) from error
        return await self.read(job_id)

    # --- Temporal's batch operations ------------------------------------------------------------------------------

    async def _start_batch(self, job_id: str, query: str, request: BulkRequest, by: str) -> None:
        start = StartBatchOperationRequest(
            namespace=self._temporal.namespace,
            visibility_query=query,
            job_id=job_id,
            reason=request.reason or f"bulk {request.action} by {by}",
        )
        if request.action == "cancel":
            start.cancellation_operation.CopyFrom(BatchOperationCancellation(identity=by))
        elif request.action == "terminate":
            start.termination_operation.CopyFrom(BatchOperationTermination(identity=by))
        else:
            start.signal_operation.CopyFrom(await self._signal(request, by))
        try:
            async with self._services.calls.bounded():
                await self._temporal.workflow_service.start_batch_operation(start)
        except TemporalUnavailable as error:
            if _TOO_MANY not in error.message:
                raise
            raise TooManyBulkJobs(
                "Temporal runs as many batch operations as it allows in this namespace; nothing was started",
                hint="wait for the end of the other job, or stop it",
                retry_after_seconds=5,
            ) from error

    async def _signal(self, request: BulkRequest, by: str) -> BatchOperationSignal:
        payloads = await self._temporal.data_converter.encode([{"holder": OPERATOR, "reason": request.reason}])
        signal = BatchOperationSignal(signal=request.action, identity=by)
        signal.input.payloads.extend(payloads)
        return signal

    async def _read_batch(self, job_id: str, action: BulkAction, counted: int) -> BulkJob:
        found = await self._temporal.workflow_service.describe_batch_operation(
            DescribeBatchOperationRequest(namespace=self._temporal.namespace, job_id=job_id)
        )
        return BulkJob(
            job_id=job_id,
            action=action,
            state=await self._batch_state(found),
            matched=found.total_operation_count or counted,
            done=found.complete_operation_count,
            failed=found.failure_operation_count,
            started_at=text_of(found.start_time),
            ended_at=text_of(found.close_time),
            reason=found.reason,
            by=found.identity,
        )

    async def _batch_state(self, found: DescribeBatchOperationResponse) -> BulkState:
        if found.state == BatchOperationState.BATCH_OPERATION_STATE_COMPLETED:
            return "completed"
        if found.state == BatchOperationState.BATCH_OPERATION_STATE_RUNNING:
            return "running"
        # Temporal runs a batch as a workflow, and a stopped one is told from a failed one only by that.
        description = await self._temporal.get_workflow_handle(found.job_id).describe()
        return _STATE.get(description.status, "failed")

    # --- retries --------------------------------------------------------------------------------------------------

    async def _start_retry(self, job_id: str, query: str, progress: BulkProgress) -> None:
        async with self._services.calls.bounded():
            await self._temporal.start_workflow(
                BULK_RETRY_TYPE,
                BulkRetryStart(query=query, progress=progress),
                id=job_id,
                task_queue=self._services.settings.temporal_task_queue,
                memo={PROGRESS_MEMO: progress},
                static_summary=f"retries {progress.matched} attempts",
            )

    async def _read_retry(self, job_id: str) -> BulkJob:
        found = await self._temporal.get_workflow_handle(job_id).describe()
        progress = BulkProgress.model_validate(await _memo(found))
        return BulkJob(
            job_id=job_id,
            action="retry",
            state=_STATE.get(found.status, "failed"),
            ended_at=text_of(found.close_time),
            failures=[BulkFailureRow(**failure.model_dump()) for failure in progress.failures],
            **progress.model_dump(exclude={"failures"}),
        )


async def _memo(found: WorkflowExecutionDescription) -> Any:
    return (await found.memo()).get(PROGRESS_MEMO) or {}


def _not_found(job_id: str) -> BulkJobNotFound:
    return BulkJobNotFound(f"there is no bulk job '{job_id[:100]}'", hint="Temporal may no longer keep it")


def _ended(job: BulkJob) -> WrongState:
    return WrongState(f"bulk job '{job.job_id}' is {job.state}", details={"job_id": job.job_id, "job_state": job.state})
