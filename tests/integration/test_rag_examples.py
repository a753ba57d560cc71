"""Retrieval end to end: the examples with an embedded store and the embedded model; only the agent is a stub."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from activities.vectors import VectorActivities
from orchestrator.agents.connections import model_breakers
from orchestrator.agents.embeddings import Embedder
from orchestrator.agents.providers import ModelProviders
from orchestrator.settings import Settings
from orchestrator.stores.redis import connect_redis
from orchestrator.stores.vectors import EmbeddedVectors
from tests.support.examples import EXAMPLES
from tests.support.executions import outcome, worker_with
from tests.support.stubs import Stubs


def read(name: str) -> Any:
    return json.loads((EXAMPLES / name).read_text())


@pytest.fixture
async def vectors(isolated_settings: Settings, tmp_path: Path) -> AsyncIterator[list[Callable[..., Any]]]:
    """The real vector activities."""
    store, redis, providers = (
        EmbeddedVectors(tmp_path / "vectors"),
        connect_redis(isolated_settings),
        ModelProviders(isolated_settings),
    )
    embedder = Embedder("embedded/minilm", providers, model_breakers(isolated_settings, redis))
    yield VectorActivities(store, embedder).all()
    embedder.close()
    await store.aclose()
    await providers.aclose()
    await redis.aclose()


async def test_pages_are_ingested_and_questions_answered_from_them(
    vectors: list[Callable[..., Any]], temporal_client: Client, isolated_settings: Settings
) -> None:
    stubs = Stubs({"answer": [{"result": {"answer": "See the passage [1].", "cited": [1]}}]})
    activities: list[Callable[..., Any]] = [stubs.invoke_model, stubs.validate_json, *vectors]
    questions = {
        "How many days off do I get?": "https://intranet.example/leave",
        "My laptop does not start any more, who helps?": "https://intranet.example/laptops",
        "May I fly to the customer?": "https://intranet.example/travel",
    }
    async with worker_with(temporal_client, isolated_settings, activities) as runner:
        for _ in range(2):
            ingested = await outcome(await runner.start(read("rag_ingest.json"), read("rag_ingest.input.json")))
            assert ingested.output == {"collection": "handbook", "pages": 3, "passages": 5}, ingested.error

        async def ask(question: str) -> Any:
            given = {"collection": "handbook", "question": question}
            view = await outcome(await runner.start(read("rag_answer.json"), given))
            assert view.status == "completed", view.error
            return view.output

        for question, source in questions.items():
            answer = await ask(question)
            assert [item["source"] for item in answer["citations"]] == [source], question
            passages = stubs.asked("answer")["sources"]
            assert len({item["text"] for item in passages}) == len(passages)
        unknown = await ask("Which planet has the largest volcano?")
    assert unknown == {"answer": "The knowledge base does not say.", "citations": []}
