"""The activity `invoke_model`: one task for one agent, which is one model call or one Python agent's `execute`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from temporalio import activity

from activities.attempt_notes import current_notes
from activities.python_agents import PythonAgents
from activities.step_activity import step_activity
from orchestrator.agents.answers import Completion
from orchestrator.agents.base import BaseAgent
from orchestrator.agents.factory import AgentFactory, PinnedRecord
from orchestrator.agents.model_calls import ModelCalls
from orchestrator.agents.model_requests import ModelRequest
from orchestrator.agents.records import AgentRecord
from orchestrator.agents.turns import AgentTurns, ModelCaller
from orchestrator.definition import limits
from orchestrator.definition.compiled import RetryRule
from orchestrator.execution.errors import OrchestratorError
from orchestrator.execution.messages_agents import InvokeModelInput, InvokeModelResult
from orchestrator.execution.policies import backoff_seconds
from orchestrator.stores.token_streams import TokenStreams

LONGEST_CALL_SECONDS = 300.0
"""Where the attempt has no start-to-close timeout."""


class ModelActivities:
    """Calls agents. Each attempt makes at most one model call for a record; trying again is Temporal's.

    Args:
        factory: the agents.
        calls: makes model calls behind the fleet's limits and circuits.
        turns: runs the turns of agents that are records.
        tokens: where the text of running calls is shown; None: nowhere.
    """

    def __init__(
        self, factory: AgentFactory, calls: ModelCalls, turns: AgentTurns, tokens: TokenStreams | None = None
    ) -> None:
        self._factory = factory
        self._calls = calls
        self._turns = turns
        self._tokens = tokens
        model = factory.settings.default_model
        self._python = PythonAgents(calls.complete, turns.transcripts, turns.costs, model)

    def all(self) -> list[Callable[..., Any]]:
        """Return the activities for the worker."""
        return [self.invoke_model]

    @step_activity("invoke_model")
    async def invoke_model(self, request: InvokeModelInput) -> InvokeModelResult:
        """Let an agent do a task, or the next turn of it.

        Raises:
            AgentNotFound: no such agent; not tried again.
            ExpressionError: the prompt reads what is not there; not tried again.
            StepFailure: what the model call or the Python agent ended in, classified.
            CircuitOpen: the dependency failed too often lately; the attempt is parked.
            RedisUnavailable: the registry does not answer.
        """
        seconds = attempt_seconds()
        agent = await self._factory.resolve(request.agent_type, request.agent_version)
        async with self._factory.observed(request.agent_type, lease_seconds=seconds + 5):
            if isinstance(agent, BaseAgent):
                return await self._python.run(agent, request, seconds)
            return await self._turn(agent, request, seconds)

    async def _turn(self, pinned: PinnedRecord, request: InvokeModelInput, seconds: float) -> InvokeModelResult:
        rule = None if request.own_retry else retry_rule(pinned.record)
        if rule is not None:
            request.call.max_attempts = max(rule.max_attempts - request.tried, 1) if rule.max_attempts else 0
            request.call.non_retryable_errors = list(rule.non_retryable)
        try:
            async with self._shown(request) as ask:
                return await self._turns.run(pinned, request, ask, current_notes(), seconds)
        except OrchestratorError as error:
            if rule is not None and error.retryable and error.retry_after_seconds is None and not error.parks:
                error.retry_after_seconds = backoff_seconds(rule, request.tried + activity.info().attempt)
            raise

    @asynccontextmanager
    async def _shown(self, request: InvokeModelInput) -> AsyncIterator[ModelCaller]:
        """Give what makes the model call, its text shown to whoever watches the execution."""
        if self._tokens is None:
            yield self._calls.complete
            return
        attempt = activity.info().attempt if activity.in_activity() else 1
        call = request.call
        async with self._tokens.writing(
            call.execution_id, path=call.path, turn=request.turn, attempt=attempt
        ) as writer:

            async def complete(asked: ModelRequest, /) -> Completion:
                return await self._calls.complete(replace(asked, on_delta=writer.publish))

            yield complete


def retry_rule(record: AgentRecord) -> RetryRule | None:
    """Return the record's own retry policy, built-in values where it says nothing; None without one."""
    own = record.retry
    if own is None:
        return None
    return RetryRule(
        limits.MAX_ATTEMPTS if own.max_attempts is None else own.max_attempts,
        own.initial_interval_seconds or limits.INITIAL_INTERVAL_SECONDS,
        own.backoff_coefficient or limits.BACKOFF_COEFFICIENT,
        own.max_interval_seconds or limits.MAX_INTERVAL_SECONDS,
        tuple(own.non_retryable_errors or ()),
    )


def attempt_seconds() -> float:
    """Return the seconds that a model call may take: a little less than the attempt, so that it can say so itself."""
    limit = activity.info().start_to_close_timeout if activity.in_activity() else None
    if not limit:
        return LONGEST_CALL_SECONDS
    seconds = limit.total_seconds()
    return seconds - min(1.0, seconds * 0.2)
