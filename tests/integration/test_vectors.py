"""Both vector stores do the same through one port; the embedded one has one owner and survives kill -9."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient

from orchestrator.execution.errors import VectorsUnavailable
from orchestrator.execution.errors_steps import VectorRejected
from orchestrator.settings import Settings
from orchestrator.stores.vectors import (
    EmbeddedVectors,
    NoVectors,
    VectorPoint,
    VectorStore,
    open_vectors,
    parse_filter,
)
from orchestrator.stores.vectors.remote import RemoteVectors
from tests.unit.guarded_http.raw_server import answer, raw_server

CITIES = [
    VectorPoint("paris", [1.0, 0.0, 0.0], {"country": "fr", "people": 2_100_000, "river": "Seine"}),
    VectorPoint("lyon", [0.9, 0.1, 0.0], {"country": "fr", "people": 520_000, "river": "Rhône"}),
    VectorPoint(7, [0.0, 1.0, 0.0], {"country": "de", "people": 3_700_000, "river": None}),
    VectorPoint("0b0e6b5c-6c3f-4f0e-9d9d-6a8d2b2f8a11", [0.0, 0.0, 1.0], {"country": "it"}),
]


@pytest.fixture(params=["embedded", "remote"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[VectorStore]:
    """Each of the stores, empty. The remote one talks to the client's own local mode: no package ships the server."""
    found: VectorStore
    if request.param == "embedded":
        found = EmbeddedVectors(tmp_path / "vectors")
    else:
        found = RemoteVectors(AsyncQdrantClient(location=":memory:"))
    yield found
    await found.aclose()


@pytest.fixture
async def cities(store: VectorStore) -> VectorStore:
    """A store with one collection of cities."""
    assert await store.ensure_collection("cities", 3)
    assert await store.upsert("cities", CITIES) == 4
    return store


async def names(store: VectorStore, document: dict[str, Any] | None, **fields: Any) -> list[str | int]:
    """The ids that a search for the first axis finds."""
    matching = parse_filter(document)
    return [match.id for match in await store.search("cities", [1.0, 0.0, 0.0], matching=matching, **fields)]


async def test_the_nearest_come_first_with_payload_score_and_the_id_as_it_was_given(cities: VectorStore) -> None:
    found = await cities.search("cities", [1.0, 0.0, 0.0], limit=2)
    assert [match.id for match in found] == ["paris", "lyon"]
    assert found[0].payload == CITIES[0].payload
    assert found[0].score == pytest.approx(1.0)
    assert found[0].score > found[1].score
    assert {match.id for match in await cities.search("cities", [1.0, 1.0, 1.0])} == {point.id for point in CITIES}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (None, ["paris", "lyon", 7, "0b0e6b5c-6c3f-4f0e-9d9d-6a8d2b2f8a11"]),
        ({"must": [{"key": "country", "match": {"value": "fr"}}]}, ["paris", "lyon"]),
        ({"must_not": [{"key": "country", "match": {"value": "fr"}}]}, [7, "0b0e6b5c-6c3f-4f0e-9d9d-6a8d2b2f8a11"]),
        ({"must": [{"key": "country", "match": {"any": ["de", "it"]}}]}, [7, "0b0e6b5c-6c3f-4f0e-9d9d-6a8d2b2f8a11"]),
        ({"must": [{"key": "country", "match": {"except": ["fr", "it"]}}]}, [7]),
        ({"must": [{"key": "people", "range": {"gte": 2_000_000}}]}, ["paris", 7]),
        ({"must": [{"key": "people", "range": {"gt": 520_000, "lt": 3_000_000}}]}, ["paris"]),
        ({"must": [{"is_null": {"key": "river"}}]}, [7]),
        ({"must": [{"is_empty": {"key": "people"}}]}, ["0b0e6b5c-6c3f-4f0e-9d9d-6a8d2b2f8a11"]),
        (
            {
                "should": [
                    {"key": "river", "match": {"value": "Rhône"}},
                    {"must": [{"key": "country", "match": {"value": "de"}}]},
                ]
            },
            ["lyon", 7],
        ),
    ],
)
async def test_a_filter_means_the_same_in_both_stores(
    cities: VectorStore, document: dict[str, Any] | None, expected: list[str | int]
) -> None:
    assert sorted(map(str, await names(cities, document))) == sorted(map(str, expected))


async def test_a_score_threshold_leaves_out_what_is_too_far(cities: VectorStore) -> None:
    assert await names(cities, None, score_threshold=0.95) == ["paris", "lyon"]


async def test_equal_ids_replace_each_other(cities: VectorStore) -> None:
    await cities.upsert("cities", [VectorPoint("paris", [0.0, 1.0, 0.0], {"moved": True})])
    (info,) = (await cities.describe()).collections
    assert info.points == 4
    assert {match.id: match.payload for match in await cities.search("cities", [0.0, 1.0, 0.0])}["paris"] == {
        "moved": True
    }


async def test_deleted_points_are_gone_and_unknown_ones_are_ignored(cities: VectorStore) -> None:
    await cities.delete("cities", ["paris", 7, "nowhere"])
    assert await names(cities, None) == ["lyon", "0b0e6b5c-6c3f-4f0e-9d9d-6a8d2b2f8a11"]


async def test_a_collection_is_created_once_and_keeps_its_shape(store: VectorStore) -> None:
    assert await store.ensure_collection("a", 3)
    assert not await store.ensure_collection("a", 3)
    with pytest.raises(VectorRejected, match="holds 3 dimensions by cosine, not 4 by cosine"):
        await store.ensure_collection("a", 4)
    with pytest.raises(VectorRejected, match="not 3 by dot"):
        await store.ensure_collection("a", 3, "dot")


@pytest.mark.parametrize("distance", ["cosine", "dot", "euclid", "manhattan"])
async def test_every_distance_is_understood(store: VectorStore, distance: Any) -> None:
    await store.ensure_collection("d", 2, distance)
    await store.upsert("d", [VectorPoint(1, [3.0, 0.0]), VectorPoint(2, [0.1, 5.0])])
    assert (await store.search("d", [2.9, 0.0]))[0].id == 1


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "-x", "x" * 65, "ü"])
async def test_a_bad_collection_name_is_refused(store: VectorStore, name: str) -> None:
    with pytest.raises(VectorRejected, match="not a collection's name"):
        await store.ensure_collection(name, 3)


@pytest.mark.parametrize("vector", [[], [float("nan"), 0.0, 0.0], [float("inf"), 0.0, 0.0]])
async def test_a_vector_that_measures_nothing_is_refused(cities: VectorStore, vector: list[float]) -> None:
    with pytest.raises(VectorRejected):
        await cities.upsert("cities", [VectorPoint(1, vector)])
    with pytest.raises(VectorRejected):
        await cities.search("cities", vector)


async def test_the_description_counts_every_collection(cities: VectorStore) -> None:
    await cities.ensure_collection("empty", 5, "dot")
    described = await cities.describe()
    assert described.healthy
    assert [(info.name, info.points, info.dimensions, info.distance) for info in described.collections] == [
        ("cities", 4, 3, "cosine"),
        ("empty", 0, 5, "dot"),
    ]


@pytest.mark.parametrize(
    "document",
    [
        {"must": {"key": "a"}},
        {"must": [{"key": "a"}]},
        {"must": [{"key": "a", "match": {}}]},
        {"must": [{"key": "a", "match": {"value": 1, "any": [1]}}]},
        {"must": [{"key": "a", "match": {"value": None}}]},
        {"must": [{"key": "a", "range": {"gte": "x"}}]},
        {"must": [{"key": "a", "range": {"gte": float("nan")}}]},
        {"unknown": []},
    ],
    ids=str,
)
def test_a_filter_that_is_none_is_refused_with_the_way_out(document: dict[str, Any]) -> None:
    with pytest.raises(VectorRejected) as caught:
        parse_filter(document)
    assert caught.value.hint


async def test_the_embedded_store_refuses_another_dimension_and_an_unknown_collection(tmp_path: Path) -> None:
    store = EmbeddedVectors(tmp_path)
    await store.ensure_collection("a", 3)
    with pytest.raises(VectorRejected, match="holds vectors of 3 dimensions, this one has 2"):
        await store.upsert("a", [VectorPoint(1, [1.0, 2.0])])
    with pytest.raises(VectorRejected, match="does not exist"):
        await store.search("b", [1.0])
    await store.aclose()


async def test_a_second_owner_is_told_that_another_process_owns_the_folder(tmp_path: Path) -> None:
    first, second = EmbeddedVectors(tmp_path), EmbeddedVectors(tmp_path)
    await first.ensure_collection("a", 3)
    with pytest.raises(VectorsUnavailable, match="Another process owns") as caught:
        await second.search("a", [1.0, 0.0, 0.0])
    assert caught.value.retryable
    described = await second.describe()
    assert (described.healthy, described.error) == (False, "Another process owns the embedded vector store.")
    await first.aclose()
    assert (await second.describe()).healthy
    await second.aclose()


async def test_the_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VectorsUnavailable, match="cannot be used") as caught:
        await EmbeddedVectors(tmp_path / "file" / "below").ensure_collection("a", 3)
    assert "QDRANT_PATH" in str(caught.value.hint)


async def test_points_survive_kill_9_of_their_owner_and_free_the_folder(tmp_path: Path) -> None:
    program = """
import asyncio, pathlib, sys
from orchestrator.stores.vectors import EmbeddedVectors, VectorPoint
async def main():
    store = EmbeddedVectors(pathlib.Path(sys.argv[1]))
    await store.ensure_collection("a", 2)
    await store.upsert("a", [VectorPoint(f"p{n}", [1.0, float(n)], {"n": n}) for n in range(100)])
    print("stored", flush=True)
    sys.stdin.read()
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"stored\n"
    process.send_signal(signal.SIGKILL)
    await process.wait()
    store = EmbeddedVectors(tmp_path)
    (info,) = (await store.describe()).collections
    assert info.points == 100
    assert (await store.search("a", [1.0, 0.0], limit=1))[0].id == "p0"
    await store.aclose()


async def test_many_writers_and_readers_share_the_embedded_store(tmp_path: Path) -> None:
    store = EmbeddedVectors(tmp_path)

    async def work(number: int) -> None:
        await store.ensure_collection("a", 2)
        await store.upsert("a", [VectorPoint(number, [1.0, float(number)])])
        await store.search("a", [1.0, 1.0])

    await asyncio.gather(*(work(number) for number in range(40)))
    (info,) = (await store.describe()).collections
    assert info.points == 40
    await store.aclose()


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (500, VectorsUnavailable, "answered 500"),
        (429, VectorsUnavailable, "answered 429"),
        (401, VectorRejected, "QDRANT_API_KEY"),
        (404, VectorRejected, "does not exist"),
        (400, VectorRejected, "bad vector"),
    ],
)
async def test_a_servers_refusal_is_classified(status: int, error: type[Exception], message: str) -> None:
    reply = answer(status, b'{"status": {"error": "bad vector"}}', Content_Type="application/json", Connection="close")
    async with raw_server(lambda request: reply) as server:
        store = open_vectors(Settings(_env_file=None, qdrant_url=server.url))
        with pytest.raises(error, match=message):
            await store.search("a", [1.0])
        await store.aclose()


async def test_a_server_that_is_away_is_unavailable() -> None:
    async with raw_server(lambda request: b"") as server:
        pass
    store = open_vectors(Settings(_env_file=None, qdrant_url=server.url))
    with pytest.raises(VectorsUnavailable, match="does not answer"):
        await store.ensure_collection("a", 3)
    assert not (await store.describe()).healthy
    await store.aclose()


async def test_the_settings_choose_the_store(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(open_vectors(Settings(_env_file=None)), NoVectors)
        assert isinstance(open_vectors(Settings(_env_file=None, qdrant_path=tmp_path)), EmbeddedVectors)
        remote = open_vectors(
            Settings.model_validate(
                {"qdrant_path": tmp_path, "qdrant_url": "http://127.0.0.1:9", "qdrant_api_key": "secret"}
            )
        )
        assert isinstance(remote, RemoteVectors)
        await remote.aclose()


async def test_without_a_store_every_call_says_the_way_out() -> None:
    with pytest.raises(VectorsUnavailable) as caught:
        await NoVectors().search("a", [1.0])
    assert "QDRANT_URL" in str(caught.value.hint)
    assert (await NoVectors().describe()).kind == "none"


async def test_collections_may_be_dropped_while_they_are_described(store: VectorStore) -> None:
    async def come_and_go() -> None:
        for _ in range(10):
            await store.ensure_collection("fleeting", 3)
            await store.drop_collection("fleeting")

    going = asyncio.create_task(come_and_go())
    while not going.done():
        await asyncio.sleep(0)
        assert (await store.describe()).healthy
    await going
    assert (await store.describe()).collections == ()
