"""Agents as the API takes and shows them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

SALES: dict[str, Any] = {
    "agent_type": "sales",
    "description": "Qualifies leads",
    "instructions": "You qualify sales leads. Answer briefly and only from what you are given.",
    "tasks": {
        "qualify_lead": {
            "prompt": "Qualify this lead with {{ parameters.priority }} priority: {{ to_json(input.lead) }}",
            "output_schema": {
                "type": "object",
                "properties": {"qualified": {"type": "boolean"}, "reason": {"type": "string"}},
                "required": ["qualified", "reason"],
            },
        }
    },
}


class AgentDocument(BaseModel):
    """One agent of the registry."""

    agent_type: str = Field(examples=["sales"])
    kind: Literal["record", "python"] = Field(description="a record in Redis, or a class that workers registered")
    description: str
    version: int | None = Field(description="of the record; null for Python agents")
    sha256: str | None
    record: dict[str, Any] | None = Field(examples=[SALES])
    created_at: str | None
    updated_at: str | None
    retired: bool


class AgentPage(BaseModel):
    """Agents in the order of their types."""

    items: list[AgentDocument]
    next_cursor: str | None = Field(None, description="pass it as `cursor` for the next page; null on the last")


class AgentBreaker(BaseModel):
    """The circuit of an agent's model, or of the Python agent itself."""

    name: str = Field(examples=["model:openai/gpt-5-mini"])
    state: Literal["closed", "open", "half-open"]
    calls: int = Field(description="in the window")
    failures: int
    open_until: str | None
    last_error: str | None
    last_error_at: str | None


class AgentHealthReport(BaseModel, extra="allow"):
    """How an agent is: its calls, its circuit, the workers that can run it."""

    agent_type: str
    status: Literal["healthy", "degraded", "unavailable"]
    reason: str | None = Field(description="one sentence; null where it is healthy")
    workers: int
    breaker: AgentBreaker
