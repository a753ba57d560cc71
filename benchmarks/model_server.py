"""The model server of the agents' benchmark, in a process of its own: `python -m benchmarks.model_server PORT`."""

from __future__ import annotations

import asyncio
import sys
import time

from aiohttp import web

from tests.fakes.model_behaviours import completion, text, tool_calls
from tests.fakes.model_streams import DONE, delta

TOKENS = 100
BACKLOG = 4096
"""Connections that may wait to be accepted: aiohttp's 128 resets some of a thousand that come at once."""


class BenchModel:
    """The model server. What it does with a call is the model's name: `sleep-2.0`, `gate`, `loop-50`, `tokens`."""

    def __init__(self) -> None:
        self._waiting = 0
        self._gate = asyncio.Event()
        self._reader = asyncio.Event()

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.complete)
        app.router.add_get("/waiting", self.waiting)
        app.router.add_post("/open", self.open)
        app.router.add_post("/write", self.write)
        return app

    async def waiting(self, _: web.Request) -> web.Response:
        return web.json_response(self._waiting)

    async def open(self, _: web.Request) -> web.Response:
        self._gate.set()
        return web.json_response(None)

    async def write(self, _: web.Request) -> web.Response:
        self._reader.set()
        return web.json_response(None)

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        kind, _, argument = body["model"].partition("-")
        if kind == "tokens":
            return await self._tokens(request)
        if kind == "loop":
            turn = sum(message["role"] == "assistant" for message in body["messages"])
            then = tool_calls(("get_time", {})) if turn < int(argument) - 1 else text("done")
            return await then(request, body)
        self._waiting += 1
        try:
            await (self._gate.wait() if kind == "gate" else asyncio.sleep(float(argument)))
        finally:
            self._waiting -= 1
        return web.json_response(completion("done", body))

    async def _tokens(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await self._reader.wait()
        for _ in range(TOKENS):
            await response.write(delta({"content": f"{time.time()} "}))
            await asyncio.sleep(0.02)
        await response.write(delta({}, "stop"))
        await response.write(DONE)
        return response


if __name__ == "__main__":
    app = BenchModel().app()
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None, backlog=BACKLOG)
