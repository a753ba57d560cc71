"""Pauses of whole documents: a flag beside the versions, with a turn that tells an older pause from a newer one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

# Further fields of a document's hash: `pause` (JSON of who, why and when; empty: not paused), `pause_turn` (counts the
# changes) and `pause_open` (the turn whose executions were not all told yet).
SET_PAUSE = """
if not redis.call('HGET', KEYS[1], 'latest') then return {'missing'} end
local wanted, text, by = unpack(ARGV)
local head = redis.call('HMGET', KEYS[1], 'pause', 'pause_turn', 'pause_open')
local paused, turn = (head[1] or '') ~= '', tonumber(head[2]) or 0
if paused == (wanted == '1') then
  return {(tonumber(head[3]) == turn and turn > 0) and 'open' or 'same', turn, head[1] or ''}
end
turn = turn + 1
local pause = ''
if wanted == '1' then
  local time = redis.call('TIME')
  local at = time[1] * 1000 + math.floor(time[2] / 1000)
  pause = cjson.encode({reason = text, by = by, at = at})
end
redis.call('HSET', KEYS[1], 'pause', pause, 'pause_turn', turn, 'pause_open', turn)
return {'set', turn, pause}
"""

CLOSE_TURN = """
local head = redis.call('HMGET', KEYS[1], 'pause', 'pause_turn')
if tonumber(head[2]) ~= tonumber(ARGV[1]) then return {0, tonumber(head[2]) or 0, head[1] or ''} end
redis.call('HDEL', KEYS[1], 'pause_open')
return {1, tonumber(head[2]), head[1] or ''}
"""


@dataclass(frozen=True, slots=True)
class Pause:
    """Why something is paused, by whom, and since when (aware UTC)."""

    reason: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class PauseTurn:
    """One change of the flag.

    Attributes:
        number: counts the changes of one document's flag.
        pause: what it was changed to; None: it is not paused.
        changed: False where the flag had been so already, and every execution had been told.
    """

    number: int
    pause: Pause | None
    changed: bool = True


def pause_of(text: Any) -> Pause | None:
    """Return the pause of a stored flag; None where there is none."""
    if not text:
        return None
    found = orjson.loads(text)
    return Pause(found["reason"], found["by"], datetime.fromtimestamp(found["at"] / 1000, UTC))
