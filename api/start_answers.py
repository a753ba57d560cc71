"""How a start is answered: at once, or when the execution is closed or the wait is over."""

from __future__ import annotations

import asyncio

from fastapi import Request, Response

from api.access import access_of
from api.dependencies import Services
from api.execution_links import PREFIX
from api.schemas.executions import CLOSED, ExecutionDocument
from api.starts import wait_for_end
from orchestrator.execution.errors import Unavailable


async def answer_start(
    services: Services,
    document: ExecutionDocument,
    request: Request,
    response: Response,
    *,
    wait_seconds: float | None,
    new: bool = True,
) -> ExecutionDocument:
    """Return the document to answer with, and set status and `Location`.

    Args:
        services: the app's services.
        document: of the execution that has just started.
        request: tells when the client goes away, which stops nothing.
        response: 202, or 200 where the execution closed in time.
        wait_seconds: how long to wait for the end; None: not at all.
        new: False where an earlier, equal start had made it.
    """
    response.headers["Location"] = f"{PREFIX}/executions/{document.execution_id}"
    response.status_code = 202 if new else 200
    if wait_seconds is None:
        return document
    key = access_of(request).key
    with services.key_watch.watching(key) as revoked:
        outcome = await wait_for_end(services, document.execution_id, wait_seconds, lambda: _left(request, revoked))
    try:
        # The wait may have taken minutes.
        await services.key_watch.require(key)
        document = await services.executions.read(document.execution_id, outcome, new=new)
    except Unavailable:
        # The start was acknowledged: that it cannot be read just now does not turn it into a failure.
        document.stale = True
    response.status_code = 200 if document.status in CLOSED else 202
    return document


async def _left(request: Request, revoked: asyncio.Event) -> None:
    """Return when nobody is there to be answered, or nobody who may be."""
    ends = [asyncio.ensure_future(_disconnected(request)), asyncio.ensure_future(revoked.wait())]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for end in ends:
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
