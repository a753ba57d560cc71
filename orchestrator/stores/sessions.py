"""Conversations in Redis: what a session's agents and people said, newest kept, oldest summarised or dropped."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import orjson
from redis.asyncio import Redis

from orchestrator.definition.limits import SESSION_ID_PATTERN, SESSION_ID_WORDS
from orchestrator.execution.errors import InvalidSessionId, SessionNotFound
from orchestrator.stores import session_scripts as scripts
from orchestrator.stores.redis import run_script

MOST_MESSAGES: Final = 1_000
"""Messages that one session keeps; the oldest make room."""
MOST_CHARACTERS: Final = 1_000_000
"""Characters that one session keeps, summary left out."""
LONGEST_MESSAGE: Final = 100_000
"""Characters of one message; the rest is cut."""
LONGEST_SUMMARY: Final = 20_000
MOST_KEYS: Final = 1_000
"""Appends that a session remembers, so that the same one again stores nothing."""
_CUT: Final = " … [cut]"

Message = dict[str, Any]


class MemoryRules(Protocol):
    """How a session is kept; an agent record's `memory` is one."""

    @property
    def window_messages(self) -> int:
        """At most so many of the newest messages are shown to the model."""

    @property
    def window_characters(self) -> int:
        """The shown messages hold together at most so many characters."""

    @property
    def ttl_seconds(self) -> float:
        """A session is forgotten so long after its last message."""

    @property
    def summarise_over_characters(self) -> int | None:
        """Over so many stored characters the oldest messages are to be summarised; None: never."""


@dataclass(frozen=True, slots=True)
class Session:
    """What a model is shown of a conversation.

    Attributes:
        messages: the window, oldest first; it never begins with the answer of a tool whose call it does not show.
        summary: of what was said before the stored messages.
        characters: of all stored messages, those outside the window included.
        needs_summary: the session has grown over `summarise_over_characters`.
    """

    session_id: str
    messages: list[Message] = field(default_factory=list)
    summary: str | None = None
    characters: int = 0
    needs_summary: bool = False


@dataclass(frozen=True, slots=True)
class SessionHead:
    """The oldest messages of a session, to be replaced by a summary of them and of the summary before.

    Attributes:
        first: number of the oldest message.
        through: number of the message after the last one of `messages`.
    """

    session_id: str
    first: int
    through: int
    messages: list[Message]
    summary: str | None = None


@dataclass(frozen=True, slots=True)
class StoredSession:
    """Everything that is kept of a conversation."""

    session_id: str
    messages: list[Message]
    summary: str | None
    characters: int
    forgotten: int
    """Messages that were summarised or dropped."""
    created_at: datetime
    updated_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class _Entry:
    key: str
    size: int
    message: Message


def check_session_id(session_id: Any) -> str:
    """Return a session's id.

    Raises:
        InvalidSessionId: it is no text of 1-128 letters, digits and `. _ : @ -`.
    """
    if not isinstance(session_id, str) or not re.fullmatch(SESSION_ID_PATTERN, session_id):
        raise InvalidSessionId(
            f"{str(session_id)[:140]!r} is not a session's id.",
            hint=f"Use {SESSION_ID_WORDS}.",
        )
    return session_id


class SessionStore:
    """The conversations. Every change is one Lua script, so that two executions may share a session.

    A change is in Redis' append-only file when the call returns, and fsynced with the next `everysec`.
    """

    def __init__(self, redis: Redis, prefix: str) -> None:
        """Args: `prefix` is `settings.redis_key_prefix`."""
        self._redis = redis
        self._prefix = prefix

    async def load(self, session_id: str, memory: MemoryRules, *, without_key: str | None = None) -> Session:
        """Return what a model is to be shown; an unknown session is an empty one.

        Args:
            session_id: the conversation.
            memory: the window, and when a summary is needed.
            without_key: leave out what this append stored: a step that is tried again must not read its own answer.

        Raises:
            RedisUnavailable: Redis is away.
        """
        found = await self._read(session_id, memory.window_messages, without_key)
        if found is None:
            return Session(session_id)
        head, entries = found
        window = _window(entries, memory.window_messages, memory.window_characters)
        limit = memory.summarise_over_characters
        characters = int(head["characters"])
        return Session(
            session_id,
            [entry.message for entry in window],
            head.get("summary"),
            characters,
            needs_summary=limit is not None and characters > limit,
        )

    async def append(
        self, session_id: str, key: str, messages: Sequence[Mapping[str, Any]], memory: MemoryRules
    ) -> bool:
        """Add messages to the end; returns False where the append of this key was stored before.

        Args:
            session_id: the conversation; begun where there is none.
            key: the append's idempotency key.
            messages: in the providers' shape (`role`, `content`, …). Longer contents than 100,000 characters are cut.
            memory: its `ttl_seconds` begins anew.

        Raises:
            RedisUnavailable: Redis is away.
        """
        entries = [_entry(key, message) for message in messages]
        args = (key, _milliseconds(memory), MOST_MESSAGES, MOST_CHARACTERS, MOST_KEYS, *entries)
        return bool(await run_script(self._redis, scripts.APPEND, self._keys(session_id), args))

    async def head_to_summarise(self, session_id: str, memory: MemoryRules) -> SessionHead | None:
        """Return the oldest messages, so that those after them fill at most half of what the session may hold.

        None where the session is not over its size any more, or holds nothing that could be summarised.
        """
        limit = memory.summarise_over_characters
        found = await self._read(session_id, MOST_MESSAGES, None)
        if limit is None or found is None:
            return None
        head, entries = found
        if int(head["characters"]) <= limit:
            return None
        kept = len(_window(entries, memory.window_messages, limit // 2))
        old = entries[: len(entries) - kept]
        first = int(head["first"])
        if not old:
            return None
        return SessionHead(session_id, first, first + len(old), [entry.message for entry in old], head.get("summary"))

    async def replace_head_with_summary(self, head: SessionHead, summary: str, memory: MemoryRules) -> bool:
        """Put a summary in the place of the oldest messages, unless somebody else changed the head meanwhile.

        Messages that were appended since stay. Returns whether it was replaced; where not, load again.
        """
        cut = summary if len(summary) <= LONGEST_SUMMARY else summary[: LONGEST_SUMMARY - len(_CUT)] + _CUT
        args = (head.first, head.through, cut, _milliseconds(memory))
        return bool(await run_script(self._redis, scripts.SUMMARISE, self._keys(head.session_id), args))

    async def get(self, session_id: str) -> StoredSession:
        """Return everything that is kept of a conversation.

        Raises:
            SessionNotFound: there is none, or it has run out.
        """
        found = await self._read(session_id, MOST_MESSAGES, None)
        if found is None:
            raise _unknown(session_id)
        head, entries = found
        return StoredSession(
            session_id,
            [entry.message for entry in entries],
            head.get("summary"),
            int(head["characters"]),
            int(head["first"]),
            *(_moment(head[name]) for name in ("created_at", "updated_at", "expires_at")),
        )

    async def delete(self, session_id: str) -> None:
        """Forget a conversation.

        Raises:
            SessionNotFound: there is none.
        """
        if not await run_script(self._redis, scripts.DELETE, self._keys(session_id)):
            raise _unknown(session_id)

    def _keys(self, session_id: str) -> tuple[str, str, str]:
        base = f"{{{self._prefix}:session:{check_session_id(session_id)}}}"
        return f"{base}:head", f"{base}:messages", f"{base}:keys"

    async def _read(
        self, session_id: str, most: int, without_key: str | None
    ) -> tuple[dict[str, str], list[_Entry]] | None:
        args = (most, without_key or "")
        fields, found = await run_script(self._redis, scripts.READ, self._keys(session_id), args)
        if not fields:
            return None
        entries = [_Entry(**orjson.loads(item)) for item in found]
        return dict(zip(fields[::2], fields[1::2], strict=True)), [e for e in entries if e.key != without_key]


def _window(entries: Sequence[_Entry], most: int, characters: int) -> list[_Entry]:
    """Return the newest entries within the bounds; the newest one always, a tool's answer never without its call."""
    taken = size = 0
    for entry in reversed(entries):
        size += entry.size
        if taken and (taken >= most or size > characters):
            break
        taken += 1
    start = len(entries) - taken
    while start < len(entries) and entries[start].message.get("role") == "tool":
        start += 1
    return list(entries[start:])


def _entry(key: str, message: Mapping[str, Any]) -> str:
    kept = dict(message)
    content = kept.get("content")
    if content is not None:
        text = content if isinstance(content, str) else orjson.dumps(content).decode()
        sound = text.encode("utf-8", "replace").decode()
        if len(sound) > LONGEST_MESSAGE:
            kept["content"] = sound[: LONGEST_MESSAGE - len(_CUT)] + _CUT
        elif isinstance(content, str):
            kept["content"] = sound
    size = len(orjson.dumps({name: value for name, value in kept.items() if name != "role"}).decode())
    return orjson.dumps({"key": key, "size": size, "message": kept}).decode()


def _milliseconds(memory: MemoryRules) -> int:
    return max(1, int(memory.ttl_seconds * 1000))


def _moment(milliseconds: str) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)


def _unknown(session_id: str) -> SessionNotFound:
    return SessionNotFound(f"there is no session '{session_id}'", hint="it has run out, or nobody began it")
