"""How the model turns and tool calls of random agents go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zlib import crc32

from orchestrator.execution import commands as cm
from orchestrator.execution.messages_agents import (
    CallToolInput,
    InvokeModelInput,
    InvokeModelResult,
    SummariseSessionInput,
    SummariseSessionResult,
    ToolCallRequest,
    TranscriptPart,
)
from orchestrator.execution.messages_ledger import LedgerCall, Reservation
from tests.support.machine_driver import Play

FAILURES = ("boom", "model-unavailable", "timeout", "outcome-unknown")
Number = Callable[[str, int], int]


def loops_of(seed: int, otherwise: Callable[[str, int], Play]) -> Callable[[cm.ScheduleActivity, int], Play]:
    """Return how everything that agents do goes: the same for the same activity and moment.

    Args:
        seed: any number.
        otherwise: how all other activities go.
    """

    def play(command: cm.ScheduleActivity, begin: int) -> Play:
        request = command.arguments[0]

        def number(what: str, most: int) -> int:
            return crc32(f"{seed}/{what}/{command.activity_id}/{begin // 1_000_000}".encode()) % most

        if isinstance(request, InvokeModelInput):
            check_conversation(request)
            return _timed(number, _answer(request, number), fails=number("fails", 8) == 0)
        if isinstance(request, CallToolInput):
            return _timed(number, number("value", 100), fails=number("fails", 4) == 0)
        if isinstance(request, SummariseSessionInput):
            spent = _spent(request.call.path, request.reserved, number)
            return _timed(number, SummariseSessionResult(spent=spent), fails=number("fails", 4) == 0)
        return otherwise(command.activity_id, begin)

    return play


def _timed(number: Number, result: Any, *, fails: bool) -> Play:
    ends: tuple[Any, ...] = ("cancelled", "cancelled", "completed", "failed")
    return Play(
        seconds=1 + number("seconds", 9_000_000) / 1_000_000,
        result=result,
        error=FAILURES[number("error", len(FAILURES))] if fails else None,
        on_cancel=ends[number("cancel", len(ends))],
        cancel_seconds=number("late", 3_000_000) / 1_000_000,
    )


def _answer(request: InvokeModelInput, number: Number) -> InvokeModelResult:
    """Return a turn's end: tools, an answer that breaks the schema, one that needs more budget, or the answer."""
    calls = [_call(at, number) for at in range(1 + number("calls", 4))]
    kind = number("kind", 10)
    asks = [call.call_id for call in calls] if kind == 0 or 3 <= kind <= 6 else []
    found = InvokeModelResult(
        attempts=1 + number("attempts", 2),
        agent_version=1,
        part=TranscriptPart(messages=[*_answered(request), {"role": "assistant", "asks": asks}]),
        fallbacks=2,
        max_turns=3,
        spent=_spent(request.call.path, request.reserved, number),
        next_needs=Reservation(tokens=100 + number("next", 2_000), cost_usd=0.01) if number("asks", 2) else None,
    )
    if kind == 0 and request.reserved is not None:
        needs = Reservation(tokens=request.reserved.tokens + 500, cost_usd=request.reserved.cost_usd)
        return found.model_copy(update={"needs": needs, "spent": [], "part": None})
    if kind in (1, 2):
        return found.model_copy(update={"invalid": [{"message": "not of the schema"}]})
    if kind <= 6:
        return found.model_copy(update={"tool_calls": calls})
    return found.model_copy(update={"output": number("value", 100), "summarise": kind == 7})


def _answered(request: InvokeModelInput) -> list[dict[str, Any]]:
    return [{"role": "tool", "answers": outcome.call_id} for outcome in request.outcomes]


def check_conversation(request: InvokeModelInput) -> None:
    """Check that a model is told the result of every tool call, once, and of no other: providers refuse all else."""
    asked: list[str] = []
    for message in [*(item for part in request.transcript for item in part.messages or []), *_answered(request)]:
        if message["role"] == "tool":
            assert message["answers"] in asked, f"'{message['answers']}' was not asked for, or is answered twice"
            asked.remove(message["answers"])
        else:
            assert not asked, f"nobody told {asked}"
            asked = list(message["asks"])
    assert not asked, f"nobody tells {asked}"


def _call(at: int, number: Number) -> ToolCallRequest:
    kind = number(f"call{at}", 6)
    return ToolCallRequest(
        call_id=f"c{at}",
        tool="t",
        kind="workflow" if kind == 0 else "activity",
        workflow_id="other" if kind == 0 else None,
        requires_approval=kind in (1, 2),
        error="no such tool" if kind == 3 else None,
    )


def _spent(path: str, reserved: Reservation | None, number: Number) -> list[LedgerCall]:
    most = reserved.tokens if reserved is not None else 1_000
    tokens = number("tokens", max(most, 1))
    return [LedgerCall(path=path, model="m", input_tokens=tokens, cost_usd=(None, 0.01)[number("priced", 2)])]
