"""What a model call may cost before it is made, and what it did cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from orchestrator.agents.model_requests import ModelRequest
from orchestrator.agents.records import AgentRecord
from orchestrator.execution.agent_budgets import BYTES_PER_TOKEN
from orchestrator.execution.errors_steps import ModelRejected
from orchestrator.execution.messages import TokenUsage
from orchestrator.execution.messages_ledger import LedgerCall, Reservation

MESSAGE_TOKENS = 8
OUTPUT_TOKENS = 4_096
"""Under a budget, a call of an agent without `max_output_tokens` may answer with so many."""

Price = Callable[[str, TokenUsage], float | None]


class TurnCosts:
    """Estimates and prices of model calls.

    Args:
        price: gives US dollars by model and usage; None where nobody knows the model's price.
    """

    def __init__(self, price: Price | None = None) -> None:
        self._price = price or _unknown

    def price(self, model: str, usage: TokenUsage) -> float | None:
        """Return what a call cost in US dollars; None: nobody knows."""
        return self._price(model, usage)

    def bound(self, call: ModelRequest) -> Reservation:
        """Return what a call may spend at most, by its prompt's size and its bound on the answer."""
        prompt = _prompt_tokens(call.messages, call.tools)
        return self._reservation(call.model, prompt, call.max_output_tokens)

    def presumed(self, entry: LedgerCall, bound: Reservation) -> LedgerCall:
        """Return what counts for a call of which nobody says what it cost: all that it may spend."""
        known = self._price(entry.model, TokenUsage()) is not None
        cost = bound.cost_usd if known else None
        return entry.model_copy(update={"input_tokens": bound.tokens, "output_tokens": 0, "cost_usd": cost})

    def next_bound(self, messages: Sequence[Mapping[str, Any]], record: AgentRecord, model: str) -> Reservation:
        """Return what the turn after these messages should reserve, results of tools left out."""
        return self._reservation(model, _prompt_tokens(messages, ()), record.max_output_tokens)

    def _reservation(self, model: str, prompt: int, output: int | None) -> Reservation:
        output = output or OUTPUT_TOKENS
        cost = self._price(model, TokenUsage(input_tokens=prompt, output_tokens=output))
        return Reservation(tokens=prompt + output, cost_usd=cost or 0.0)

    def bounded(self, call: ModelRequest) -> ModelRequest:
        """Return the call with a bound on its answer."""
        return call if call.max_output_tokens is not None else replace(call, max_output_tokens=OUTPUT_TOKENS)

    def missing(
        self, bound: Reservation, reserved: Reservation, model: str, spent: Sequence[LedgerCall]
    ) -> Reservation | None:
        """Return what should be reserved where the call might spend more than was; None: it may go.

        Raises:
            ModelRejected: the budget is one of cost, and the model has no price.
        """
        used = sum(entry.input_tokens + entry.output_tokens for entry in spent)
        if reserved.cost_usd and self._price(model, TokenUsage()) is None:
            raise ModelRejected(
                f"the budget has cost_usd, and model '{model}' has no price",
                hint="add it to MODEL_PRICES, or bound tokens instead",
            )
        short = reserved.tokens and bound.tokens + used > reserved.tokens
        many = reserved.model_calls and len(spent) >= reserved.model_calls
        dear = reserved.cost_usd and bound.cost_usd + sum(entry.cost_usd or 0 for entry in spent) > reserved.cost_usd
        return bound if short or dear or many else None


def _prompt_tokens(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> int:
    size = len(orjson.dumps([list(messages), list(tools)]))
    return math.ceil(size / BYTES_PER_TOKEN) + MESSAGE_TOKENS * len(messages)


def _unknown(model: str, usage: TokenUsage) -> float | None:
    return None
