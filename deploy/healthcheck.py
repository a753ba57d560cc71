"""The container's health: the API answers, or this worker's lease is alive."""

from __future__ import annotations

import os
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path

_MAIN_PROCESS = Path("/proc/1/cmdline")


def service_of(arguments: Sequence[str], main_process: Path = _MAIN_PROCESS) -> str:
    """Return `api` or `worker`: as told, else as the container's first process was started."""
    if arguments:
        return arguments[0]
    words = main_process.read_bytes().split(b"\0")
    return "worker" if b"worker" in words else "api"


def api_is_live(port: str) -> bool:
    """Whether the API of this container answers."""
    url = f"http://127.0.0.1:{port}/api/v1/health/live"
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


async def worker_is_live(host: str) -> bool:
    """Whether a worker on this host holds a lease, which it renews every two seconds."""
    # Imported here: the API's check runs every few seconds and needs none of it.
    from orchestrator.settings import Settings
    from orchestrator.stores.leases import WorkerLeases
    from orchestrator.stores.redis import connect_redis

    settings = Settings()
    redis = connect_redis(settings)
    try:
        leases = await WorkerLeases(redis, settings.redis_key_prefix).live()
    finally:
        await redis.aclose()
    return any(lease.host == host for lease in leases)


def main(arguments: Sequence[str]) -> int:
    """Return 0 for healthy, 1 for not."""
    if service_of(arguments) == "api":
        return 0 if api_is_live(os.environ.get("API_PORT") or "8000") else 1
    import asyncio
    import socket

    try:
        return 0 if asyncio.run(worker_is_live(socket.gethostname())) else 1
    except Exception as error:  # whatever it is, the container is not healthy, and says why
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
