"""Requests side by side spread over small pools, and give their places back however they end."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from orchestrator.guarded_http.lanes import LanedTransport


class Lane(httpx2.AsyncBaseTransport):
    def __init__(self, answers: asyncio.Event) -> None:
        self.answers = answers
        self.running = 0
        self.served = 0
        self.closed = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.running += 1
        try:
            await self.answers.wait()
            if request.url.path == "/broken":
                raise httpx2.ReadError("broken")
        finally:
            self.running -= 1
        self.served += 1
        return httpx2.Response(200, stream=httpx2.ByteStream(b"hello"), request=request)

    async def aclose(self) -> None:
        self.closed = True


class Lanes:
    """A client over lanes of two requests each, three at most."""

    def __init__(self, idle_seconds: float = 60) -> None:
        self.answers = asyncio.Event()
        self.opened: list[Lane] = []
        transport = LanedTransport(self._open, lane_requests=2, most_lanes=3, idle_seconds=idle_seconds)
        self.client = httpx2.AsyncClient(transport=transport, trust_env=False)

    def _open(self) -> Lane:
        self.opened.append(Lane(self.answers))
        return self.opened[-1]

    async def started(self, count: int, path: str = "/") -> list[asyncio.Task[httpx2.Response]]:
        tasks = [asyncio.create_task(self.client.get(f"http://example.com{path}")) for _ in range(count)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return tasks

    @property
    def load(self) -> list[int]:
        return [lane.running for lane in self.opened]


async def test_a_lane_is_opened_when_the_others_are_full_and_no_more_than_allowed() -> None:
    lanes = Lanes()
    tasks = await lanes.started(8)
    assert sorted(lanes.load) == [2, 3, 3]
    lanes.answers.set()
    assert [answer.text for answer in await asyncio.gather(*tasks)] == ["hello"] * 8
    await lanes.client.aclose()
    assert all(lane.closed for lane in lanes.opened)


async def test_requests_one_after_the_other_stay_in_one_lane_so_that_connections_are_used_again() -> None:
    lanes = Lanes()
    lanes.answers.set()
    for _ in range(5):
        await lanes.client.get("http://example.com/")
    assert [lane.served for lane in lanes.opened] == [5]


async def test_failed_and_cancelled_requests_give_their_places_back() -> None:
    lanes = Lanes()
    cancelled = await lanes.started(2)
    for task in cancelled:
        task.cancel()
    await asyncio.wait(cancelled)
    broken = await lanes.started(2, "/broken")
    lanes.answers.set()
    for task in broken:
        with pytest.raises(httpx2.ReadError):
            await task
    await lanes.client.get("http://example.com/")
    assert [lane.served for lane in lanes.opened] == [1]


async def test_a_place_is_taken_until_the_response_is_closed() -> None:
    lanes = Lanes()
    lanes.answers.set()
    async with lanes.client.stream("GET", "http://example.com/"), lanes.client.stream("GET", "http://example.com/"):
        await lanes.client.get("http://example.com/")
        assert len(lanes.opened) == 2
    await lanes.client.get("http://example.com/")
    assert [lane.served for lane in lanes.opened] == [3, 1]


async def test_lanes_that_nobody_needs_any_more_are_closed_but_the_first() -> None:
    lanes = Lanes(idle_seconds=0)
    tasks = await lanes.started(5)
    lanes.answers.set()
    await asyncio.gather(*tasks)
    await lanes.client.get("http://example.com/")
    assert [lane.closed for lane in lanes.opened] == [False, True, True]
    assert [lane.served for lane in lanes.opened] == [3, 2, 1]
