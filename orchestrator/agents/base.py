"""`BaseAgent`: what a Python author subclasses for behaviour that a record cannot say."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Protocol

import orjson
import structlog

from orchestrator.agents.answers import DEEPEST_ANSWER, too_deep
from orchestrator.agents.prompts import sane_json
from orchestrator.execution.errors import OrchestratorError
from orchestrator.execution.errors_steps import AgentFailed, AttemptTimeout, InvalidOutput
from orchestrator.execution.messages import TokenUsage
from orchestrator.stores.agent_state import AgentState
from orchestrator.stores.breakers import CircuitBreakers
from orchestrator.telemetry.metrics import worker_meters


class AskModel(Protocol):
    """Makes one model call for an agent and returns its answer, checked where there is a schema."""

    async def __call__(
        self, prompt: str, *, instructions: str, output_schema: Mapping[str, Any] | None, model: str | None
    ) -> tuple[Any, TokenUsage]:
        """Return the answer and what it cost."""


@dataclass(slots=True)
class AgentContext:
    """What an agent knows about the step that it works for.

    Attributes:
        input: the execution's input.
        dependencies: outputs of the steps in `depends_on`, by step id.
        idempotency_key: the same for every attempt of the step: pass it on to whatever has effects.
        output_schema: what the step wants the result to satisfy; it is checked afterwards.
        timeout_seconds: the time that this attempt has.
        usage: the model calls made so far.
    """

    execution_id: str
    step_path: str
    idempotency_key: str
    input: Any
    dependencies: Mapping[str, Any]
    output_schema: Mapping[str, Any] | None
    timeout_seconds: float
    model: str | None
    ask: AskModel
    usage: TokenUsage = field(default_factory=TokenUsage)

    async def ask_model(
        self,
        prompt: str,
        *,
        instructions: str = "",
        output_schema: Mapping[str, Any] | None = None,
        model: str | None = None,
    ) -> Any:
        """Make one model call; returns its text, or the JSON value that `output_schema` asks for.

        Raises:
            StepFailure: what the call ended in, classified.
        """
        answer, usage = await self.ask(
            prompt, instructions=instructions, output_schema=output_schema, model=model or self.model
        )
        self.usage = TokenUsage(
            input_tokens=self.usage.input_tokens + usage.input_tokens,
            output_tokens=self.usage.output_tokens + usage.output_tokens,
            model_calls=self.usage.model_calls + usage.model_calls,
            cached_input_tokens=self.usage.cached_input_tokens + usage.cached_input_tokens,
        )
        return answer


@dataclass(frozen=True, slots=True)
class AgentResources:
    """What the factory gives an agent at its registration."""

    state: AgentState
    breakers: CircuitBreakers


class BaseAgent(ABC):
    """An agent in Python. Subclasses set `agent_type` and implement `execute`; one instance serves all calls at once.

    Retries with exponential backoff are the step's `retry`, executed by Temporal: an agent says by the error that it
    raises whether another try makes sense, and never loops itself.
    """

    agent_type: ClassVar[str]
    description: ClassVar[str] = ""

    _resources: AgentResources | None = None

    @abstractmethod
    async def execute(self, task: str, parameters: Any, context: AgentContext) -> Any:
        """Do a task and return its result, any JSON value.

        It may be called again for the same step (a crash, a retry), with the same `context.idempotency_key`.
        """

    def classify(self, error: Exception) -> OrchestratorError:
        """Return what an error means; override it to say which of your errors are worth another try."""
        if isinstance(error, OrchestratorError):
            return error
        name = f"agent '{self.agent_type}'"
        if isinstance(error, TimeoutError):
            return AttemptTimeout(f"{name}: {error or 'it took too long'}", details={"kind": "agent"})
        return AgentFailed(
            f"{name} raised {type(error).__name__}: {error}", details={"exception": type(error).__name__}
        )

    def bind(self, resources: AgentResources) -> None:
        """Take what the factory provides."""
        self._resources = resources

    @property
    def state(self) -> AgentState:
        """What the agent remembers between calls, in Redis, shared by all workers."""
        return self._bound.state

    @property
    def log(self) -> structlog.stdlib.BoundLogger:
        """A logger that names the agent."""
        logger: structlog.stdlib.BoundLogger = structlog.get_logger(type(self).__module__)
        return logger.bind(agent_type=self.agent_type)

    @asynccontextmanager
    async def guarded(self, dependency: str, *, lease_seconds: float = 60.0) -> AsyncIterator[None]:
        """Put a circuit breaker around the calls to one of the agent's own dependencies.

        Raises:
            CircuitOpen: it failed too often lately; the attempt is parked, not counted.
        """
        async with self._bound.breakers.guard(f"agent:{self.agent_type}:{dependency}", lease_seconds=lease_seconds):
            yield

    async def run(self, task: str, parameters: Any, context: AgentContext) -> Any:
        """Execute a task with the circuit breaker, metrics and classified errors. Called by the activity.

        Raises:
            OrchestratorError: a leaf of the error tree, whatever `execute` raised.
        """
        began = asyncio.get_running_loop().time()
        outcome = "failure"
        name = f"agent:{self.agent_type}"
        try:
            async with self._bound.breakers.guard(name, lease_seconds=context.timeout_seconds):
                result = await self._classified(task, parameters, context)
            outcome = "success"
            return result
        finally:
            took = timedelta(seconds=asyncio.get_running_loop().time() - began)
            worker_meters().agent_call(self.agent_type, task, outcome, took)

    async def _classified(self, task: str, parameters: Any, context: AgentContext) -> Any:
        try:
            async with asyncio.timeout(context.timeout_seconds):
                result = await self.execute(task, parameters, context)
        except Exception as error:
            classified = self.classify(error)
            if classified is error:
                raise
            self.log.exception("the agent raised", task=task, execution_id=context.execution_id)
            raise classified from error
        return self._as_json(result)

    def _as_json(self, result: Any) -> Any:
        try:
            value = orjson.loads(orjson.dumps(sane_json(result)))
            if too_deep(value):
                raise ValueError(f"it is nested deeper than {DEEPEST_ANSWER}")
            # orjson writes NaN and infinities as null.
            json.dumps(result, allow_nan=False, default=str)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidOutput(
                f"agent '{self.agent_type}' returned what is not JSON: {error}",
                hint="return dicts with text keys, lists, texts, finite numbers, booleans or None",
                retryable=False,
            ) from error
        return value

    @property
    def _bound(self) -> AgentResources:
        if self._resources is None:
            raise RuntimeError(f"agent '{self.agent_type}' is not registered: await agent_factory.register(agent)")
        return self._resources
