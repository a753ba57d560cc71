"""Model calls of a Python agent: under a budget each is reserved for itself, and answers outlive the reservation."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import replace

from orchestrator.agents.answers import Completion
from orchestrator.agents.model_requests import ModelRequest
from orchestrator.agents.turn_costs import TurnCosts
from orchestrator.agents.turns import CallNotes, Message, ModelCaller, noted
from orchestrator.execution.errors_steps import AgentFailed
from orchestrator.execution.messages import TokenUsage
from orchestrator.execution.messages_ledger import LedgerCall, Reservation


class BudgetedCalls:
    """Makes the calls of one `execute`.

    A call that may spend more than is reserved stops the agent: what it needs is reserved, and `execute` is called
    again, where each question that was answered before has its answer at once. So nothing is paid twice.

    Args:
        path: the step's path, for the ledger.
        turn: how often the agent was stopped before.
        key: begins the idempotency key of every call.
        reserved: what may be spent; None: nobody counts.
        costs: bounds and prices.
        notes: takes what was spent.
        ask: makes a call.
        answers: those of the earlier times, as `kept` gave them.
    """

    def __init__(
        self,
        *,
        path: str,
        turn: int,
        key: str,
        reserved: Reservation | None,
        costs: TurnCosts,
        notes: CallNotes,
        ask: ModelCaller,
        answers: list[Message],
    ) -> None:
        self._path, self._turn, self._key = path, turn, key
        self._reserved = reserved
        self._costs = costs
        self._notes = notes
        self._ask = ask
        self._answers = {answer["key"]: answer for answer in answers}
        self._asked: dict[str, int] = {}
        self._running: list[LedgerCall] = []
        self._stopped, self._quiet = asyncio.Event(), asyncio.Event()
        self._quiet.set()
        self.needs: Reservation | None = None
        """Of the call that stopped the agent."""
        self.kept: list[Message] = []
        """The answers of this time."""

    async def complete(self, call: ModelRequest) -> Completion:
        """Make a call, or return the answer that it had; one that the reservation does not cover never returns."""
        key = self._key_of(call)
        known = self._answers.pop(key, None)
        if known is not None:
            return Completion(known["text"], TokenUsage.model_validate(known["usage"]))
        if self._reserved is not None:
            call = self._costs.bounded(call)
        bound = self._costs.bound(call)
        if self.needs is None and self._reserved is not None:
            held = [*self._notes.spent, *self._running]
            self.needs = self._costs.missing(bound, self._reserved, call.model, held)
        if self.needs is not None:
            self._stopped.set()
            await asyncio.Event().wait()
        completion = await self._made(call, bound, key)
        self.kept.append({"key": key, "text": completion.text, "usage": completion.usage.model_dump(mode="json")})
        return completion

    async def stopped(self) -> None:
        """Wait until a call stopped the agent and those that it had begun have ended: they are paid."""
        await self._stopped.wait()
        await self._quiet.wait()

    def check_repeated(self, label: str) -> None:
        """Refuse an agent that asks something else each time: stopped again and again, it would never end.

        Raises:
            AgentFailed: an answer of an earlier time was not asked for.
        """
        if self._answers:
            raise AgentFailed(
                f"{label} asked other questions when it was called again, and each would be paid anew",
                hint="under a budget the prompts of an agent must be the same for the same task: no times, no chance",
                retryable=False,
            )

    async def _made(self, call: ModelRequest, bound: Reservation, key: str) -> Completion:
        call = replace(call, idempotency_key=f"{self._key}/{key}")
        presumed = self._costs.presumed(self._entry(call, TokenUsage(), "ok"), bound)
        self._running.append(presumed)
        self._quiet.clear()
        try:
            with self._notes.calling(presumed) as under_way:
                return await noted(self._ask, call, lambda usage, outcome: self._entry(call, usage, outcome), under_way)
        finally:
            self._running.remove(presumed)
            if not self._running:
                self._quiet.set()

    def _entry(self, call: ModelRequest, usage: TokenUsage, outcome: str) -> LedgerCall:
        return LedgerCall(
            path=self._path,
            turn=self._turn,
            attempt=len(self._notes.spent) + 1,
            model=call.model,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cost_usd=self._costs.price(call.model, usage),
            outcome=outcome,
        )

    def _key_of(self, call: ModelRequest) -> str:
        """Return what tells a call apart: what it asks, and how often that was asked before."""
        asked = json.dumps([call.model, list(call.messages), call.output_schema], sort_keys=True, default=str)
        digest = hashlib.sha256(asked.encode()).hexdigest()[:16]
        self._asked[digest] = self._asked.get(digest, 0) + 1
        return f"{digest}.{self._asked[digest] - 1}"
