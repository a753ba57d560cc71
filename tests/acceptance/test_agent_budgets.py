"""Budgets and ledgers of agents, held against what the model server itself counted."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any

import pytest
from aiohttp import web

from tests.fakes.model_behaviours import Behaviour, answer, completion, hang, ok, raw, reset, status, text, tool_calls
from tests.fakes.model_server import FakeModelServer
from tests.support.looping_agents import LoopingAgent, turn_of, word
from tests.support.polling import wait_for
from tests.support.rest import Rest

BRANCHES, TURNS = 20, 4
INPUT, OUTPUT = 400, 300
CALL = INPUT + OUTPUT
RETRY: dict[str, Any] = {"retry": {"max_attempts": 3, "initial_interval_seconds": 0.05, "backoff_coefficient": 1}}


def dear_turns() -> Behaviour:
    """Ask for the time until the last turn; every answer is charged `CALL` tokens."""

    async def respond(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        last = turn_of(body) >= TURNS - 1
        document = completion("done" if last else None, body, finish_reason="stop" if last else "tool_calls")
        document["usage"] = {"prompt_tokens": INPUT, "completion_tokens": OUTPUT, "total_tokens": CALL}
        if not last:
            function = {"name": "get_time", "arguments": "{}"}
            document["choices"][0]["message"]["tool_calls"] = [{"id": "c", "type": "function", "function": function}]
        return await answer(request, body, document)

    return respond


def branches(agent: LoopingAgent, budget: dict[str, Any]) -> dict[str, Any]:
    steps = [agent.step(f"budget{number}", f"b{number}") for number in range(BRANCHES)]
    return {"name": f"Branches {uuid.uuid4().hex[:8]}", "steps": steps, "limits": {"budget": budget}}


def ledger_of(rest: Rest, execution_id: str) -> dict[str, Any]:
    return rest.expect(200, "GET", f"/executions/{execution_id}/ledger")


def spent(total: dict[str, Any], name: str) -> float:
    """What counts for a budget."""
    if name == "tokens":
        return float(total["input_tokens"] + total["output_tokens"] + total["presumed_tokens"])
    if name == "cost_usd":
        return float(total["cost_usd"] + total["presumed_cost_usd"])
    return float(total[name])


@pytest.mark.parametrize(
    ("name", "limit", "call"),
    [("tokens", 30_000, CALL), ("cost_usd", 300.0, CALL / 100), ("model_calls", 30, 1), ("tool_calls", 30, 1)],
)
def test_twenty_branches_spend_no_more_than_the_budget_and_the_call_in_flight(
    rest: Rest, model: FakeModelServer, name: str, limit: float, call: float
) -> None:
    agent = LoopingAgent(rest, tools=["get_time"], max_output_tokens=OUTPUT, model=f"openai/priced-{uuid.uuid4().hex}")
    model.always(dear_turns())
    execution_id = rest.start(branches(agent, {name: limit, "on_exhausted": "park"}))
    all_calls = BRANCHES * TURNS
    wait_for(lambda: rest.read(execution_id)["status"] == "awaiting", 60)
    ledger = ledger_of(rest, execution_id)
    total = ledger["total"]
    assert limit - call < spent(total, name) <= limit + call, total
    # Nothing is in flight: the ledger is what the server counted, to the token.
    assert (total["input_tokens"], total["output_tokens"]) == model.charged()
    assert total["model_calls"] == len(model.calls()) < all_calls
    assert total["presumed_tokens"] == 0
    # Whoever is parked goes on once there is more.
    rest.expect(202, "POST", f"/executions/{execution_id}/budget", json={name: 1_000_000, "reason": "worth it"})
    found = rest.end_of(execution_id, 60)
    assert found["status"] == "completed", found["error"]
    total = ledger_of(rest, execution_id)["total"]
    assert total["model_calls"] == len(model.calls()) == all_calls
    assert (total["input_tokens"], total["output_tokens"]) == model.charged()
    assert total["tool_calls"] == BRANCHES * (TURNS - 1)
    assert total["cost_usd"] == pytest.approx(all_calls * CALL / 100)


@pytest.mark.parametrize(("name", "limit", "call"), [("tokens", 30_000, CALL), ("model_calls", 30, 1)])
def test_an_exhausted_budget_fails_and_what_it_cancels_counts_as_presumed(
    rest: Rest, model: FakeModelServer, name: str, limit: float, call: float
) -> None:
    agent = LoopingAgent(rest, tools=["get_time"], max_output_tokens=OUTPUT)
    model.always(dear_turns())
    execution_id = rest.start(branches(agent, {name: limit}))
    found = rest.end_of(execution_id, 60)
    assert (found["status"], found["error"]["type"]) == ("failed", "budget-exhausted")
    assert found["error"]["details"]["exhausted"] == [name]
    total = ledger_of(rest, execution_id)["total"]
    assert spent(total, name) <= limit + call
    charged = model.charged()
    assert charged[0] + charged[1] <= limit + call if name == "tokens" else len(model.calls()) <= limit


def test_a_timed_out_call_keeps_what_was_reserved_for_it(rest: Rest, model: FakeModelServer) -> None:
    agent = LoopingAgent(rest, max_output_tokens=OUTPUT)
    model.then(hang())
    model.always(text("late, but there"))
    step = agent.step("timed", timeouts={"start_to_close_seconds": 1}, **RETRY)
    execution_id = rest.start(
        {"name": f"Timed {uuid.uuid4().hex[:8]}", "steps": [step], "limits": {"budget": {"tokens": 10_000}}}
    )
    found = rest.end_of(execution_id)
    assert found["status"] == "completed", found["error"]
    ledger = ledger_of(rest, execution_id)
    first, second = ledger["calls"]
    assert (first["presumed"], first["outcome"]) == (True, "interrupted")
    assert first["input_tokens"] + first["output_tokens"] >= OUTPUT
    assert (second["presumed"], second["outcome"]) == (False, "ok")
    assert (ledger["total"]["input_tokens"], ledger["total"]["output_tokens"]) == model.charged() == (11, 7)


def test_the_ledger_is_what_the_server_counted_over_retries_fallbacks_repairs_and_tool_loops(
    rest: Rest, model: FakeModelServer
) -> None:
    """Every answer with a usage is charged, used or not; a refused call is a call without tokens."""
    name, schema = (
        uuid.uuid4().hex[:8],
        {"type": "object", "required": ["ok"], "properties": {"ok": {"type": "boolean"}}},
    )
    plain = LoopingAgent(rest, tools=["get_time"])
    falling = LoopingAgent(rest, model=f"openai/first-{name}", fallback_models=[f"openai/second-{name}"])
    steps = [
        plain.step("retries", "retries", **RETRY),
        plain.step("repairs", "repairs", output_schema=schema),
        plain.step("loops", "loops"),
        falling.step("falls", "falls", output_schema=schema, **RETRY),
    ]
    # An answer that was cut off has its usage, a 500 and a broken connection have none.
    model.then(status(500), text("half", finish_reason="length"), text("done"), task=word("retries"))
    model.then(text("nonsense"), ok({"ok": True}), task=word("repairs"))
    twice = tool_calls(("get_time", {}), ("get_time", {}), ("nonsense", {}))
    model.then(twice, twice, reset(), text("done"), task=word("loops"))
    # The first model is refused twice, the second one's garbage is tried again.
    model.then(ok({"ok": 1}), ok({"ok": 2}), raw(b"garbage"), ok({"ok": False}), task=word("falls"))
    execution_id = rest.start({"name": f"Ledger {name}", "steps": steps})
    found = rest.end_of(execution_id)
    assert found["status"] == "completed", found["error"]
    assert found["output"] == {"retries": "done", "repairs": {"ok": True}, "loops": "done", "falls": {"ok": False}}
    ledger = ledger_of(rest, execution_id)
    outcomes = Counter((call["path"], call["outcome"]) for call in ledger["calls"])
    assert outcomes == Counter(
        {
            ("retries", "model-unavailable"): 1,
            ("retries", "model-bad-response"): 1,
            ("retries", "ok"): 1,
            ("repairs", "ok"): 2,
            ("loops", "ok"): 3,
            ("loops", "model-unavailable"): 1,
            ("falls", "ok"): 3,
            ("falls", "model-bad-response"): 1,
        }
    )
    for step_id, totals in ledger["by_step"].items():
        assert totals["model_calls"] == len(model.calls(word(step_id)))
    total = ledger["total"]
    assert (total["input_tokens"], total["output_tokens"]) == model.charged() == (10 * 11, 10 * 7)
    assert total["model_calls"] == len(model.calls()) == 13
    assert (total["tool_calls"], total["presumed_tokens"]) == (4, 0)
    by_model = {named: totals["model_calls"] for named, totals in ledger["by_model"].items()}
    assert by_model == {plain.model: 9, f"openai/first-{name}": 2, f"openai/second-{name}": 2}
