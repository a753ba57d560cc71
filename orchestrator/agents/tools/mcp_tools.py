"""The tools of the operator's MCP servers."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mcp.types import CallToolResult, EmbeddedResource, TextContent, TextResourceContents, Tool

from orchestrator.agents.tools.mcp_session import McpSession
from orchestrator.agents.tools.specs import ToolContext, ToolSpec
from orchestrator.execution.errors import OrchestratorError
from orchestrator.execution.errors_steps import AttemptTimeout
from orchestrator.execution.errors_tools import McpBadResponse, ToolFailed
from orchestrator.settings import McpServerSettings
from orchestrator.stores.breakers import CircuitBreakers

IDEMPOTENCY_META = "orchestrator/idempotency-key"
EXECUTION_META = "orchestrator/execution-id"
LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class McpServerReport:
    """How one server does, as this process sees it."""

    name: str
    transport: str
    tools: tuple[ToolSpec, ...]
    error: OrchestratorError | None


class McpServers:
    """One session per configured server, opened on first use, behind a circuit breaker each.

    Args:
        servers: by name, as the settings have them.
        breakers: shared by all workers; a server's circuit is `mcp:<name>`.
    """

    def __init__(self, servers: Mapping[str, McpServerSettings], breakers: CircuitBreakers) -> None:
        self._settings = dict(servers)
        self._breakers = breakers
        self._sessions = {name: McpSession(name, server) for name, server in self._settings.items()}

    @property
    def names(self) -> Sequence[str]:
        """The configured servers."""
        return sorted(self._sessions)

    async def tools(self, server: str) -> Sequence[ToolSpec]:
        """Return a server's tools under the names that models see: `<server>__<tool>`.

        Raises:
            StepFailure: the server is dead, slow, speaks no MCP, or its circuit is open.
        """
        async with self._breakers.guard(f"mcp:{server}", lease_seconds=self._settings[server].connect_seconds):
            found = await self._sessions[server].tools()
        return [_spec(server, tool, self._settings[server]) for tool in sorted(found, key=lambda tool: tool.name)]

    async def call(self, spec: ToolSpec, arguments: Any, context: ToolContext) -> Any:
        """Call a tool; the result is its structured content, else its text, else its content as JSON.

        Raises:
            ToolFailed: the tool says that it failed.
            StepFailure: the server is dead, slow, speaks no MCP, or its circuit is open.
        """
        assert spec.mcp_server is not None
        assert spec.mcp_tool is not None
        meta = {IDEMPOTENCY_META: context.idempotency_key, EXECUTION_META: context.execution_id}
        lease = min(context.timeout_seconds, self._settings[spec.mcp_server].call_seconds)
        async with self._breakers.guard(f"mcp:{spec.mcp_server}", lease_seconds=lease):
            result = await self._sessions[spec.mcp_server].call(spec.mcp_tool, arguments, meta=meta)
        return _output(spec, result)

    async def report(self, *, patience_seconds: float) -> list[McpServerReport]:
        """Return how every server does, asking them all at once and waiting for none longer than this."""
        return list(await asyncio.gather(*(self._report(name, patience_seconds) for name in self.names)))

    async def aclose(self) -> None:
        """End all sessions and the programs that were started for them."""
        await asyncio.gather(*(session.aclose() for session in self._sessions.values()))

    async def _report(self, name: str, patience_seconds: float) -> McpServerReport:
        transport = "stdio" if self._settings[name].command is not None else "http"
        try:
            async with asyncio.timeout(patience_seconds):
                return McpServerReport(name, transport, tuple(await self.tools(name)), None)
        except TimeoutError:
            slow = AttemptTimeout(f"MCP server '{name}' did not list its tools within {patience_seconds:g} s")
            return McpServerReport(name, transport, (), slow)
        except OrchestratorError as error:
            return McpServerReport(name, transport, (), error)


def _spec(server: str, tool: Tool, settings: McpServerSettings) -> ToolSpec:
    gated = settings.requires_approval
    return ToolSpec(
        name=model_name(server, tool.name),
        description=tool.description or tool.title or tool.name,
        parameters=tool.input_schema,
        kind="mcp",
        requires_approval="*" in gated or tool.name in gated,
        mcp_server=server,
        mcp_tool=tool.name,
        # A call may have to open the session first.
        timeout_seconds=settings.connect_seconds + settings.call_seconds,
    )


def model_name(server: str, tool: str) -> str:
    """Return the name of a server's tool for models; one that does not fit is cut and told apart by its hash."""
    name = f"{server}__{tool}"
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    if plain == name and len(name) <= LONGEST_NAME:
        return name
    return f"{plain[: LONGEST_NAME - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _output(spec: ToolSpec, result: CallToolResult) -> Any:
    texts = [text for item in result.content if (text := _text(item)) is not None]
    if result.is_error:
        said = "\n".join(texts)[:2000] or "it does not say why"
        raise ToolFailed(f"tool '{spec.name}': {said}", details={"mcp_server": spec.mcp_server, "tool": spec.mcp_tool})
    if result.structured_content is not None:
        return result.structured_content
    if len(texts) == len(result.content):
        return "\n".join(texts)
    try:
        return [item.model_dump(mode="json", by_alias=True, exclude_none=True) for item in result.content]
    except ValueError as error:
        raise McpBadResponse(f"MCP server '{spec.mcp_server}' gave a malformed result: {error}") from error


def _text(item: Any) -> str | None:
    if isinstance(item, TextContent):
        return item.text
    if isinstance(item, EmbeddedResource) and isinstance(item.resource, TextResourceContents):
        return item.resource.text
    return None
