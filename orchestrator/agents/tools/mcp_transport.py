"""How a worker reaches an MCP server: a program's pipes, or streamable HTTP whose failures can be told apart."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, TextIO

import httpx2
import structlog
from mcp import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from orchestrator.settings import McpServerSettings

log = structlog.get_logger(__name__)

UNREACHABLE = -32990
REFUSED = -32991
NOT_MCP = -32992
"""Our own JSON-RPC codes, outside the reserved range: no connection; an HTTP status of 400 or more; no MCP answer."""
LINE_CHARACTERS = 2000


@asynccontextmanager
async def open_transport(name: str, server: McpServerSettings) -> AsyncIterator[Any]:
    """Open the streams of one session.

    Raises:
        OSError: the program cannot be started.
    """
    async with AsyncExitStack() as stack:
        if server.command is not None:
            errors = stack.enter_context(_LoggedLines(name))
            parameters = StdioServerParameters(
                command=server.command,
                args=server.args,
                env={key: value.get_secret_value() for key, value in server.env.items()},
                cwd=server.cwd,
                encoding_error_handler="replace",
            )
            yield await stack.enter_async_context(stdio_client(parameters, errlog=errors))
            return
        client = httpx2.AsyncClient(
            headers={key: value.get_secret_value() for key, value in server.headers.items()},
            timeout=httpx2.Timeout(server.connect_seconds, read=None),
            transport=_ToldFailures(httpx2.AsyncHTTPTransport(retries=0)),
            trust_env=False,
        )
        await stack.enter_async_context(client)
        yield await stack.enter_async_context(streamable_http_client(str(server.url), http_client=client))


class _ToldFailures(httpx2.AsyncBaseTransport):
    """Answers a failed request with a JSON-RPC error: an exception here would end the session for all its calls."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            response = await self._inner.handle_async_request(request)
        except httpx2.TransportError as error:
            return _told(request, 503, UNREACHABLE, f"{type(error).__name__}: {error}")
        media = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        # 404 and 405 have a meaning in the protocol: the session is over; there is no stream of notifications.
        if response.status_code >= 400 and response.status_code not in (404, 405) and media != "application/json":
            await response.aclose()
            return _told(request, response.status_code, REFUSED, f"it answered HTTP {response.status_code}")
        speaks = media in ("application/json", "text/event-stream")
        if request.method == "POST" and response.status_code == 200 and not speaks:
            await response.aclose()
            return _told(request, 502, NOT_MCP, f"it answered with the type '{media[:100]}'")
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


def _told(request: httpx2.Request, status: int, code: int, message: str) -> httpx2.Response:
    error = {"code": code, "message": message, "data": {"status": status}}
    body = json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode()
    return httpx2.Response(status, headers={"content-type": "application/json"}, content=body, request=request)


class _LoggedLines:
    """A file for a program's standard error whose lines go to the log."""

    def __init__(self, name: str) -> None:
        self._log = log.bind(mcp_server=name)

    def __enter__(self) -> TextIO:
        reading, writing = os.pipe()
        self._file = os.fdopen(writing, "w")
        threading.Thread(target=self._pump, args=(reading,), name="mcp-stderr", daemon=True).start()
        return self._file

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._file.close()

    def _pump(self, reading: int) -> None:
        with os.fdopen(reading, "r", errors="replace") as lines:
            for line in lines:
                self._log.info("an MCP server says", line=line.rstrip()[:LINE_CHARACTERS])
