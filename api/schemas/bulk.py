"""Bodies and documents of jobs over many executions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, TypeAdapter

from api.schemas.executions import AwaitedDetail, Body, ExecutionStatus
from api.times import no_number

BulkAction = Literal["cancel", "terminate", "pause", "resume", "retry"]
BulkState = Literal["running", "completed", "failed", "cancelled"]
MOST_IDS = 500
_PLAIN = r"^[^'\"\\]*$"
"""What may stand in a query of Temporal's visibility."""
_MOMENT: TypeAdapter[datetime] = TypeAdapter(datetime)


def _moment(value: Any) -> Any:
    # Bodies are strict; a time has no other form in JSON.
    return _MOMENT.validate_python(no_number(value)) if isinstance(value, str) else value


Moment = Annotated[datetime, BeforeValidator(_moment, json_schema_input_type=datetime)]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
TagKey = Annotated[str, StringConstraints(pattern=r"^[^'\"\\=]{1,64}$")]
TagValue = Annotated[str, StringConstraints(pattern=_PLAIN, max_length=256)]
PlainId = Annotated[str, StringConstraints(pattern=_PLAIN, min_length=1, max_length=128)]


class BulkFilter(Body):
    """Which executions, as the list's parameters say it; all that is given must hold."""

    workflow_id: Slug | None = None
    status: ExecutionStatus | None = None
    detail: AwaitedDetail | None = None
    tags: dict[TagKey, TagValue] = Field(default_factory=dict, max_length=10)
    error_type: str | None = Field(None, pattern=r"^[A-Za-z0-9_.-]{1,128}$")
    schedule_id: Slug | None = None
    started_after: Moment | None = None
    started_before: Moment | None = None


class BulkRequest(Body):
    """What to do with which executions: exactly one of `filter`, `execution_ids` and `all`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "action": "retry",
                    "filter": {"workflow_id": "lead-processing", "status": "failed", "error_type": "model-unavailable"},
                    "reason": "the provider is back",
                },
                {"action": "cancel", "execution_ids": ["ex-3kq6zn2gkd5yqv7c2m4xw5t2aa"], "dry_run": True},
            ]
        }
    )

    action: BulkAction
    filter: BulkFilter | None = Field(None, description="must name something: an empty one would match everything")
    execution_ids: list[PlainId] | None = Field(None, min_length=1, max_length=MOST_IDS)
    all: bool = Field(False, description="every execution that the action can apply to")
    reason: str = Field("", max_length=1000)
    dry_run: bool = Field(False, description="only count; answers 200")


class BulkFailureRow(BaseModel):
    """One execution with which the job did not succeed."""

    execution_id: str
    message: str


class BulkJob(BaseModel):
    """A job over many executions; of a dry run only `action` and `matched` tell something."""

    job_id: str | None = None
    action: BulkAction
    state: BulkState | None = Field(None, description="null for a dry run; `cancelled`: somebody stopped it")
    matched: int = Field(description="executions (of a retry: attempts) that the filter found when the job began")
    done: int = 0
    failed: int = 0
    skipped: int = Field(0, description="of a retry: an attempt that a later one followed already")
    failures: list[BulkFailureRow] = Field(
        default_factory=list, description="of a retry: the first 20; Temporal's own jobs only count theirs"
    )
    started_at: str | None = None
    ended_at: str | None = None
    reason: str = ""
    by: str = ""
