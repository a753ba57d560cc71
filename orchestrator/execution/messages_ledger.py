"""What an execution spends on models and tools. Fields are only ever added (replay)."""

from __future__ import annotations

from pydantic import BaseModel, Field


class LedgerCall(BaseModel):
    """One model call that a provider answered, or may have worked on, and what it cost."""

    path: str
    turn: int = 0
    attempt: int = 1
    model: str
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    """None: the price table does not know the model."""
    outcome: str = "ok"
    """`ok`, or the code of the error that the answer ended in; `lost`: its worker died meanwhile."""
    presumed: bool = False
    """Nobody reported the tokens: these are what was reserved, and count for budgets alone."""


class Reservation(BaseModel):
    """What one activity may spend of a budget."""

    tokens: int = 0
    cost_usd: float = 0.0
    model_calls: int = 0
    """0: nobody bounds them."""


class SpendTotals(BaseModel):
    """What was spent together."""

    input_tokens: int = 0
    output_tokens: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    cost_usd: float = 0.0
    unpriced_calls: int = 0
    """Calls of models whose price nobody gave: `cost_usd` lacks them."""
    presumed_tokens: int = 0
    """Of calls that nobody reported: budgets count them."""
    presumed_cost_usd: float = 0.0


class LedgerView(BaseModel):
    """Tokens and cost of an execution, its children's included in `total` and `children`."""

    total: SpendTotals = Field(default_factory=SpendTotals)
    by_step: dict[str, SpendTotals] = Field(default_factory=dict)
    by_model: dict[str, SpendTotals] = Field(default_factory=dict)
    children: SpendTotals = Field(default_factory=SpendTotals)
    calls: list[LedgerCall] = Field(default_factory=list)
    """The latest calls, oldest first."""
    calls_left_out: int = 0
    """How many older calls only the sums tell of."""
