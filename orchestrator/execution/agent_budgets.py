"""Budgets of agents: reserved when a call is scheduled, settled from what it reports. Exact and replay-safe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.definition.models import AgentTask
from orchestrator.execution.budgets import Budget, Verdict, add_call
from orchestrator.execution.engine import Engine, Place
from orchestrator.execution.messages_ledger import LedgerCall, Reservation, SpendTotals
from orchestrator.execution.state import AgentLoop


class AgentBudgets:
    """Keeps the execution's budget, those of single steps, and the ledger.

    Args:
        engine: the shared core.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of_step(self, model: AgentTask) -> Budget | None:
        """Return a step's own budget."""
        own = model.budget
        if own is None:
            return None
        return Budget(own.tokens, own.cost_usd, own.model_calls, own.tool_calls, own.on_exhausted)

    def _all(self, loop: AgentLoop) -> Iterator[tuple[Budget, SpendTotals]]:
        state = self._engine.state
        if state.budget is not None:
            yield state.budget, state.ledger.total
        if loop.budget is not None:
            yield loop.budget, loop.spent

    def verdict(self, place: Place, loop: AgentLoop) -> Verdict:
        """Say whether what is due may begin; cleaning up is never held back."""
        if self._engine.state.phase == "cleaning":
            return "go"
        if loop.due == "tools":
            return self.tool_verdict(loop)
        answer: Verdict = "go"
        for budget, totals in self._all(loop):
            found = budget.verdict(totals, _amounts(loop.ask or budget.first_ask()))
            if found == "exhausted":
                return found
            answer = found if found == "wait" else answer
        return answer

    def tool_verdict(self, loop: AgentLoop) -> Verdict:
        """Say whether one more tool call may begin."""
        if self._engine.state.phase == "cleaning":
            return "go"
        spent = any(budget.verdict(totals, {"tool_calls": 1}) != "go" for budget, totals in self._all(loop))
        return "exhausted" if spent else "go"

    def exhausted(self, loop: AgentLoop) -> tuple[list[str], bool]:
        """Name what is used up, and say whether the step is to be parked."""
        names: list[str] = []
        park = True
        for budget, totals in self._all(loop):
            found = budget.exhausted(totals)
            names += [name for name in found if name not in names]
            park = park and (not found or budget.on_exhausted == "park")
        return names, park

    def reserve(self, place: Place, loop: AgentLoop, activity_id: str) -> None:
        """Hold back what a model call may spend."""
        for budget, _ in self._all(loop):
            budget.reserved[activity_id] = _amounts(loop.ask or budget.first_ask())

    def settle(
        self, place: Place, loop: AgentLoop, activity_id: str, spent: Sequence[LedgerCall], *, unreported: bool
    ) -> None:
        """Enter what a model call spent and give back the rest of its reservation.

        Args:
            place: the agent's step.
            loop: its loop.
            activity_id: which call.
            spent: what its attempts reported.
            unreported: nobody knows what the last attempt spent, where it reported nothing: its reservation counts.
        """
        if unreported and not spent:
            spent = self._presumed(place, loop, activity_id)
        for call in spent:
            add_call(loop.spent, call)
        self._engine.state.ledger.model_calls(place.step.step_id, spent)
        for budget, _ in self._all(loop):
            budget.reserved.pop(activity_id, None)

    def _presumed(self, place: Place, loop: AgentLoop, activity_id: str) -> list[LedgerCall]:
        for budget, _ in self._all(loop):
            held = budget.reserved.get(activity_id)
            if held is not None:
                tokens, cost = int(held.get("tokens", 0)), held.get("cost_usd")
                return [
                    LedgerCall(
                        path=place.path,
                        turn=loop.turn,
                        model="unknown",
                        input_tokens=tokens,
                        cost_usd=cost,
                        outcome="unreported",
                    )
                ]
        return []

    def tool_call(self, place: Place, loop: AgentLoop) -> None:
        """Enter a tool call that begins."""
        loop.spent.tool_calls += 1
        self._engine.state.ledger.tool_call(place.step.step_id)


def reserved_for(loop: AgentLoop, budgets: Sequence[Budget | None]) -> Reservation | None:
    """Return what the next model call may spend: the smallest of all bounds' reservations; None without bounds."""
    bounded = [budget for budget in budgets if budget is not None and budget.bounded]
    if not bounded:
        return None
    if loop.ask is not None:
        return loop.ask
    asks = [budget.first_ask() for budget in bounded]
    return Reservation(
        tokens=min((ask.tokens for ask, budget in zip(asks, bounded, strict=True) if budget.tokens), default=0),
        cost_usd=min((ask.cost_usd for ask, budget in zip(asks, bounded, strict=True) if budget.cost_usd), default=0.0),
    )


def _amounts(ask: Reservation) -> dict[str, float]:
    return {"tokens": ask.tokens, "cost_usd": ask.cost_usd, "model_calls": 1}
