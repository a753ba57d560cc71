"""Real servers for tests: each on a free port with a folder of its own, ended with the block."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from orchestrator.embedded.ports import LOOPBACK
from orchestrator.embedded.process import ProcessSpec, stop
from orchestrator.embedded.temporal import temporal
from orchestrator.embedded.valkey import valkey
from tests.support.ports import free_port


@contextmanager
def running(spec: ProcessSpec) -> Iterator[int]:
    """Start the process, wait until it serves, give its pid, and end it."""
    process = spec.launch()
    try:
        with asyncio.Runner() as runner:
            runner.run(spec.wait_ready(process))
        yield process.pid
    finally:
        stop(process, spec.stop_seconds)


def redis_server(folder: Path, port: int | None = None) -> tuple[ProcessSpec, str]:
    """A Redis, and its URL."""
    port = port or free_port()
    return valkey(folder / "redis", port, folder / "redis.log"), f"redis://{LOOPBACK}:{port}"


def temporal_server(folder: Path, port: int | None = None) -> tuple[ProcessSpec, str]:
    """A Temporal server, and its address, host:port."""
    port, ui_port = port or free_port(), free_port()
    return temporal(folder / "temporal.db", port, ui_port, folder / "temporal.log"), f"{LOOPBACK}:{port}"


def s3_server(folder: Path) -> tuple[ProcessSpec, str]:
    """A server that speaks S3, its buckets in memory, open to any credentials, and its URL."""
    port = free_port()
    url = f"http://{LOOPBACK}:{port}"

    async def ready(_: int) -> bool:
        async with httpx2.AsyncClient(trust_env=False) as client:
            try:
                return (await client.get(f"{url}/moto-api/")).status_code == 200
            except httpx2.TransportError:
                return False

    argv = [str(Path(sys.executable).with_name("moto_server")), "-H", LOOPBACK, "-p", str(port)]
    return ProcessSpec("s3", argv, folder / "s3.log", ready), url


@contextmanager
def running_redis(folder: Path, port: int | None = None) -> Iterator[str]:
    """A Redis; gives its URL."""
    spec, url = redis_server(folder, port)
    with running(spec):
        yield url


@contextmanager
def running_temporal(folder: Path, port: int | None = None) -> Iterator[str]:
    """A Temporal server; gives its address, host:port."""
    spec, address = temporal_server(folder, port)
    with running(spec):
        yield address
