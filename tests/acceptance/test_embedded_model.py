"""Agents on the embedded model: a tool loop whose first call is forced, and an answer from retrieved passages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.support.commands import ROOT
from tests.support.local_stack import UpProcess, running_stack
from tests.support.rest import Rest

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpProcess]:
    """A local stack whose model and embeddings are the embedded ones."""
    with running_stack(tmp_path_factory.mktemp("stack")) as up:
        yield up


@pytest.fixture
def rest(stack: UpProcess) -> Iterator[Rest]:
    """A client of the stack's API."""
    with httpx2.Client(base_url=f"{stack.endpoints()['api']}/api/v1", timeout=30, trust_env=False) as http:
        yield Rest(http)


def run(rest: Rest, definition: dict[str, Any], value: Any) -> dict[str, Any]:
    return rest.end_of(rest.start(definition, value), 120)


def ledger_of(rest: Rest, document: dict[str, Any]) -> dict[str, Any]:
    return rest.expect(200, "GET", f"/executions/{document['execution_id']}/ledger")


@pytest.mark.timeout(240)
def test_the_embedded_model_loops_over_a_forced_tool(rest: Rest) -> None:
    """The first answer must be a call; then the grammar leaves it the choice, and a schema makes it answer."""
    schema = {"type": "object", "properties": {"spoken": {"type": "boolean"}}, "required": ["spoken"]}
    record = {"agent_type": "clock", "tools": ["get_time"], "tool_choice": "get_time", "temperature": 0}
    rest.expect(201, "POST", "/agents/", json=record)
    step: dict[str, Any] = {"step_id": "ask", "step_type": "agent_task", "agent_type": "clock"}
    step["task"] = "say whether it is late"
    step |= {"output_schema": schema, "max_turns": 3}
    found = run(rest, {"name": "Forced tool", "steps": [step]}, {"hour": 9})
    ledger = ledger_of(rest, found)
    assert ledger["total"]["tool_calls"] >= 1
    assert ledger["total"]["model_calls"] >= 2
    assert ledger["total"]["input_tokens"] > 0 and ledger["total"]["output_tokens"] > 0
    # What so small a model does with the result is its own: it answers by the schema, or never stops calling.
    if found["status"] == "completed":
        assert isinstance(found["output"]["ask"]["spoken"], bool)
    else:
        assert found["error"]["type"] == "max-turns-exceeded", found["error"]


@pytest.mark.timeout(240)
def test_the_embedded_model_answers_from_retrieved_passages(rest: Rest) -> None:
    """Texts are embedded in the worker, found by meaning, and given to the model; what it makes of them is its own."""
    ingest, ask = (json.loads((EXAMPLES / f"{name}.json").read_text()) for name in ("rag_ingest", "rag_answer"))
    dimensions = 384
    rest.expect(201, "POST", "/collections/", json={"name": "help", "dimensions": dimensions})
    pages = [
        {"url": "https://help/returns", "title": "Returns", "text": "You may return shoes within thirty days."},
        {"url": "https://help/fish", "title": "Fish", "text": "Herring is a fish that swims in the Baltic Sea."},
    ]
    filled = run(rest, ingest, {"collection": "help", "pages": pages})
    assert (filled["status"], filled["output"]["passages"]) == ("completed", 2), filled["error"]
    search = {"step_id": "find", "step_type": "vector_search", "collection": "help", "query": "give shoes back"}
    hits = run(rest, {"name": "Search", "steps": [search]}, {})["output"]["find"]
    assert [hit["payload"]["source"] for hit in hits] == ["https://help/returns", "https://help/fish"]
    found = run(rest, ask, {"collection": "help", "question": "How long may I take to return shoes?"})
    assert found["status"] == "completed", found["error"]
    assert found["output"]["answer"]
    # Only what was found can be cited.
    assert {cited["source"] for cited in found["output"]["citations"]} <= {"https://help/returns"}
    assert ledger_of(rest, found)["total"]["model_calls"] >= 1
