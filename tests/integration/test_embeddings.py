"""Texts become vectors, by a provider over real HTTP or by the embedded model; every failure has its type."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis

from orchestrator.agents.connections import model_breakers
from orchestrator.agents.embeddings import Embedder
from orchestrator.agents.providers import ModelProviders
from orchestrator.agents.semantic_memory import SemanticMemory
from orchestrator.execution.errors import OrchestratorError
from orchestrator.execution.errors_steps import (
    AttemptTimeout,
    CircuitOpen,
    DimensionMismatch,
    ModelBadResponse,
    ModelRateLimited,
    ModelRejected,
    ModelUnavailable,
    VectorRejected,
)
from orchestrator.settings import Settings
from orchestrator.stores.redis import connect_redis
from orchestrator.stores.vectors import EmbeddedVectors
from tests.fakes import model_behaviours as does
from tests.fakes.model_server import FakeModelServer

SECRET = "sk-very-secret-0123456789"
Make = Callable[[str], Embedder]


@pytest.fixture
async def embedder_of(isolated_settings: Settings, model_server: FakeModelServer) -> AsyncIterator[Make]:
    """Makes an embedder for a model; the provider `openai` is the fake server."""
    given = {"openai_base_url": model_server.url, "openai_api_key": SECRET, "breaker_least_calls": 3}
    settings = Settings(_env_file=None, **{**isolated_settings.model_dump(exclude_unset=True), **given})
    redis: Redis = connect_redis(settings)
    providers = ModelProviders(settings)
    made: list[Embedder] = []

    def make(model: str = "openai/embed") -> Embedder:
        made.append(Embedder(model, providers, model_breakers(settings, redis)))
        return made[-1]

    yield make
    for embedder in made:
        embedder.close()
    await providers.aclose()
    await redis.aclose()


async def test_a_provider_embeds_in_batches_in_order_and_says_what_it_cost(
    embedder_of: Make, model_server: FakeModelServer
) -> None:
    texts = [f"{'a' * (number % 5)}b" for number in range(130)]
    found = await embedder_of("openai/embed").embed(texts, timeout_seconds=10)
    calls = model_server.calls("embeddings")
    assert [len(call.body["input"]) for call in calls] == [64, 64, 2]
    assert {call.body["model"] for call in calls} == {"embed"}
    assert calls[0].headers["Authorization"] == f"Bearer {SECRET}"
    # The server counts letters by their code modulo eight: 'a' stands at 1.
    assert [vector[1] for vector in found.vectors] == [1.0 + number % 5 for number in range(130)]
    assert (found.usage.input_tokens, found.usage.model_calls) == (390, 3)


@pytest.mark.parametrize(
    ("behaviour", "kind", "retryable"),
    [
        (does.status(429, headers={"Retry-After": "7"}), ModelRateLimited, True),
        (does.status(503), ModelUnavailable, True),
        (does.status(401, f"bad key {SECRET}"), ModelRejected, False),
        (does.status(404), ModelRejected, False),
        (does.garbage(), ModelBadResponse, True),
        (does.raw(b'{"data": []}'), ModelBadResponse, True),
        (does.raw(b'{"data": [{"index": 0, "embedding": []}]}'), ModelBadResponse, True),
        (does.raw(b'{"data": [{"index": 0, "embedding": ["x"]}]}'), ModelBadResponse, True),
        (does.raw(b"[1]"), ModelBadResponse, True),
    ],
)
async def test_what_goes_wrong_at_the_provider_has_its_type(
    embedder_of: Make, model_server: FakeModelServer, behaviour: does.Behaviour, kind: type[Exception], retryable: bool
) -> None:
    model_server.then(behaviour, task="embeddings")
    with pytest.raises(OrchestratorError) as caught:
        await embedder_of("openai/embed").embed(["hello"], timeout_seconds=10)
    error = caught.value
    assert (type(error), error.retryable) == (kind, retryable)
    assert "openai/embed" in error.message
    assert SECRET not in f"{error} {error.hint} {error.details}"


async def test_a_provider_that_keeps_silent_is_a_timeout(embedder_of: Make, model_server: FakeModelServer) -> None:
    model_server.then(does.hang(), task="embeddings")
    with pytest.raises(AttemptTimeout):
        await embedder_of("openai/embed").embed(["hello"], timeout_seconds=0.2)


async def test_an_error_after_some_batches_tells_what_they_cost(
    embedder_of: Make, model_server: FakeModelServer
) -> None:
    model_server.then(does.embeddings(), does.status(500), task="embeddings")
    with pytest.raises(ModelUnavailable) as caught:
        await embedder_of("openai/embed").embed(["x"] * 65, timeout_seconds=10)
    usage = caught.value.usage
    assert usage is not None
    assert (usage.input_tokens, usage.model_calls) == (192, 1)


async def test_a_provider_that_fails_too_often_opens_its_circuit(
    embedder_of: Make, model_server: FakeModelServer
) -> None:
    model_server.always(does.status(500), task="embeddings")
    embedder = embedder_of("openai/embed")
    for _ in range(3):
        with pytest.raises(ModelUnavailable):
            await embedder.embed(["x"], timeout_seconds=10)
    with pytest.raises(CircuitOpen):
        await embedder.embed(["x"], timeout_seconds=10)
    assert len(model_server.calls("embeddings")) == 3


@pytest.mark.parametrize("texts", [["good", "  "], ["x" * 100_001], ["x"] * 1_001])
async def test_texts_that_cannot_be_embedded_cost_no_call(
    embedder_of: Make, model_server: FakeModelServer, texts: list[str]
) -> None:
    with pytest.raises(VectorRejected):
        await embedder_of("openai/embed").embed(texts, timeout_seconds=10)
    assert model_server.calls("embeddings") == []


@pytest.mark.parametrize("model", ["embedded/other", "nobody/embed"])
async def test_a_model_that_nobody_configured_is_refused_with_the_way_out(embedder_of: Make, model: str) -> None:
    with pytest.raises(ModelRejected) as caught:
        await embedder_of(model).embed(["x"], timeout_seconds=10)
    assert caught.value.hint


async def test_an_agent_finds_by_meaning_what_it_remembered(embedder_of: Make, tmp_path: Path) -> None:
    store = EmbeddedVectors(tmp_path)
    memory = SemanticMemory(store, embedder_of("embedded/minilm"))
    facts = {
        "k1": "The invoice of March was paid late.",
        "k2": "Our office dog is called Bruno.",
        "k3": "The printer on the second floor is broken.",
    }
    for key, text in [*facts.items(), *facts.items()]:
        assert await memory.remember("facts", text, {"by": key}, key=key) == key
    (first, *_) = await memory.search_texts("facts", "What is the name of the pet?", 2)
    assert first["payload"] == {"text": facts["k2"], "by": "k2"}
    assert first["id"] == "k2"
    only = {"must": [{"key": "by", "match": {"value": "k3"}}]}
    assert [hit["id"] for hit in await memory.search_texts("facts", "dog", 10, only)] == ["k3"]
    assert (await store.describe()).collections[0].points == 3

    other = SemanticMemory(store, embedder_of("openai/embed"))
    for call in (other.search_texts("facts", "dog"), other.remember("facts", "cat", key="k4")):
        with pytest.raises(DimensionMismatch) as caught:
            await call
        assert "EMBEDDING_MODEL" in (caught.value.hint or "")
    await store.aclose()
