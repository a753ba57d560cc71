"""Simulations: a scenario in, a report out."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from api.schemas.executions import LEAD, Body
from api.schemas.workflows import LEAD_PROCESSING
from orchestrator.simulation import SimulationReport

_MOCKS: dict[str, Any] = {
    "qualify_lead": [
        {"error": {"type": "model-unavailable", "message": "busy"}},
        {"output": {"score": 8}, "delay_seconds": 3},
    ],
    "enrich_lead": {"output": {"industry": "software"}},
}


class SimulateRequest(Body):
    """What the workflow meets."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"input_data": LEAD, "mocks": _MOCKS}]})

    input_data: Any = Field(default_factory=dict, description="any JSON value; `input_schema` may restrict it")
    mocks: dict[str, Any] = Field(
        default_factory=dict,
        description="step path or step id to one mock or a list of them, an entry for each attempt; a mock is "
        "`{output}`, `{error: {type, message, retryable}}`, `{turn}` of an agent, `{hang: true}` or "
        "`{park_seconds}`, with `delay_seconds`; `<path>:<tool>` answers an agent's tool calls, `<workflow_id>/<path>` "
        "a child's step",
    )
    messages: list[Any] = Field(
        default_factory=list,
        description="what people send, one after the other: `{send: signal, name, payload}`, `{send: approve, path, "
        "decision, by, form}`, `{send: pause}`, …, each with `after_seconds` or `once_called`",
    )
    unmocked: Literal["echo", "error"] = Field(
        "echo", description="a step without a mock answers with what it was asked, or fails with `unmocked-step`"
    )
    now: str | None = Field(
        None, max_length=40, description="ISO 8601: when the execution starts; now by default", examples=["2026-01-01"]
    )


class SimulateDefinitionRequest(SimulateRequest):
    """A definition that is not stored, and what it meets."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"definition": LEAD_PROCESSING, "input_data": LEAD, "mocks": _MOCKS}]}
    )

    definition: Any = Field(
        description="A workflow definition; its JSON Schema is at /api/v1/schemas/workflow.json",
        json_schema_extra={"type": "object"},
    )


class SimulationDocument(SimulationReport):
    """The report, and which definition it is about."""

    workflow_id: str
    workflow_version: int | None = Field(None, description="null: the definition was sent along")
