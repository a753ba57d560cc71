"""A script that connects, asks and ends does end: no native thread aborts the process behind its back."""

from __future__ import annotations

import asyncio
import os
import sys

from tests.support.commands import ROOT

SCRIPT = """
import asyncio
from orchestrator.client import connect, disconnect
from orchestrator.settings import Settings

async def main():
    client = await connect(Settings(_env_file=None))
    async for _ in client.list_workflows(limit=1):
        pass
    await disconnect(client)

asyncio.run(main())
"""


async def test_short_scripts_end_with_status_0(temporal_address: str, redis_url: str) -> None:
    settings = {"TEMPORAL_ADDRESS": temporal_address, "REDIS_URL": redis_url, "PYTHONPATH": str(ROOT)}
    turns = asyncio.Semaphore(2)

    async def ended() -> tuple[int | None, bytes]:
        async with turns:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", SCRIPT, env={**os.environ, **settings}, stderr=asyncio.subprocess.PIPE
            )
            _, told = await process.communicate()
            return process.returncode, told

    assert set(await asyncio.gather(*(ended() for _ in range(6)))) == {(0, b"")}
