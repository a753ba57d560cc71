"""Leaves of the error tree for what ends an agent's loop."""

from __future__ import annotations

from orchestrator.execution.errors_steps import StepFailure


class MaxTurnsExceeded(StepFailure):
    """The agent still asks for tools when its turns are used up."""

    code = "max-turns-exceeded"
    title = "Maximum of turns exceeded"


class BudgetExhausted(StepFailure):
    """Nothing is left of a budget of tokens, cost or calls; `details.exhausted` names which."""

    code = "budget-exhausted"
    title = "Budget exhausted"
