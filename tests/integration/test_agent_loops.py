"""Loops of agents on the whole worker and a real model server: what each call of the model is told, and how many."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from orchestrator.agents.tools.python_tools import python_tools, tool
from orchestrator.execution.messages import ExecutionView
from orchestrator.settings import ModelPrice, ProviderSettings, Settings
from orchestrator.stores.redis import connect_redis
from orchestrator.stores.sessions import SessionStore
from tests.fakes.model_behaviours import lone_surrogates, ok, status, text, tool_calls
from tests.fakes.model_server import FakeModelServer
from tests.support.executions import outcome
from tests.support.whole_worker import WholeWorker, whole_worker

Json = dict[str, Any]
SCHEMA = {"type": "object", "required": ["ok"], "properties": {"ok": {"type": "boolean"}}}
RETRY = {"max_attempts": 5, "initial_interval_seconds": 0.02, "backoff_coefficient": 1}
PRICED = ModelPrice(input_per_million=1_000_000, output_per_million=1_000_000)
FREE = ModelPrice(input_per_million=0, output_per_million=0)
LARGE = "x" * 6_000_000


@tool(name="long_text")
def long_text(mark: str) -> str:
    """Tell six million letters."""
    return mark + LARGE


@pytest.fixture
async def settings_of_models(isolated_settings: Settings, model_server: FakeModelServer) -> Settings:
    """Settings with a provider that has room for one call a minute, and one that has prices."""
    tight = ProviderSettings(base_url=model_server.url, requests_per_minute=1)
    prices = {"openai/free": FREE, "openai/dear": PRICED}
    changes = {"openai_base_url": model_server.url, "default_model": "openai/first", "model_prices": prices}
    return isolated_settings.model_copy(update={**changes, "providers": {"tight": tight}})


@pytest.fixture
async def worker(settings_of_models: Settings) -> AsyncIterator[WholeWorker]:
    """The whole worker, with one tool of its own."""
    async with AsyncExitStack() as stack:
        stack.callback(python_tools.forget, "long_text")
        found = await stack.enter_async_context(whole_worker(settings_of_models))
        python_tools.register(long_text)
        yield found


async def ended(worker: WholeWorker, record: Json, **step: Any) -> ExecutionView:
    """Run one task of an agent with this record to its end; `limits` are the definition's."""
    await worker.factory.put("a", record)
    limits = {"limits": {"budget": step.pop("budget")}} if "budget" in step else {}
    asked = {"step_id": "a", "step_type": "agent_task", "agent_type": "a", "task": "t", "retry": RETRY, **step}
    asked = {name: value for name, value in asked.items() if value is not None}
    return await outcome(await worker.start({"steps": [asked], **limits}))


def models_of(server: FakeModelServer) -> list[str]:
    return [call.body["model"] for call in server.calls()]


def roles(server: FakeModelServer, call: int) -> list[str]:
    return [message["role"] for message in server.calls()[call].body["messages"]]


async def test_a_fallback_after_a_refused_answer_is_told_what_the_tools_gave(
    worker: WholeWorker, model_server: FakeModelServer
) -> None:
    record = {"tools": ["get_time"], "fallback_models": ["openai/second"]}
    model_server.then(tool_calls(("get_time", {})), text("no"), text("no again"), ok({"ok": True}))
    view = await ended(worker, record, output_schema=SCHEMA)
    assert (view.status, view.output) == ("completed", {"a": {"ok": True}}), view.error
    assert models_of(model_server) == ["first", "first", "first", "second"]
    # Neither the refused answers nor the request to mend them; the call of the tool is answered once.
    assert roles(model_server, 3) == ["user", "assistant", "tool"]
    assert model_server.calls()[3].body["messages"] == model_server.calls()[1].body["messages"]


async def test_a_fallback_after_a_failed_repair_is_told_what_the_tools_gave(
    worker: WholeWorker, model_server: FakeModelServer
) -> None:
    record = {"tools": ["get_time"], "fallback_models": ["openai/second"]}
    model_server.then(tool_calls(("get_time", {})), text("no"), status(400), ok({"ok": True}))
    view = await ended(worker, record, output_schema=SCHEMA)
    assert (view.status, view.output) == ("completed", {"a": {"ok": True}}), view.error
    assert roles(model_server, 3) == ["user", "assistant", "tool"]


async def test_a_provider_without_room_makes_way_for_the_fallback(
    worker: WholeWorker, model_server: FakeModelServer
) -> None:
    record = {"model": "tight/one", "tools": ["get_time"], "fallback_models": ["openai/second"]}
    model_server.then(tool_calls(("get_time", {})), text("done"))
    view = await ended(worker, record)
    assert (view.status, view.output) == ("completed", {"a": "done"}), view.error
    assert models_of(model_server) == ["one", "second"]
    assert roles(model_server, 1) == ["user", "assistant", "tool"]


async def test_a_budget_of_model_calls_bounds_the_attempts_of_a_turn(
    worker: WholeWorker, model_server: FakeModelServer
) -> None:
    model_server.always(status(500))
    view = await ended(worker, {}, budget={"model_calls": 3})
    assert view.error is not None
    assert (view.error.type, view.error.details) == ("budget-exhausted", {"exhausted": ["model_calls"]})
    assert len(model_server.calls()) == 3
    assert view.ledger is not None and view.ledger.total.model_calls == 3


@pytest.mark.parametrize("retry", ["step", "record"])
async def test_attempts_are_counted_over_the_activities_of_a_turn(
    worker: WholeWorker, model_server: FakeModelServer, retry: str
) -> None:
    model_server.then(status(500), status(503), status(500), status(500))
    policy = {**RETRY, "max_attempts": 3}
    record, own = ({}, policy) if retry == "step" else ({"retry": policy}, None)
    view = await ended(worker, record, budget={"model_calls": 10}, retry=own)
    assert view.error is not None and view.error.type == "model-unavailable"
    assert (len(model_server.calls()), view.steps[0].attempts) == (3, 3)


async def test_a_fallback_without_a_price_is_not_asked_under_a_budget_of_cost(
    worker: WholeWorker, model_server: FakeModelServer
) -> None:
    record = {"model": "openai/free", "tools": ["get_time"], "fallback_models": ["openai/unpriced"]}
    model_server.then(tool_calls(("get_time", {})), status(400), text("done"))
    view = await ended(worker, record, budget={"cost_usd": 1.0})
    assert view.error is not None
    assert (view.error.type, "no price" in view.error.message) == ("model-rejected", True)
    assert models_of(model_server) == ["free", "free"]


async def test_a_session_keeps_the_question_of_a_task_that_used_tools(
    worker: WholeWorker, model_server: FakeModelServer
) -> None:
    record = {"tools": ["get_time"], "tasks": {"t": {"prompt": "{{ parameters }}"}}}
    model_server.then(text("one"), tool_calls(("get_time", {})), text("two"))
    for question in ("first?", "second?"):
        view = await ended(worker, record, session_id="s", parameters=question)
        assert view.status == "completed", view.error
    async with connect_redis(worker.settings) as redis:
        stored = await SessionStore(redis, worker.settings.redis_key_prefix).get("s")
    said = [message["content"] for message in stored.messages]
    assert said == ["first?", "one", "second?", "two"]


async def test_long_results_of_many_tools_are_cut_and_the_loop_goes_on(
    worker: WholeWorker, model_server: FakeModelServer
) -> None:
    marks = [f"m{number}" for number in range(16)]
    model_server.then(tool_calls(*[("long_text", {"mark": mark}) for mark in marks]), text("done"))
    view = await ended(worker, {"tools": ["long_text"]})
    assert (view.status, view.output) == ("completed", {"a": "done"}), view.error
    told = [message["content"] for message in model_server.calls()[1].body["messages"] if message["role"] == "tool"]
    assert [content[:4].rstrip("x") for content in told] == marks
    assert sum(len(content) for content in told) <= 2_000_000
    assert all("cut: the result has" in content[-100:] for content in told)


async def test_a_text_that_utf8_cannot_carry_goes_through_a_loop(
    worker: WholeWorker, model_server: FakeModelServer
) -> None:
    model_server.then(tool_calls(("get_time", '{"time_zone": "\\ud800"}')), lone_surrogates())
    view = await ended(worker, {"tools": ["get_time"]})
    assert (view.status, view.output) == ("completed", {"a": '{"text": "a?b"}'}), view.error


async def test_calls_that_no_provider_would_take_are_repeated_as_ones_that_it_takes(
    worker: WholeWorker, model_server: FakeModelServer
) -> None:
    calls = [("functions.get_time", {}), ("get_time", '{"time_zone": "Eur')]
    model_server.then(tool_calls(*calls), text("done"))
    view = await ended(worker, {"tools": ["get_time"]})
    assert view.status == "completed", view.error
    [asked] = [message for message in model_server.calls()[1].body["messages"] if message["role"] == "assistant"]
    repeated = [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in asked["tool_calls"]]
    assert repeated == [("functions_get_time", {}), ("get_time", {"not_an_object": '{"time_zone": "Eur'})]
