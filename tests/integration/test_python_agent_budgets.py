"""Python agents under a budget: each model call of `execute` is reserved and settled, and none is paid twice."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from orchestrator.agents import AgentContext, BaseAgent
from orchestrator.execution.messages import BudgetRaise, ExecutionView
from orchestrator.settings import ModelPrice, Settings
from tests.fakes.model_behaviours import ok, status
from tests.fakes.model_server import FakeModelServer
from tests.support.executions import outcome
from tests.support.polling import eventually
from tests.support.whole_worker import WholeWorker, whole_worker

Json = dict[str, Any]
TOKENS = 18
"""What the fake model server charges for a call."""
RETRY = {"max_attempts": 5, "initial_interval_seconds": 0.02, "backoff_coefficient": 1}
_times = itertools.count()


class Asker(BaseAgent):
    """Asks its model as often as its parameters say."""

    agent_type: ClassVar[str] = "asker"
    keys: ClassVar[list[str]] = []

    async def execute(self, task: str, parameters: Any, context: AgentContext) -> Any:
        self.keys.append(context.idempotency_key)
        questions = [f"{parameters['about']} {number}" for number in range(parameters["calls"])]
        if task == "at_once":
            answers = await asyncio.gather(*map(context.ask_model, questions))
        elif task == "differently":
            answers = [await context.ask_model(f"{question} {next(_times)}") for question in questions]
        else:
            answers = [await context.ask_model(question) for question in questions]
        return {"answers": len(answers), "calls": context.usage.model_calls, "lead": context.input["lead"]}


@pytest.fixture
async def worker(isolated_settings: Settings, model_server: FakeModelServer) -> AsyncIterator[WholeWorker]:
    """The whole worker with the agent."""
    prices = {"openai/dear": ModelPrice(input_per_million=1_000_000, output_per_million=1_000_000)}
    changes = {"openai_base_url": model_server.url, "default_model": "openai/dear", "model_prices": prices}
    Asker.keys.clear()
    async with whole_worker(isolated_settings.model_copy(update=changes)) as found:
        await found.factory.register(Asker)
        yield found


def asking(calls: int, task: str = "in_turn", step_id: str = "a", **fields: Any) -> Json:
    asked = {"step_id": step_id, "step_type": "agent_task", "agent_type": "asker", "task": task, "retry": RETRY}
    return {**asked, "parameters": {"calls": calls, "about": step_id}, **fields}


async def ended(worker: WholeWorker, budget: Json | None, *steps: Json) -> ExecutionView:
    limits = {"limits": {"budget": budget}} if budget is not None else {}
    return await outcome(await worker.start({"steps": list(steps), **limits}, {"lead": "Acme"}))


@pytest.mark.parametrize("task", ["in_turn", "at_once"])
@pytest.mark.parametrize("budget", [None, {"tokens": 100_000}, {"model_calls": 9}, {"cost_usd": 200_000.0}])
async def test_each_question_is_asked_once_and_the_agent_sees_all_of_its_task_each_time(
    worker: WholeWorker, model_server: FakeModelServer, budget: Json | None, task: str
) -> None:
    view = await ended(worker, budget, asking(4, task))
    assert view.output == {"a": {"answers": 4, "calls": 4, "lead": "Acme"}}, view.error
    assert len(model_server.calls()) == 4
    assert len({call.headers["idempotency-key"] for call in model_server.calls()}) == 4
    assert view.ledger is not None
    assert (view.ledger.total.model_calls, view.ledger.total.presumed_tokens) == (4, 0)
    assert view.ledger.total.input_tokens + view.ledger.total.output_tokens == 4 * TOKENS
    assert len(set(Asker.keys)) == 1


@pytest.mark.parametrize("task", ["in_turn", "at_once"])
async def test_no_call_begins_once_a_bound_is_reached(
    worker: WholeWorker, model_server: FakeModelServer, task: str
) -> None:
    view = await ended(worker, {"model_calls": 3}, asking(10, task))
    assert view.error is not None
    assert (view.error.type, view.error.details) == ("budget-exhausted", {"exhausted": ["model_calls"]})
    assert len(model_server.calls()) == 3
    assert view.ledger is not None and view.ledger.total.model_calls == 3


@pytest.mark.parametrize("budget", [{"tokens": 5 * TOKENS - 1}, {"cost_usd": 5.0 * TOKENS - 1}])
async def test_branches_exceed_a_budget_by_no_more_than_the_call_in_flight(
    worker: WholeWorker, model_server: FakeModelServer, budget: Json
) -> None:
    branches = [asking(3, "at_once", f"s{number}") for number in range(6)]
    view = await ended(worker, budget, *branches)
    assert view.error is not None and view.error.type == "budget-exhausted"
    assert len(model_server.calls()) == 5


async def test_an_agent_that_is_parked_goes_on_after_a_raise_without_asking_again(
    worker: WholeWorker, model_server: FakeModelServer
) -> None:
    budget = {"model_calls": 2, "on_exhausted": "park"}
    handle = await worker.start({"steps": [asking(4)], "limits": {"budget": budget}}, {"lead": "Acme"})

    async def parked() -> bool:
        view: ExecutionView = await handle.query("state", result_type=ExecutionView)
        error = view.steps[0].error if view.steps else None
        return error is not None and error.type == "budget-exhausted"

    await eventually(parked)
    assert len(model_server.calls()) == 2
    await handle.execute_update("raise_budget", BudgetRaise(model_calls=2))
    assert (await outcome(handle)).output["a"]["answers"] == 4
    assert len(model_server.calls()) == 4


async def test_a_call_that_fails_is_tried_again_and_the_answers_before_it_are_not(
    worker: WholeWorker, model_server: FakeModelServer
) -> None:
    model_server.then(ok(), status(500), ok(), ok())
    view = await ended(worker, {"model_calls": 9}, asking(3))
    assert view.output["a"]["answers"] == 3
    assert view.ledger is not None
    assert (view.ledger.total.model_calls, len(model_server.calls())) == (4, 4)


async def test_an_agent_that_never_asks_the_same_is_ended_instead_of_paid_for_ever(
    worker: WholeWorker, model_server: FakeModelServer
) -> None:
    view = await ended(worker, {"model_calls": 100}, asking(3, "differently"))
    assert view.error is not None and view.error.type == "agent-failed"
    assert "asked other questions when it was called again" in view.error.message
    assert len(model_server.calls()) <= 2


async def test_an_agent_that_asks_nothing_costs_nothing(worker: WholeWorker) -> None:
    view = await ended(worker, {"model_calls": 1}, asking(0), asking(0, step_id="b"))
    assert view.status == "completed", view.error
    assert view.ledger is None or view.ledger.total.model_calls == 0
