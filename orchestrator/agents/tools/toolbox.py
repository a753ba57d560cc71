"""`Toolbox`: what an agent may call, and the one way to call it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from orchestrator.agents.tools.specs import (
    ToolContext,
    ToolOffer,
    ToolSource,
    ToolSpec,
    ToolUser,
    argument_errors,
    argument_errors_in_thread,
)
from orchestrator.execution.errors_steps import AttemptTimeout
from orchestrator.execution.errors_tools import (
    InvalidToolArguments,
    McpServerNotFound,
    ToolListChanged,
    ToolNotAllowed,
    ToolNotCallable,
    ToolNotFound,
)
from orchestrator.expressions import suggest


class McpTools(Protocol):
    """The tools of the operator's MCP servers."""

    @property
    def names(self) -> Sequence[str]:
        """The configured servers."""

    async def tools(self, server: str) -> Sequence[ToolSpec]:
        """Return a server's tools.

        Raises:
            StepFailure: the server is dead, slow, or speaks no MCP.
        """

    async def call(self, spec: ToolSpec, arguments: Any, context: ToolContext) -> Any:
        """Call a tool of one of the servers."""


class OfferMemory(Protocol):
    """Keeps what an offer's hash stands for."""

    async def keep(self, offer: ToolOffer) -> None:
        """Keep the hash of every tool of an offer."""

    async def recall(self, sha256: str) -> dict[str, str] | None:
        """Return the hashes of an offer's tools by name; None where the offer is not known."""


class Toolbox:
    """All tools that this process can call.

    Args:
        sources: built-in, Python and declared tools; where two have a name, the first wins.
        mcp: the MCP servers.
        offers: what the offers of all workers stand for; None pins nothing.
    """

    def __init__(
        self, sources: Sequence[ToolSource], mcp: McpTools | None = None, offers: OfferMemory | None = None
    ) -> None:
        self._sources = tuple(sources)
        self._mcp = mcp
        self._offers = offers

    async def offer(self, record: ToolUser, *, names: Sequence[str] | None = None) -> ToolOffer:
        """Return the tools that an agent's model is to be offered.

        Args:
            record: the agent's record: `tools` and `mcp_servers` are its allow-list.
            names: those of them to offer; None: all.

        Raises:
            ToolNotAllowed: a name outside the record's allow-list.
            ToolNotFound: a tool of the record is not there.
            McpServerNotFound: a server of the record is not configured.
            StepFailure: an MCP server does not answer.
        """
        if not record.tools and not record.mcp_servers and not names:
            return ToolOffer.of(())
        allowed = await self._allowed(record)
        chosen = list(allowed.values()) if names is None else [_pick(record, allowed, name) for name in names]
        offer = ToolOffer.of(chosen)
        if self._offers is not None and chosen:
            await self._offers.keep(offer)
        return offer

    def argument_errors(self, spec: ToolSpec, arguments: Any) -> list[str]:
        """Return how arguments break a tool's schema, each with its JSON pointer; empty where they satisfy it."""
        return argument_errors(spec, arguments)

    async def call(
        self,
        name: str,
        arguments: Any,
        *,
        context: ToolContext,
        mcp_server: str | None = None,
        offered_sha256: str | None = None,
    ) -> Any:
        """Call a tool once and return its result, any JSON value.

        Args:
            name: the tool's name; with `mcp_server` also its own name on that server.
            arguments: a JSON object that satisfies the tool's schema.
            context: who calls.
            mcp_server: the server whose tool it is.
            offered_sha256: hash of the offer that the model chose from: the tool must still be the same.

        Raises:
            OrchestratorError: a leaf of the tree.
        """
        try:
            async with asyncio.timeout(context.timeout_seconds):
                spec, source = await self._resolve(name, mcp_server)
                await self._check_pin(spec, offered_sha256)
                await _check_call(spec, arguments)
                return await source.call(spec, arguments, context)
        except TimeoutError as error:
            raise AttemptTimeout(
                f"tool '{name}' did not answer within {context.timeout_seconds:g} s", details={"kind": "tool"}
            ) from error

    async def check_allowed(self, record: ToolUser, name: str, mcp_server: str | None = None) -> None:
        """Check that an agent may call a tool, without asking any server.

        Raises:
            ToolNotAllowed: its record lists neither the tool nor its server.
        """
        if name in record.tools or (mcp_server is not None and mcp_server in record.mcp_servers):
            return
        if any(name.startswith(f"{server}__") for server in record.mcp_servers):
            return
        if mcp_server is not None and f"{mcp_server}__{name}" in record.tools:
            return
        raise _not_allowed(record, name, list(record.tools))

    async def catalogue(self) -> list[ToolSpec]:
        """Return the tools of all sources but the MCP servers, by name."""
        found: dict[str, ToolSpec] = {}
        for source in self._sources:
            for spec in await source.list():
                found.setdefault(spec.name, spec)
        return [found[name] for name in sorted(found)]

    async def find(self, name: str, mcp_server: str | None = None) -> ToolSpec:
        """Return a tool.

        Raises:
            ToolNotFound: there is none of this name.
            McpServerNotFound: the server is not configured.
        """
        return (await self._resolve(name, mcp_server))[0]

    async def _allowed(self, record: ToolUser) -> dict[str, ToolSpec]:
        single = [self._single(name) for name in record.tools]
        whole = [self._server_tools(server) for server in record.mcp_servers]
        specs = list(await asyncio.gather(*single))
        for tools in await asyncio.gather(*whole):
            specs += tools
        return {spec.name: _under_policy(record, spec) for spec in specs}

    async def _single(self, name: str) -> ToolSpec:
        return (await self._resolve(name, None))[0]

    async def _resolve(self, name: str, mcp_server: str | None) -> tuple[ToolSpec, Any]:
        if mcp_server is not None:
            return await self._mcp_tool(name, mcp_server), self._mcp
        for source in self._sources:
            spec = await source.find(name)
            if spec is not None:
                return spec, source
        server, separator, _ = name.partition("__")
        if separator and self._mcp is not None and server in self._mcp.names:
            return await self._mcp_tool(name, server), self._mcp
        raise await self._not_found(name)

    async def _mcp_tool(self, name: str, server: str) -> ToolSpec:
        tools = await self._server_tools(server)
        for spec in tools:
            if name in (spec.mcp_tool, spec.name):
                return spec
        near = suggest(name, [spec.mcp_tool or spec.name for spec in tools])
        hint = f"did you mean '{near}'?" if near else None
        raise ToolNotFound(f"MCP server '{server}' has no tool '{name[:100]}'", hint=hint)

    async def _server_tools(self, server: str) -> Sequence[ToolSpec]:
        if self._mcp is None or server not in self._mcp.names:
            name = server.upper()
            raise McpServerNotFound(
                f"there is no MCP server '{server[:100]}'",
                hint=f"the worker's settings name it: MCP_SERVERS__{name}__URL or MCP_SERVERS__{name}__COMMAND",
            )
        return await self._mcp.tools(server)

    async def _check_pin(self, spec: ToolSpec, offered_sha256: str | None) -> None:
        if offered_sha256 is None or self._offers is None:
            return
        offered = await self._offers.recall(offered_sha256)
        if offered is None or offered.get(spec.name) == spec.sha256:
            return
        raise ToolListChanged(
            f"tool '{spec.name}' has another description or schema than the model was offered",
            hint="the model is offered the present tools in its next turn",
            details={"tool": spec.name, "offered_sha256": offered.get(spec.name), "sha256": spec.sha256},
        )

    async def _not_found(self, name: str) -> ToolNotFound:
        near = suggest(name, [spec.name for spec in await self.catalogue()])
        hint = f"did you mean '{near}'?" if near else "GET /api/v1/tools lists the tools"
        return ToolNotFound(f"there is no tool '{name[:100]}'", hint=hint)


async def _check_call(spec: ToolSpec, arguments: Any) -> None:
    if spec.kind == "workflow":
        raise ToolNotCallable(
            f"tool '{spec.name}' is the workflow '{spec.workflow_id}', which runs as a child execution",
            hint=f'use a step of type "workflow" with "workflow_id": "{spec.workflow_id}"',
        )
    errors = await argument_errors_in_thread(spec, arguments)
    if errors:
        raise InvalidToolArguments(
            f"the arguments of tool '{spec.name}' do not satisfy its schema: {errors[0]}", details={"errors": errors}
        )


def _pick(record: ToolUser, allowed: dict[str, ToolSpec], name: str) -> ToolSpec:
    if name not in allowed:
        raise _not_allowed(record, name, list(allowed))
    return allowed[name]


def _not_allowed(record: ToolUser, name: str, allowed: Sequence[str]) -> ToolNotAllowed:
    near = suggest(name, allowed)
    hint = f"did you mean '{near}'?" if near else f"add it to 'tools' of agent '{record.agent_type}'"
    return ToolNotAllowed(f"agent '{record.agent_type}' may not call tool '{name[:100]}'", hint=hint)


def _under_policy(record: ToolUser, spec: ToolSpec) -> ToolSpec:
    policy = getattr(record, "tool_policy", None)
    gated = getattr(policy, "requires_approval", None) or ()
    return spec.with_approval() if spec.name in gated or "*" in gated else spec
