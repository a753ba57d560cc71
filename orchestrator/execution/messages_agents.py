"""What travels to and from the activities of the agent loop. Fields are only ever added (replay)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from orchestrator.execution.messages import ErrorInfo, StepCall, StepResult, TokenUsage
from orchestrator.execution.messages_ledger import LedgerCall, Reservation


class TranscriptPart(BaseModel):
    """Messages that one turn added to the conversation: in the claim store, or here where there is none."""

    claim: str | None = None
    """SHA-256 under which the claim store has them."""
    messages: list[dict[str, Any]] | None = None


class ToolCallRequest(BaseModel):
    """A tool call that a model asked for, resolved against the tools that it was offered."""

    call_id: str
    """The provider's id of the call."""
    tool: str
    arguments: Any = None
    kind: Literal["activity", "workflow"] = "activity"
    mcp_server: str | None = None
    requires_approval: bool = False
    workflow_id: str | None = None
    """Set for `workflow`: the tool is a child execution of this workflow."""
    version: int | None = None
    timeout_seconds: float | None = None
    """What the tool may take for one attempt; None: a minute."""
    error: str | None = None
    """Why the call is not made (no such tool, wrong arguments): told to the model instead of a result."""


class ToolOutcome(BaseModel):
    """How a tool call ended, as the model is told in its next turn."""

    call_id: str
    tool: str
    output: Any = None
    error: ErrorInfo | None = None


class InvokeModelInput(BaseModel):
    """One turn of one agent's task. The first brings what the prompt sees, later ones what happened since."""

    call: StepCall
    agent_type: str
    task: str
    parameters: Any = None
    input: Any = None
    """The execution's input."""
    dependencies: dict[str, Any] = Field(default_factory=dict)
    """Outputs of the steps named in `depends_on`, by step id."""
    model: str | None = None
    output_schema: dict[str, Any] | None = None
    turn: int = 0
    agent_version: int | None = None
    """The record's version since the first turn."""
    transcript: list[TranscriptPart] = Field(default_factory=list)
    """The conversation so far; empty: it begins now."""
    outcomes: list[ToolOutcome] = Field(default_factory=list)
    """Results of the tool calls that the model asked for last."""
    repair: list[dict[str, Any]] | None = None
    """Why the last answer was refused; the model is asked to mend it."""
    model_index: int = 0
    """0: the agent's model; n: its n-th fallback."""
    tools: list[str] | None = None
    """The step's own choice among the record's tools."""
    tools_sha256: str | None = None
    session_id: str | None = None
    reserved: Reservation | None = None
    """What the call may spend at most; None: nobody counts."""
    own_retry: bool = True
    """The step or the definition's defaults say how often to try; else the agent's record does."""
    tried: int = 0
    """Attempts of this turn that ended before its budget was reserved anew; `max_attempts` leaves them out."""


class InvokeModelResult(StepResult):
    """How a turn ended: with the final `output`, with `tool_calls`, or with an answer that is `invalid`."""

    usage: TokenUsage = Field(default_factory=TokenUsage)
    agent_version: int | None = None
    model: str | None = None
    tool_calls: list[ToolCallRequest] = Field(default_factory=list)
    invalid: list[dict[str, Any]] | None = None
    """Why the answer does not satisfy the schema."""
    part: TranscriptPart | None = None
    """What this turn added to the conversation."""
    fallbacks: int = 0
    """How many fallback models the agent has."""
    max_turns: int | None = None
    tools_sha256: str | None = None
    approvers: list[str] | None = None
    spent: list[LedgerCall] = Field(default_factory=list)
    """Calls of this activity, failed attempts included."""
    needs: Reservation | None = None
    """The call that is due was not made: it might spend more than was reserved."""
    reported: bool = False
    """`spent` is all, though it be nothing: a Python agent need not ask a model."""
    next_needs: Reservation | None = None
    """What the next turn should reserve."""
    summarise: bool = False
    """The session has grown over the size at which it is summarised."""


class SummariseSessionInput(BaseModel):
    """A session to be summarised after a task's answer was added to it."""

    call: StepCall
    agent_type: str
    agent_version: int | None = None
    session_id: str
    turn: int = 0
    """Number of the model call in its step, for the ledger."""
    model: str | None = None
    model_index: int = 0
    reserved: Reservation | None = None


class SummariseSessionResult(StepResult):
    """`summarised` is false where there was nothing to do any more, or where the budget leaves no room."""

    summarised: bool = False
    spent: list[LedgerCall] = Field(default_factory=list)


class AgentReport(BaseModel):
    """What a failed model activity tells beside its error."""

    fallbacks: int = 0
    agent_version: int | None = None
    spent: list[LedgerCall] = Field(default_factory=list)


class CallToolInput(BaseModel):
    """One call of one tool, for a `tool_call` step or for an agent."""

    call: StepCall
    tool: str
    mcp_server: str | None = None
    arguments: Any = None
    agent_type: str | None = None
    """Set in an agent's loop: its record decides which tools may be called."""
    agent_version: int | None = None
    tools_sha256: str | None = None
    """Hash of the tool list that the model was offered."""


class CallToolResult(StepResult):
    """`output` is what the tool gave, any JSON."""
