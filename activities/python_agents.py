"""Runs Python agents: `execute` once, or under a budget as often as a model call of it must be reserved first."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from activities.attempt_notes import current_notes
from orchestrator.agents.answers import checked, parse_answer
from orchestrator.agents.base import AgentContext, BaseAgent
from orchestrator.agents.budgeted_calls import BudgetedCalls
from orchestrator.agents.model_requests import ModelRequest
from orchestrator.agents.prompts import sane
from orchestrator.agents.turn_costs import TurnCosts
from orchestrator.agents.turns import Message, ModelCaller, first_key
from orchestrator.definition.schemas import schema_issues
from orchestrator.execution.errors_steps import AgentFailed
from orchestrator.execution.messages import TokenUsage
from orchestrator.execution.messages_agents import InvokeModelInput, InvokeModelResult
from orchestrator.execution.messages_ledger import Reservation
from orchestrator.stores.transcripts import Transcripts


class PythonAgents:
    """Runs them.

    Args:
        ask: makes model calls behind the fleet's limits and circuits.
        transcripts: keeps the task and the answers of an agent that is to be called again.
        costs: prices and estimates.
        default_model: of agents that name none.
    """

    def __init__(self, ask: ModelCaller, transcripts: Transcripts, costs: TurnCosts, default_model: str) -> None:
        self._ask = ask
        self._transcripts = transcripts
        self._costs = costs
        self._default_model = default_model

    async def run(self, agent: BaseAgent, request: InvokeModelInput, seconds: float) -> InvokeModelResult:
        """Let an agent do its task, or do it up to the call that must be reserved first.

        Raises:
            OrchestratorError: what the agent ended in, classified.
        """
        label = f"agent '{request.agent_type}', task '{request.task}'"
        parts = await self._transcripts.load(request.transcript)
        task, answers = _told(request, [message for part in parts for message in part])
        calls, notes = self._calls(request, answers), current_notes()
        context = self._context(request, task, calls, label, seconds)
        work = agent.run(request.task, task["parameters"], context)
        output, needs = await _until_stopped(work, calls) if request.reserved is not None else (await work, None)
        if needs is not None:
            calls.check_repeated(label)
            kept = calls.kept if parts else [{"task": task}, *calls.kept]
            part = await self._transcripts.keep(kept) if kept else None
            return InvokeModelResult(needs=needs, part=part, model=request.model, spent=notes.spent)
        if request.output_schema is not None:
            output = checked(output, request.output_schema, label=label)
        return InvokeModelResult(
            output=output, usage=context.usage, model=request.model, spent=notes.spent, reported=True
        )

    def _calls(self, request: InvokeModelInput, answers: list[Message]) -> BudgetedCalls:
        return BudgetedCalls(
            path=request.call.path,
            turn=request.turn,
            key=first_key(request),
            reserved=request.reserved,
            costs=self._costs,
            notes=current_notes(),
            ask=self._ask,
            answers=answers,
        )

    def _context(
        self, request: InvokeModelInput, task: Message, calls: BudgetedCalls, label: str, seconds: float
    ) -> AgentContext:
        async def ask(
            prompt: str, *, instructions: str, output_schema: Mapping[str, Any] | None, model: str | None
        ) -> tuple[Any, TokenUsage]:
            if output_schema is not None and (issues := schema_issues(dict(output_schema))):
                # Found out after the call, it would be paid at every attempt.
                why = f"{label}: the output_schema of ask_model is not a JSON Schema: {issues[0].message}"
                raise AgentFailed(why, retryable=False)
            messages = [{"role": "user", "content": sane(prompt)}]
            if instructions:
                messages.insert(0, {"role": "system", "content": sane(instructions)})
            call = ModelRequest(
                model=model or request.model or self._default_model,
                messages=messages,
                output_schema=output_schema,
                schema_name=request.task,
                timeout_seconds=seconds,
            )
            completion = await calls.complete(call)
            if output_schema is None:
                return completion.text, completion.usage
            return parse_answer(completion.text, output_schema, label=label), completion.usage

        return AgentContext(
            execution_id=request.call.execution_id,
            step_path=request.call.path,
            idempotency_key=first_key(request),
            input=task["input"],
            dependencies=task["dependencies"],
            output_schema=request.output_schema,
            timeout_seconds=seconds,
            model=request.model,
            ask=ask,
        )


def _told(request: InvokeModelInput, kept: list[Message]) -> tuple[Message, list[Message]]:
    """Return what the task is about, and the answers that earlier calls of the agent had."""
    if kept:
        return kept[0]["task"], kept[1:]
    return {"parameters": request.parameters, "input": request.input, "dependencies": request.dependencies}, []


async def _until_stopped(work: Any, calls: BudgetedCalls) -> tuple[Any, Reservation | None]:
    """Return the agent's result, or what the call needs that stopped it; then it is cancelled."""
    working, stopped = asyncio.ensure_future(work), asyncio.ensure_future(calls.stopped())
    try:
        await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result(), None
        return None, calls.needs
    finally:
        working.cancel()
        stopped.cancel()
        await asyncio.gather(working, stopped, return_exceptions=True)
