"""The activity `summarise_session`: one model call that makes a long conversation short."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from activities.attempt_notes import current_notes
from activities.models import attempt_seconds
from activities.step_activity import step_activity
from orchestrator.agents.base import BaseAgent
from orchestrator.agents.factory import AgentFactory
from orchestrator.agents.model_calls import ModelCalls
from orchestrator.agents.session_summaries import SessionSummaries
from orchestrator.execution.messages_agents import SummariseSessionInput, SummariseSessionResult


class SessionActivities:
    """Summarises sessions after a step's answer; the step completes whatever comes of it.

    Args:
        factory: the agents.
        calls: makes model calls behind the fleet's limits and circuits.
        summaries: writes them.
    """

    def __init__(self, factory: AgentFactory, calls: ModelCalls, summaries: SessionSummaries) -> None:
        self._factory = factory
        self._calls = calls
        self._summaries = summaries

    def all(self) -> list[Callable[..., Any]]:
        """Return the activities for the worker."""
        return [self.summarise_session]

    @step_activity("summarise_session")
    async def summarise_session(self, request: SummariseSessionInput) -> SummariseSessionResult:
        """Replace a session's oldest messages by a summary.

        Raises:
            StepFailure: what the model call ended in, classified.
            CircuitOpen: the model failed too often lately; the attempt is parked.
            RedisUnavailable: the sessions are away.
        """
        agent = await self._factory.resolve(request.agent_type, request.agent_version)
        if isinstance(agent, BaseAgent):
            return SummariseSessionResult()
        return await self._summaries.run(agent, request, self._calls.complete, current_notes(), attempt_seconds())
