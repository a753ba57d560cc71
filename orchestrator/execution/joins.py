"""When a step may start: its join over the listed dependencies, then the inferred ones.

Source of the rules: the definition language's page, "Dependencies" and the join table. Everything here is derived from
the step records, so it is rebuilt and never carried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orchestrator.definition.compiled import CompiledScope, CompiledStep
from orchestrator.definition.models import AtLeast
from orchestrator.execution.state import ScopeState, StepState

Verdict = Literal["wait", "run", "skip"]


@dataclass(slots=True)
class Tally:
    """What one step still waits for: constant work for each dependency that ends."""

    step: CompiledStep
    listed_open: int
    inferred_open: int
    completed: int = 0
    strict_unmet: bool = False
    """A step that an expression reads strictly ended without completing."""

    def count(self, dependency: str, state: StepState) -> None:
        """Take note of the end of a dependency."""
        strict = self.step.inferred.get(dependency)
        if strict is None:
            self.listed_open -= 1
            self.completed += state == "completed"
        else:
            self.inferred_open -= 1
            self.strict_unmet = self.strict_unmet or (strict and state != "completed")

    def verdict(self) -> Verdict:
        """Say whether the step waits, runs or is skipped."""
        joined = self._join()
        if joined != "run":
            return joined
        if self.inferred_open:
            return "wait"
        return "skip" if self.strict_unmet else "run"

    def _join(self) -> Verdict:
        join = self.step.model.join
        if join == "all":
            if self.listed_open:
                return "wait"
            return "run" if self.completed == len(self.step.listed) else "skip"
        if join == "settled":
            return "wait" if self.listed_open else "run"
        needed = join.at_least if isinstance(join, AtLeast) else 1
        if self.completed >= needed:
            return "run"
        return "wait" if self.completed + self.listed_open >= needed else "skip"


class Joins:
    """The tallies of one scope.

    Attributes:
        open: how many of its steps are not terminal.
    """

    def __init__(self, scope: CompiledScope, state: ScopeState) -> None:
        self._scope = scope
        self._tallies = {
            step_id: Tally(step, len(step.listed), len(step.inferred)) for step_id, step in scope.steps.items()
        }
        for step_id, record in state.steps.items():
            if record.terminal:
                self._count(step_id, record.state)
        self.open = sum(not record.terminal for record in state.steps.values())

    def verdict(self, step_id: str) -> Verdict:
        """Say whether a pending step waits, runs or is skipped."""
        return self._tallies[step_id].verdict()

    def ended(self, step_id: str, state: StepState) -> tuple[str, ...]:
        """Take note of a step's end; return the steps that it concerns, in definition order."""
        self.open -= 1
        self._count(step_id, state)
        return self._scope.dependents[step_id]

    def _count(self, step_id: str, state: StepState) -> None:
        for dependent in self._scope.dependents[step_id]:
            self._tallies[dependent].count(step_id, state)
