"""The activity `invoke_model`: one task for one agent, which is one model call or one Python agent's `execute`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from temporalio import activity

from activities.step_activity import step_activity
from orchestrator.agents.answers import checked, parse_answer
from orchestrator.agents.base import AgentContext, BaseAgent
from orchestrator.agents.factory import AgentFactory, PinnedRecord
from orchestrator.agents.prompts import TaskContext, prompt_messages, sane
from orchestrator.agents.providers import ModelProviders, ModelRequest
from orchestrator.execution.messages import TokenUsage
from orchestrator.execution.messages_agents import InvokeModelInput, InvokeModelResult
from orchestrator.stores.breakers import CircuitBreakers

LONGEST_CALL_SECONDS = 300.0
"""Where the attempt has no start-to-close timeout."""


class ModelActivities:
    """Calls agents. Each attempt makes at most one model call for a record; trying again is Temporal's."""

    def __init__(self, factory: AgentFactory, providers: ModelProviders, breakers: CircuitBreakers) -> None:
        """Args: `breakers` are `factory.breakers` of the event loop that runs the activities."""
        self._factory = factory
        self._providers = providers
        self._breakers = breakers

    def all(self) -> list[Callable[..., Any]]:
        """Return the activities for the worker."""
        return [self.invoke_model]

    @step_activity("invoke_model")
    async def invoke_model(self, request: InvokeModelInput) -> InvokeModelResult:
        """Let an agent do a task.

        Raises:
            AgentNotFound: no such agent; not tried again.
            ExpressionError: the prompt reads what is not there; not tried again.
            StepFailure: what the model call or the Python agent ended in, classified.
            CircuitOpen: the dependency failed too often lately; the attempt is parked.
            RedisUnavailable: the registry does not answer.
        """
        seconds = attempt_seconds()
        agent = await self._factory.resolve(request.agent_type)
        async with self._factory.observed(request.agent_type, lease_seconds=seconds + 5):
            if isinstance(agent, BaseAgent):
                return await self._run_python(agent, request, seconds)
            return await self._ask(agent, request, seconds)

    async def _ask(self, pinned: PinnedRecord, request: InvokeModelInput, seconds: float) -> InvokeModelResult:
        record, schema = pinned.record, request.output_schema
        if schema is None and request.task in record.tasks:
            schema = record.tasks[request.task].output_schema
        context = TaskContext(request.task, request.parameters, request.input, request.dependencies)
        model = request.model or record.model or self._factory.settings.default_model
        call = ModelRequest(
            model=model,
            messages=prompt_messages(record, context),
            output_schema=schema,
            schema_name=request.task,
            temperature=record.temperature,
            max_output_tokens=record.max_output_tokens,
            timeout_seconds=seconds,
        )
        output, usage = await self._complete(call, label=f"agent '{request.agent_type}', task '{request.task}'")
        return InvokeModelResult(output=output, usage=usage, agent_version=pinned.version, model=model)

    async def _run_python(self, agent: BaseAgent, request: InvokeModelInput, seconds: float) -> InvokeModelResult:
        label = f"agent '{request.agent_type}', task '{request.task}'"
        default_model = request.model or self._factory.settings.default_model

        async def ask(
            prompt: str, *, instructions: str, output_schema: Mapping[str, Any] | None, model: str | None
        ) -> tuple[Any, TokenUsage]:
            messages = [{"role": "user", "content": sane(prompt)}]
            if instructions:
                messages.insert(0, {"role": "system", "content": sane(instructions)})
            call = ModelRequest(
                model=model or default_model,
                messages=messages,
                output_schema=output_schema,
                schema_name=request.task,
                timeout_seconds=seconds,
            )
            return await self._complete(call, label=label)

        context = AgentContext(
            execution_id=request.call.execution_id,
            step_path=request.call.path,
            idempotency_key=request.call.idempotency_key,
            input=request.input,
            dependencies=request.dependencies,
            output_schema=request.output_schema,
            timeout_seconds=seconds,
            model=request.model,
            ask=ask,
        )
        output = await agent.run(request.task, request.parameters, context)
        if request.output_schema is not None:
            output = checked(output, request.output_schema, label=label)
        return InvokeModelResult(output=output, usage=context.usage, model=request.model)

    async def _complete(self, call: ModelRequest, *, label: str) -> tuple[Any, TokenUsage]:
        async with self._breakers.guard(f"model:{call.model}", lease_seconds=call.timeout_seconds):
            completion = await self._providers.complete(call)
        if call.output_schema is None:
            return completion.text, completion.usage
        return parse_answer(completion.text, call.output_schema, label=label), completion.usage


def attempt_seconds() -> float:
    """Return the seconds that a model call may take: a little less than the attempt, so that it can say so itself."""
    limit = activity.info().start_to_close_timeout if activity.in_activity() else None
    if not limit:
        return LONGEST_CALL_SECONDS
    seconds = limit.total_seconds()
    return seconds - min(1.0, seconds * 0.2)
