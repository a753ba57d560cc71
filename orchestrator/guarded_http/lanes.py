"""Many small connection pools as one transport."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

import httpx2

LANE_REQUESTS = 50
MOST_LANES = 20
IDLE_SECONDS = 5.0
"""After so long without a request a lane is closed: a pool drops its idle connections only when it is used."""


class _Lane:
    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        self.transport = transport
        self.running = 0
        self.left_at = time.monotonic()

    def leave(self) -> None:
        self.running -= 1
        self.left_at = time.monotonic()

    def is_idle(self, seconds: float) -> bool:
        return not self.running and time.monotonic() - self.left_at > seconds


class LanedTransport(httpx2.AsyncBaseTransport):
    """Opens one pool after the other as requests run side by side, and uses the first that has room.

    A pool looks through all its connections whenever a request comes or goes: a thousand that wait in one would cost
    each other half of a worker's time.

    Args:
        open_lane: gives a transport with a pool of its own.
        lane_requests: so many run side by side in one lane before the next is opened.
        most_lanes: when all are full, the least busy one takes the request.
        idle_seconds: a lane but the first is closed after so long without a request, when the next one comes.
    """

    def __init__(
        self,
        open_lane: Callable[[], httpx2.AsyncBaseTransport],
        *,
        lane_requests: int = LANE_REQUESTS,
        most_lanes: int = MOST_LANES,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._open_lane = open_lane
        self._lane_requests = lane_requests
        self._most_lanes = most_lanes
        self._idle_seconds = idle_seconds
        self._lanes: list[_Lane] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request; its lane is taken until the response is closed."""
        lane = self._lane()
        lane.running += 1
        try:
            await self._close_idle()
            response = await lane.transport.handle_async_request(request)
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = _Held(response.stream, lane)
        except BaseException:
            lane.leave()
            raise
        return response

    async def aclose(self) -> None:
        """Close every pool."""
        lanes, self._lanes = self._lanes, []
        for lane in lanes:
            await lane.transport.aclose()

    async def _close_idle(self) -> None:
        idle = [lane for lane in self._lanes[1:] if lane.is_idle(self._idle_seconds)]
        self._lanes = [lane for lane in self._lanes if lane not in idle]
        for lane in idle:
            await lane.transport.aclose()

    def _lane(self) -> _Lane:
        for lane in self._lanes:
            if lane.running < self._lane_requests:
                return lane
        if len(self._lanes) < self._most_lanes:
            self._lanes.append(_Lane(self._open_lane()))
            return self._lanes[-1]
        return min(self._lanes, key=lambda lane: lane.running)


class _Held(httpx2.AsyncByteStream):
    """A response's stream that gives its lane back when it is closed, once."""

    def __init__(self, stream: httpx2.AsyncByteStream, lane: _Lane) -> None:
        self._stream = stream
        self._lane: _Lane | None = lane

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        lane, self._lane = self._lane, None
        if lane is not None:
            lane.leave()
        await self._stream.aclose()
