"""A real HTTP server that speaks the OpenAI protocol, does what a test scripts and logs every request."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.fakes.model_behaviours import CHARGED, Behaviour, embeddings, ok


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One request as the server saw it.

    Attributes:
        task: the name of the requested schema, which is the task's; None without a schema.
        prompt: the messages' texts, one below the other.
    """

    at: float
    body: dict[str, Any]
    headers: dict[str, str]
    task: str | None
    prompt: str

    def concerns(self, word: str) -> bool:
        """Whether the call is for this task, or its prompt holds the word."""
        return self.task == word or word in self.prompt


@dataclass(slots=True)
class _Script:
    queue: list[Behaviour] = field(default_factory=list)
    default: Behaviour | None = None

    def next(self) -> Behaviour | None:
        return self.queue.pop(0) if self.queue else self.default


class FakeModelServer:
    """Answers Chat Completions; `url` ends in `/v1`. All methods may be called from any thread."""

    def __init__(self) -> None:
        self.url = ""
        self._lock = threading.Lock()
        self._calls: list[ModelCall] = []
        self._scripts: dict[str | None, _Script] = {}
        self._charged: list[tuple[int, int]] = []

    def then(self, *behaviours: Behaviour, task: str | None = None) -> None:
        """Do these with the next requests, one each; `task` (or a word of the prompt) says with which."""
        with self._lock:
            self._scripts.setdefault(task, _Script()).queue.extend(behaviours)

    def always(self, behaviour: Behaviour | None, *, task: str | None = None) -> None:
        """Do this with every request that `then` says nothing about; None: answer well again."""
        with self._lock:
            self._scripts.setdefault(task, _Script()).default = behaviour

    def calls(self, task: str | None = None) -> list[ModelCall]:
        """Return the requests so far, or those for one task (or with this word in the prompt)."""
        with self._lock:
            return [call for call in self._calls if task is None or call.concerns(task)]

    def charged(self) -> tuple[int, int]:
        """Return the input and output tokens of all answers that were sent with a usage."""
        with self._lock:
            return sum(item[0] for item in self._charged), sum(item[1] for item in self._charged)

    def forget(self) -> None:
        """Drop the log and every script."""
        with self._lock:
            self._calls.clear()
            self._charged.clear()
            self._scripts.clear()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Log the request and do what is scripted for it."""
        data = await request.read()
        call = _read_call(json.loads(data), dict(request.headers))
        with self._lock:
            self._calls.append(call)
            behaviour = self._behaviour(call)
        response = await behaviour(request, call.body)
        usage = request.get(CHARGED)
        if usage:
            with self._lock:
                self._charged.append((usage["prompt_tokens"], usage["completion_tokens"]))
        return response

    async def handle_embeddings(self, request: web.Request) -> web.StreamResponse:
        """Log the request as a call of the task `embeddings`; only what is scripted for that concerns it."""
        body = json.loads(await request.read())
        call = ModelCall(time.monotonic(), body, dict(request.headers), "embeddings", "\n".join(body["input"]))
        with self._lock:
            self._calls.append(call)
            script = self._scripts.get("embeddings")
            behaviour = (script.next() if script else None) or embeddings()
        return await behaviour(request, body)

    def _behaviour(self, call: ModelCall) -> Behaviour:
        matching = [script for word, script in self._scripts.items() if word is not None and call.concerns(word)]
        for script in [*matching, self._scripts.get(None)]:
            found = script.next() if script else None
            if found is not None:
                return found
        return ok()


@contextmanager
def running_model_server(port: int = 0) -> Iterator[FakeModelServer]:
    """Run a fake model server in a thread of its own."""
    server = FakeModelServer()
    ready = threading.Event()
    stops: list[Callable[[], object]] = []
    failure: list[BaseException] = []

    async def serve() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        async with _served(server, port):
            stops.append(lambda: loop.call_soon_threadsafe(stop.set))
            ready.set()
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failure.append(error)
            ready.set()

    thread = threading.Thread(target=run, name="fake-model-server", daemon=True)
    thread.start()
    started = ready.wait(60)
    if failure:
        raise failure[0]
    assert started, "the fake model server does not start"
    try:
        yield server
    finally:
        stops[0]()
        thread.join(60)
        assert not thread.is_alive(), "the fake model server does not end"


@asynccontextmanager
async def _served(server: FakeModelServer, port: int) -> AsyncIterator[None]:
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/chat/completions", server.handle)
    app.router.add_post("/v1/embeddings", server.handle_embeddings)
    app.router.add_get("/health", _healthy)
    app.router.add_get("/v1/models", _models)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield
    finally:
        await runner.cleanup()


async def _healthy(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def _models(_: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": "fake", "object": "model"}]})


def _read_call(body: dict[str, Any], headers: dict[str, str]) -> ModelCall:
    wanted = body.get("response_format") or {}
    prompt = "\n".join(str(message.get("content")) for message in body.get("messages", []))
    return ModelCall(time.monotonic(), body, headers, wanted.get("json_schema", {}).get("name"), prompt)
