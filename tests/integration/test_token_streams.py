"""The text of running model calls over a real Redis."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
import structlog
from redis.asyncio import Redis

from orchestrator.execution.errors import RedisUnavailable
from orchestrator.settings import Settings
from orchestrator.stores import token_streams
from orchestrator.stores.redis import connect_redis
from orchestrator.stores.token_streams import TokenStreams
from tests.support.clock import awake_seconds
from tests.support.pace import within
from tests.support.polling import eventually
from tests.support.ports import free_port


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with connect_redis(Settings(_env_file=None, redis_url=redis_url)) as client:
        yield client


@pytest.fixture
def streams(redis: Redis) -> TokenStreams:
    return TokenStreams(redis, f"test-{uuid.uuid4().hex[:12]}")


async def test_pieces_are_written_while_the_call_runs_and_the_rest_at_its_end(streams: TokenStreams) -> None:
    async with streams.writing("e1", path="ask", turn=2, attempt=1) as writer:
        writer.publish("one ")
        writer.publish("two ")

        async def arrived() -> bool:
            return bool(await streams.read("e1"))

        await eventually(arrived)
        writer.publish("three 😀")
    found = await streams.read("e1")
    assert "".join(piece.text for piece in found) == "one two three 😀"
    assert [(piece.path, piece.turn, piece.attempt, piece.seq) for piece in found] == [
        ("ask", 2, 1, number) for number in range(len(found))
    ]
    assert len(found) >= 2


async def test_many_small_pieces_are_few_entries(streams: TokenStreams) -> None:
    async with streams.writing("e1", path="ask", turn=0, attempt=1) as writer:
        for _ in range(1000):
            writer.publish("x")
    (piece,) = await streams.read("e1")
    assert piece.text == "x" * 1000


async def test_a_follower_gets_what_comes_after_the_piece_it_had(streams: TokenStreams) -> None:
    assert await streams.latest("e1") == token_streams.BEGINNING
    async with streams.writing("e1", path="ask", turn=0, attempt=1) as writer:
        writer.publish("before")
    last = await streams.latest("e1")
    follower = aiter(streams.follow("e1", after=last))
    waiting = asyncio.ensure_future(anext(follower))
    async with streams.writing("e1", path="ask", turn=0, attempt=2) as writer:
        writer.publish("after")
    piece = await asyncio.wait_for(waiting, 60)
    assert (piece.text, piece.attempt) == ("after", 2)
    assert await streams.read("e2") == []


async def test_a_stream_is_bounded_in_length_and_in_life(
    streams: TokenStreams, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_streams, "MOST_ENTRIES", 100)
    for number in range(1000):
        await streams.append("e1", {"path": "ask", "turn": 0, "attempt": 1, "seq": number, "text": "x"})
    found = await streams.read("e1", limit=1000)
    assert 100 <= len(found) <= 300 and found[-1].seq == 999
    assert 0 < await redis.ttl(streams.key("e1")) <= token_streams.LIFE_SECONDS


async def test_text_that_redis_is_too_slow_for_is_left_out_and_shows_as_a_gap(
    streams: TokenStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_streams, "MOST_PENDING_LETTERS", 10)
    async with streams.writing("e1", path="ask", turn=0, attempt=1) as writer:
        writer.publish("x" * 10)
        writer.publish("y")
        await writer.flush()
        writer.publish("z")
    assert [(piece.text, piece.seq) for piece in await streams.read("e1")] == [("x" * 10, 1), ("z", 2)]


async def test_with_redis_away_the_call_goes_on_with_one_warning() -> None:
    away = f"redis://127.0.0.1:{free_port()}"
    async with connect_redis(Settings(_env_file=None, redis_url=away)) as client:
        streams = TokenStreams(client, "test")
        with structlog.testing.capture_logs() as logs:
            began = awake_seconds()
            async with streams.writing("e1", path="ask", turn=0, attempt=1) as writer:
                writer.publish("lost")
                await writer.flush()
                writer.publish("lost too")
            assert within(awake_seconds() - began, 10)
        assert [entry["event"] for entry in logs] == ["the text of a model call is not published"]
        with pytest.raises(RedisUnavailable):
            await streams.read("e1")
