"""What stands for the outside in a simulation: answers of activities and children, and messages of people."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from orchestrator.definition.limits import LONGEST_SECONDS
from orchestrator.execution.messages_agents import AgentReport, InvokeModelResult

MOST_ENTRIES = 1_000
MOST_MESSAGES = 1_000


class Given(BaseModel):
    """Part of a scenario: unknown fields are errors, nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class MockError(Given):
    """How an attempt fails."""

    type: str = Field("mocked-error", min_length=1, max_length=100, description="what handlers match, such as http-503")
    message: str = Field("mocked", max_length=2_000)
    retryable: bool = Field(True, description="false: no further attempt is made")
    retry_after_seconds: float | None = Field(None, ge=0, le=LONGEST_SECONDS)
    details: dict[str, Any] = Field(default_factory=dict)
    report: AgentReport | None = Field(None, description="what a failed model call spent, and its fallback models")


class Mock(Given):
    """How one attempt goes: at most one of `output`, `error`, `turn`, `hang`, `park_seconds`; nothing: null."""

    output: Any = None
    error: MockError | None = None
    turn: dict[str, Any] | None = Field(None, description="of an agent: one answer of its model, tool calls included")
    delay_seconds: float = Field(0.0, ge=0, le=LONGEST_SECONDS, description="virtual time until the attempt ends")
    hang: bool = Field(False, description="the attempt ends by its time-out, or when it is cancelled")
    park_seconds: float | None = Field(None, ge=0, le=LONGEST_SECONDS, description="an open circuit: not counted")

    @model_validator(mode="after")
    def _one_end(self) -> Mock:
        ends = [name for name in ("output", "error", "turn", "park_seconds") if name in self.model_fields_set]
        if len(ends) + self.hang > 1:
            raise ValueError("a mock has one end: one of 'output', 'error', 'turn', 'hang', 'park_seconds'")
        return self

    @field_validator("turn")
    @classmethod
    def _turn_is_one(cls, turn: dict[str, Any] | None) -> dict[str, Any] | None:
        if turn is not None:
            InvokeModelResult.model_validate(turn)
        return turn


class Message(Given):
    """What somebody sends: in the order of the list, each after the one before was taken."""

    send: Literal[
        "signal",
        "approve",
        "pause",
        "resume",
        "cancel",
        "retry_step",
        "skip_step",
        "set_step_output",
        "raise_budget",
    ]
    after_seconds: float = Field(0.0, ge=0, le=LONGEST_SECONDS, description="virtual time after the message before")
    once_called: str | None = Field(None, max_length=4_000, description="not before this step's activity was called")
    workflow_id: str | None = Field(None, max_length=63, description="to an open child execution of this workflow")
    name: str = Field("", max_length=200, description="of a signal")
    payload: Any = Field(None, description="of a signal")
    path: str = Field("", max_length=4_000, description="of the approval, or of the parked step")
    decision: Literal["approved", "rejected"] = "approved"
    by: str = Field("operator", min_length=1, max_length=200, description="who decides")
    form: Any = Field(None, description="of an approval")
    output: Any = Field(None, description="of set_step_output")
    reason: str = Field("", max_length=1_000)
    budget: dict[str, float] = Field(default_factory=dict, max_length=4, description="by how much it is raised")
    refused: str | None = Field(None, max_length=2_000, description="the message is refused, with this in the reason")

    @model_validator(mode="after")
    def _names_its_target(self) -> Message:
        if self.send == "signal" and not self.name:
            raise ValueError("a signal needs a 'name'")
        if self.send in ("approve", "retry_step", "skip_step", "set_step_output") and not self.path:
            raise ValueError(f"'{self.send}' needs the 'path' of a step")
        unknown = sorted(self.budget.keys() - {"tokens", "cost_usd", "model_calls", "tool_calls"})
        if unknown:
            raise ValueError(f"'budget' takes tokens, cost_usd, model_calls, tool_calls; not '{unknown[0]}'")
        return self


class Scenario(Given):
    """One simulation's outside world.

    Attributes:
        mocks: by step path (`rows[3].save`), by path without positions (`rows.save`), by step id (`save`); steps of
            children as `<workflow_id>/<path>`, tool calls of agents as `<path>:<tool>`. One entry an attempt of the
            step at that very path; the last one stays.
        messages: what people send.
        unmocked: an attempt without a mock answers with what it was asked (`echo`), or fails (`error`).
    """

    mocks: dict[str, list[Mock]] = Field(default_factory=dict)
    messages: list[Message] = Field(default_factory=list, max_length=MOST_MESSAGES)
    unmocked: Literal["echo", "error"] = "echo"
