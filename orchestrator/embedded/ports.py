"""Which loopback port a part of the stack gets."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from pathlib import Path
from typing import IO

LOOPBACK = "127.0.0.1"


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket() as probe:
        # Without it, connections in TIME_WAIT would make a port look taken right after a stop.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port(host: str = LOOPBACK) -> int:
    """Any port that is free now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


class PortClaims:
    """The ports of one stack, kept from the user's other stacks from the choice on, until the release.

    Servers take a moment to listen: two stacks that start at once would else choose the same ports. A claim is a lock
    on a file of the port's name, which the kernel drops when the process ends, however it does.
    """

    def __init__(self) -> None:
        self._claims: dict[int, IO[bytes] | None] = {}

    def choose(self, usual: int) -> int:
        """The usual port if it is free and nobody's, else any that is."""
        if is_free(usual) and self._claim(usual):
            return usual
        while not self._claim(port := free_port()):
            continue
        return port

    def release(self) -> None:
        """Let other stacks choose them."""
        for claim in self._claims.values():
            if claim is not None:
                claim.close()
        self._claims.clear()

    def _claim(self, port: int) -> bool:
        if port in self._claims:
            return False
        try:
            claim = _claim_file(port)
            try:
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                claim.close()
                return False
        except OSError:
            # No folder of ours for temporary files. The port's own server will tell if another takes it first.
            claim = None
        self._claims[port] = claim
        return True


def _claim_file(port: int) -> IO[bytes]:
    folder = Path(tempfile.gettempdir(), f"orchestrator-ports-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} is not a folder of this user")
    return (folder / f"{port}.lock").open("ab")
