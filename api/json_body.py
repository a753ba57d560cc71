"""Reads request bodies strictly: a limit that counts bytes, a media type, JSON without surprises."""

from __future__ import annotations

import asyncio
import email.message
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from api.access import authorize, note_reason
from api.execution_links import PREFIX
from api.strict_json import parse_json
from orchestrator.execution.errors import PayloadTooLarge, RequestError, UnsupportedMediaType

_PARSE_INLINE_BYTES = 64 * 1024
"""Larger bodies are parsed on a thread: 2 MiB of small objects take half a second."""


class StrictJsonRoute(APIRoute):
    """A route that reads its body strictly before FastAPI sees it, and says where an accepted action can be watched."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler behind the strict reader."""
        handler = located(super().get_route_handler(), self.path_format)
        field = self.body_field
        if field is None:
            return handler
        required = field.field_info.is_required()

        async def read_then_handle(request: Request) -> Response:
            await authorize(request)
            limit: int = request.app.state.settings.api_body_limit_bytes
            body = await _read_bytes(request, limit)
            await self.admit(request, body)
            read = await _with_json(request, body, required=required)
            note_reason(request, await read.json())
            return await handler(read)

        return read_then_handle

    async def admit(self, request: Request, body: bytes) -> None:
        """Refuse a body by its bytes, before anything is made of them; here none is."""


def located(
    handler: Callable[[Request], Coroutine[Any, Any, Response]], path: str
) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """Give answers of 202 without a `Location` that of the resource that was acted on: the path's first parameter."""
    resource = f"{PREFIX}{path[: path.find('}') + 1]}" if "}" in path else ""

    async def handle_located(request: Request) -> Response:
        response = await handler(request)
        if response.status_code == 202 and "location" not in response.headers and resource:
            names = {name: quote(str(value), safe="") for name, value in request.path_params.items()}
            response.headers["location"] = resource.format(**names)
        return response

    return handle_located


class _ReadRequest(Request):
    """A request whose body was read and parsed already."""

    def __init__(self, request: Request, body: bytes, value: Any) -> None:
        super().__init__(request.scope, request.receive)
        self._body = body
        self._json = value


async def _with_json(request: Request, body: bytes, *, required: bool) -> Request:
    if body:
        _check_media_type(request)
        small = len(body) <= _PARSE_INLINE_BYTES
        return _ReadRequest(request, body, parse_json(body) if small else await asyncio.to_thread(parse_json, body))
    if required:
        raise RequestError(
            "the request has no body, and this operation needs one",
            hint="send a JSON object with the header Content-Type: application/json",
        )
    return _ReadRequest(request, b"", None)


async def _read_bytes(request: Request, limit: int) -> bytes:
    """Return the body; stop reading at the first byte over the limit, declared or sent."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"the body is larger than {limit} bytes",
        hint="keep large values elsewhere and pass a reference to them",
        details={"limit_bytes": limit},
    )


def _check_media_type(request: Request) -> None:
    header = request.headers.get("content-type", "")
    message = email.message.Message()
    message["content-type"] = header or "none/none"
    subtype = message.get_content_subtype()
    charset = (message.get_content_charset() or "utf-8").lower()
    is_json = message.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))
    encoding = request.headers.get("content-encoding", "identity").lower()
    if not is_json or charset not in {"utf-8", "utf8", "us-ascii"}:
        found = f"the body's Content-Type is '{header[:100]}'" if header else "the body has no Content-Type"
        raise UnsupportedMediaType(f"{found}, not JSON in UTF-8", hint="send Content-Type: application/json")
    if encoding != "identity":
        raise UnsupportedMediaType(
            f"the body's Content-Encoding '{encoding[:100]}' is not accepted", hint="send the body uncompressed"
        )
