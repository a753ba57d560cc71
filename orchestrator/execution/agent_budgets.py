"""Budgets of agents: reserved when a call is scheduled, settled from what it reports. Exact and replay-safe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic_core import to_json

from orchestrator.definition.models import AgentTask
from orchestrator.execution.budgets import Budget, Verdict, add_call
from orchestrator.execution.engine import Engine, Place
from orchestrator.execution.messages_agents import ToolOutcome
from orchestrator.execution.messages_ledger import LedgerCall, Reservation, SpendTotals
from orchestrator.execution.state import AgentLoop

BYTES_PER_TOKEN = 3
"""English has about four; other texts fewer. A prompt counts as more than it is, rather than less."""


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
            return self._tool_verdict(loop)
        answer: Verdict = "go"
        for budget, totals in self._all(loop):
            found = budget.verdict(totals, _amounts(loop.ask or budget.first_ask()))
            if found == "exhausted":
                return found
            answer = found if found == "wait" else answer
        return answer

    def _tool_verdict(self, loop: AgentLoop) -> Verdict:
        """Say whether all tool calls that are due may begin: some of them alone would help nobody."""
        due = sum(call.state == "due" for call in loop.calls)
        for budget, totals in self._all(loop):
            if budget.tool_calls is not None and totals.tool_calls + due > budget.tool_calls:
                return "exhausted"
        return "go"

    def exhausted(self, loop: AgentLoop) -> tuple[list[str], bool]:
        """Name what is used up, and say whether the step is to be parked."""
        names: list[str] = []
        park = True
        due = sum(call.state == "due" for call in loop.calls)
        for budget, totals in self._all(loop):
            found = budget.exhausted(totals)
            if loop.due == "tools":
                over = budget.tool_calls is not None and totals.tool_calls + due > budget.tool_calls
                found = ["tool_calls"] if over else []
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
                        presumed=True,
                    )
                ]
        return []

    def tool_call(self, place: Place, loop: AgentLoop) -> None:
        """Enter a tool call that begins."""
        loop.spent.tool_calls += 1
        self._engine.state.ledger.tool_call(place.step.step_id)


def reserved_for(loop: AgentLoop, budgets: Sequence[Budget | None]) -> Reservation | None:
    """Return what the next model call may spend, 0 where nothing bounds it; None without bounds."""
    bounded = [budget for budget in budgets if budget is not None and budget.bounded]
    if not bounded:
        return None
    asks = [loop.ask or budget.first_ask() for budget in bounded]
    pairs = list(zip(asks, bounded, strict=True))
    return Reservation(
        tokens=min((ask.tokens for ask, budget in pairs if budget.tokens is not None), default=0),
        cost_usd=min((ask.cost_usd for ask, budget in pairs if budget.cost_usd is not None), default=0.0),
        model_calls=int(any(budget.model_calls is not None for budget in bounded)),
    )


def with_outcomes(ask: Reservation | None, outcomes: Sequence[ToolOutcome]) -> Reservation | None:
    """Return what the turn after these tool results should reserve."""
    if ask is None:
        return None
    tokens = sum(len(to_json(outcome.output)) for outcome in outcomes) // BYTES_PER_TOKEN + 64 * len(outcomes)
    return Reservation(tokens=ask.tokens + tokens, cost_usd=ask.cost_usd * (1 + tokens / max(ask.tokens, 1)))


def _amounts(ask: Reservation) -> dict[str, float]:
    return {"tokens": ask.tokens, "cost_usd": ask.cost_usd, "model_calls": 1}
