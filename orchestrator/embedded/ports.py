"""Which loopback port a part of the stack gets."""

from __future__ import annotations

import socket

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


def choose(usual: int, avoid: frozenset[int] = frozenset()) -> int:
    """The usual port if it is free and not spoken for, else any free one."""
    if usual not in avoid and is_free(usual):
        return usual
    while (port := free_port()) in avoid:
        continue
    return port
