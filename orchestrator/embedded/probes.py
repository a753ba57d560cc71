"""Small questions to a local server: does it answer yet?

Bare sockets, because a client built for each poll would cost more than the answer.
"""

from __future__ import annotations

import asyncio

from orchestrator.execution.errors import RedisUnavailable
from orchestrator.settings import Settings
from orchestrator.stores.leases import WorkerLeases
from orchestrator.stores.redis import connect_redis


async def answers_http(host: str, port: int, path: str) -> bool:
    """Whether `GET path` is answered with 200.

    Raises:
        OSError: nothing listens there.
    """
    return _is_200(await _exchange(host, port, _get(host, port, path)))


async def answers_ping(host: str, port: int) -> bool:
    """Whether a Redis answers PING (or asks for its password); one that still loads its file says -LOADING instead.

    Raises:
        OSError: nothing listens there.
    """
    return (await _exchange(host, port, "PING\r\nQUIT\r\n")).startswith((b"+PONG", b"-NOAUTH"))


async def worker_pids(settings: Settings) -> set[int]:
    """The processes of the workers that poll now, by the leases that they hold in Redis; none where that is away."""
    async with connect_redis(settings) as redis:
        try:
            return {lease.pid for lease in await WorkerLeases(redis, settings.redis_key_prefix).live()}
        except RedisUnavailable:
            return set()


async def accepts(host: str, port: int) -> None:
    """Open and close a connection.

    Raises:
        OSError: nothing listens there.
    """
    _, writer = await asyncio.open_connection(host, port)
    writer.close()
    await writer.wait_closed()


def _get(host: str, port: int, path: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"


def _is_200(answer: bytes) -> bool:
    return answer.split(b" ", 2)[1:2] == [b"200"]


async def _exchange(host: str, port: int, request: str) -> bytes:
    """Send the request and read until the server closes the connection."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request.encode())
        await writer.drain()
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
