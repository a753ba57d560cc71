"""Retries many executions: a durable job, page by page, a few executions at a time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

from orchestrator.execution.messages_bulk import (
    BULK_RETRY_TYPE,
    PROGRESS_MEMO,
    SHOWN_FAILURES,
    BulkFailure,
    BulkProgress,
    BulkRetryStart,
    FindClosed,
    FoundRun,
    FoundRuns,
    RetryClosed,
    RetryOutcome,
)

AT_ONCE = 4
"""A worker replays each execution's history to tell its position: more at once would hold up what runs."""
LONGEST_MESSAGE = 300


@workflow.defn(name=BULK_RETRY_TYPE)
class BulkRetry:
    """Retries what a query finds; its memo tells how far it has come.

    The activity is safe to repeat: an attempt that this very job started is recognised by its memo.
    """

    @workflow.init
    def __init__(self, start: BulkRetryStart) -> None:
        self._progress = start.progress

    @workflow.run
    async def run(self, start: BulkRetryStart) -> BulkProgress:
        """Retry page after page; a cancel ends it after the executions in hand."""
        while True:
            page = await self._page(start)
            for first in range(0, len(page.runs), AT_ONCE):
                await self._retry(page.runs[first : first + AT_ONCE])
            if page.page_token is None:
                return self._progress
            start.page_token = page.page_token
            if self._long_enough(start):
                workflow.continue_as_new(start.model_copy(update={"progress": self._progress}))

    async def _page(self, start: BulkRetryStart) -> FoundRuns:
        found: FoundRuns = await workflow.execute_activity(
            "find_closed_runs",
            FindClosed(query=start.query, page_token=start.page_token, page_size=start.page_size),
            result_type=FoundRuns,
            start_to_close_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=30)),
            summary="find executions",
        )
        return found

    async def _retry(self, runs: list[FoundRun]) -> None:
        # Shielded, so that what was started is also counted.
        working = asyncio.gather(*(self._retry_one(run) for run in runs))
        try:
            outcomes = await asyncio.shield(working)
        except asyncio.CancelledError:
            self._count(runs, await working)
            raise
        self._count(runs, outcomes)

    async def _retry_one(self, run: FoundRun) -> RetryOutcome:
        job = workflow.info().workflow_id
        try:
            outcome: RetryOutcome = await workflow.execute_activity(
                "retry_closed",
                RetryClosed(job_id=job, run=run, reason=self._progress.reason),
                result_type=RetryOutcome,
                start_to_close_timeout=timedelta(seconds=60),
                schedule_to_close_timeout=timedelta(minutes=15),
                retry_policy=RetryPolicy(maximum_attempts=5, maximum_interval=timedelta(seconds=30)),
                summary=f"retry {run.execution_id}"[:200],
            )
        except ActivityError as error:
            return RetryOutcome(outcome="failed", message=str(error.cause or error))
        return outcome

    def _count(self, runs: list[FoundRun], outcomes: list[RetryOutcome]) -> None:
        progress = self._progress
        for run, found in zip(runs, outcomes, strict=True):
            if found.outcome == "retried":
                progress.done += 1
            elif found.outcome == "skipped":
                progress.skipped += 1
            else:
                progress.failed += 1
                if len(progress.failures) < SHOWN_FAILURES:
                    message = found.message[:LONGEST_MESSAGE]
                    progress.failures.append(BulkFailure(execution_id=run.execution_id, message=message))
        workflow.upsert_memo({PROGRESS_MEMO: progress})

    def _long_enough(self, start: BulkRetryStart) -> bool:
        info, most = workflow.info(), start.history_events
        return info.is_continue_as_new_suggested() or bool(most and info.get_current_history_length() >= most)
