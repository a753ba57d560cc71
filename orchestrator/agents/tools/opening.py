"""Puts a worker's toolbox together."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from redis.asyncio import Redis

from orchestrator.agents.tools.builtin import BuiltinTools, TextMemory
from orchestrator.agents.tools.declared import DeclaredTools, SendHttp, seed_tools
from orchestrator.agents.tools.mcp_tools import McpServers
from orchestrator.agents.tools.python_tools import PythonTools, python_tools
from orchestrator.agents.tools.specs import ToolOffer, ToolSource
from orchestrator.agents.tools.toolbox import Toolbox
from orchestrator.settings import Settings
from orchestrator.stores.breakers import CircuitBreakers
from orchestrator.stores.redis import connect_redis
from orchestrator.stores.tools import OfferStore, ToolStore

log = structlog.get_logger(__name__)

REMEMBERED_OFFERS = 1000


class RedisOffers:
    """Offers in Redis, each written once by a process."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        """Args: `prefix` is `settings.redis_key_prefix`."""
        self._store = OfferStore(redis, prefix)
        self._kept: OrderedDict[str, None] = OrderedDict()

    async def keep(self, offer: ToolOffer) -> None:
        """Keep the hash of every tool of an offer."""
        if offer.sha256 in self._kept:
            return
        await self._store.keep(offer.sha256, {tool.name: tool.sha256 for tool in offer.tools})
        self._kept[offer.sha256] = None
        if len(self._kept) > REMEMBERED_OFFERS:
            self._kept.popitem(last=False)

    async def recall(self, sha256: str) -> dict[str, str] | None:
        """Return the hashes of an offer's tools by name; None where the offer is not known any more."""
        return await self._store.recall(sha256)


@dataclass(frozen=True, slots=True)
class OpenTools:
    """A worker's toolbox and the parts that its report looks at."""

    toolbox: Toolbox
    local: Sequence[ToolSource]
    """Those of the process itself, which need no Redis."""
    mcp: McpServers


@asynccontextmanager
async def open_tools(
    settings: Settings,
    redis: Redis,
    send: SendHttp,
    breakers: CircuitBreakers,
    *,
    memory: TextMemory | None = None,
    python: PythonTools = python_tools,
) -> AsyncIterator[OpenTools]:
    """Open everything that tools need; the sessions with MCP servers end with the block.

    Args:
        settings: the MCP servers and the key prefix.
        redis: the registry.
        send: the guarded client.
        breakers: those of the MCP servers.
        memory: the vector store's texts; None where there are none.
        python: the Python tools of the process.
    """
    prefix = settings.redis_key_prefix
    mcp = McpServers(settings.mcp_servers, breakers)
    local: list[ToolSource] = [BuiltinTools(send, memory), python]
    sources = [*local, DeclaredTools(ToolStore(redis, prefix), send)]
    try:
        yield OpenTools(Toolbox(sources, mcp, RedisOffers(redis, prefix)), local, mcp)
    finally:
        await mcp.aclose()


async def load_tools(settings: Settings, python: PythonTools = python_tools) -> list[str]:
    """Register Python tools by entry point, then the records of `TOOLS_PATH`; returns the new names.

    Raises:
        InvalidTool: an entry point, the folder or a file in it cannot be used.
        RedisUnavailable: Redis is away.
    """
    names = python.load()
    if settings.tools_path is None:
        return names
    redis = connect_redis(settings)
    try:
        return [*names, *await seed_tools(ToolStore(redis, settings.redis_key_prefix), settings.tools_path)]
    finally:
        await redis.aclose()
