"""One session with one MCP server: opened on first use, opened again after it broke."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
import structlog
from mcp import Client, MCPError
from mcp.types import CallToolResult, Tool, ToolListChangedNotification
from pydantic import ValidationError

from orchestrator.agents.tools.mcp_failures import classified
from orchestrator.agents.tools.mcp_transport import open_transport
from orchestrator.execution.errors import OrchestratorError
from orchestrator.execution.errors_steps import AttemptTimeout
from orchestrator.execution.errors_tools import McpBadResponse, McpUnavailable
from orchestrator.settings import McpServerSettings

log = structlog.get_logger(__name__)

MOST_PAGES = 100
MOST_TOOLS = 1000
LEAVE_SECONDS = 10.0
LIST_SECONDS = 5.0
"""How long a list of tools is taken for the present one: older protocols may change it without a word."""

T = TypeVar("T")


@dataclass
class _Open:
    """A session that is open, and the task that holds it: only the task that entered it may leave it."""

    client: Client
    holder: asyncio.Task[None]
    leave: asyncio.Event
    scope: anyio.CancelScope
    tools: Sequence[Tool] | None = None
    listed_at: float = 0.0


class McpSession:
    """The connection to one server, shared by all calls of the process.

    Args:
        name: the server's name in the settings.
        server: how it is reached.
    """

    def __init__(self, name: str, server: McpServerSettings) -> None:
        self.name = name
        self._server = server
        self._connecting: asyncio.Task[_Open] | None = None
        self._endings: set[asyncio.Task[None]] = set()
        self._listing = asyncio.Lock()
        self._calls = asyncio.Semaphore(server.max_concurrent_calls)
        self._open: _Open | None = None
        self._garbage: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a session now."""
        return self._open is not None and not self._open.holder.done()

    async def tools(self) -> Sequence[Tool]:
        """Return the server's tools as they are now, or were a few seconds ago.

        Raises:
            McpUnavailable: the server is dead.
            McpBadResponse: it does not speak the protocol.
            AttemptTimeout: it is slow.
        """
        async with self._listing:
            session = await self._opened()
            loop = asyncio.get_running_loop()
            if session.tools is None or loop.time() - session.listed_at > LIST_SECONDS:
                asked_at = loop.time()
                session.tools = await self._ask(session, self._listed, "list its tools", self._server.connect_seconds)
                session.listed_at = asked_at
            return session.tools

    async def call(self, tool: str, arguments: Any, *, meta: dict[str, Any]) -> CallToolResult:
        """Call a tool; `meta` goes along as the request's `_meta`.

        Raises:
            McpUnavailable: the server is dead.
            McpBadResponse: it does not speak the protocol.
            AttemptTimeout: it is slow.
            ToolFailed: it refuses the call.
        """
        seconds = self._server.call_seconds
        try:
            async with asyncio.timeout(seconds), self._calls:
                session = await self._opened()
                return await self._ask(
                    session,
                    lambda client: client.call_tool(tool, arguments, meta=meta),  # type: ignore[arg-type] # a TypedDict with free keys
                    f"answer the call of '{tool}'",
                    seconds,
                )
        except TimeoutError as error:
            raise self._slow(f"answer the call of '{tool}'", seconds) from error

    async def aclose(self) -> None:
        """End the session; a program that was started for it ends with it."""
        if self._connecting is not None:
            await asyncio.wait({self._connecting})
        self._drop(self._open)
        while self._endings:
            await asyncio.wait(self._endings)

    async def _opened(self) -> _Open:
        """Return the session; a caller that gives up waiting for it does not keep others from having it."""
        if self._open is not None and not self._open.holder.done():
            return self._open
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect(), name=f"mcp-{self.name}-opening")
            self._connecting.add_done_callback(_read)
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> _Open:
        ready: asyncio.Future[_Open] = asyncio.get_running_loop().create_future()
        leave = asyncio.Event()
        scope = anyio.CancelScope()
        self._garbage = None
        holder = asyncio.create_task(self._hold(ready, leave, scope), name=f"mcp-{self.name}")
        try:
            async with asyncio.timeout(self._server.connect_seconds):
                either: set[asyncio.Future[Any]] = {ready, holder}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError as error:
            ready.cancel()
            await _ended(holder, scope)
            raise self._slow("open a session", self._server.connect_seconds) from error
        if ready.done():
            self._open = ready.result()
            return self._open
        failure = holder.exception() if not holder.cancelled() else None
        raise self._classified(failure or McpUnavailable(f"MCP server '{self.name}' went away at once"))

    async def _hold(self, ready: asyncio.Future[_Open], leave: asyncio.Event, scope: anyio.CancelScope) -> None:
        """Open the session, keep it until told to leave or until it breaks."""
        transport = open_transport(self.name, self._server)
        with scope:
            async with Client(transport, cache=None, message_handler=self._on_message) as client:
                holder = asyncio.current_task()
                assert holder is not None
                if not ready.done():
                    ready.set_result(_Open(client, holder, leave, scope))
                await leave.wait()

    async def _on_message(self, message: Any) -> None:
        """Forget the list of tools when the server says that it changed."""
        if isinstance(message, ToolListChangedNotification) and self._open is not None:
            self._open.tools = None
        if isinstance(message, Exception):
            self._garbage = str(message).split("\n")[0][:300]
            log.warning("an MCP server sent what is no message", mcp_server=self.name, error=self._garbage)

    async def _listed(self, client: Client) -> Sequence[Tool]:
        found: list[Tool] = []
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await client.list_tools(cursor=cursor)
            found += page.tools
            cursor = page.next_cursor
            if len(found) > MOST_TOOLS:
                break
            if cursor is None:
                return found
        raise McpBadResponse(f"MCP server '{self.name}' lists more than {MOST_TOOLS} tools", retryable=False)

    async def _ask(self, session: _Open, ask: Callable[[Client], Awaitable[T]], what: str, seconds: float) -> T:
        """Make one request, and give up on the session where its answer shows that it is broken."""
        asking = asyncio.ensure_future(ask(session.client))
        try:
            async with asyncio.timeout(seconds):
                await asyncio.wait({asking, session.holder}, return_when=asyncio.FIRST_COMPLETED)
                if not asking.done():
                    raise McpUnavailable(f"the connection to MCP server '{self.name}' broke")
                return await asking
        except TimeoutError as error:
            raise self._slow(what, seconds) from error
        except (OrchestratorError, MCPError, ValidationError, RuntimeError, OSError, ExceptionGroup) as error:
            failure = self._classified(error)
            if isinstance(failure, McpUnavailable | McpBadResponse):
                self._drop(session)
            if failure is error:
                raise
            raise failure from error
        finally:
            if not asking.done():
                asking.cancel()
            asking.add_done_callback(_read)

    def _drop(self, session: _Open | None) -> None:
        """Give a session up; it ends behind the caller's back."""
        if session is None:
            return
        if self._open is session:
            self._open = None
        session.leave.set()
        ending = asyncio.create_task(_ended(session.holder, session.scope, patience_seconds=LEAVE_SECONDS))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    def _classified(self, error: BaseException) -> OrchestratorError:
        failure = classified(self.name, error)
        if self._garbage is not None and isinstance(failure, McpUnavailable | AttemptTimeout):
            return McpBadResponse(f"MCP server '{self.name}' sends what is no MCP message: {self._garbage}")
        return failure

    def _slow(self, what: str, seconds: float) -> OrchestratorError:
        slow = AttemptTimeout(
            f"MCP server '{self.name}' did not {what} within {seconds:g} s",
            hint=f"raise MCP_SERVERS__{self.name.upper()}__CALL_SECONDS, or find out why it is slow",
            details={"kind": "mcp", "mcp_server": self.name},
        )
        return self._classified(slow)


async def _ended(task: asyncio.Task[None], scope: anyio.CancelScope, *, patience_seconds: float = 0.0) -> None:
    """Wait for a session's task to end by itself for some seconds, then cancel it.

    Cancelled by its scope, it still ends the server's program in order; `Task.cancel` would leave the program behind.
    """
    if patience_seconds:
        await asyncio.wait({task}, timeout=patience_seconds)
    if not task.done():
        scope.cancel()
        await asyncio.wait({task}, timeout=LEAVE_SECONDS)
    if task.done():
        _read(task)


def _read(task: asyncio.Task[Any]) -> None:
    """Take note of how a task ended, so that asyncio does not complain that nobody did."""
    if not task.cancelled():
        task.exception()
