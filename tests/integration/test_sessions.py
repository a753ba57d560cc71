"""Conversations in a real Redis: once per key, a window, a size, a summary that nobody overwrites."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from orchestrator.agents.records import MemoryRecord
from orchestrator.execution.errors import InvalidSessionId, RedisUnavailable, SessionNotFound
from orchestrator.settings import Settings
from orchestrator.stores import sessions
from orchestrator.stores.redis import connect_redis
from orchestrator.stores.sessions import SessionStore

MEMORY = MemoryRecord(window_messages=4, summarise_over_characters=2_000)


@pytest.fixture
async def redis(isolated_settings: Settings) -> AsyncIterator[Redis]:
    client = connect_redis(isolated_settings)
    yield client
    await client.aclose()


@pytest.fixture
def store(redis: Redis, isolated_settings: Settings) -> SessionStore:
    return SessionStore(redis, isolated_settings.redis_key_prefix)


def said(*texts: str) -> list[dict[str, str]]:
    """Turns of a conversation, the user first."""
    return [{"role": ("user", "assistant")[index % 2], "content": text} for index, text in enumerate(texts)]


def texts(messages: list[dict[str, str]]) -> list[str]:
    return [message["content"] for message in messages]


async def test_a_conversation_is_read_in_the_order_in_which_it_was_said(store: SessionStore) -> None:
    assert (await store.load("s", MEMORY)).messages == []
    assert await store.append("s", "k1", said("hello", "hi"), MEMORY)
    assert await store.append("s", "k2", said("how are you?", "fine"), MEMORY)
    assert texts((await store.load("s", MEMORY)).messages) == ["hello", "hi", "how are you?", "fine"]
    assert (await store.load("other", MEMORY)).messages == []


async def test_the_same_append_twice_is_stored_once(store: SessionStore) -> None:
    stored = await asyncio.gather(*(store.append("s", "k1", said("hello"), MEMORY) for _ in range(8)))
    assert sorted(stored) == [False] * 7 + [True]
    found = await store.get("s")
    assert (texts(found.messages), found.forgotten) == (["hello"], 0)


async def test_appends_of_several_executions_are_all_kept(store: SessionStore) -> None:
    await asyncio.gather(*(store.append("s", f"k{n}", said(f"q{n}", f"a{n}"), MEMORY) for n in range(30)))
    kept = texts((await store.get("s")).messages)
    assert sorted(kept) == sorted([f"q{n}" for n in range(30)] + [f"a{n}" for n in range(30)])
    assert all(kept[kept.index(f"q{n}") + 1] == f"a{n}" for n in range(30))


async def test_an_attempt_that_is_made_again_does_not_read_its_own_answer(store: SessionStore) -> None:
    await store.append("s", "k1", said("hello", "hi"), MEMORY)
    await store.append("s", "k2", said("again", "my own answer"), MEMORY)
    assert texts((await store.load("s", MEMORY, without_key="k2")).messages) == ["hello", "hi"]


async def test_the_window_holds_the_newest_messages(store: SessionStore) -> None:
    await store.append("s", "k1", said(*"abcdef"), MEMORY)
    assert texts((await store.load("s", MEMORY)).messages) == ["c", "d", "e", "f"]
    assert texts((await store.get("s")).messages) == [*"abcdef"]


async def test_the_window_is_bounded_in_characters_but_shows_the_newest_message(store: SessionStore) -> None:
    memory = MemoryRecord(window_characters=1_000)
    await store.append("s", "k1", said("a" * 900, "b" * 300, "c" * 300), memory)
    assert [text[0] for text in texts((await store.load("s", memory)).messages)] == ["b", "c"]
    await store.append("s", "k2", said("d" * 5_000), memory)
    assert [text[0] for text in texts((await store.load("s", memory)).messages)] == ["d"]


async def test_the_window_never_begins_with_the_answer_to_a_call_that_it_does_not_show(store: SessionStore) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}]}
    answers = [{"role": "tool", "tool_call_id": "c1", "content": text} for text in ("one", "two")]
    await store.append("s", "k1", [*said("question"), call, *answers, *said("thanks")], MemoryRecord())
    shown = (await store.load("s", MemoryRecord(window_messages=3))).messages
    assert shown == said("thanks")


async def test_a_session_runs_out_after_its_last_message(store: SessionStore, redis: Redis) -> None:
    await store.append("s", "k1", said("hello"), MemoryRecord(ttl_seconds=1_000))
    found = await store.get("s")
    assert (found.expires_at - found.updated_at).total_seconds() == 1_000
    ages = [await redis.pttl(key) async for key in redis.scan_iter(match=f"*{store._prefix}:session:s*")]
    assert len(ages) == 3
    assert all(900_000 < age <= 1_000_000 for age in ages)


async def test_a_deleted_session_is_gone_with_its_keys(store: SessionStore, redis: Redis) -> None:
    await store.append("s", "k1", said("hello"), MEMORY)
    await store.delete("s")
    assert [key async for key in redis.scan_iter(match=f"*{store._prefix}*")] == []
    with pytest.raises(SessionNotFound):
        await store.get("s")
    with pytest.raises(SessionNotFound):
        await store.delete("s")


async def test_the_oldest_messages_make_room(store: SessionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST_MESSAGES", 3)
    await store.append("s", "k1", said(*"abcde"), MEMORY)
    found = await store.get("s")
    assert (texts(found.messages), found.forgotten) == (["c", "d", "e"], 2)
    monkeypatch.setattr(sessions, "MOST_CHARACTERS", found.characters)
    await store.append("s", "k2", said("f"), MEMORY)
    assert texts((await store.get("s")).messages) == ["d", "e", "f"]
    assert (await store.get("s")).characters == found.characters


async def test_a_very_long_message_is_cut(store: SessionStore) -> None:
    await store.append("s", "k1", [{"role": "user", "content": "x" * 300_000 + "\ud800"}], MEMORY)
    (kept,) = (await store.get("s")).messages
    assert len(kept["content"]) == sessions.LONGEST_MESSAGE
    assert kept["content"].endswith("[cut]")


async def grown(store: SessionStore) -> None:
    for number in range(6):
        await store.append("s", f"k{number}", said(f"{number}" * 300, f"{number}" * 300), MEMORY)


async def test_a_summary_takes_the_place_of_the_oldest_messages(store: SessionStore) -> None:
    await store.append("s", "k", said("a"), MEMORY)
    assert not (await store.load("s", MEMORY)).needs_summary
    assert await store.head_to_summarise("s", MEMORY) is None
    await grown(store)
    assert (await store.load("s", MEMORY)).needs_summary
    head = await store.head_to_summarise("s", MEMORY)
    assert head is not None
    # Said while the summary is being written.
    await store.append("s", "k-late", said("late"), MEMORY)
    assert await store.replace_head_with_summary(head, "they talked", MEMORY)
    found, shown = await store.get("s"), await store.load("s", MEMORY)
    assert (shown.summary, shown.needs_summary) == ("they talked", False)
    assert texts(found.messages)[-1] == "late"
    assert found.forgotten == head.through == len(head.messages)
    assert found.characters < 2_000


async def test_only_one_of_two_summaries_is_kept(store: SessionStore) -> None:
    await grown(store)
    heads = [await store.head_to_summarise("s", MEMORY) for _ in range(2)]
    first, second = (head for head in heads if head is not None)
    assert await store.replace_head_with_summary(first, "first", MEMORY)
    assert not await store.replace_head_with_summary(second, "second", MEMORY)
    assert (await store.load("s", MEMORY)).summary == "first"
    await store.delete("s")
    assert not await store.replace_head_with_summary(first, "of a deleted one", MEMORY)
    assert (await store.load("s", MEMORY)).summary is None


@pytest.mark.parametrize("session_id", ["", "a b", "{x}", "-x", "é", "x" * 129, None, 7])
async def test_an_id_that_is_no_plain_text_is_refused(store: SessionStore, session_id: object) -> None:
    with pytest.raises(InvalidSessionId, match="not a session's id"):
        await store.load(session_id, MEMORY)  # type: ignore[arg-type]  # what a template may give


async def test_an_absent_redis_is_a_typed_error() -> None:
    redis = connect_redis(Settings(_env_file=None, redis_url="redis://127.0.0.1:1"))
    with pytest.raises(RedisUnavailable):
        await SessionStore(redis, "p").append("s", "k", said("x"), MEMORY)
    await redis.aclose()
