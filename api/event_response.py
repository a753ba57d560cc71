"""A response of Server-Sent Events: it ends with its client, and a client that takes nothing is let go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, aclosing, nullcontext

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

MEDIA_TYPE = "text/event-stream"
SEND_SECONDS = 30.0
"""A client that takes nothing for so long is let go; it may come back with its `Last-Event-ID`."""


class EventResponse(Response):
    """Sends frames as they come.

    Args:
        frames: the chunks; closed with the response.
        watching: gives an event that, once set, ends the response: the client may not read on.
        status_code: of the response.
    """

    media_type = MEDIA_TYPE

    def __init__(
        self,
        frames: AsyncGenerator[bytes],
        watching: AbstractContextManager[asyncio.Event] | None = None,
        status_code: int = 200,
    ) -> None:
        super().__init__(status_code=status_code)
        del self.headers["content-length"]
        # Proxies shall pass on each frame at once.
        self.headers["x-accel-buffering"] = "no"
        self._frames = frames
        self._watching = watching or nullcontext(asyncio.Event())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the frames end or the client goes."""
        with self._watching as barred:
            await self._respond(scope, receive, send, barred)

    async def _respond(self, scope: Scope, receive: Receive, send: Send, barred: asyncio.Event) -> None:
        async with aclosing(self._frames) as frames:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if not scope.get("head") and not await _sent(frames, receive, send, barred):
                # Without a last chunk the server closes the connection.
                return
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _sent(frames: AsyncGenerator[bytes], receive: Receive, send: Send, barred: asyncio.Event) -> bool:
    """Send the frames while the client is there and may have them; gives whether it took them."""
    sending = asyncio.create_task(_send_all(frames, send))
    leaving = asyncio.create_task(_disconnected(receive))
    barring = asyncio.create_task(barred.wait())
    try:
        await asyncio.wait({sending, leaving, barring}, return_when=asyncio.FIRST_COMPLETED)
        return sending.result() if sending.done() else not barring.done()
    finally:
        for task in (sending, leaving, barring):
            task.cancel()
        await asyncio.gather(sending, leaving, barring, return_exceptions=True)


async def _send_all(frames: AsyncGenerator[bytes], send: Send) -> bool:
    async for frame in frames:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await send({"type": "http.response.body", "body": frame, "more_body": True})
        except TimeoutError:
            return False
    return True


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
