"""What travels to and from the activities of the agent loop. Fields are only ever added (replay)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from orchestrator.execution.messages import ErrorInfo, StepCall, StepResult


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
    error: str | None = None
    """Why the call is not made (no such tool, wrong arguments): told to the model instead of a result."""


class ToolOutcome(BaseModel):
    """How a tool call ended, as the model is told in its next turn."""

    call_id: str
    tool: str
    output: Any = None
    error: ErrorInfo | None = None


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
