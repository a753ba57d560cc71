"""Executions as the API shows them: one document for starts, reads and operator actions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from orchestrator.definition.limits import LONGEST_SECONDS, SECRET_NAME_PATTERN
from orchestrator.execution.messages import ErrorInfo, Lineage, OpenApproval, SignalsView
from orchestrator.execution.messages_ledger import SpendTotals

ExecutionStatus = Literal[
    "queued", "running", "paused", "awaiting", "completed", "failed", "cancelled", "terminated", "timed_out"
]
AwaitedDetail = Literal["operator", "approval", "signal", "concurrency"]
MOST_SPEND = 10**12
CLOSED: frozenset[str] = frozenset({"completed", "failed", "cancelled", "terminated", "timed_out"})

LEAD: dict[str, Any] = {
    "lead": {
        "name": "Acme Corp",
        "email": "contact@acmecorp.com",
        "website": "https://acmecorp.com",
        "budget": 50000,
        "timeframe": "Q3 2023",
        "requirements": "AI solution for customer support",
    }
}


TagKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
TagValue = Annotated[str, StringConstraints(max_length=256)]


class Body(BaseModel):
    """A request body: unknown fields are errors, nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class CallbackRequest(Body):
    """Where to post the execution's end: signed by Standard Webhooks, sent again for three days until 2xx."""

    url: str = Field(min_length=1, max_length=2000, description="kept in the execution's history: no secrets in it")
    secret: str | None = Field(
        None,
        pattern=SECRET_NAME_PATTERN,
        description="name of the secret that signs; null: `CALLBACK_SIGNING_SECRET`",
    )


class ExecuteOptions(Body):
    """Bounds and rank of one execution."""

    execution_seconds: float | None = Field(
        None, gt=0, le=LONGEST_SECONDS, description="deadline of this execution, where the definition's is not sooner"
    )
    priority: int | None = Field(None, ge=1, le=5, description="1 is served first; 3 by default")


class ExecuteRequest(Body):
    """How to start an execution."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"input_data": LEAD, "async_execution": False},
                {"input_data": LEAD, "tags": {"team": "sales"}},
            ]
        }
    )

    input_data: Any = Field(default_factory=dict, description="any JSON value; `input_schema` may restrict it")
    async_execution: bool = Field(True, description="true: answer 202 at once; false: wait for the end")
    version: int | None = Field(None, ge=1, description="a version of the definition; the latest by default")
    wait_seconds: float = Field(
        60, gt=0, le=300, description="how long a synchronous start waits before it answers 202"
    )
    tags: dict[TagKey, TagValue] = Field(
        default_factory=dict, max_length=50, description="searchable, over the definition's"
    )
    callback: CallbackRequest | None = Field(None, description="who is told of the end, however it comes")
    options: ExecuteOptions = Field(default_factory=lambda: ExecuteOptions())


class RerunRequest(Body):
    """From where an execution runs again, and with what."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"from_step": "enrich_lead", "reason": "the research agent was fixed"},
                {"from_step": "enrich_lead", "outputs": {"qualify_lead": {"score": 9}}},
            ]
        }
    )

    from_step: str = Field(
        min_length=1, max_length=4000, description="path of a step that ran; inside a block, the block runs again"
    )
    input: Any = Field(None, description="another input, where given; `input_schema` may restrict it")
    outputs: dict[str, Any] = Field(
        default_factory=dict, max_length=5000, description="other outputs of root steps that do not run again"
    )
    reason: str = Field("", max_length=1000)


class ReasonRequest(Body):
    """Why an operator acts."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "waiting for the new price list"}]})

    reason: str = Field("", max_length=1000)


class ApprovalRequest(Body):
    """A decision about an open approval."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"decision": "approved", "by": "kim", "form": {"amount": 1200}},
                {"decision": "rejected", "by": "kim", "reason": "over budget"},
            ]
        }
    )

    decision: Literal["approved", "rejected"]
    by: str = Field(
        "operator",
        min_length=1,
        max_length=200,
        description="who decides, one of the step's `approvers`: the name of the API key, which this may repeat",
    )
    form: Any = Field(None, description="any JSON value; the step's `form_schema` may restrict it")
    reason: str = Field("", max_length=1000)


class StepOutputRequest(Body):
    """The output that a parked step shall have."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"output": {"score": 7}, "reason": "scored by hand"}]})

    output: Any = Field(description="any JSON value, null too")
    reason: str = Field("", max_length=1000)


class BudgetRequest(Body):
    """By how much an execution's budget is raised."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"tokens": 50_000, "cost_usd": 0.5, "reason": "the report is worth it"}]}
    )

    tokens: int | None = Field(None, ge=1, le=MOST_SPEND, description="input and output tokens together")
    cost_usd: float | None = Field(None, gt=0, le=MOST_SPEND, allow_inf_nan=False, description="US dollars")
    model_calls: int | None = Field(None, ge=1, le=MOST_SPEND)
    tool_calls: int | None = Field(None, ge=1, le=MOST_SPEND)
    reason: str = Field("", max_length=1000)

    @model_validator(mode="after")
    def _some_raise(self) -> BudgetRequest:
        if (self.tokens, self.cost_usd, self.model_calls, self.tool_calls) == (None,) * 4:
            raise ValueError("give at least one of 'tokens', 'cost_usd', 'model_calls', 'tool_calls'")
        return self


class StepRow(BaseModel):
    """One step of the root scope."""

    path: str
    step_id: str
    name: str
    step_type: str
    state: str = Field(description="pending, running, completed, failed, skipped or cancelled")
    attempts: int = 0
    started_at: str | None = None
    finished_at: str | None = None
    error: ErrorInfo | None = None
    handled: bool = Field(False, description="completed by its `on_error`; `error` is what was handled")
    tolerated: bool = Field(False, description="failed, and `on_error` lets the others go on (`continue`)")
    last_failure: ErrorInfo | None = Field(None, description="why the last attempt failed, while there will be another")
    next_attempt_at: str | None = None


class Links(BaseModel):
    """Where to go from here; actions are null once the execution is closed."""

    self: str
    workflow: str | None = Field(description="null where the definition is not stored, as of an agent that was invoked")
    temporal_ui: str | None = None
    pause: str | None = None
    resume: str | None = None
    cancel: str | None = None


class ExecutionDocument(BaseModel):
    """One execution."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "execution_id": "ex-k3v7q2mzt4ahb6wnc5xdyrpejs",
                    "workflow_id": "lead-processing",
                    "workflow_version": 1,
                    "name": "Lead Processing",
                    "run_id": "01a20391-183a-7b21-a4d5-6ce517802aeb",
                    "status": "completed",
                    "detail": None,
                    "started_at": "2026-11-22T14:02:50.298000Z",
                    "closed_at": "2026-11-22T14:02:53.101000Z",
                    "input": LEAD,
                    "output": {"enrich_lead": {"summary": "Acme Corp sells …"}},
                    "error": None,
                    "steps": [
                        {
                            "path": "qualify_lead",
                            "step_id": "qualify_lead",
                            "name": "Qualify Lead",
                            "step_type": "agent_task",
                            "state": "completed",
                            "attempts": 1,
                            "started_at": "2026-11-22T14:02:50.310000Z",
                            "finished_at": "2026-11-22T14:02:51.702000Z",
                            "error": None,
                        }
                    ],
                    "lineage": {"root": None, "parent": None, "retry_of": None, "rerun_of": None, "attempt": 1},
                    "links": {
                        "self": "/api/v1/executions/ex-k3v7q2mzt4ahb6wnc5xdyrpejs",
                        "workflow": "/api/v1/workflows/lead-processing?version=1",
                        "temporal_ui": None,
                    },
                }
            ]
        }
    )

    execution_id: str
    workflow_id: str | None
    workflow_version: int | None
    name: str | None = None
    run_id: str | None
    status: ExecutionStatus
    detail: str | None = None
    stale: bool = Field(False, description="true: no worker answered, and steps are what Temporal alone knows")
    started_at: str | None = None
    closed_at: str | None = None
    input: Any = None
    output: Any = None
    error: ErrorInfo | None = None
    holds: dict[str, str] = Field(default_factory=dict, description="who paused it and why")
    steps: list[StepRow] = Field(default_factory=list)
    signals: SignalsView = Field(
        default_factory=SignalsView,
        description="messages that no wait_for_signal step has taken: awaited names, kept, lost",
    )
    approvals: list[OpenApproval] = Field(
        default_factory=list, description="decisions that people are waited for, tool calls of agents included"
    )
    ledger: SpendTotals | None = Field(
        None, description="what was spent so far, children included; null: nothing; `/ledger` tells of each call"
    )
    lineage: Lineage = Field(default_factory=Lineage)
    reruns: list[str] | None = Field(
        None, description="executions that run this one again, newest first; null while it runs, or where nobody told"
    )
    links: Links


class ExecutionSummary(BaseModel):
    """One execution in a list."""

    execution_id: str
    workflow_id: str | None
    workflow_version: int | None
    run_id: str
    status: ExecutionStatus
    detail: str | None = None
    error_type: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    started_at: str | None = None
    closed_at: str | None = None
    links: Links


class ExecutionPage(BaseModel):
    """Executions, newest first."""

    items: list[ExecutionSummary]
    next_cursor: str | None = Field(None, description="pass it as `cursor` for the next page; null on the last")
