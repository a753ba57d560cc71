"""Reads Server-Sent Events as they come over the wire."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

CLOSED_STEPS = frozenset({"completed", "failed", "skipped", "cancelled"})


@dataclass(frozen=True)
class Frame:
    """One event; `text` is everything that came, without the empty line."""

    text: str

    @property
    def id(self) -> str | None:
        return self._field("id")

    @property
    def kind(self) -> str | None:
        return self._field("event")

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._field("data") or "{}")
        return found

    def _field(self, name: str) -> str | None:
        for line in self.text.split("\n"):
            head, _, value = line.partition(": ")
            if head == name:
                return value
        return None


async def frames_of(answer: httpx2.Response) -> AsyncIterator[Frame]:
    """Yield the events of an open answer; comments are left out."""
    rest = ""
    async for text in answer.aiter_text():
        *whole, rest = (rest + text).split("\n\n")
        for frame in whole:
            if not frame.startswith(":"):
                yield Frame(frame)


async def watched(
    api: httpx2.AsyncClient,
    execution_id: str,
    *,
    after: str | None = None,
    most: int | None = None,
    params: Mapping[str, str] | None = None,
) -> list[Frame]:
    """Read the execution's events after one until the stream ends, or as many as asked for."""
    found: list[Frame] = []
    headers = {"Last-Event-ID": after} if after else {}
    url = f"/executions/{execution_id}/events"
    async with api.stream("GET", url, headers=headers, params=params, timeout=30) as answer:
        if answer.status_code == 204:
            return []
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for frame in frames_of(answer):
            found.append(frame)
            if most is not None and len(found) >= most:
                break
    return found


def last_states(frames: Iterable[Frame]) -> dict[str, str]:
    """Return each step's state as a reader knows it after these events."""
    known: dict[str, str] = {}
    for frame in frames:
        if frame.kind == "snapshot":
            known |= {step["path"]: step["state"] for step in frame.data["steps"]}
        elif frame.kind == "step":
            known[frame.data["path"]] = frame.data["state"]
    return known
