"""Step types that hold scopes of other steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from orchestrator.definition import limits
from orchestrator.definition.envelope import ScopePath, Step
from orchestrator.definition.parts import AtLeast, Durability, Part

if TYPE_CHECKING:
    from orchestrator.definition.models import AnyStep

LocalName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
BranchName = Annotated[str, Field(pattern=limits.STEP_ID_PATTERN)]


def _field(raw: Any, name: str) -> Any:
    return raw.get(name) if isinstance(raw, Mapping) else getattr(raw, name, None)


class Block(Step):
    """What every step has that holds other steps."""

    durability: Durability = Field("step", description="As the document's, for what is inside.")


class Case(Part):
    """One case of a switch."""

    when: str | bool
    steps: list[AnyStep] = Field(default_factory=list, max_length=limits.STEPS)
    output: Any = None


class Default(Part):
    """What a switch does when no case is true."""

    steps: list[AnyStep] = Field(default_factory=list, max_length=limits.STEPS)
    output: Any = None


class Switch(Block):
    """Runs the first case whose condition is true."""

    step_type: Literal["switch"]
    cases: list[Case] = Field(min_length=1, max_length=200)
    default: Default | None = None

    @classmethod
    def inner_scopes(cls, raw: Any) -> Iterator[tuple[str, ScopePath]]:
        """Give each case and the default."""
        cases = _field(raw, "cases")
        for index in range(len(cases) if isinstance(cases, list) else 0):
            yield f"case:{index}", ("cases", index)
        if _field(raw, "default") is not None:
            yield "default", ("default",)


class Branch(Part):
    """One branch of a parallel step."""

    steps: list[AnyStep] = Field(min_length=1, max_length=limits.STEPS)
    output: Any = None


class Parallel(Block):
    """Runs branches side by side; a branch's failure is contained."""

    step_type: Literal["parallel"]
    branches: dict[BranchName, Branch] = Field(min_length=1, max_length=1_000)
    complete_when: Literal["all", "any", "settled"] | AtLeast = "all"
    max_concurrency: int | None = Field(None, ge=1, le=limits.MAX_PARALLEL_STEPS)

    @model_validator(mode="after")
    def _reachable(self) -> Parallel:
        if isinstance(self.complete_when, AtLeast) and self.complete_when.at_least > len(self.branches):
            raise ValueError(f"at_least {self.complete_when.at_least} of {len(self.branches)} branches cannot be met")
        return self

    @classmethod
    def inner_scopes(cls, raw: Any) -> Iterator[tuple[str, ScopePath]]:
        """Give each branch."""
        branches = _field(raw, "branches")
        for name in branches if isinstance(branches, Mapping) else ():
            yield f"branch:{name}", ("branches", name)


class Tolerate(Part):
    """How many items of a foreach may fail."""

    count: int | None = Field(None, ge=0)
    percent: float | None = Field(None, ge=0, le=100)


class Foreach(Block):
    """Runs its steps once for each item of a list."""

    conditions: ClassVar[tuple[str, ...]] = ("items",)

    step_type: Literal["foreach"]
    items: str | list[Any] = Field(description="Expression that gives a list, or the list itself.")
    as_: LocalName | None = Field(None, alias="as", description="A name for the item beside `item`.")
    steps: list[AnyStep] = Field(min_length=1, max_length=limits.STEPS)
    item_output: Any = None
    max_concurrency: int = Field(10, ge=1, le=limits.MAX_PARALLEL_STEPS)
    tolerate: Tolerate | None = Field(None, description="Absent: the first failure cancels the other items.")

    @field_validator("as_", mode="after")
    @classmethod
    def _as_is_free(cls, name: str | None) -> str | None:
        if name in limits.TAKEN_NAMES:
            raise ValueError(f"'{name}' has a meaning in every expression: choose another name")
        return name

    @classmethod
    def inner_scopes(cls, raw: Any) -> Iterator[tuple[str, ScopePath]]:
        """Give the body."""
        yield "body", ()


class Loop(Block):
    """Runs its steps again and again."""

    step_type: Literal["loop"]
    while_: str | bool | None = Field(None, alias="while", description="Checked before each iteration.")
    until: str | bool | None = Field(None, description="Checked after each iteration; sees its steps.")
    max_iterations: int = Field(ge=1, le=1_000_000)
    steps: list[AnyStep] = Field(min_length=1, max_length=limits.STEPS)
    iteration_output: Any = None
    delay_seconds: Annotated[float, Field(ge=0, le=limits.LONGEST_SECONDS)] | None = None

    @model_validator(mode="after")
    def _one_condition(self) -> Loop:
        if (self.while_ is None) == (self.until is None):
            raise ValueError("a loop takes exactly one of 'while' and 'until'")
        return self

    @classmethod
    def inner_scopes(cls, raw: Any) -> Iterator[tuple[str, ScopePath]]:
        """Give the body."""
        yield "body", ()
