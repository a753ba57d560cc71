"""Documents with immutable versions in Redis: compare-and-set writes, soft deletes, ordered lists."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from redis.asyncio import Redis

from orchestrator.definition.issues import Issue
from orchestrator.execution.errors import RequestError
from orchestrator.expressions import suggest
from orchestrator.stores.pages import Page, check_limit, decode_cursor, decode_number, encode_cursor
from orchestrator.stores.pauses import CLOSE_TURN, SET_PAUSE, Pause, PauseTurn, pause_of
from orchestrator.stores.redis import redis_errors, run_durable_script, run_script

WriteMode = Literal["create", "put", "seed"]
SCAN_BATCH = 100
NAMES_FOR_HINTS = 1000

# One hash per document: `latest`, `deleted`, `created_at`, `updated_at` (ms), `summary`, and per version `v:<n>` (the
# document) and `m:<n>` ("<sha256> <created ms>"). One sorted set of all ids. All keys share a hash tag, hence a slot.
_WRITE = """
local mode, id, document, sha, expected, summary = unpack(ARGV)
local head = redis.call('HMGET', KEYS[2], 'latest', 'deleted', 'created_at', 'updated_at')
local latest, deleted = tonumber(head[1]) or 0, head[2] == '1'
if mode == 'seed' and latest > 0 then return {'kept', latest, head[3], head[4], head[2] or '0'} end
if mode == 'create' and latest > 0 and not deleted then return {'exists', latest} end
if expected ~= '' and latest ~= tonumber(expected) then return {'conflict', latest} end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local fresh = (latest == 0 or deleted) and 'created' or 'updated'
local created_at = head[3] or now
local meta = latest > 0 and redis.call('HGET', KEYS[2], 'm:' .. latest)
if meta and string.sub(meta, 1, #sha + 1) == sha .. ' ' then
  if deleted then
    redis.call('HSET', KEYS[2], 'deleted', '0', 'updated_at', now)
    redis.call('ZADD', KEYS[1], 0, id)
    return {'created', latest, created_at, now}
  end
  return {'same', latest, created_at, head[4]}
end
local version = latest + 1
redis.call('HSET', KEYS[2], 'latest', version, 'deleted', '0', 'created_at', created_at, 'updated_at', now,
  'summary', summary, 'v:' .. version, document, 'm:' .. version, sha .. ' ' .. now)
redis.call('ZADD', KEYS[1], 0, id)
return {fresh, version, created_at, now}
"""

_READ = """
local head = redis.call('HMGET', KEYS[1], 'latest', 'deleted', 'created_at', 'updated_at')
if not head[1] then return {} end
local version = ARGV[1] ~= '' and ARGV[1] or head[1]
local found = redis.call('HMGET', KEYS[1], 'v:' .. version, 'm:' .. version, 'pause')
return {head[1], head[2], head[3], head[4], version, found[1], found[2], found[3]}
"""

# Newest first, without the documents. ARGV: the version after which it goes on ('' for the start), most of them.
_VERSIONS = """
local head = redis.call('HMGET', KEYS[1], 'latest', 'updated_at')
local latest = tonumber(head[1])
if not latest then return {} end
local first = math.min(latest, (tonumber(ARGV[1]) or latest + 1) - 1)
local fields = {}
for version = first, math.max(1, first - ARGV[2] + 1), -1 do fields[#fields + 1] = 'm:' .. version end
return {latest, head[2], first, #fields > 0 and redis.call('HMGET', KEYS[1], unpack(fields)) or {}}
"""

_DELETE = """
local latest = tonumber(redis.call('HGET', KEYS[2], 'latest')) or 0
if latest == 0 then return {'missing', 0} end
if ARGV[2] ~= '' and latest ~= tonumber(ARGV[2]) then return {'conflict', latest} end
if redis.call('HGET', KEYS[2], 'deleted') == '1' then return {'same', latest} end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('HSET', KEYS[2], 'deleted', '1', 'updated_at', now)
redis.call('ZREM', KEYS[1], ARGV[1])
return {'deleted', latest}
"""


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One version of one document. Times are aware UTC.

    Attributes:
        created_at: when the document's first version was written.
        updated_at: when this version was written; of a deleted document, when it was deleted.
    """

    id: str
    version: int
    latest: int
    sha256: str
    document: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    deleted: bool
    pause: Pause | None = None


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version in a history, without its document; `updated_at` as in `StoredVersion`."""

    version: int
    sha256: str
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Written:
    """What a write did: `created`, `updated`, `same`; or nothing: it `exists`, was `kept`, is in `conflict`."""

    outcome: str
    latest: int
    stored: StoredVersion | None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which documents a list shows: `tag` is `key=value`, `text` is looked for in id, name and description."""

    tag: str | None = None
    text: str | None = None

    def predicate(self) -> Callable[[str, dict[str, Any]], bool]:
        """Return the test on id and summary.

        Raises:
            RequestError: `tag` is not `key=value`.
        """
        key, separator, value = (self.tag or "").partition("=")
        if self.tag is not None and (not separator or not key):
            message = f"tag '{self.tag[:100]}' is not key=value"
            raise RequestError(message, issues=[Issue("invalid-tag", message, "/tag", hint="write ?tag=team=sales")])
        wanted = (self.text or "").casefold()

        def matches(document_id: str, summary: dict[str, Any]) -> bool:
            if self.tag is not None and (summary.get("tags") or {}).get(key) != value:
                return False
            texts = (document_id, summary.get("name"), summary.get("description"))
            return not wanted or any(wanted in text.casefold() for text in texts if isinstance(text, str))

        return matches


class VersionedStore:
    """Documents of one `kind` under `{<prefix>:<kind>}`."""

    def __init__(self, redis: Redis, prefix: str, kind: str) -> None:
        """Args: `prefix` is `settings.redis_key_prefix`, `kind` names the list (`definitions`)."""
        self._redis = redis
        self._kind = kind
        self._base = f"{{{prefix}:{kind}}}"

    async def write(
        self,
        mode: WriteMode,
        document_id: str,
        document: dict[str, Any],
        sha256: str,
        summary: dict[str, Any],
        *,
        if_version: int | None = None,
    ) -> Written:
        """Store a version atomically, fsynced; the same content as the latest version makes no new one.

        Args:
            mode: `create` writes only where nothing live exists, `put` always, `seed` only what never existed.
            document_id: its id.
            document: the JSON document.
            sha256: its canonical hash, compared with the latest version's.
            summary: `name`, `description` and `tags`, for lists.
            if_version: the latest version that the caller knows; another one is a `conflict`.
        """
        data = _to_json(document)
        expected = "" if if_version is None else str(if_version)
        args = (mode, document_id, data, sha256, expected, _to_json(summary))
        answer = await run_durable_script(self._redis, _WRITE, (self._ids, self._key(document_id)), args)
        outcome, latest = str(answer[0]), int(answer[1])
        if outcome in ("exists", "conflict", "kept"):
            return Written(outcome, latest, None)
        stored = StoredVersion(
            document_id, latest, latest, sha256, orjson.loads(data), _moment(answer[2]), _moment(answer[3]), False
        )
        return Written(outcome, latest, stored)

    async def read(self, document_id: str, version: int | None = None) -> StoredVersion | None:
        """Return a version, the latest by default; None where the document is unknown.

        Raises:
            LookupError: the document exists, this version does not; the argument is the latest version.
        """
        wanted = "" if version is None else str(version)
        answer = await run_script(self._redis, _READ, (self._key(document_id),), (wanted,))
        if not answer:
            return None
        if answer[5] is None:
            raise LookupError(int(answer[0]))
        return _stored(document_id, answer)

    async def delete(self, document_id: str, *, if_version: int | None = None) -> tuple[str, int]:
        """Mark as deleted, fsynced; returns (`deleted`, `same`, `missing` or `conflict`; latest version)."""
        expected = "" if if_version is None else str(if_version)
        keys = (self._ids, self._key(document_id))
        answer = await run_durable_script(self._redis, _DELETE, keys, (document_id, expected))
        return str(answer[0]), int(answer[1])

    async def set_pause(self, document_id: str, *, paused: bool, reason: str, by: str) -> PauseTurn | None:
        """Pause a document or end its pause, fsynced, versions and deletion aside; None where it is unknown."""
        args = ("1" if paused else "0", reason, by)
        answer = await run_durable_script(self._redis, SET_PAUSE, (self._key(document_id),), args)
        if answer[0] == "missing":
            return None
        return PauseTurn(int(answer[1]), pause_of(answer[2]), changed=answer[0] != "same")

    async def close_turn(self, document_id: str, turn: int) -> PauseTurn:
        """Note that everybody was told of a change; return the latest change, which may be another one by now."""
        answer = await run_durable_script(self._redis, CLOSE_TURN, (self._key(document_id),), (turn,))
        return PauseTurn(int(answer[1]), pause_of(answer[2]), changed=not answer[0])

    async def pause(self, document_id: str) -> Pause | None:
        """Return the document's pause; None where there is none."""
        async with redis_errors(self._redis):
            return pause_of(await self._redis.hget(self._key(document_id), "pause"))

    async def versions(self, document_id: str, *, limit: int, cursor: str | None) -> Page[VersionRow] | None:
        """Return versions, newest first; None where the document is unknown.

        Raises:
            RequestError: bad limit or cursor.
        """
        kind = f"{self._kind}/{document_id}"
        before = decode_number(kind, cursor)
        args = ("" if before is None else str(before), str(check_limit(limit)))
        answer = await run_script(self._redis, _VERSIONS, (self._key(document_id),), args)
        if not answer:
            return None
        latest, updated_at, first, metas = int(answer[0]), answer[1], int(answer[2]), answer[3]
        rows = []
        for version, meta in zip(range(first, 0, -1), metas, strict=False):
            sha256, _, written_at = str(meta).partition(" ")
            rows.append(VersionRow(version, sha256, _moment(updated_at if version == latest else written_at)))
        return Page(rows, encode_cursor(kind, str(rows[-1].version)) if rows and rows[-1].version > 1 else None)

    async def list(self, *, limit: int, cursor: str | None, shown: Filter) -> Page[StoredVersion]:
        """Return live documents in the order of their ids, latest versions.

        Raises:
            RequestError: bad limit, cursor or tag.
        """
        check_limit(limit)
        matches = shown.predicate()
        found: list[str] = []
        async for document_id, summary in self._summaries(decode_cursor(self._kind, cursor)):
            if matches(document_id, summary):
                found.append(document_id)
                if len(found) > limit:
                    break
        stored = [await self.read(document_id) for document_id in found[:limit]]
        items = [item for item in stored if item is not None and not item.deleted]
        return Page(items, encode_cursor(self._kind, found[limit - 1]) if len(found) > limit else None)

    async def ids(self, most: int = NAMES_FOR_HINTS) -> Sequence[str]:
        """Return the ids of live documents, sorted, at most `most`."""
        async with redis_errors(self._redis):
            return [str(item) for item in await self._redis.zrange(self._ids, 0, most - 1)]

    async def nearest(self, document_id: str) -> str | None:
        """Return the live id that looks most like this one, for "did you mean"."""
        return suggest(document_id, await self.ids())

    async def _summaries(self, after: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        while True:
            start = f"({after}" if after else "-"
            async with redis_errors(self._redis):
                found = await self._redis.zrangebylex(self._ids, start, "+", 0, SCAN_BATCH)
                batch = [str(item) for item in found]
                if not batch:
                    return
                pipeline = self._redis.pipeline(transaction=False)
                for document_id in batch:
                    pipeline.hget(self._key(document_id), "summary")
                summaries = await pipeline.execute()
            for document_id, summary in zip(batch, summaries, strict=True):
                yield document_id, orjson.loads(summary) if summary else {}
            after = batch[-1]

    @property
    def _ids(self) -> str:
        return f"{self._base}:ids"

    def _key(self, document_id: str) -> str:
        return f"{self._base}:document:{document_id}"


def _stored(document_id: str, answer: list[Any]) -> StoredVersion:
    latest, deleted, created_at, updated_at, version, document, meta, pause = answer
    sha256, _, written_at = str(meta).partition(" ")
    current = int(version) == int(latest)
    return StoredVersion(
        id=document_id,
        version=int(version),
        latest=int(latest),
        sha256=sha256,
        document=orjson.loads(document),
        created_at=_moment(created_at),
        updated_at=_moment(updated_at if current else written_at),
        deleted=deleted == "1",
        pause=pause_of(pause),
    )


def _moment(milliseconds: Any) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)


def _to_json(value: dict[str, Any]) -> str:
    try:
        return orjson.dumps(value).decode()
    except (TypeError, ValueError) as error:
        raise RequestError(f"the document is not storable JSON: {error}") from error
