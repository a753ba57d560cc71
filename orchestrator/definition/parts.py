"""The small parts of a definition: policies, joins and the types of single fields."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from orchestrator.definition import limits

Seconds = Annotated[float, Field(gt=0, le=limits.LONGEST_SECONDS)]
StepId = Annotated[str, Field(pattern=limits.STEP_ID_PATTERN)]
WorkflowId = Annotated[str, Field(pattern=limits.WORKFLOW_ID_PATTERN)]
StatusCode = Annotated[int, Field(ge=100, le=599)]
StatusClass = Literal["1xx", "2xx", "3xx", "4xx", "5xx"]
ErrorType = Annotated[str, Field(min_length=1, max_length=128)]
Tags = dict[Annotated[str, Field(min_length=1, max_length=64)], Annotated[str, Field(max_length=256)]]


Durability = Literal["step", "express"]


class Part(BaseModel):
    """Common behaviour: unknown fields are errors, and nothing is converted (`"5"` is no number)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


class Retry(Part):
    """Temporal's retry policy."""

    max_attempts: int | None = Field(None, ge=0, le=1_000_000, description="Attempts in all; 0: no bound.")
    initial_interval_seconds: Seconds | None = None
    backoff_coefficient: float | None = Field(None, ge=1, le=100)
    max_interval_seconds: Seconds | None = None
    non_retryable_errors: list[ErrorType] | None = Field(
        None, max_length=100, description="Error types that are not tried again; `http-4xx` and `http-5xx` are classes."
    )


class Timeouts(Part):
    """Temporal's four timeouts of an activity."""

    start_to_close_seconds: Seconds | None = Field(None, description="One attempt.")
    schedule_to_close_seconds: Seconds | None = Field(None, description="All attempts and the waits between them.")
    schedule_to_start_seconds: Seconds | None = Field(None, description="Waiting for a worker.")
    heartbeat_seconds: float | None = Field(
        None, ge=1, le=limits.LONGEST_SECONDS, description="Longest silence of a running attempt."
    )


class AtLeast(Part):
    """At least n of several must complete."""

    at_least: int = Field(ge=1, le=limits.STEPS)


class Budget(Part):
    """What may be spent on models and tools."""

    tokens: int | None = Field(None, ge=1, description="Input and output tokens together.")
    cost_usd: float | None = Field(None, gt=0, description="US dollars, by the price table of the settings.")
    model_calls: int | None = Field(None, ge=1)
    tool_calls: int | None = Field(None, ge=1)
    on_exhausted: Literal["fail", "park"] = Field(
        "fail", description="`fail` with `budget-exhausted`, or `park` the step until somebody raises the budget."
    )

    @model_validator(mode="after")
    def _some_bound(self) -> Budget:
        if not self.model_fields_set & {"tokens", "cost_usd", "model_calls", "tool_calls"}:
            raise ValueError("a budget takes at least one of 'tokens', 'cost_usd', 'model_calls', 'tool_calls'")
        return self
