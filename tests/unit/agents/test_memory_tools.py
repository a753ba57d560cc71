"""The tools of an agent's memory: what the model sees of them, and what reaches the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.agents.tools import ToolContext
from orchestrator.agents.tools.builtin import GET_TIME, REMEMBER, VECTOR_SEARCH, BuiltinTools
from orchestrator.agents.tools.remembering import completed, shown
from orchestrator.agents.tools.specs import argument_errors

CONTEXT = ToolContext(execution_id="ex-1", step_path="a", idempotency_key="ex-1/a/t0.0", timeout_seconds=5)


class Kept:
    """A memory that keeps what it is told, without vectors: their tests are the store's."""

    def __init__(self) -> None:
        self.texts: dict[str, tuple[str, str, Any]] = {}

    async def search_texts(
        self, collection: str, query: str, limit: int = 5, filter: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        found = [
            {"id": key, "payload": {"text": text}} for key, (name, text, _) in self.texts.items() if name == collection
        ]
        return found[:limit]

    async def remember(self, collection: str, text: str, payload: Mapping[str, Any] | None = None, *, key: str) -> str:
        self.texts[key] = (collection, text, payload)
        return key


async def never(_: Any) -> Any:
    raise AssertionError("no request is sent")


async def test_what_is_remembered_is_found_and_kept_once_for_every_attempt() -> None:
    memory = Kept()
    tools = BuiltinTools(never, memory)
    told = {"collection": "notes", "text": "Acme pays late", "payload": {"kind": "habit"}}
    assert await tools.call(REMEMBER, told, CONTEXT) == {"id": "ex-1/a/t0.0"}
    await tools.call(REMEMBER, told, CONTEXT)
    assert memory.texts == {"ex-1/a/t0.0": ("notes", "Acme pays late", {"kind": "habit"})}
    found = await tools.call(VECTOR_SEARCH, {"collection": "notes", "query": "who pays late?"}, CONTEXT)
    assert [match["payload"]["text"] for match in found] == ["Acme pays late"]


async def test_without_a_vector_store_the_tools_are_not_offered() -> None:
    tools = BuiltinTools(never)
    assert [spec.name for spec in await tools.list()] == ["get_time", "http_request"]
    assert await tools.find("remember") is None


def test_an_agent_with_a_collection_of_its_own_cannot_name_another() -> None:
    for spec in (VECTOR_SEARCH, REMEMBER):
        offered = shown(spec, "sales_memory")
        assert "collection" not in offered.parameters["properties"]
        assert "collection" not in offered.parameters["required"]
        arguments = completed(spec, {"query": "x", "text": "x", "collection": "secrets"}, "sales_memory")
        assert arguments["collection"] == "sales_memory"
    told = completed(REMEMBER, {"text": "x"}, "sales_memory")
    assert argument_errors(REMEMBER, told) == []
    assert shown(GET_TIME, "sales_memory") is GET_TIME
    assert completed(GET_TIME, {}, "sales_memory") == {}


def test_without_one_the_model_names_the_collection() -> None:
    assert shown(VECTOR_SEARCH, None) is VECTOR_SEARCH
    assert completed(VECTOR_SEARCH, {"query": "x"}, None) == {"query": "x"}
    assert completed(VECTOR_SEARCH, ["no object"], "mine") == ["no object"]
