"""What the fake model server can do with a streamed answer: piece by piece, cut off, stalled, nonsense."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiohttp import web

Behaviour = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]
PIECES = 5


def event(document: Any) -> bytes:
    """Return one server-sent event."""
    return b"data: " + (document if isinstance(document, bytes) else json.dumps(document).encode()) + b"\n\n"


DONE = event(b"[DONE]")


def delta(fields: Mapping[str, Any], finish_reason: str | None = None, **more: Any) -> bytes:
    """Return the event of one piece."""
    choice = {"index": 0, "delta": dict(fields), "finish_reason": finish_reason}
    return event({"object": "chat.completion.chunk", "model": "fake", "choices": [choice], **more})


def usage_event(usage: Mapping[str, int]) -> bytes:
    """Return the event with the usage, which comes last and has no choices."""
    return event({"object": "chat.completion.chunk", "model": "fake", "choices": [], "usage": dict(usage)})


def events_of(document: Mapping[str, Any]) -> list[bytes]:
    """Return a Chat Completions document as the events of a stream."""
    choice = document["choices"][0]
    message = choice["message"]
    found = [delta({"role": "assistant", "content": ""})]
    text = message.get("content") or ""
    size = max(1, -(-len(text) // PIECES))
    found += [delta({"content": text[start : start + size]}) for start in range(0, len(text), size)]
    for index, call in enumerate(message.get("tool_calls") or []):
        arguments = call["function"]["arguments"]
        half = len(arguments) // 2
        first = {**call, "index": index, "function": {**call["function"], "arguments": arguments[:half]}}
        found.append(delta({"tool_calls": [first]}))
        found.append(delta({"tool_calls": [{"index": index, "function": {"arguments": arguments[half:]}}]}))
    found.append(delta({}, choice["finish_reason"]))
    if document.get("usage"):
        found.append(usage_event(document["usage"]))
    return [*found, DONE]


def pieces(
    events: Sequence[bytes], *, then: str = "end", every_seconds: float = 0, content_type: str = "text/event-stream"
) -> Behaviour:
    """Send these bytes as a stream, then `end`, `abort` the connection, or `hang`."""

    async def respond(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(request)
        for item in events:
            await response.write(item)
            if every_seconds:
                await asyncio.sleep(every_seconds)
        if then == "hang":
            await asyncio.Event().wait()
        if then == "abort":
            # What was written must have left before the connection goes.
            await asyncio.sleep(0.05)
            if request.transport is not None:
                request.transport.abort()
            raise asyncio.CancelledError
        await response.write_eof()
        return response

    return respond


BEGUN = delta({"role": "assistant", "content": "half an "})
ENDED = delta({"content": "answer"}, "stop")


def cut_off() -> Behaviour:
    """Break the connection in the middle of the answer."""
    return pieces([BEGUN], then="abort")


def ends_early() -> Behaviour:
    """End the response properly in the middle of the answer."""
    return pieces([BEGUN])


def without_done() -> Behaviour:
    """Send the whole answer, but no `[DONE]`."""
    return pieces([BEGUN, ENDED, usage_event({"prompt_tokens": 11, "completion_tokens": 7})])


def stalled() -> Behaviour:
    """Send a piece, then nothing more."""
    return pieces([BEGUN], then="hang")


def stalled_after_the_end() -> Behaviour:
    """Send the whole answer and keep the connection open."""
    return pieces([BEGUN, ENDED], then="hang")


def garbage_events() -> Behaviour:
    """Send an event that is not JSON."""
    return pieces([BEGUN, event(b"{not json \xff")])


def no_events() -> Behaviour:
    """Send a stream without any event."""
    return pieces([b"hello\n\n", b": a comment\n\n", b"event: ping\n\n"])


def error_event(message: str = "the engine fell over", **fields: Any) -> Behaviour:
    """Send a piece, then an error."""
    return pieces(
        [
            BEGUN,
            usage_event({"prompt_tokens": 11, "completion_tokens": 2}),
            event({"error": {"message": message, **fields}}),
        ]
    )


def split_character() -> Behaviour:
    """Send the two halves of a surrogate pair in two events, and a half that stays alone."""
    return pieces([delta({"content": "a\ud83d"}), delta({"content": "\ude00b\ud800"}), delta({}, "stop"), DONE])


def huge_stream(size: int = 10 * 1024 * 1024) -> Behaviour:
    """Send over `size` bytes of pieces."""
    piece = delta({"content": "x" * 65_000})
    return pieces([piece] * (size // len(piece) + 2))


def dripping(every_seconds: float = 0.05, count: int = 10_000) -> Behaviour:
    """Send one letter after the other, slowly and without end."""
    return pieces([delta({"content": "x"})] * count, every_seconds=every_seconds)


def in_odd_lines() -> Behaviour:
    """Send a whole answer with CRLF, without spaces, with comments, and cut within the lines."""
    data = b"".join([b": keep-alive\r\n\r\n", BEGUN, ENDED, DONE]).replace(b"data: ", b"data:").replace(b"\n", b"\r\n")
    return pieces([data[start : start + 7] for start in range(0, len(data), 7)])
