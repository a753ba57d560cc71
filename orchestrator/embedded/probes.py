"""Small questions to a local server: does it answer yet?

Bare sockets, because a client built for each poll would cost more than the answer.
"""

from __future__ import annotations

import asyncio


async def answers_http(host: str, port: int, path: str) -> bool:
    """Whether `GET path` is answered with 200.

    Raises:
        OSError: nothing listens there.
    """
    request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
    return (await _first_line(host, port, request)).split(b" ")[1:2] == [b"200"]


async def answers_ping(host: str, port: int) -> bool:
    """Whether a Redis answers PING (or asks for its password); one that still loads its file says -LOADING instead.

    Raises:
        OSError: nothing listens there.
    """
    return (await _first_line(host, port, "PING\r\n")).startswith((b"+PONG", b"-NOAUTH"))


async def _first_line(host: str, port: int, request: str) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request.encode())
        await writer.drain()
        return await reader.readline()
    finally:
        writer.close()
        await writer.wait_closed()


async def accepts(host: str, port: int) -> None:
    """Open and close a connection.

    Raises:
        OSError: nothing listens there.
    """
    _, writer = await asyncio.open_connection(host, port)
    writer.close()
    await writer.wait_closed()
