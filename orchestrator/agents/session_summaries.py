"""Summaries of sessions: the oldest messages of a long conversation become a short text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from orchestrator.agents.factory import PinnedRecord
from orchestrator.agents.model_requests import ModelRequest
from orchestrator.agents.prompts import sane
from orchestrator.agents.records import AgentRecord
from orchestrator.agents.turn_costs import TurnCosts
from orchestrator.agents.turns import CallNotes, ModelCaller, noted
from orchestrator.execution.messages import TokenUsage
from orchestrator.execution.messages_agents import SummariseSessionInput, SummariseSessionResult
from orchestrator.execution.messages_ledger import LedgerCall
from orchestrator.stores.sessions import SessionHead, SessionStore

INSTRUCTIONS = (
    "Summarise the conversation below for an assistant that will go on with it and cannot see it any more. "
    "Keep names, numbers, decisions, promises and open questions. Write plain text, at most 300 words."
)
SUMMARY_TOKENS = 1_000
LONGEST_MESSAGE = 4_000
"""Characters of one message that the summary is made of."""
LONGEST_CONVERSATION = 200_000


class SessionSummaries:
    """Summarises sessions that have grown over the size in their agent's `memory`.

    Args:
        sessions: the conversations.
        costs: prices and estimates.
        default_model: of records that name none.
    """

    def __init__(self, sessions: SessionStore, costs: TurnCosts, default_model: str) -> None:
        self._sessions = sessions
        self._costs = costs
        self._default_model = default_model

    async def run(
        self,
        pinned: PinnedRecord,
        request: SummariseSessionInput,
        ask: ModelCaller,
        notes: CallNotes,
        seconds: float,
    ) -> SummariseSessionResult:
        """Summarise one session with one model call, unless somebody else did so meanwhile.

        Raises:
            OrchestratorError: what the model call ended in, classified.
        """
        memory = pinned.record.memory
        head = await self._sessions.head_to_summarise(request.session_id, memory) if memory is not None else None
        if memory is None or head is None:
            return SummariseSessionResult(spent=notes.spent)
        call = self._request(pinned.record, request, head, seconds)
        bound = self._costs.bound(call)
        reserved = request.reserved
        if reserved is not None and self._costs.missing(bound, reserved, call.model, notes.spent) is not None:
            return SummariseSessionResult(spent=notes.spent)

        def entry(usage: TokenUsage, outcome: str) -> LedgerCall:
            return LedgerCall(
                path=request.call.path,
                turn=request.turn,
                attempt=len(notes.spent) + 1,
                model=call.model,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cost_usd=self._costs.price(call.model, usage),
                outcome=outcome,
            )

        with notes.calling(self._costs.presumed(entry(TokenUsage(), "ok"), bound)) as under_way:
            completion = await noted(ask, call, entry, under_way)
        summary = completion.text.strip()
        done = bool(summary) and await self._sessions.replace_head_with_summary(head, summary, memory)
        return SummariseSessionResult(summarised=done, spent=notes.spent)

    def _request(
        self, record: AgentRecord, request: SummariseSessionInput, head: SessionHead, seconds: float
    ) -> ModelRequest:
        fallbacks = record.fallback_models if request.model is None else []
        models = [request.model or record.model or self._default_model, *fallbacks]
        return ModelRequest(
            model=models[min(request.model_index, len(fallbacks))],
            messages=[
                {"role": "system", "content": INSTRUCTIONS},
                {"role": "user", "content": conversation(head.messages, head.summary)},
            ],
            max_output_tokens=SUMMARY_TOKENS,
            timeout_seconds=seconds,
            idempotency_key=request.call.idempotency_key,
        )


def conversation(messages: Sequence[dict[str, Any]], summary: str | None) -> str:
    """Return messages as text, the summary of what was before them first, the middle cut out where it is too long."""
    lines = [f"Earlier: {summary}"] if summary else []
    for message in messages:
        content = message.get("content")
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        lines.append(f"{message.get('role', '?')}: {text[:LONGEST_MESSAGE]}")
    whole = "\n\n".join(lines)
    if len(whole) > LONGEST_CONVERSATION:
        half = LONGEST_CONVERSATION // 2
        whole = f"{whole[:half]}\n\n[…]\n\n{whole[-half:]}"
    return sane(whole)
