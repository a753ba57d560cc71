"""What agents keep: the version of their record within a loop, and a session's conversation between executions."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.model_behaviours import Gate, after, status, text
from tests.fakes.model_server import FakeModelServer
from tests.support.looping_agents import LoopingAgent, looping, turns_seen, word
from tests.support.polling import wait_for
from tests.support.rest import Rest
from tests.support.tool_endpoint import ToolEndpoint, tool_endpoint

SUMMARISE = "Summarise the conversation below"
MEMORY: dict[str, Any] = {"memory": {"summarise_over_characters": 2_000}}
LONG = "The offer stands until May. " + "x" * 3_000


@pytest.fixture
def endpoint() -> Iterator[ToolEndpoint]:
    """The far end of the agents' tool."""
    with tool_endpoint() as server:
        yield server


def ask(rest: Rest, agent: LoopingAgent, session: str, mark: str) -> dict[str, Any]:
    """Run one task in a session to its end."""
    step = agent.step(mark, session_id=session)
    found = rest.end_of(rest.start({"name": f"Talk {uuid.uuid4().hex[:8]}", "steps": [step]}))
    assert found["status"] == "completed", found["error"]
    return found


def test_a_session_goes_on_in_another_execution_and_its_beginning_becomes_a_summary(
    rest: Rest, model: FakeModelServer
) -> None:
    agent, session = LoopingAgent(rest, **MEMORY), f"s-{uuid.uuid4().hex[:8]}"
    model.then(text("My name is Kim."), task=word("one"))
    model.then(text(LONG), task=word("two"))
    model.then(text("They spoke of an offer until May."), task=SUMMARISE)
    ask(rest, agent, session, "one")
    assert not model.calls(SUMMARISE)
    found = ask(rest, agent, session, "two")
    # The second execution was told what the first one said, and summarised it before it completed.
    second = next(call for call in model.calls(word("two")) if SUMMARISE not in call.prompt)
    assert word("one") in second.prompt and "My name is Kim." in second.prompt
    [summary] = model.calls(SUMMARISE)
    assert "My name is Kim." in summary.prompt
    ledger = rest.expect(200, "GET", f"/executions/{found['execution_id']}/ledger")
    assert [(call["turn"], call["outcome"]) for call in ledger["calls"]] == [(0, "ok"), (1, "ok")]
    assert rest.expect(200, "GET", f"/sessions/{session}")["summary"] == "They spoke of an offer until May."
    ask(rest, agent, session, "three")
    [third] = model.calls(word("three"))
    assert "Earlier in this conversation: They spoke of an offer until May." in third.prompt
    assert "My name is Kim." not in third.prompt


def test_a_session_that_cannot_be_summarised_fails_nobody(rest: Rest, model: FakeModelServer) -> None:
    agent, session = LoopingAgent(rest, **MEMORY), f"s-{uuid.uuid4().hex[:8]}"
    model.always(status(400, "too long"), task=SUMMARISE)
    model.always(text(LONG), task=word("one"))
    assert ask(rest, agent, session, "one")["output"] == {"loop": LONG}
    found = ask(rest, agent, session, "one")
    assert found["output"] == {"loop": LONG}
    ledger = rest.expect(200, "GET", f"/executions/{found['execution_id']}/ledger")
    assert Counter(call["outcome"] for call in ledger["calls"]) == {"ok": 1, "model-rejected": 1}
    stored = rest.expect(200, "GET", f"/sessions/{session}")
    assert stored["summary"] is None and len(stored["messages"]) == 4


def test_executions_that_share_a_session_at_once_lose_nothing(rest: Rest, model: FakeModelServer) -> None:
    agent, session = LoopingAgent(rest), f"s-{uuid.uuid4().hex[:8]}"
    gate, marks = Gate(), [f"at-once-{number}" for number in range(8)]
    for mark in marks:
        model.always(after(gate, text(f"answer to {mark}")), task=word(mark))
    steps = [{"name": f"Talk {mark}", "steps": [agent.step(mark, session_id=session)]} for mark in marks]
    ids = [rest.start(definition) for definition in steps]
    wait_for(lambda: all(model.calls(word(mark)) for mark in marks))
    gate.open()
    for execution_id in ids:
        assert rest.end_of(execution_id)["status"] == "completed"
    stored = rest.expect(200, "GET", f"/sessions/{session}")["messages"]
    # Each task and its answer stand together, in whatever order they came.
    answers = [message["content"] for message in stored if message["role"] == "assistant"]
    assert sorted(answers) == sorted(f"answer to {mark}" for mark in marks)
    for asked, answered in zip(stored[::2], stored[1::2], strict=True):
        assert word(answered["content"].removeprefix("answer to ")) in asked["content"]


@pytest.mark.parametrize("change", ["a new version", "a retired agent"])
def test_a_loop_keeps_the_version_of_its_record_that_it_began_with(
    rest: Rest, model: FakeModelServer, endpoint: ToolEndpoint, change: str
) -> None:
    agent, mark = LoopingAgent(rest, endpoint, instructions="Be kind."), f"pinned-{uuid.uuid4().hex[:8]}"
    model.always(looping(mark, agent.tool, 3), task=word(mark))
    endpoint.hold(mark=mark, turn=0)
    execution_id = agent.start(mark)
    wait_for(lambda: len(endpoint.requests(mark=mark)) == 1)
    path = f"/agents/{agent.agent_type}"
    if change == "a new version":
        rest.expect(200, "PUT", path, json={"model": "openai/other", "instructions": "Be rude."})
    else:
        assert rest.http.delete(path).status_code == 204
    endpoint.open()
    found = rest.end_of(execution_id)
    assert (found["status"], found["output"]) == ("completed", {"loop": f"done {mark}"}), found["error"]
    assert turns_seen(model, mark) == Counter(range(3))
    assert {call.body["model"] for call in model.calls(word(mark))} == {agent.model.removeprefix("openai/")}
    assert all("Be kind." in call.prompt for call in model.calls(word(mark)))
    # Whoever begins now is told the present record.
    later = rest.end_of(rest.execute(found["workflow_id"]))
    if change == "a new version":
        last = model.calls(word(mark))[-1]
        assert (last.body["model"], "Be rude." in last.prompt) == ("other", True)
    else:
        assert (later["status"], later["error"]["type"]) == ("failed", "agent-not-found")
