"""Budgets and the ledger: what an execution may spend, has spent, and has promised to calls in flight."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator.definition.models import DocumentHead
from orchestrator.execution.messages import BudgetRaise, BudgetShare
from orchestrator.execution.messages_ledger import LedgerCall, LedgerView, Reservation, SpendTotals

CALLS_KEPT = 500
"""Calls that the ledger lists one by one; the sums know of all."""
FIRST_SHARE = 16
LEAST_TOKENS, MOST_TOKENS = 1_024, 16_384
"""A first turn, whose prompt nobody has seen yet, reserves a sixteenth of the budget within these bounds."""
DIMENSIONS = ("tokens", "cost_usd", "model_calls", "tool_calls")

Verdict = Literal["go", "wait", "exhausted"]


@dataclass(slots=True)
class Budget:
    """Bounds of an execution or of one step, with what calls in flight may still spend. None: no bound."""

    tokens: int | None = None
    cost_usd: float | None = None
    model_calls: int | None = None
    tool_calls: int | None = None
    on_exhausted: str = "fail"
    reserved: dict[str, dict[str, float]] = field(default_factory=dict)
    """By activity or child id: what it may spend, by dimension."""

    @property
    def bounded(self) -> bool:
        """Whether there is any bound."""
        return any(self.limit(name) is not None for name in DIMENSIONS)

    def limit(self, name: str) -> float | None:
        """Return the bound of a dimension."""
        value: float | None = getattr(self, name)
        return value

    def promised(self, name: str) -> float:
        """Return what calls in flight may still spend."""
        return sum(held.get(name, 0) for held in self.reserved.values())

    def verdict(self, totals: SpendTotals, ask: dict[str, float]) -> Verdict:
        """Say whether a call may begin.

        A call that does not fit is let through where nothing else is in flight and something is left: the budget is
        then exceeded by no more than this call.

        Args:
            totals: what was spent.
            ask: what the call may spend, by dimension.
        """
        answer: Verdict = "go"
        for name, amount in ask.items():
            limit = self.limit(name)
            if limit is None or not amount:
                continue
            spent, promised = spent_of(totals, name), self.promised(name)
            if spent >= limit:
                return "exhausted"
            if spent + promised + amount > limit and promised > 0:
                answer = "wait"
        return answer

    def exhausted(self, totals: SpendTotals) -> list[str]:
        """Name the dimensions of which nothing is left."""
        return [
            name for name in DIMENSIONS if (limit := self.limit(name)) is not None and spent_of(totals, name) >= limit
        ]

    def raise_by(self, more: BudgetRaise) -> None:
        """Raise the bounds; a dimension without one stays without."""
        for name in DIMENSIONS:
            limit, by = self.limit(name), getattr(more, name)
            if limit is not None and by is not None:
                setattr(self, name, limit + by)

    def share(self, totals: SpendTotals) -> BudgetShare:
        """Return half of what is neither spent nor promised: what a child may spend. At least one call of each."""
        found: dict[str, Any] = {}
        for name in DIMENSIONS:
            limit = self.limit(name)
            if limit is not None:
                free = max(limit - spent_of(totals, name) - self.promised(name), 0)
                found[name] = free / 2 if name == "cost_usd" else int(free + 1) // 2
        return BudgetShare(**found)

    def give_away(self, identifier: str) -> None:
        """Leave a detached child what it may spend: nobody hears of it again, so the bounds shrink by its share."""
        for name, amount in self.reserved.pop(identifier, {}).items():
            limit = self.limit(name)
            if limit is not None:
                setattr(self, name, limit - amount if name == "cost_usd" else int(limit - amount))

    def first_ask(self) -> Reservation:
        """Return what a turn reserves whose prompt nobody has seen yet."""
        tokens = min(max(int((self.tokens or 0) / FIRST_SHARE), LEAST_TOKENS), MOST_TOKENS)
        return Reservation(tokens=tokens, cost_usd=(self.cost_usd or 0.0) / FIRST_SHARE)


def budget_of(head: DocumentHead, share: BudgetShare | None) -> Budget | None:
    """Return an execution's budget: the smaller of its definition's bounds and what its parent lets it spend."""
    own = head.limits.budget if head.limits is not None else None
    if own is None and share is None:
        return None
    found = Budget(on_exhausted=own.on_exhausted if own is not None else "fail")
    for name in DIMENSIONS:
        bounds = [value for part in (own, share) if (value := getattr(part, name, None)) is not None]
        if bounds:
            setattr(found, name, min(bounds))
    return found


def spent_of(totals: SpendTotals, name: str) -> float:
    """Return what was spent of a dimension."""
    if name == "tokens":
        return totals.input_tokens + totals.output_tokens + totals.presumed_tokens
    if name == "cost_usd":
        return totals.cost_usd + totals.presumed_cost_usd
    value: float = getattr(totals, name)
    return value


def add_call(totals: SpendTotals, call: LedgerCall) -> None:
    """Add one model call to sums."""
    totals.model_calls += 1
    if call.presumed:
        totals.presumed_tokens += call.input_tokens + call.output_tokens
        totals.presumed_cost_usd += call.cost_usd or 0.0
        return
    totals.input_tokens += call.input_tokens
    totals.output_tokens += call.output_tokens
    if call.cost_usd is None:
        totals.unpriced_calls += 1
    else:
        totals.cost_usd += call.cost_usd


def add_totals(totals: SpendTotals, more: SpendTotals) -> None:
    """Add sums to sums."""
    for name in SpendTotals.model_fields:
        setattr(totals, name, getattr(totals, name) + getattr(more, name))


@dataclass(slots=True)
class Ledger:
    """What an execution has spent."""

    total: SpendTotals = field(default_factory=SpendTotals)
    by_step: dict[str, SpendTotals] = field(default_factory=dict)
    """By step id: items and iterations of a step together."""
    by_model: dict[str, SpendTotals] = field(default_factory=dict)
    children: SpendTotals = field(default_factory=SpendTotals)
    calls: list[LedgerCall] = field(default_factory=list)
    left_out: int = 0

    def model_calls(self, step_id: str, calls: Iterable[LedgerCall]) -> None:
        """Enter model calls."""
        for call in calls:
            add_call(self.total, call)
            add_call(self.by_step.setdefault(step_id, SpendTotals()), call)
            add_call(self.by_model.setdefault(call.model, SpendTotals()), call)
            self.calls.append(call)
        if len(self.calls) > CALLS_KEPT:
            self.left_out += len(self.calls) - CALLS_KEPT
            del self.calls[:-CALLS_KEPT]

    def tool_call(self, step_id: str) -> None:
        """Enter a tool call."""
        self.total.tool_calls += 1
        self.by_step.setdefault(step_id, SpendTotals()).tool_calls += 1

    def child(self, step_id: str, totals: SpendTotals) -> None:
        """Enter what a child has spent."""
        add_totals(self.total, totals)
        add_totals(self.children, totals)
        add_totals(self.by_step.setdefault(step_id, SpendTotals()), totals)

    def view(self) -> LedgerView | None:
        """Return what people are shown; None where nothing was spent."""
        if not self.by_step:
            return None
        return LedgerView(
            total=self.total,
            by_step=self.by_step,
            by_model=self.by_model,
            children=self.children,
            calls=self.calls,
            calls_left_out=self.left_out,
        )
