"""A real HTTP/1.1 server whose answers are raw bytes, so that it can misbehave."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Received:
    """One request as it came over the wire; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class RawServer:
    """Where the server listens and what it received."""

    port: int = 0
    requests: list[Received] = field(default_factory=list)
    server_names: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


Respond = Callable[[Received], bytes | None]
"""Gives the raw answer; None leaves the client waiting."""


def answer(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    """Spell out a response; `_` in a header's name stands for `-`."""
    fields = {"Content-Length": str(len(body))} | {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode("latin-1") + body


async def _read(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.rstrip().split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {
        name.lower(): value
        for name, value in (line.split(": ", 1) if ": " in line else (line.rstrip(":"), "") for line in lines)
    }
    length = int(headers.get("content-length", "0"))
    return Received(method, target, headers, await reader.readexactly(length) if length else b"")


@asynccontextmanager
async def raw_server(respond: Respond, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    """Serve on loopback until the block ends; every connection is closed after an answer without Content-Length."""
    state = RawServer()
    open_tasks: list[asyncio.Task[None]] = []
    if tls is not None:
        tls.sni_callback = lambda _socket, name, _context: state.server_names.append(name)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_tasks.append(task)
        try:
            while (request := await _read(reader)) is not None:
                state.requests.append(request)
                if (reply := respond(request)) is None:
                    await asyncio.Event().wait()
                    return
                writer.write(reply)
                await writer.drain()
                if b"content-length" not in reply.split(b"\r\n\r\n")[0].lower():
                    return
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        for task in open_tasks:
            task.cancel()
        await asyncio.gather(*open_tasks, return_exceptions=True)
        await server.wait_closed()
