"""What the fake model server can do with a request: answer, refuse, break off, or keep silent."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from tests.fakes.model_streams import Behaviour as Behaviour
from tests.fakes.model_streams import events_of, pieces
from tests.fakes.sample_values import sample_value

CHARGED = web.RequestKey("charged", dict)
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


def completion(text: str | None, body: Mapping[str, Any], *, finish_reason: str = "stop") -> dict[str, Any]:
    """Return a Chat Completions document."""
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 1,
        "model": body.get("model", "fake"),
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason},
        ],
        "usage": dict(USAGE),
    }


def ok(value: Any = None) -> Behaviour:
    """Answer with `value` as JSON; by default with a sample of the requested schema, or a text where there is none."""

    async def respond(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        schema = requested_schema(body)
        if value is not None:
            text = json.dumps(value)
        else:
            text = "sample answer" if schema is None else json.dumps(sample_value(schema))
        return await answer(request, body, completion(text, body))

    return respond


def embeddings(dimensions: int = 8) -> Behaviour:
    """Answer with a vector for each text that counts its letters, in the reverse order; 3 tokens a text."""

    async def respond(_: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        def vector(given: str) -> list[float]:
            return [1.0 + sum(ord(letter) % dimensions == place for letter in given) for place in range(dimensions)]

        data = [
            {"object": "embedding", "index": index, "embedding": vector(given)}
            for index, given in enumerate(body["input"])
        ]
        tokens = 3 * len(data)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return _json({"object": "list", "model": body["model"], "data": data[::-1], "usage": usage})

    return respond


def text(words: str | None, *, finish_reason: str = "stop") -> Behaviour:
    """Answer with this text; `finish_reason="length"` says that it was cut off."""

    async def respond(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await answer(request, body, completion(words, body, finish_reason=finish_reason))

    return respond


def tool_calls(*calls: tuple[str, Any], words: str | None = None) -> Behaviour:
    """Ask for these calls, each a tool's name and its arguments: a value, or a text that is sent as it is."""

    async def respond(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        document = completion(words, body, finish_reason="tool_calls")
        turn = sum(message.get("role") == "assistant" for message in body["messages"])
        document["choices"][0]["message"]["tool_calls"] = [
            {
                "id": f"call-{turn}-{number}",
                "type": "function",
                "function": {"name": name, "arguments": given if isinstance(given, str) else json.dumps(given)},
            }
            for number, (name, given) in enumerate(calls)
        ]
        return await answer(request, body, document)

    return respond


async def answer(request: web.Request, body: Mapping[str, Any], document: Mapping[str, Any]) -> web.StreamResponse:
    """Send a Chat Completions document, as a stream where the request asks for one, and charge its usage."""
    request[CHARGED] = document.get("usage") or {}
    if not body.get("stream"):
        return _json(document)
    if not (body.get("stream_options") or {}).get("include_usage"):
        document = {**document, "usage": None}
    return await pieces(events_of(document))(request, dict(body))


def status(code: int, message: str = "scripted failure", headers: Mapping[str, str] | None = None) -> Behaviour:
    """Answer with an OpenAI error of this status; `headers` may hold Retry-After."""

    async def respond(_: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return _json({"error": {"message": message, "type": "scripted", "code": None}}, code, headers)

    return respond


def raw(data: bytes, content_type: str = "application/json", code: int = 200) -> Behaviour:
    """Answer with exactly these bytes."""

    async def respond(_: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.Response(body=data, content_type=content_type, status=code)

    return respond


def garbage() -> Behaviour:
    """Answer 200 with what is not JSON."""
    return raw(b"<html>\xff\xfe it works!</html>", "text/html")


def truncated_json() -> Behaviour:
    """Answer 200 with a JSON document that ends in the middle."""
    return raw(json.dumps(completion("half", {})).encode()[:60])


def empty_choices() -> Behaviour:
    """Answer 200 without any choice."""
    return raw(json.dumps({"object": "chat.completion", "choices": []}).encode())


def lone_surrogates() -> Behaviour:
    """Answer with text that JSON allows and UTF-8 does not."""
    return raw(json.dumps(completion('{"text": "a\ud800b"}', {})).encode())


def huge(size: int = 10 * 1024 * 1024 + 1) -> Behaviour:
    """Answer with a body of over `size` bytes, sent in pieces."""

    async def respond(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        piece = b" " * 65536
        for _ in range(size // len(piece) + 1):
            await response.write(piece)
        await response.write(json.dumps(completion("late", body)).encode())
        await response.write_eof()
        return response

    return respond


def reset_after_headers() -> Behaviour:
    """Break the connection after the status line."""

    async def respond(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "100"})
        await response.prepare(request)
        await response.write(b'{"id": ')
        await asyncio.sleep(0.05)
        if request.transport is not None:
            request.transport.abort()
        raise asyncio.CancelledError

    return respond


def slow_drip(every_seconds: float = 0.05) -> Behaviour:
    """Send the body byte by byte, too slowly for any deadline."""

    async def respond(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await pieces([b" "] * 10_000, every_seconds=every_seconds, content_type="application/json")(
            request, body
        )

    return respond


def redirect(location: str) -> Behaviour:
    """Send the client elsewhere."""
    return status(307, "elsewhere", {"Location": location})


def declared_error(**error: Any) -> Behaviour:
    """Answer 200 with an error in the body, as gateways do."""
    return raw(json.dumps({"error": {"message": "scripted failure", **error}}).encode())


def reset() -> Behaviour:
    """Break the connection without an answer."""

    async def respond(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        raise asyncio.CancelledError

    return respond


def hang() -> Behaviour:
    """Never answer."""

    async def respond(_: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    return respond


class Gate:
    """Holds requests back until the test opens it, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def open(self) -> None:
        """Let everything pass, now and later."""
        with self._lock:
            self._open = True
            for loop, event in self._waiting:
                loop.call_soon_threadsafe(event.set)
            self._waiting.clear()

    async def passed(self) -> None:
        """Wait until it is open."""
        event = asyncio.Event()
        with self._lock:
            if self._open:
                return
            self._waiting.append((asyncio.get_running_loop(), event))
        await event.wait()


def after(gate: Gate, then: Behaviour | None = None) -> Behaviour:
    """Answer once the test opens `gate`, so that it can do something while the call is in flight."""

    async def respond(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await gate.passed()
        return await (then or ok())(request, body)

    return respond


def requested_schema(body: Mapping[str, Any]) -> Any:
    """Return the JSON Schema that a request asks for, or None."""
    wanted = body.get("response_format")
    return wanted["json_schema"]["schema"] if wanted and wanted.get("type") == "json_schema" else None


def _json(document: Any, code: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response(document, status=code, headers=headers)
