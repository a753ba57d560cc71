"""API keys: shown once, kept as HMACs under a pepper, looked up at every request: a revocation counts at once."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from redis.asyncio import Redis

from orchestrator.execution.errors_access import KeyExists, KeyNotFound, TooManyRequests, Unauthenticated
from orchestrator.settings import Settings
from orchestrator.stores.cell_rates import TAKE, burst_of
from orchestrator.stores.failed_attempts import COUNT_FAILURES, FAILURE_WINDOW_SECONDS, source_of
from orchestrator.stores.redis import redis_errors, run_durable_script, run_script

Role = Literal["viewer", "operator", "editor", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "operator", "editor", "admin")
"""Each may do what those before it may."""
BOOTSTRAP = "bootstrap"
"""Name of the key that API_BOOTSTRAP_KEY sets; no other key has it."""
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,99}$"
_TOKEN = re.compile(r"aok_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_WRONG = "the API key is not valid"

_CREATE = """
local t = redis.call('TIME')
local now = t[1] + t[2] / 1000000
for _, raw in ipairs(redis.call('HVALS', KEYS[1])) do
  local other = cjson.decode(raw)
  local over = other.expires and other.expires <= now
  if other.name == ARGV[3] and not other.revoked and not over then return 'exists' end
end
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 'exists' end
return 'created'
"""

_REVOKE = """
local raw = redis.call('HGET', KEYS[1], ARGV[1])
if not raw then return false end
local record = cjson.decode(raw)
if not record.revoked then
  local t = redis.call('TIME')
  record.revoked = tonumber(t[1])
  redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(record))
end
return cjson.encode(record)
"""

# Asked at every request. KEYS: records, this key's rate, failures of this address with this key, with unknown ones.
# What is compared here are HMACs under a pepper that no caller knows, so the comparison's time tells nothing; the API
# compares once more.
_ADMIT = (
    TAKE
    + COUNT_FAILURES
    + """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local raw = redis.call('HGET', KEYS[1], ARGV[1])
local failures = raw and KEYS[3] or KEYS[4]
local closed = blocked(failures, ARGV[5])
if closed > 0 then return {'blocked', closed, false} end
if not raw or cjson.decode(raw).digest ~= ARGV[2] then
  failed(failures, ARGV[6])
  return {'wrong', 0, raw}
end
local wait = take(KEYS[2], now, tonumber(ARGV[3]), tonumber(ARGV[4]))
return {wait > 0 and 'limited' or 'ok', wait, raw}
"""
)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key without its secret. Times are aware UTC."""

    key_id: str
    name: str
    role: Role
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None

    @property
    def state(self) -> Literal["active", "expired", "revoked"]:
        """Whether it opens anything now."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= datetime.now(UTC) else "active"


class ApiKeys:
    """The keys of one deployment.

    Args:
        redis: where they are.
        settings: pepper, bootstrap key and limits.
    """

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._base = f"{{{settings.redis_key_prefix}:keys}}"
        self._limit = settings.api_requests_per_minute
        self._failures = settings.api_failures_per_minute
        given, bootstrap = settings.api_key_pepper, settings.api_bootstrap_key
        self._given_pepper = given.get_secret_value().encode() if given else None
        self._bootstrap = hashlib.sha256(bootstrap.get_secret_value().encode()).digest() if bootstrap else None
        self._pepper: bytes | None = self._given_pepper

    async def create(
        self, name: str, role: Role, *, created_by: str, lifetime: timedelta | None = None
    ) -> tuple[ApiKey, str]:
        """Make a key; gives it with its secret form, which is kept nowhere.

        Raises:
            KeyExists: an active key has this name.
        """
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        token = f"aok_{key_id}_{secret}"
        now = datetime.now(UTC)
        record = {
            "name": name,
            "role": role,
            "digest": _digest(await self._current_pepper(fresh=True), token),
            "created": now.timestamp(),
            "by": created_by,
            "expires": (now + lifetime).timestamp() if lifetime else None,
        }
        text = json.dumps({field: value for field, value in record.items() if value is not None})
        keys = (self._records,)
        if name == BOOTSTRAP or await run_durable_script(self._redis, _CREATE, keys, (key_id, text, name)) != "created":
            raise KeyExists(
                f"an active API key has the name '{name}'", hint="revoke it first, or choose a name of its own"
            )
        return _key(key_id, record), token

    async def list(self) -> list[ApiKey]:
        """Return every key, revoked ones too, in the order of their creation."""
        async with redis_errors(self._redis):
            found: Any = await self._redis.hgetall(self._records)
        keys = [_key(key_id, json.loads(text)) for key_id, text in found.items()]
        return sorted(keys, key=place_of)

    async def inactive(self, key_ids: Sequence[str]) -> set[str]:
        """Return those of these ids whose keys are revoked, expired or not there.

        Raises:
            RedisUnavailable: nobody can tell.
        """
        if not key_ids:
            return set()
        async with redis_errors(self._redis):
            found: Any = await self._redis.hmget(self._records, key_ids)
        return {
            key_id
            for key_id, text in zip(key_ids, found, strict=True)
            if text is None or _key(key_id, json.loads(text)).state != "active"
        }

    async def revoke(self, key_id: str) -> ApiKey:
        """Revoke a key for ever; a second time changes nothing.

        Raises:
            KeyNotFound: there is none with this id.
        """
        raw = await run_durable_script(self._redis, _REVOKE, (self._records,), (key_id,))
        if not raw:
            raise KeyNotFound(f"there is no API key '{key_id[:100]}'", hint="`orchestrator keys list` shows their ids")
        return _key(key_id, json.loads(raw))

    async def admit(self, token: str, address: str) -> ApiKey:
        """Return the key that a request was sent with, once it may go on.

        Args:
            token: what the caller sent.
            address: where from; failures are counted by address and key, so that nobody locks out others.

        Raises:
            Unauthenticated: not a valid key.
            TooManyRequests: of this key, or failures of this address.
            RedisUnavailable: nobody can tell.
        """
        if self._bootstrap is not None and hmac.compare_digest(
            hashlib.sha256(token.encode(errors="replace")).digest(), self._bootstrap
        ):
            return ApiKey(BOOTSTRAP, BOOTSTRAP, "admin", datetime.fromtimestamp(0, UTC), "settings", None, None)
        outcome, wait, raw, digest = await self._ask(token, address, await self._current_pepper())
        if outcome == "wrong" and raw and self._given_pepper is None:
            # Redis was emptied and filled anew while this process ran.
            known, fresh = self._pepper, await self._current_pepper(fresh=True)
            if fresh != known:
                outcome, wait, raw, digest = await self._ask(token, address, fresh)
        if outcome in ("blocked", "limited"):
            raise _too_many(outcome, wait / 1000)
        record = json.loads(raw) if raw else {}
        if not hmac.compare_digest(record.get("digest", "").encode(), digest.encode()) or outcome != "ok":
            raise Unauthenticated(_WRONG, hint="check that it was copied whole; an administrator can make another")
        key = _key(_id_of(token), record)
        if key.state != "active":
            raise Unauthenticated(f"the API key '{key.name}' is {key.state}", hint="ask an administrator for another")
        return key

    async def _ask(self, token: str, address: str, pepper: bytes) -> tuple[str, float, str | None, str]:
        key_id, digest = _id_of(token), _digest(pepper, token)
        failed = f"{self._base}:failed:{source_of(address)}"
        keys = (self._records, f"{self._base}:rate:{key_id}", f"{failed}:{key_id}", f"{failed}:unknown")
        args = (key_id, digest, self._limit, burst_of(self._limit), self._failures, FAILURE_WINDOW_SECONDS * 1000)
        outcome, wait, raw = await run_script(self._redis, _ADMIT, keys, args)
        return str(outcome), float(wait), raw, digest

    async def _current_pepper(self, *, fresh: bool = False) -> bytes:
        """The settings' pepper, else the deployment's own, which the first caller makes."""
        if self._given_pepper is not None:
            return self._given_pepper
        if self._pepper is None or fresh:
            script = "redis.call('SETNX', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])"
            run = run_durable_script if fresh else run_script
            found = await run(self._redis, script, (f"{self._base}:pepper",), (secrets.token_hex(32),))
            self._pepper = str(found).encode()
        return self._pepper

    @property
    def _records(self) -> str:
        return f"{self._base}:records"


def place_of(key: ApiKey) -> str:
    """Return what the list of keys is sorted by."""
    return f"{key.created_at.isoformat(timespec='microseconds')} {key.key_id}"


def _id_of(token: str) -> str:
    found = _TOKEN.fullmatch(token)
    return found[1] if found else "unknown"


def _digest(pepper: bytes, token: str) -> str:
    return hmac.new(pepper, token.encode(errors="replace"), hashlib.sha256).hexdigest()


def _key(key_id: str, record: dict[str, Any]) -> ApiKey:
    return ApiKey(
        key_id=key_id,
        name=record["name"],
        role=record["role"],
        created_at=_moment(record["created"]),
        created_by=record["by"],
        expires_at=_moment(record["expires"]) if record.get("expires") else None,
        revoked_at=_moment(record["revoked"]) if record.get("revoked") else None,
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _too_many(outcome: str, seconds: float) -> TooManyRequests:
    if outcome == "blocked":
        message, hint = "too many failed attempts to authenticate from this address", "correct the API key"
    else:
        message, hint = "this API key has used up its requests for now", "API_REQUESTS_PER_MINUTE is the limit"
    return TooManyRequests(f"{message}; come back in {seconds:.1f} s", hint=hint, retry_after_seconds=seconds)
