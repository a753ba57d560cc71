"""Questions about the steps of an execution, inner ones included, and their answers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from orchestrator.execution.messages import StepView


class StepsAsked(BaseModel):
    """What the query `steps` is asked."""

    after: str | None = None
    """Go on after this path."""
    limit: int = 50
    path: str | None = None
    """This step alone, with its output."""
    tally: bool = False
    """How many steps of each id are in each state, instead of the steps."""


class StepDetail(StepView):
    """One step of any scope."""

    epoch: int = 0
    """How often it was begun again."""
    awaits: Literal["signal", "approval", "operator"] | None = None
    output: Any = None
    """Only where one step was asked for."""


class StepsAnswer(BaseModel):
    """The answer of the query `steps`."""

    steps: list[StepDetail] = Field(default_factory=list)
    more: bool = False
    tally: dict[str, dict[str, int]] = Field(default_factory=dict)
    """By step id and state."""
