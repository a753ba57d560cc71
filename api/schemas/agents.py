"""Agents as the API takes and shows them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.schemas.executions import LEAD, Body
from orchestrator.definition import limits
from orchestrator.definition.limits import SESSION_ID_PATTERN
from orchestrator.definition.parts import Budget

ToolName = Annotated[str, StringConstraints(min_length=1, max_length=128)]

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


class InvokeRequest(Body):
    """What one agent is asked, without a workflow around it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "task": "qualify_lead",
                    "parameters": {"priority": "high"},
                    "input": LEAD,
                    "async_execution": False,
                },
                {"task": "Compare the two offers", "input": ["offer A", "offer B"], "budget": {"tokens": 20_000}},
            ]
        }
    )

    task: str = Field(
        min_length=1, max_length=200, description="one of the record's tasks, or anything for the generic prompt"
    )
    parameters: Any = Field(default_factory=dict, description="what the prompt sees as `parameters`; no template")
    input: Any = Field(default_factory=dict, description="the execution's input, as the prompt sees it")
    model: str | None = Field(None, min_length=1, max_length=200, description="`provider/model`, over the record's")
    output_schema: dict[str, Any] | None = Field(None, description="JSON Schema of the answer, over the task's")
    tools: list[ToolName] | None = Field(
        None, max_length=128, description="those of the agent's tools that it may use; absent: all of them"
    )
    session_id: str | None = Field(
        None, pattern=SESSION_ID_PATTERN, description="the conversation that the agent goes on with"
    )
    max_turns: int | None = Field(None, ge=1, le=limits.MOST_TURNS, description="model answers, over the record's")
    budget: Budget | None = Field(None, description="what it may spend; `POST /executions/{id}/budget` raises it")
    async_execution: bool = Field(True, description="true: answer 202 at once; false: wait for the end")
    wait_seconds: float = Field(60, gt=0, le=300, description="how long a synchronous call waits before it answers 202")


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


class AgentVersion(BaseModel):
    """One version of a record."""

    version: int
    sha256: str
    updated_at: str


class AgentVersions(BaseModel):
    """Versions of a record, newest first; none of a Python agent."""

    items: list[AgentVersion]
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


class AgentFailure(BaseModel):
    """What an agent's last failed call ended in."""

    type: str = Field(examples=["model-unavailable"])
    message: str


class AgentHealthReport(BaseModel):
    """How an agent is: its calls, its circuit, the workers that can run it."""

    agent_type: str
    status: Literal["healthy", "degraded", "unavailable"]
    reason: str | None = Field(description="one sentence; null where it is healthy")
    workers: int
    breaker: AgentBreaker
    calls: int = Field(description="attempts ever")
    failures: int = Field(description="of `calls`")
    recent_calls: int = Field(description="of the last 15 minutes, at most 50")
    success_rate: float | None = Field(description="of the recent calls, 0 to 1; null without any")
    latency_seconds: float | None = Field(description="median of the recent calls; null without any")
    last_error: AgentFailure | None
    last_error_at: str | None
    last_success_at: str | None
    in_flight: int = Field(description="calls that run now, on all workers")
