"""The activity `invoke_model` over a real Redis and a real model server; attempts over a real Temporal."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.models import LONGEST_CALL_SECONDS, ModelActivities, attempt_seconds
from orchestrator.agents import AgentContext, AgentFactory, BaseAgent, ModelProviders
from orchestrator.agents.model_calls import ModelCalls, rate_limits
from orchestrator.agents.tools import Toolbox
from orchestrator.agents.tools.python_tools import PythonTools, tool
from orchestrator.agents.turn_costs import TurnCosts
from orchestrator.agents.turns import AgentTurns
from orchestrator.execution.messages import StepCall
from orchestrator.execution.messages_agents import InvokeModelInput, InvokeModelResult
from orchestrator.settings import Settings
from orchestrator.stores.transcripts import Transcripts
from tests.fakes import model_behaviours as does
from tests.fakes.model_server import FakeModelServer
from tests.support.activity_environment import activity_environment
from tests.support.polling import eventually
from tests.support.ports import free_port

EXAMPLES = Path(__file__).parents[2] / "examples" / "agents"
LEAD = {"lead": {"name": "Acme Corp", "budget": 50000}}
SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}


class Echo(BaseAgent):
    agent_type: ClassVar[str] = "echo"

    async def execute(self, task: str, parameters: Any, context: AgentContext) -> Any:
        if task == "ask":
            answer = await context.ask_model("hello", instructions="be nice", output_schema=SCHEMA)
            return {"answer": answer, "key": context.idempotency_key}
        if task == "ask_wrongly":
            return await context.ask_model("hello", output_schema={"$ref": "#/$defs/nowhere"})
        if task == "crash":
            raise KeyError("nothing here")
        if task == "hang":
            await asyncio.Event().wait()
        if task == "depend":
            async with self.guarded("shop"):
                raise ConnectionError("the shop is closed")
        return {"parameters": parameters, "input": context.input, "dependencies": dict(context.dependencies)}


@pytest.fixture
def model_settings(redis_url: str, model_server: FakeModelServer) -> Settings:
    return Settings(
        _env_file=None,
        redis_url=redis_url,
        redis_key_prefix=f"test-{uuid.uuid4().hex[:12]}",
        openai_base_url=model_server.url,
        default_model="openai/tiny",
        # A slow machine takes its time for twenty failures.
        breaker_window_seconds=600,
        breaker_open_seconds=60,
    )


@pytest.fixture
async def activities(model_settings: Settings) -> AsyncIterator[ModelActivities]:
    factory, providers = AgentFactory(model_settings), ModelProviders(model_settings)
    await factory.load_records(EXAMPLES)
    await factory.register(Echo)
    yield model_activities(factory, providers)
    await providers.aclose()
    await factory.aclose()


def model_activities(
    factory: AgentFactory, providers: ModelProviders, toolbox: Toolbox | None = None
) -> ModelActivities:
    turns = AgentTurns(toolbox or Toolbox(()), Transcripts(None), None, TurnCosts(), "openai/tiny")
    redis = factory._stores.redis
    return ModelActivities(
        factory, ModelCalls(providers, factory.breakers, rate_limits(factory.settings, redis)), turns
    )


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def request(agent_type: str = "sales", task: str = "qualify_lead", **fields: Any) -> InvokeModelInput:
    call = StepCall(
        execution_id="ex-1",
        workflow_id="lead-processing",
        path=task,
        step_id=task,
        idempotency_key=f"ex-1/{task}",
        max_attempts=fields.pop("max_attempts", 5),
    )
    return InvokeModelInput(call=call, agent_type=agent_type, task=task, **{"input": LEAD, **fields})


async def invoke(activities: ModelActivities, asked: InvokeModelInput) -> InvokeModelResult:
    found = await activity_environment().run(activities.invoke_model, asked)
    assert isinstance(found, InvokeModelResult)
    return found


async def failure(activities: ModelActivities, asked: InvokeModelInput) -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        await invoke(activities, asked)
    return caught.value


async def test_a_task_with_a_schema_is_one_call_and_a_checked_value(
    activities: ModelActivities, model_server: FakeModelServer
) -> None:
    found = await invoke(activities, request(parameters={"priority": "high"}))
    assert found.output == {"qualified": True, "score": 0, "tier": "hot", "reason": "sample text."}
    assert (found.agent_version, found.model, found.attempts) == (1, "openai/tiny", 1)
    assert (found.usage.input_tokens, found.usage.output_tokens, found.usage.model_calls) == (11, 7, 1)
    (call,) = model_server.calls("qualify_lead")
    assert "Priority of the request: high" in call.prompt and "Acme Corp" in call.prompt
    assert call.body["temperature"] == 0


async def test_a_task_that_the_record_does_not_list_sees_everything_and_answers_in_text(
    activities: ModelActivities, model_server: FakeModelServer
) -> None:
    asked = request(task="write_poem", parameters={"metre": "iambic"}, dependencies={"a": {"b": 1}})
    assert (await invoke(activities, asked)).output == "sample answer"
    (call,) = model_server.calls()
    for part in ("write_poem", "iambic", "Acme Corp", '{"a":{"b":1}}'):
        assert part in call.prompt
    assert "response_format" not in call.body


async def test_the_steps_model_and_schema_go_before_the_records(
    activities: ModelActivities, model_server: FakeModelServer
) -> None:
    found = await invoke(activities, request(model="openai/other", output_schema=SCHEMA))
    assert (found.output, found.model) == ({"ok": True}, "openai/other")
    assert model_server.calls()[0].body["model"] == "other"


async def test_the_latest_version_of_a_record_is_used_and_told(
    activities: ModelActivities, model_server: FakeModelServer
) -> None:
    await activities._factory.put("sales", {"tasks": {"qualify_lead": {"prompt": "Version two."}}})
    found = await invoke(activities, request())
    assert (found.agent_version, found.output) == (2, "sample answer")
    assert model_server.calls()[0].prompt == "Version two."


async def test_an_answer_that_breaks_its_schema_is_told_with_every_reason(
    activities: ModelActivities, model_server: FakeModelServer
) -> None:
    model_server.then(does.ok({"qualified": "yes", "score": 101, "tier": "hot", "reason": "x"}), does.text("no idea"))
    for pointers in ({"/qualified", "/score"}, {""}):
        found = await invoke(activities, request())
        assert found.output is None
        assert {problem["pointer"] for problem in found.invalid or []} == pointers
        assert found.part is not None and found.part.messages is not None
        assert [message["role"] for message in found.part.messages] == ["system", "user", "assistant"]


async def test_unknown_agents_and_prompts_without_their_data_are_not_tried_again(
    activities: ModelActivities, model_server: FakeModelServer
) -> None:
    error = await failure(activities, request("salse"))
    assert (error.type, error.non_retryable) == ("agent-not-found", True)
    assert error.details[0]["hint"] == "did you mean 'sales'?"
    await activities._factory.put("sales", {"tasks": {"qualify_lead": {"prompt": "{{ input.missing }}"}}})
    error = await failure(activities, request())
    assert (error.type, error.non_retryable) == ("E_MISSING", True)
    assert model_server.calls() == []


async def test_a_python_agent_runs_in_the_same_activity(
    activities: ModelActivities, model_server: FakeModelServer
) -> None:
    found = await invoke(activities, request("echo", "copy", parameters=[1], dependencies={"a": None}))
    assert found.output == {"parameters": [1], "input": LEAD, "dependencies": {"a": None}}
    assert model_server.calls() == []
    found = await invoke(activities, request("echo", "ask"))
    assert found.output == {"answer": {"ok": True}, "key": "ex-1/ask"}
    assert (found.usage.model_calls, found.usage.output_tokens) == (1, 7)
    health = await activities._factory.health("echo")
    assert (health.calls.calls, health.calls.failures) == (2, 0)


async def test_a_python_agents_errors_are_classified(activities: ModelActivities) -> None:
    error = await failure(activities, request("echo", "crash"))
    assert (error.type, error.non_retryable) == ("agent-failed", False)
    assert "KeyError" in error.message
    error = await failure(activities, request("echo", "copy", output_schema=SCHEMA))
    assert (error.type, error.non_retryable) == ("invalid-output", False)


async def test_a_schema_that_is_none_is_refused_before_the_call_is_paid(
    activities: ModelActivities, model_server: FakeModelServer
) -> None:
    error = await failure(activities, request("echo", "ask_wrongly"))
    assert (error.type, error.non_retryable) == ("agent-failed", True)
    assert "is not a JSON Schema" in error.message
    assert model_server.calls() == []


class Odd(BaseAgent):
    agent_type: ClassVar[str] = "odd"
    value: Any = None

    async def execute(self, task: str, parameters: Any, context: AgentContext) -> Any:
        return self.value


@pytest.mark.parametrize("value", [{1, 2}, object(), math.nan, {"a": [math.inf]}, 2**70, {1: 2}, nested(70)])
async def test_a_python_agents_result_that_is_no_json_is_refused_for_good(
    activities: ModelActivities, value: Any
) -> None:
    agent = Odd()
    agent.value = value
    await activities._factory.register(agent)
    error = await failure(activities, request("odd", "any"))
    assert (error.type, error.non_retryable) == ("invalid-output", True)


async def test_half_a_surrogate_pair_in_a_python_agents_result_is_replaced(activities: ModelActivities) -> None:
    agent = Odd()
    agent.value = {"text": "cut \ud83d", "\udfff": ["whole 😀"]}
    await activities._factory.register(agent)
    found = await invoke(activities, request("odd", "any"))
    assert found.output == {"text": "cut ?", "?": ["whole 😀"]}


async def test_a_python_agent_that_hangs_times_out_by_itself(activities: ModelActivities) -> None:
    # The agent's own limit comes a tenth of this before the wrapper's.
    environment = activity_environment(5)
    with pytest.raises(ApplicationError) as caught:
        await environment.run(activities.invoke_model, request("echo", "hang"))
    assert caught.value.type == "timeout"
    health = await activities._factory.health("echo")
    assert (health.calls.failures, health.breaker.failures) == (1, 1)


async def test_a_python_agents_dependency_has_a_circuit_of_its_own(activities: ModelActivities) -> None:
    for _ in range(20):
        assert (await failure(activities, request("echo", "depend"))).type == "agent-failed"
    states = {item.name: item.state for item in (await activities._factory.breakers.states()).items}
    assert states["agent:echo:shop"] == "open"


async def test_calls_show_in_the_agents_health(activities: ModelActivities, model_server: FakeModelServer) -> None:
    await invoke(activities, request())
    model_server.always(does.status(500))
    await failure(activities, request())
    found = await activities._factory.health("sales")
    assert (found.calls.calls, found.calls.failures, found.breaker.failures) == (2, 1, 1)
    assert found.calls.last_error is not None and found.calls.last_error["type"] == "model-unavailable"


async def test_an_open_circuit_calls_nobody_and_parks_the_attempt(
    activities: ModelActivities, model_server: FakeModelServer
) -> None:
    model_server.always(does.status(500))
    for _ in range(20):
        await failure(activities, request())
    error = await failure(activities, request())
    assert (error.type, error.non_retryable) == ("circuit-open", False)
    assert error.next_retry_delay is not None
    assert timedelta(seconds=20) < error.next_retry_delay <= timedelta(seconds=72)
    assert len(model_server.calls()) == 20


async def test_with_redis_away_the_step_fails_typed_and_retryable(model_server: FakeModelServer) -> None:
    settings = Settings(_env_file=None, redis_url=f"redis://127.0.0.1:{free_port()}", openai_base_url=model_server.url)
    factory = AgentFactory(settings)
    error = await failure(model_activities(factory, ModelProviders(settings)), request())
    assert (error.type, error.non_retryable) == ("redis-unavailable", False)
    await factory.aclose()


async def test_a_call_ends_a_little_before_its_attempt() -> None:
    assert attempt_seconds() == LONGEST_CALL_SECONDS
    environment = ActivityEnvironment()

    @activity.defn
    async def limit() -> float:
        return attempt_seconds()

    for allowed, seconds in ((60, 59), (2, 1.6)):
        environment.info = replace(environment.info, start_to_close_timeout=timedelta(seconds=allowed))
        assert await environment.run(limit) == seconds


@workflow.defn(name="OneTask")
class OneTask:
    """Runs one `invoke_model` with quick retries, the way a step does."""

    @workflow.run
    async def run(self, asked: InvokeModelInput) -> InvokeModelResult:
        found: InvokeModelResult = await workflow.execute_activity(
            "invoke_model",
            asked,
            result_type=InvokeModelResult,
            start_to_close_timeout=timedelta(seconds=1),
            heartbeat_timeout=timedelta(seconds=5),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=20), backoff_coefficient=1.0),
        )
        return found


async def run_task(activities: ModelActivities, settings: Settings, asked: InvokeModelInput) -> InvokeModelResult:
    client = await Client.connect(settings.temporal_address, data_converter=pydantic_data_converter)
    queue = f"models-{uuid.uuid4().hex[:12]}"
    async with Worker(
        client,
        task_queue=queue,
        workflows=[OneTask],
        activities=activities.all(),
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        found: InvokeModelResult = await client.execute_workflow(OneTask.run, asked, id=queue, task_queue=queue)
        return found


@pytest.mark.parametrize(
    ("behaviours", "attempts"),
    [
        ([does.status(500), does.reset(), does.garbage(), does.empty_choices()], 5),
        ([does.status(429, headers={"Retry-After": "0"}), does.truncated_json()], 3),
        ([does.hang(), does.garbage()], 3),
    ],
    ids=["broken", "limited", "silent"],
)
async def test_attempts_counted_are_calls_seen(
    activities: ModelActivities,
    model_server: FakeModelServer,
    settings: Settings,
    behaviours: list[does.Behaviour],
    attempts: int,
) -> None:
    model_server.then(*behaviours)
    found = await run_task(activities, settings, request())
    assert found.attempts == attempts
    assert len(model_server.calls("qualify_lead")) == attempts


@pytest.mark.parametrize(("code", "calls"), [(500, 3), (400, 1)])
async def test_a_model_that_stays_broken_fails_after_the_attempts_it_is_worth(
    activities: ModelActivities, model_server: FakeModelServer, settings: Settings, code: int, calls: int
) -> None:
    model_server.always(does.status(code))
    with pytest.raises(WorkflowFailureError) as caught:
        await run_task(activities, settings, request(max_attempts=3))
    assert isinstance(caught.value.cause, ActivityError)
    error = caught.value.cause.cause
    assert isinstance(error, ApplicationError)
    assert error.type == ("model-unavailable" if code == 500 else "model-rejected")
    assert error.details[0]["attempts"] == calls
    assert len(model_server.calls()) == calls


async def test_a_hanging_call_is_cancelled_with_its_activity(
    activities: ModelActivities, model_server: FakeModelServer
) -> None:
    model_server.always(does.hang())
    environment = activity_environment()

    async def cancel_once_called() -> None:
        await eventually(lambda: bool(model_server.calls()))
        environment.cancel()

    canceller = asyncio.create_task(cancel_once_called())
    with pytest.raises(asyncio.CancelledError):
        await environment.run(activities.invoke_model, request())
    await canceller
    found = await activities._factory.health("sales")
    assert (found.calls.calls, found.calls.in_flight, found.breaker.failures) == (0, 0, 0)


@pytest.mark.parametrize(
    ("task", "chosen", "offered"),
    [("all", None, ["look", "pay"]), ("some", None, ["look"]), ("none", None, []), ("some", ["pay"], ["pay"])],
)
async def test_a_step_and_else_its_task_say_which_of_the_agents_tools_are_offered(
    model_settings: Settings, model_server: FakeModelServer, task: str, chosen: list[str] | None, offered: list[str]
) -> None:
    def look() -> str:
        """Look."""
        return "seen"

    python = PythonTools()
    for name in ("look", "pay"):
        python.register(tool(name=name)(look))
    tasks = {"all": {"prompt": "x"}, "some": {"prompt": "x", "tools": ["look"]}, "none": {"prompt": "x", "tools": []}}
    factory, providers = AgentFactory(model_settings), ModelProviders(model_settings)
    await factory.register({"agent_type": "handy", "tools": ["look", "pay"], "tasks": tasks})
    await invoke(model_activities(factory, providers, Toolbox([python])), request("handy", task, tools=chosen))
    (call,) = model_server.calls()
    assert [item["function"]["name"] for item in call.body.get("tools", [])] == offered
    await providers.aclose()
    await factory.aclose()
