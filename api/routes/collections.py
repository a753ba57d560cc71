"""The vector collections, reached through the worker: it alone owns the embedded store."""

from __future__ import annotations

import uuid
from datetime import timedelta

from fastapi import APIRouter
from temporalio.client import ActivityFailureError
from temporalio.common import RetryPolicy

from api.dependencies import ServicesDep
from api.schemas.problems import problems
from orchestrator.execution.errors import NoWorker
from orchestrator.execution.messages_vectors import DescribeVectorsResult

WORKER_SECONDS = 5
"""How long the API waits for a worker."""

router = APIRouter(prefix="/collections", tags=["vectors"])


@router.get(
    "/",
    operation_id="list_collections",
    summary="List the vector collections",
    response_model=DescribeVectorsResult,
    responses=problems(503),
)
async def list_collections(services: ServicesDep) -> DescribeVectorsResult:
    """Ask a worker for its vector store's collections, by a standalone activity; 503 without a worker."""
    try:
        async with services.calls.bounded(patience_seconds=WORKER_SECONDS + 2):
            found: DescribeVectorsResult = await services.temporal.execute_activity(
                "describe_vectors",
                id=f"collections-{uuid.uuid4().hex}",
                task_queue=services.settings.temporal_task_queue,
                result_type=DescribeVectorsResult,
                schedule_to_start_timeout=timedelta(seconds=WORKER_SECONDS),
                start_to_close_timeout=timedelta(seconds=WORKER_SECONDS),
                retry_policy=RetryPolicy(maximum_attempts=1),
            )
    except ActivityFailureError as error:
        raise NoWorker(
            f"no worker answered within {WORKER_SECONDS} s: {error.cause}",
            hint="start one with `orchestrator worker`",
            retry_after_seconds=WORKER_SECONDS,
        ) from error
    return found
