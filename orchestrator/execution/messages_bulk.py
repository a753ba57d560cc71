"""What jobs over many executions carry. Fields are only ever added (replay)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

BULK_RETRY_TYPE = "BulkRetry"
"""Temporal's workflow type of jobs that retry."""
PROGRESS_MEMO = "bulk"
"""Memo of such a job: its `BulkProgress`, so that it can be read without a worker."""
JOB_MEMO = "bulk_job"
"""Memo of an attempt that a job started: the job, and the run that it goes on from."""
SHOWN_FAILURES = 20


class BulkFailure(BaseModel):
    """One execution with which a job did not succeed."""

    execution_id: str
    message: str


class BulkProgress(BaseModel):
    """How far a job has come."""

    matched: int = 0
    done: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list[BulkFailure] = Field(default_factory=list)
    started_at: str | None = None
    reason: str = ""
    by: str = ""


class BulkRetryStart(BaseModel):
    """Retry every execution that a query finds; also what one run hands to the next."""

    query: str
    progress: BulkProgress
    page_token: str | None = None
    page_size: int = 50
    history_events: int = 0
    """A run ends at this many events, for tests; 0: when Temporal suggests it."""


class FindClosed(BaseModel):
    """Find a page of runs."""

    query: str
    page_token: str | None = None
    page_size: int = 50


class FoundRun(BaseModel):
    """One closed run."""

    execution_id: str
    run_id: str


class FoundRuns(BaseModel):
    """A page of runs; `page_token` is None with the last."""

    runs: list[FoundRun]
    page_token: str | None = None


class RetryClosed(BaseModel):
    """Start the next attempt of an execution whose latest run is this one."""

    job_id: str
    run: FoundRun
    reason: str = ""


class RetryOutcome(BaseModel):
    """What became of it; `skipped`: a later attempt was there already, or there is nothing to retry."""

    outcome: Literal["retried", "skipped", "failed"]
    message: str = ""
