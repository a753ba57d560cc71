"""What a worker tells of the tools that it can call. Fields are only ever added (replay)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class ToolView(BaseModel):
    """One tool that a worker can call."""

    name: str
    source: Literal["builtin", "http", "python", "mcp", "workflow"]
    description: str
    parameters: dict[str, Any]
    requires_approval: bool = False
    sha256: str
    workflow_id: str | None = None
    workflow_version: int | None = None
    mcp_server: str | None = None
    mcp_tool: str | None = None


class McpServerView(BaseModel):
    """One configured MCP server, as the worker that answered sees it."""

    name: str
    transport: str
    healthy: bool
    tools: int = 0
    error: dict[str, Any] | None = None
    """`{type, message, hint}`."""


class DescribeToolsResult(BaseModel):
    """The tools of the worker that answered."""

    tools: list[ToolView] = Field(default_factory=list)
    mcp_servers: list[McpServerView] = Field(default_factory=list)
