"""What must come to its end although the execution is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


async def despite_cancel(work: Coroutine[Any, Any, Result]) -> Result:
    """Await some work to its end; a cancel that comes meanwhile is too late to matter, and is dropped."""
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            continue
    return task.result()
