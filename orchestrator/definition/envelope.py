"""What every step has, whatever its type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from orchestrator.definition import limits
from orchestrator.definition.parts import AtLeast, ErrorType, Part, Retry, StepId, Timeouts

NOT_TAKEN = "not_taken"
"""Kind of the error of a field that a step of the type has no use for: the way out is to leave it out."""

if TYPE_CHECKING:
    from orchestrator.definition.models import AnyStep

ScopePath = tuple[str | int, ...]


class Handler(Part):
    """What happens when a step failed for good: the first handler that matches wins."""

    errors: list[ErrorType] = Field(["*"], min_length=1, max_length=100)
    when: str | bool | None = Field(None, description="Condition over `error`.")
    output: Any = Field(None, description="Template; completes the step. Beside `steps`: sees them.")
    steps: list[AnyStep] | None = Field(None, min_length=1, max_length=limits.STEPS)
    continue_: Literal[True] | None = Field(None, alias="continue", description="The step stays failed, tolerated.")
    park: Literal[True] | None = Field(None, description="Wait for an operator: retry, skip or set the output.")

    @model_validator(mode="after")
    def _one_action(self) -> Handler:
        given = self.model_fields_set
        actions: list[str] = [name for name in ("steps", "continue_", "park") if name in given]
        if "output" in given and "steps" not in given:
            actions.append("output")
        if len(actions) != 1:
            raise ValueError("a handler takes exactly one of 'output', 'steps', 'continue', 'park'")
        return self


class Step(Part):
    """The envelope that every step has."""

    templates: ClassVar[tuple[str, ...]] = ()
    """Fields of the type that are templates over the outer scope."""
    secret_templates: ClassVar[tuple[str, ...]] = ()
    """Those of them that may name secrets; the activity's input then has a field of the same name to fill."""
    conditions: ClassVar[tuple[str, ...]] = ()
    """Fields of the type that are bare expressions over the outer scope."""
    takes_retry: ClassVar[bool] = True

    step_id: StepId
    step_type: str
    name: str | None = Field(None, max_length=200)
    description: str | None = Field(None, max_length=2_000)
    depends_on: list[str] = Field(default_factory=list, max_length=limits.STEPS)
    join: Literal["all", "any", "settled"] | AtLeast = "all"
    when: str | bool | None = Field(None, description="A condition; the step is skipped when it is false.")
    retry: Retry | None = None
    timeouts: Timeouts | None = None
    on_error: list[Handler] = Field(default_factory=list, max_length=50)
    compensate: AnyStep | None = Field(None, description="Undoes this step when the execution fails or is cancelled.")
    output: Any = Field(None, description="Template over `result`; the step's output.")
    task_queue: str | None = Field(None, min_length=1, max_length=200)
    priority: int | None = Field(None, ge=1, le=5)

    @property
    def label(self) -> str:
        """What people read: the name, else the id."""
        return self.name or self.step_id

    @model_validator(mode="after")
    def _retry_fits(self) -> Step:
        if self.retry is not None and not self.takes_retry:
            message = "a step of type '{step_type}' takes no 'retry': it makes no attempts"
            raise PydanticCustomError(NOT_TAKEN, message, {"step_type": self.step_type})
        return self

    @classmethod
    def inner_scopes(cls, raw: Any) -> Iterator[tuple[str, ScopePath]]:
        """Give the step's own nested scopes as (part, path of the object that holds `steps`).

        Args:
            raw: the step, as JSON or as a model: both have the same shape.
        """
        yield from ()
