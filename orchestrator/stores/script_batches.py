"""Lua scripts that share round trips: what is asked at one moment by many goes to Redis together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from orchestrator.execution.errors import RedisUnavailable
from orchestrator.stores.redis import redis_errors, redis_unavailable, sha1_of

MOST = 64
"""Scripts of one round trip; what is asked on top goes in another one, at the same time."""


@dataclass(slots=True)
class _Call:
    script: str
    keys: Sequence[str]
    args: Sequence[Any]
    answer: asyncio.Future[Any]

    def named(self) -> tuple[Any, ...]:
        return "EVALSHA", sha1_of(self.script), len(self.keys), *self.keys, *self.args

    def whole(self) -> tuple[Any, ...]:
        return "EVAL", self.script, len(self.keys), *self.keys, *self.args


class _Batches:
    """Gathers what one client is asked in one turn of the event loop.

    Each script runs by itself and in the order of the calls, as if each had gone alone. One that is cancelled on its
    way runs nevertheless, as one does whose connection is closed after it was sent.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._waiting: list[_Call] = []
        self._sending: set[asyncio.Task[None]] = set()

    def ask(self, redis: Redis, script: str, keys: Sequence[str], args: Sequence[Any]) -> asyncio.Future[Any]:
        """Return the future answer."""
        call = _Call(script, keys, args, self.loop.create_future())
        if not self._waiting:
            self.loop.call_soon(self._send, redis)
        self._waiting.append(call)
        return call.answer

    def _send(self, redis: Redis) -> None:
        calls = [call for call in self._waiting if not call.answer.done()]
        self._waiting.clear()
        for at in range(0, len(calls), MOST):
            task = self.loop.create_task(_run(redis, calls[at : at + MOST]))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)


async def _run(redis: Redis, calls: list[_Call]) -> None:
    try:
        async with redis_errors(redis):
            answers = await _answers(redis, calls)
    except RedisUnavailable as error:
        answers = [error] * len(calls)
    except BaseException as error:
        # Whatever it is: nobody shall wait for ever.
        for call in calls:
            _fail(call.answer, error)
        if not isinstance(error, Exception):
            raise
        return
    for call, answer in zip(calls, answers, strict=True):
        # Nobody waits any more for one that was cancelled.
        if not call.answer.done():
            call.answer.set_result(answer)


def _fail(answer: asyncio.Future[Any], error: BaseException) -> None:
    if answer.done():
        return
    if isinstance(error, Exception):
        answer.set_exception(error)
    else:
        answer.cancel()


async def _answers(redis: Redis, calls: list[_Call]) -> list[Any]:
    answers = await _sent(redis, [call.named() for call in calls])
    unknown = [at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
    if unknown:
        found = await _sent(redis, [calls[at].whole() for at in unknown])
        for at, answer in zip(unknown, found, strict=True):
            answers[at] = answer
    return answers


async def _sent(redis: Redis, commands: list[tuple[Any, ...]]) -> list[Any]:
    pipeline = redis.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    return list(await pipeline.execute(raise_on_error=False))


_batches: WeakKeyDictionary[Redis, _Batches] = WeakKeyDictionary()


async def run_shared_script(redis: Redis, script: str, keys: Sequence[str], args: Sequence[Any] = ()) -> Any:
    """Run a small Lua script as `run_script` does, in one round trip with those that others ask for now.

    A large answer would keep the others waiting: scripts with such ones go alone.

    Raises:
        RedisUnavailable: Redis is away, or refused the script.
    """
    batches, loop = _batches.get(redis), asyncio.get_running_loop()
    if batches is None or batches.loop is not loop:
        batches = _batches[redis] = _Batches(loop)
    answer = await batches.ask(redis, script, keys, args)
    if isinstance(answer, RedisUnavailable):
        raise redis_unavailable(answer.message) from answer
    if isinstance(answer, Exception):
        raise redis_unavailable(f"Redis refused the command: {answer}") from answer
    return answer
