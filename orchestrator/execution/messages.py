"""What travels between the workflow, its activities and its callers. Fields are only ever added (replay)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from orchestrator.execution.messages_callbacks import CallbackTarget
from orchestrator.execution.messages_ledger import LedgerView
from orchestrator.execution.messages_secrets import SecretSlot

WORKFLOW_TYPE = "AgentWorkflow"
"""Temporal's workflow type of every execution."""
ENVELOPE_MEMO = "envelope"
"""Where a closed execution without a result names its envelope in the claim store."""


class ErrorInfo(BaseModel):
    """Why a step or an execution failed, in the shape that definitions, the API and histories share."""

    type: str
    message: str
    step: str | None = None
    """Path of the step that failed, `enrich[3].call`."""
    via: str | None = None
    """Path of the block that carried the failure outwards."""
    details: dict[str, Any] = Field(default_factory=dict)
    cause: ErrorInfo | None = None
    outcome_unknown: bool = False


class Lineage(BaseModel):
    """Where an execution comes from."""

    root: str | None = None
    parent: str | None = None
    retry_of: str | None = None
    rerun_of: str | None = None
    attempt: int = 1
    schedule_id: str | None = None
    """The schedule that started it."""


class BudgetShare(BaseModel):
    """What a child may spend of its parent's budget; None: no bound."""

    tokens: int | None = None
    cost_usd: float | None = None
    model_calls: int | None = None
    tool_calls: int | None = None


class BudgetRaise(BudgetShare):
    """By how much an operator raises an execution's budget."""

    reason: str = ""


class StartExecution(BaseModel):
    """The one argument of the `AgentWorkflow` workflow.

    Either pinned (`definition`, `version` and `sha256` given by the API or the builder) or by reference (`definition`
    None: the activity `load_definition` pins `workflow_id` at `version`, or at the latest).
    """

    workflow_id: str
    definition: dict[str, Any] | None = None
    version: int | None = None
    sha256: str | None = None
    input: Any = Field(default_factory=dict)
    lineage: Lineage = Field(default_factory=Lineage)
    depth: int = 0
    """How many parents the execution has."""
    holds: dict[str, str] = Field(default_factory=dict)
    """Who holds the execution from its start, and why."""
    slot: str | None = None
    """Id of the concurrency gate that gave it a place before it started; None: it asks for one itself."""
    places: list[str] = Field(default_factory=list)
    """Ids of the concurrency gates at which executions that await this one have a place: it shares theirs."""
    deadline_at: str | None = None
    """When the parent's time ends, ISO 8601; an execution takes the smaller of its own and this."""
    execution_seconds: float | None = None
    """How long this run may take, where that is less than its definition lets it."""
    budget: BudgetShare | None = None
    """What the parent lets it spend; its own limits apply too."""
    callback: CallbackTarget | None = None
    """Who is told of its end."""
    history_events: int | None = None
    """Continue as new from this many events (tests; None: the built-in bounds)."""


class StepCall(BaseModel):
    """What every activity of ours is told about the step that it works for."""

    execution_id: str
    workflow_id: str
    workflow_version: int | None = None
    path: str
    step_id: str
    idempotency_key: str
    """`<root execution id>/<step path>` and `#<epoch>` after a rerun: the same for every attempt."""
    max_attempts: int = 5
    """Counted by the activity wrapper, parked attempts left out (0: no bound)."""
    non_retryable_errors: list[str] = Field(default_factory=list)


class StepResult(BaseModel):
    """What every activity of ours returns: the step's `result` and how many attempts it took."""

    output: Any = None
    attempts: int = 1


class TokenUsage(BaseModel):
    """Tokens of one or more model calls, as the provider reported them."""

    input_tokens: int = 0
    output_tokens: int = 0
    model_calls: int = 0
    cached_input_tokens: int = 0
    """Those of `input_tokens` that the provider took from its cache."""


class HttpRequestInput(BaseModel):
    """One HTTP request through the guarded client. At most one of `json_body`, `form`, `text` is set."""

    call: StepCall
    method: str = "GET"
    url: str
    headers: dict[str, Any] = Field(default_factory=dict)
    query: dict[str, Any] = Field(default_factory=dict)
    json_body: Any = None
    has_json: bool = False
    form: dict[str, Any] | None = None
    text: str | None = None
    auth: dict[str, Any] | None = None
    secret_slots: list[SecretSlot] = Field(default_factory=list)
    """Texts of `headers`, `query` and `auth` that the activity fills."""
    expect_status: list[int | str] = ["2xx"]
    """Codes (`204`) or classes (`"2xx"`)."""
    response_schema: dict[str, Any] | None = None


class HttpRequestResult(StepResult):
    """`output` is `{status, headers, body}`; `body` is JSON where the response says so, else text."""


class LoadDefinitionInput(BaseModel):
    """Pin a stored definition and check the input against its `input_schema`."""

    workflow_id: str
    version: int | None = None
    input: Any = None
    schedule_id: str | None = None
    """The schedule that asks; it is paused where the definition was deleted."""

    @classmethod
    def of(cls, start: StartExecution) -> LoadDefinitionInput:
        """Return what an execution that was started by reference asks for."""
        schedule_id = start.lineage.schedule_id
        return cls(workflow_id=start.workflow_id, version=start.version, input=start.input, schedule_id=schedule_id)


class LoadDefinitionResult(BaseModel):
    """The pinned definition."""

    definition: dict[str, Any]
    version: int
    sha256: str
    holds: dict[str, str] = Field(default_factory=dict)
    """What holds every execution of the workflow, and why; beside the start's own."""


class ValidateJsonInput(BaseModel):
    """Check a value against a JSON Schema, off the workflow thread."""

    call: StepCall
    json_schema: dict[str, Any] | bool
    value: Any = None
    what: str
    """Names the value in the error: `the execution's output`."""
    error_type: str = "invalid-output"


class SignalMessage(BaseModel):
    """A message for a `wait_for_signal` step."""

    name: str
    payload: Any = None


class ApprovalDecision(BaseModel):
    """Somebody's decision about an open approval."""

    path: str
    decision: Literal["approved", "rejected"]
    by: str
    form: Any = None
    reason: str = ""


class StepRepair(BaseModel):
    """What an operator does about a parked step."""

    path: str
    output: Any = None
    reason: str = ""


class RequestCancelInput(BaseModel):
    """Ask Temporal to cancel this execution natively."""

    execution_id: str
    run_id: str | None = None
    reason: str = ""


class PositionPart(BaseModel):
    """A part of the answer of the query `position`."""

    start: StartExecution | None = None
    """In the first part: what the execution was started with, its definition pinned."""
    state: str = ""
    """A chunk of the serialised state."""
    parts: int = 0
    """How many chunks there are; none where the execution ended before its definition was known."""


class StepView(BaseModel):
    """One row of the step table, as the API shows it."""

    path: str
    step_id: str
    name: str
    step_type: str
    state: str
    attempts: int = 0
    started_at: str | None = None
    finished_at: str | None = None
    error: ErrorInfo | None = None
    handled: bool = False
    tolerated: bool = False


class OpenApproval(BaseModel):
    """A decision that somebody is waited for."""

    path: str
    """What the decision names: a step's path, or `<path>:t<turn>.<n>` for an agent's tool call, and `#<try>` where the
    step was begun again."""
    title: str
    approvers: list[str] | None = None
    """Who may decide; None: anybody who is let in."""
    tool: str | None = None
    arguments: Any = None


class SignalsView(BaseModel):
    """The messages that `wait_for_signal` steps have not taken."""

    awaited: list[str] = Field(default_factory=list)
    """Names for which a step waits now."""
    buffered: int = 0
    """How many are kept for steps that will wait; at most 1,000."""
    dropped: int = 0
    """How many came when as many were kept already, and are lost."""


class ExecutionView(BaseModel):
    """The answer of the query `state`, and what a closed execution leaves: the envelope around its outcome."""

    workflow_id: str
    workflow_version: int | None = None
    workflow_name: str | None = None
    status: str
    detail: str | None = None
    input: Any = None
    output: Any = None
    error: ErrorInfo | None = None
    steps: list[StepView] = Field(default_factory=list)
    holds: dict[str, str] = Field(default_factory=dict)
    """Who paused it and why, by holder (`operator`, `parent`, `workflow`)."""
    lineage: Lineage = Field(default_factory=Lineage)
    signals: SignalsView = Field(default_factory=SignalsView)
    ledger: LedgerView | None = None
    """None: nothing was spent."""
    approvals: list[OpenApproval] = Field(default_factory=list)
    """Decisions that people are waited for, tool calls of agents included."""
